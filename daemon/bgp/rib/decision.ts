/**
 * The decision process: which of the paths of a prefix is the best, and why (RFC 4271 9.1.2, in FRR's order).
 *
 *      long-lived stale last (RFC 9494 4.3), weight, LOCAL_PREF, own routes, AS_PATH length, ORIGIN, MED among paths of one
 *      neighbour AS, eBGP over iBGP, IGP metric | equal up to here: multipath | the eBGP path that is best already, router id
 *      or ORIGINATOR_ID (RFC 4456 9), CLUSTER_LIST length, neighbour's address, path identifier
 *
 * MED makes "better" no order: it compares some pairs only. So it is deterministic: the best of each neighbour AS is found first,
 * then the best of these, without MED between different neighbours. The result does not depend on the order of arrival, but for
 * the one step that asks which path is best already: it keeps routes from changing when nothing speaks for the other. With
 * `compareRouterId` that is not asked.
 */
import type { AttributeTable } from "./attribute-table.ts"
import { SetFlag } from "./attribute-table.ts"
import type { PathPool } from "./path-pool.ts"

/** The steps, in order. What `compare` returns is one of these, negative if the first path is better. */
export const Step = {
  longLivedStale: 1,
  weight: 2,
  localPref: 3,
  local: 4,
  pathLength: 5,
  origin: 6,
  med: 7,
  external: 8,
  metric: 9,
  oldest: 10,
  routerId: 11,
  clusterLength: 12,
  peerAddress: 13,
  pathId: 14,
  index: 15
} as const

/** For `lost to ... on ...`. */
export const stepNames: Readonly<Record<number, string>> = {
  1: "long-lived staleness", 2: "weight", 3: "local preference", 4: "local origin", 5: "AS-path length", 6: "origin", 7: "MED",
  8: "eBGP over iBGP", 9: "IGP metric", 10: "age", 11: "router ID", 12: "cluster list length", 13: "neighbor address",
  14: "path identifier", 15: "order of arrival"
}

/** What the decision process knows of neighbours, by their index. Below `firstPeer` it is ourselves, by source. */
export interface PeerFacts {
  readonly isExternal: Uint8Array
  readonly routerId: Uint32Array
  /** Sorts as addresses do. */
  readonly addressKey: ReadonlyArray<string>
}

export const firstPeer = 8

export interface DecisionOptions {
  readonly alwaysCompareMed: boolean
  readonly missingMedIsWorst?: true
  readonly ignoreAsPath?: true
  readonly compareRouterId?: true
  readonly multipath: { readonly ebgp: number; readonly ibgp: number; readonly asPathRelax: boolean }
}

/** IGP metrics by index of next hop; larger than any real one: unreachable. */
export const unreachable = 0xffff_ffff

export class Decision {
  readonly #pool: PathPool
  readonly #sets: AttributeTable
  /** May be replaced; what was decided before is to be looked at again. */
  options: DecisionOptions
  readonly #metricOf: (set: number) => number
  facts: PeerFacts
  /** The path that is best now, or -1. */
  current = -1

  constructor(
    pool: PathPool,
    sets: AttributeTable,
    { facts, metricOf, options }: { facts: PeerFacts; metricOf: (set: number) => number; options: DecisionOptions }
  ) {
    this.#pool = pool
    this.#sets = sets
    this.facts = facts
    this.#metricOf = metricOf
    this.options = options
  }

  /** Positive: the second path is better, by that `Step`; negative: the first. `withMed`: MED counts between these two. */
  compare(a: number, b: number, withMed: boolean): number {
    const sets = this.#sets
    const x = this.#pool.chosen[a]!
    const y = this.#pool.chosen[b]!
    if (x !== y) {
      const staleX = sets.flags[x]! & SetFlag.llgrStale
      if (staleX !== (sets.flags[y]! & SetFlag.llgrStale)) return staleX === 0 ? -Step.longLivedStale : Step.longLivedStale
      if (sets.weight[x] !== sets.weight[y]) return sets.weight[x]! > sets.weight[y]! ? -Step.weight : Step.weight
      if (sets.localPref[x] !== sets.localPref[y]) return sets.localPref[x]! > sets.localPref[y]! ? -Step.localPref : Step.localPref
    }
    const p = this.#pool.peer[a]!
    const q = this.#pool.peer[b]!
    const localP = p < firstPeer
    if (localP !== q < firstPeer) return localP ? -Step.local : Step.local
    if (x !== y) {
      if (sets.pathLength[x] !== sets.pathLength[y] && this.options.ignoreAsPath !== true) {
        return sets.pathLength[x]! < sets.pathLength[y]! ? -Step.pathLength : Step.pathLength
      }
      if (sets.origin[x] !== sets.origin[y]) return sets.origin[x]! < sets.origin[y]! ? -Step.origin : Step.origin
      if (withMed) {
        const medX = this.#medOf(x)
        const medY = this.#medOf(y)
        if (medX !== medY) return medX < medY ? -Step.med : Step.med
      }
    }
    const externalP = this.facts.isExternal[p]!
    const externalQ = this.facts.isExternal[q]!
    if (externalP !== externalQ) return externalP === 1 ? -Step.external : Step.external
    if (x !== y) {
      const metricX = this.#metricOf(x)
      const metricY = this.#metricOf(y)
      if (metricX !== metricY) return metricX < metricY ? -Step.metric : Step.metric
    }
    return this.#tieBreak(a, b)
  }

