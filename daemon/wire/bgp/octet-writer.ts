/** Octets that grow as they are written, big-endian: for what is encoded once and kept (attribute blocks, OPENs, MRT records). */
export class OctetWriter {
  #bytes = new Uint8Array(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Makes room for `count` more octets and returns where they begin. */
  #grow(count: number): number {
    const at = this.#length
    this.#length = at + count
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
    }
    return at
  }

  u8(value: number): void {
    const at = this.#grow(1)
    this.#bytes[at] = value
  }

  u16(value: number): void {
    const at = this.#grow(2)
    this.#bytes[at] = value >>> 8
    this.#bytes[at + 1] = value
  }

  u32(value: number): void {
    this.u16(value >>> 16)
    this.u16(value & 0xffff)
  }

  u64(value: bigint): void {
    this.u32(Number(value >> 32n))
    this.u32(Number(value & 0xffff_ffffn))
  }

  octets(bytes: Uint8Array): void {
    // Two statements: growing may replace the buffer.
    const at = this.#grow(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** Writes over what is there: a length that is known only now. */
  patchU8(at: number, value: number): void {
    this.#bytes[at] = value
  }

  patchU16(at: number, value: number): void {
    this.#bytes[at] = value >>> 8
    this.#bytes[at + 1] = value
  }

  patchU32(at: number, value: number): void {
    this.patchU16(at, value >>> 16)
    this.patchU16(at + 2, value & 0xffff)
  }

  /** What was written, as a view that is valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** What was written, as a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  reset(): void {
    this.#length = 0
  }
}
