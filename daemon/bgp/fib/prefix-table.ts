/**
 * Prefixes of one family and what is to be, and what is, in the kernel for each: numbers in typed arrays, found by hashing. A
 * million IPv4 routes take about 22 MB, and nothing that a garbage collector has to visit.
 *
 * An entry's number is stable until `remove`.
 */
const emptySlot = 0
const noEntry = -1

export class PrefixTable {
  /** Octets of an address: 4 or 16. */
  readonly width: 4 | 16
  #octets: Uint8Array
  #lengths: Uint8Array
  /** What is to be there: a group's handle, or -1. */
  wanted: Int32Array
  /** What is there: an installation's number, or -1. */
  installed: Int32Array
  flags: Uint8Array
  /** Entry + 1 by hash. */
  #slots = new Int32Array(64)
  #firstFree = noEntry
  #end = 0
  #size = 0
  /** How many entries have a length, by length. */
  readonly #byLength: Int32Array

  constructor(width: 4 | 16) {
    this.width = width
    const capacity = 32
    this.#octets = new Uint8Array(capacity * width)
    this.#lengths = new Uint8Array(capacity)
    this.wanted = new Int32Array(capacity)
    this.installed = new Int32Array(capacity)
    this.flags = new Uint8Array(capacity)
    this.#byLength = new Int32Array(width * 8 + 1)
  }

  get size(): number {
    return this.#size
  }

  /** Entries have numbers below this; some of them are free (`isFree`). */
  get end(): number {
    return this.#end
  }

  get octets(): Uint8Array {
    return this.#octets
  }

  length(entry: number): number {
    return this.#lengths[entry]!
  }

  isFree(entry: number): boolean {
    return this.wanted[entry]! < -1
  }

  /** The entry of a prefix, whose octets beyond its length do not count; -1: there is none. */
  find(bytes: Uint8Array, at: number, length: number): number {
    const mask = this.#slots.length - 1
    for (let slot = this.#hash(bytes, at, length) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot]! - 1
      if (entry === noEntry) return noEntry
      if (this.#isEqual(entry, bytes, at, length)) return entry
    }
  }

  /** The entry of a prefix, made when there is none: nothing wanted, nothing installed. */
  findOrAdd(bytes: Uint8Array, at: number, length: number): number {
    const known = this.find(bytes, at, length)
    if (known !== noEntry) return known
    if ((this.#size + 1) * 2 > this.#slots.length) this.#rehash(this.#slots.length * 2)
    const entry = this.#allocate()
    const start = entry * this.width
    for (let i = 0; i < this.width; i++) this.#octets[start + i] = maskedOctet(bytes, at, i, length)
    this.#lengths[entry] = length
    this.wanted[entry] = -1
    this.installed[entry] = -1
    this.flags[entry] = 0
    this.#size++
    this.#byLength[length]!++
    this.#place(entry)
    return entry
  }

  /** Forgets an entry; its number may be another's later. */
  remove(entry: number): void {
    const mask = this.#slots.length - 1
    const length = this.#lengths[entry]!
    let slot = this.#hash(this.#octets, entry * this.width, length) & mask
    while (this.#slots[slot] !== entry + 1) slot = (slot + 1) & mask
    this.#slots[slot] = emptySlot
    // What lies behind moves up, so that a search never ends too early.
    for (let next = (slot + 1) & mask; this.#slots[next] !== emptySlot; next = (next + 1) & mask) {
      const other = this.#slots[next]! - 1
      const home = this.#hash(this.#octets, other * this.width, this.#lengths[other]!) & mask
      if (((next - home) & mask) < ((next - slot) & mask)) continue
      this.#slots[slot] = other + 1
      this.#slots[next] = emptySlot
      slot = next
    }
    this.#byLength[length]!--
    this.#size--
    // Free entries are a list in `wanted`, as numbers below -1.
    this.wanted[entry] = -3 - this.#firstFree
    this.#firstFree = entry
  }

  /** Calls `each` with the entries whose prefix has `address`, the longest first, until it returns true. */
  match(address: Uint8Array, each: (entry: number, length: number) => boolean): void {
    for (let length = this.width * 8; length >= 0; length--) {
      if (this.#byLength[length] === 0) continue
      const entry = this.find(address, 0, length)
      if (entry !== noEntry && each(entry, length)) return
    }
  }

  #allocate(): number {
    if (this.#firstFree !== noEntry) {
      const entry = this.#firstFree
      this.#firstFree = -3 - this.wanted[entry]!
      return entry
    }
    if (this.#end === this.#lengths.length) this.#grow(Math.ceil(this.#end * 1.5))
    return this.#end++
  }

  #grow(capacity: number): void {
    const grown = <T extends Uint8Array | Int32Array>(from: T, to: T): T => {
      to.set(from)
      return to
    }
    this.#octets = grown(this.#octets, new Uint8Array(capacity * this.width))
    this.#lengths = grown(this.#lengths, new Uint8Array(capacity))
    this.wanted = grown(this.wanted, new Int32Array(capacity))
    this.installed = grown(this.installed, new Int32Array(capacity))
    this.flags = grown(this.flags, new Uint8Array(capacity))
  }

  #rehash(slots: number): void {
    this.#slots = new Int32Array(slots)
    for (let entry = 0; entry < this.#end; entry++) if (!this.isFree(entry)) this.#place(entry)
  }

  #place(entry: number): void {
    const mask = this.#slots.length - 1
    let slot = this.#hash(this.#octets, entry * this.width, this.#lengths[entry]!) & mask
    while (this.#slots[slot] !== emptySlot) slot = (slot + 1) & mask
    this.#slots[slot] = entry + 1
  }

  #hash(bytes: Uint8Array, at: number, length: number): number {
    let hash = length
    for (let i = 0; i < this.width; i += 4) {
      const word =
        (maskedOctet(bytes, at, i, length) << 24) |
        (maskedOctet(bytes, at, i + 1, length) << 16) |
        (maskedOctet(bytes, at, i + 2, length) << 8) |
        maskedOctet(bytes, at, i + 3, length)
      hash = Math.imul(hash ^ word, 0x9e3779b1)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return hash ^ (hash >>> 13)
  }

  #isEqual(entry: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (this.#lengths[entry] !== length) return false
    const start = entry * this.width
    const used = (length + 7) >> 3
    for (let i = 0; i < used; i++) if (this.#octets[start + i] !== maskedOctet(bytes, at, i, length)) return false
    return true
  }
}

/** Octet `i` of an address at `bytes[at..]`, with the bits beyond `length` as 0. */
const maskedOctet = (bytes: Uint8Array, at: number, i: number, length: number): number => {
  const bits = length - 8 * i
  return bits >= 8 ? bytes[at + i]! : bits <= 0 ? 0 : bytes[at + i]! & (0xff00 >> bits) & 0xff
}
