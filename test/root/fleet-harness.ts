/**
 * What tests of many hosts stand on. A host is a network namespace; one weftd runs in each, and all are joined by an
 * underlay:
 *
 *      h1 eth0 10.99.0.1    h2 eth0 10.99.0.2   ...      each with a weftd of an instance of its own
 *           |                    |
 *      +----h1-------------------h2----+
 *      |  underlay: bridge br0         |  etcd members on 10.99.0.201, .202, .203 (fd99::201 ...)
 *      +-------------------------------+
 *
 *   const fleet = await Fleet.start("spread", { hosts: 3 })
 *   const lab = fleet.name("spread")                  a lab name that no other test has
 *   await fleet.make({ name: lab, nodes: ... })       asks host 1; deploy(topology, { via: 2 }) asks another
 *   fleet.cut(2), fleet.mend(2)                       host 2 loses the underlay, and with it etcd
 *   t.teardown(() => fleet.close())                   destroys, stops, throws when something is left
 *
 * Hosts count from 1, as their names do. All share /run/netns, so a node is entered the same way wherever it is.
 */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Authority from "../../ctl/authority.ts"
import type { Client } from "../../ctl/client.ts"
import type { InspectResponse, ReachResult } from "../../ctl/messages.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { run, sh, Weftd, type Outcome, type Output, type RunOptions, type TopologyObject } from "./daemon-harness.ts"
import { ipBatch, until, World, type Namespace } from "./harness.ts"

export interface FleetOptions {
  readonly hosts: number
  /** Default: ipv4 */
  readonly underlay?: "ipv4" | "ipv6"
  /** Default: 1 */
  readonly etcdMembers?: 1 | 3
  /** etcd with mutual TLS; else plain HTTP. */
  readonly etcdTls?: boolean
  /** MTU of the underlay; default: 1500 */
  readonly mtu?: number
  /** More of the command line of host `i`. */
  readonly words?: (host: number) => ReadonlyArray<string>
}

interface Member {
  readonly name: string
  readonly address: string
  readonly directory: string
  child: ChildProcess | undefined
}

const etcdPatienceMs = 60_000
/** Ports of etcd for its clients and for other members. */
const clientPort = 2379
const peerPort = 2380
export const daemonPort = 7443

export class Fleet {
  readonly hostNames: ReadonlyArray<string>
  private readonly options: Required<Omit<FleetOptions, "words">>
  private readonly world: World
  private readonly underlay: Namespace
  private readonly namespaces: ReadonlyArray<Namespace>
  private readonly directory: string
  private readonly members: ReadonlyArray<Member>
  private readonly labs = new Set<string>()
  private daemons: ReadonlyArray<Weftd> = []

  private constructor(label: string, options: FleetOptions) {
    this.options = { underlay: "ipv4", etcdMembers: 1, etcdTls: false, mtu: 1500, ...options }
    this.world = new World(label)
    this.directory = mkdtempSync(join(tmpdir(), `weft-fleet-${label}-`))
    this.hostNames = Array.from({ length: options.hosts }, (_, i) => `h${i + 1}`)
    this.underlay = this.world.namespace("underlay", { ipv6: true })
    this.namespaces = this.hostNames.map((name) => this.world.namespace(name, { ipv6: true }))
    this.members = Array.from({ length: this.options.etcdMembers }, (_, i) => ({
      name: `e${i + 1}`,
      address: this.addressOf(201 + i),
      directory: join(this.directory, `etcd-e${i + 1}`),
      child: undefined
    }))
    this.wire()
  }

  /** Hosts, underlay, etcd and certificates, without daemons. */
  static async prepare(label: string, options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(label, options)
    try {
      await fleet.certify()
      await Promise.all(fleet.members.map((_, i) => fleet.startEtcd(i + 1)))
      await fleet.etcdReady()
      fleet.daemons = fleet.hostNames.map((name, i) => {
        const netns = fleet.namespaces[i]!.path
        const words = [...fleet.wordsOf(i + 1), ...(options.words?.(i + 1) ?? [])]
        return new Weftd(`${label.slice(0, 12)}-${name}`, words, { netns, labs: fleet.labs })
      })
      return fleet
    } catch (error) {
      await fleet.close().catch(() => {})
      throw error
    }
  }

