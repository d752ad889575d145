/**
 * What tests that need root stand on: network namespaces with names of their own, ports between them, commands inside,
 * and a look afterwards whether anything was left behind.
 *
 *   const world = new World("link")              names begin with weft-test-<pid>-link-
 *   const fabric = world.namespace("fabric")
 *   const port = world.veth(fabric, { node, name: "eth0" })
 *   await world.run(node, ["ping", "-c1", "10.0.0.2"])
 *   t.teardown(() => world.close())              removes it all and fails when something is left
 *
 * Nothing sleeps: `until` waits for a condition. Its limit is for what hangs, not for what is slow: a busy machine may
 * take ten times as long.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process"
import { mkdirSync, readdirSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import { addon } from "../../daemon/native/index.ts"
import { Batch, dump } from "../../daemon/linux/rtnetlink.ts"
import { Writer } from "../../daemon/wire/netlink.ts"
import * as Link from "../../daemon/wire/rtnetlink/link.ts"
import * as Tc from "../../daemon/wire/rtnetlink/tc.ts"

export const isRoot = process.geteuid?.() === 0
/** For tap's options: `t.test(name, { skip: needsRoot }, ...)`. */
export const needsRoot: string | false = isRoot ? false : "needs root: makes network namespaces"

export const checkout = resolve(import.meta.dirname, "../..")
const directory = "/run/netns"
const loopback = 1

export interface Namespace {
  readonly name: string
  readonly path: string
  readonly fd: number
}

