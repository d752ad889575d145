/**
 * AS_PATH, AGGREGATOR, and what four-octet AS numbers travel in between speakers of two octets: AS4_PATH, AS4_AGGREGATOR.
 * RFC 4271 4.3, 5.1.2, 5.1.7; RFC 6793 4; RFC 7606 7.2, 7.7; RFC 7607 2.
 *
 *     AS_PATH:  segment type (8) | count of AS numbers (8) | AS numbers, 16 or 32 bits each
 *
 * Deviation: segments of confederations (RFC 5065) are an error from an external peer and opaque from an internal one; weft
 * is in no confederation.
 */
import type { SessionContext } from "../context.ts"
import { asTrans, Attribute, AttributeFlag, SegmentType, UpdateError } from "../iana.ts"
import type { OctetWriter } from "../octet-writer.ts"
import { Severity, type Aggregator, type AsPath, type AsPathSegment } from "../path-attributes.ts"
import { badLength, complain, dottedQuad, quadOctets, u16, u32, type AttributeRow, type AttributeValue, type Draft } from "./row.ts"

const maxSegment = 255
const max16 = 0xffff

const isConfederation = ({ type }: AsPathSegment): boolean => type === SegmentType.confedSequence || type === SegmentType.confedSet

/** How many hops a path counts: a set is one, a confederation none (RFC 4271 9.1.2.2, RFC 5065 5.3). */
export const pathLength = (path: AsPath): number => {
  let length = 0
  for (const { asns, type } of path) length += type === SegmentType.asSequence ? asns.length : type === SegmentType.asSet ? 1 : 0
  return length
}

/** The segments, or why they are none. `width`: octets of an AS number. */
const readPath = ({ at, bytes, end }: AttributeValue, width: number): AsPath | string => {
  const path: Array<AsPathSegment> = []
  let position = at
  while (position < end) {
    if (end - position < 2) return "ends within the header of a segment"
    const type = bytes[position]!
    const count = bytes[position + 1]!
    if (type < SegmentType.asSet || type > SegmentType.confedSet) return `has a segment of type ${type}`
    if (count === 0) return "has a segment without AS numbers"
    position += 2
    if (count * width > end - position) return `has a segment of ${count} AS numbers in ${end - position} octets`
    const asns = new Array<number>(count)
    for (let i = 0; i < count; i++, position += width) asns[i] = width === 4 ? u32(bytes, position) : u16(bytes, position)
    // RFC 7607 2.
    if (asns.includes(0)) return "has AS 0 in it"
    path.push({ type, asns })
  }
  return path
}

/** Segments of at most 255 AS numbers: a longer one becomes several, which counts the same for sequences. */
const writePath = (path: AsPath, width: number, out: OctetWriter): void => {
  for (const { asns, type } of path) {
    for (let from = 0; from < asns.length; from += maxSegment) {
      const count = Math.min(maxSegment, asns.length - from)
      out.u8(type)
      out.u8(count)
      for (let i = from; i < from + count; i++) {
        if (width === 4) out.u32(asns[i]!)
        else out.u16(asns[i]! > max16 ? asTrans : asns[i]!)
      }
    }
  }
}

export const asPath: AttributeRow = {
  type: Attribute.asPath,
  flags: AttributeFlag.transitive,
  mayBeEmpty: true,
  decode(draft, value, context) {
    const path = readPath(value, context.asn4 ? 4 : 2)
    if (typeof path === "string") return complain(Severity.withdraw, `AS_PATH ${path}`, UpdateError.malformedAsPath)
    // RFC 5065 5: an error from a neighbor that is in no confederation of ours.
    if (context.isExternal && path.some(isConfederation)) {
      return complain(Severity.withdraw, "AS_PATH of an external peer has a segment of a confederation", UpdateError.malformedAsPath)
    }
    draft.asPath = path
    return undefined
  },
  encode(attributes, context, out) {
    writePath(attributes.asPath, context.asn4 ? 4 : 2, out)
    return true
  }
}

