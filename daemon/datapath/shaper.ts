/**
 * A link's rate: one packet after the other, each taking octets * 8 / rate; what comes meanwhile waits in a queue that has
 * a limit and perhaps active queue management. Octets count from the Ethernet header on, as they do for tc(8).
 *
 * Time is what the caller says. A packet's transmission starts when it has arrived and the one before it has left, however
 * late the caller looks; so the rate is exact even where the caller is not. Callers may take packets out ahead of their
 * start, too: these still count for the queue's limit.
 *
 * With a recording, which may have gaps of many seconds, the packet being sent stays here until it has left: when the
 * recording is changed or taken away, it goes by what holds then.
 */
import { Codel } from "./codel.ts"
import { PacketRing } from "./packet-ring.ts"
import type { Aqm, QueueLimits } from "./profile.ts"
import { Red } from "./red.ts"
import type { Pace } from "./trace.ts"

/** What becomes of a packet that arrives. */
export const Verdict = { queued: 0, full: 1, aqm: 2 } as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

export interface ShaperConfig {
  /** Infinity: none. */
  readonly rateBps: number
  readonly queue: QueueLimits | undefined
  readonly aqm: Aqm
  /** Goes before the rate. */
  readonly pace: Pace | undefined
}

const defaultQueueMs = 100
const defaultQueueOctets = 64 * 1024
/** For what depends on the rate where a recording has none. */
const unlimitedBps = 1e9

export class Shaper {
  private readonly waiting = new PacketRing()
  /** What callers who look ahead have taken out before its transmission starts: it waits here as well as anywhere. */
  private readonly ahead = new PacketRing()
  private readonly codel = new Codel()
  private readonly red: Red
  private config: ShaperConfig = { rateBps: Infinity, queue: undefined, aqm: "fifo", pace: undefined }
  /** With a recording, its mean. */
  private meanBps = Infinity
  private maxPackets = Infinity
  private maxOctets = Infinity
  /** [when the link is free again] */
  private readonly clock = new Float64Array(1)
  /** [when the head has left by the recording, or -1 when it has not been sent yet] */
  private readonly sent = new Float64Array([-1])
  /** [what a packet's time in a queue will be] */
  private readonly entry = new Float64Array(1)

  constructor(seed: number, direction: string) {
    this.red = new Red(seed, direction)
  }

  configure(config: ShaperConfig, nowNs: number): void {
    const { pace, rateBps, queue } = config
    if (pace !== this.config.pace || rateBps !== this.config.rateBps) this.abandon()
    // What waited for another recording begins now, not when it came.
    if (pace !== this.config.pace) this.clock[0] = Math.max(this.clock[0]!, nowNs)
    // What is on the wire already keeps its time, unless there is no rate any more.
    if (rateBps === Infinity && pace === undefined) this.clock[0] = 0
    const rate = pace === undefined ? rateBps : pace.mean(Math.min(rateBps, unlimitedBps))
    const limitMs = (ms: number) => (Number.isFinite(rate) ? (rate * ms) / 8000 : Infinity)
    this.meanBps = rate
    this.config = config
    this.maxPackets = queue?.packets ?? Infinity
    this.maxOctets = Math.min(queue?.octets ?? Infinity, queue?.ms === undefined ? Infinity : limitMs(queue.ms))
    if (queue?.packets === undefined && queue?.octets === undefined && queue?.ms === undefined) {
      this.maxOctets = Math.max(defaultQueueOctets, limitMs(defaultQueueMs))
    }
    this.codel.configure(Math.min(rate, unlimitedBps))
  }

  get count(): number {
    return this.waiting.count
  }

  /** A packet arrives at `atNs[0]`; unless it is queued it is the caller's again. What has started by then has been taken before. */
  offer(slot: number, octets: number, atNs: Float64Array): Verdict {
    const { waiting } = this
    if (!this.hasRoom(octets, atNs)) return Verdict.full
    if (this.config.aqm === "red") {
      const limit = this.maxOctets === Infinity ? this.maxPackets * 1514 : this.maxOctets
      if (limit !== Infinity && this.red.drops(atNs, this.backlog(), limit, Math.min(this.meanBps, unlimitedBps))) return Verdict.aqm
    }
    this.entry[0] = waiting.count === 0 ? atNs[0]! : Math.max(atNs[0]!, waiting.tailTime())
    waiting.push(slot, octets, this.entry)
    return Verdict.queued
  }

