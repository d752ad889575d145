/**
 * One direction of a link: what a profile does to its packets, as a pure function of the packets, their times and the
 * seed. Packets are slot numbers here; what has to be done to their octets goes through `Packets`.
 *
 *     arrive -> down -> loss -> duplicate -> corrupt -> [queue] -> rate -> delay and jitter, reorder -> [line] -> take
 */
import { DelayLine } from "./delay-line.ts"
import { JitterModel } from "./jitter.ts"
import { LossModel } from "./loss.ts"
import { hasPace, isPerPacket, type LinkProfile } from "./profile.ts"
import { Random } from "../wire/random.ts"
import { Shaper, Verdict } from "./shaper.ts"
import { type Deliveries, isSame, replay, Samples } from "./trace.ts"

/** Whoever keeps the packets. */
export interface Packets {
  free(slot: number): void
  /** A slot with the same packet, or -1 when there is no room. */
  copy(slot: number): number
  /** Flips one bit; `bit` counts modulo the packet's length. */
  flip(slot: number, bit: number): void
}

/** Why packets were not delivered. */
export interface Drops {
  readonly loss: number
  /** No room: the queue of the rate, or the engine's memory. */
  readonly queue: number
  /** CoDel or RED. */
  readonly aqm: number
  readonly down: number
  /** Frames that could not be understood, or that the other side did not take. */
  readonly error: number
}

/** Since the link was added; packets as on the wire, octets from the Ethernet header on. */
export interface Counters {
  /** Delivered. */
  readonly packets: number
  readonly octets: number
  readonly drops: Drops
  readonly duplicated: number
  readonly corrupted: number
  readonly reordered: number
  /** On their way now. */
  readonly queued: number
}

/** Indexes of `Direction.counts`. */
export const Count = {
  packets: 0,
  octets: 1,
  loss: 2,
  queue: 3,
  aqm: 4,
  down: 5,
  error: 6,
  duplicated: 7,
  corrupted: 8,
  reordered: 9
} as const

/** Indexes of `Direction.chances`. */
const Chance = { duplicate: 0, corrupt: 1, reorder: 2 } as const

const nsPerMs = 1e6
/** Octets that may be on their way at once: 300 ms of 3 Gbit/s. */
const maxLineOctets = 128 * 2 ** 20

export class Direction {
  readonly counts = new Float64Array(Object.keys(Count).length)
  private readonly packets: Packets
  private readonly line = new DelayLine()
  private readonly shaper: Shaper
  private readonly loss: LossModel
  private readonly jitter: JitterModel
  private readonly duplicates: Random
  private readonly corruptions: Random
  private readonly reorders: Random
  private profile: LinkProfile = {}
  /** Of the profile, as numbers of this object: profiles come in many shapes. Chances: -1 when there is none. */
  private delayNs = 0
  private readonly chances = new Float64Array(Object.keys(Chance).length).fill(-1)
  private trace: Samples | Deliveries | undefined
  /** The recording, when it has more than times. */
  private samples: Samples | undefined
  /** There is a rate. */
  isShaped = false
  /** Super-frames must be cut before they arrive. */
  isPerPacket = false
  /** Nothing is done to packets at all. */
  isTransparent = true
  /** [when the last packet that keeps its place is due] */
  private readonly last = new Float64Array(1)
  /** Times that functions hand each other (see `PacketRing`): of `arrive`, `advance`, `take`, `enter` and `send`. */
  readonly now = new Float64Array(1)
  readonly since = new Float64Array(1)
  private readonly until = new Float64Array(1)
  private readonly at = new Float64Array(1)
  private readonly finish = new Float64Array(1)
  private readonly due = new Float64Array(1)

