/**
 * Divides vertices among parts of given sizes so that nets cross as little as possible. A net is a set of vertices that
 * want to be together; one that lies in n parts costs n - 1.
 *
 * Several deterministic first divisions (place-start.ts) are each refined by moving single vertices, after Fiduccia and
 * Mattheyses ("A Linear-Time Heuristic for Improving Network Partitions", 1982) with several parts: every vertex moves
 * once, the best move first even if it makes things worse, and then all moves behind the best moment are taken back. This
 * goes on until a round finds nothing. The best result of all starts is the answer; what was first wins among equals.
 */
import { type Problem, starts } from "./place-start.ts"

/** The part of every vertex: always the same for the same problem. */
export const partition = (problem: Problem): Int32Array => {
  const netsOf: number[][] = Array.from({ length: problem.size }, () => [])
  problem.nets.forEach((net, index) => net.forEach((vertex) => netsOf[vertex]!.push(index)))
  let best: Refinement | undefined
  for (const start of starts(problem, netsOf)) {
    const refinement = new Refinement(problem, netsOf, start)
    refinement.run()
    if (best === undefined || isBetter(refinement.score(), best.score())) best = refinement
  }
  return best!.partOf
}

/** Vertices too many or too few, cost of the nets, distance from the shares: compared in this order. */
type Score = readonly [violation: number, cut: number, imbalance: number]

const isBetter = (a: Score, b: Score): boolean => {
  for (let i = 0; i < 2; i++) if (a[i] !== b[i]) return a[i]! < b[i]!
  return a[2] < b[2] - 1e-9
}

const mostRounds = 12
/** Pairs of parts looked at for one start, in all rounds: what keeps ten thousand nodes on twenty hosts within a second or two. */
const mostChecks = 8_000_000
/** Gains beyond are kept in the outermost bucket. */
const mostGain = 32
/** A part may be this far outside its bounds in the middle of a round, so that two vertices can change places. */
const leeway = 1

class Refinement {
  readonly partOf: Int32Array
  private readonly problem: Problem
  private readonly netsOf: ReadonlyArray<ReadonlyArray<number>>
  private readonly parts: number
  private readonly counts: Int32Array
  /** By net and part: vertices of the net there. */
  private readonly pins: Int32Array
  /** By vertex and part: by how much the cut shrinks when the vertex moves there. */
  private readonly gains: Int32Array
  private readonly isMoved: Uint8Array
  private readonly buckets: Buckets
  private cut = 0
  private checks = 0

  constructor(problem: Problem, netsOf: ReadonlyArray<ReadonlyArray<number>>, start: Int32Array) {
    this.problem = problem
    this.netsOf = netsOf
    this.partOf = start
    const parts = (this.parts = problem.shares.length)
    this.counts = new Int32Array(parts)
    for (const part of start) this.counts[part]!++
    this.pins = new Int32Array(problem.nets.length * parts)
    problem.nets.forEach((net, index) => {
      for (const vertex of net) if (this.pins[index * parts + start[vertex]!]!++ === 0) this.cut++
      this.cut--
    })
    this.gains = new Int32Array(problem.size * parts)
    this.isMoved = new Uint8Array(problem.size)
    this.buckets = new Buckets(problem.size, parts)
  }

  run(): void {
    if (this.parts > 1) for (let round = 0; round < mostRounds && this.checks < mostChecks && this.round(); round++);
  }

  score(): Score {
    const { least, most, shares } = this.problem
    let violation = 0
    let imbalance = 0
    for (let part = 0; part < this.parts; part++) {
      const count = this.counts[part]!
      violation += Math.max(0, count - most[part]!, least[part]! - count)
      imbalance += (count - shares[part]!) ** 2
    }
    return [violation, this.cut, imbalance]
  }

  /** Moves every vertex once and keeps the best moment; false when that is where the round began. */
  private round(): boolean {
    const moves: Array<readonly [vertex: number, from: number]> = []
    const patience = 64 + (this.problem.size >> 2)
    let best = this.score()
    let kept = 0
    this.fill()
    while (moves.length - kept < patience && this.checks < mostChecks) {
      const entry = this.choose()
      if (entry < 0) break
      const vertex = Math.floor(entry / this.parts)
      moves.push([vertex, this.partOf[vertex]!])
      this.move(vertex, entry % this.parts)
      const score = this.score()
      if (isBetter(score, best)) [best, kept] = [score, moves.length]
    }
    for (let i = moves.length - 1; i >= kept; i--) this.put(moves[i]![0], moves[i]![1])
    return kept > 0
  }

  private fill(): void {
    const { fixed, size } = this.problem
    this.isMoved.fill(0)
    this.buckets.clear()
    for (let vertex = 0; vertex < size; vertex++) {
      if (fixed[vertex]! >= 0) {
        this.isMoved[vertex] = 1
        continue
      }
      const from = this.partOf[vertex]!
      for (let to = 0; to < this.parts; to++) {
        if (to === from) continue
        const gain = this.gainOf(vertex, from, to)
        this.gains[vertex * this.parts + to] = gain
        this.buckets.add(vertex, from, to, gain)
      }
    }
  }

