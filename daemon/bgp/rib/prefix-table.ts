/**
 * Prefixes of one family as small numbers: an exact-match hash from octets and length to an index, and back.
 *
 * The hash has open addressing; a slot is `index + 1` below a tag of 7 bits of the hash, so that a prefix that is not there is
 * mostly told without looking at another. Growing does not stop anybody: a slot array of twice the size is filled by each
 * insertion with a few of the old entries, and until that is over the old array is asked, too.
 *
 * Limit: 2^24 - 2 prefixes. Longest match goes from length to length; it is for people who look something up.
 */
import { growU32, growU8, initialCapacity } from "./columns.ts"

/** In `#length`: the entry is free, and its first word is the next free one + 1. */
const free = 255
const indexMask = 0xff_ffff
/** A slot whose entry was removed: passed by when something is looked for. */
const tombstone = 0xffff_ffff

export class PrefixTable {
  /** 32-bit words of an address: 1 or 4. */
  readonly words: number
  /** Indexes ever used: all are below. */
  limit = 0
  /** Prefixes that are in. */
  count = 0
  #address: Uint32Array<ArrayBuffer>
  #length: Uint8Array<ArrayBuffer> = new Uint8Array(initialCapacity)
  #slots: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity * 2)
  #used = 0
  #old: Uint32Array<ArrayBuffer> | undefined
  #migrated = 0
  #migrateEnd = 0
  #step = 0
  #free = 0
  #w0 = 0
  #w1 = 0
  #w2 = 0
  #w3 = 0

  constructor(isIpv6: boolean) {
    this.words = isIpv6 ? 4 : 1
    this.#address = new Uint32Array(initialCapacity * this.words)
  }

  /** How many entries the columns have; callers size theirs by it. */
  get capacity(): number {
    return this.#length.length
  }

  has(index: number): boolean {
    return index < this.limit && this.#length[index] !== free
  }

  lengthOf(index: number): number {
    return this.#length[index]!
  }

  /** Writes the address of an entry, 4 or 16 octets. */
  octetsInto(index: number, target: Uint8Array, at: number): void {
    const words = this.words
    for (let i = 0; i < words; i++) {
      const word = this.#address[index * words + i]!
      target[at + 4 * i] = word >>> 24
      target[at + 4 * i + 1] = word >>> 16
      target[at + 4 * i + 2] = word >>> 8
      target[at + 4 * i + 3] = word
    }
  }

