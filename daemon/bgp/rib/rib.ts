/**
 * The routes of one speaker and VRF: what neighbours sent, what is best, what neighbours are sent. RFC 4271 3.2, 9.
 *
 *      UPDATE octets --receive--> attribute-table.ts  sets, each once, after import policy   (import-side.ts)
 *                                 prefix-table.ts     prefixes as numbers
 *                                 path-pool.ts        a row for each path
 *                          dirty prefixes
 *      run(budgetMs) ------------> family-table.ts    decide: decision.ts, and the FIB
 *                                  adj-rib-out.ts     groups of neighbours that are sent the same (export-rewrite.ts)
 *                                  packer.ts          UPDATEs into the send queues
 *      aggregates.ts, leak.ts      routes made of best routes: aggregates here, imports in other tables
 *      views.ts                    pages for people: why a path won or lost
 *
 * All work is proportional to what changed and is done in slices; only walks over columns without work for each row (marking a
 * neighbour's paths stale or gone: a few ms for a million) are done at once. A route is a row in columns, about 30 octets, and its prefix
 * another 30; there is no object for each route.
 *
 * Limits: 2^24 prefixes for each family, 65527 neighbours. No confederations, no AIGP. AS loops are not kept: a change of
 * `allowAsIn` needs a route refresh from the neighbour.
 */
import { Family } from "../../wire/bgp/iana.ts"
import type { BgpError } from "../../wire/bgp/notification.ts"
import { type PathAttributes, Severity } from "../../wire/bgp/path-attributes.ts"
import * as RouteRefresh from "../../wire/bgp/route-refresh.ts"
import { forEachPrefix } from "../../wire/bgp/nlri.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../wire/bgp/update.ts"
import * as Ip from "../../wire/ip.ts"
import { Aggregates, type AggregateSpec } from "./aggregates.ts"
import { AttributeTable } from "./attribute-table.ts"
import { firstPeer } from "./decision.ts"
import { ExportSide } from "./export-side.ts"
import { FamilyTable } from "./family-table.ts"
import { importSet, type ImportPeer, isPlainLoop } from "./import-side.ts"
import { type Import, Leak } from "./leak.ts"
import { checkLimit, isFull } from "./limits.ts"
import { PathFlag } from "./path-pool.ts"
import { Peer, PeerFactTable } from "./peer.ts"
import {
  type FamilyIndex, type FibSink, type PathView, type RibOptions, type RibPeer, type RibSession, type RibSetting, Source, type ViewPage
} from "./types.ts"
import * as Views from "./views.ts"
import * as Walks from "./walks.ts"

export interface RibCounts {
  readonly prefixes: number
  readonly paths: number
  /** Prefixes about which is still to be decided. */
  readonly pending: number
  readonly attributeSets: number
}

export interface PeerCounts {
  readonly received: number
  readonly accepted: number
  readonly advertised: number
}

/** FRR's weight of a router's own routes. */
const localWeight = 32768
/** Rows between two looks at the clock. */
const stride = 64
const wireFamilies = [Family.ipv4Unicast, Family.ipv6Unicast] as const
const familyIndexes: ReadonlyArray<FamilyIndex> = [0, 1]

/** What is done with a prefix of the UPDATE that is being received. */
type Visit = (pathId: number, bits: number, octetsAt: number) => void

/** A job in slices: goes on from each `yield`. `peer`: whose, -1: nobody's. */
interface Job {
  readonly peer: number
  readonly steps: Generator<undefined, void>
  /** It is about a neighbour that is away. */
  readonly isVoidWhenUp: boolean
}