  private gainOf(vertex: number, from: number, to: number): number {
    let gain = 0
    for (const net of this.netsOf[vertex]!) {
      if (this.pins[net * this.parts + from] === 1) gain++
      if (this.pins[net * this.parts + to] === 0) gain--
    }
    return gain
  }

  /** The best move that no part's size forbids, as vertex * parts + to; of equal ones that from the fullest part to the emptiest. */
  private choose(): number {
    const { buckets, counts, parts } = this
    const { least, most, shares } = this.problem
    this.checks += parts * parts
    let entry = -1
    let bestGain = -Infinity
    let bestPull = -Infinity
    for (let from = 0; from < parts; from++) {
      if (counts[from]! - 1 < least[from]! - leeway) continue
      for (let to = 0; to < parts; to++) {
        if (to === from || counts[to]! + 1 > most[to]! + leeway) continue
        const first = buckets.first(from, to)
        if (first < 0) continue
        const gain = this.gains[first]!
        const pull = counts[from]! - shares[from]! - (counts[to]! - shares[to]!)
        if (gain < bestGain || (gain === bestGain && pull <= bestPull)) continue
        entry = first
        bestGain = gain
        bestPull = pull
      }
    }
    return entry
  }

  private move(vertex: number, to: number): void {
    const from = this.partOf[vertex]!
    this.isMoved[vertex] = 1
    for (let part = 0; part < this.parts; part++) if (part !== from) this.buckets.remove(vertex, from, part)
    for (const net of this.netsOf[vertex]!) {
      const there = this.pins[net * this.parts + to]!
      const left = this.pins[net * this.parts + from]! - 1
      if (there > 1 && left > 1) continue
      for (const other of this.problem.nets[net]!) {
        if (other === vertex || this.isMoved[other] === 1) continue
        const part = this.partOf[other]!
        // A net that comes to a part costs nobody else anything there; who is alone in a part with its net can save it.
        if (there === 0) this.raise(other, part, to, 1)
        else if (there === 1 && part === to) this.raiseAll(other, part, -1)
        if (left === 0) this.raise(other, part, from, -1)
        else if (left === 1 && part === from) this.raiseAll(other, part, 1)
      }
    }
    this.put(vertex, to)
  }

  private raiseAll(vertex: number, from: number, by: number): void {
    for (let to = 0; to < this.parts; to++) this.raise(vertex, from, to, by)
  }

  private raise(vertex: number, from: number, to: number, by: number): void {
    if (to === from) return
    const entry = vertex * this.parts + to
    this.buckets.remove(vertex, from, to)
    this.gains[entry]! += by
    this.buckets.add(vertex, from, to, this.gains[entry]!)
  }

  /** Without a thought for gains. */
  private put(vertex: number, to: number): void {
    const from = this.partOf[vertex]!
    for (const net of this.netsOf[vertex]!) {
      if (--this.pins[net * this.parts + from]! === 0) this.cut--
      if (this.pins[net * this.parts + to]!++ === 0) this.cut++
    }
    this.counts[from]!--
    this.counts[to]!++
    this.partOf[vertex] = to
  }
}

const bucketCount = 2 * mostGain + 1

/** Possible moves, by source and target part and then by gain: lists in which adding, removing and finding the best is quick. */
class Buckets {
  private readonly parts: number
  private readonly heads: Int32Array
  private readonly tops: Int32Array
  private readonly next: Int32Array
  private readonly previous: Int32Array
  private readonly bucketOf: Int32Array

  constructor(size: number, parts: number) {
    this.parts = parts
    this.heads = new Int32Array(parts * parts * bucketCount)
    this.tops = new Int32Array(parts * parts)
    this.next = new Int32Array(size * parts)
    this.previous = new Int32Array(size * parts)
    this.bucketOf = new Int32Array(size * parts)
  }

  clear(): void {
    this.heads.fill(-1)
    this.tops.fill(-1)
  }

  add(vertex: number, from: number, to: number, gain: number): void {
    const pair = from * this.parts + to
    const level = Math.max(-mostGain, Math.min(mostGain, gain)) + mostGain
    const entry = vertex * this.parts + to
    const bucket = pair * bucketCount + level
    const head = this.heads[bucket]!
    this.next[entry] = head
    this.previous[entry] = -1
    if (head >= 0) this.previous[head] = entry
    this.heads[bucket] = entry
    this.bucketOf[entry] = bucket
    if (level > this.tops[pair]!) this.tops[pair] = level
  }

  remove(vertex: number, from: number, to: number): void {
    if (from === to) return
    const entry = vertex * this.parts + to
    const before = this.previous[entry]!
    const after = this.next[entry]!
    if (before >= 0) this.next[before] = after
    else this.heads[this.bucketOf[entry]!] = after
    if (after >= 0) this.previous[after] = before
  }

  /** The entry of the highest gain, or -1. */
  first(from: number, to: number): number {
    const pair = from * this.parts + to
    let top = this.tops[pair]!
    while (top >= 0 && this.heads[pair * bucketCount + top]! < 0) top--
    this.tops[pair] = top
    return top < 0 ? -1 : this.heads[pair * bucketCount + top]!
  }
}
