/**
 * Reading UPDATE messages (RFC 4271 4.3, RFC 4760 3, 4): where their parts are. `update-writer.ts` writes them.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     | withdrawn routes length (16)  | withdrawn routes: IPv4 unicast
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     | total path attributes length  | attributes; MP_REACH_NLRI and MP_UNREACH_NLRI among them
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     | NLRI: IPv4 unicast, to the end
 *
 * `scanUpdate` fills a reusable `UpdateScan` with octet ranges and allocates nothing. What it returns resets the session: NLRI
 * that cannot be told apart (RFC 7606 5.3) and lists that do not fit. All other faults come out of `decodeAttributes`, which the
 * caller needs to call only for attributes it has not seen before: `attributeKeyInto` writes what the result depends on.
 *
 * Ownership: an `UpdateScan` is offsets into the scanned octets, and valid as long as they are.
 */
import { formatAddress, isHostAddress, isIpv6HostAddress, isLinkLocal } from "./attributes/next-hop.ts"
import { decodeBlock } from "./attributes.ts"
import type { SessionContext } from "./context.ts"
import { bgpError, type BgpError } from "./error.ts"
import { headerLength } from "./header.ts"
import { Attribute, AttributeFlag, ErrorCode, Family, familyOf, UpdateError } from "./iana.ts"
import { areNlri, isKnownFamily, isNextHopLength } from "./nlri.ts"
import { Severity, type AttributeFault, type DecodedAttributes, type PathAttributes } from "./path-attributes.ts"

/** Octet ranges of one UPDATE. Make one for each reader, and reuse it. Valid as long as the octets are. */
export class UpdateScan {
  /** Withdrawn Routes field: IPv4 unicast. */
  withdrawnAt = 0
  withdrawnEnd = 0
  /** Path Attributes field, with MP_REACH_NLRI and MP_UNREACH_NLRI. */
  attributesAt = 0
  attributesEnd = 0
  /** NLRI field: IPv4 unicast with the next hop of NEXT_HOP. */
  nlriAt = 0
  nlriEnd = 0
  /** Family of MP_REACH_NLRI; 0: there is none, or its family was not agreed upon. */
  mpReachFamily = 0
  mpReachAt = 0
  mpReachEnd = 0
  /** 4, 16 or 32 octets. */
  mpNextHopAt = 0
  mpNextHopLength = 0
  /** Family of MP_UNREACH_NLRI; 0: as above. */
  mpUnreachFamily = 0
  mpUnreachAt = 0
  mpUnreachEnd = 0
  /** A family that came although it was not agreed upon, and was passed over; 0: none. */
  ignoredFamily = 0
  /** End-of-RIB (RFC 4724 2) of this family; 0: it is no such thing. */
  endOfRib = 0
  /** There is reachable NLRI, in the NLRI field or in MP_REACH_NLRI (of whatever family). */
  hasReachable = false
  /** There are attributes besides MP_UNREACH_NLRI, so `decodeAttributes` must be asked even without reachable NLRI (RFC 7606 5.2). */
  hasAttributes = false

  /** The attributes of RFC 4760 as wholes, which `attributeKeyInto` leaves out; 0: not there. */
  mpReachAttributeAt = 0
  mpReachAttributeEnd = 0
  mpUnreachAttributeAt = 0
  mpUnreachAttributeEnd = 0

  reset(): void {
    this.mpReachFamily = this.mpReachAt = this.mpReachEnd = this.mpNextHopAt = this.mpNextHopLength = 0
    this.mpUnreachFamily = this.mpUnreachAt = this.mpUnreachEnd = 0
    this.ignoredFamily = this.endOfRib = 0
    this.mpReachAttributeAt = this.mpReachAttributeEnd = this.mpUnreachAttributeAt = this.mpUnreachAttributeEnd = 0
    this.hasReachable = this.hasAttributes = false
  }
}

/** Which reachable NLRI attributes are for: the NLRI field, or MP_REACH_NLRI. They differ in their next hop. */
export const NlriSource = { field: 0, mpReach: 1 } as const

// ---- scan -------------------------------------------------------------------------------------------------------------

const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!

