/**
 * One family of a table: its prefixes, their paths, and which are the best. What has changed waits in `dirty`; `decide` looks at one
 * prefix: chooses, tells the FIB, and says whether the best path is another.
 *
 *      first[prefix]   its paths: a chain in the pool
 *      best[prefix]    the best path, -1: none
 *      bestSet[prefix] the best path's attribute set when it was chosen, so that a change of attributes is a change
 *      fib[prefix]     what the FIB was told: a number for the lists of next hops; 0: nothing
 */
import type { AttributeTable } from "./attribute-table.ts"
import { growI32, growU32, IndexQueue, initialCapacity } from "./columns.ts"
import { Decision, type DecisionOptions, firstPeer, type PeerFacts, unreachable } from "./decision.ts"
import { PathFlag, PathPool } from "./path-pool.ts"
import { PrefixTable } from "./prefix-table.ts"
import { type FamilyIndex, type FibSink, type NextHops, Source } from "./types.ts"

/** `RouteKind` of the FIB. */
const kindExternal = 0
const kindInternal = 1
const kindDiscard = 2
/** Numbers of lists of next hops from here on; below, one next hop alone: (index + 1) * 4 + kind. */
const firstList = 0x8000_0000

export interface FamilyTableOptions {
  readonly family: FamilyIndex
  readonly sets: AttributeTable
  readonly nextHops: NextHops
  readonly fib: FibSink
  readonly decision: DecisionOptions
  readonly facts: PeerFacts
}

/** `chosen`: what import made of `received`; 0: denied. `now`: seconds. */
export interface PathInput {
  readonly pathId: number
  readonly received: number
  readonly chosen: number
  readonly now: number
}

export class FamilyTable {
  readonly family: FamilyIndex
  readonly prefixes: PrefixTable
  readonly pool = new PathPool()
  readonly dirty = new IndexQueue()
  readonly decision: Decision
  first: Int32Array<ArrayBuffer> = new Int32Array(initialCapacity).fill(-1)
  best: Int32Array<ArrayBuffer> = new Int32Array(initialCapacity).fill(-1)
  bestSet: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  fib: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  /** Paths received from and accepted of each neighbour. */
  received: Uint32Array<ArrayBuffer> = new Uint32Array(firstPeer)
  accepted: Uint32Array<ArrayBuffer> = new Uint32Array(firstPeer)
  readonly sets: AttributeTable
  readonly #nextHops: NextHops
  #fib: FibSink
  readonly #lists = new Map<string, number>()
  readonly octets = new Uint8Array(16)
  /** Candidates of the last `decide` or `candidates`, ranked as far as was asked. */
  ranked = new Int32Array(16)
  #winners: number[] = []
  #backup: number[] = []

  constructor({ decision, facts, family, fib, nextHops, sets }: FamilyTableOptions) {
    this.family = family
    this.sets = sets
    this.#nextHops = nextHops
    this.#fib = fib
    this.prefixes = new PrefixTable(family === 1)
    this.decision = new Decision(this.pool, sets, { facts, metricOf: (set) => this.metricOf(set), options: decision })
  }

  /** IGP metric of a set's next hop; 0 for our own routes. */
  metricOf(set: number): number {
    const nextHop = this.sets.nextHopOf(set)
    if (nextHop < 0) return 0
    return this.#nextHops.isReachable(nextHop) ? this.#nextHops.metric(nextHop) : unreachable
  }

  /** Room for one more neighbour. */
  reservePeers(count: number): void {
    if (count <= this.received.length) return
    this.received = growU32(this.received, count * 2)
    this.accepted = growU32(this.accepted, count * 2)
  }

  // ---- paths -----------------------------------------------------------------------------------------------------------

  prefixAt(bytes: Uint8Array, at: number, length: number): number {
    const prefix = this.prefixes.insert(bytes, at, length)
    if (prefix >= this.first.length) this.#grow()
    return prefix
  }

  /** The path of a neighbour, or -1. */
  findPath(prefix: number, peer: number, pathId: number): number {
    const { next, peer: peers } = this.pool
    for (let path = this.first[prefix]!; path >= 0; path = next[path]!) {
      if (peers[path] === peer && this.pool.pathIdOf(path) === pathId) return path
    }
    return -1
  }

  /** Whether the neighbour's path is there, and not on its way out. */
  hasPath(prefix: number, peer: number, pathId: number): boolean {
    const path = this.findPath(prefix, peer, pathId)
    return path >= 0 && (this.pool.flags[path]! & PathFlag.gone) === 0
  }