  /** `name`: of the direction; with the seed it decides all chance. */
  constructor(packets: Packets, seed: number, name: string) {
    this.packets = packets
    this.shaper = new Shaper(seed, name)
    this.loss = new LossModel(seed, name)
    this.jitter = new JitterModel(seed, name)
    this.duplicates = new Random(seed, `${name} duplicate`)
    this.corruptions = new Random(seed, `${name} corrupt`)
    this.reorders = new Random(seed, `${name} reorder`)
  }

  /** What holds for packets from now on. Those on their way keep their times; a recording starts now if it is a new one. */
  configure(profile: LinkProfile, nowNs: number): void {
    if (!isSame(profile.trace, this.profile.trace)) {
      this.trace = replay(profile.trace, nowNs)
      this.samples = this.trace instanceof Samples ? this.trace : undefined
    }
    this.profile = profile
    this.delayNs = (profile.delayMs ?? 0) * nsPerMs
    this.chances[Chance.duplicate] = profile.duplicate ?? -1
    this.chances[Chance.corrupt] = profile.corrupt ?? -1
    this.chances[Chance.reorder] = profile.reorder ?? -1
    this.loss.configure(profile.loss)
    const rateBps = profile.rateBps ?? 0
    const pace = hasPace(profile.trace) ? this.trace : undefined
    this.isShaped = rateBps > 0 || pace !== undefined
    this.shaper.configure({
      rateBps: rateBps > 0 ? rateBps : Infinity,
      queue: profile.queue,
      aqm: profile.aqm ?? "fifo",
      pace
    }, nowNs)
    this.isPerPacket = isPerPacket(profile)
    this.isTransparent = !this.isPerPacket && this.trace === undefined && (profile.delayMs ?? 0) <= 0 && profile.down !== true
    if (profile.down === true) this.flush()
  }

  /** How many packets are on their way. */
  get queued(): number {
    return this.shaper.count + this.line.count
  }

  /** A packet enters, as `accept` says. */
  arrive(slot: number, octets: number, nowNs: number, sinceNs = nowNs): void {
    this.now[0] = nowNs
    this.since[0] = sinceNs
    this.accept(slot, octets)
  }

  /**
   * A packet enters. `octets`: from the Ethernet header on. `now[0]`: when it came, as far as is known; `since[0]`: it may
   * have come at any time from then on, because nobody looked. What a busy rate can make of it is said at `enter`.
   */
  accept(slot: number, octets: number): void {
    const { profile, counts } = this
    if (profile.down === true) {
      counts[Count.down]!++
      this.packets.free(slot)
      return
    }
    if (this.loss.drops(this.samples?.at(this.now[0]!).loss ?? -1)) {
      counts[Count.loss]!++
      this.packets.free(slot)
      return
    }
    if (this.happens(this.duplicates, Chance.duplicate)) {
      const copy = this.packets.copy(slot)
      if (copy >= 0) {
        counts[Count.duplicated]!++
        this.enter(copy, octets)
      }
    }
    this.enter(slot, octets)
  }

  /** When there is something to do next: `advance` and `take`. Infinity: nothing, until a packet arrives. */
  next(): number {
    return Math.min(this.line.next(), this.shaper.next())
  }

  /** Sends off what the rate lets go by `nowNs`. Looking ahead is harmless: a packet is due when its last bit has left. */
  advance(nowNs: number): void {
    this.until[0] = nowNs
    this.release(this.until)
  }

  private release(nowNs: Float64Array): void {
    if (this.shaper.count === 0) return
    for (;;) {
      const octets = this.shaper.headOctets()
      const slot = this.shaper.take(nowNs, this.finish)
      if (slot < 0) return
      if (this.finish[0]! < 0) {
        this.counts[Count.aqm]!++
        this.packets.free(slot)
      } else {
        this.send(slot, octets, this.finish)
      }
    }
  }

  /** Takes packets out that are due by `nowNs`: writes up to `slots.length` slots and returns how many. */
  take(nowNs: number, slots: Int32Array): number {
    this.until[0] = nowNs
    for (let count = 0; count < slots.length; count++) {
      const slot = this.line.pop(this.until)
      if (slot < 0) return count
      slots[count] = slot
    }
    return slots.length
  }