const updateError = (subcode: number, data?: Uint8Array): BgpError => bgpError(ErrorCode.updateMessage, subcode, data)

/** RFC 4760 7: the data is the attribute, as RFC 4271 6.3 has it for an Optional Attribute Error. */
const badMpAttribute = (bytes: Uint8Array, at: number, end: number): BgpError =>
  updateError(UpdateError.optionalAttributeError, bytes.slice(at, end))

/** Scans the message from its marker at `at` to `end` into `scan`. An error resets the session. NLRI are checked (RFC 7606 5.3). */
export const scanUpdate = (bytes: Uint8Array, at: number, end: number, context: SessionContext, scan: UpdateScan): BgpError | undefined => {
  scan.reset()
  scan.withdrawnAt = at + headerLength + 2
  scan.withdrawnEnd = scan.withdrawnAt + u16(bytes, at + headerLength)
  // RFC 4271 6.3: lengths that are too large for the message.
  if (scan.withdrawnEnd + 2 > end) return updateError(UpdateError.malformedAttributeList)
  scan.attributesAt = scan.withdrawnEnd + 2
  scan.attributesEnd = scan.nlriAt = scan.attributesAt + u16(bytes, scan.withdrawnEnd)
  scan.nlriEnd = end
  if (scan.nlriAt > end) return updateError(UpdateError.malformedAttributeList)

  const addPath = context.addPathReceive(Family.ipv4Unicast)
  if (!areNlri(Family.ipv4Unicast, bytes, scan.withdrawnAt, scan.withdrawnEnd, addPath)) return updateError(UpdateError.invalidNetworkField)
  if (!areNlri(Family.ipv4Unicast, bytes, scan.nlriAt, scan.nlriEnd, addPath)) return updateError(UpdateError.invalidNetworkField)
  const error = scanAttributes(bytes, context, scan)
  if (error !== undefined) return error
  if (scan.nlriAt < scan.nlriEnd) scan.hasReachable = true
  if (!scan.hasReachable && !scan.hasAttributes && scan.withdrawnAt === scan.withdrawnEnd) {
    if (scan.attributesAt === scan.attributesEnd) scan.endOfRib = Family.ipv4Unicast
    else if (scan.mpUnreachAt === scan.mpUnreachEnd) scan.endOfRib = scan.mpUnreachFamily
  }
  return undefined
}

/** Finds the attributes of RFC 4760. Where the list is broken it stops: `decodeAttributes` says so (RFC 7606 4). */
const scanAttributes = (bytes: Uint8Array, context: SessionContext, scan: UpdateScan): BgpError | undefined => {
  const end = scan.attributesEnd
  for (let at = scan.attributesAt; at < end;) {
    const type = bytes[at + 1]!
    const isLong = (bytes[at]! & AttributeFlag.extendedLength) !== 0
    const isMp = type === Attribute.mpReachNlri || type === Attribute.mpUnreachNlri
    const valueAt = at + (isLong ? 4 : 3)
    const valueEnd = valueAt > end ? end + 1 : valueAt + (isLong ? u16(bytes, at + 2) : bytes[at + 2]!)
    if (valueEnd > end) {
      scan.hasAttributes = true
      // NLRI that is not there cannot be withdrawn (RFC 7606 3 j).
      return isMp && end - at >= 2 ? badMpAttribute(bytes, at, end) : undefined
    }
    if (!isMp) scan.hasAttributes = true
    else {
      // RFC 7606 5.3: flags other than those of RFC 4760. The Partial bit is of no consequence.
      const flags = bytes[at]! & (AttributeFlag.optional | AttributeFlag.transitive)
      if (flags !== AttributeFlag.optional) return badMpAttribute(bytes, at, valueEnd)
      const error = type === Attribute.mpReachNlri
        ? scanMpReach(bytes, at, valueAt, valueEnd, context, scan)
        : scanMpUnreach(bytes, at, valueAt, valueEnd, context, scan)
      if (error !== undefined) return error
    }
    at = valueEnd
  }
  return undefined
}

/** The family of a scanned attribute if it was agreed upon; else 0, and it is remembered. */
const agreedFamily = (bytes: Uint8Array, at: number, context: SessionContext, scan: UpdateScan): number => {
  const family = familyOf(u16(bytes, at), bytes[at + 2]!)
  if (context.families.has(family) && isKnownFamily(family)) return family
  scan.ignoredFamily = family
  return 0
}

