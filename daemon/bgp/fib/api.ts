/**
 * What the forwarding side of a speaker offers: `Monitor` (what the namespace has), `NextHops` (who can be reached, and how)
 * and `Fib` (what is to be in the kernel). One of each per speaker; tables (VRFs) share them through a `scope`.
 *
 * Addresses are canonical text, prefixes octets in a buffer of the caller's, valid during the call. Nothing here throws for
 * what the kernel refuses: it is counted, told once, and tried again.
 */

/** As in the RIB: 0 IPv4, 1 IPv6. */
export type FamilyIndex = 0 | 1

/** A table of the speaker, as next hops and connected routes see it. */
export interface Scope {
  /** Name of the VRF: `default`, ... */
  readonly name: string
  /** Kernel table: 254 is main. */
  readonly table: number
  /** Interfaces that belong to it; empty: all that no other scope names. */
  readonly ifnames: ReadonlyArray<string>
}

export interface LinkState {
  readonly index: number
  readonly name: string
  readonly mac: string
  /** Administratively up, and the carrier is there: the kernel keeps next hops on it. */
  readonly isUsable: boolean
}

/** A route of somebody else's that can be redistributed or that resolves next hops. */
export interface ForeignRoute {
  /** Canonical prefix. */
  readonly prefix: string
  readonly source: "connected" | "static" | "other"
  readonly table: number
  readonly metric: number
  /** Empty for routes that discard. */
  readonly ways: ReadonlyArray<{ readonly gateway?: string; readonly ifindex: number; readonly weight: number }>
}

export interface MonitorListener {
  /** At once when an interface, its carrier or its addresses changed. `link` undefined: it is gone. */
  readonly link?: (index: number, link: LinkState | undefined) => void
  /** Addresses of an interface changed. */
  readonly addresses?: (index: number) => void
  /** After a burst of changes: prefixes of foreign and connected routes that came, went or changed in `table`. */
  readonly routes?: (table: number, prefixes: ReadonlySet<string>) => void
}

/** What is in the namespace, always current: links, addresses, routes of others. */
export interface MonitorApi {
  listen(listener: MonitorListener): () => void
  link(index: number): LinkState | undefined
  linkByName(name: string): LinkState | undefined
  links(): Iterable<LinkState>
  /** With prefix length, as configured. */
  addresses(index: number): ReadonlyArray<string>
  /** Whether an interface is in a scope: by name, or because no other scope names it. */
  belongs(scope: Scope, ifname: string): boolean
  /** Whether an address (without length) is the namespace's own. */
  isLocal(address: string): boolean
  /** The best foreign route for a prefix of a table (lowest metric). */
  route(table: number, prefix: string): ForeignRoute | undefined
  /** All for redistribution: connected routes and static ones of a scope. */
  redistributable(scope: Scope, source: "connected" | "static"): Iterable<ForeignRoute>
  close(): void
}

/** The next hops of one scope. Indexes are the speaker's: one of another scope is good anywhere, so that routes can be leaked. */
export interface ScopedNextHops {
  /**
   * One more user of this next hop. `ifname`: for link-local addresses, and for what must be on this link. `direct`: it must be on a
   * connected network (a neighbour one hop away); otherwise the way to it may be found by any route.
   */
  track(address: string, ifname?: string, direct?: boolean): number
  /** One more user of the way that connected and static routes of this table lead to a (canonical) prefix: perhaps an interface alone. */
  trackRoute(prefix: string): number
  release(index: number): void
  isReachable(index: number): boolean
  /** IGP metric: 0 for connected, else the metric of the route that leads there. */
  metric(index: number): number
  /** Reachability, metric or the way changed. Called after `Fib` has been told, never within `track`. */
  onChange(listener: (index: number) => void): () => void
}

export interface NextHopsApi {
  scope(scope: Scope): ScopedNextHops
  /** Replaces the set of scopes (a reload); next hops whose scope went become unreachable. */
  setScopes(scopes: ReadonlyArray<Scope>): void
  /** Why it is (not) reachable, for people: `via 10.0.0.1 dev eth0`, `no route`. */
  describe(index: number): string
  /**
   * Nothing gets through to `address` any more (BFD): next hops with this address, or that are reached through it, are unreachable,
   * and what uses them in the kernel goes over to its backup before this returns. `ifname`: for link-local addresses. `scope`: only in this
   * one, where others may have the same address.
   */
  down(address: string, ifname?: string, scope?: string): void
  /** Takes `down` back. */
  up(address: string, ifname?: string, scope?: string): void
}

/** How a route goes into the kernel. */
export const RouteKind = { external: 0, internal: 1, discard: 2 } as const
export type RouteKind = (typeof RouteKind)[keyof typeof RouteKind]

/** One table of the speaker as the RIB sees it (`FibSink`, with what may be said beyond). */
export interface ScopedFib {
  /**
   * The route to `bytes[at..]`/`length`. `winners`, `backup`: indexes of next hops; equal lists share one kernel group, which changes
   * once when a next hop does. `kind`: whose metric it gets (default external); `discard` needs no winners. `weights`: of the winners,
   * 1..255, default equal.
   */
  set(
    family: FamilyIndex,
    bytes: Uint8Array,
    at: number,
    length: number,
    winners: ReadonlyArray<number>,
    backup: ReadonlyArray<number>,
    kind?: RouteKind,
    weights?: ReadonlyArray<number>
  ): void
  unset(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): void
  /** False: takes no more for now; `FibOptions.drained` says when again. */
  hasSpace(): boolean
}

export interface FibOptions {
  /** `plain`: next hops by hash; `resilient`: flows stay where they are when others go (RTA buckets). */
  readonly hashing?: "plain" | "resilient"
  /** There is work: call `run` from a fresh turn of the loop. */
  readonly wanted: () => void
  /** The kernel has done what `run` gave it: call it again, soon. Absent: `wanted`. */
  readonly resumed?: () => void
  /** There is space again after `hasSpace` was false. */
  readonly drained?: () => void
  /** A failure in words, once for each reason until it is over. */
  readonly report: (text: string) => void
}

export interface FibCounters {
  readonly routes: number
  readonly groups: number
  /** Routes that wait to be written, or that the kernel has not taken. */
  readonly pending: number
  readonly failed: number
  readonly written: number
}

export interface FibApi {
  table(table: number): ScopedFib
  /** Works for about `budgetMs`; true: there is more to do now. False: nothing is to be done before `wanted` or `resumed` is called. */
  run(budgetMs: number): boolean
  /** After a restart: what the predecessor left and nobody has confirmed by `set` goes. */
  sweep(): void
  /** Nothing waits, and the kernel has answered. */
  readonly isIdle: boolean
  readonly counters: FibCounters
  /** Takes all routes and groups out of the kernel; call `run` until false, then `close`. */
  flush(): void
  /** Ends without touching what is in the kernel. */
  close(): void
}
