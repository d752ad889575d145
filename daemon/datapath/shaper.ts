/**
 * A link's rate: one packet after the other, each taking octets * 8 / rate; what comes meanwhile waits in a queue that has
 * a limit and perhaps active queue management. Octets count from the Ethernet header on, as they do for tc(8).
 *
 * Time is what the caller says. A packet's transmission starts when it has arrived and the one before it has left, however
 * late the caller looks; so the rate is exact even where the caller is not.
 */
import { Codel } from "./codel.ts"
import { PacketRing } from "./packet-ring.ts"
import type { Aqm, QueueLimits } from "./profile.ts"
import { Red } from "./red.ts"
import type { Trace } from "./trace.ts"

/** What becomes of a packet that arrives. */
export const Verdict = { queued: 0, full: 1, aqm: 2 } as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

export interface ShaperConfig {
  /** Infinity: none. */
  readonly rateBps: number
  readonly queue: QueueLimits | undefined
  readonly aqm: Aqm
  /** Where it has a rate, that goes first. */
  readonly trace: Trace | undefined
}

const defaultQueueMs = 100
const defaultQueueOctets = 64 * 1024
/** What a recording's rate changes make of a limit in ms is bounded by this. */
const traceRateBps = 1e9

export class Shaper {
  private readonly waiting = new PacketRing()
  private readonly codel = new Codel()
  private readonly red: Red
  private config: ShaperConfig = { rateBps: Infinity, queue: undefined, aqm: "fifo", trace: undefined }
  private maxPackets = Infinity
  private maxOctets = Infinity
  /** [when the link is free again] */
  private readonly clock = new Float64Array(1)

  constructor(seed: number, direction: string) {
    this.red = new Red(seed, direction)
  }

  configure(config: ShaperConfig): void {
    const { rateBps, queue } = config
    // What is on the wire already keeps its time, unless there is no rate any more.
    if (rateBps === Infinity && config.trace === undefined) this.clock[0] = 0
    const rate = Math.min(rateBps, traceRateBps)
    const limitMs = (ms: number) => (Number.isFinite(rateBps) || config.trace !== undefined ? (rate * ms) / 8000 : Infinity)
    this.config = config
    this.maxPackets = queue?.packets ?? Infinity
    this.maxOctets = Math.min(queue?.octets ?? Infinity, queue?.ms === undefined ? Infinity : limitMs(queue.ms))
    if (queue?.packets === undefined && queue?.octets === undefined && queue?.ms === undefined) {
      this.maxOctets = Math.max(defaultQueueOctets, limitMs(defaultQueueMs))
    }
    this.codel.configure(rate)
  }

  get count(): number {
    return this.waiting.count
  }

  /** A packet arrives; unless it is queued it is the caller's again. */
  offer(slot: number, octets: number, atNs: number): Verdict {
    const { waiting } = this
    // A queue has room for one packet at least, or nothing would ever pass.
    if (waiting.count > 0 && (waiting.count >= this.maxPackets || waiting.octets + octets > this.maxOctets)) return Verdict.full
    if (this.config.aqm === "red") {
      const limit = this.maxOctets === Infinity ? this.maxPackets * 1514 : this.maxOctets
      if (limit !== Infinity && this.red.drops(atNs, waiting.octets, limit, Math.min(this.config.rateBps, traceRateBps))) return Verdict.aqm
    }
    waiting.push(slot, octets, atNs)
    return Verdict.queued
  }

  /** When the transmission of the next packet starts; Infinity when none waits. */
  next(): number {
    return this.waiting.count === 0 ? Infinity : Math.max(this.clock[0]!, this.waiting.headTime())
  }

  /**
   * Takes the next packet whose transmission starts by `untilNs`: its slot, or -1. `finishNs[0]` is when its last bit has
   * left, or -1 when queue management drops it. `octets` of it: `headOctets` before the call.
   */
  take(untilNs: number, finishNs: Float64Array): number {
    const { waiting, config, clock } = this
    if (waiting.count === 0) return -1
    const arrived = waiting.headTime()
    const start = Math.max(clock[0]!, arrived)
    if (start > untilNs) return -1
    const octets = waiting.headOctets()
    const slot = waiting.pop()
    if (config.aqm === "codel" && this.codel.drops(start, start - arrived, waiting.octets)) {
      finishNs[0] = -1
    } else {
      const bits = octets * 8
      clock[0] = config.trace === undefined ? start + (bits / config.rateBps) * 1e9 : config.trace.finish(start, bits, config.rateBps)
      finishNs[0] = clock[0]
    }
    if (waiting.count === 0) {
      this.codel.idle()
      this.red.idle(clock[0]!)
    }
    return slot
  }

  headOctets(): number {
    return this.waiting.count === 0 ? 0 : this.waiting.headOctets()
  }

  /** Takes a packet out, whatever its time: its slot, or -1. */
  flush(): number {
    return this.waiting.count === 0 ? -1 : this.waiting.pop()
  }
}
