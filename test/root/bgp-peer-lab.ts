/**
 * A lab in which weft's speaker stands between nodes that are others': BIRD, GoBGP, ExaBGP, or a raw client of the test's own.
 *
 *     weft:p1 -- p1:weft   10.0.1.1/24, 2001:db8:1::1/64 -- 10.0.1.2/24, 2001:db8:1::2/64; and so on with p2, p3
 *     loopbacks: weft 10.255.0.1 and 2001:db8:ffff::1, p1 10.255.1.1 and 2001:db8:ffff:1::1, ...
 *
 *   const lab = await PeerLab.start(t, "bird", 2)
 *   const bird = await lab.run("p1", (world, namespace) => startBird(world, namespace, "..."))
 *   await lab.weft({ as: 65001, neighbors: [{ peer: "10.0.1.2", as: 65002 }] })
 *   await lab.up("10.0.1.2")
 *   const [path] = await lab.paths("10.2.0.0/24")            waits until weft has one
 */
import type { Test } from "tap"
import type { BgpNeighbor, BgpPath, BgpRoutesRequest } from "../../ctl/messages.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { addon } from "../../daemon/native/index.ts"
import type { Peer } from "./bgp-peers.ts"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { type Namespace, until, World } from "./harness.ts"

/** Two busy cores, and peers' own delays of seconds. */
export const patienceMs = 120_000

/** There are paths, and the best of those that may be used is chosen: that is done a moment after they have come. */
const isDecided = (paths: ReadonlyArray<BgpPath>): boolean =>
  paths.length > 0 && (paths.some(({ best }) => best) || paths.every(({ valid }) => !valid))

export type Bgp = Readonly<Record<string, unknown>>

/** weft's and the peer's address on the link to peer `i`, from 1. */
export const addressesOf = (i: number) => ({
  weft: `10.0.${i}.1`,
  peer: `10.0.${i}.2`,
  weft6: `2001:db8:${i}::1`,
  peer6: `2001:db8:${i}::2`
})

/** `until`, with what there was instead; the value in the end. */
export const told = async <A>(what: string, value: () => A, holds: () => boolean | Promise<boolean>): Promise<A> => {
  try {
    await until(what, holds, patienceMs)
  } catch (error) {
    throw new Error(`${(error as Error).message}; there is ${JSON.stringify(value(), null, 1)}`)
  }
  return value()
}

export class PeerLab {
  readonly weftd: Weftd
  readonly name: string
  readonly world: World
  readonly #peers = new Set<Peer>()
  readonly #open = new Map<string, Namespace>()
  readonly #count: number

  private constructor(weftd: Weftd, label: string, count: number) {
    this.weftd = weftd
    this.name = weftd.name(label)
    this.world = new World(`peers-${label}`)
    this.#count = count
  }

