/**
 * What the RIB needs from its neighbours and tells them: peers, sessions, policies, next hops, the FIB and the outbound side.
 *
 * All is injected, so that the RIB runs the same in the routing thread, in a test and in a bench. Nothing here is made per
 * route: prefixes travel as octets in a buffer that the caller may reuse, attributes as numbers of interned sets.
 */

import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { SessionContext } from "../../wire/bgp/context.ts"

/** Index of a family in everything here. */
export const FamilyIndex = { ipv4: 0, ipv6: 1 } as const
export type FamilyIndex = (typeof FamilyIndex)[keyof typeof FamilyIndex]

/** Where a path comes from; `peer` is learned by BGP, `table` is imported from another VRF. */
export const Source = { peer: 0, network: 1, connected: 2, static: 3, aggregate: 4, table: 5, default: 6 } as const
export type Source = (typeof Source)[keyof typeof Source]

/** What a policy is told besides prefix and attributes. */
export interface PolicyMeta {
  readonly family: FamilyIndex
  readonly source: Source
  /** The neighbour that the route came from (import) or goes to (export); absent for local sources. */
  readonly peer?: RibPeer
}

/** What a policy makes of a route: attributes and the weight, which stays in this speaker. */
export interface PolicyResult {
  readonly attributes: PathAttributes
  readonly weight?: number
  /** What the next hop was set to in words, for the outbound side: it knows the addresses. */
  readonly nextHop?: "self" | "peer" | "unchanged"
}

/**
 * One policy, or a chain of them. `usesPrefix` false promises that the result is the same for every prefix of a family
 * and source, so that it is evaluated once per attribute set.
 */
export interface RibPolicy {
  readonly usesPrefix: boolean
  /** The prefix's octets are `bytes[at..]`, as many as its length needs; undefined: denied. */
  apply(attributes: PathAttributes, meta: PolicyMeta, bytes: Uint8Array, at: number, length: number): PolicyResult | undefined
}

export interface RibPeerFamily {
  readonly importPolicy?: RibPolicy
  readonly exportPolicy?: RibPolicy
  readonly maxPrefix?: number
  /** Prefixes beyond `maxPrefix` are not taken. */
  readonly discardsExtra?: true
  /** Above so many it is said. */
  readonly nearMaxPrefix?: number
  readonly defaultOriginate: boolean
  readonly defaultPolicy?: RibPolicy
  /** The default route is originated while one of these has a best path; absent: always. */
  readonly defaultWhen?: ReadonlyArray<string>
  readonly nextHopSelf: boolean
  /** Paths per prefix to send, where the session has negotiated it; 0 or 1: the best only. */
  readonly addPathSend: number
}

/** A neighbour as the RIB sees it: what its configuration says. What the session has negotiated is `RibSession`. */
export interface RibPeer {
  readonly name: string
  /** In another AS (eBGP). */
  readonly isExternal: boolean
  readonly remoteAs: number
  /** The AS that we show to this neighbour, and whether the speaker's own follows it in paths (local-as). */
  readonly localAs: number
  readonly localAsPrepend: boolean
  /** It follows only on the way out: paths that come in get neither. */
  readonly localAsOnlyOut?: true
  readonly routeReflectorClient: boolean
  readonly allowAsIn: number
  /** Our AS may be in the path if it is the origin. */
  readonly allowOwnOrigin?: true
  /** The first AS of the path must be the neighbour's. */
  readonly enforceFirstAs?: true
  /** The neighbour takes no route with its AS in the path. */
  readonly refusesOwnAs?: boolean
  readonly removePrivateAs: boolean
  /** They are not left out, but ours stands in their place. */
  readonly replacePrivateAs?: true
  readonly asOverride: boolean
  readonly sendCommunities: boolean
  /** 0: at once. */
  readonly mraiMs: number
  /** By `FamilyIndex`; absent: the family is not spoken. */
  readonly families: readonly [ipv4: RibPeerFamily | undefined, ipv6: RibPeerFamily | undefined]
}