export class Rib {
  options: RibOptions
  readonly sets: AttributeTable
  readonly tables: readonly [FamilyTable, FamilyTable]
  readonly exports: ExportSide
  readonly peers: Array<Peer | undefined> = new Array<Peer | undefined>(firstPeer).fill(undefined)
  readonly #facts = new PeerFactTable()
  readonly #scan = new UpdateScan()
  #jobs: Array<Job> = []
  readonly #aggregates: Aggregates
  readonly #followers = new Set<(family: FamilyIndex, prefix: number) => void>()
  /** Prefixes that lost their last path, and may be forgotten when no neighbour has to be told any more. By family. */
  readonly #emptied: readonly [Array<number>, Array<number>] = [[], []]
  readonly #untold: readonly [Array<number>, Array<number>] = [[], []]
  /** Imports from other tables so far: their paths are told apart by number. */
  #imports = 0
  /** Next hops that changed and whose routes were not looked for yet. */
  #changedNextHops = new Set<number>()
  readonly #unlisten: () => void
  #held = false
  // What `#visit*` work on: one UPDATE at a time.
  #bytes: Uint8Array = new Uint8Array(0)
  #peer: Peer | undefined
  #table: FamilyTable
  #set = 0
  #chosen = 0
  #now = 0
  #visitTaken: Visit = () => {}
  #hasDiscarded = false

  constructor(options: RibOptions) {
    this.options = options
    this.sets = new AttributeTable(options.asn, options.nextHops)
    const facts = this.#facts
    const { fib, nextHops } = options
    const shared = { sets: this.sets, nextHops, fib, decision: options, facts }
    this.tables = [new FamilyTable({ ...shared, family: 0 }), new FamilyTable({ ...shared, family: 1 })]
    this.#table = this.tables[0]
    this.exports = new ExportSide(this)
    this.#aggregates = new Aggregates(this)
    this.sets.onFree = (set) => this.exports.forget(set)
    this.#unlisten = nextHops.onChange((index) => this.#nextHopChanged(index))
  }

  // ---- neighbours ------------------------------------------------------------------------------------------------------

  /** Makes a neighbour known; the number names it in all other calls until `removePeer`. */
  addPeer(config: RibPeer): number {
    let index = this.peers.indexOf(undefined, firstPeer)
    if (index < 0) index = this.peers.length
    this.peers[index] = new Peer(index, config)
    this.#facts.set(index, config)
    for (const table of this.tables) table.reservePeers(index + 1)
    return index
  }

  /** New configuration; what it changes of received and sent routes is worked off by `run`. */
  updatePeer(index: number, config: RibPeer): void {
    const peer = this.#known(index)
    peer.config = config
    peer.renewImport()
    this.#facts.set(index, config, peer.session)
    this.refreshImport(index)
    if (peer.session !== undefined) this.exports.reattach(peer)
    this.options.events.wanted()
    // A limit may be lower now. Last, for the session may end by it.
    if (peer.session !== undefined) for (const table of this.tables) checkLimit(peer, table, this.options.events, false)
  }

  /** Forgets a neighbour. Its number is given out again when `run` has removed the last of its paths. */
  removePeer(index: number): void {
    const peer = this.#known(index)
    if (peer.session !== undefined) this.sessionDown(index, [])
    else for (const family of familyIndexes) this.#expire(index, family, 0)
    // Jobs are done in order.
    this.#start(index, Walks.last(() => (this.peers[index] = undefined)))
  }

  /** The session is Established: sends the tables and End-of-RIB, as far as the outbound side takes them. */
  sessionUp(index: number, session: RibSession): void {
    const peer = this.#known(index)
    if (peer.session !== undefined) this.sessionDown(index, familyIndexes)
    // What was to become of stale routes is up to the neighbour again; other jobs go on, and spare what it sends from now on.
    this.#jobs = this.#jobs.filter((job) => job.peer !== index || !job.isVoidWhenUp)
    peer.session = session
    peer.isOverLimit.fill(false)
    peer.isNearLimit.fill(false)
    peer.scope = this.sets.scope(session.ifname, peer.config.isExternal && session.isMultihop !== true)
    peer.renewImport()
    this.#facts.set(index, peer.config, session)
    this.exports.attach(peer)
    this.options.events.wanted()
  }

