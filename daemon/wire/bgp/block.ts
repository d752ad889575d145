/**
 * Blocks of path attributes, octets to octets: what nearly every route needs on its way from one external neighbour to the next, without
 * decoding it (RFC 4271 5.1.2 b, 5.1.3, 5.1.4, 5.1.5).
 *
 *     ORIGIN  AS_PATH  [NEXT_HOP]  [MED]  [LOCAL_PREF]  [ATOMIC_AGGREGATE]  [COMMUNITIES]
 *        |       | ASNs in front     '-----------'------'-- left out         |              |
 *     ORIGIN  AS_PATH  NEXT_HOP (as the neighbour is told it)         ATOMIC_AGGREGATE  COMMUNITIES
 *
 * Unsupported: all that is not as `encodeAttributes` would write it (other attributes, another order, other flags), paths with
 * segments that are not sequences or sets, AS numbers of two octets. Such blocks are told apart, and decoded.
 */
import { Attribute, AttributeFlag, SegmentType } from "./iana.ts"

const { extendedLength, optional, transitive } = AttributeFlag

/** Flags as they are written, by type: those that go from neighbour to neighbour. */
const kept: Readonly<Record<number, number>> = {
  [Attribute.origin]: transitive,
  [Attribute.asPath]: transitive,
  [Attribute.atomicAggregate]: transitive,
  [Attribute.communities]: optional | transitive
}
const isLeftOut = (type: number): boolean => type === Attribute.nextHop || type === Attribute.multiExitDisc || type === Attribute.localPref

const copy = (from: Uint8Array, at: number, end: number, target: Uint8Array, to: number): number => {
  for (let i = at; i < end; i++) target[to++] = from[i]!
  return to
}

/** Most octets that `forwardInto` adds, for so many AS numbers. */
export const addedOctets = (asns: number): number => 4 + 4 * asns

/**
 * Writes the block `bytes[at..end)`, whose attributes have been found to be right, with `asns` before its path. Returns the end, or -1:
 * something in it is unsupported.
 */
export const forwardInto = (
  bytes: Uint8Array, at: number, end: number, asns: ReadonlyArray<number>, target: Uint8Array, to: number
): number => {
  let last = 0
  while (at < end) {
    const flags = bytes[at]!
    const type = bytes[at + 1]!
    const isLong = (flags & extendedLength) !== 0
    const valueAt = at + (isLong ? 4 : 3)
    const length = isLong ? (bytes[at + 2]! << 8) | bytes[at + 3]! : bytes[at + 2]!
    const next = valueAt + length
    if (type <= last) return -1
    last = type
    if (!isLeftOut(type)) {
      if ((flags & ~extendedLength) !== kept[type] || isLong !== length > 255) return -1
      // RFC 7606 7.6: not what it should be, it is passed by when it is decoded.
      if (type === Attribute.atomicAggregate && length !== 0) return -1
      to = type === Attribute.asPath ? pathInto(bytes, valueAt, next, asns, target, to) : copy(bytes, at, next, target, to)
      if (to < 0) return -1
    }
    at = next
  }
  return to
}

/** AS_PATH, as an attribute. -1: it is no plain one. */
const pathInto = (bytes: Uint8Array, at: number, end: number, asns: ReadonlyArray<number>, target: Uint8Array, to: number): number => {
  for (let segment = at; segment < end; segment += 2 + 4 * bytes[segment + 1]!) {
    if (bytes[segment] !== SegmentType.asSequence && bytes[segment] !== SegmentType.asSet) return -1
  }
  const isFirstTaken = at < end && bytes[at] === SegmentType.asSequence && bytes[at + 1]! + asns.length <= 255
  const length = end - at + 4 * asns.length + (isFirstTaken ? 0 : 2)
  const isLong = length > 255
  target[to++] = transitive | (isLong ? extendedLength : 0)
  target[to++] = Attribute.asPath
  if (isLong) target[to++] = length >>> 8
  target[to++] = length
  target[to++] = SegmentType.asSequence
  target[to++] = asns.length + (isFirstTaken ? bytes[at + 1]! : 0)
  for (const asn of asns) {
    target[to++] = asn >>> 24
    target[to++] = asn >>> 16
    target[to++] = asn >>> 8
    target[to++] = asn
  }
  return copy(bytes, isFirstTaken ? at + 2 : at, end, target, to)
}

/** Where the value of AS_PATH begins in a block that has been found to be right, its end in `pathEnd`; -1: there is none. */
export const pathAt = (bytes: Uint8Array, at: number, end: number): number => {
  while (at < end) {
    const isLong = (bytes[at]! & extendedLength) !== 0
    const valueAt = at + (isLong ? 4 : 3)
    const next = valueAt + (isLong ? (bytes[at + 2]! << 8) | bytes[at + 3]! : bytes[at + 2]!)
    if (bytes[at + 1] === Attribute.asPath) {
      pathEnd = next
      return valueAt
    }
    at = next
  }
  return -1
}

/** Of the last `pathAt`. */
export let pathEnd = 0

/** How often an AS number is in the path `bytes[at..end)`, of 4-octet AS numbers. */
export const occurrences = (bytes: Uint8Array, at: number, end: number, asn: number): number => {
  let count = 0
  while (at < end) {
    const type = bytes[at]
    const next = at + 2 + 4 * bytes[at + 1]!
    if (next > end || (type !== SegmentType.asSequence && type !== SegmentType.asSet)) return 0
    for (at += 2; at < next; at += 4) {
      if ((((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0) === asn) count++
    }
  }
  return count
}

/** Writes the block `bytes[at..end)`, which is in order and has no NEXT_HOP, with this one (4 octets). Returns the end. */
export const withNextHopInto = (bytes: Uint8Array, at: number, end: number, nextHop: Uint8Array, target: Uint8Array): number => {
  let from = at
  while (from < end && bytes[from + 1]! < Attribute.nextHop) {
    const isLong = (bytes[from]! & extendedLength) !== 0
    from += isLong ? 4 + ((bytes[from + 2]! << 8) | bytes[from + 3]!) : 3 + bytes[from + 2]!
  }
  let to = copy(bytes, at, from, target, 0)
  target[to++] = transitive
  target[to++] = Attribute.nextHop
  target[to++] = 4
  to = copy(nextHop, 0, 4, target, to)
  return copy(bytes, from, end, target, to)
}
