/**
 * Packets on their way, each with the time at which it is due.
 *
 * Most come in the order in which they leave and wait in a ring. Those that overtake wait in a heap beside it; the
 * earlier of the two heads goes first. Packets due at the same time leave in the order in which they came.
 */
import { PacketRing } from "./packet-ring.ts"

const smallest = 16

export class DelayLine {
  private readonly ordered = new PacketRing()
  private slots = new Int32Array(smallest)
  private lengths = new Int32Array(smallest)
  private times = new Float64Array(smallest)
  private sequence = new Float64Array(smallest)
  private early = 0
  private earlyOctets = 0
  private pushed = 0

  get count(): number {
    return this.ordered.count + this.early
  }

  get octets(): number {
    return this.ordered.octets + this.earlyOctets
  }

  /** `dueNs[0]`: when. */
  push(slot: number, octets: number, dueNs: Float64Array): void {
    if (this.ordered.count === 0 || dueNs[0]! >= this.ordered.tailTime()) this.ordered.push(slot, octets, dueNs)
    else this.pushEarly(slot, octets, dueNs)
  }

  /** When the next packet is due; Infinity when there is none. */
  next(): number {
    const first = this.ordered.count === 0 ? Infinity : this.ordered.headTime()
    return this.early === 0 ? first : Math.min(first, this.times[0]!)
  }

  /** The slot of the next packet if it is due by `nowNs[0]`, or -1. */
  pop(nowNs: Float64Array): number {
    const { ordered, times } = this
    // One that overtakes came after the packets that are in the ring at its time: these go first.
    const isEarly = this.early > 0 && (ordered.count === 0 || times[0]! < ordered.headTime())
    if (isEarly) return times[0]! <= nowNs[0]! ? this.popEarly() : -1
    return ordered.count > 0 && ordered.headTime() <= nowNs[0]! ? ordered.pop() : -1
  }

  private isBefore(a: number, b: number): boolean {
    return this.times[a]! < this.times[b]! || (this.times[a]! === this.times[b]! && this.sequence[a]! < this.sequence[b]!)
  }

  private pushEarly(slot: number, octets: number, dueNs: Float64Array): void {
    if (this.early === this.slots.length) this.grow()
    let at = this.early++
    this.slots[at] = slot
    this.lengths[at] = octets
    this.times[at] = dueNs[0]!
    this.sequence[at] = this.pushed++
    this.earlyOctets += octets
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.isBefore(at, parent)) break
      this.swap(at, parent)
      at = parent
    }
  }

  private popEarly(): number {
    const slot = this.slots[0]!
    this.earlyOctets -= this.lengths[0]!
    this.swap(0, --this.early)
    for (let at = 0; ; ) {
      let first = at
      if (2 * at + 1 < this.early && this.isBefore(2 * at + 1, first)) first = 2 * at + 1
      if (2 * at + 2 < this.early && this.isBefore(2 * at + 2, first)) first = 2 * at + 2
      if (first === at) return slot
      this.swap(at, first)
      at = first
    }
  }

  private swap(a: number, b: number): void {
    const slot = this.slots[a]!
    this.slots[a] = this.slots[b]!
    this.slots[b] = slot
    const length = this.lengths[a]!
    this.lengths[a] = this.lengths[b]!
    this.lengths[b] = length
    const time = this.times[a]!
    this.times[a] = this.times[b]!
    this.times[b] = time
    const sequence = this.sequence[a]!
    this.sequence[a] = this.sequence[b]!
    this.sequence[b] = sequence
  }

  private grow(): void {
    const capacity = this.slots.length * 2
    const bigger = <A extends Int32Array | Float64Array>(from: A, to: A): A => {
      to.set(from)
      return to
    }
    this.slots = bigger(this.slots, new Int32Array(capacity))
    this.lengths = bigger(this.lengths, new Int32Array(capacity))
    this.times = bigger(this.times, new Float64Array(capacity))
    this.sequence = bigger(this.sequence, new Float64Array(capacity))
  }
}
