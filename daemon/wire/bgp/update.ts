/**
 * UPDATE messages (RFC 4271 4.3, RFC 4760): where their parts are, and how to write them.
 *
 * `scanUpdate` fills a reusable `UpdateScan` with octet ranges and allocates nothing; `decodeAttributes` is called for
 * attribute octets that were not seen before; `forEachPrefix` walks NLRI.
 */
import type { SessionContext } from "./context.ts"
import type { BgpError } from "./error.ts"
import type { DecodedAttributes } from "./path-attributes.ts"

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
  /** There is reachable NLRI, in the NLRI field or in MP_REACH_NLRI. */
  hasReachable = false
  /** There are attributes besides MP_UNREACH_NLRI, so `decodeAttributes` must be asked even without reachable NLRI (RFC 7606 5.2). */
  hasAttributes = false
}

/**
 * Which reachable NLRI attributes are for: the NLRI field, or MP_REACH_NLRI. They differ in their next hop.
 */
export const NlriSource = { field: 0, mpReach: 1 } as const

/** Scans the message from its marker at `at` to `end` into `scan`. An error resets the session. NLRI are checked (RFC 7606 5.3). */
export const scanUpdate = (
  _bytes: Uint8Array,
  _at: number,
  _end: number,
  _context: SessionContext,
  _scan: UpdateScan
): BgpError | undefined => {
  throw new Error("not there yet")
}

/**
 * Writes what the decoded attributes of the scanned message depend on, besides `attributeContext`: a marker octet, the
 * attributes without MP_REACH_NLRI and MP_UNREACH_NLRI, and the next hop. Returns the end; at most `attributesEnd -
 * attributesAt + 40` octets are written. Equal octets: equal `DecodedAttributes`.
 */
export const attributeKeyInto = (_bytes: Uint8Array, _scan: UpdateScan, _source: number, _target: Uint8Array, _at: number): number => {
  throw new Error("not there yet")
}

/**
 * Decodes the attributes of a scanned message. Severity `withdraw`: withdraw all NLRI of the message; `reset`: send
 * `faults[0].error`. It includes RFC 7606 5.2: faults without reachable NLRI reset.
 */
export const decodeAttributes = (_bytes: Uint8Array, _scan: UpdateScan, _source: number, _context: SessionContext): DecodedAttributes => {
  throw new Error("not there yet")
}

/** `pathId` is 0 without add-path. `bits` is the prefix length; its (bits + 7) >> 3 octets begin at `octetsAt`; bits beyond are noise. */
export type PrefixVisitor = (pathId: number, bits: number, octetsAt: number) => void

/** Visits the prefixes of a range that `scanUpdate` has checked: IPv4 or IPv6 unicast. */
export const forEachPrefix = (_bytes: Uint8Array, _at: number, _end: number, _addPath: boolean, _visit: PrefixVisitor): void => {
  throw new Error("not there yet")
}

/**
 * Writes UPDATEs into a buffer, one after another, as full as the session allows. The caller gives NLRI of equal
 * attributes; when `add*` returns false the message is full (or the buffer is): `finish`, begin the next, add again.
 */
export class UpdateWriter {
  constructor(_context: SessionContext) {}

  /**
   * Begins an UPDATE that announces. `block`: `encodeAttributes`. `nextHop`: octets for MP_REACH_NLRI (4, 16 or 32), or
   * undefined for the NLRI field (IPv4 unicast; NEXT_HOP is in the block). False: the buffer is too short.
   */
  beginReach(_target: Uint8Array, _at: number, _family: number, _block: Uint8Array, _nextHop: Uint8Array | undefined): boolean {
    throw new Error("not there yet")
  }

  /** Begins an UPDATE that withdraws. */
  beginWithdraw(_target: Uint8Array, _at: number, _family: number): boolean {
    throw new Error("not there yet")
  }

  /** Adds a prefix: `bits` of the octets from `octets[at]` on. Noise beyond `bits` is zeroed. */
  addPrefix(_pathId: number, _bits: number, _octets: Uint8Array, _at: number): boolean {
    throw new Error("not there yet")
  }

  /** Adds an NLRI that is encoded already, without a path identifier (EVPN). */
  addNlri(_pathId: number, _nlri: Uint8Array): boolean {
    throw new Error("not there yet")
  }

  /** Fills in the lengths; returns the end of the message. */
  finish(): number {
    throw new Error("not there yet")
  }
}

/** End-of-RIB of a family (RFC 4724 2): a whole message. */
export const encodeEndOfRib = (_family: number): Uint8Array => {
  throw new Error("not there yet")
}