/** One Established session. */
export interface RibSession {
  readonly context: SessionContext
  /** Canonical text, with no zone. */
  readonly remoteAddress: string
  /** Unsigned 32 bits. */
  readonly remoteRouterId: number
  /** Next hop self, by family: IPv6 for IPv4 where RFC 8950 is negotiated and the session has no IPv4 address. */
  readonly nextHopSelf: readonly [ipv4: string | undefined, ipv6: string | undefined]
  /** Our link-local address, where the neighbour is on the link: second in an IPv6 next hop (RFC 2545 3). */
  readonly linkLocal?: string
  /** For link-local next hops and for third-party ones. */
  readonly ifname?: string
  /** A shared subnet, for third-party next hops (RFC 4271 5.1.3): whether `address` is on the link to this neighbour. */
  isOnLink?(address: string): boolean
  readonly outbound: Outbound
  /** The neighbour is more than one hop away: its next hops may be found by any route. */
  readonly isMultihop?: boolean
  /** The neighbour keeps long-lived stale routes, too (RFC 9494): it is sent such. */
  readonly longLived?: boolean
  /** Begin and end of a route refresh are marked (RFC 7313). */
  readonly enhancedRefresh?: boolean
}

/** Where packed messages go: the send queue of a session. */
export interface Outbound {
  /** Octets that it takes now; below one full message the RIB waits until `Rib.drained(peer)`. */
  space(): number
  /** Takes one whole message with its header; `bytes` is only valid during the call. */
  send(bytes: Uint8Array): void
}

/** Next-hop tracking, as the FIB implements it. Indexes are small numbers, stable as long as they are tracked. */
export interface NextHops {
  /** One more user of this next hop; `ifname` for link-local addresses. */
  track(address: string, ifname?: string, direct?: boolean): number
  release(index: number): void
  isReachable(index: number): boolean
  /** IGP metric; 0 for connected. */
  metric(index: number): number
  /**
   * One more user of the way that this table's own routes (connected, static) lead to a prefix: `10.0.0.0/24`, a canonical one. For
   * routes of this router that another table takes over.
   */
  trackRoute?(prefix: string): number
  /** Calls `listener` when reachability or metric of an index changed; returns how to stop. */
  onChange(listener: (index: number) => void): () => void
}

/** What is to be in the kernel. Octets as in `RibPolicy.apply`. The lists are only valid during the call. */
export interface FibSink {
  set(
    family: FamilyIndex,
    bytes: Uint8Array,
    at: number,
    length: number,
    winners: ReadonlyArray<number>,
    backup: ReadonlyArray<number>,
    kind?: 0 | 1 | 2
  ): void
  unset(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): void
  /** False: takes no more for now; the RIB goes on after `Rib.fibDrained()`. */
  hasSpace(): boolean
}

/** What may change while the RIB runs. */
export interface RibSetting {
  readonly clusterId: number
  readonly multipath: { readonly ebgp: number; readonly ibgp: number; readonly asPathRelax: boolean }
  readonly alwaysCompareMed: boolean
  readonly missingMedIsWorst?: true
  readonly ignoreAsPath?: true
  readonly compareRouterId?: true
  readonly gracefulShutdown: boolean
  /**
   * Route targets that the table's routes bear, as extended communities (RFC 4360 4). They take the place of those that neighbours sent,
   * before policies. Empty: routes bear what they came with.
   */
  readonly exportTargets?: ReadonlyArray<bigint>
}

export interface RibOptions extends RibSetting {
  readonly asn: number
  /** Unsigned 32 bits. */
  readonly routerId: number
  readonly nextHops: NextHops
  readonly fib: FibSink
  readonly events: RibEvents
}

export interface RibEvents {
  /** There is work again: call `Rib.run` from a fresh turn of the loop. */
  wanted(): void
  endOfRib?(peer: number, family: FamilyIndex): void
  maxPrefix?(peer: number, family: FamilyIndex, count: number): void
  nearMaxPrefix?(peer: number, family: FamilyIndex, count: number): void
  /** The best path of a prefix changed; only called when set, for `weft events`. */
  bestChanged?(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): void
}

/** One path as views show it. */
export interface PathView {
  readonly prefix: string
  readonly source: Source
  readonly peer: string | undefined
  readonly peerAddress: string | undefined
  readonly pathId: number
  readonly attributes: PathAttributes
  readonly weight: number
  readonly isBest: boolean
  readonly isMultipath: boolean
  readonly isBackup: boolean
  readonly isStale: boolean
  /** It takes part in the decision: the policy takes it, and its next hop can be reached. */
  readonly isEligible: boolean
  /** Milliseconds of the RIB's clock, when it was received. */
  readonly sinceMs: number
  /** Why it is best, or why not: `lost to 10.0.0.1 on AS-path length`. */
  readonly reason: string
}

export interface ViewPage {
  readonly paths: ReadonlyArray<PathView>
  /** Where to go on; -1: this was the last page. */
  readonly next: number
}
