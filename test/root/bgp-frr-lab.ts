/**
 * A lab in which weft's speaker stands between nodes that run Debian's FRR. Each test gives both sides a configuration, waits for
 * what it wants to see, and reads it from both: weft's RIB, FRR's JSON, and the kernels' routes.
 *
 *     weft:f1 -- f1:weft   10.0.1.1/24, 2001:db8:1::1/64 -- 10.0.1.2/24, 2001:db8:1::2/64; and so on with f2, f3
 *     lan: weft .1, f1 .2, ... of 10.0.100.0/24 and 2001:db8:100::/64
 *
 *   const lab = await FrrLab.start(t, "attributes", 2)
 *   await lab.set({ as: 65001, neighbors: [...] }, { f1: router(65002, 1, "neighbor ...") })
 *   const path = await lab.frrPath("f1", "10.1.0.0/24")           waits until FRR has a path
 *   const [mine] = await lab.paths("10.2.0.0/24")                 waits until weft has one
 */
import type { Test } from "tap"
import type { BgpNeighbor, BgpPath, BgpRoutesRequest } from "../../ctl/messages.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { type FrrOptions, type Peer, startFrr } from "./bgp-peers.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { type Namespace, until, World } from "./harness.ts"

/** Two busy cores, and FRR's own delays of seconds. */
export const patienceMs = 120_000

type Bgp = Readonly<Record<string, unknown>>
type FrrName = "f1" | "f2" | "f3"

/** More of a lab, on top of what all have. */
export interface FrrLabExtra {
  /** Links have IPv4 only, and there is no lan. */
  readonly isPlain?: boolean
  readonly nodes?: Readonly<Record<string, object>>
  readonly links?: ReadonlyArray<object>
  readonly networks?: Readonly<Record<string, object>>
}

/** One path of `show bgp ... PREFIX json`, as far as tests look at it. */
export interface FrrPath {
  readonly aspath?: { readonly string: string }
  readonly origin?: string
  readonly metric?: number
  readonly locPrf?: number
  readonly weight?: number
  readonly valid?: boolean
  readonly stale?: boolean
  readonly atomicAggregate?: boolean
  readonly aggregatorAs?: number
  readonly bestpath?: { readonly overall?: boolean }
  readonly community?: { readonly string: string }
  readonly largeCommunity?: { readonly string: string }
  readonly extendedCommunity?: { readonly string: string }
  readonly originatorId?: string
  readonly clusterList?: { readonly list: ReadonlyArray<string> }
  readonly nexthops?: ReadonlyArray<{ readonly ip: string; readonly afi: string; readonly scope?: string; readonly used?: boolean }>
  readonly peer?: { readonly peerId: string }
  readonly addPathRxId?: number
}

/** `show bgp neighbors X json`, as far as tests look at it. */
export interface FrrNeighbor {
  readonly bgpState: string
  readonly lastResetDueTo?: string
  readonly lastShutdownDescription?: string
  readonly remoteRouterId?: string
  readonly bgpTimerHoldTimeMsecs?: number
  readonly bgpTimerKeepAliveIntervalMsecs?: number
  readonly connectionsEstablished?: number
  readonly neighborCapabilities?: Readonly<Record<string, unknown>>
  readonly addressFamilyInfo?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly [more: string]: unknown
}

/** `router bgp` with what every test wants: FRR `id`, quick, without demands on policies. */
export const router = (asn: number, id: number, ...lines: ReadonlyArray<string>): string =>
  [
    `router bgp ${asn}`, ` bgp router-id 10.255.1.${id}`, "no bgp ebgp-requires-policy", "no bgp network import-check",
    "no bgp default ipv4-unicast", ...lines
  ].join("\n")

/** A neighbour of FRR's. `lines` go after its address. */
export const neighbor = (address: string, asn: number | string, ...lines: ReadonlyArray<string>): string =>
  [`remote-as ${asn}`, "timers 3 9", "timers connect 1", "advertisement-interval 0", ...lines]
    .map((line) => `neighbor ${address} ${line}`)
    .join("\n")

/** An address family of FRR's; `lines` as they are. */
export const family = (name: "ipv4" | "ipv6", ...lines: ReadonlyArray<string>): string =>
  [`address-family ${name} unicast`, ...lines, "exit-address-family"].join("\n")

export class FrrLab {
  readonly weftd: Weftd
  readonly name: string
  readonly #world: World
  readonly #peers = new Map<string, Peer>()
  readonly #count: number
  readonly #extra: FrrLabExtra
  readonly #configured = new Set<string>()
  readonly #options: FrrOptions
  /** What the topology says of FRR's nodes now. */
  #nodes: Readonly<Partial<Record<FrrName, object>>> = {}

  private constructor(weftd: Weftd, label: string, count: number, options: FrrOptions, extra: FrrLabExtra) {
    this.weftd = weftd
    this.name = weftd.name(label)
    this.#world = new World(`frr-${label}`)
    this.#count = count
    this.#options = options
    this.#extra = extra
  }

