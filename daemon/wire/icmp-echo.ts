/**
 * ICMP echo and echo reply: RFC 792 (page 14) for IPv4, RFC 4443 4.1 and 4.2 for IPv6.
 *
 *      0                   1                   2                   3
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |    Code = 0   |           Checksum            |
 *     +---------------+---------------+-------------------------------+
 *     |          Identifier           |        Sequence number        |
 *     +-------------------------------+-------------------------------+
 *     |  Data ...
 *
 * A message ends where its packet ends, so `decode` takes everything from `at` on.
 *
 * Unsupported: all other ICMP types.
 * Deviations: none. The checksum is verified, for IPv6 over the pseudo header of RFC 8200 8.1.
 * Ownership: `data` of a decoded message is a view of the input, valid as long as that is unchanged.
 */
import { checksum, sum } from "./internet-checksum.ts"

export const headerLength = 8
export const Type = { ipv4: { request: 8, reply: 0 }, ipv6: { request: 128, reply: 129 } } as const

/** IPv6 next header of ICMPv6, in the pseudo header. */
const nextHeader = 58

// ---- view ------------------------------------------------------------------------------------------------------------

export const type = (b: Uint8Array, at: number): number => b[at]!
export const code = (b: Uint8Array, at: number): number => b[at + 1]!
export const identifier = (b: Uint8Array, at: number): number => (b[at + 4]! << 8) | b[at + 5]!
export const sequence = (b: Uint8Array, at: number): number => (b[at + 6]! << 8) | b[at + 7]!

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })
const wrongChecksum: DecodeError = Object.freeze({ _tag: "WrongChecksum" })

export const check = (b: Uint8Array, at: number, context: Context): DecodeError | undefined => {
  if (b.length - at < headerLength) return truncated
  const types = Type[context.family]
  if (type(b, at) !== types.request && type(b, at) !== types.reply) return { _tag: "NotEcho", type: type(b, at) }
  // RFC 792, RFC 4443 4.1: the code is 0.
  if (code(b, at) !== 0) return { _tag: "UnknownCode", code: code(b, at) }
  return checksum(pseudoHeaderSum(context, b.length - at) + sum(b, at)) === 0 ? undefined : wrongChecksum
}

// ---- repr ------------------------------------------------------------------------------------------------------------

/** What the checksum depends on besides the message. Addresses: 16 octets. */
export type Context =
  | { readonly family: "ipv4" }
  | { readonly family: "ipv6"; readonly source: Uint8Array; readonly destination: Uint8Array }

export interface Echo {
  readonly kind: "request" | "reply"
  /** 16 bits */
  readonly identifier: number
  /** 16 bits */
  readonly sequence: number
  readonly data: Uint8Array
}

export type DecodeError =
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "NotEcho"; readonly type: number }
  | { readonly _tag: "UnknownCode"; readonly code: number }
  | { readonly _tag: "WrongChecksum" }

export type Decoded = { readonly ok: true; readonly value: Echo } | { readonly ok: false; readonly error: DecodeError }

export const decode = (b: Uint8Array, at: number, context: Context): Decoded => {
  const error = check(b, at, context)
  if (error !== undefined) return { ok: false, error }
  return {
    ok: true,
    value: {
      kind: type(b, at) === Type[context.family].request ? "request" : "reply",
      identifier: identifier(b, at),
      sequence: sequence(b, at),
      data: b.subarray(at + headerLength)
    }
  }
}

export const encodedLength = (echo: Echo): number => headerLength + echo.data.length

/** Writes the message with its checksum and returns its length in octets. */
export const encodeInto = (echo: Echo, target: Uint8Array, at: number, context: Context): number => {
  const length = encodedLength(echo)
  target[at] = Type[context.family][echo.kind]
  target[at + 1] = 0
  target[at + 2] = 0
  target[at + 3] = 0
  target[at + 4] = echo.identifier >> 8
  target[at + 5] = echo.identifier & 0xff
  target[at + 6] = echo.sequence >> 8
  target[at + 7] = echo.sequence & 0xff
  target.set(echo.data, at + headerLength)
  const value = checksum(pseudoHeaderSum(context, length) + sum(target, at, at + length))
  target[at + 2] = value >> 8
  target[at + 3] = value & 0xff
  return length
}

/** RFC 8200 8.1: source, destination, 32-bit length, next header. ICMP over IPv4 has none. */
const pseudoHeaderSum = (context: Context, length: number): number =>
  context.family === "ipv4" ? 0 : sum(context.source) + sum(context.destination) + length + nextHeader
