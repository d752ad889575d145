/**
 * The table of path attributes: one row for each type that weft knows, one file in `attributes/` for each family of them; and
 * the walk that joins them (RFC 4271 4.3, 6.3; RFC 7606 3, 4).
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |O|T|P|E|0 0 0 0|   type (8)    |  length (8, 16 if E) | value
 *
 * Not in the table: MP_REACH_NLRI and MP_UNREACH_NLRI, which `update.ts` takes apart, since they are not about all NLRI.
 * Ownership: nothing here holds a view.
 */
import { aggregator, as4Aggregator, as4Path, asPath, mergeAs4 } from "./attributes/as-path.ts"
import { aigp, ipv6ExtendedCommunities, keep, linkState, onlyToCustomer, pmsiTunnel, prefixSid } from "./attributes/carried.ts"
import { communities, extendedCommunities, largeCommunities } from "./attributes/communities.ts"
import { atomicAggregate, localPref, multiExitDisc, nextHop, origin } from "./attributes/preference.ts"
import { clusterList, originatorId } from "./attributes/reflection.ts"
import { complain, type AttributeRow, type AttributeValue, type Complaint, type Draft } from "./attributes/row.ts"
import type { SessionContext } from "./context.ts"
import { bgpError } from "./error.ts"
import { Attribute, AttributeFlag, attributeName, ErrorCode, Origin, UpdateError } from "./iana.ts"
import { OctetWriter } from "./octet-writer.ts"
import { Severity, type AttributeFault, type DecodedAttributes, type OpaqueAttribute, type PathAttributes } from "./path-attributes.ts"

/** In order of their types, in which they are written too. */
const table: ReadonlyArray<AttributeRow> = [
  origin,
  asPath,
  nextHop,
  multiExitDisc,
  localPref,
  atomicAggregate,
  aggregator,
  communities,
  originatorId,
  clusterList,
  extendedCommunities,
  as4Path,
  as4Aggregator,
  pmsiTunnel,
  ipv6ExtendedCommunities,
  aigp,
  linkState,
  largeCommunities,
  onlyToCustomer,
  prefixSid
]

const rowOf: ReadonlyArray<AttributeRow | undefined> = Array.from({ length: 256 }, (_, type) =>
  table.find((row) => row.type === type))

/** Faults beyond these are not told; the strongest always is. */
const maxFaults = 32
const optionalTransitive = AttributeFlag.optional | AttributeFlag.transitive

// ---- faults -----------------------------------------------------------------------------------------------------------

const fault = (type: number, { reason, severity, subcode }: Complaint, data: Uint8Array): AttributeFault =>
  ({ severity, type, reason, error: bgpError(ErrorCode.updateMessage, subcode, data) })

/** RFC 7606 3 c, and RFC 4271 4.3: Partial must be 0 in well-known and in optional non-transitive attributes. */
const hasWrongFlags = (row: AttributeRow, flags: number): boolean =>
  (flags & optionalTransitive) !== row.flags || ((flags & AttributeFlag.partial) !== 0 && row.flags !== optionalTransitive)

const strongestFirst = (faults: Array<AttributeFault>): ReadonlyArray<AttributeFault> =>
  faults.length < 2 ? faults : faults.sort((a, b) => b.severity - a.severity).slice(0, maxFaults)

/** The value of one attribute: into the draft, or a complaint about it. */
const decodeOne = (draft: Draft, type: number, value: AttributeValue, context: SessionContext): Complaint | undefined => {
  const row = rowOf[type]
  const { flags } = value
  if (row === undefined) {
    // RFC 4271 6.3, which RFC 7606 leaves as it is.
    if ((flags & AttributeFlag.optional) === 0) {
      return complain(Severity.reset, `${attributeName(type)} is well-known and unknown here`, UpdateError.unrecognizedWellKnownAttribute)
    }
    // RFC 4271 5: an unknown attribute that is not transitive is quietly ignored.
    if ((flags & AttributeFlag.transitive) !== 0) keep(draft, type, value)
    return undefined
  }
  if (hasWrongFlags(row, flags)) {
    const reason = `${attributeName(type)} has flags 0x${flags.toString(16).padStart(2, "0")}`
    return complain(row.flagsSeverity ?? Severity.withdraw, reason, UpdateError.attributeFlagsError)
  }
  if (value.at === value.end && row.mayBeEmpty === undefined) {
    return complain(row.severity?.(context) ?? Severity.withdraw, `${attributeName(type)} is empty`, UpdateError.attributeLengthError)
  }
  return row.decode(draft, value, context)
}

// ---- decode -----------------------------------------------------------------------------------------------------------

/** What surrounds a block of attributes. */
export interface BlockOptions {
  /** ORIGIN and AS_PATH must be there; and faults do not reset the session for want of NLRI (RFC 7606 5.2). */
  readonly hasReachable: boolean
  /** NEXT_HOP must be there: there is NLRI in the NLRI field. */
  readonly needsNextHop: boolean
}

const emptyDraft = (): Draft => ({
  origin: Origin.incomplete,
  asPath: [],
  atomicAggregate: false,
  communities: [],
  extendedCommunities: [],
  largeCommunities: [],
  clusterList: [],
  unknown: []
})

const missing = (type: number): AttributeFault =>
  fault(type, complain(Severity.withdraw, `${attributeName(type)} is missing`, UpdateError.missingWellKnownAttribute), Uint8Array.of(type))

