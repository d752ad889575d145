/**
 * OPEN messages. RFC 4271 4.2, 6.2; RFC 5492 4; RFC 9072 2; RFC 6793 4.1; RFC 6286; RFC 7607 2.
 *
 *     +-+-+-+-+-+-+-+-+
 *     |  version: 4   |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |     my autonomous system      |     AS_TRANS where the number has four octets
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |           hold time           |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                        BGP identifier                          |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |  length (8)   | parameters: type (8), length (8), value        |
 *     |      255      |      255      |  length (16)  | parameters: type (8), length (16), value      (RFC 9072)
 *
 * Unsupported: parameters other than capabilities, which RFC 4271 6.2 has an error for.
 * Deviation: capabilities are written as one parameter; any way of splitting them is read.
 */
import { decodeInto, encodeCapability, type Capability } from "./capabilities.ts"
import { bgpError, type BgpError } from "./error.ts"
import { headerLength, writeHeader } from "./header.ts"
import { asTrans, ErrorCode, MessageType, OpenError } from "./iana.ts"
import { OctetWriter } from "./octet-writer.ts"

export interface Open {
  /** The four-octet number if that capability is there, else the two-octet field (which may be AS_TRANS). */
  readonly asn: number
  /** 0, or 3..65535 */
  readonly holdTimeS: number
  /** 32 bits, not 0 */
  readonly bgpIdentifier: number
  /** In the order of the message; one after another, whatever parameters they came in. */
  readonly capabilities: ReadonlyArray<Capability>
}

export type DecodedOpen = { readonly ok: true; readonly value: Open } | { readonly ok: false; readonly error: BgpError }

const version = 4
const capabilitiesParameter = 2
/** RFC 9072 2: as a length and as the first type, it stands for lengths of two octets. */
const extendedMark = 255
const fixedLength = headerLength + 10

const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const u32 = (b: Uint8Array, at: number): number => u16(b, at) * 65536 + u16(b, at + 2)

// ---- decode -----------------------------------------------------------------------------------------------------------

const openError = (subcode: number, data?: Uint8Array): BgpError => bgpError(ErrorCode.openMessage, subcode, data)
const failed = (subcode: number, data?: Uint8Array): DecodedOpen => ({ ok: false, error: openError(subcode, data) })

/** Where the parameters are, and how many octets their lengths have; undefined where they do not fill the message. */
const parametersOf = (bytes: Uint8Array, at: number, end: number): { readonly from: number; readonly width: number } | undefined => {
  const length = bytes[at + fixedLength - 1]!
  const from = at + fixedLength
  // RFC 9072 2: the first length is of no meaning then, but for 0, which is no parameters.
  const isExtended = length !== 0 && end - from >= 3 && bytes[from] === extendedMark
  if (isExtended) return u16(bytes, from + 1) === end - from - 3 ? { from: from + 3, width: 2 } : undefined
  return length === end - from ? { from, width: 1 } : undefined
}

const readParameters = (bytes: Uint8Array, at: number, end: number, capabilities: Array<Capability>): BgpError | undefined => {
  const parameters = parametersOf(bytes, at, end)
  if (parameters === undefined) return openError(OpenError.unspecific)
  const { from, width } = parameters
  for (let position = from; position < end;) {
    const valueAt = position + 1 + width
    if (valueAt > end) return openError(OpenError.unspecific)
    const type = bytes[position]!
    const next = valueAt + (width === 2 ? u16(bytes, position + 1) : bytes[position + 1]!)
    if (next > end) return openError(OpenError.unspecific)
    if (type !== capabilitiesParameter) return openError(OpenError.unsupportedOptionalParameter)
    // RFC 4271 6.2: recognized and malformed.
    if (!decodeInto(bytes, valueAt, next, capabilities)) return openError(OpenError.unspecific)
    position = next
  }
  return undefined
}

/** The message from its marker at `at` to `end`; the stream parser has checked that it has 29 octets. */
export const decode = (bytes: Uint8Array, at: number, end: number): DecodedOpen => {
  const body = at + headerLength
  // RFC 4271 6.2: the data is the highest version that is supported.
  if (bytes[body] !== version) return failed(OpenError.unsupportedVersionNumber, Uint8Array.of(0, version))
  const capabilities: Array<Capability> = []
  const error = readParameters(bytes, at, end, capabilities)
  if (error !== undefined) return { ok: false, error }
  const fourOctets = capabilities.find((one) => one.kind === "fourOctetAs")
  const asn = fourOctets?.asn ?? u16(bytes, body + 1)
  // RFC 7607 2; in the capability as well as in the field.
  if (asn === 0 || u16(bytes, body + 1) === 0) return failed(OpenError.badPeerAs)
  const holdTimeS = u16(bytes, body + 3)
  if (holdTimeS === 1 || holdTimeS === 2) return failed(OpenError.unacceptableHoldTime)
  const bgpIdentifier = u32(bytes, body + 5)
  // RFC 6286 2.2.
  if (bgpIdentifier === 0) return failed(OpenError.badBgpIdentifier)
  return { ok: true, value: { asn, holdTimeS, bgpIdentifier, capabilities } }
}

// ---- encode -----------------------------------------------------------------------------------------------------------

/** The whole message, marker and all. */
export const encode = ({ asn, bgpIdentifier, capabilities, holdTimeS }: Open): Uint8Array => {
  const value = new OctetWriter()
  for (const capability of capabilities) encodeCapability(capability, value)
  const out = new OctetWriter()
  out.octets(new Uint8Array(headerLength))
  out.u8(version)
  out.u16(asn > 0xffff ? asTrans : asn)
  out.u16(holdTimeS)
  out.u32(bgpIdentifier)
  if (value.length === 0) out.u8(0)
  else if (value.length <= 253) {
    out.u8(value.length + 2)
    out.u8(capabilitiesParameter)
    out.u8(value.length)
  } else {
    out.u8(extendedMark)
    out.u8(extendedMark)
    out.u16(value.length + 3)
    out.u8(capabilitiesParameter)
    out.u16(value.length)
  }
  out.octets(value.view())
  const message = out.finish()
  writeHeader(message, 0, message.length, MessageType.open)
  return message
}