  /** weft and `count` nodes in which nothing runs yet. */
  static async start(t: Test, label: string, count: number): Promise<PeerLab> {
    const weftd = await Weftd.start(`peers-${label}`)
    const lab = new PeerLab(weftd, label, count)
    t.teardown(() => lab.#close())
    await weftd.make(lab.topology(undefined))
    return lab
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#peers].map((peer) => peer.stop()))
    this.world.close()
    for (const { fd } of this.#open.values()) addon.close(fd)
    await this.weftd.close()
  }

  /** `others`: what nodes of peers speak, so that weft can name them; what they do is the peers'. */
  topology(bgp: Bgp | undefined, others: Readonly<Record<string, Bgp>> = {}): TopologyObject {
    const numbers = Array.from({ length: this.#count }, (_, i) => i + 1)
    const timers = { hold: "9s", keepalive: "3s", "connect-retry": "1s" }
    const ways = numbers.flatMap((i) => [
      { to: `10.255.1.${i}/32`, via: `10.0.${i}.2` },
      { to: `2001:db8:ffff:${i}::1/128`, via: `2001:db8:${i}::2` }
    ])
    const weft = { kind: "router", loopback: ["10.255.0.1", "2001:db8:ffff::1"], routes: ways }
    const back = (i: number): ReadonlyArray<object> => [
      { to: "10.255.0.1/32", via: `10.0.${i}.1` },
      { to: "2001:db8:ffff::1/128", via: `2001:db8:${i}::1` }
    ]
    const peer = (i: number): object => {
      const other = others[`p${i}`]
      const node = { kind: "router", loopback: [`10.255.1.${i}`, `2001:db8:ffff:${i}::1`], routes: back(i) }
      return other === undefined ? node : { ...node, bgp: { external: true, ...other } }
    }
    const own = { as: 65001, derive: false, "router-id": "10.255.0.1" }
    const speaks = bgp && { bgp: { ...own, ...bgp, timers: { ...timers, ...(bgp["timers"] ?? {}) } } }
    return {
      name: this.name,
      nodes: { weft: { ...weft, ...speaks }, ...Object.fromEntries(numbers.map((i) => [`p${i}`, peer(i)])) },
      links: numbers.map((i) => ({ endpoints: [`weft:p${i}`, `p${i}:weft`], cidr: [`10.0.${i}.0/24`, `2001:db8:${i}::/64`] }))
    }
  }

  namespace(node: string): Namespace {
    const known = this.#open.get(node)
    if (known !== undefined) return known
    const name = Netns.nodeName(this.name, node)
    const namespace = { name, path: Netns.path(name), fd: addon.netnsOpen(Netns.path(name)) }
    this.#open.set(node, namespace)
    return namespace
  }

  /** Starts a peer in a node; it ends with the lab at the latest. */
  async run(node: string, start: (world: World, namespace: Namespace) => Promise<Peer>): Promise<Peer> {
    const peer = await start(this.world, this.namespace(node))
    this.#peers.add(peer)
    return peer
  }

  async stop(peer: Peer, crash = false): Promise<void> {
    this.#peers.delete(peer)
    await peer.stop(crash)
  }

  /** Another configuration of weft's speaker. */
  async weft(bgp: Bgp, others: Readonly<Record<string, Bgp>> = {}): Promise<void> {
    await this.weftd.make(this.topology(bgp, others))
  }

  /** weft's view of its neighbour of that name. */
  async neighbor(name: string): Promise<BgpNeighbor | undefined> {
    return (await this.neighbors()).find((one) => one.name === name)
  }

  async neighbors(): Promise<ReadonlyArray<BgpNeighbor>> {
    return (await this.weftd.client.bgp(`${this.name}/weft`)).neighbors
  }

  /** Waits until these sessions are established; tells what both sides say if they are not. */
  async up(...names: ReadonlyArray<string>): Promise<void> {
    for (const name of names) await this.is(name, (neighbor) => neighbor.state === "Established", "is up")
  }

  /** Waits for something of a neighbour; its state then. */
  async is(name: string, holds: (neighbor: BgpNeighbor) => boolean, what = "is as wanted"): Promise<BgpNeighbor> {
    let last: BgpNeighbor | undefined
    try {
      await told(`${name} ${what}`, () => last, async () => {
        last = await this.neighbor(name)
        return last !== undefined && holds(last)
      })
    } catch (error) {
      const logs = Array.from(this.#peers, (peer) => `${peer.kind}:\n${peer.log().slice(-1500)}`).join("\n")
      throw new Error(`${(error as Error).message}\n${logs}`)
    }
    return last!
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

  /** weft's paths of a prefix as soon as `holds` for them: unless said otherwise, as soon as one is chosen or none may be. */
  async paths(
    prefix: string,
    holds: (paths: ReadonlyArray<BgpPath>) => boolean = isDecided
  ): Promise<ReadonlyArray<BgpPath>> {
    let last: ReadonlyArray<BgpPath> = []
    return told(`weft has the paths of ${prefix}`, () => last, async () => holds((last = await this.routes({ prefix }))))
  }

  /** weft has no path of the prefix any more. */
  async lacks(...prefixes: ReadonlyArray<string>): Promise<void> {
    for (const prefix of prefixes) await this.paths(prefix, (paths) => paths.every((path) => path.prefix !== prefix))
  }

  /** The kernel's routes to a prefix in a node, as `ip route` has them. */
  kernel(node: string, prefix: string): string {
    return sh("ip", "-n", Netns.nodeName(this.name, node), prefix.includes(":") ? "-6" : "-4", "route", "show", prefix).trim()
  }

  async inKernel(node: string, prefix: string, pattern: RegExp): Promise<void> {
    const read = (): string => this.kernel(node, prefix)
    await told(`the kernel of ${node} has ${pattern} for ${prefix}`, read, () => pattern.test(read()))
  }

  /** The lab's events of weft, as `weft events` prints them. */
  async events(): Promise<string> {
    return (await this.weftd.weft(["events", this.name, "-n", "1000"])).stdout
  }
}
