/**
 * Recordings of a link, replayed in a loop from when they were given: rate, delay and loss that change with time
 * (`Samples`), or the times at which something may be sent (`Deliveries`).
 */
import * as DeliveryTimes from "../wire/delivery-times.ts"
import type { Trace, TraceSample } from "./profile.ts"

/** When packets have left. Asked once for each packet, in their order. */
export interface Pace {
  /**
   * When the last of `octets` (from the Ethernet header on) has left, the first of which leaves at `fromNs` or later:
   * Infinity when that will never be. `otherwiseBps`: the rate where the recording has none.
   */
  finish(fromNs: number, octets: number, otherwiseBps: number): number
  /** The packet last asked for is not sent after all. */
  abandon(): void
  /** Bits per second, of a whole round. */
  mean(otherwiseBps: number): number
}

const nsPerMs = 1e6

export class Samples implements Pace {
  private readonly samples: ReadonlyArray<TraceSample>
  private readonly startNs: number
  private readonly periodNs: number

  /** `samples`: at least one. */
  constructor({ periodMs, samples }: Extract<Trace, { kind: "samples" }>, startNs: number) {
    this.samples = samples
    this.startNs = startNs
    this.periodNs = Math.max(1, periodMs * nsPerMs)
  }

  at(ns: number): TraceSample {
    return this.samples[this.indexAt(this.within(ns))]!
  }

  finish(fromNs: number, octets: number, otherwiseBps: number): number {
    let at = fromNs
    let left = octets * 8
    // One round without a bit sent means that none ever will be.
    for (let idle = 0; idle <= this.samples.length + 1; ) {
      const within = this.within(at)
      const index = this.indexAt(within)
      const rate = this.samples[index]!.rateBps ?? otherwiseBps
      const end = at + this.untilNext(within, index)
      const needed = rate === 0 ? Infinity : (left / rate) * 1e9
      if (at + needed <= end) return at + needed
      idle = rate > 0 ? 0 : idle + 1
      left -= ((end - at) * rate) / 1e9
      at = end
    }
    return Infinity
  }

  abandon(): void {}

  mean(otherwiseBps: number): number {
    const bits = this.samples.reduce((sum, { atMs, rateBps = otherwiseBps }, index) => {
      const endMs = this.samples[index + 1]?.atMs ?? this.periodNs / nsPerMs
      return sum + (endMs - atMs) * rateBps
    }, 0)
    return (bits * nsPerMs) / this.periodNs
  }

  private within(ns: number): number {
    return Math.max(0, ns - this.startNs) % this.periodNs
  }

  /** The last sample that begins at or before `within`; the first one before that. */
  private indexAt(within: number): number {
    let low = 1
    let high = this.samples.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.samples[middle]!.atMs * nsPerMs <= within) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  private untilNext(within: number, index: number): number {
    const next = this.samples[index + 1]?.atMs
    // Never 0: two samples of the same time, or rounding, must not stop the clock.
    return Math.max(1, (next === undefined ? this.periodNs : next * nsPerMs) - within)
  }
}

/** What leaves at one opportunity. */
const opportunityOctets = 1500
/** An opportunity is for one full IP packet, so the header around it does not count. */
const ethernetHeader = 14

/**
 * As mm-link of Mahimahi does it (`src/frontend/link_queue.cc`): packets share an opportunity or take several, one that
 * comes after an opportunity waits for the next, and what is left of one when nothing waits is lost. The recording begins
 * again at the time of its last opportunity.
 */
export class Deliveries implements Pace {
  private readonly timesMs: Uint32Array
  private readonly startNs: number
  private readonly periodMs: number
  /** The opportunity being used, and what is left of it. */
  private round = 0
  private index = 0
  private left = opportunityOctets
  private isAbandoned = false

  /** `timesMs`: in order, the last one above 0. */
  constructor(timesMs: Uint32Array, startNs: number) {
    this.timesMs = timesMs
    this.startNs = startNs
    this.periodMs = timesMs.at(-1)!
  }

  finish(fromNs: number, octets: number): number {
    if (this.isAbandoned || this.time() < fromNs) this.seek(fromNs)
    let needed = Math.max(1, octets - ethernetHeader)
    while (needed > this.left) {
      needed -= this.left
      this.next()
    }
    this.left -= needed
    return this.time()
  }

  abandon(): void {
    this.isAbandoned = true
  }

  mean(): number {
    return (this.timesMs.length * opportunityOctets * 8e3) / this.periodMs
  }

  private time(): number {
    return this.startNs + (this.round * this.periodMs + this.timesMs[this.index]!) * nsPerMs
  }

  private next(): void {
    this.left = opportunityOctets
    if (++this.index < this.timesMs.length) return
    this.index = 0
    this.round++
  }

  /** To the first opportunity at `ns` or later. */
  private seek(ns: number): void {
    const elapsedMs = (ns - this.startNs) / nsPerMs
    // The last opportunity of a round lies where the next round begins.
    this.round = Math.max(0, Math.ceil(elapsedMs / this.periodMs) - 1)
    const withinMs = elapsedMs - this.round * this.periodMs
    let low = 0
    let high = this.timesMs.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.timesMs[middle]! < withinMs) low = middle + 1
      else high = middle
    }
    this.index = low
    this.left = opportunityOctets
    this.isAbandoned = false
    // Divisions round: never an opportunity that has passed.
    while (this.time() < ns) this.next()
  }
}

/**
 * Undefined for one that is none: no samples, or times that cannot be read. `nowNs` and `nowMs` are the same moment, by the
 * clock of packets and by that of the wall.
 */
export const replay = (trace: Trace | undefined, nowNs: number, nowMs = Date.now()): Samples | Deliveries | undefined => {
  if (trace === undefined) return undefined
  const startNs = trace.sinceMs === undefined ? nowNs : nowNs - (nowMs - trace.sinceMs) * nsPerMs
  if (trace.kind === "samples") return trace.samples.length === 0 ? undefined : new Samples(trace, startNs)
  const times = DeliveryTimes.decode(trace.times)
  return times === undefined || (times.at(-1) ?? 0) === 0 ? undefined : new Deliveries(times, startNs)
}

/** Whether one can go on for the other. */
export const isSame = (a: Trace | undefined, b: Trace | undefined): boolean => {
  if (a === b) return true
  if (a?.sinceMs !== b?.sinceMs) return false
  if (a?.kind === "deliveries" && b?.kind === "deliveries") return a.times === b.times
  if (a?.kind !== "samples" || b?.kind !== "samples" || a.periodMs !== b.periodMs || a.samples.length !== b.samples.length) return false
  return a.samples.every((one, index) => {
    const other = b.samples[index]!
    return one.atMs === other.atMs && one.rateBps === other.rateBps && one.delayMs === other.delayMs && one.loss === other.loss
  })
}
