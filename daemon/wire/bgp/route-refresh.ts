/**
 * ROUTE-REFRESH messages. RFC 2918 3, RFC 7313 3.2.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |           AFI (16)            |  subtype (8)  |    SAFI (8)    |
 *
 * Unsupported: outbound route filters (RFC 5291), which are passed over.
 */
import { headerLength, writeHeader } from "./header.ts"
import { afiOf, ErrorCode, familyOf, MessageType, RouteRefreshError, safiOf } from "./iana.ts"
import { bgpError, type BgpError } from "./error.ts"

/** RFC 7313 3.2: a request, the beginning of a refresh, its end. Others are to be ignored. */
export const Subtype = { request: 0, beginning: 1, end: 2 } as const

export interface RouteRefresh {
  readonly family: number
  /** `Subtype`, or one that is to be ignored (RFC 7313 5). */
  readonly subtype: number
}

export type Decoded = { readonly ok: true; readonly value: RouteRefresh } | { readonly ok: false; readonly error: BgpError }

/** The message from its marker at `at` to `end`; the stream parser has checked that it has 23 octets. */
export const decode = (bytes: Uint8Array, at: number, end: number): Decoded => {
  const subtype = bytes[at + headerLength + 2]!
  // RFC 7313 5: the data is the whole message.
  if ((subtype === Subtype.beginning || subtype === Subtype.end) && end - at !== headerLength + 4) {
    const error = bgpError(ErrorCode.routeRefreshMessage, RouteRefreshError.invalidMessageLength, bytes.slice(at, end))
    return { ok: false, error }
  }
  const afi = (bytes[at + headerLength]! << 8) | bytes[at + headerLength + 1]!
  return { ok: true, value: { family: familyOf(afi, bytes[at + headerLength + 3]!), subtype } }
}

/** The whole message, marker and all. */
export const encode = ({ family, subtype }: RouteRefresh): Uint8Array => {
  const message = new Uint8Array(headerLength + 4)
  writeHeader(message, 0, message.length, MessageType.routeRefresh)
  message[headerLength] = afiOf(family) >> 8
  message[headerLength + 1] = afiOf(family) & 0xff
  message[headerLength + 2] = subtype
  message[headerLength + 3] = safiOf(family)
  return message
}
