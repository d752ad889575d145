/**
 * A recording of a link, replayed in a loop from when it was given. The last sample holds as long as the one before it;
 * before the first one the last one holds. What a sample does not say is the profile's own.
 */
import type { TraceSample } from "./profile.ts"

const nsPerMs = 1e6

export class Trace {
  private readonly samples: ReadonlyArray<TraceSample>
  private readonly startNs: number
  private readonly periodNs: number

  /** `samples`: at least one, in the order of their times. */
  constructor(samples: ReadonlyArray<TraceSample>, startNs: number) {
    this.samples = samples
    this.startNs = startNs
    const last = samples.at(-1)!.atMs
    const before = samples.at(-2)?.atMs
    this.periodNs = before === undefined ? Infinity : (last + (last - before)) * nsPerMs
  }

  at(ns: number): TraceSample {
    return this.samples[this.indexAt(this.within(ns))]!
  }

  /**
   * When the last of `bits` has left, the first of which leaves at `fromNs`: Infinity when no rate of the recording is
   * above 0. `otherwise`: bits per second where a sample has no rate.
   */
  finish(fromNs: number, bits: number, otherwise: number): number {
    let at = fromNs
    let left = bits
    // One round without a bit sent means that none ever will be.
    for (let idle = 0; idle <= this.samples.length + 1; ) {
      const within = this.within(at)
      const index = this.indexAt(within)
      const rate = this.samples[index]!.rateBps ?? otherwise
      const end = at + this.untilNext(within, index)
      const needed = rate === 0 ? Infinity : (left / rate) * 1e9
      if (at + needed <= end) return at + needed
      idle = rate > 0 ? 0 : idle + 1
      left -= ((end - at) * rate) / 1e9
      at = end
    }
    return Infinity
  }

  private within(ns: number): number {
    const elapsed = Math.max(0, ns - this.startNs)
    return this.periodNs === Infinity || this.periodNs <= 0 ? elapsed : elapsed % this.periodNs
  }

  /** The last sample that begins at or before `within`; the last of all before the first. */
  private indexAt(within: number): number {
    let low = 0
    let high = this.samples.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.samples[middle]!.atMs * nsPerMs <= within) low = middle + 1
      else high = middle
    }
    return low === 0 ? this.samples.length - 1 : low - 1
  }

  private untilNext(within: number, index: number): number {
    if (this.samples.length === 1) return Infinity
    const first = this.samples[0]!.atMs * nsPerMs
    const next = within < first ? first : index + 1 < this.samples.length ? this.samples[index + 1]!.atMs * nsPerMs : this.periodNs
    // Never 0: two samples of the same time, or rounding, must not stop the clock.
    return Math.max(1, next - within)
  }
}
