/**
 * What a speaker wants in the kernel, and how it gets there.
 *
 *     RIB --set/unset--> RouteSet (per table and family) --requests in batches--> RouteSocket --> kernel
 *                            |                                                        ^
 *                            `--> Groups (nexthop groups, shared by routes) ----------'
 *     Monitor (links, addresses, others' routes) --> NextHops --> Groups: a lost way changes groups, not routes
 *
 * Nothing is written inside `set` or `unset`: `run` does it in slices, and another thread waits for the kernel. What concerns next
 * hops does not wait for that; it is in the kernel before the event that caused it has been handled.
 *
 * Metrics are administrative distances: 20 for routes of external neighbours, 200 for internal ones and aggregates, so that a
 * connected network (0) or a static route (0, unless it says otherwise) with the same prefix is preferred. IPv6 routes without a
 * metric have 1024 in the kernel, so there it is 1044 and 1224.
 *
 * After a restart the routes and groups of the predecessor are read first (protocol 95 is the mark). They go on forwarding; what
 * `set` asks for is compared with them, and `sweep` removes those that nobody has asked for. Groups that lead the same way are taken
 * over, so that their routes need not be written again.
 *
 * Never touched: routes and nexthop objects with another protocol number.
 */
import { type FamilyIndex, type FibApi, type FibCounters, type FibOptions, RouteKind, type ScopedFib } from "./api.ts"
import { Groups } from "./groups.ts"
import type { Monitor } from "./monitor.ts"
import type { NextHops } from "./next-hops.ts"
import { protocol } from "./protocol.ts"
import { placeOf, RouteSet } from "./route-set.ts"
import { type RouteSocket, type RouteWriter, SlicedDump } from "./route-socket.ts"
import { dumpEntries, newRoute, scan, type Entry, type Scanned } from "../../wire/rtnetlink/route-entry.ts"
import { parsePrefix } from "../../wire/ip.ts"
import type { Message } from "../../wire/netlink.ts"

/** Routes that wait before `hasSpace` says no, and after which it says yes again. */
const highWater = 100_000
const lowWater = 25_000
/** The first time, and doubled with each time in vain. */
const retryMs = 1000
const longestRetryMs = 64_000
const blackhole = 6
const anyAddress = new Uint8Array(16)

export interface FibParts extends FibOptions {
  readonly netns: number
  readonly socket: RouteSocket
  readonly writer: RouteWriter
  readonly monitor: Monitor
  readonly nextHops: NextHops
}

export class Fib implements FibApi {
  readonly #options: FibParts
  readonly #groups: Groups
  /** By table: IPv4, IPv6. */
  readonly #tables = new Map<number, readonly [RouteSet, RouteSet]>()
  readonly #told = new Set<string>()
  /** There were nexthops of BGP in the namespace: somebody ran here before. */
  readonly hasPredecessor: boolean
  #adoption: SlicedDump | undefined
  #retryTimer: NodeJS.Timeout | undefined
  #retryMs = retryMs
  #isFull = false
  #isSuspect = false
  #isSweepDue = false
  #isFlushing = false
  #areGroupsStale = false
  #turn = 0

