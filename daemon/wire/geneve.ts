/**
 * Geneve: Ethernet frames in UDP, with options. RFC 8926 3.4 and 3.5.
 *
 *      0                   1                   2                   3
 *     +---+-----------+-+-+-----------+-------------------------------+
 *     |Ver|  Opt Len  |O|C|    Rsvd   |         Protocol type         |
 *     +---+-----------+-+-+-----------+-------------------------------+
 *     |           Virtual network identifier          |    Reserved   |
 *     +-----------------------------------------------+---------------+
 *     |         Option class          |C|    Type     |  R  | Length  |   Opt Len counts 4 octets each
 *     +-------------------------------+-+-------------+-----+---------+
 *     |  Option data ... (Length counts 4 octets each)
 *
 * Unsupported: control packets (the O bit), which are never payload; what is not Ethernet. No option has a meaning of its own here.
 * Deviations: none. Whether a critical option is there is seen from the options; the C bit of the header is set when one is.
 * Ownership: `data` of decoded options are views of the input, valid as long as that is unchanged.
 */

export const port = 6081
export const headerLength = 8
/** Of all options with their headers: 6 bits count them, 4 octets each. */
export const maxOptionsLength = 252
const optionHeaderLength = 4
const flagControl = 0x80
const flagCritical = 0x40
const criticalType = 0x80
export const transparentEthernet = 0x6558

// ---- view ------------------------------------------------------------------------------------------------------------

export const version = (b: Uint8Array, at: number): number => b[at]! >> 6
export const optionsLength = (b: Uint8Array, at: number): number => (b[at]! & 0x3f) * 4
export const isControl = (b: Uint8Array, at: number): boolean => (b[at + 1]! & flagControl) !== 0
export const protocolType = (b: Uint8Array, at: number): number => (b[at + 2]! << 8) | b[at + 3]!
export const vni = (b: Uint8Array, at: number): number => (b[at + 4]! << 16) | (b[at + 5]! << 8) | b[at + 6]!

/** With its header; `at` is where it begins. */
const optionLength = (b: Uint8Array, at: number): number => optionHeaderLength + (b[at + 3]! & 0x1f) * 4

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })
const controlPacket: DecodeError = Object.freeze({ _tag: "ControlPacket" })
const brokenOptions: DecodeError = Object.freeze({ _tag: "BrokenOptions" })

export const check = (b: Uint8Array, at: number): DecodeError | undefined => {
  if (b.length - at < headerLength) return truncated
  if (version(b, at) !== 0) return { _tag: "UnknownVersion", version: version(b, at) }
  if (isControl(b, at)) return controlPacket
  const end = at + headerLength + optionsLength(b, at)
  if (b.length < end) return truncated
  if (protocolType(b, at) !== transparentEthernet) return { _tag: "UnknownProtocol", protocolType: protocolType(b, at) }
  for (let option = at + headerLength; option < end; option += optionLength(b, option)) {
    // RFC 8926 3.5: lengths that do not add up make the packet invalid.
    if (option + optionHeaderLength > end || option + optionLength(b, option) > end) return brokenOptions
  }
  return undefined
}

// ---- repr ------------------------------------------------------------------------------------------------------------

export interface Option {
  /** 16 bits: who defines the type. */
  readonly optionClass: number
  /** 7 bits, without the critical one. */
  readonly type: number
  /** RFC 8926 3.5.1: who does not know it must drop the packet. */
  readonly critical: boolean
  /** A multiple of 4 octets, at most 124. */
  readonly data: Uint8Array
}

export interface Header {
  /** 24 bits */
  readonly vni: number
  /** In all at most 252 octets with their headers. */
  readonly options: ReadonlyArray<Option>
}

export type DecodeError =
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "UnknownVersion"; readonly version: number }
  | { readonly _tag: "ControlPacket" }
  | { readonly _tag: "UnknownProtocol"; readonly protocolType: number }
  | { readonly _tag: "BrokenOptions" }

export type Decoded = { readonly ok: true; readonly value: Header } | { readonly ok: false; readonly error: DecodeError }

/** The header at `at`; the frame is `encodedLength` octets further. */
export const decode = (b: Uint8Array, at = 0): Decoded => {
  const error = check(b, at)
  if (error !== undefined) return { ok: false, error }
  const options: Option[] = []
  const end = at + headerLength + optionsLength(b, at)
  for (let from = at + headerLength; from < end; from += optionLength(b, from)) {
    options.push({
      optionClass: (b[from]! << 8) | b[from + 1]!,
      type: b[from + 2]! & ~criticalType,
      critical: (b[from + 2]! & criticalType) !== 0,
      data: b.subarray(from + optionHeaderLength, from + optionLength(b, from))
    })
  }
  return { ok: true, value: { vni: vni(b, at), options } }
}

export const encodedLength = ({ options }: Header): number =>
  options.reduce((length, { data }) => length + optionHeaderLength + data.length, headerLength)

/** Writes the header and returns where the frame begins. */
export const encodeInto = (header: Header, target: Uint8Array, at: number): number => {
  target.fill(0, at, at + headerLength)
  target[at] = (encodedLength(header) - headerLength) / 4
  target[at + 1] = header.options.some(({ critical }) => critical) ? flagCritical : 0
  target[at + 2] = transparentEthernet >> 8
  target[at + 3] = transparentEthernet & 0xff
  target[at + 4] = header.vni >> 16
  target[at + 5] = header.vni >> 8
  target[at + 6] = header.vni
  let next = at + headerLength
  for (const { critical, data, optionClass, type } of header.options) {
    target[next] = optionClass >> 8
    target[next + 1] = optionClass
    target[next + 2] = type | (critical ? criticalType : 0)
    target[next + 3] = data.length / 4
    target.set(data, next + optionHeaderLength)
    next += optionHeaderLength + data.length
  }
  return next
}