  /** All daemons answer and know of each other. */
  static async start(label: string, options: FleetOptions): Promise<Fleet> {
    const fleet = await Fleet.prepare(label, options)
    try {
      await Promise.all(fleet.daemons.map((daemon) => daemon.start()))
      await fleet.complete()
      return fleet
    } catch (error) {
      const logs = fleet.logs()
      await fleet.close().catch(() => {})
      throw new Error(`${(error as Error).message}\n${logs}`, { cause: error })
    }
  }

  /** A lab name that no other test on this machine has; the lab is destroyed by `close`. */
  name(label: string): string {
    const name = `t${process.pid}-${label}`
    this.labs.add(name)
    return name
  }

  weftd(host: number): Weftd {
    const daemon = this.daemons[host - 1]
    if (daemon === undefined) throw new Error(`There is no host ${host}`)
    return daemon
  }

  client(host: number): Client {
    return this.weftd(host).client
  }

  /** The underlay address of a host. */
  address(host: number): string {
    return this.addressOf(host)
  }

  netns(host: number): Namespace {
    return this.namespaces[host - 1]!
  }

  get underlayNetns(): Namespace {
    return this.underlay
  }

  /** What --etcd is given. */
  get endpoints(): string {
    const scheme = this.options.etcdTls ? "https" : "http"
    return this.members.map(({ address }) => `${scheme}://${bracketed(address)}:${clientPort}`).join(",")
  }

  /** The files of a certificate: `h1`, ..., `etcd`, `operator`. */
  pki(name: string): { readonly ca: string; readonly cert: string; readonly key: string } {
    const file = (kind: string): string => join(this.directory, "pki", name, `${kind}.pem`)
    return { ca: file("ca"), cert: file("cert"), key: file("key") }
  }

  deploy(topology: TopologyObject | string, options: { readonly via?: number; readonly rollback?: boolean } = {}): Promise<Outcome> {
    return this.weftd(options.via ?? 1).deploy(topology, { rollback: options.rollback ?? false })
  }

  /** Deploys and throws when that fails. */
  make(topology: TopologyObject | string, via = 1): Promise<Outcome> {
    return this.weftd(via).make(topology)
  }

  destroy(lab: string, via = 1): Promise<Outcome> {
    return this.weftd(via).destroy(lab)
  }

  inspect(lab: string, via = 1): Promise<InspectResponse> {
    return this.client(via).inspect(lab)
  }

  reach(lab: string, options: { readonly via?: number; readonly nodes?: ReadonlyArray<string>; readonly ipv6?: boolean } = {}) {
    const { ipv6 = false, nodes = [], via = 1 } = options
    return Array.fromAsync<ReachResult>(this.client(via).reach({ lab, nodes, timeoutMs: 2000, ipv6 }))
  }

  /** The command line tool against the daemon of a host. */
  weft(host: number, words: ReadonlyArray<string>, options: RunOptions = {}): Promise<Output> {
    return this.weftd(host).weft(words, options)
  }

  /** Runs a command in a node. */
  inNode(lab: string, node: string, ...argv: ReadonlyArray<string>): Promise<Output> {
    return run(["nsenter", `--net=${Netns.path(Netns.nodeName(lab, node))}`, "--", ...argv])
  }

  /** Whether `from` gets an answer to one ping. */
  async pings(lab: string, from: string, address: string): Promise<boolean> {
    return (await this.inNode(lab, from, "ping", "-c", "1", "-W", "1", address)).code === 0
  }

  /** Runs a command on a host, beside its weftd. */
  onHost(host: number, ...argv: ReadonlyArray<string>): Promise<Output> {
    return run(["nsenter", `--net=${this.netns(host).path}`, "--", ...argv])
  }

  kill(host: number): Promise<void> {
    return this.weftd(host).kill()
  }

  stop(host: number): Promise<number | null> {
    return this.weftd(host).stop()
  }

  /** Starts a host's daemon again and waits until it answers. */
  restart(host: number): Promise<void> {
    return this.weftd(host).start()
  }

  /** Takes a host's cable to the underlay. */
  cut(host: number): void {
    sh("ip", "-n", this.underlay.name, "link", "set", `h${host}`, "down")
  }

  mend(host: number): void {
    sh("ip", "-n", this.underlay.name, "link", "set", `h${host}`, "up")
  }

  /** Two hosts do not hear each other any more, but all others, and etcd. */
  part(one: number, other: number): void {
    this.blackhole("add", one, other)
  }

  join(one: number, other: number): void {
    this.blackhole("del", one, other)
  }