  /** Adds or replaces a path; both sets are retained here. */
  put(prefix: number, peer: number, { chosen, now, pathId, received }: PathInput): void {
    const { pool, sets } = this
    let path = this.findPath(prefix, peer, pathId)
    if (path < 0) {
      path = pool.take()
      pool.prefix[path] = prefix
      pool.peer[path] = peer
      pool.setPathId(path, pathId)
      pool.next[path] = this.first[prefix]!
      this.first[prefix] = path
      pool.since[path] = now
      this.received[peer]!++
    } else {
      if ((pool.flags[path]! & PathFlag.gone) !== 0) this.#bringBack(path, now)
      pool.flags[path]! &= ~(PathFlag.stale | PathFlag.unrefreshed)
      if (pool.received[path] === received && pool.chosen[path] === chosen) return
      if (pool.chosen[path] !== 0) this.accepted[peer]!--
      pool.since[path] = now
    }
    sets.retain(received)
    if (chosen !== 0) {
      sets.retain(chosen)
      this.accepted[peer]!++
    }
    const { chosen: oldChosen, received: oldReceived } = { chosen: pool.chosen[path]!, received: pool.received[path]! }
    pool.received[path] = received
    pool.chosen[path] = chosen
    sets.release(oldReceived)
    sets.release(oldChosen)
    this.dirty.add(prefix)
  }

