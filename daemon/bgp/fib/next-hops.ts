/**
 * Next hops: who asks for an address gets a number, and is told when it can be reached or not any more.
 *
 * A next hop is found by the longest match over connected networks, routes of others (static, learned by RA or DHCP) and the
 * speaker's own BGP routes; what it finds is a list of ways: a gateway on an interface, each of which becomes one nexthop object in
 * the kernel. A BGP route leads to its own next hops, so that one may depend on another; a next hop that would depend on itself is
 * unreachable (RFC 4271 9.1.2.1), and BGP's default route leads to none. A link-local one needs its interface and no route.
 *
 * Changes are worked off at once when an interface, an address or BFD is the reason, and in `settle` when BGP's own routes are. In
 * both cases the kernel is told first (`Kernel`), who listens then.
 */
import { format, parse } from "../../wire/ip.ts"
import { covers, isLinkLocal } from "../../wire/prefix.ts"
import type { FamilyIndex, ForeignRoute, LinkState, NextHopsApi, Scope, ScopedNextHops } from "./api.ts"
import { Interest } from "./interest.ts"
import type { Monitor } from "./monitor.ts"

/** A gateway on an interface; 0.0.0.0 or ::, where what is sought is on the link itself. */
export interface Way {
  readonly gateway: string
  readonly octets: Uint8Array
  readonly ifindex: number
  readonly weight: number
}

/** Who keeps nexthop objects for next hops. */
export interface Kernel {
  /** The kernel has dropped all nexthop objects of an interface. */
  linkLost(ifindex: number): void
  /** The ways of these next hops changed. */
  changed(indexes: ReadonlyArray<number>): void
}

/** The speaker's own routes, for next hops that are reached by them. */
export interface OwnRoutes {
  /** Next hops of the longest match in a table. */
  longest(table: number, address: Uint8Array): { readonly length: number; readonly winners: ReadonlyArray<number> } | undefined
}

interface Tracked {
  readonly address: string
  readonly octets: Uint8Array
  readonly ifname: string | undefined
  readonly direct: boolean
  /** The way to a prefix by this table's own routes is meant, not an address: its length. */
  readonly routeLength: number | undefined
  scope: Scope
  references: number
  ways: ReadonlyArray<Way>
  metric: number
  /** Next hops that this one is reached by. */
  through: ReadonlyArray<number>
  reason: string
}

type Sought = Pick<Tracked, "address" | "ifname" | "direct" | "routeLength">
type Found = Pick<Tracked, "ways" | "metric" | "through" | "reason">

/** More ways than this to one next hop are not used. */
const maxWays = 16
const unreachable = (reason: string): Found => ({ ways: [], metric: 0xffffffff, through: [], reason })

const isSameWays = (a: ReadonlyArray<Way>, b: ReadonlyArray<Way>): boolean =>
  a.length === b.length &&
  a.every((way, i) => way.gateway === b[i]!.gateway && way.ifindex === b[i]!.ifindex && way.weight === b[i]!.weight)

const keyOf = (scope: string, { address, direct, ifname, routeLength }: Sought): string =>
  `${scope}\n${address}\n${ifname ?? ""}\n${direct}\n${routeLength ?? ""}`

/** Of what is down; empty: on any interface, in any scope. */
const blockKey = (address: string, ifname = "", scope = ""): string => `${address}%${ifname}%${scope}`

export class NextHops implements NextHopsApi {
  readonly #monitor: Monitor
  readonly #tracked: (Tracked | undefined)[] = []
  readonly #byKey = new Map<string, number>()
  readonly #free: number[] = []
  readonly #listeners = new Set<(index: number) => void>()
  readonly #blocked = new Set<string>()
  readonly #interest = new Interest()
  /** Addresses under BGP routes that changed since `settle`. */
  readonly #stale = new Set<number>()
  #scopes: ReadonlyArray<Scope> = []
  #kernel: Kernel | undefined
  #own: OwnRoutes | undefined

  constructor(monitor: Monitor, scopes: ReadonlyArray<Scope>) {
    this.#monitor = monitor
    this.#setScopes(scopes)
    monitor.listen({
      link: (index, link) => this.#onLink(index, link),
      addresses: () => this.#resolve(this.#all()),
      routes: (table, prefixes) => this.#onRoutes(table, prefixes)
    })
  }

