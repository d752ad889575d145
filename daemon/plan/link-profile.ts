/**
 * The character of a wire in one direction. Absent fields do nothing and cost nothing.
 *
 * Order in which a packet meets them: down, loss, duplicate, corrupt, rate (with its queue), delay with jitter, reorder.
 */
export interface LinkProfile {
  /** Constant part of the one-way delay, counted from when the frame entered the fabric. */
  readonly delayMs?: number
  readonly jitter?: {
    readonly distribution: "uniform" | "normal" | "pareto"
    /** Half width (uniform), standard deviation (normal), scale (pareto). */
    readonly ms: number
    /** False (default): packets leave in the order in which they came. */
    readonly reorder: boolean
  }
  readonly loss?:
    | { readonly kind: "random"; /** 0..1 */ readonly probability: number }
    /** Gilbert-Elliott: two states with their own loss; p = good to bad, r = bad to good, per packet, all 0..1. */
    | { readonly kind: "gilbert-elliott"; readonly p: number; readonly r: number; readonly lossBad: number; readonly lossGood: number }
  /** Probabilities, 0..1. */
  readonly duplicate?: number
  /** One flipped bit in the packet, checksums left wrong. */
  readonly corrupt?: number
  /** This share of packets skips the delay. */
  readonly reorder?: number
  readonly rateBps?: number
  /** What may wait for the rate; whichever is given and reached first. Default: 100 ms, at least 64 KiB. */
  readonly queue?: { readonly packets?: number; readonly octets?: number; readonly ms?: number }
  readonly aqm?: "fifo" | "codel" | "red"
  /** No packet passes. */
  readonly down?: boolean
  /** A recording, replayed in a loop: each sample holds until the next. */
  readonly trace?: ReadonlyArray<{ readonly atMs: number; readonly rateBps?: number; readonly delayMs?: number; readonly loss?: number }>
}

/** Both directions of a link, by the order of `SegmentSpec.endpoints`. */
export interface LinkProfiles {
  readonly aToB: LinkProfile
  readonly bToA: LinkProfile
  /** The same seed and the same packets give the same drops. */
  readonly seed: number
}
