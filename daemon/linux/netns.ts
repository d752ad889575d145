/**
 * Named network namespaces that are ours.
 *
 * A node lives in `/run/netns/weft.<lab>.<node>`, so `ip netns exec` works on it; the fabric, which holds the host side
 * of every port, in `weft.fabric` (`weft.fabric.<instance>` for a daemon with another instance name). A namespace says
 * whose it is by an alternative name of its loopback interface, set before the namespace gets its own name: what has a
 * name has a mark. Nothing without our instance's mark is ever touched.
 *
 * `/etc/netns/<name>/` holds what `ip netns exec` (and our own exec) binds over `/etc`: hosts and resolv.conf.
 */
import { fstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs"
import { addon } from "../native/index.ts"
import { Writer } from "../wire/netlink.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import { attempt, KernelError } from "./errors.ts"
import { dump } from "./rtnetlink.ts"

export const directory = "/run/netns"
const etcDirectory = "/etc/netns"
const loopback = 1
const ownerPrefix = "weft.owner."

export const nodeName = (lab: string, node: string): string => `weft.${lab}.${node}`
export const fabricName = (instance: string): string => (instance === "main" ? "weft.fabric" : `weft.fabric.${instance}`)
export const path = (name: string): string => `${directory}/${name}`
export const etcPath = (name: string): string => `${etcDirectory}/${name}`
/**
 * Where a file for `etcPath(name)` is written until it is whole: not in there, because `ip netns exec` binds whatever is
 * there, names that begin with a dot included (iproute2: lib/namespace.c, bind_etc).
 */
export const unfinishedEtcPath = (name: string): string => `${etcDirectory}/.${name}.new`

/** Lab and node of a namespace's name; undefined for the fabric and for what is not ours by name. */
export const parseNodeName = (name: string): { readonly lab: string; readonly node: string } | undefined => {
  const parts = name.split(".")
  if (parts.length !== 3 || parts[0] !== "weft" || parts[1] === "fabric") return undefined
  return { lab: parts[1]!, node: parts[2]! }
}

/** Must be called once before the first `create`. */
export const prepare = (): void => attempt("prepare", directory, () => addon.netnsPrepare(directory))

/** An open namespace; `close` it. The inode is its identity: names can be reused, pids too. */
export interface Netns {
  readonly name: string
  readonly fd: number
  readonly inode: number
}

/**
 * Makes the namespace `name` with loopback up and our mark on it.
 * Throws KernelError EEXIST when there is one of this name already.
 */
export const create = (name: string, instance: string): void => {
  const setup = new Writer(256)
  Link.addAltName(setup, loopback, ownerPrefix + instance)
  Link.setLink(setup, loopback, { up: true })
  removeHalfMade(name)
  attempt("create network namespace", name, () => addon.netnsCreate(path(name), setup.finish()))
}

/** Whether the name is only an ordinary file: its making or its removal was cut short between the file and the mount. */
export const isHalfMade = (name: string): boolean => exists(name) && !isMounted(name)

const removeHalfMade = (name: string): void => {
  if (isHalfMade(name)) attempt("remove", path(name), () => addon.netnsRemove(path(name)))
}

const exists = (name: string): boolean => statSync(path(name), { throwIfNoEntry: false }) !== undefined

/** A namespace's file is on nsfs, an ordinary one is on the file system of its directory. */
const isMounted = (name: string): boolean => statSync(path(name)).dev !== statSync(directory).dev

/** Removes what `/etc/netns` holds for the name, then the name. Fine when they are gone already. */
export const remove = (name: string): void => {
  removeEtc(name)
  attempt("remove network namespace", name, () => addon.netnsRemove(path(name)))
}

export const removeEtc = (name: string): void => {
  rmSync(etcPath(name), { recursive: true, force: true })
  // A daemon that was killed while it wrote leaves this.
  rmSync(unfinishedEtcPath(name), { force: true })
}

/** The folders in `/etc/netns` whose hosts file is a link to somewhere under `target`. */
export const listEtc = (target: string): ReadonlyArray<string> =>
  namesIn(etcDirectory).filter((name) => linkOf(`${etcPath(name)}/hosts`).startsWith(target))

/** Where `/etc/netns/<name>/hosts` leads; empty when it is no link. */
export const hostsLink = (name: string): string => linkOf(`${etcPath(name)}/hosts`)

const linkOf = (file: string): string => {
  try {
    return readlinkSync(file)
  } catch {
    return ""
  }
}

/** Opens a namespace; undefined when there is none of this name. Throws KernelError. */
export const open = (name: string): Netns | undefined => {
  const fd = openFile(name)
  if (fd === undefined) return undefined
  // Asked of what is open, not of the name: another daemon may be making or removing the namespace right now.
  if (fstatSync(fd).dev !== statSync(directory).dev) return { name, fd, inode: addon.inode(fd) }
  addon.close(fd)
  return undefined
}

const openFile = (name: string): number | undefined => {
  try {
    return attempt("open network namespace", name, () => addon.netnsOpen(path(name)))
  } catch (error) {
    if (error instanceof KernelError && error.code === "ENOENT") return undefined
    throw error
  }
}

export const close = (netns: Netns): void => addon.close(netns.fd)

/** Opens, runs, closes; undefined when there is no such namespace. `use` must not return a promise. */
export const within = <A>(name: string, use: (netns: Netns) => A): A | undefined => {
  const netns = open(name)
  if (netns === undefined) return undefined
  try {
    return use(netns)
  } finally {
    close(netns)
  }
}

/** The instance whose mark a list of interfaces carries. */
export const ownerOf = (links: ReadonlyArray<Link.Link>): string | undefined =>
  links
    .find((link) => link.index === loopback)
    ?.altNames.find((name) => name.startsWith(ownerPrefix))
    ?.slice(ownerPrefix.length)

/** Whose namespace this is: the instance named by its mark, or undefined when it has none or does not exist. */
export const owner = (name: string): string | undefined =>
  within(name, (netns) => ownerOf([...dump(netns.fd, Link.dumpLinks)].map((message) => Link.decode(message.body))))

/** The names of all namespaces that bear the prefix `weft.`, whoever made them. */
export const list = (): ReadonlyArray<string> => namesIn(directory)

const namesIn = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder).filter((name) => name.startsWith("weft."))
  } catch {
    return []
  }
}

/** Whether there is `/etc/netns/<name>`. */
export const hasEtc = (name: string): boolean => statSync(etcPath(name), { throwIfNoEntry: false }) !== undefined

/** Makes and returns `/etc/netns/<name>`. */
export const makeEtc = (name: string): string => {
  mkdirSync(etcPath(name), { recursive: true })
  return etcPath(name)
}

/** Why a namespace of the right name is not to be touched; undefined when it is the instance's. `links`: what is in it. */
export const refusal = (name: string, instance: string, links: ReadonlyArray<Link.Link>): KernelError | undefined => {
  const found = ownerOf(links)
  if (found === instance) return undefined
  const whose = found === undefined ? "it was not made by weft" : `it belongs to the weftd instance "${found}"`
  return new KernelError({ operation: "use network namespace", object: name, code: "EPERM", detail: whose })
}