  /** The session ended. `stale`: families whose paths stay for graceful restart, until End-of-RIB, `sweepStale` or `makeLongLived`. */
  sessionDown(index: number, stale: ReadonlyArray<FamilyIndex>): void {
    const peer = this.#known(index)
    this.exports.detach(peer)
    peer.session = undefined
    for (const family of familyIndexes) {
      if (stale.includes(family)) Walks.flag(this.tables[family], index, PathFlag.stale)
      else this.#expire(index, family, 0)
    }
    this.options.events.wanted()
  }

  /** Removes paths that are still stale. */
  sweepStale(index: number, family: FamilyIndex): void {
    this.#expire(index, family, PathFlag.stale)
  }

  /** RFC 9494 4.2: what is stale and has no NO_LLGR gets LLGR_STALE and least preference; the rest goes. */
  makeLongLived(index: number, family: FamilyIndex): void {
    this.#start(index, Walks.makeLongLived(this.tables[family], index), true)
  }

  // ---- input -----------------------------------------------------------------------------------------------------------

  /** One UPDATE with its header at `bytes[at..end)`. What is wrong with it for the session, or nothing. */
  receive(index: number, bytes: Uint8Array, at: number, end: number): BgpError | undefined {
    const peer = this.#known(index)
    const session = peer.session
    if (session === undefined) return undefined
    const { context } = session
    const scan = this.#scan
    const error = scanUpdate(bytes, at, end, context, scan)
    if (error !== undefined) return error
    this.#bytes = bytes
    this.#peer = peer
    this.#now = (performance.timeOrigin + performance.now()) / 1000
    if (scan.withdrawnAt < scan.withdrawnEnd) this.#each(0, scan.withdrawnAt, scan.withdrawnEnd, this.#visitWithdrawn)
    const unreach = scan.mpUnreachFamily === 0 ? -1 : wireFamilies.indexOf(scan.mpUnreachFamily as 0x0101)
    if (unreach >= 0) this.#each(unreach, scan.mpUnreachAt, scan.mpUnreachEnd, this.#visitWithdrawn)
    let fault: BgpError | undefined
    const reach = scan.mpReachFamily === 0 ? -1 : wireFamilies.indexOf(scan.mpReachFamily as 0x0101)
    if (reach >= 0) fault = this.#reach(reach, NlriSource.mpReach, scan.mpReachAt, scan.mpReachEnd)
    if (scan.nlriAt < scan.nlriEnd) fault ??= this.#reach(0, NlriSource.field, scan.nlriAt, scan.nlriEnd)
    else if (reach < 0 && scan.hasAttributes) fault = this.#checkUnreachable()
    if (scan.endOfRib !== 0) this.#endOfRib(index, wireFamilies.indexOf(scan.endOfRib as 0x0101))
    this.options.events.wanted()
    return fault
  }

