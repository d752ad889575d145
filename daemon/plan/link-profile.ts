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
  readonly trace?: Trace
}

/**
 * A recording of a real link, replayed in a loop. `name`: its file, as the topology has it; for people. `sinceMs`: when it began,
 * in ms since 1970; absent: when the link was made or the recording given to it.
 */
export type Trace =
  | {
      readonly kind: "samples"
      readonly name: string
      readonly sinceMs?: number
      /** When it begins again; after the last sample. */
      readonly periodMs: number
      /** In the order of their times, the first at 0. Each holds until the next; what it does not say is the profile's own. */
      readonly samples: ReadonlyArray<TraceSample>
    }
  | {
      /** As mm-link(1) of Mahimahi does it: at each of these times 1500 octets may leave, and if nothing waits they are lost. */
      readonly kind: "deliveries"
      readonly name: string
      readonly sinceMs?: number
      /** `wire/delivery-times.ts`; it begins again at the time of the last. */
      readonly times: string
    }

export interface TraceSample {
  readonly atMs: number
  readonly rateBps?: number
  readonly delayMs?: number
  /** 0..1 */
  readonly loss?: number
}

/** Both directions of a link, by the order of `SegmentSpec.endpoints`. */
export interface LinkProfiles {
  readonly aToB: LinkProfile
  readonly bToA: LinkProfile
  /** The same seed and the same packets give the same drops. */
  readonly seed: number
}
