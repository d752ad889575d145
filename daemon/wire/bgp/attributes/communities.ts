/**
 * Communities: standard (RFC 1997), extended (RFC 4360), large (RFC 8092). Errors: RFC 7606 7.8, 7.14; RFC 8092 6.
 *
 * Duplicates are removed (RFC 8092 3 demands it, for the others they mean nothing); the order is kept.
 */
import { Attribute, AttributeFlag } from "../iana.ts"
import { badLength, u32, type AttributeRow } from "./row.ts"

const flags = AttributeFlag.optional | AttributeFlag.transitive

const distinct = <A>(list: ReadonlyArray<A>): ReadonlyArray<A> => (list.length < 2 ? list : [...new Set(list)])

const u64 = (b: Uint8Array, at: number): bigint => (BigInt(u32(b, at)) << 32n) | BigInt(u32(b, at + 4))

/** The values of `width` octets from `at` to `end`. */
const readEach = <A>(at: number, end: number, width: number, read: (at: number) => A): ReadonlyArray<A> => {
  const values = new Array<A>((end - at) / width)
  for (let i = 0; i < values.length; i++) values[i] = read(at + i * width)
  return distinct(values)
}

export const communities: AttributeRow = {
  type: Attribute.communities,
  flags,
  decode(draft, value) {
    const { at, bytes, end } = value
    if ((end - at) % 4 !== 0) return badLength("COMMUNITIES", value)
    draft.communities = readEach(at, end, 4, (position) => u32(bytes, position))
    return undefined
  },
  encode(attributes, _context, out) {
    for (const community of attributes.communities) out.u32(community)
    return attributes.communities.length > 0
  }
}

export const extendedCommunities: AttributeRow = {
  type: Attribute.extendedCommunities,
  flags,
  decode(draft, value) {
    const { at, bytes, end } = value
    if ((end - at) % 8 !== 0) return badLength("EXTENDED_COMMUNITIES", value)
    draft.extendedCommunities = readEach(at, end, 8, (position) => u64(bytes, position))
    return undefined
  },
  encode(attributes, _context, out) {
    for (const community of attributes.extendedCommunities) out.u64(community)
    return attributes.extendedCommunities.length > 0
  }
}

export const largeCommunities: AttributeRow = {
  type: Attribute.largeCommunities,
  flags,
  decode(draft, value) {
    const { at, bytes, end } = value
    if ((end - at) % 12 !== 0) return badLength("LARGE_COMMUNITIES", value)
    draft.largeCommunities = readEach(at, end, 12, (position) => (BigInt(u32(bytes, position)) << 64n) | u64(bytes, position + 4))
    return undefined
  },
  encode(attributes, _context, out) {
    for (const community of attributes.largeCommunities) {
      out.u32(Number(community >> 64n))
      out.u64(community & 0xffff_ffff_ffff_ffffn)
    }
    return attributes.largeCommunities.length > 0
  }
}
