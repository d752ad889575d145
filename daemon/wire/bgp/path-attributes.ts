/**
 * The path attributes of a route, decoded, and what can be wrong with them (RFC 4271 5, RFC 7606).
 *
 * Types only: `attributes.ts` decodes and encodes. Values are immutable and hold no views into a message.
 */
import type { BgpError } from "./error.ts"

export interface AsPathSegment {
  /** `SegmentType` of `iana.ts`. */
  readonly type: number
  /** 1..255 AS numbers, the nearest first. */
  readonly asns: ReadonlyArray<number>
}

export type AsPath = ReadonlyArray<AsPathSegment>

export interface Aggregator {
  readonly asn: number
  /** Dotted quad. */
  readonly address: string
}

/** RFC 6514 5; with VXLAN (RFC 8365 5.1.3) `label` is the VNI. */
export interface PmsiTunnel {
  readonly flags: number
  /** 6: ingress replication. */
  readonly tunnelType: number
  /** 24 bits, as they are on the wire. */
  readonly label: number
  /** Ingress replication: 4 or 16 octets of the tunnel's end point. */
  readonly tunnelIdentifier: Uint8Array
}

/** An attribute that weft does not look into. It travels on untouched, with the Partial bit (RFC 4271 5). */
export interface OpaqueAttribute {
  /** `AttributeFlag`s: optional, transitive, perhaps partial; never extendedLength, which the encoder decides. */
  readonly flags: number
  readonly type: number
  readonly value: Uint8Array
}

export interface PathAttributes {
  /** `Origin` of `iana.ts`. */
  readonly origin: number
  /** Empty for a route of the own AS. Four-octet numbers whatever the session: AS4_PATH is merged already (RFC 6793 4.2.3). */
  readonly asPath: AsPath
  /** Canonical text. Absent where the family has none, or before the speaker has chosen one. */
  readonly nextHop?: string
  /** The link-local address that came with a global one (RFC 2545 3). */
  readonly linkLocalNextHop?: string
  readonly med?: number
  readonly localPref?: number
  readonly atomicAggregate: boolean
  readonly aggregator?: Aggregator
  /** RFC 1997: 32 bits each, in the order received, duplicates removed. `communities.ts` has the text. */
  readonly communities: ReadonlyArray<number>
  /** RFC 4360: 64 bits each. */
  readonly extendedCommunities: ReadonlyArray<bigint>
  /** RFC 8092: 96 bits each, the global administrator highest. */
  readonly largeCommunities: ReadonlyArray<bigint>
  /** 32 bits. */
  readonly originatorId?: number
  /** 32 bits each, the nearest reflector first. */
  readonly clusterList: ReadonlyArray<number>
  readonly pmsiTunnel?: PmsiTunnel
  /** Ordered by type. */
  readonly unknown: ReadonlyArray<OpaqueAttribute>
}

/** How a fault is treated (RFC 7606 2), the stronger the greater. */
export const Severity = { none: 0, discard: 1, withdraw: 2, reset: 3 } as const

export interface AttributeFault {
  /** `Severity.discard` and above. */
  readonly severity: number
  /** Attribute type; 0: the list of attributes itself. */
  readonly type: number
  /** One line without a period: `AS_PATH has a segment of type 7`. */
  readonly reason: string
  /** What a NOTIFICATION says if the session is reset for it. */
  readonly error: BgpError
}

export interface DecodedAttributes {
  readonly attributes: PathAttributes
  /** Strongest first. */
  readonly faults: ReadonlyArray<AttributeFault>
  /** That of `faults[0]`; `Severity.none` without faults. `withdraw`: all NLRI of the UPDATE count as withdrawn. */
  readonly severity: number
}
