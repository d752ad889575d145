/**
 * GRE with Ethernet frames in it. RFC 2784 2.1, with the key and sequence number of RFC 2890 2.
 *
 *      0                   1                   2                   3
 *     +-+-+-+-+-----------------+-----+-------------------------------+
 *     |C|0|K|S|    Reserved0    | Ver |         Protocol type         |
 *     +-+-+-+-+-----------------+-----+-------------------------------+
 *     |      Checksum (if C)          |      Reserved1 (if C)         |
 *     |                          Key (if K)                           |
 *     |                    Sequence number (if S)                     |
 *
 * Unsupported: routing (RFC 1701), other protocols than transparent Ethernet bridging, packets without a key.
 * Deviations: a sequence number is passed over; packets are not put into order by it (RFC 2890 2.2 leaves that to the receiver).
 * Ownership: values hold no views.
 */
import { checksum as checksumOf, sum } from "./internet-checksum.ts"

const flagChecksum = 0x8000
const flagKey = 0x2000
const flagSequence = 0x1000
/** RFC 2784 2.2, 2.3: bits 1 and 4 to 5, and the version, must be zero; other reserved bits are ignored. */
const mustBeZero = 0x4c07
export const transparentEthernet = 0x6558

// ---- view ------------------------------------------------------------------------------------------------------------

export const flags = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
export const protocolType = (b: Uint8Array, at: number): number => (b[at + 2]! << 8) | b[at + 3]!
export const hasKey = (b: Uint8Array, at: number): boolean => (flags(b, at) & flagKey) !== 0
export const headerLength = (b: Uint8Array, at: number): number =>
  4 + ((flags(b, at) & flagChecksum) !== 0 ? 4 : 0) + (hasKey(b, at) ? 4 : 0) + ((flags(b, at) & flagSequence) !== 0 ? 4 : 0)

const long = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0

export const key = (b: Uint8Array, at: number): number => long(b, at + ((flags(b, at) & flagChecksum) !== 0 ? 8 : 4))

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })
const keyMissing: DecodeError = Object.freeze({ _tag: "KeyMissing" })
const wrongChecksum: DecodeError = Object.freeze({ _tag: "WrongChecksum" })

/** The packet is all octets from `at` on. */
export const check = (b: Uint8Array, at: number): DecodeError | undefined => {
  if (b.length - at < 4) return truncated
  if ((flags(b, at) & mustBeZero) !== 0) return { _tag: "ReservedFlags", flags: flags(b, at) & mustBeZero }
  if (protocolType(b, at) !== transparentEthernet) return { _tag: "UnknownProtocol", protocolType: protocolType(b, at) }
  if (!hasKey(b, at)) return keyMissing
  if (b.length - at < headerLength(b, at)) return truncated
  return (flags(b, at) & flagChecksum) !== 0 && checksumOf(sum(b, at)) !== 0 ? wrongChecksum : undefined
}

// ---- repr ------------------------------------------------------------------------------------------------------------

export interface Header {
  /** 32 bits */
  readonly key: number
  /** 32 bits */
  readonly sequence?: number
  /** The packet has a checksum, which was verified or is to be written. */
  readonly checksum: boolean
}

export type DecodeError =
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "ReservedFlags"; readonly flags: number }
  | { readonly _tag: "UnknownProtocol"; readonly protocolType: number }
  | { readonly _tag: "KeyMissing" }
  | { readonly _tag: "WrongChecksum" }

export type Decoded = { readonly ok: true; readonly value: Header } | { readonly ok: false; readonly error: DecodeError }

/** The header of the packet from `at` on; the frame is `encodedLength` octets further. */
export const decode = (b: Uint8Array, at = 0): Decoded => {
  const error = check(b, at)
  if (error !== undefined) return { ok: false, error }
  const hasSequence = (flags(b, at) & flagSequence) !== 0
  const sequence = hasSequence ? { sequence: long(b, at + headerLength(b, at) - 4) } : {}
  return { ok: true, value: { key: key(b, at), ...sequence, checksum: (flags(b, at) & flagChecksum) !== 0 } }
}

export const encodedLength = ({ checksum, sequence }: Header): number => 8 + (checksum ? 4 : 0) + (sequence === undefined ? 0 : 4)

/** Writes the header and returns where the frame begins. With a checksum, the frame is there already and ends the target. */
export const encodeInto = (header: Header, target: Uint8Array, at: number): number => {
  const { checksum, sequence } = header
  const end = at + encodedLength(header)
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength)
  view.setUint16(at, flagKey | (checksum ? flagChecksum : 0) | (sequence === undefined ? 0 : flagSequence))
  view.setUint16(at + 2, transparentEthernet)
  if (checksum) view.setUint32(at + 4, 0)
  view.setUint32(at + (checksum ? 8 : 4), header.key)
  if (sequence !== undefined) view.setUint32(end - 4, sequence)
  if (checksum) view.setUint16(at + 4, checksumOf(sum(target, at)))
  return end
}
