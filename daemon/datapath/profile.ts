/**
 * What the engine does to the packets of a link, by direction. The same shape as a plan's link profile; the packet path
 * knows no plans, so it has its own words for it, and the type checker compares the two where one is handed over.
 */

export interface Jitter {
  readonly distribution: "uniform" | "normal" | "pareto"
  /** Half width (uniform), standard deviation (normal), scale (pareto). */
  readonly ms: number
  /** False: packets leave in the order in which they came. */
  readonly reorder: boolean
}

export type Loss =
  | { readonly kind: "random"; readonly probability: number }
  /** Two states with their own loss; p: good to bad, r: bad to good, per packet. */
  | { readonly kind: "gilbert-elliott"; readonly p: number; readonly r: number; readonly lossBad: number; readonly lossGood: number }

/** Replayed in a loop, `sinceMs` after 1970 for the first time, else from when it is given. */
export type Trace =
  /** Each sample holds until the next; what it does not say is the profile's own. */
  | {
      readonly kind: "samples"
      readonly name: string
      readonly sinceMs?: number
      readonly periodMs: number
      readonly samples: ReadonlyArray<TraceSample>
    }
  /** `times`: of opportunities to send 1500 octets, as `wire/delivery-times.ts` writes them. */
  | { readonly kind: "deliveries"; readonly name: string; readonly sinceMs?: number; readonly times: string }

export interface TraceSample {
  readonly atMs: number
  readonly rateBps?: number
  readonly delayMs?: number
  readonly loss?: number
}

export interface QueueLimits {
  readonly packets?: number
  readonly octets?: number
  readonly ms?: number
}

export type Aqm = "fifo" | "codel" | "red"

/** One direction. Absent fields do nothing. Probabilities are 0..1. */
export interface LinkProfile {
  readonly delayMs?: number
  readonly jitter?: Jitter
  readonly loss?: Loss
  readonly duplicate?: number
  readonly corrupt?: number
  /** The share of packets that skip the delay. */
  readonly reorder?: number
  readonly rateBps?: number
  readonly queue?: QueueLimits
  readonly aqm?: Aqm
  readonly down?: boolean
  readonly trace?: Trace
}

export interface LinkProfiles {
  readonly aToB: LinkProfile
  readonly bToA: LinkProfile
  readonly seed: number
}

/** Whether super-frames have to be cut: everything but a constant delay treats packets one by one. */
export const isPerPacket = (profile: LinkProfile): boolean =>
  (profile.rateBps ?? 0) > 0 ||
  profile.loss !== undefined ||
  (profile.jitter?.ms ?? 0) > 0 ||
  (profile.duplicate ?? 0) > 0 ||
  (profile.corrupt ?? 0) > 0 ||
  (profile.reorder ?? 0) > 0 ||
  hasPace(profile.trace) ||
  (profile.trace?.kind === "samples" && profile.trace.samples.some((sample) => sample.loss !== undefined))

/** Whether the recording says when packets leave, and not only what happens to them. */
export const hasPace = (trace: Trace | undefined): boolean =>
  trace?.kind === "deliveries" || (trace?.samples.some((sample) => sample.rateBps !== undefined) ?? false)
