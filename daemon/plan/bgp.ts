/**
 * What the topology says of a BGP speaker, compiled: every name resolved, every default filled in, plain values only.
 *
 * One `BgpSpec` per node that has `bgp`. The compiler makes it; `daemon/bgp/` runs it in the daemon's routing thread;
 * `daemon/resources/bgp.ts` compares it with what runs. Addresses and prefixes are canonical text.
 */

/** The address families that a speaker exchanges: unicast only; EVPN is spoken between daemons. */
export type Family = "ipv4" | "ipv6"

/** `deny` or `permit` what an entry matches; `ge` and `le` bound the prefix length, as in a router's prefix list. */
export interface PrefixListEntry {
  readonly action: "permit" | "deny"
  readonly prefix: string
  readonly ge?: number
  readonly le?: number
}

/** What a term looks at; all that are given must match. An empty match matches every route. */
export interface PolicyMatch {
  /** Any of these lists permits the prefix. */
  readonly prefixLists?: ReadonlyArray<string>
  /** A regular expression over the AS path in text, `_` as routers have it. */
  readonly asPath?: string
  /** Each must be there: `65000:1`, `no-export`, `65000:1:2` (large), `rt:65000:1`, `soo:65000:1` (extended), `/EXPRESSION/`. */
  readonly communities?: ReadonlyArray<string>
  /** One of these is there, at least. */
  readonly anyCommunity?: ReadonlyArray<string>
  /** These are there and, of their sorts, no others; empty: there are none at all. */
  readonly exactCommunities?: ReadonlyArray<string>
  readonly nextHop?: ReadonlyArray<string>
  readonly med?: number
  readonly localPref?: number
  readonly origin?: "igp" | "egp" | "incomplete"
  readonly family?: Family
  /** Where the route comes from. */
  readonly source?: "bgp" | "connected" | "static" | "aggregate" | "network" | "table"
}

/** What a term changes, before it permits. */
export interface PolicySet {
  /** A number, or a change of what is there: `+10`, `-10`. */
  readonly localPref?: number | string
  readonly med?: number | string
  readonly weight?: number
  readonly origin?: "igp" | "egp" | "incomplete"
  /** ASNs to put in front, the first is the leftmost. */
  readonly prepend?: ReadonlyArray<number>
  /** How often the leftmost AS of the path is to be put in front once more. */
  readonly prependLast?: number
  /** ASNs that leave the path. */
  readonly excludeAs?: ReadonlyArray<number> | "all"
  /** In place of these ASNs in the path stands another. */
  readonly replaceAs?: { readonly from: ReadonlyArray<number> | "all"; readonly to: number }
  /** An address, `self`, `peer` or `unchanged`. */
  readonly nextHop?: string
  /** Replaces all of the same sorts. */
  readonly communities?: ReadonlyArray<string>
  readonly addCommunities?: ReadonlyArray<string>
  /** Communities, patterns with `*` in place of a number, or `/EXPRESSION/`. */
  readonly removeCommunities?: ReadonlyArray<string>
}

/** One numbered step of a policy, as one entry of a route-map: the first that matches decides, unless it says `continue`. */
export interface PolicyTerm {
  readonly action: "permit" | "deny"
  readonly match: PolicyMatch
  readonly set: PolicySet
  /** Go on with the next term after this one's `set`. */
  readonly continue?: boolean
}

/** Terms in order; what none matches is denied. */
export type PolicySpec = ReadonlyArray<PolicyTerm>

export interface BgpTimers {
  /** 0 (no keepalives), or 3..65535. */
  readonly holdTimeS: number
  /** A neighbour that wants less, or none at all, is refused. */
  readonly minimumHoldS?: number
  readonly keepaliveS: number
  readonly connectRetryS: number
  /** Minimum route advertisement interval; 0: at once. */
  readonly mraiMs: number
}

/** Who is at the other end: an address, an interface (unnumbered), or anybody from a prefix (dynamic). */
export type BgpRemote =
  | { readonly kind: "address"; readonly address: string; readonly ifname?: string }
  | { readonly kind: "interface"; readonly ifname: string }
  | { readonly kind: "prefix"; readonly prefix: string; readonly limit: number }

export interface BgpMaxPrefix {
  readonly count: number
  /** What happens above: the session ends, it is said, or what is beyond is not taken. */
  readonly action: "reset" | "warn" | "discard"
  /** Above so many percent of `count` it is said. */
  readonly thresholdPercent?: number
  readonly restartS?: number
}

export interface BgpFamilySpec {
  readonly family: Family
  /** Names of policies, applied in order; absent: everything passes. */
  readonly importPolicy?: string
  readonly exportPolicy?: string
  readonly maxPrefix?: BgpMaxPrefix
  readonly defaultOriginate?: boolean
  /** What is changed of the default route that is originated, or refuses it. */
  readonly defaultPolicy?: string
  /** The default route is announced while there is a route to one of these prefixes; absent: always. */
  readonly defaultWhen?: ReadonlyArray<string>
  readonly nextHopSelf?: boolean
  readonly addPath?: { readonly receive: boolean; /** Paths per prefix, best first; 0: none. */ readonly send: number }
}

export interface BfdTimers {
  readonly minTxMs: number
  readonly minRxMs: number
  readonly multiplier: number
}