  /** A ROUTE-REFRESH of the neighbour: 0 asks us to send again, 1 and 2 mark begin and end of its own (RFC 7313). */
  routeRefresh(index: number, family: FamilyIndex, subtype: number): void {
    if (subtype === RouteRefresh.Subtype.request) this.exports.resend(this.#known(index), family)
    else if (subtype === RouteRefresh.Subtype.beginning) Walks.flag(this.tables[family], index, PathFlag.unrefreshed)
    else if (subtype === RouteRefresh.Subtype.end) this.#expire(index, family, PathFlag.unrefreshed)
    this.options.events.wanted()
  }

  /** Applies the import policy anew to what was received. */
  refreshImport(index: number): void {
    const peer = this.#known(index)
    peer.renewImport()
    for (const family of familyIndexes) this.#start(index, Walks.reimport(this, this.tables[family], peer))
  }

  /** Sends everything again to this neighbour, as after a soft reset out. */
  refreshExport(index: number): void {
    for (const family of familyIndexes) this.exports.resend(this.#known(index), family)
    this.options.events.wanted()
  }

  /** The outbound side has space again. */
  drained(index: number): void {
    this.exports.drained(index)
    this.options.events.wanted()
  }

  fibDrained(): void {
    this.options.events.wanted()
  }

  /** While held (a restarting speaker waits for its neighbours' End-of-RIB), nothing is decided or sent. */
  hold(on: boolean): void {
    this.#held = on
    if (!on) this.options.events.wanted()
  }

  /** A local route; a second one of the same prefix and source replaces it. `nextHop` absent, 0.0.0.0 or :: means this router. */
  originate(prefix: string, source: Source, attributes: PathAttributes): void {
    const { address, family, length } = parse(prefix)
    const set = this.sets.intern(attributes, { weight: localWeight })
    this.putLocal(family, this.tables[family].prefixAt(address, 0, length), source, { set, pathId: 0 })
    this.sets.release(set)
  }

  withdraw(prefix: string, source: Source): void {
    const { address, family, length } = parse(prefix)
    const found = this.tables[family].prefixes.find(address, 0, length)
    if (found >= 0) this.removeLocal(family, found, source, 0)
  }

  /** A path of our own; retains the set. */
  putLocal(family: FamilyIndex, prefix: number, source: Source, { pathId, set }: { set: number; pathId: number }): void {
    const now = (performance.timeOrigin + performance.now()) / 1000
    this.tables[family].put(prefix, source, { pathId, received: set, chosen: set, now })
    this.options.events.wanted()
  }

  removeLocal(family: FamilyIndex, prefix: number, source: Source, pathId: number): void {
    const path = this.tables[family].findPath(prefix, source, pathId)
    if (path < 0) return
    this.tables[family].removePath(path)
    this.options.events.wanted()
  }

  setAggregates(aggregates: ReadonlyArray<AggregateSpec>): void {
    this.#aggregates.set(aggregates)
    this.options.events.wanted()
  }

  /** Takes the other table's best paths that bear one of `targets`. */
  importFrom(other: Rib, targets: () => ReadonlySet<bigint>): Import {
    const leak = new Leak(this, other, { number: ++this.#imports, targets })
    const follow = (family: FamilyIndex, prefix: number): void => leak.follow(family, prefix)
    other.#followers.add(follow)
    this.#start(-1, leak.all())
    return {
      again: () => this.#start(-1, leak.all()),
      stop: () => {
        other.#followers.delete(follow)
        this.#start(-1, leak.none())
      }
    }
  }

  /** Decides and tells as the new words say: what changes is worked off by `run`, sessions stay. */
  configure(setting: RibSetting): void {
    const before = this.options
    this.options = { ...before, ...setting }
    for (const { decision } of this.tables) decision.options = setting
    this.#start(-1, Walks.redecideAll(this.tables))
    const areTargetsNew = before.exportTargets?.join() !== setting.exportTargets?.join()
    if (areTargetsNew) this.#aggregates.renew()
    for (const peer of this.peers) {
      if (peer === undefined) continue
      if (areTargetsNew || before.clusterId !== setting.clusterId) this.refreshImport(peer.index)
      if (peer.session !== undefined) this.exports.reattach(peer)
    }
  }

  /** Writes into another table of the kernel, and takes out what it has written into the one before. */
  moveTo(fib: FibSink): void {
    const { fib: before } = this.options
    this.options = { ...this.options, fib }
    for (const table of this.tables) table.moveTo(fib)
    this.#start(-1, Walks.leaveAll(this.tables, before))
  }

  /** Nothing is to be heard of next hops any more. */
  close(): void {
    this.#unlisten()
  }

  // ---- work ------------------------------------------------------------------------------------------------------------

  /** Works for about this long; true: there is more to do. */
  run(budgetMs: number): boolean {
    const deadline = performance.now() + budgetMs
    while (this.#jobs.length > 0) {
      const job = this.#jobs[0]!
      if (job.steps.next().done === true) this.#jobs = this.#jobs.filter((one) => one !== job)
      if (performance.now() >= deadline) return true
    }
    if (this.#held) return false
    for (const table of this.tables) if (this.#decideAll(table, deadline)) return true
    const isWaitingForFib = this.tables.some((table) => table.dirty.count > 0)
    if (!isWaitingForFib) this.sets.releaseNextHops()
    if (this.exports.run(deadline, !isWaitingForFib)) return true
    return this.#forgetEmptied(deadline)
  }

  /** Nothing is left to do for now, but for what send queues and the FIB do not take. */
  get isIdle(): boolean {
    if (this.#jobs.length > 0 || this.#emptied.some((list) => list.length > 0)) return false
    return this.tables.every((table) => table.dirty.count === 0) && this.exports.isIdle
  }

  /** True: the time is over. */
  #decideAll(table: FamilyTable, deadline: number): boolean {
    const { fib } = this.options
    const { dirty } = table
    for (let done = 1; dirty.count > 0; done++) {
      if ((done & (stride - 1)) === 1 && !fib.hasSpace()) return false
      this.#decide(table, dirty.take())
      if ((done & (stride - 1)) === 0 && performance.now() >= deadline) return true
    }
    return false
  }

  #decide(table: FamilyTable, prefix: number): void {
    if (!table.prefixes.has(prefix)) return
    if (table.decide(prefix)) {
      this.#aggregates.bestChanged(table, prefix)
      this.exports.bestChanged(table, prefix)
      for (const follow of this.#followers) follow(table.family, prefix)
      if (this.options.events.bestChanged !== undefined) {
        table.prefixes.octetsInto(prefix, table.octets, 0)
        this.options.events.bestChanged(table.family, table.octets, 0, table.prefixes.lengthOf(prefix))
      }
    }
    this.exports.pathsChanged(table, prefix)
    if (table.first[prefix]! < 0) this.#emptied[table.family].push(prefix)
  }

  /** As it was when its session was up last. */
  routerIdOf(index: number): number {
    return this.#facts.routerId[index]!
  }

  /** Whether more specific routes hide behind an aggregate (summary-only). */
  isSuppressed(table: FamilyTable, prefix: number): boolean {
    return this.#aggregates.isSuppressed(table, prefix)
  }

  /** Prefixes without paths go when all neighbours know. True: the time is over. */
  #forgetEmptied(deadline: number): boolean {
    for (const table of this.tables) {
      const list = this.#emptied[table.family]
      for (let prefix = list.pop(); prefix !== undefined; prefix = list.pop()) {
        this.#forget(table, prefix)
        if ((list.length & (stride - 1)) === 0 && performance.now() >= deadline) return list.length > 0
      }
      // Those that somebody was still to be told of are looked at again when all have been told.
      const told = this.#untold[table.family]
      if (told.length > 0 && this.exports.isIdle) list.push(...told.splice(0, 10_000))
      if (list.length > 0) return true
    }
    return false
  }

  #forget(table: FamilyTable, prefix: number): void {
    if (!table.prefixes.has(prefix) || table.first[prefix]! >= 0 || table.dirty.has(prefix)) return
    if (this.exports.defaults.keeps(table, prefix) || this.#aggregates.isUsing(table, prefix)) return
    if (this.exports.isUsing(table, prefix)) this.#untold[table.family].push(prefix)
    else table.prefixes.remove(prefix)
  }

  start(steps: Generator<undefined, void>): void {
    this.#start(-1, steps)
  }

  #start(peer: number, steps: Generator<undefined, void>, isVoidWhenUp = false): void {
    this.#jobs.push({ peer, steps, isVoidWhenUp })
    this.options.events.wanted()
  }

  // ---- receiving -------------------------------------------------------------------------------------------------------

  #known(index: number): Peer {
    const peer = this.peers[index]
    if (peer === undefined) throw new Error(`no neighbor has the number ${index}`)
    return peer
  }

  #each(family: number, at: number, end: number, visit: Visit): void {
    this.#table = this.tables[family as FamilyIndex]
    forEachPrefix(this.#bytes, at, end, this.#peer!.session!.context.addPathReceive(wireFamilies[family as FamilyIndex]), visit)
  }

  /** Reachable NLRI of the UPDATE that is being received. */
  #reach(family: number, source: number, at: number, end: number): BgpError | undefined {
    const peer = this.#peer!
    const { sets } = this
    const table = this.tables[family as FamilyIndex]
    if (isPlainLoop(this, peer, this.#bytes, this.#scan)) {
      this.#each(family, at, end, this.#visitWithdrawn)
      return undefined
    }
    const set = sets.internReceived(this.#bytes, this.#scan, source, peer.session!.context, peer.scope)
    if (set < 0) return sets.fault!.faults[0]!.error
    // RFC 7606 2: treat as withdraw.
    if (set === 0) {
      this.#each(family, at, end, this.#visitWithdrawn)
      return undefined
    }
    this.#set = set
    const { discardsExtra, importPolicy } = peer.config.families[family as FamilyIndex] ?? {}
    this.#chosen = this.#import(peer, table, set, -1)
    this.#visitTaken = importPolicy?.usesPrefix === true ? this.#visitWithPolicy : this.#visitReached
    this.#hasDiscarded = false
    if (this.#chosen < 0) this.#each(family, at, end, this.#visitWithdrawn)
    else this.#each(family, at, end, discardsExtra === true ? this.#visitUpToLimit : this.#visitTaken)
    sets.release(set)
    checkLimit(peer, table, this.options.events, this.#hasDiscarded)
    return undefined
  }

  /** What import makes of a set; -1: a loop. The result is kept by what the set notes, or (with a prefix) has a reference. */
  #import(peer: ImportPeer, table: FamilyTable, set: number, prefix: number): number {
    return importSet(this, peer, table, set, prefix)
  }

  readonly #visitReached = (pathId: number, bits: number, octetsAt: number): void => {
    const table = this.#table
    const prefix = table.prefixAt(this.#bytes, octetsAt, bits)
    table.put(prefix, this.#peer!.index, { pathId, received: this.#set, chosen: this.#chosen, now: this.#now })
  }

  readonly #visitWithPolicy = (pathId: number, bits: number, octetsAt: number): void => {
    const table = this.#table
    const prefix = table.prefixAt(this.#bytes, octetsAt, bits)
    const chosen = this.#import(this.#peer!, table, this.#set, prefix)
    table.put(prefix, this.#peer!.index, { pathId, received: this.#set, chosen, now: this.#now })
    this.sets.release(chosen)
  }

  /** Prefixes that the neighbour has sent before are taken all the same. */
  readonly #visitUpToLimit = (pathId: number, bits: number, octetsAt: number): void => {
    const table = this.#table
    const peer = this.#peer!
    if (isFull(peer, table)) {
      const prefix = table.prefixes.find(this.#bytes, octetsAt, bits)
      if (prefix < 0 || !table.hasPath(prefix, peer.index, pathId)) {
        this.#hasDiscarded = true
        return
      }
    }
    this.#visitTaken(pathId, bits, octetsAt)
  }

  readonly #visitWithdrawn = (pathId: number, bits: number, octetsAt: number): void => {
    const table = this.#table
    const prefix = table.prefixes.find(this.#bytes, octetsAt, bits)
    if (prefix < 0) return
    const path = table.findPath(prefix, this.#peer!.index, pathId)
    if (path >= 0) table.removePath(path)
  }

  /** RFC 7606 5.2: attributes without reachable NLRI have nothing to be withdrawn, so faults reset. */
  #checkUnreachable(): BgpError | undefined {
    const decoded = decodeAttributes(this.#bytes, this.#scan, NlriSource.field, this.#peer!.session!.context)
    return decoded.severity >= Severity.reset ? decoded.faults[0]!.error : undefined
  }

  #endOfRib(index: number, family: number): void {
    if (family < 0) return
    this.sweepStale(index, family as FamilyIndex)
    this.options.events.endOfRib?.(index, family as FamilyIndex)
  }

  // ---- jobs ------------------------------------------------------------------------------------------------------------

  /** Paths of a neighbour with the flag (0: all) go: at once they are no candidates any more, and are taken out in slices. */
  #expire(index: number, family: FamilyIndex, flag: number): void {
    const table = this.tables[family]
    if (table.received[index]! > 0 && Walks.expire(table, index, flag) > 0) this.#start(index, Walks.removeGone(table, index))
  }

  #nextHopChanged(index: number): void {
    this.#changedNextHops.add(index)
    // One walk for all that change together.
    if (this.#changedNextHops.size > 1) return
    const take = (): ReadonlySet<number> => {
      const changed = this.#changedNextHops
      this.#changedNextHops = new Set()
      return changed
    }
    this.#start(-1, Walks.redecide(this.tables, take))
  }

  // ---- views -----------------------------------------------------------------------------------------------------------

  counts(family: FamilyIndex): RibCounts {
    const { dirty, first, pool, prefixes } = this.tables[family]
    // Kept for what may become of them.
    const kept = new Set([...this.#aggregates.prefixesOf(family), ...this.exports.defaults.kept(family)])
    const empty = Array.from(kept).filter((prefix) => first[prefix]! < 0).length
    return { prefixes: prefixes.count - empty, paths: pool.count, pending: dirty.count, attributeSets: this.sets.count }
  }

  peerCounts(peer: number, family: FamilyIndex): PeerCounts {
    const { accepted, received } = this.tables[family]
    return { received: received[peer]!, accepted: accepted[peer]!, advertised: this.exports.advertisedCount(peer, family) }
  }

  /** All paths of one prefix, the best first, each with why; nothing if the prefix is unknown. */
  explain(prefix: string): ReadonlyArray<PathView> {
    const { address, family, length } = parse(prefix)
    const found = this.tables[family].prefixes.find(address, 0, length)
    return found < 0 ? [] : Views.explain(this, this.tables[family], found)
  }

  /** The longest match of an address. */
  lookup(address: string): ReadonlyArray<PathView> {
    const octets = Ip.parse(address)
    if (octets === undefined) throw new TypeError(`not an address: "${address}"`)
    const table = this.tables[octets.length === 4 ? 0 : 1]
    for (let length = octets.length * 8; length >= 0; length--) {
      const found = table.prefixes.find(octets, 0, length)
      if (found >= 0 && table.best[found]! >= 0) return Views.explain(this, table, found)
    }
    return []
  }

  /** Pages of at most `count` prefixes in the order of the table; `cursor` 0 begins, the result's `next` goes on, -1: the end. */
  best(family: FamilyIndex, cursor: number, count: number): ViewPage {
    return Views.page(this, this.tables[family], { cursor, count, of: Views.bestAndOthers })
  }

  received(peer: number, family: FamilyIndex, cursor: number, count: number): ViewPage {
    return Views.page(this, this.tables[family], { cursor, count, of: Views.receivedFrom(peer) })
  }

  /** As sent: attributes as the neighbour gets them. */
  advertised(peer: number, family: FamilyIndex, cursor: number, count: number): ViewPage {
    return Views.page(this, this.tables[family], { cursor, count, of: Views.advertisedTo(peer) })
  }
}

const parse = (text: string): { readonly address: Uint8Array; readonly length: number; readonly family: FamilyIndex } => {
  const prefix = Ip.parsePrefix(text)
  if (prefix === undefined) throw new TypeError(`not a prefix: "${text}"`)
  return { ...prefix, family: prefix.address.length === 4 ? 0 : 1 }
}