  /** Throws NativeError. */
  constructor(options: FibParts) {
    this.#options = options
    const { netns, socket, nextHops, monitor } = options
    this.#groups = new Groups({
      netns,
      socket,
      nextHops,
      hashing: options.hashing ?? "plain",
      onRevived: () => this.#revived(),
      report: (text) => this.#report(text, text)
    })
    nextHops.attach(this.#groups, { longest: (table, address) => this.#longest(table, address) })
    monitor.listenToOwn({
      route: (entry, isNew) => this.#touched(entry, isNew),
      objects: () => this.#suspect(),
      overflow: () => this.#suspect()
    })
    this.#groups.adopt()
    this.hasPredecessor = this.#groups.hasAdopted
    const ofOurs = (family: number) => (out: Parameters<typeof dumpEntries>[0]): void => dumpEntries(out, { family, table: 0, protocol })
    this.#adoption = new SlicedDump(netns, [ofOurs(2), ofOurs(10)])
  }

  table(table: number): ScopedFib {
    const sets = this.#setsOf(table)
    const { groups, nextHops } = { groups: this.#groups, nextHops: this.#options.nextHops }
    return {
      set: (family, bytes, at, length, winners, backup, kind = RouteKind.external, weights = []) => {
        const handle = groups.find(kind, winners, backup, weights)
        sets[family].set(bytes, at, length, handle)
        nextHops.routeChanged(family, bytes, at, length)
        this.#wake()
      },
      unset: (family, bytes, at, length) => {
        sets[family].unset(bytes, at, length)
        nextHops.routeChanged(family, bytes, at, length)
        this.#wake()
      },
      hasSpace: () => {
        this.#isFull ||= this.#pending() >= highWater
        return !this.#isFull
      }
    }
  }

  run(budgetMs: number): boolean {
    const end = performance.now() + budgetMs
    if (this.#adoption !== undefined && this.#adopt(budgetMs)) return true
    if (this.#isSuspect) {
      this.#isSuspect = false
      this.#groups.verify()
      for (const sets of this.#tables.values()) for (const set of sets) set.rescan()
    }
    this.#options.nextHops.settle()
    if (this.#isSweepDue) this.#startSweep()
    const hasMore = this.#runSets(end)
    if (this.#isFull && this.#pending() <= lowWater) {
      this.#isFull = false
      this.#options.drained?.()
    }
    if (hasMore || this.#isSuspect) return true
    // What follows is for when the kernel has answered; whoever flushes waits for that.
    if (this.#isSending()) return this.#isFlushing
    if (this.#areGroupsStale) {
      this.#areGroupsStale = false
      this.#groups.sweep()
    }
    const isUnwell = this.#groups.collect()
    if (isUnwell || this.#isUnwell()) this.#retryLater()
    else {
      this.#retryMs = retryMs
      if (this.#failed() === 0) this.#told.clear()
    }
    return false
  }

  sweep(): void {
    this.#isSweepDue = true
    this.#wake()
  }

  get isIdle(): boolean {
    if (this.#adoption !== undefined || this.#isSuspect || this.#isSweepDue || this.#areGroupsStale) return false
    for (const sets of this.#tables.values()) if (!sets[0].isIdle || !sets[1].isIdle) return false
    return true
  }

  get counters(): FibCounters {
    let routes = 0
    let written = 0
    for (const sets of this.#tables.values()) {
      for (const set of sets) {
        routes += set.wanted
        written += set.written
      }
    }
    return { routes, groups: this.#groups.count, pending: this.#pending(), failed: this.#failed(), written }
  }

  flush(): void {
    this.#isFlushing = true
    for (const sets of this.#tables.values()) for (const set of sets) set.clear()
    this.#groups.flush()
    this.#wake()
  }

  close(): void {
    clearTimeout(this.#retryTimer)
    this.#adoption?.close()
    this.#options.monitor.listenToOwn(undefined)
    this.#options.socket.close()
    this.#options.writer.close()
  }

  #setsOf(table: number): readonly [RouteSet, RouteSet] {
    let sets = this.#tables.get(table)
    if (sets === undefined) {
      const host = {
        socket: this.#options.socket,
        writer: () => (this.#isFlushing ? undefined : this.#options.writer),
        written: () => (this.#options.resumed ?? this.#options.wanted)(),
        groups: this.#groups,
        failed: (key: string, text: string) => this.#report(key, text),
        suspect: () => (this.#isSuspect = true)
      }
      sets = [new RouteSet(table, 0, host), new RouteSet(table, 1, host)]
      this.#tables.set(table, sets)
    }
    return sets
  }

  #wake(): void {
    this.#options.wanted()
  }

  #suspect(): void {
    this.#isSuspect = true
    this.#wake()
  }

  #revived(): void {
    for (const sets of this.#tables.values()) for (const set of sets) set.rescan()
    this.#wake()
  }

  #report(key: string, text: string): void {
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#options.report(text)
  }

  #pending(): number {
    let pending = 0
    for (const sets of this.#tables.values()) pending += sets[0].pending + sets[1].pending
    return pending
  }

  #isSending(): boolean {
    for (const sets of this.#tables.values()) if (sets[0].isSending || sets[1].isSending) return true
    return false
  }

  #failed(): number {
    let failed = 0
    for (const sets of this.#tables.values()) failed += sets[0].failed + sets[1].failed
    return failed
  }

  #isUnwell(): boolean {
    for (const sets of this.#tables.values()) if (sets[0].isUnwell || sets[1].isUnwell) return true
    return false
  }

  /** Tables take turns, so that a small one is not kept waiting by a large one. */
  #runSets(end: number): boolean {
    const all = [...this.#tables.values()].flat().filter((set) => !set.isIdle)
    let hasMore = false
    for (let i = 0; i < all.length; i++) {
      const set = all[(this.#turn + i) % all.length]!
      if (i > 0 && performance.now() >= end) {
        hasMore = true
        break
      }
      hasMore = set.run(end) || hasMore
    }
    this.#turn++
    return hasMore
  }

  #retryLater(): void {
    if (this.#retryTimer !== undefined) return
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined
      this.#groups.retry()
      for (const sets of this.#tables.values()) for (const set of sets) set.retry()
      this.#wake()
    }, this.#retryMs).unref()
    this.#retryMs = Math.min(this.#retryMs * 2, longestRetryMs)
  }

  /** The winners of our own longest match, for next hops that lie behind it. */
  #longest(table: number, address: Uint8Array): { readonly length: number; readonly winners: ReadonlyArray<number> } | undefined {
    const set = this.#tables.get(table)?.[address.length === 4 ? 0 : 1]
    let found: { readonly length: number; readonly winners: ReadonlyArray<number> } | undefined
    set?.prefixes.match(address, (entry, length) => {
      const wanted = set.prefixes.wanted[entry]!
      if (wanted < 0) return false
      found = { length, winners: this.#groups.group(wanted).winners }
      return true
    })
    return found
  }

  #touched(entry: Entry, isNew: boolean): void {
    const isV6 = entry.prefix.includes(":")
    const set = this.#tables.get(entry.table)?.[isV6 ? 1 : 0]
    if (set === undefined) return
    const { address, length } = parsePrefix(entry.prefix)!
    set.touched(address, length, entry.metric, entry.protocol === protocol, isNew)
    this.#wake()
  }

  /** Reads what the predecessor left; true: there is more. */
  #adopt(budgetMs: number): boolean {
    const found: Scanned = { isV6: false, length: 0, table: 0, metric: 0, type: 0, protocol: 0, nexthop: 0, destinationAt: 0 }
    const hasMore = this.#adoption!.run(budgetMs, (message) => this.#adoptRoute(message, found))
    if (hasMore) return true
    this.#adoption!.close()
    this.#adoption = undefined
    return false
  }

  #adoptRoute({ type, body }: Message, found: Scanned): void {
    if (type !== newRoute) return
    scan(body, found)
    // A kernel that does not filter sends all.
    if (found.protocol !== protocol) return
    const family: FamilyIndex = found.isV6 ? 1 : 0
    const installation = found.type === blackhole ? 0 : this.#groups.adoptedInstallation(found.nexthop)
    if (installation < 0) return
    const place = placeOf(family, found.metric, found.type === blackhole)
    const [bytes, at] = found.destinationAt < 0 ? [anyAddress, 0] : [body, found.destinationAt]
    this.#setsOf(found.table)[family].adopt(bytes, at, found.length, installation, place)
  }

  #startSweep(): void {
    this.#isSweepDue = false
    for (const sets of this.#tables.values()) for (const set of sets) set.sweep()
    // Their groups go when the last of their routes has gone.
    this.#areGroupsStale = true
  }
}
