/** What attribute sets are as octets (attribute-table.ts): hashes, next hops, and messages to read them from. */
import { Attribute } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import * as Ip from "../../wire/ip.ts"

/** Segment by segment. */
export const isSamePath = (one: AsPath, other: AsPath): boolean =>
  one.length === other.length && one.every((segment, i) =>
    segment.type === other[i]!.type && segment.asns.length === other[i]!.asns.length &&
    segment.asns.every((asn, j) => asn === other[i]!.asns[j]))

/** The same with neither of its next hops. */
export const withoutNextHop = (attributes: PathAttributes): PathAttributes => {
  const { linkLocalNextHop: _linkLocal, nextHop: _nextHop, ...rest } = attributes
  return rest
}

/** 4, 16 or 32 octets for MP_REACH_NLRI (RFC 4760 3, RFC 2545 3). */
export const nextHopOctets = ({ linkLocalNextHop, nextHop }: Pick<PathAttributes, "nextHop" | "linkLocalNextHop">): Uint8Array => {
  const global = Ip.parse(nextHop ?? "")
  if (global === undefined) throw new TypeError(`not a next hop: "${nextHop}"`)
  const second = linkLocalNextHop === undefined ? undefined : Ip.parse(linkLocalNextHop)
  if (second === undefined || global.length === 4) return global
  const both = new Uint8Array(32)
  both.set(global)
  both.set(second, 16)
  return both
}

/** FNV-1a by octet, finished so that the low bits depend on all. */
export const hashOf = (bytes: Uint8Array, end: number): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  return (h ^ (h >>> 13)) >>> 0
}

/** An UPDATE with these attributes and a default route, to be decoded. */
export const messageOf = (
  attributes: Uint8Array, mp: { readonly family: number; readonly nextHop: Uint8Array } | undefined
): Uint8Array => {
  const mpLength = mp === undefined ? 0 : 4 + 3 + 1 + mp.nextHop.length + 1 + 1
  const length = 19 + 2 + 2 + mpLength + attributes.length + (mp === undefined ? 1 : 0)
  const message = new Uint8Array(length)
  const view = new DataView(message.buffer)
  message.fill(0xff, 0, 16)
  view.setUint16(16, length)
  message[18] = 2
  view.setUint16(21, mpLength + attributes.length)
  if (mp !== undefined) {
    view.setUint16(23, 0x9000 | Attribute.mpReachNlri)
    view.setUint16(25, mpLength - 4)
    view.setUint16(27, mp.family >>> 8)
    message[29] = mp.family & 0xff
    message[30] = mp.nextHop.length
    message.set(mp.nextHop, 31)
  }
  message.set(attributes, 23 + mpLength)
  return message
}
