/**
 * Many short strings of octets in a few large arrays: what was freed is used again for the same size class (multiples of 8).
 *
 * A place is the number of its first 8 octets over all chunks. A string has at most 128 KiB and never crosses chunks.
 */

const chunkShift = 17
const chunkLength = 1 << chunkShift
const firstChunkLength = 1 << 12

export class OctetArena {
  readonly #chunks: Array<Uint8Array<ArrayBuffer>> = [new Uint8Array(firstChunkLength)]
  readonly #free = new Map<number, Array<number>>()
  #used = 0

  /** The array in which a place is; `offset` says where. Valid until the next `take`. */
  chunk(place: number): Uint8Array<ArrayBuffer> {
    return this.#chunks[place >>> (chunkShift - 3)]!
  }

  offset(place: number): number {
    return (place << 3) & (chunkLength - 1)
  }

  /** A place for `length` octets. */
  take(length: number): number {
    const size = (length + 7) & ~7
    const place = this.#free.get(size)?.pop()
    if (place !== undefined) return place
    let index = this.#chunks.length - 1
    if (this.#used + size > this.#chunks[index]!.length) {
      // The first chunk grows from 4 KiB, so that a small router needs no megabyte.
      if (this.#used + size <= chunkLength) {
        let wanted = this.#chunks[index]!.length
        while (wanted < this.#used + size) wanted *= 2
        const grown = new Uint8Array(wanted)
        grown.set(this.#chunks[index]!)
        this.#chunks[index] = grown
      } else {
        this.#chunks.push(new Uint8Array(chunkLength))
        this.#used = 0
        index++
      }
    }
    const taken = ((index << chunkShift) + this.#used) / 8
    this.#used += size
    return taken
  }

  give(place: number, length: number): void {
    const size = (length + 7) & ~7
    const list = this.#free.get(size)
    if (list === undefined) this.#free.set(size, [place])
    else list.push(place)
  }
}