  /** Whether the link has been sending, or had something to send, at all times until `atNs[0]`. */
  isBusy(atNs: Float64Array): boolean {
    return this.waiting.count > 0 || this.clock[0]! > atNs[0]!
  }

  /** Whether a packet that comes at `atNs[0]` finds room. Times never go back. */
  hasRoom(octets: number, atNs: Float64Array): boolean {
    const { ahead, waiting } = this
    while (ahead.count > 0 && ahead.headTime() <= atNs[0]!) ahead.pop()
    const count = waiting.count + ahead.count - (this.sent[0]! >= 0 ? 1 : 0)
    // A queue has room for one packet at least, or nothing would ever pass.
    return count <= 0 || (count < this.maxPackets && this.backlog() + octets <= this.maxOctets)
  }

  /** When there will be more room than at the time of the last `hasRoom`. */
  nextRoom(): number {
    return this.ahead.count > 0 ? this.ahead.headTime() : this.next()
  }

  private backlog(): number {
    const { ahead, waiting } = this
    return waiting.octets + ahead.octets - (this.sent[0]! >= 0 ? waiting.headOctets() : 0)
  }

  /** When there is a packet to take: its transmission starts, or by a recording has ended; Infinity when none waits. */
  next(): number {
    if (this.sent[0]! >= 0) return this.sent[0]!
    return this.waiting.count === 0 ? Infinity : Math.max(this.clock[0]!, this.waiting.headTime())
  }

  /**
   * Takes the next packet whose transmission starts (by a recording: has ended) by `untilNs[0]`: its slot, or -1.
   * `finishNs[0]` is when its last bit has left, or -1 when queue management drops it. `octets` of it: `headOctets` before the call.
   */
  take(untilNs: Float64Array, finishNs: Float64Array): number {
    const { waiting, config, clock, sent } = this
    if (waiting.count === 0) return -1
    if (sent[0]! >= 0) return this.takeSent(untilNs, finishNs)
    const arrived = waiting.headTime()
    const start = Math.max(clock[0]!, arrived)
    if (start > untilNs[0]!) return -1
    const octets = waiting.headOctets()
    if (config.aqm === "codel") {
      this.codel.nowNs[0] = start
      this.codel.waitedNs[0] = start - arrived
      if (this.codel.judge(waiting.octets - octets)) {
        finishNs[0] = -1
        return this.pop()
      }
    }
    if (config.pace !== undefined) {
      sent[0] = config.pace.finish(start, octets, config.rateBps)
      return this.takeSent(untilNs, finishNs)
    }
    clock[0] = start + ((octets * 8) / config.rateBps) * 1e9
    finishNs[0] = clock[0]
    this.entry[0] = start
    this.ahead.push(0, octets, this.entry)
    return this.pop()
  }

  private abandon(): void {
    if (this.sent[0]! >= 0) this.config.pace?.abandon()
    this.sent[0] = -1
  }

  private takeSent(untilNs: Float64Array, finishNs: Float64Array): number {
    const { clock, sent } = this
    if (sent[0]! > untilNs[0]!) return -1
    clock[0] = finishNs[0] = sent[0]!
    sent[0] = -1
    return this.pop()
  }

  private pop(): number {
    const slot = this.waiting.pop()
    if (this.waiting.count === 0) {
      this.codel.idle()
      this.red.idle(this.clock)
    }
    return slot
  }

  headOctets(): number {
    return this.waiting.count === 0 ? 0 : this.waiting.headOctets()
  }

  /** Takes a packet out, whatever its time: its slot, or -1. */
  flush(): number {
    this.abandon()
    while (this.ahead.count > 0) this.ahead.pop()
    return this.waiting.count === 0 ? -1 : this.waiting.pop()
  }
}
