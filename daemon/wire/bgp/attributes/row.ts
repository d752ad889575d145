/**
 * What a row of the table of attributes is (`../attributes.ts`), and what rows work on.
 *
 * A row decodes one value into a draft, or says what is wrong with it; the table's walk has checked the flags, that the value
 * lies within the attributes, that it is not empty where it must not be, and that it is the first of its type.
 */
import type { SessionContext } from "../context.ts"
import { UpdateError } from "../iana.ts"
import type { OctetWriter } from "../octet-writer.ts"
import { Severity, type Aggregator, type AsPath, type OpaqueAttribute, type PathAttributes } from "../path-attributes.ts"

/** `PathAttributes` while they are read, and what is merged into them at the end. */
export interface Draft {
  origin: number
  asPath: AsPath
  nextHop?: string
  linkLocalNextHop?: string
  med?: number
  localPref?: number
  atomicAggregate: boolean
  aggregator?: Aggregator
  communities: ReadonlyArray<number>
  extendedCommunities: ReadonlyArray<bigint>
  largeCommunities: ReadonlyArray<bigint>
  originatorId?: number
  clusterList: ReadonlyArray<number>
  pmsiTunnel?: NonNullable<PathAttributes["pmsiTunnel"]>
  unknown: Array<OpaqueAttribute>
  as4Path?: AsPath
  as4Aggregator?: Aggregator
}

/** Something is wrong with a value: how it is treated (RFC 7606), and why. */
export interface Complaint {
  readonly severity: number
  readonly reason: string
  /** `UpdateError`, should the session be reset for it. */
  readonly subcode: number
}

export interface AttributeRow {
  readonly type: number
  /** Optional and transitive, as they must be (RFC 7606 3 c). */
  readonly flags: number
  /** The value may be empty (RFC 7606 4). */
  readonly mayBeEmpty?: true
  /** What an empty value leads to; `withdraw` if absent. */
  readonly severity?: (context: SessionContext) => number
  /** What flags in conflict with the type lead to, where that is not `withdraw` (RFC 7606 3 c). */
  readonly flagsSeverity?: number
  /** Reads the value, which is `flags` and the octets from `at` to `end`, into `draft`. Values hold no views. */
  decode(draft: Draft, value: AttributeValue, context: SessionContext): Complaint | undefined
  /** Writes the value and returns true, or false where there is none. */
  encode(attributes: PathAttributes, context: SessionContext, out: OctetWriter): boolean
}

export interface AttributeValue {
  readonly bytes: Uint8Array
  readonly flags: number
  readonly at: number
  readonly end: number
}

export const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
export const u32 = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0

export const dottedQuad = (b: Uint8Array, at: number): string => `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`

/** The octets of a dotted quad that is known to be one. */
export const quadOctets = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number)

export const complain = (severity: number, reason: string, subcode: number = UpdateError.optionalAttributeError): Complaint =>
  ({ severity, reason, subcode })

/** A wrong length: RFC 7606 asks for a withdrawal but where a row says otherwise. */
export const badLength = (name: string, { at, end }: AttributeValue, severity: number = Severity.withdraw): Complaint =>
  complain(severity, `${name} has ${end - at} octets`, UpdateError.attributeLengthError)