  /** Drops all that is on its way. */
  flush(): void {
    for (let slot = this.shaper.flush(); slot >= 0; slot = this.shaper.flush()) this.discard(slot)
    this.until[0] = Infinity
    for (let slot = this.line.pop(this.until); slot >= 0; slot = this.line.pop(this.until)) this.discard(slot)
    this.last[0] = 0
  }

  counters(): Counters {
    const of = (count: number) => this.counts[count]!
    return {
      packets: of(Count.packets),
      octets: of(Count.octets),
      drops: { loss: of(Count.loss), queue: of(Count.queue), aqm: of(Count.aqm), down: of(Count.down), error: of(Count.error) },
      duplicated: of(Count.duplicated),
      corrupted: of(Count.corrupted),
      reordered: of(Count.reordered),
      queued: this.queued
    }
  }

  private discard(slot: number): void {
    this.counts[Count.down]!++
    this.packets.free(slot)
  }

  /**
   * Behind loss and duplication. A rate that was busy when nobody looked goes on without a gap: a packet that comes to light
   * later is taken for one that came as soon as the queue had room. So a late thread costs neither rate nor packets. A rate
   * that was idle saves nothing up.
   */
  private enter(slot: number, octets: number): void {
    const { counts, shaper, now, since, at } = this
    if (this.happens(this.corruptions, Chance.corrupt)) {
      this.packets.flip(slot, this.corruptions.next())
      counts[Count.corrupted]!++
    }
    // A queue that is left from a rate which was removed goes first.
    if (!this.isShaped && shaper.count === 0) {
      this.send(slot, octets, now)
      return
    }
    at[0] = since[0]! < now[0]! && shaper.isBusy(since) ? since[0]! : now[0]!
    this.release(at)
    while (at[0]! < now[0]! && !shaper.hasRoom(octets, at)) {
      at[0] = Math.max(at[0]!, Math.min(now[0]!, shaper.nextRoom()))
      this.release(at)
    }
    const verdict = shaper.offer(slot, octets, at)
    if (verdict === Verdict.queued) return
    counts[verdict === Verdict.full ? Count.queue : Count.aqm]!++
    this.packets.free(slot)
  }

  /** Draws for a packet, if the profile has this chance at all. `chance`: of `Chance`. */
  private happens(random: Random, chance: number): boolean {
    const probability = this.chances[chance]!
    if (probability < 0) return false
    random.draw()
    return random.drawn[0]! < probability
  }

  /** Nanoseconds. A recording goes before the profile. */
  private delayAt(nowNs: Float64Array): number {
    if (this.samples === undefined) return this.delayNs
    const delayMs = this.samples.at(nowNs[0]!).delayMs
    return delayMs === undefined ? this.delayNs : delayMs * nsPerMs
  }

  /** Onto the line: the packet's last bit leaves at `nowNs[0]` and arrives after the delay. */
  private send(slot: number, octets: number, nowNs: Float64Array): void {
    const { profile, last, due } = this
    if (this.line.octets > maxLineOctets) {
      this.counts[Count.queue]!++
      this.packets.free(slot)
      return
    }
    if (this.happens(this.reorders, Chance.reorder)) {
      this.counts[Count.reordered]!++
      this.line.push(slot, octets, nowNs)
      return
    }
    const jitter = profile.jitter
    due[0] = this.delayAt(nowNs)
    if (jitter !== undefined) {
      this.jitter.draw(jitter)
      due[0] += this.jitter.drawn[0]!
    }
    due[0] = nowNs[0]! + Math.max(0, due[0])
    if (jitter?.reorder === true) {
      this.line.push(slot, octets, due)
      return
    }
    if (due[0]! > last[0]!) last[0] = due[0]!
    this.line.push(slot, octets, last)
  }
}