  /** The FIB puts itself here. */
  attach(kernel: Kernel, own: OwnRoutes): void {
    this.#kernel = kernel
    this.#own = own
  }

  setScopes(scopes: ReadonlyArray<Scope>): void {
    this.#setScopes(scopes)
    for (const tracked of this.#tracked) {
      const scope = scopes.find(({ name }) => name === tracked?.scope.name)
      if (tracked !== undefined) tracked.scope = scope ?? { ...tracked.scope, ifnames: ["\n"] }
    }
    this.#resolve(this.#all())
  }

  #setScopes(scopes: ReadonlyArray<Scope>): void {
    this.#scopes = scopes
    this.#monitor.setScopes(scopes)
  }

  scope(scope: Scope): ScopedNextHops {
    const current = (): Scope => this.#scopes.find(({ name }) => name === scope.name) ?? scope
    return {
      track: (address, ifname, direct = false) => this.#track(current(), { address, ifname, direct, routeLength: undefined }),
      trackRoute: (prefix) => {
        const [address = "", length] = prefix.split("/")
        return this.#track(current(), { address, ifname: undefined, direct: true, routeLength: Number(length) })
      },
      release: (index) => this.release(index),
      isReachable: (index) => this.isReachable(index),
      metric: (index) => this.metric(index),
      onChange: (listener) => this.onChange(listener)
    }
  }

  isReachable(index: number): boolean {
    return (this.#tracked[index]?.ways.length ?? 0) > 0
  }

  metric(index: number): number {
    return this.#tracked[index]?.metric ?? 0xffffffff
  }

  ways(index: number): ReadonlyArray<Way> {
    return this.#tracked[index]?.ways ?? []
  }

  describe(index: number): string {
    return this.#tracked[index]?.reason ?? "not tracked"
  }

  onChange(listener: (index: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** One more user of a tracked next hop. */
  retain(index: number): void {
    this.#tracked[index]!.references++
  }

  release(index: number): void {
    const tracked = this.#tracked[index]
    if (tracked === undefined || --tracked.references > 0) return
    this.#byKey.delete(keyOf(tracked.scope.name, tracked))
    this.#interest.remove(tracked.octets, tracked)
    this.#stale.delete(index)
    this.#tracked[index] = undefined
    this.#free.push(index)
  }

  down(address: string, ifname?: string, scope?: string): void {
    this.#blocked.add(blockKey(address, ifname, scope))
    this.#resolve(this.#reachedBy(address, ifname))
  }

  up(address: string, ifname?: string, scope?: string): void {
    if (!this.#blocked.delete(blockKey(address, ifname, scope))) return
    this.#resolve(this.#all())
  }

  /** A BGP route came, changed or went: whether next hops lie under it. `Fib` calls `settle` later. */
  routeChanged(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): boolean {
    if (length === 0 || !this.#interest.isUnder(family, bytes, at, length)) return false
    const prefix = bytes.subarray(at, at + (family === 0 ? 4 : 16))
    for (const [index, tracked] of this.#tracked.entries()) {
      if (tracked !== undefined && !tracked.direct && covers(prefix, length, tracked.octets)) this.#stale.add(index)
    }
    return this.#stale.size > 0
  }

  /** Looks again for next hops under BGP routes that changed. */
  settle(): void {
    if (this.#stale.size === 0) return
    const indexes = [...this.#stale]
    this.#stale.clear()
    this.#resolve(indexes)
  }

  #track(scope: Scope, sought: Sought): number {
    const { address, direct } = sought
    const key = keyOf(scope.name, sought)
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      this.#tracked[known]!.references++
      return known
    }
    const octets = parse(address)
    if (octets === undefined) throw new Error(`Cannot track the next hop "${address}": it is no address`)
    const index = this.#free.pop() ?? this.#tracked.length
    const tracked: Tracked = { ...sought, octets, scope, references: 1, ...unreachable("") }
    this.#tracked[index] = tracked
    this.#byKey.set(key, index)
    if (!direct && !isLinkLocal(octets)) this.#interest.add(octets, tracked)
    Object.assign(tracked, this.#find(index, tracked))
    return index
  }

  #all(): number[] {
    return [...this.#byKey.values()]
  }

  #reachedBy(address: string, ifname: string | undefined): number[] {
    const ifindex = ifname === undefined ? undefined : this.#monitor.linkByName(ifname)?.index
    return this.#all().filter((index) => {
      const { address: own, ways } = this.#tracked[index]!
      return own === address || ways.some((way) => way.gateway === address && (ifindex === undefined || way.ifindex === ifindex))
    })
  }

  #onLink(index: number, link: LinkState | undefined): void {
    if (link?.isUsable === true) {
      this.#resolve(this.#all())
      return
    }
    this.#kernel?.linkLost(index)
    this.#resolve(this.#all().filter((one) => this.#tracked[one]!.ways.some(({ ifindex }) => ifindex === index)))
  }

  #onRoutes(table: number, prefixes: ReadonlySet<string>): void {
    const parsed = [...prefixes].map((prefix) => {
      const slash = prefix.indexOf("/")
      return { octets: parse(prefix.slice(0, slash))!, length: Number(prefix.slice(slash + 1)) }
    })
    this.#resolve(
      this.#all().filter((index) => {
        const tracked = this.#tracked[index]!
        return tracked.scope.table === table && parsed.some(({ octets, length }) => covers(octets, length, tracked.octets))
      })
    )
  }

  /** Looks for these next hops again, and for those that depend on what changed; tells the kernel and then who listens. */
  #resolve(indexes: ReadonlyArray<number>): void {
    const changed = new Set<number>()
    const queue = [...indexes]
    // Each round follows dependencies one step; a chain is never longer than there are next hops.
    for (let step = 0; queue.length > 0 && step <= 4 * this.#tracked.length + indexes.length; step++) {
      const index = queue.shift()!
      const tracked = this.#tracked[index]
      if (tracked === undefined) continue
      const found = this.#find(index, tracked)
      const isSame = isSameWays(found.ways, tracked.ways) && found.metric === tracked.metric
      Object.assign(tracked, found)
      if (isSame) continue
      changed.add(index)
      for (const other of this.#all()) if (this.#tracked[other]!.through.includes(index)) queue.push(other)
    }
    if (changed.size === 0) return
    this.#kernel?.changed([...changed])
    for (const index of changed) if (this.#tracked[index] !== undefined) for (const listener of [...this.#listeners]) listener(index)
  }

  #isBlocked(address: string, ifindex: number, scope: string): boolean {
    if (this.#blocked.size === 0) return false
    const ifname = this.#monitor.link(ifindex)?.name
    return [undefined, ifname].some((on) => [undefined, scope].some((within) => this.#blocked.has(blockKey(address, on, within))))
  }

  #find(index: number, tracked: Tracked): Found {
    const found = this.#look(index, tracked)
    if (found.ways.length === 0) return found
    const { address, scope } = tracked
    const open = found.ways.filter((way) => !this.#isBlocked(way.gateway, way.ifindex, scope.name))
    const isDown = open.length === 0 || this.#blocked.has(blockKey(address)) || this.#blocked.has(blockKey(address, "", scope.name))
    if (isDown) return unreachable(`${address} is down (BFD)`)
    return open.length === found.ways.length ? found : { ...found, ways: open }
  }

  #look(index: number, tracked: Tracked): Found {
    const { address, octets, ifname, scope } = tracked
    if (tracked.routeLength !== undefined) return this.#byTable(tracked, tracked.routeLength)
    if (isLinkLocal(octets)) return this.#onInterface(tracked)
    if (this.#monitor.isLocal(address)) return unreachable(`${address} is this node's own`)
    const connected = this.#connected(scope, octets, ifname)
    const foreign = this.#monitor.longestForeign(scope.table, octets)
    const own = tracked.direct ? undefined : this.#own?.longest(scope.table, octets)
    const best = Math.max(connected?.length ?? -1, foreign?.length ?? -1, own !== undefined && own.length > 0 ? own.length : -1)
    if (connected !== undefined && connected.length === best) {
      const way = { gateway: address, octets, ifindex: connected.ifindex, weight: 1 }
      return { ways: [way], metric: 0, through: [], reason: `connected, dev ${this.#monitor.link(way.ifindex)?.name ?? ""}` }
    }
    if (tracked.direct) return unreachable("not on a connected network")
    if (foreign !== undefined && foreign.length === best) {
      const ways = foreign.route.ways.slice(0, maxWays).map(({ gateway = address, ifindex, weight }) => ({
        gateway,
        octets: parse(gateway)!,
        ifindex,
        weight
      }))
      if (ways.length === 0) return unreachable(`${foreign.route.prefix} discards`)
      return { ways, metric: foreign.route.metric, through: [], reason: `by ${foreign.route.prefix} (${foreign.route.source})` }
    }
    if (own !== undefined && own.length === best) return this.#byOwn(index, own.winners)
    return unreachable("no route")
  }

  /** As the table's connected and static routes go to all of a prefix. */
  #byTable({ address, octets, scope }: Tracked, length: number): Found {
    const none = format(new Uint8Array(octets.length))
    const connected = this.#connected(scope, octets, undefined)
    const foreign = this.#monitor.longestForeign(scope.table, octets)
    const isConnected = connected !== undefined && connected.length <= length && connected.length >= (foreign?.length ?? -1)
    const others = foreign !== undefined && foreign.length <= length ? foreign.route.ways : []
    const found: ForeignRoute["ways"] = isConnected ? [{ ifindex: connected.ifindex, weight: 1 }] : others
    const ways = found.slice(0, maxWays).map(({ gateway = none, ifindex, weight }) => {
      return { gateway, octets: parse(gateway)!, ifindex, weight }
    })
    if (ways.length === 0) return unreachable(`the table ${scope.name} has no route to ${address}/${length}`)
    const ifname = this.#monitor.link(ways[0]!.ifindex)?.name ?? ""
    return { ways, metric: 0, through: [], reason: `as in the table ${scope.name}, dev ${ifname}` }
  }

  #onInterface({ address, octets, ifname, scope }: Tracked): Found {
    const link = ifname === undefined ? undefined : this.#monitor.linkByName(ifname)
    if (link === undefined) return unreachable(ifname === undefined ? "link-local without an interface" : `no interface ${ifname}`)
    if (!this.#monitor.belongs(scope, link.name)) return unreachable(`${link.name} is not in the table ${scope.name}`)
    if (!link.isUsable) return unreachable(`${link.name} has no carrier`)
    const way = { gateway: address, octets, ifindex: link.index, weight: 1 }
    return { ways: [way], metric: 0, through: [], reason: `connected, dev ${link.name}` }
  }

  #connected(scope: Scope, octets: Uint8Array, ifname: string | undefined): { length: number; ifindex: number } | undefined {
    let best: { length: number; ifindex: number } | undefined
    for (const { network, length, ifindex } of this.#monitor.connected(scope)) {
      if (length <= (best?.length ?? -1) || !covers(network, length, octets)) continue
      if (ifname === undefined || this.#monitor.link(ifindex)?.name === ifname) best = { length, ifindex }
    }
    return best
  }

  /** Through the next hops of a BGP route, unless that is in a circle. */
  #byOwn(index: number, winners: ReadonlyArray<number>): Found {
    const through = winners.filter((winner) => this.isReachable(winner) && !this.#dependsOn(winner, index))
    const ways: Way[] = []
    for (const winner of through) {
      for (const way of this.ways(winner)) {
        if (ways.length < maxWays && !ways.some((one) => one.gateway === way.gateway && one.ifindex === way.ifindex)) ways.push(way)
      }
    }
    if (ways.length === 0) return unreachable(winners.length === 0 ? "a BGP route discards" : "only by a BGP route through itself")
    const by = through.map((winner) => this.#tracked[winner]!.address).join(", ")
    return { ways, metric: Math.max(...through.map((winner) => this.metric(winner))), through, reason: `by BGP through ${by}` }
  }

  #dependsOn(index: number, on: number, seen = new Set<number>()): boolean {
    if (index === on) return true
    if (seen.has(index)) return false
    seen.add(index)
    return (this.#tracked[index]?.through ?? []).some((next) => this.#dependsOn(next, on, seen))
  }

  /** All tracked next hops, for views. */
  *views(): Generator<{ readonly address: string; readonly scope: string; readonly reachable: boolean; readonly reason: string }> {
    for (const tracked of this.#tracked) {
      if (tracked === undefined) continue
      const { octets, scope, ways, reason } = tracked
      yield { address: format(octets), scope: scope.name, reachable: ways.length > 0, reason }
    }
  }
}