  /** Whether the entry lies within a prefix of `length` whose address is that of entry `outer`. */
  isWithin(index: number, outer: number): boolean {
    const length = this.#length[outer]!
    if (this.#length[index]! < length) return false
    for (let i = 0, left = length; left > 0; i++, left -= 32) {
      const mask = left >= 32 ? 0xffff_ffff : (0xffff_ffff << (32 - left)) >>> 0
      if (((this.#address[index * this.words + i]! ^ this.#address[outer * this.words + i]!) & mask) !== 0) return false
    }
    return true
  }

  /** The index of a prefix, or -1. Bits of the octets beyond `length` do not count. */
  find(bytes: Uint8Array, at: number, length: number): number {
    this.#load(bytes, at, length)
    const hash = this.#hash(length)
    const found = this.#lookup(this.#slots, hash, length)
    return found >= 0 || this.#old === undefined ? found : this.#lookup(this.#old, hash, length)
  }

  /** The index of a prefix, which is put in if it is not there. */
  insert(bytes: Uint8Array, at: number, length: number): number {
    this.#load(bytes, at, length)
    const hash = this.#hash(length)
    let index = this.#lookup(this.#slots, hash, length)
    if (index < 0 && this.#old !== undefined) index = this.#lookup(this.#old, hash, length)
    if (index >= 0) return index
    index = this.#take()
    const base = index * this.words
    this.#address[base] = this.#w0
    if (this.words === 4) {
      this.#address[base + 1] = this.#w1
      this.#address[base + 2] = this.#w2
      this.#address[base + 3] = this.#w3
    }
    this.#length[index] = length
    this.count++
    this.#put(index, hash)
    if (this.#old !== undefined) this.#migrate(this.#step)
    else if (this.#used * 3 > this.#slots.length * 2) this.#beginGrowth()
    return index
  }

  remove(index: number): void {
    const length = this.#length[index]!
    this.#loadEntry(index)
    const hash = this.#hash(length)
    if (this.#old !== undefined) this.#bury(this.#old, index, hash)
    this.#bury(this.#slots, index, hash)
    this.#length[index] = free
    this.#address[index * this.words] = this.#free
    this.#free = index + 1
    this.count--
  }

  #load(bytes: Uint8Array, at: number, length: number): void {
    this.#w0 = wordAt(bytes, at, length)
    if (this.words === 1) return
    this.#w1 = length > 32 ? wordAt(bytes, at + 4, length - 32) : 0
    this.#w2 = length > 64 ? wordAt(bytes, at + 8, length - 64) : 0
    this.#w3 = length > 96 ? wordAt(bytes, at + 12, length - 96) : 0
  }

  #loadEntry(index: number): void {
    const base = index * this.words
    this.#w0 = this.#address[base]!
    if (this.words === 1) return
    this.#w1 = this.#address[base + 1]!
    this.#w2 = this.#address[base + 2]!
    this.#w3 = this.#address[base + 3]!
  }

  #hash(length: number): number {
    let h = Math.imul(this.#w0 ^ Math.imul(length + 1, 0x9e3779b1), 0x85ebca6b)
    if (this.words === 4) {
      h = Math.imul(h ^ (h >>> 15) ^ this.#w1, 0xc2b2ae35)
      h = Math.imul(h ^ (h >>> 13) ^ this.#w2, 0x27d4eb2f)
      h = Math.imul(h ^ (h >>> 16) ^ this.#w3, 0x165667b1)
    }
    h ^= h >>> 15
    h = Math.imul(h, 0x2c1b3c6d)
    h ^= h >>> 13
    return h >>> 0
  }

  #isSame(index: number, length: number): boolean {
    if (this.#length[index] !== length) return false
    const base = index * this.words
    if (this.#address[base] !== this.#w0) return false
    if (this.words === 1) return true
    return this.#address[base + 1] === this.#w1 && this.#address[base + 2] === this.#w2 && this.#address[base + 3] === this.#w3
  }

  #lookup(slots: Uint32Array, hash: number, length: number): number {
    const mask = slots.length - 1
    const tag = hash >>> 25
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const slot = slots[at]!
      if (slot === 0) return -1
      if (slot >>> 24 === tag) {
        const index = (slot & indexMask) - 1
        if (this.#isSame(index, length)) return index
      }
    }
  }

  #put(index: number, hash: number): void {
    const mask = this.#slots.length - 1
    let at = hash & mask
    while (this.#slots[at] !== 0) at = (at + 1) & mask
    this.#slots[at] = (((hash >>> 25) << 24) | (index + 1)) >>> 0
    this.#used++
  }

  #bury(slots: Uint32Array, index: number, hash: number): void {
    const mask = slots.length - 1
    const wanted = (((hash >>> 25) << 24) | (index + 1)) >>> 0
    for (let at = hash & mask; slots[at] !== 0; at = (at + 1) & mask) {
      if (slots[at] !== wanted) continue
      slots[at] = tombstone
      return
    }
  }

  /** A free index. While entries move, freed ones are left alone: the walk over them must not meet a new prefix. */
  #take(): number {
    if (this.#free !== 0 && this.#old === undefined) {
      const index = this.#free - 1
      this.#free = this.#address[index * this.words]!
      return index
    }
    if (this.limit === this.#length.length) {
      if (this.limit >= indexMask - 1) throw new Error(`a table takes no more than ${indexMask - 1} prefixes`)
      this.#length = growU8(this.#length, this.limit * 2)
      this.#address = growU32(this.#address, this.limit * 2 * this.words)
    }
    return this.limit++
  }

  /** Twice as many slots as the entries need; fewer than before when most are gone. */
  #beginGrowth(): void {
    let size = initialCapacity * 2
    while (size < this.count * 3) size *= 2
    this.#old = this.#slots
    this.#slots = new Uint32Array(size)
    this.#used = 0
    this.#migrated = 0
    this.#migrateEnd = this.limit
    // All must have moved before the new array is full, too, which is after size / 3 more at the earliest.
    this.#step = 4 + Math.ceil((3 * this.limit) / size)
  }

  #migrate(count: number): void {
    const end = Math.min(this.#migrated + count, this.#migrateEnd)
    for (; this.#migrated < end; this.#migrated++) {
      if (this.#length[this.#migrated] === free) continue
      this.#loadEntry(this.#migrated)
      this.#put(this.#migrated, this.#hash(this.#length[this.#migrated]!))
    }
    if (this.#migrated === this.#migrateEnd) this.#old = undefined
  }
}

/** Up to 32 bits of a prefix as a number; bits beyond `length` are 0. */
const wordAt = (bytes: Uint8Array, at: number, length: number): number => {
  if (length >= 32) return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  if (length <= 0) return 0
  let word = bytes[at]! << 24
  if (length > 8) word |= bytes[at + 1]! << 16
  if (length > 16) word |= bytes[at + 2]! << 8
  if (length > 24) word |= bytes[at + 3]!
  return (word & (0xffff_ffff << (32 - length))) >>> 0
}