/** RFC 6793 4.1, 6: speakers of four octets must not send it; malformed it is discarded. */
export const as4Path: AttributeRow = {
  type: Attribute.as4Path,
  flags: AttributeFlag.optional | AttributeFlag.transitive,
  severity: () => Severity.discard,
  decode(draft, value, context) {
    if (context.asn4) return complain(Severity.discard, "AS4_PATH came from a speaker of four-octet AS numbers")
    const path = readPath(value, 4)
    if (typeof path === "string") return complain(Severity.discard, `AS4_PATH ${path}`)
    // RFC 6793 4.2.2: must not be in it; what is there all the same is dropped with its segment.
    draft.as4Path = path.filter((segment) => !isConfederation(segment))
    return undefined
  },
  encode(attributes, context, out) {
    const isNeeded = !context.asn4 && attributes.asPath.some(({ asns }) => asns.some((asn) => asn > max16))
    // RFC 6793 4.2.2: the whole path, but for confederations.
    const path = isNeeded ? attributes.asPath.filter((segment) => !isConfederation(segment)) : []
    writePath(path, 4, out)
    return path.length > 0
  }
}

const readAggregator = ({ at, bytes }: AttributeValue, width: number): Aggregator => ({
  asn: width === 4 ? u32(bytes, at) : u16(bytes, at),
  address: dottedQuad(bytes, at + width)
})

export const aggregator: AttributeRow = {
  type: Attribute.aggregator,
  flags: AttributeFlag.optional | AttributeFlag.transitive,
  severity: () => Severity.discard,
  decode(draft, value, context) {
    const width = context.asn4 ? 4 : 2
    if (value.end - value.at !== width + 4) return badLength("AGGREGATOR", value, Severity.discard)
    const read = readAggregator(value, width)
    // RFC 7607 2.
    if (read.asn === 0) return complain(Severity.discard, "AGGREGATOR has AS 0")
    draft.aggregator = read
    return undefined
  },
  encode({ aggregator: value }, context, out) {
    if (value === undefined) return false
    if (context.asn4) out.u32(value.asn)
    else out.u16(value.asn > max16 ? asTrans : value.asn)
    out.octets(quadOctets(value.address))
    return true
  }
}

export const as4Aggregator: AttributeRow = {
  type: Attribute.as4Aggregator,
  flags: AttributeFlag.optional | AttributeFlag.transitive,
  severity: () => Severity.discard,
  decode(draft, value, context) {
    if (context.asn4) return complain(Severity.discard, "AS4_AGGREGATOR came from a speaker of four-octet AS numbers")
    if (value.end - value.at !== 8) return badLength("AS4_AGGREGATOR", value, Severity.discard)
    const read = readAggregator(value, 4)
    if (read.asn === 0) return complain(Severity.discard, "AS4_AGGREGATOR has AS 0")
    draft.as4Aggregator = read
    return undefined
  },
  encode({ aggregator: value }, context, out) {
    if (context.asn4 || value === undefined || value.asn <= max16) return false
    out.u32(value.asn)
    out.octets(quadOctets(value.address))
    return true
  }
}

/**
 * The first `hops` hops of a path, with the segments of confederations among and beside them (RFC 6793 4.2.3).
 */
const leading = (path: AsPath, hops: number): Array<AsPathSegment> => {
  const taken: Array<AsPathSegment> = []
  let left = hops
  for (const segment of path) {
    if (isConfederation(segment)) taken.push(segment)
    else if (left === 0) break
    else if (segment.type === SegmentType.asSet) {
      taken.push(segment)
      left--
    } else {
      const count = Math.min(left, segment.asns.length)
      taken.push(count === segment.asns.length ? segment : { type: segment.type, asns: segment.asns.slice(0, count) })
      left -= count
    }
  }
  return taken
}

/** Two neighbouring sequences are one, as long as it may be. */
const join = (head: ReadonlyArray<AsPathSegment>, tail: AsPath): AsPath => {
  const [last, first] = [head.at(-1), tail[0]]
  const areOne = last?.type === SegmentType.asSequence && first?.type === SegmentType.asSequence &&
    last.asns.length + first.asns.length <= maxSegment
  if (!areOne) return [...head, ...tail]
  return [...head.slice(0, -1), { type: first.type, asns: [...last.asns, ...first.asns] }, ...tail.slice(1)]
}

/** Puts AS4_PATH and AS4_AGGREGATOR, which came from a speaker of two octets, into the path and the aggregator (RFC 6793 4.2.3). */
export const mergeAs4 = (draft: Draft, context: SessionContext): void => {
  const { aggregator: old, as4Aggregator: newer, as4Path: path } = draft
  if (context.asn4) return
  if (old !== undefined && newer !== undefined) {
    // The aggregator was in the AS of two octets after those of four: both attributes are of before.
    if (old.asn !== asTrans) return
    draft.aggregator = newer
  }
  if (path === undefined) return
  const surplus = pathLength(draft.asPath) - pathLength(path)
  if (surplus >= 0) draft.asPath = join(leading(draft.asPath, surplus), path)
}