  private blackhole(verb: "add" | "del", one: number, other: number): void {
    for (const [from, to] of [[one, other], [other, one]] as const) {
      const family = this.isIpv6 ? "-6" : "-4"
      sh("ip", family, "-n", this.netns(from).name, "route", verb, "blackhole", this.address(to))
    }
  }

  /** Every daemon sees every host alive. */
  async complete(): Promise<void> {
    const isComplete = async (daemon: Weftd): Promise<boolean> => {
      if (!daemon.isRunning) return true
      const shown = await daemon.weft(["hosts", "-o", "json"])
      if (shown.code !== 0) throw new Error(`weft hosts: ${shown.stderr}`)
      const listed = JSON.parse(shown.stdout) as ReadonlyArray<{ readonly name: string; readonly state: string }>
      return this.hostNames.every((name) => listed.some((host) => host.name === name && host.state !== "lost"))
    }
    await until("all hosts know of each other", async () => (await Promise.all(this.daemons.map(isComplete))).every(Boolean), 120_000)
  }

  // ---- etcd --------------------------------------------------------------------------------------------------------

  startEtcd(member = 1): void {
    const found = this.members[member - 1]!
    if (found.child !== undefined) return
    const [peer, client] = [`http://${bracketed(found.address)}:${peerPort}`, this.clientUrl(found)]
    const cluster = this.members.map(({ address, name }) => `${name}=http://${bracketed(address)}:${peerPort}`).join(",")
    const { ca, cert, key } = this.pki("etcd")
    const tls = ["--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", cert, "--key-file", key]
    const log = openSync(`${found.directory}.log`, "a")
    found.child = spawn(
      "nsenter",
      [
        `--net=${this.underlay.path}`,
        "--",
        "etcd",
        ...["--name", found.name, "--data-dir", found.directory],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
        ...["--listen-client-urls", client, "--advertise-client-urls", client],
        ...["--initial-cluster", cluster, "--initial-cluster-token", `weft-test-${process.pid}`],
        ...(this.options.etcdTls ? tls : [])
      ],
      { stdio: ["ignore", log, log] }
    )
    found.child.unref()
    closeSync(log)
  }