export interface Output {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** One end of a veth pair, for a node. */
export interface Port {
  readonly node: Namespace
  readonly name: string
  readonly mac?: string
  readonly mtu?: number
}

/** Waits for the kernel or a peer: resolves when `holds`, rejects after `deadlineMs`. */
export const until = async (what: string, holds: () => boolean | Promise<boolean>, deadlineMs = 60_000): Promise<void> => {
  const end = performance.now() + deadlineMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Waited ${deadlineMs} ms in vain until ${what}`)
    await new Promise((next) => setTimeout(next, 5))
  }
}

export const descriptorCount = (): number => readdirSync("/proc/self/fd").length

/** Sends the requests that `write` writes and throws the first failure. */
export const netlink = (namespace: Namespace, what: string, write: (out: Writer) => unknown): void => {
  const batch = new Batch(namespace.fd)
  write(batch.out)
  batch.note("make", what)
  const [failure] = batch.commit()
  if (failure !== undefined) throw failure.error
}

export const links = (namespace: Namespace): ReadonlyArray<Link.Link> =>
  Array.from(dump(namespace.fd, Link.dumpLinks), (message) => Link.decode(message.body))

/** `ip -batch` inside the namespace; throws with what it says. */
export const ipBatch = (namespace: Namespace, lines: ReadonlyArray<string>): void => {
  execFileSync("ip", ["-n", namespace.name, "-batch", "-"], { input: lines.join("\n") + "\n", stdio: ["pipe", "ignore", "pipe"] })
}

/** Compiles a C++ source of the tests or benches unless that has been done; returns the program's path. */
export const compile = (source: string): string => {
  const directory = join(checkout, ".weft/tools")
  const target = join(directory, source.replaceAll("/", "-").replace(/\.cc$/, ""))
  const from = join(checkout, source)
  if ((statSync(target, { throwIfNoEntry: false })?.mtimeMs ?? 0) > statSync(from).mtimeMs) return target
  mkdirSync(directory, { recursive: true })
  const unfinished = `${target}.${process.pid}`
  execFileSync("g++", ["-O2", "-std=c++20", "-Wall", "-Wextra", "-o", unfinished, from, "-lpthread"], { stdio: "inherit" })
  execFileSync("mv", ["-f", unfinished, target])
  return target
}

/** Everything one test makes. */
export class World {
  private readonly namespaces: Namespace[] = []
  private readonly children = new Set<ChildProcess>()
  private readonly prefix: string
  private nextIndex = 100

  constructor(label: string) {
    this.prefix = `weft-test-${process.pid}-${label}-`
    addon.netnsPrepare(directory)
  }

  /** A namespace with loopback up. `ipv6: false` keeps it from saying anything by itself. */
  namespace(name: string, options: { readonly ipv6?: boolean } = {}): Namespace {
    const full = this.prefix + name
    const path = `${directory}/${full}`
    const setup = new Writer(256)
    Link.setLink(setup, loopback, { up: true })
    addon.netnsCreate(path, setup.finish())
    const namespace = { name: full, path, fd: addon.netnsOpen(path) }
    this.namespaces.push(namespace)
    if (options.ipv6 !== true) {
      const settings = ["all", "default"].map((scope) => `/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`)
      addon.writeFiles(namespace.fd, settings, ["1", "1"])
    }
    return namespace
  }

  /** A veth pair, both ends up: `name` in the node, `p<index>` in the fabric. Returns the index of the fabric's side. */
  veth(fabric: Namespace, port: Port): number {
    return this.veths(fabric, [port])[0]!
  }

  /** `veth` for many. By ip-link(8), so that what is tested is not what builds the test. */
  veths(fabric: Namespace, ports: ReadonlyArray<Port>): ReadonlyArray<number> {
    const indexes = ports.map(() => this.nextIndex++)
    const lines = ports.map(({ node, name, mac, mtu = 1500 }, i) => {
      const address = mac === undefined ? "" : `address ${mac}`
      return `link add p${indexes[i]} index ${indexes[i]} mtu ${mtu} type veth peer name ${name} mtu ${mtu} ${address} netns ${node.name}`
    })
    ipBatch(fabric, [...lines, ...indexes.map((index) => `link set p${index} up`)])
    for (const node of new Set(ports.map((port) => port.node))) {
      ipBatch(node, ports.filter((port) => port.node === node).map(({ name }) => `link set ${name} up`))
    }
    return indexes
  }

  /** Runs a command in the namespace; resolves when it has ended, whatever its exit status. */
  run(namespace: Namespace, argv: ReadonlyArray<string>, input = ""): Promise<Output> {
    return new Promise((done, reject) => {
      const child = this.start(namespace, argv)
      let stdout = ""
      let stderr = ""
      child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text))
      child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text))
      child.on("error", reject)
      child.on("close", (code) => done({ code: code ?? -1, stdout, stderr }))
      child.stdin!.end(input)
    })
  }

  /** Starts a command with three pipes; it is killed by `close` at the latest. */
  start(namespace: Namespace, argv: ReadonlyArray<string>): ChildProcess {
    return this.spawn(["nsenter", `--net=${namespace.path}`, "--", ...argv])
  }

  spawn(argv: ReadonlyArray<string>): ChildProcess {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: "pipe" })
    this.children.add(child)
    child.on("close", () => this.children.delete(child))
    // Its death is not the writer's: the exit status tells.
    child.stdin.on("error", () => {})
    return child
  }

  /** Kills and removes it all. Throws when something is left: that fails the test, as a teardown's errors do. */
  close(): void {
    for (const child of this.children) child.kill("SIGKILL")
    for (const namespace of this.namespaces.splice(0)) {
      addon.close(namespace.fd)
      addon.netnsRemove(namespace.path)
    }
    const left = readdirSync(directory).filter((name) => name.startsWith(this.prefix))
    if (left.length > 0) throw new Error(`Left behind: ${left.join(" ")}`)
  }
}

/** Hangs the program on the ingress of interfaces of the fabric, as the daemon does. */
export const attach = (fabric: Namespace, programFd: number, indexes: ReadonlyArray<number>): void => {
  for (const index of indexes) {
    netlink(fabric, `clsact of ${index}`, (out) => Tc.addClsact(out, index))
    netlink(fabric, `filter of ${index}`, (out) => Tc.addIngressFilter(out, index, programFd, "weft"))
  }
}

/** The id of the program at the ingress of an interface. */
export const attachedProgram = (fabric: Namespace, index: number): number | undefined => {
  for (const message of dump(fabric.fd, (out) => Tc.dumpIngressFilters(out, index))) {
    const filter = Tc.decodeFilter(message.body)
    if (filter !== undefined) return filter.programId
  }
  return undefined
}
