/**
 * NOTIFICATION messages and the errors that lead to them. RFC 4271 4.5, 6; RFC 4486; RFC 8203 and 9003; RFC 8538 3.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     | code (8)      | subcode (8)   | data   |
 *
 * Deviation: data that does not fit into 4096 octets is cut (RFC 4271 4.5 bounds the message, not the data).
 * Ownership: `data` is a copy.
 */
import { bgpError, type BgpError } from "./error.ts"
import { headerLength, writeHeader } from "./header.ts"
import { CeaseError, ErrorCode, MessageType } from "./iana.ts"

export type { BgpError } from "./error.ts"

const none = new Uint8Array(0)
const maxLength = 4096
/** RFC 9003 2: one octet of length and as many octets of UTF-8. */
const maxCommunication = 255

/** The message from its marker at `at` to `end`; the stream parser has checked that it has 21 octets. */
export const decode = (bytes: Uint8Array, at: number, end: number): BgpError =>
  bgpError(bytes[at + headerLength]!, bytes[at + headerLength + 1]!, bytes.slice(at + headerLength + 2, end))

/** The whole message, marker and all. */
export const encode = ({ code, data, subcode }: BgpError): Uint8Array => {
  const kept = data.subarray(0, maxLength - headerLength - 2)
  const message = new Uint8Array(headerLength + 2 + kept.length)
  writeHeader(message, 0, message.length, MessageType.notification)
  message[headerLength] = code
  message[headerLength + 1] = subcode
  message.set(kept, headerLength + 2)
  return message
}

// ---- shutdown communication, hard reset -------------------------------------------------------------------------------

/** Whether a Cease of this subcode may bear a text (RFC 9003 2). */
const mayCommunicate = ({ code, subcode }: BgpError): boolean =>
  code === ErrorCode.cease && (subcode === CeaseError.administrativeShutdown || subcode === CeaseError.administrativeReset)

/** Data of a Cease for the operator at the other end: `text` in UTF-8, cut between characters to 255 octets. */
export const shutdownCommunication = (text: string): Uint8Array => {
  let octets = new TextEncoder().encode(text)
  let length = Math.min(octets.length, maxCommunication)
  // Never end within a character: continuation octets are 10xxxxxx.
  while (length < octets.length && length > 0 && (octets[length]! & 0xc0) === 0x80) length--
  octets = octets.subarray(0, length)
  return length === 0 ? none : Uint8Array.of(length, ...octets)
}

/** The text that came with an administrative shutdown or reset; undefined if there is none, or none that can be read. */
export const communicationOf = (error: BgpError): string | undefined => {
  if (!mayCommunicate(error)) return undefined
  const { data } = error
  const length = data[0]
  if (length === undefined || length === 0 || length > data.length - 1) return undefined
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(1, 1 + length))
    // It is shown on terminals and in logs: no control characters of somebody else's (RFC 9003 6).
    return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?")
  } catch {
    return undefined
  }
}

/** Cease/Hard Reset around `error`: sent to one who announced the N bit, it ends the session for good (RFC 8538 3). */
export const hardReset = ({ code, data, subcode }: BgpError): BgpError =>
  bgpError(ErrorCode.cease, CeaseError.hardReset, Uint8Array.of(code, subcode, ...data.subarray(0, maxLength - headerLength - 4)))

export const isHardReset = ({ code, subcode }: BgpError): boolean =>
  code === ErrorCode.cease && subcode === CeaseError.hardReset

/** What a hard reset encloses; undefined if it is none or has nothing inside. */
export const insideHardReset = (error: BgpError): BgpError | undefined =>
  isHardReset(error) && error.data.length >= 2 ? bgpError(error.data[0]!, error.data[1]!, error.data.slice(2)) : undefined

// ---- text -------------------------------------------------------------------------------------------------------------

interface Words {
  readonly name: string
  readonly subcodes: Readonly<Record<number, string>>
}

const words: Readonly<Record<number, Words>> = {
  [ErrorCode.messageHeader]: {
    name: "Message Header Error",
    subcodes: { 1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type" }
  },
  [ErrorCode.openMessage]: {
    name: "OPEN Message Error",
    subcodes: {
      1: "Unsupported Version Number",
      2: "Bad Peer AS",
      3: "Bad BGP Identifier",
      4: "Unsupported Optional Parameter",
      6: "Unacceptable Hold Time",
      7: "Unsupported Capability",
      11: "Role Mismatch"
    }
  },
  [ErrorCode.updateMessage]: {
    name: "UPDATE Message Error",
    subcodes: {
      1: "Malformed Attribute List",
      2: "Unrecognized Well-known Attribute",
      3: "Missing Well-known Attribute",
      4: "Attribute Flags Error",
      5: "Attribute Length Error",
      6: "Invalid ORIGIN Attribute",
      8: "Invalid NEXT_HOP Attribute",
      9: "Optional Attribute Error",
      10: "Invalid Network Field",
      11: "Malformed AS_PATH"
    }
  },
  [ErrorCode.holdTimerExpired]: { name: "Hold Timer Expired", subcodes: {} },
  [ErrorCode.finiteStateMachine]: {
    name: "Finite State Machine Error",
    subcodes: { 1: "unexpected in OpenSent", 2: "unexpected in OpenConfirm", 3: "unexpected in Established" }
  },
  [ErrorCode.cease]: {
    name: "Cease",
    subcodes: {
      1: "Maximum Number of Prefixes Reached",
      2: "Administrative Shutdown",
      3: "Peer De-configured",
      4: "Administrative Reset",
      5: "Connection Rejected",
      6: "Other Configuration Change",
      7: "Connection Collision Resolution",
      8: "Out of Resources",
      9: "Hard Reset",
      10: "BFD Down"
    }
  },
  [ErrorCode.routeRefreshMessage]: { name: "ROUTE-REFRESH Message Error", subcodes: { 1: "Invalid Message Length" } },
  [ErrorCode.sendHoldTimerExpired]: { name: "Send Hold Timer Expired", subcodes: {} }
}

/** `Cease, Administrative Shutdown: "maintenance"`; numbers where there is no name. */
export const describe = (error: BgpError): string => {
  const { code, subcode } = error
  const known = words[code]
  const name = known?.name ?? `error ${code}`
  const sub = subcode === 0 ? "" : `, ${known?.subcodes[subcode] ?? `subcode ${subcode}`}`
  const communication = communicationOf(error)
  const inside = insideHardReset(error)
  const more = communication !== undefined ? `: "${communication}"` : inside === undefined ? "" : ` (${describe(inside)})`
  return name + sub + more
}
