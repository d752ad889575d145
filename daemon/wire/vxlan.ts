/**
 * VXLAN: Ethernet frames in UDP. RFC 7348 5.
 *
 *      0                   1                   2                   3
 *     +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *     |R|R|R|R|I|R|R|R|                   Reserved                    |
 *     +-+-+-+-+-+-+-+-+-------------------------------+---------------+
 *     |            VXLAN network identifier           |   Reserved    |
 *     +-----------------------------------------------+---------------+
 *     |  Ethernet frame ...
 *
 * Unsupported: the group policy and generic protocol extensions, whose flags are reserved bits here.
 * Deviations: none. Reserved bits are sent as zero and ignored.
 * Ownership: values hold no views.
 */

export const port = 4789
export const headerLength = 8
const flagI = 0x08

// ---- view ------------------------------------------------------------------------------------------------------------

export const hasVni = (b: Uint8Array, at: number): boolean => (b[at]! & flagI) !== 0
export const vni = (b: Uint8Array, at: number): number => (b[at + 4]! << 16) | (b[at + 5]! << 8) | b[at + 6]!

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })
const vniFlagUnset: DecodeError = Object.freeze({ _tag: "VniFlagUnset" })

export const check = (b: Uint8Array, at: number): DecodeError | undefined =>
  b.length - at < headerLength ? truncated : hasVni(b, at) ? undefined : vniFlagUnset

// ---- repr ------------------------------------------------------------------------------------------------------------

export interface Header {
  /** 24 bits */
  readonly vni: number
}

export type DecodeError = { readonly _tag: "Truncated" } | { readonly _tag: "VniFlagUnset" }

export type Decoded = { readonly ok: true; readonly value: Header } | { readonly ok: false; readonly error: DecodeError }

/** The header at `at`; the frame follows it. */
export const decode = (b: Uint8Array, at = 0): Decoded => {
  const error = check(b, at)
  return error === undefined ? { ok: true, value: { vni: vni(b, at) } } : { ok: false, error }
}

export const encodedLength = (): number => headerLength

/** Writes the header and returns where the frame begins. */
export const encodeInto = (header: Header, target: Uint8Array, at: number): number => {
  target.fill(0, at, at + headerLength)
  target[at] = flagI
  target[at + 4] = header.vni >> 16
  target[at + 5] = header.vni >> 8
  target[at + 6] = header.vni
  return at + headerLength
}