  /** weft and `count` nodes with FRR that have no configuration yet. */
  static async start(
    t: Test,
    label: string,
    count: number,
    options: FrrOptions = {},
    extra: FrrLabExtra = {}
  ): Promise<FrrLab> {
    const weftd = await Weftd.start(`frr-${label}`)
    const lab = new FrrLab(weftd, label, count, options, extra)
    t.teardown(() => lab.#close())
    await weftd.make(lab.topology(undefined))
    await Promise.all(lab.#names().map((name) => lab.startFrr(name as FrrName)))
    return lab
  }

  async #close(): Promise<void> {
    await Promise.all(Array.from(this.#peers.values(), (peer) => peer.stop()))
    this.#world.close()
    await this.weftd.close()
  }

  #names(): ReadonlyArray<string> {
    return Array.from({ length: this.#count }, (_, i) => `f${i + 1}`)
  }

  topology(bgp: Bgp | undefined): TopologyObject {
    const names = this.#names()
    const { isPlain = false, links = [], networks = {}, nodes = {} } = this.#extra
    const timers = { hold: "9s", keepalive: "3s", "connect-retry": "1s" }
    const weft = { kind: "router", loopback: ["10.255.0.1", "2001:db8:ffff::1"], ...nodes["weft"] }
    const lan = { cidr: ["10.0.100.0/24", "2001:db8:100::/64"], ports: ["weft", ...names].map((name) => `${name}:lan`) }
    return {
      name: this.name,
      nodes: {
        ...nodes,
        weft: bgp === undefined ? weft : { ...weft, bgp: { derive: false, "router-id": "10.255.0.1", timers, ...bgp } },
        ...Object.fromEntries(names.map((name) => [name, { kind: "router", ...nodes[name], ...this.#nodes[name as FrrName] }]))
      },
      links: [
        ...names.map((name, i) => ({
          endpoints: [`weft:${name}`, `${name}:weft`],
          cidr: isPlain ? `10.0.${i + 1}.0/24` : [`10.0.${i + 1}.0/24`, `2001:db8:${i + 1}::/64`]
        })),
        ...links
      ],
      networks: { ...(isPlain ? {} : { lan }), ...networks }
    }
  }

  namespace(node: string): Namespace {
    const name = Netns.nodeName(this.name, node)
    return { name, path: Netns.path(name), fd: -1 }
  }

  async startFrr(name: FrrName, configuration = ""): Promise<void> {
    if (configuration !== "") this.#configured.add(name)
    this.#peers.set(name, await startFrr(this.#world, this.namespace(name), configuration, this.#options))
  }

  /** Ends the whole of FRR as a crash would; `startFrr` brings it back. */
  async killFrr(name: FrrName): Promise<void> {
    await this.frr(name).stop(true)
    this.#peers.delete(name)
    this.#configured.delete(name)
  }

  frr(name: FrrName): Peer {
    const peer = this.#peers.get(name)
    if (peer === undefined) throw new Error(`no FRR runs in ${name}`)
    return peer
  }

  /**
   * New configurations for both sides, from scratch for each FRR: sessions start anew. FRRs without one speak no BGP.
   * `nodes`: what the topology says of FRR's nodes.
   */
  async set(
    bgp: Bgp,
    frr: Readonly<Partial<Record<FrrName, string>>>,
    nodes: Readonly<Partial<Record<FrrName, object>>> = {}
  ): Promise<void> {
    this.#nodes = nodes
    const names = Array.from(this.#peers.keys()) as ReadonlyArray<FrrName>
    await Promise.all(names.filter((name) => this.#configured.has(name)).map((name) => this.frr(name).configure("no router bgp")))
    this.#configured.clear()
    // Side by side: a deploy waits for sessions with nodes of the lab.
    await Promise.all([
      this.weft(bgp),
      ...names.flatMap((name) => {
        const text = frr[name]
        if (text === undefined) return []
        this.#configured.add(name)
        return [this.frr(name).configure(text)]
      })
    ])
    await this.#resetHalfMade()
  }

  /**
   * FRR takes its configuration line by line. Who has connected before a neighbour's families are active has a session without
   * them, which FRR keeps where that connection was not its own.
   */
  async #resetHalfMade(): Promise<void> {
    const { neighbors } = await this.weftd.client.bgp(`${this.name}/weft`)
    const isHalfMade = ({ capabilities, state }: BgpNeighbor): boolean =>
      state === "OpenSent" || state === "OpenConfirm" || (state === "Established" && !capabilities.some((one) => one.endsWith("-unicast")))
    for (const { name } of neighbors.filter(isHalfMade)) await this.weftd.weft(["bgp", `${this.name}/weft`, "reset", name])
  }

  /** Another configuration for weft only. */
  async weft(bgp: Bgp): Promise<void> {
    await this.weftd.make(this.topology(bgp))
  }

  /** weft's view of its neighbour of that name. */
  async neighbor(name: string): Promise<BgpNeighbor | undefined> {
    return (await this.weftd.client.bgp(`${this.name}/weft`)).neighbors.find((one) => one.name === name)
  }

  /** Waits for a session that weft calls `name`; tells what both say of it if it does not come up. */
  async up(...names: ReadonlyArray<string>): Promise<void> {
    for (const name of names) {
      try {
        await until(`${name} is up`, async () => (await this.neighbor(name))?.state === "Established", patienceMs)
      } catch (error) {
        const logs = Array.from(this.#peers.values(), (peer) => peer.log().slice(-1500)).join("\n")
        throw new Error(`${(error as Error).message}: ${JSON.stringify(await this.neighbor(name), null, 1)}\n${logs}`)
      }
    }
  }

  async routes(request: Partial<BgpRoutesRequest>): Promise<ReadonlyArray<BgpPath>> {
    const all: BgpPath[] = []
    const words = { table: "rib" as const, vrf: "", family: "", neighbor: "", prefix: "", limit: 0, ...request }
    try {
      for await (const { paths } of this.weftd.client.bgpRoutes({ node: `${this.name}/weft`, ...words })) all.push(...paths)
    } catch (error) {
      if (!/has no route to/.test((error as Error).message)) throw error
    }
    return all
  }

  /** weft's paths of a prefix as soon as `holds` for them: unless said otherwise there are some, and it has chosen among them. */
  async paths(
    prefix: string,
    holds: (paths: ReadonlyArray<BgpPath>) => boolean = (paths) => paths.some(({ best }) => best),
    vrf = ""
  ): Promise<ReadonlyArray<BgpPath>> {
    let last: ReadonlyArray<BgpPath> = []
    return told(`weft has the paths of ${prefix}`, () => last, async () => holds((last = await this.routes({ prefix, vrf }))))
  }

  /** FRR's paths of a prefix as soon as `holds` for them. */
  async frrPaths(
    name: FrrName,
    prefix: string,
    holds: (paths: ReadonlyArray<FrrPath>) => boolean = (paths) => paths.length > 0
  ): Promise<ReadonlyArray<FrrPath>> {
    let last: ReadonlyArray<FrrPath> = []
    const command = `show bgp ${prefix.includes(":") ? "ipv6" : "ipv4"} unicast ${prefix} json`
    const seen = told(`${name} has the paths of ${prefix}`, () => last, async () => {
      const { paths = [] } = (await this.frr(name).ask(command)) as { readonly paths?: ReadonlyArray<FrrPath> }
      return holds((last = paths))
    })
    return seen.catch(async (error: Error) => {
      const { neighbors } = await this.weftd.client.bgp(`${this.name}/weft`)
      const ours = neighbors.map((one) => `${one.name} ${one.state} ${one.capabilities.join(",")} ${one.lastReset}`)
      throw new Error(`${error.message}; weft has ${JSON.stringify(await this.routes({ prefix }))}, and neighbors ${ours.join("; ")}`)
    })
  }

  async frrPath(name: FrrName, prefix: string, holds: (path: FrrPath) => boolean = () => true): Promise<FrrPath> {
    const paths = await this.frrPaths(name, prefix, (all) => all.some((path) => path.aspath !== undefined && holds(path)))
    return paths.find(holds)!
  }

  /** FRR has no path of the prefix, or loses it soon. Wait first for another one that comes with or after it. */
  async frrLacks(name: FrrName, prefix: string): Promise<void> {
    await this.frrPaths(name, prefix, (paths) => paths.length === 0)
  }

  async frrNeighbor(name: FrrName, address: string): Promise<FrrNeighbor> {
    const answer = (await this.frr(name).ask(`show bgp neighbors ${address} json`)) as Readonly<Record<string, FrrNeighbor>>
    return answer[address] ?? { bgpState: "none" }
  }

  /** The kernel's routes to a prefix in a node, as `ip route` has them. */
  kernel(node: string, prefix: string, ...words: ReadonlyArray<string>): string {
    const version = prefix.includes(":") ? "-6" : "-4"
    return sh("ip", "-n", Netns.nodeName(this.name, node), version, "route", "show", ...words, prefix).trim()
  }

  async inKernel(node: string, prefix: string, pattern: RegExp, ...words: ReadonlyArray<string>): Promise<void> {
    await told(`the kernel of ${node} has ${pattern} for ${prefix}`, () => this.kernel(node, prefix, ...words), () =>
      pattern.test(this.kernel(node, prefix, ...words)))
  }

  /** The lab's events of weft, as `weft events` prints them. */
  async events(): Promise<string> {
    return (await this.weftd.weft(["events", this.name])).stdout
  }
}

/** `until`, with what there was instead; the value in the end. */
const told = async <A>(what: string, value: () => A, holds: () => boolean | Promise<boolean>): Promise<A> => {
  try {
    await until(what, holds, patienceMs)
  } catch (error) {
    throw new Error(`${(error as Error).message}; there is ${JSON.stringify(value(), null, 1)}`)
  }
  return value()
}
