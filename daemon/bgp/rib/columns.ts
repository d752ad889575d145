/**
 * Growth of typed arrays: capacities double, so that an entry is copied about once. What is not touched yet takes no memory:
 * large arrays come zeroed from the kernel, page by page.
 */

export const initialCapacity = 64

/** The capacity to grow to, so that `needed` entries fit. */
export const grownCapacity = (current: number, needed: number): number => {
  let capacity = Math.max(current, initialCapacity)
  while (capacity < needed) capacity *= 2
  return capacity
}

/** Copies of a column with another capacity; the rest is 0. */
export const growU32 = (column: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> => {
  const grown = new Uint32Array(capacity)
  grown.set(column)
  return grown
}
export const growI32 = (column: Int32Array, capacity: number): Int32Array<ArrayBuffer> => {
  const grown = new Int32Array(capacity)
  grown.set(column)
  return grown
}
export const growU16 = (column: Uint16Array, capacity: number): Uint16Array<ArrayBuffer> => {
  const grown = new Uint16Array(capacity)
  grown.set(column)
  return grown
}
export const growU8 = (column: Uint8Array, capacity: number): Uint8Array<ArrayBuffer> => {
  const grown = new Uint8Array(capacity)
  grown.set(column)
  return grown
}

/** A set of small numbers, one bit each. */
export class BitSet {
  #words: Uint32Array<ArrayBuffer> = new Uint32Array(2)

  has(index: number): boolean {
    return index >>> 5 < this.#words.length && (this.#words[index >>> 5]! & (1 << (index & 31))) !== 0
  }

  add(index: number): void {
    const word = index >>> 5
    if (word >= this.#words.length) this.#words = growU32(this.#words, grownCapacity(this.#words.length, word + 1))
    this.#words[word]! |= 1 << (index & 31)
  }

  delete(index: number): void {
    if (index >>> 5 < this.#words.length) this.#words[index >>> 5]! &= ~(1 << (index & 31))
  }

  clear(): void {
    this.#words = new Uint32Array(2)
  }
}

/** A queue of distinct numbers (a set in order of arrival): each is in it at most once until it is taken. */
export class IndexQueue {
  #ring: Uint32Array<ArrayBuffer> = new Uint32Array(initialCapacity)
  #head = 0
  #count = 0
  readonly #queued = new BitSet()

  get count(): number {
    return this.#count
  }

  /** Whether `index` waits. */
  has(index: number): boolean {
    return this.#queued.has(index)
  }

  /** False: it waits already. */
  add(index: number): boolean {
    if (this.#queued.has(index)) return false
    this.#queued.add(index)
    if (this.#count === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#count) & (this.#ring.length - 1)] = index
    this.#count++
    return true
  }

  /** The one that has waited longest; -1: none. */
  take(): number {
    if (this.#count === 0) return -1
    const index = this.#ring[this.#head]!
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#count--
    this.#queued.delete(index)
    return index
  }

  clear(): void {
    this.#ring = new Uint32Array(initialCapacity)
    this.#head = 0
    this.#count = 0
    this.#queued.clear()
  }

  #grow(): void {
    const grown = new Uint32Array(this.#ring.length * 2)
    const first = this.#ring.length - this.#head
    grown.set(this.#ring.subarray(this.#head), 0)
    grown.set(this.#ring.subarray(0, this.#head), first)
    this.#ring = grown
    this.#head = 0
  }
}
