/**
 * Netlink messages and attributes (Documentation/userspace-api/netlink/intro.rst; include/uapi/linux/netlink.h).
 *
 *     0      4    6     8     12    16
 *     +------+----+-----+-----+-----+----------------------------- ...
 *     | len  |type|flags| seq | pid | family header | attributes
 *     +------+----+-----+-----+-----+----------------------------- ...
 *     attribute: length (2, header included) type (2) value, padded to 4
 *
 * All integers are in host order, which here means little-endian: the machines weft runs on (x86-64, arm64) are.
 * `Writer` builds many messages one after the other in one buffer, which is what makes a deploy fast: the kernel takes
 * hundreds of requests in one system call. Views returned by `messages` and `attributes` alias the given octets.
 *
 * Unsupported: big-endian hosts.
 */

export const headerLength = 16
export const attributeHeaderLength = 4

export const Flag = {
  request: 0x001,
  ack: 0x004,
  /** For NEW requests: replace what is there, fail if it is there, make it if it is not. */
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** For GET requests: the whole table. */
  dump: 0x300
} as const

const nested = 0x8000
const typeMask = 0x3fff

/** Builds requests. Not total: a value out of range is a programmer's error. */
export class Writer {
  private bytes: Uint8Array
  private view: DataView
  private at = 0
  private messageStart = 0
  /** Sequence number of the next message; an acknowledgement quotes it. */
  sequence = 0

  constructor(initialOctets = 4096) {
    this.bytes = new Uint8Array(initialOctets)
    this.view = new DataView(this.bytes.buffer)
  }

  // `reserve` may replace `bytes` and `view`: call it before naming either.

  /** Octets written so far; valid until the next write. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.at)
  }

  get length(): number {
    return this.at
  }

  private reserve(octets: number): number {
    const start = this.at
    const end = start + octets
    if (end > this.bytes.length) {
      const larger = new Uint8Array(Math.max(end, this.bytes.length * 2))
      larger.set(this.bytes)
      this.bytes = larger
      this.view = new DataView(larger.buffer)
    }
    this.at = end
    return start
  }

  private pad(): void {
    while ((this.at & 3) !== 0) this.u8(0)
  }

  /** Starts a message with REQUEST and ACK set; returns its sequence number. */
  begin(type: number, flags: number): number {
    this.pad()
    const start = this.reserve(headerLength)
    this.messageStart = start
    this.view.setUint16(start + 4, type, true)
    this.view.setUint16(start + 6, flags | Flag.request | Flag.ack, true)
    this.view.setUint32(start + 8, this.sequence, true)
    this.view.setUint32(start + 12, 0, true)
    return this.sequence++
  }

  end(): void {
    this.view.setUint32(this.messageStart, this.at - this.messageStart, true)
    this.pad()
  }

  u8(value: number): void {
    const start = this.reserve(1)
    this.bytes[start] = value
  }

  u16(value: number): void {
    const start = this.reserve(2)
    this.view.setUint16(start, value, true)
  }

  u32(value: number): void {
    const start = this.reserve(4)
    this.view.setUint32(start, value, true)
  }

  attribute(type: number, value: Uint8Array): void {
    const start = this.attributeHeader(type, value.length)
    this.bytes.set(value, start)
    this.pad()
  }

  attributeU8(type: number, value: number): void {
    const start = this.attributeHeader(type, 1)
    this.bytes[start] = value
    this.pad()
  }

  attributeU16(type: number, value: number): void {
    const start = this.attributeHeader(type, 2)
    this.view.setUint16(start, value, true)
    this.pad()
  }

  attributeU32(type: number, value: number): void {
    const start = this.attributeHeader(type, 4)
    this.view.setUint32(start, value, true)
  }

  /** A NUL-terminated string. */
  attributeText(type: number, value: string): void {
    const encoded = new TextEncoder().encode(value)
    const start = this.attributeHeader(type, encoded.length + 1)
    this.bytes.set(encoded, start)
    this.bytes[start + encoded.length] = 0
    this.pad()
  }

  private attributeHeader(type: number, length: number): number {
    const start = this.reserve(attributeHeaderLength + length)
    this.view.setUint16(start, attributeHeaderLength + length, true)
    this.view.setUint16(start + 2, type, true)
    return start + attributeHeaderLength
  }

  /** Opens an attribute that holds attributes; pass what it returns to `nestEnd`. */
  nestBegin(type: number): number {
    const start = this.reserve(attributeHeaderLength)
    this.view.setUint16(start + 2, type | nested, true)
    return start
  }

  nestEnd(start: number): void {
    this.view.setUint16(start, this.at - start, true)
    this.pad()
  }
}

/** One message of a dump. */
export interface Message {
  readonly type: number
  readonly flags: number
  /** What follows the netlink header: the family's header, then attributes. */
  readonly body: Uint8Array
}

/** The messages in `bytes`; stops at the first that is cut short. */
export function* messages(bytes: Uint8Array): Generator<Message> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  while (at + headerLength <= bytes.length) {
    const length = view.getUint32(at, true)
    if (length < headerLength || at + length > bytes.length) return
    yield { type: view.getUint16(at + 4, true), flags: view.getUint16(at + 6, true), body: bytes.subarray(at + headerLength, at + length) }
    at += (length + 3) & ~3
  }
}

/** Calls `each` for every attribute in `bytes` from `at` on; stops at the first that is cut short. */
export const attributes = (bytes: Uint8Array, at: number, each: (type: number, value: Uint8Array) => void): void => {
  while (at + attributeHeaderLength <= bytes.length) {
    const length = bytes[at]! | (bytes[at + 1]! << 8)
    if (length < attributeHeaderLength || at + length > bytes.length) return
    each((bytes[at + 2]! | (bytes[at + 3]! << 8)) & typeMask, bytes.subarray(at + attributeHeaderLength, at + length))
    at += (length + 3) & ~3
  }
}

// Octets beyond the end read as 0, so that decoding is total: the kernel's headers have grown and may grow again.
export const u8 = (bytes: Uint8Array, at = 0): number => bytes[at] ?? 0
export const u16 = (bytes: Uint8Array, at = 0): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
export const u32 = (bytes: Uint8Array, at = 0): number => (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0
export const i32 = (bytes: Uint8Array, at = 0): number => u32(bytes, at) | 0

const decoder = new TextDecoder()

/** A string attribute's text, without the final NUL. */
export const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
}
