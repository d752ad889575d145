/**
 * When frames came that were read later: what a thread can know about how late it is.
 *
 * The kernel stamps no frame of a TAP. A thread that slept was woken up by the first one, a moment before it runs; one that
 * was busy, or did not get the processor, finds several and knows only since when it has not looked. For a delay the likeliest
 * time counts (`latest`); a rate that was busy all along must not lose what nobody could see to (`earliest`).
 */

/** How the estimate of the lag moves with each wake-up, and how far. */
const lagStepNs = 250
const maxLagNs = 40_000
/** How fast the worst that was seen is forgotten: by this share with each wake-up. */
const forget = 1 / 64
/** How far back a rate may make up for what nobody did: the bound of a burst. */
const maxCatchUpNs = 10_000_000

export class Lateness {
  /** How much later than asked for the thread usually wakes up: the median, as far as it is known. */
  lagNs = 0
  /** The worst of late. */
  private worstNs = 0
  /** How long before they were read the frames of this round came. */
  private offsetNs = 0
  /** When this round's frames came at the earliest, by how the thread woke up. */
  private boundNs = 0
  private hasSlept = false

  /** The thread woke up at `nowNs` because of the time it had asked for, and no frame. */
  timedOut(nowNs: number, askedNs: number): void {
    const seen = nowNs - askedNs
    // One step towards what was seen: the median of all, whatever the outliers.
    this.lagNs = Math.min(maxLagNs, Math.max(0, this.lagNs + (seen > this.lagNs ? lagStepNs : -lagStepNs)))
  }

  /**
   * A round begins. `askedNs`: when the thread had wanted to wake up at the latest; `waitedNs`: how long there was nothing to
   * do; `nappedNs`: how long nobody looked on purpose.
   */
  round(nowNs: number, askedNs: number, waitedNs: number, nappedNs: number): void {
    this.worstNs = Math.max(nowNs - askedNs, this.worstNs * (1 - forget))
    this.hasSlept = askedNs > nowNs - waitedNs && waitedNs > 2 * this.lagNs
    // Waiting took time, so the first frame came at its end; or frames came at any time while nobody looked.
    this.offsetNs = nappedNs > 0 ? nappedNs / 2 : this.hasSlept ? this.lagNs : 0
    this.boundNs = this.hasSlept ? Math.min(nowNs - this.offsetNs, askedNs) : 0
  }

  /** When a frame came that was read at `readNs`, as far as is known. */
  latest(readNs: number): number {
    return readNs - this.offsetNs
  }

  /** When a frame came at the earliest that was read together with others, `frames` in all. `emptyNs`: when there was none. */
  earliest(latestNs: number, emptyNs: number, frames: number): number {
    // Several at once are seldom there for a thread that woke up in time.
    const bound = this.hasSlept && frames > 1 ? Math.min(this.boundNs, latestNs - this.worstNs) : this.boundNs
    return Math.min(latestNs, Math.max(bound, emptyNs, latestNs - maxCatchUpNs))
  }
}