export interface BgpNeighborSpec {
  /** Stable in the node and readable: the remote's address, interface or prefix. */
  readonly name: string
  readonly remote: BgpRemote
  /** The peer node's name, where the neighbour is one of the lab; else what the topology says of it. */
  readonly description?: string
  /** Both ends run weft's speaker and neither is shut down: a deploy waits until the session is established. */
  readonly expected?: boolean
  /** `external`: any AS but ours. */
  readonly remoteAs: number | "external" | "internal"
  /** Instead of the speaker's own, towards this neighbour. */
  readonly localAs?: { readonly asn: number; readonly prepend: boolean; /** Not in paths that come in. */ readonly onlyOut?: true }
  /** A node of the lab that says nothing itself until its neighbours have (`updateDelayS`): it is not waited for. */
  readonly isDelayed?: true
  /** The table that the session belongs to: a name in `vrfs`. */
  readonly vrf: string
  readonly families: ReadonlyArray<BgpFamilySpec>
  readonly timers: BgpTimers
  readonly passive: boolean
  readonly shutdown: boolean
  /** What the neighbour is told at shutdown (RFC 9003). */
  readonly shutdownMessage?: string
  readonly updateSource?: string
  /** TTL of what we send to an external neighbour; 1: directly connected. */
  readonly multihop: number
  /** Generalized TTL security (RFC 5082): how many hops away; excludes `multihop` above 1. */
  readonly ttlSecurity?: number
  /** TCP MD5 (RFC 2385). */
  readonly password?: string
  readonly routeReflectorClient: boolean
  readonly gracefulRestart: {
    readonly enabled: boolean
    readonly restartTimeS: number
    readonly longLivedStaleS: number
    /** Routes stay after a NOTIFICATION, too (RFC 8538): also those of a neighbour that has gone silent for good. */
    readonly notification: boolean
  }
  /** Own AS in the path, how often it is taken all the same. */
  readonly allowAsIn: number
  /** However often, if it is the origin of the path. */
  readonly allowOwnOrigin?: true
  /** An external neighbour's routes have its AS as the first of their path, or are refused (RFC 4271 6.3). */
  readonly enforceFirstAs?: true
  /** The other end is a speaker of weft's that takes no route with its AS, `remoteAs`, in the path: it need not be sent such. */
  readonly refusesOwnAs?: boolean
  readonly removePrivateAs: boolean
  /** Our AS takes the place of private ones that are removed. */
  readonly replacePrivateAs?: true
  readonly asOverride: boolean
  readonly sendCommunities: boolean
  readonly bfd?: BfdTimers & { readonly multihop: boolean }
}

export interface BgpAggregateSpec {
  readonly prefix: string
  readonly summaryOnly: boolean
  readonly asSet: boolean
  /** What is changed of it, or refuses it. */
  readonly policy?: string
}

/** A routing table of the speaker. The first of a `BgpSpec` has the name `default`. */
export interface BgpVrfSpec {
  readonly name: string
  /** Kernel routing table: 254 is main. */
  readonly table: number
  /** Interfaces whose connected routes and next hops belong to it; empty for `default`: all that no other has. */
  readonly ifnames: ReadonlyArray<string>
  /** Prefixes to originate, whether or not the table has them. */
  readonly networks: ReadonlyArray<{ readonly prefix: string; readonly policy?: string }>
  readonly aggregates: ReadonlyArray<BgpAggregateSpec>
  readonly redistribute: ReadonlyArray<{ readonly source: "connected" | "static"; readonly policy?: string }>
  /** Route targets, `65000:1`: what this table's routes bear, and which routes of the others it takes. */
  readonly exportTargets: ReadonlyArray<string>
  readonly importTargets: ReadonlyArray<string>
}

export interface BgpSpec {
  readonly node: string
  /** 1..4294967295 */
  readonly asn: number
  /** Dotted quad. */
  readonly routerId: string
  /** Cluster id as a reflector; absent: the router id. */
  readonly clusterId?: string
  readonly vrfs: ReadonlyArray<BgpVrfSpec>
  readonly neighbors: ReadonlyArray<BgpNeighborSpec>
  readonly policies: Readonly<Record<string, PolicySpec>>
  readonly prefixLists: Readonly<Record<string, ReadonlyArray<PrefixListEntry>>>
  /** How many equal paths go into the kernel. */
  readonly multipath: { readonly ebgp: number; readonly ibgp: number; readonly asPathRelax: boolean }
  readonly alwaysCompareMed: boolean
  /** A path without MED counts as if it had the highest, not the lowest. */
  readonly missingMedIsWorst?: true
  /** The length of AS paths does not count. */
  readonly ignoreAsPath?: true
  /** Of equal external paths the lower router id wins, not the path that is best already. */
  readonly compareRouterId?: true
  /** RFC 8326: announce everything with GRACEFUL_SHUTDOWN and least preference. */
  readonly gracefulShutdown: boolean
  /** After a start nothing is selected until all neighbours have told what they have, or so long at most. */
  readonly updateDelayS?: number
  /** Wanted: `running`, or `paused`: it says nothing and hears nothing. Observed: the same, or what is wrong. */
  readonly state: string
}
