/**
 * A first-in first-out queue of packets: slot, octets and a time for each. Grows as needed and allocates nothing else.
 *
 * Here and in what is built on it, a time that goes from function to function for each packet is element 0 of an array: V8
 * would put a number on its heap, unless it inlines the call.
 */

const smallest = 16

export class PacketRing {
  private slots = new Int32Array(smallest)
  private lengths = new Int32Array(smallest)
  private times = new Float64Array(smallest)
  private head = 0
  count = 0
  octets = 0

  /** `time[0]`: of the packet. */
  push(slot: number, octets: number, time: Float64Array): void {
    if (this.count === this.slots.length) this.resize(this.count * 2)
    const at = (this.head + this.count) & (this.slots.length - 1)
    this.slots[at] = slot
    this.lengths[at] = octets
    this.times[at] = time[0]!
    this.count++
    this.octets += octets
  }

  /** Of the head; the ring is not empty. */
  headTime(): number {
    return this.times[this.head]!
  }

  headOctets(): number {
    return this.lengths[this.head]!
  }

  /** Of the packet that came last; the ring is not empty. */
  tailTime(): number {
    return this.times[(this.head + this.count - 1) & (this.slots.length - 1)]!
  }

  /** Takes the head away and returns its slot; the ring is not empty. */
  pop(): number {
    const slot = this.slots[this.head]!
    this.octets -= this.lengths[this.head]!
    this.head = (this.head + 1) & (this.slots.length - 1)
    this.count--
    // After a burst the memory goes back, so that a thousand idle links stay small.
    if (this.count === 0 && this.slots.length > 1024) this.resize(smallest)
    return slot
  }

  private resize(capacity: number): void {
    const slots = new Int32Array(capacity)
    const lengths = new Int32Array(capacity)
    const times = new Float64Array(capacity)
    for (let i = 0; i < this.count; i++) {
      const at = (this.head + i) & (this.slots.length - 1)
      slots[i] = this.slots[at]!
      lengths[i] = this.lengths[at]!
      times[i] = this.times[at]!
    }
    this.slots = slots
    this.lengths = lengths
    this.times = times
    this.head = 0
  }
}