/** AFI (16), SAFI (8), length of next hop (8), next hop, reserved (8), NLRI (RFC 4760 3). */
const scanMpReach = (
  bytes: Uint8Array,
  attributeAt: number,
  at: number,
  end: number,
  context: SessionContext,
  scan: UpdateScan
): BgpError | undefined => {
  // RFC 7606 3 g.
  if (scan.mpReachAttributeEnd !== 0) return updateError(UpdateError.malformedAttributeList)
  scan.mpReachAttributeAt = attributeAt
  scan.mpReachAttributeEnd = end
  scan.hasAttributes = true
  if (end - at < 5) return badMpAttribute(bytes, attributeAt, end)
  const nextHopLength = bytes[at + 3]!
  const nlriAt = at + 5 + nextHopLength
  if (nlriAt > end) return badMpAttribute(bytes, attributeAt, end)
  if (nlriAt < end) scan.hasReachable = true
  const family = agreedFamily(bytes, at, context, scan)
  if (family === 0) return undefined
  // RFC 7606 7.11: with another length of the next hop, nobody knows where the NLRI begins.
  if (!isNextHopLength(family, nextHopLength, context.extendedNextHop(family))) return badMpAttribute(bytes, attributeAt, end)
  if (!areNlri(family, bytes, nlriAt, end, context.addPathReceive(family))) return badMpAttribute(bytes, attributeAt, end)
  scan.mpReachFamily = family
  scan.mpNextHopAt = at + 4
  scan.mpNextHopLength = nextHopLength
  scan.mpReachAt = nlriAt
  scan.mpReachEnd = end
  return undefined
}

/** AFI (16), SAFI (8), NLRI (RFC 4760 4). */
const scanMpUnreach = (
  bytes: Uint8Array,
  attributeAt: number,
  at: number,
  end: number,
  context: SessionContext,
  scan: UpdateScan
): BgpError | undefined => {
  if (scan.mpUnreachAttributeEnd !== 0) return updateError(UpdateError.malformedAttributeList)
  scan.mpUnreachAttributeAt = attributeAt
  scan.mpUnreachAttributeEnd = end
  if (end - at < 3) return badMpAttribute(bytes, attributeAt, end)
  const family = agreedFamily(bytes, at, context, scan)
  if (family === 0) return undefined
  if (!areNlri(family, bytes, at + 3, end, context.addPathReceive(family))) return badMpAttribute(bytes, attributeAt, end)
  scan.mpUnreachFamily = family
  scan.mpUnreachAt = at + 3
  scan.mpUnreachEnd = end
  return undefined
}

// ---- attributes -------------------------------------------------------------------------------------------------------

const markerOf = (scan: UpdateScan, source: number): number =>
  (source === NlriSource.mpReach ? 1 : 0) | (scan.nlriAt < scan.nlriEnd ? 2 : 0) | (scan.hasReachable ? 4 : 0)