  /** Ends a member; `SIGKILL` as a crash would. */
  async stopEtcd(member = 1, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const found = this.members[member - 1]!
    const { child } = found
    found.child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    // It was let go when it started, so that a failed test does not wait for it; this waits.
    child.ref()
    const gone = once(child, "exit")
    child.kill(signal)
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000)
    await gone
    clearTimeout(timer)
  }

  /** The members that run answer, with a leader. */
  async etcdReady(): Promise<void> {
    await until("etcd answers", async () => (await this.etcdctl("get", "--limit=1", "--keys-only", "weft-test")).code === 0, etcdPatienceMs)
  }

  /** `etcdctl` against all members. */
  etcdctl(...words: ReadonlyArray<string>): Promise<Output> {
    const { ca, cert, key } = this.pki("operator")
    const tls = this.options.etcdTls ? ["--cacert", ca, "--cert", cert, "--key", key] : []
    const argv = ["etcdctl", "--endpoints", this.endpoints, "--command-timeout=5s", ...tls, ...words]
    return run(["nsenter", `--net=${this.underlay.path}`, "--", ...argv], { env: { ...process.env, ETCDCTL_API: "3" } })
  }

  private clientUrl({ address }: Member): string {
    return `${this.options.etcdTls ? "https" : "http"}://${bracketed(address)}:${clientPort}`
  }

  // ---- making and ending -------------------------------------------------------------------------------------------

  private get isIpv6(): boolean {
    return this.options.underlay === "ipv6"
  }

  private addressOf(number: number): string {
    return this.isIpv6 ? `fd99::${number}` : `10.99.0.${number}`
  }

  /** Bridge, veths and addresses. */
  private wire(): void {
    const { mtu } = this.options
    const own = (address: string): string => (this.isIpv6 ? `${address}/64 dev` : `${address}/24 dev`)
    const flags = this.isIpv6 ? "nodad" : ""
    ipBatch(this.underlay, [
      `link add br0 mtu ${mtu} type bridge`,
      "link set br0 up",
      ...this.members.map(({ address }) => `address add ${own(address)} br0 ${flags}`),
      ...this.namespaces.flatMap(({ name }, i) => [
        `link add h${i + 1} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${name}`,
        `link set h${i + 1} master br0 up`
      ])
    ])
    this.namespaces.forEach((namespace, i) =>
      ipBatch(namespace, ["link set eth0 up", `address add ${own(this.addressOf(i + 1))} eth0 ${flags}`])
    )
  }

  private async certify(): Promise<void> {
    const directory = join(this.directory, "pki")
    await Authority.init(directory)
    const both = { client: true, server: true }
    const daemons = this.hostNames.map((name, i) =>
      Authority.issue(directory, name, { ...both, hosts: [this.address(i + 1), name], role: "daemon" }, 30)
    )
    const etcdHosts = this.members.map(({ address }) => address)
    await Promise.all([
      ...daemons,
      Authority.issue(directory, "etcd", { ...both, hosts: etcdHosts, role: "viewer" }, 30),
      Authority.issue(directory, "operator", { client: true, server: false, hosts: [], role: "operator" }, 30)
    ])
  }

  private wordsOf(host: number): ReadonlyArray<string> {
    const { ca, cert, key } = this.pki(`h${host}`)
    const address = this.address(host)
    const identity = ["--host", `h${host}`, "--underlay", address, "--listen", `${bracketed(address)}:${daemonPort}`]
    return ["--etcd", this.endpoints, ...identity, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
  }

  /** The end of every log. */
  logs(length = 1500): string {
    const daemons = this.daemons.map((daemon, i) => ({ who: `h${i + 1}`, text: textOf(join(daemon.directory, "weftd.log")) }))
    const members = this.members.map(({ directory, name }) => ({ who: `etcd ${name}`, text: textOf(`${directory}.log`) }))
    return [...daemons, ...members.map(({ text, who }) => ({ who, text: text.slice(-400) }))]
      .map(({ text, who }) => `---- ${who}\n${text.slice(-length)}`)
      .join("\n")
  }

  /**
   * Destroys every lab, stops daemons and etcd, removes the hosts. Throws when any instance has left something; that is then
   * removed by force, so that one failure is not followed by ten.
   */
  async close(): Promise<void> {
    const problems: string[] = []
    const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch((error: Error) => problems.push(error.message))
    if (this.daemons.some((daemon) => daemon.isRunning || daemon.leftovers().length > 0)) await attempt(this.destroyAll(problems))
    await Promise.all(this.daemons.map((daemon) => attempt(daemon.stop())))
    const left = await Promise.all(this.daemons.map((daemon) => daemon.remaining()))
    problems.push(...new Set(left.flat()))
    await Promise.all(this.members.map((_, i) => this.stopEtcd(i + 1, "SIGKILL")))
    const logs = problems.length > 0 ? this.logs() : ""
    if (problems.length > 0) this.scrub()
    this.world.close()
    for (const directory of [this.directory, ...this.daemons.map((daemon) => daemon.directory)]) {
      rmSync(directory, { recursive: true, force: true })
    }
    if (problems.length > 0) throw new Error(`Left behind by the fleet: ${problems.join("\n")}\n${logs}`)
  }

  /** With every host and every member of etcd back at work. */
  private async destroyAll(problems: string[]): Promise<void> {
    for (const [i] of this.daemons.entries()) this.mend(i + 1)
    for (const [i] of this.members.entries()) this.startEtcd(i + 1)
    await this.etcdReady()
    await Promise.all(this.daemons.map((daemon) => daemon.isRunning || daemon.start()))
    problems.push(...(await this.weftd(1).destroyAll()))
  }

  private scrub(): void {
    for (const daemon of this.daemons) {
      for (const thing of daemon.leftovers()) {
        const [kind, name] = thing.split(" ") as [string, string | undefined]
        if (kind === "namespace") Netns.remove(name!)
        else if (kind === "process") process.kill(Number(name), "SIGKILL")
        else if (kind.startsWith("/run/weft/")) rmSync(kind, { recursive: true, force: true })
      }
    }
  }
}

const bracketed = (address: string): string => (address.includes(":") ? `[${address}]` : address)

const textOf = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return "(none)"
  }
}

/** Who reaches whom, and as whom: what must not depend on where nodes are. */
export const matrixOf = (results: ReadonlyArray<ReachResult>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    results
      .map(({ from, icmp, seenAs, tcp, to }) => [`${from} -> ${to}`, `icmp ${icmp}, tcp ${tcp}, seen as ${seenAs}`] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
  )

/** Host by node. */
export const placementOf = (inspected: InspectResponse): Readonly<Record<string, string>> =>
  Object.fromEntries(inspected.nodes.map(({ host, name }) => [name, host]))