const malformedList = (reason: string): AttributeFault =>
  fault(0, complain(Severity.withdraw, reason, UpdateError.malformedAttributeList), new Uint8Array(0))

/** Which types `walk` has met. Reused: decoding is synchronous. */
const seen = new Uint8Array(256)

/** Reads all attributes but the two of RFC 4760. */
const walk = (bytes: Uint8Array, from: number, end: number, context: SessionContext, draft: Draft, faults: AttributeFault[]): void => {
  seen.fill(0)
  for (let at = from; at < end;) {
    const flags = bytes[at]!
    const type = bytes[at + 1]!
    const isLong = (flags & AttributeFlag.extendedLength) !== 0
    const valueAt = at + (isLong ? 4 : 3)
    // RFC 7606 4: too few octets for an attribute, or fewer than it says.
    if (valueAt > end) {
      faults.push(malformedList(`the last ${end - at} octets are no attribute`))
      break
    }
    const length = isLong ? (bytes[at + 2]! << 8) | bytes[at + 3]! : bytes[at + 2]!
    const valueEnd = valueAt + length
    if (valueEnd > end) {
      faults.push(malformedList(`${attributeName(type)} has ${length} octets, of which ${end - valueAt} are there`))
      break
    }
    if (type !== Attribute.mpReachNlri && type !== Attribute.mpUnreachNlri) {
      const complaint = seen[type] === 0
        ? decodeOne(draft, type, { bytes, flags, at: valueAt, end: valueEnd }, context)
        // RFC 7606 3 g: all but the first are discarded.
        : complain(Severity.discard, `${attributeName(type)} is there twice`, UpdateError.malformedAttributeList)
      if (complaint !== undefined && (faults.length < maxFaults || complaint.severity > Severity.discard)) {
        faults.push(fault(type, complaint, bytes.slice(at, valueEnd)))
      }
    }
    seen[type] = 1
    at = valueEnd
  }
}

const finish = (draft: Draft): PathAttributes => {
  if (draft.unknown.length > 1) draft.unknown.sort((a, b) => a.type - b.type)
  // Taking a rest is slow, and most drafts have nothing to leave out.
  if (draft.as4Path === undefined && draft.as4Aggregator === undefined) return draft
  const { as4Aggregator: _as4Aggregator, as4Path: _as4Path, ...attributes } = draft
  return attributes
}

/**
 * Decodes the attributes from `at` to `end`. Total: what is wrong is in `faults`, what is not could be read nevertheless.
 * The two attributes of RFC 4760 are passed over.
 */
export const decodeBlock = (
  bytes: Uint8Array,
  at: number,
  end: number,
  context: SessionContext,
  options: BlockOptions
): DecodedAttributes => {
  const draft = emptyDraft()
  const found: Array<AttributeFault> = []
  walk(bytes, at, end, context, draft, found)
  if (options.hasReachable) {
    // RFC 7606 3 d.
    if (seen[Attribute.origin] === 0) found.push(missing(Attribute.origin))
    if (seen[Attribute.asPath] === 0) found.push(missing(Attribute.asPath))
    if (options.needsNextHop && seen[Attribute.nextHop] === 0) found.push(missing(Attribute.nextHop))
  }
  mergeAs4(draft, context)
  const faults = strongestFirst(found)
  const severity = faults[0]?.severity ?? Severity.none
  const attributes = finish(draft)
  // RFC 7606 5.2: without reachable NLRI nobody can be sure that NLRI was parsed at all.
  if (options.hasReachable || severity !== Severity.withdraw) return { attributes, faults, severity }
  const promoted = faults.map((one) => (one.severity === Severity.withdraw ? { ...one, severity: Severity.reset } : one))
  return { attributes, faults: promoted, severity: Severity.reset }
}

// ---- encode -----------------------------------------------------------------------------------------------------------

// Reused: encoding is synchronous, and what is returned is a copy.
const block = new OctetWriter()
const value = new OctetWriter()

const writeAttribute = (out: OctetWriter, flags: number, type: number, octets: Uint8Array): void => {
  const isLong = octets.length > 255
  out.u8((flags & ~AttributeFlag.extendedLength) | (isLong ? AttributeFlag.extendedLength : 0))
  out.u8(type)
  if (isLong) out.u16(octets.length)
  else out.u8(octets.length)
  out.octets(octets)
}

const writeUnknown = (out: OctetWriter, list: ReadonlyArray<OpaqueAttribute>, from: number, below: number): void => {
  for (const { flags, type, value: octets } of list) if (type >= from && type < below) writeAttribute(out, flags, type, octets)
}

/**
 * All attributes but MP_REACH_NLRI and MP_UNREACH_NLRI, in order of their types, as the peer of `context` reads them
 * (AS4_PATH and AS4_AGGREGATOR to those who need them). `withNextHop`: NEXT_HOP too, for NLRI in the NLRI field.
 *
 * Whether a peer should get LOCAL_PREF, MULTI_EXIT_DISC and what reflectors add is the caller's to decide: what is there is written.
 */
export const encodeAttributes = (attributes: PathAttributes, context: SessionContext, withNextHop: boolean): Uint8Array => {
  let written = 0
  block.reset()
  for (const row of table) {
    if (row === nextHop && !withNextHop) continue
    writeUnknown(block, attributes.unknown, written, row.type)
    written = row.type
    value.reset()
    if (row.encode(attributes, context, value)) writeAttribute(block, row.flags, row.type, value.view())
  }
  writeUnknown(block, attributes.unknown, written, 256)
  return block.finish()
}