  /** RFC 4271 9.1.2.2 c: no MED is the lowest MED; or, where it is so configured, the highest. */
  #medOf(set: number): number {
    const med = this.#sets.med[set]!
    const isMissing = med === 0 && this.options.missingMedIsWorst === true && (this.#sets.flags[set]! & SetFlag.hasMed) === 0
    return isMissing ? 0xffff_ffff : med
  }

  /** Whether the two may differ only in MED steps that do not count: MED counts always, or both have one neighbour AS. */
  #countsMed(a: number, b: number): boolean {
    return this.options.alwaysCompareMed || this.#neighborAs(a) === this.#neighborAs(b)
  }

  #neighborAs(path: number): number {
    return this.#sets.neighborAs[this.#pool.chosen[path]!]!
  }

  #tieBreak(a: number, b: number): number {
    const pool = this.#pool
    const sets = this.#sets
    const p = pool.peer[a]!
    const q = pool.peer[b]!
    const x = pool.chosen[a]!
    const y = pool.chosen[b]!
    const { addressKey, isExternal, routerId } = this.facts
    if (isExternal[p] === 1 && isExternal[q] === 1 && p !== q && this.options.compareRouterId !== true) {
      if (a === this.current) return -Step.oldest
      if (b === this.current) return Step.oldest
    }
    const idX = sets.originatorId[x] === 0 ? routerId[p]! : sets.originatorId[x]!
    const idY = sets.originatorId[y] === 0 ? routerId[q]! : sets.originatorId[y]!
    if (idX !== idY) return idX < idY ? -Step.routerId : Step.routerId
    const clusters = sets.clusterLength[x]! - sets.clusterLength[y]!
    if (clusters !== 0) return clusters < 0 ? -Step.clusterLength : Step.clusterLength
    if (p !== q && addressKey[p] !== addressKey[q]) return addressKey[p]! < addressKey[q]! ? -Step.peerAddress : Step.peerAddress
    const identifiers = pool.pathIdOf(a) - pool.pathIdOf(b)
    if (identifiers !== 0) return identifiers < 0 ? -Step.pathId : Step.pathId
    return a < b ? -Step.index : Step.index
  }

  /** Puts the best of `paths[0..count)` first and returns it. The others stay in some order. */
  best(paths: Int32Array, count: number): number {
    if (count === 1) return paths[0]!
    if (count === 2) {
      if (this.compare(paths[0]!, paths[1]!, this.#countsMed(paths[0]!, paths[1]!)) > 0) swap(paths, 0, 1)
      return paths[0]!
    }
    if (!this.options.alwaysCompareMed) this.#groupByNeighbor(paths, count)
    // The best of each group, then the best of these.
    let winner = 0
    for (let begin = 0; begin < count;) {
      let champion = begin
      let at = begin + 1
      for (; at < count && this.#countsMed(paths[begin]!, paths[at]!); at++) {
        if (this.compare(paths[champion]!, paths[at]!, true) > 0) champion = at
      }
      if (begin > 0 && this.compare(paths[winner]!, paths[champion]!, false) > 0) winner = champion
      else if (begin === 0) winner = champion
      begin = at
    }
    swap(paths, 0, winner)
    return paths[0]!
  }

  /** Ranks: the best first, then the best of the rest, ... up to `places`. */
  rank(paths: Int32Array, count: number, places: number): void {
    for (let place = 0; place < Math.min(places, count - 1); place++) this.best(paths.subarray(place), count - place)
  }

  /** By the best's rules: whether `other` may share its traffic (FRR: equal up to the IGP metric, and the same AS_PATH if not relaxed). */
  isMultipath(best: number, other: number): boolean {
    const { asPathRelax } = this.options.multipath
    const step = Math.abs(this.compare(best, other, this.#countsMed(best, other)))
    if (step < Step.oldest) return false
    const p = this.#pool.peer[best]!
    const q = this.#pool.peer[other]!
    if (p < firstPeer || q < firstPeer) return false
    const x = this.#pool.chosen[best]!
    const y = this.#pool.chosen[other]!
    return x === y || asPathRelax || this.#sets.isSamePath(x, y)
  }

  /** How many paths may share traffic with this best. */
  maxPaths(best: number): number {
    const { ebgp, ibgp } = this.options.multipath
    return this.facts.isExternal[this.#pool.peer[best]!] === 1 ? ebgp : ibgp
  }

  /** Why `loser` is behind `winner`: a `Step`. */
  why(winner: number, loser: number): number {
    const step = this.compare(winner, loser, this.#countsMed(winner, loser))
    // Positive: the loser would beat the winner alone, but has lost to another of its neighbour AS.
    return step > 0 ? Step.med : -step
  }

  /** Sorts by neighbour AS: few paths, so by insertion; many (a route server) by the engine's sort. */
  #groupByNeighbor(paths: Int32Array, count: number): void {
    if (count > 24) {
      paths.subarray(0, count).sort((a, b) => this.#neighborAs(a) - this.#neighborAs(b) || a - b)
      return
    }
    for (let i = 1; i < count; i++) {
      const path = paths[i]!
      const key = this.#neighborAs(path)
      let at = i
      while (at > 0 && this.#neighborAs(paths[at - 1]!) > key) {
        paths[at] = paths[at - 1]!
        at--
      }
      paths[at] = path
    }
  }
}

const swap = (paths: Int32Array, a: number, b: number): void => {
  const kept = paths[a]!
  paths[a] = paths[b]!
  paths[b] = kept
}