  /** A path that was on its way out, and is sent again. */
  #bringBack(path: number, now: number): void {
    const { chosen, flags, peer, prefix, since } = this.pool
    flags[path]! &= ~PathFlag.gone
    this.received[peer[path]!]!++
    if (chosen[path] !== 0) this.accepted[peer[path]!]!++
    since[path] = now
    this.dirty.add(prefix[path]!)
  }

  /** Another result of the import policy for a path. */
  rechoose(path: number, chosen: number): void {
    const { pool, sets } = this
    const old = pool.chosen[path]!
    if (old === chosen) return
    if (chosen !== 0) sets.retain(chosen)
    const peer = pool.peer[path]!
    this.accepted[peer]! += (chosen === 0 ? 0 : 1) - (old === 0 ? 0 : 1)
    pool.chosen[path] = chosen
    sets.release(old)
    this.dirty.add(pool.prefix[path]!)
  }

  /** Takes a path out of its prefix. */
  removePath(path: number): void {
    const { pool, sets } = this
    const prefix = pool.prefix[path]!
    const peer = pool.peer[path]!
    const { next } = pool
    if (this.first[prefix] === path) this.first[prefix] = next[path]!
    else {
      let before = this.first[prefix]!
      while (next[before] !== path) before = next[before]!
      next[before] = next[path]!
    }
    const { [path]: received } = pool.received
    const { [path]: chosen } = pool.chosen
    if ((pool.flags[path]! & PathFlag.gone) === 0) {
      this.received[peer]!--
      if (chosen !== 0) this.accepted[peer]!--
    }
    if (this.best[prefix] === path) this.best[prefix] = -1
    pool.give(path)
    sets.release(received!)
    sets.release(chosen!)
    this.dirty.add(prefix)
  }

  /** Prefixes get into another table of the kernel when they are decided about; the caller has all of them decided. */
  moveTo(fib: FibSink): void {
    this.#fib = fib
  }

  /** Takes a prefix out of `fib`, where it was until now; it is decided about again. */
  leave(prefix: number, fib: FibSink): void {
    if (this.fib[prefix] === 0) return
    this.fib[prefix] = 0
    this.prefixes.octetsInto(prefix, this.octets, 0)
    fib.unset(this.family, this.octets, 0, this.prefixes.lengthOf(prefix))
    this.dirty.add(prefix)
  }

  // ---- decision --------------------------------------------------------------------------------------------------------

  /** Collects the eligible paths of a prefix in `ranked`; returns how many (RFC 4271 9.1.2). */
  candidates(prefix: number): number {
    const { chosen, flags, next } = this.pool
    let count = 0
    for (let path = this.first[prefix]!; path >= 0; path = next[path]!) {
      const set = chosen[path]!
      if (set === 0 || (flags[path]! & PathFlag.gone) !== 0) continue
      const nextHop = this.sets.nextHopOf(set)
      if (nextHop >= 0 && !this.#nextHops.isReachable(nextHop)) continue
      if (count === this.ranked.length) this.ranked = growI32(this.ranked, count * 2)
      this.ranked[count++] = path
    }
    return count
  }

  /** Chooses for one prefix and tells the FIB. True: the best path, or its attributes, are others than before. */
  decide(prefix: number): boolean {
    const count = this.candidates(prefix)
    const before = this.best[prefix]!
    const setBefore = this.bestSet[prefix]!
    this.decision.current = before
    const best = count === 0 ? -1 : this.decision.best(this.ranked, count)
    const set = best < 0 ? 0 : this.pool.chosen[best]!
    this.best[prefix] = best
    this.#install(prefix, best, count)
    if (best === before && set === setBefore) return false
    if (set !== setBefore) {
      if (set !== 0) this.sets.retain(set)
      this.bestSet[prefix] = set
      this.sets.release(setBefore)
    }
    return true
  }

  /** The best path goes to the FIB, with those that may share its traffic and the next best for when all of them fail. */
  #install(prefix: number, best: number, count: number): void {
    const { pool } = this
    for (let path = this.first[prefix]!; path >= 0; path = pool.next[path]!) pool.flags[path]! &= ~(PathFlag.multipath | PathFlag.backup)
    const peer = best < 0 ? 0 : pool.peer[best]!
    if (best < 0 || (peer < firstPeer && peer !== Source.table && peer !== Source.aggregate)) return this.#unset(prefix)
    if (peer === Source.aggregate) return this.#set(prefix, kindDiscard, true)
    const kind = this.decision.facts.isExternal[peer] === 1 ? kindExternal : kindInternal
    const nextHop = this.sets.nextHopOf(pool.chosen[best]!)
    if (nextHop < 0) return this.#unset(prefix)
    this.#winners = [nextHop]
    this.#backup = []
    if (count > 1) this.#collect(best, count)
    this.#set(prefix, kind, false)
  }

  #collect(best: number, count: number): void {
    const { decision, pool, ranked } = this
    const most = decision.maxPaths(best)
    let left = 1
    for (let i = 1; i < count; i++) {
      const path = ranked[i]!
      const isWinner = this.#winners.length < most && decision.isMultipath(best, path)
      if (!isWinner) {
        ranked[left++] = path
        continue
      }
      pool.flags[path]! |= PathFlag.multipath
      const nextHop = this.sets.nextHopOf(pool.chosen[path]!)
      if (nextHop >= 0 && !this.#winners.includes(nextHop)) this.#winners.push(nextHop)
    }
    if (left === 1) return
    const second = decision.best(ranked.subarray(1), left - 1)
    const nextHop = this.sets.nextHopOf(pool.chosen[second]!)
    if (nextHop < 0 || this.#winners.includes(nextHop)) return
    pool.flags[second]! |= PathFlag.backup
    this.#backup.push(nextHop)
  }

  #set(prefix: number, kind: 0 | 1 | 2, isDiscard: boolean): void {
    if (isDiscard) this.#winners = this.#backup = []
    const key = this.#winners.length === 1 && this.#backup.length === 0
      ? (this.#winners[0]! + 1) * 4 + kind
      : this.#listNumber(`${kind}:${this.#winners.toSorted((a, b) => a - b).join()}|${this.#backup.join()}`)
    if (this.fib[prefix] === key) return
    this.fib[prefix] = key
    this.prefixes.octetsInto(prefix, this.octets, 0)
    this.#fib.set(this.family, this.octets, 0, this.prefixes.lengthOf(prefix), this.#winners, this.#backup, kind)
  }

  #unset(prefix: number): void {
    if (this.fib[prefix] === 0) return
    this.fib[prefix] = 0
    this.prefixes.octetsInto(prefix, this.octets, 0)
    this.#fib.unset(this.family, this.octets, 0, this.prefixes.lengthOf(prefix))
  }

  #listNumber(key: string): number {
    const known = this.#lists.get(key)
    if (known !== undefined) return known
    const number = firstList + this.#lists.size
    this.#lists.set(key, number)
    return number
  }

  #grow(): void {
    const capacity = this.prefixes.capacity
    const from = this.first.length
    this.first = growI32(this.first, capacity).fill(-1, from)
    this.best = growI32(this.best, capacity).fill(-1, from)
    this.bestSet = growU32(this.bestSet, capacity)
    this.fib = growU32(this.fib, capacity)
  }
}
