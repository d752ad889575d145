/**
 * The header of every BGP message. RFC 4271 4.1, RFC 8654 4.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                     marker: 16 octets of ones                  |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |          length (16)          |   type (8)    |
 *
 * `checkHeader` says which NOTIFICATION a header deserves (RFC 4271 6.1); after `undefined`, all fixed fields of the
 * message's type are within its length.
 */
import { ErrorCode, HeaderError, MessageType } from "./iana.ts"
import { bgpError, type BgpError } from "./error.ts"
import type { SessionContext } from "./context.ts"

export const markerLength = 16
export const headerLength = 19
export const maxLength = 4096
/** RFC 8654 */
export const maxExtendedLength = 65535

/** The longest message that may be sent in a session, UPDATEs and the like. */
export const maxMessageLength = (context: SessionContext): number => (context.extendedMessage ? maxExtendedLength : maxLength)

/** RFC 4271 4.2 to 4.5, RFC 2918 3: the shortest message of each type; 0: no such type. */
const shortest = [0, 29, 23, 21, 19, 23]

export const messageLength = (b: Uint8Array, at: number): number => (b[at + 16]! << 8) | b[at + 17]!
export const messageType = (b: Uint8Array, at: number): number => b[at + 18]!

const notSynchronized: BgpError = bgpError(ErrorCode.messageHeader, HeaderError.connectionNotSynchronized)

/** Checks the 19 octets from `at` on: marker, length, type, in the order of RFC 4271 6.1. */
export const checkHeader = (b: Uint8Array, at: number, extendedMessage: boolean): BgpError | undefined => {
  for (let i = at; i < at + markerLength; i++) if (b[i] !== 0xff) return notSynchronized
  const type = messageType(b, at)
  const length = messageLength(b, at)
  // RFC 8654 4: all messages but OPEN and KEEPALIVE.
  const most = extendedMessage && type !== MessageType.open && type !== MessageType.keepalive ? maxExtendedLength : maxLength
  const wrongLength = length < headerLength || length > most || length < (shortest[type] ?? 0) ||
    (type === MessageType.keepalive && length !== headerLength)
  if (wrongLength) return bgpError(ErrorCode.messageHeader, HeaderError.badMessageLength, b.slice(at + 16, at + 18))
  if (type === 0 || type >= shortest.length) {
    return bgpError(ErrorCode.messageHeader, HeaderError.badMessageType, b.slice(at + 18, at + 19))
  }
  return undefined
}

/** Writes 19 octets. */
export const writeHeader = (target: Uint8Array, at: number, length: number, type: number): void => {
  target.fill(0xff, at, at + markerLength)
  target[at + 16] = length >> 8
  target[at + 17] = length & 0xff
  target[at + 18] = type
}

/** KEEPALIVE: nothing but the header (RFC 4271 4.4). A fresh one each time. */
export const encodeKeepalive = (): Uint8Array => {
  const message = new Uint8Array(headerLength)
  writeHeader(message, 0, headerLength, MessageType.keepalive)
  return message
}
