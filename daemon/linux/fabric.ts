/**
 * The fabric: the one namespace of a daemon that holds the host side of every port of every lab.
 *
 * A host side carries the alternative name `weft.<lab>.<node>.<ifname>`, which is our mark and what people read in
 * `ip -n weft.fabric link`; a TAP beside it `weft-tap.<lab>.<node>.<ifname>`; the VXLAN device of a UDP port
 * `weft-vxlan.<port>`. No addresses, no IPv6: nothing in here answers a node.
 */
import { addon } from "../native/index.ts"
import { attempt, KernelError } from "./errors.ts"
import { dump, Batch } from "./rtnetlink.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Tc from "../wire/rtnetlink/tc.ts"
import * as Netns from "./netns.ts"
import * as Sysctl from "./sysctl.ts"

const markPrefix = "weft."
/** What `tc filter show` calls our program. */
export const filterName = "weft_port"
/** Interfaces that are about to be removed are moved to this group first: removing a group costs the same as removing one. */
const doomedGroup = 0x7fff_fffe

/** Host sides that a fault holds down, so that their nodes' interfaces have no carrier; nobody else is to set them up. */
export const pulledGroup = 0x7fff_fffd

/** The host side of a port, as it is in the kernel. */
export interface FabricPort {
  readonly lab: string
  readonly node: string
  readonly ifname: string
  readonly link: Link.Link
}

export const markOf = (port: { lab: string; node: string; ifname: string }): string =>
  `${markPrefix}${port.lab}.${port.node}.${port.ifname}`

/** The mark of the TAP beside the port `node:ifname`. */
export const tapMarkOf = (lab: string, port: string): string => `weft-tap.${lab}.${port.replace(":", ".")}`

/** The mark of the VXLAN device for the UDP port `port`. */
export const vxlanMarkOf = (port: number): string => `weft-vxlan.${port}`

const parseMark = (link: Link.Link): FabricPort | undefined => {
  const mark = link.altNames.find((name) => name.startsWith(markPrefix))
  const match = mark === undefined ? null : /^weft\.([^.]+)\.([^.]+)\.(.+)$/.exec(mark)
  return match === null ? undefined : { lab: match[1]!, node: match[2]!, ifname: match[3]!, link }
}

/** Opens the instance's fabric, making it when it is not there. */
export const open = (instance: string): Netns.Netns => {
  const name = Netns.fabricName(instance)
  if (Netns.within(name, () => true) === undefined) Netns.create(name, instance)
  const netns = Netns.open(name)!
  const refusal = Netns.refusal(name, instance, links(netns.fd))
  if (refusal !== undefined) throw refusal
  for (const error of Sysctl.write(netns.fd, { "net.ipv6.conf.default.disable_ipv6": "1", "net.ipv6.conf.all.disable_ipv6": "1" })) {
    // ENOENT: a kernel without IPv6, where there is nothing to turn off.
    if (error.code !== "ENOENT") throw error
  }
  return netns
}

/** All interfaces of a namespace. */
export const links = (netns: number): ReadonlyArray<Link.Link> =>
  Array.from(dump(netns, Link.dumpLinks), (message) => Link.decode(message.body))

/** Some interfaces of a namespace, as the kernel tells of them; undefined when one of them is not there. @throws KernelError */
const bodiesAt = (netns: number, indexes: Iterable<number>): ReadonlyArray<Uint8Array> | undefined => {
  try {
    const asked = dump(netns, (out) => {
      for (const index of indexes) Link.getLink(out, index)
    })
    return Array.from(asked, (message) => message.body)
  } catch (error) {
    if (error instanceof KernelError && error.code === "ENODEV") return undefined
    throw error
  }
}

/** Some interfaces of a namespace; undefined when one of them is not there. @throws KernelError */
export const linksAt = (netns: number, indexes: Iterable<number>): ReadonlyArray<Link.Link> | undefined =>
  bodiesAt(netns, indexes)?.map(Link.decode)

/** Up to so many interfaces are asked for one by one; for more of them it is quicker to read all that the namespace has. */
const fewLinks = 64

/** Which of these interfaces have a carrier and do not send yet: the kernel has not acted on it. @throws KernelError */
export const opening = (netns: number, indexes: ReadonlySet<number>): ReadonlySet<number> => {
  const few = indexes.size <= fewLinks ? bodiesAt(netns, indexes) : undefined
  const bodies = few ?? Array.from(dump(netns, Link.dumpLinks), (message) => message.body)
  const carriers = bodies.filter((body) => !Link.isSending(body)).map(Link.decode).filter(({ carrier }) => carrier)
  return new Set(carriers.map(({ index }) => index)).intersection(indexes)
}

export interface FabricPorts {
  readonly marked: ReadonlyArray<FabricPort>
  /** Veths whose making was cut short. */
  readonly unmarked: ReadonlyArray<Link.Link>
  readonly taps: ReadonlyArray<Link.Link>
  readonly vxlans: ReadonlyArray<Link.Link>
}

export const isTap = (link: Link.Link): boolean => link.kind === "tun"

/** Splits the fabric's interfaces into ports and others. */
export const ports = (fabric: number): FabricPorts => {
  const marked: FabricPort[] = []
  const unmarked: Link.Link[] = []
  const taps: Link.Link[] = []
  const vxlans: Link.Link[] = []
  for (const link of links(fabric)) {
    const port = parseMark(link)
    if (port !== undefined) marked.push(port)
    else if (link.kind === "veth") unmarked.push(link)
    else if (isTap(link)) taps.push(link)
    else if (link.kind === "vxlan") vxlans.push(link)
  }
  return { marked, unmarked, taps, vxlans }
}

/** The eBPF program at the ingress of each interface, by ifindex. */
export const programIds = (fabric: number, indexes: ReadonlyArray<number>): ReadonlyMap<number, number> => {
  const ids = new Map<number, number>()
  if (indexes.length === 0) return ids
  for (const message of dump(fabric, (out) => indexes.forEach((index) => Tc.dumpIngressFilters(out, index)))) {
    const filter = Tc.decodeFilter(message.body)
    if (filter !== undefined) ids.set(filter.index, filter.programId)
  }
  return ids
}

/** Turns generic receive offload of an interface off. @throws KernelError */
export const elideGro = (fabric: number, name: string): void => attempt("turn off GRO", name, () => addon.elideGro(fabric, name))

/** Removes interfaces by group: a thousand take as long as one. Those that are gone already are fine. */
export const removeLinks = (fabric: number, indexes: ReadonlyArray<number>): void => {
  if (indexes.length === 0) return
  const batch = new Batch(fabric)
  for (const index of indexes) {
    Link.setLink(batch.out, index, { group: doomedGroup })
    batch.note("remove link", String(index))
  }
  Link.removeGroup(batch.out, doomedGroup)
  batch.note("remove links", `${indexes.length} in the fabric`)
  const failure = batch.commit()[0]
  if (failure !== undefined) throw failure.error
}