const copyInto = (bytes: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number => {
  const length = to - from
  // A call into the runtime costs more than a short copy.
  if (length > 64) target.set(bytes.subarray(from, to), at)
  else for (let i = 0; i < length; i++) target[at + i] = bytes[from + i]!
  return at + length
}

/**
 * Writes what the decoded attributes of the scanned message depend on, besides `attributeContext`: a marker octet, the
 * attributes without MP_REACH_NLRI and MP_UNREACH_NLRI, and the next hop. Returns the end; at most `attributesEnd -
 * attributesAt + 40` octets are written. Equal octets: equal `DecodedAttributes`.
 */
export const attributeKeyInto = (bytes: Uint8Array, scan: UpdateScan, source: number, target: Uint8Array, at: number): number => {
  target[at] = markerOf(scan, source)
  let to = at + 1
  const { attributesAt, attributesEnd, mpReachAttributeAt, mpReachAttributeEnd, mpUnreachAttributeAt, mpUnreachAttributeEnd } = scan
  if (mpReachAttributeEnd === 0 && mpUnreachAttributeEnd === 0) return copyInto(bytes, attributesAt, attributesEnd, target, to)
  // Attributes of length 0 in place of those that are not there: the three stretches around two cuts.
  const isReachFirst = mpReachAttributeAt <= mpUnreachAttributeAt
  const firstAt = (isReachFirst ? mpReachAttributeAt : mpUnreachAttributeAt) || attributesAt
  const firstEnd = (isReachFirst ? mpReachAttributeEnd : mpUnreachAttributeEnd) || attributesAt
  const secondAt = (isReachFirst ? mpUnreachAttributeAt : mpReachAttributeAt) || attributesEnd
  const secondEnd = (isReachFirst ? mpUnreachAttributeEnd : mpReachAttributeEnd) || attributesEnd
  to = copyInto(bytes, attributesAt, firstAt, target, to)
  to = copyInto(bytes, firstEnd, secondAt, target, to)
  to = copyInto(bytes, secondEnd, attributesEnd, target, to)
  if (source !== NlriSource.mpReach) return to
  // The length comes last, so that no two keys run together.
  to = copyInto(bytes, scan.mpNextHopAt, scan.mpNextHopAt + scan.mpNextHopLength, target, to)
  target[to] = scan.mpNextHopLength
  return to + 1
}

interface MpNextHop {
  readonly nextHop?: string
  readonly linkLocalNextHop?: string
}

/** What MP_REACH_NLRI says about the next hop, or undefined where no host can have such an address. */
const mpNextHop = (bytes: Uint8Array, at: number, length: number): MpNextHop | undefined => {
  if (length === 4) return isHostAddress(bytes, at) ? { nextHop: formatAddress(bytes, at, 4) } : undefined
  const linkLocal = length === 32 && isLinkLocal(bytes, at + 16) ? formatAddress(bytes, at + 16, 16) : undefined
  if (isIpv6HostAddress(bytes, at)) {
    return { nextHop: formatAddress(bytes, at, 16), ...(linkLocal === undefined ? {} : { linkLocalNextHop: linkLocal }) }
  }
  // Without a global address some speakers write :: in its place.
  return linkLocal === undefined ? undefined : { nextHop: linkLocal, linkLocalNextHop: linkLocal }
}

const badNextHop = (bytes: Uint8Array, scan: UpdateScan): AttributeFault => {
  const { mpNextHopAt: at, mpNextHopLength: length, mpReachAttributeAt, mpReachAttributeEnd } = scan
  return {
    severity: Severity.withdraw,
    type: Attribute.mpReachNlri,
    reason: `MP_REACH_NLRI has the next hop ${formatAddress(bytes, at, Math.min(length, 16))}`,
    error: badMpAttribute(bytes, mpReachAttributeAt, mpReachAttributeEnd)
  }
}

/** RFC 4760 3: NEXT_HOP is of no meaning for what MP_REACH_NLRI announces. */
const withoutNextHop = (attributes: PathAttributes): PathAttributes => {
  if (attributes.nextHop === undefined) return attributes
  const { nextHop: _nextHop, ...others } = attributes
  return others
}

/**
 * Decodes the attributes of a scanned message. Severity `withdraw`: withdraw all NLRI of the message; `reset`: send
 * `faults[0].error`. It includes RFC 7606 5.2: faults without reachable NLRI reset.
 */
export const decodeAttributes = (bytes: Uint8Array, scan: UpdateScan, source: number, context: SessionContext): DecodedAttributes => {
  const options = { hasReachable: scan.hasReachable, needsNextHop: scan.nlriAt < scan.nlriEnd }
  const decoded = decodeBlock(bytes, scan.attributesAt, scan.attributesEnd, context, options)
  if (source !== NlriSource.mpReach || scan.mpReachFamily === 0) return decoded
  const found = mpNextHop(bytes, scan.mpNextHopAt, scan.mpNextHopLength)
  const attributes = { ...withoutNextHop(decoded.attributes), ...found }
  if (found !== undefined || decoded.severity >= Severity.reset || !scan.hasReachable) return { ...decoded, attributes }
  const faults = [badNextHop(bytes, scan), ...decoded.faults]
  return { attributes, faults, severity: Severity.withdraw }
}
