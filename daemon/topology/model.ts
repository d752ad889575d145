/**
 * A topology as the compiler reads it: groups and defaults merged, every name checked, every port named, shorthand
 * expanded. Values are still what the person wrote (no address is handed out here), and each knows where it was written.
 */
import type { RawTerm } from "./bgp-policy-schema.ts"
import type { RawBfdPeer } from "./bfd-schema.ts"
import type { RawBgpOfPort, RawNeighbor, RawRouteBfd, RawSession } from "./bgp-schema.ts"
import type { PublishedPort } from "./container-words.ts"
import type { Locate, Path } from "./diagnostic.ts"
import type { Hook, RuleWords } from "./firewall-words.ts"
import type { RawProfile } from "./link-schema.ts"
import type { Datapath, Encapsulation, GeneveOption } from "./transport-schema.ts"

/** A value and the path in the file it was written at: a node's MTU may come from its group or from `defaults`. */
export interface Located<T> {
  readonly value: T
  readonly path: Path
}

export interface Topology {
  readonly filename: string
  readonly lab: string
  /** Segments may have overlapping prefixes and addresses may repeat. */
  readonly overlap: boolean
  /** How frames cross from host to host. */
  readonly transport: {
    readonly encapsulation?: Located<Encapsulation>
    readonly port?: Located<number>
    readonly geneveOptions?: Located<ReadonlyArray<GeneveOption>>
    readonly datapath?: Located<Datapath>
  }
  /** In document order. */
  readonly nodes: ReadonlyMap<string, Node>
  /** Networks, then links, in document order. */
  readonly segments: ReadonlyArray<Segment>
  /** Files that came with it, by the names that it uses for them. */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly unread: ReadonlyMap<string, string>
  readonly locate: Locate
}

export type NodeKind = "host" | "router" | "container"

export interface Healthcheck {
  readonly test: ReadonlyArray<string>
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly retries: number
  readonly startPeriodMs: number
}

/** What a node of kind container runs. */
export interface Container {
  readonly image: Located<string>
  readonly cmd?: ReadonlyArray<string>
  readonly entrypoint?: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  /** `HOST-PATH:CONTAINER-PATH[:ro|rw]` */
  readonly binds: ReadonlyArray<string>
  /** `mode` in four octal digits. */
  readonly files: ReadonlyMap<string, { readonly content: string; readonly mode: string }>
  readonly user?: string
  readonly capAdd: ReadonlyArray<string>
  readonly cpu?: number
  /** Octets. */
  readonly memory?: number
  readonly healthcheck?: Healthcheck | "none"
  readonly waitFor?: "healthy"
  readonly published: ReadonlyArray<Located<PublishedPort>>
  /** The file says whether it forwards packets. */
  readonly roleGiven: boolean
}

export interface Node {
  readonly name: string
  readonly kind: NodeKind
  /** Whether it forwards packets: a router does, a host does not, a container as its `role` says. */
  readonly role: "host" | "router"
  /** Of kind container, and only there. */
  readonly container?: Container
  readonly group?: string
  /** The host that must have it: by the node itself, its group, or the network of its first port. */
  readonly host?: Located<string>
  readonly labels: Readonly<Record<string, string>>
  readonly mtu?: Located<number>
  readonly sysctls: ReadonlyMap<string, Located<string>>
  /** Program and arguments each. */
  readonly exec: ReadonlyArray<Located<ReadonlyArray<string>>>
  readonly dns?: Located<{ readonly servers: ReadonlyArray<string>; readonly search: ReadonlyArray<string> }>
  /** Absent: the segment decides. */
  readonly gateway?: Gateway
  readonly loopback: ReadonlyArray<Located<string>>
  /** On the loopback interface, too, but other nodes may have them as well; nobody finds the node by these. */
  readonly anycast: ReadonlyArray<Located<string>>
  readonly routes: ReadonlyArray<Located<Route>>
  readonly rules: ReadonlyArray<Located<Rule>>
  readonly nat: Nat
  /** Absent: everything passes. */
  readonly firewall?: Firewall
  /** Whom the node watches besides, in `bfd`. */
  readonly bfdPeers?: ReadonlyArray<Located<string | RawBfdPeer>>
  /** Absent: the node speaks no BGP. */
  readonly bgp?: Bgp
  /** In the order of attachment: networks, then links. */
  readonly ports: ReadonlyArray<Port>
  readonly path: Path
}

/** `none`, or addresses and node names. */
export type Gateway = ReadonlyArray<Located<string>> | "none"

export interface Port {
  readonly node: string
  readonly ifname: string
  readonly segment: Segment
  readonly mac?: Located<string>
  readonly mtu?: Located<number>
  /** Absent: handed out. Empty: the port has none. */
  readonly addresses?: ReadonlyArray<Located<string>>
  /** What is said of BGP sessions by this port, from two places. */
  readonly bgp?: ReadonlyArray<Located<RawBgpOfPort>>
  /** Where the port is attached to its segment. */
  readonly path: Path
}

export interface Segment {
  readonly kind: "p2p" | "network"
  readonly name: string
  readonly cidrs: ReadonlyArray<Located<string>>
  /** In document order. */
  readonly ports: ReadonlyArray<Port>
  readonly gateway?: Gateway
  readonly mtu?: Located<number>
  readonly ageingS: number
  /** Of a network: where nodes go whose first port is on it. */
  readonly host?: Located<string>
  readonly datapath?: Located<Datapath>
  /** Of a link: what its wire does to packets, as written. */
  readonly profile?: Located<RawProfile>
  /** What is said of BGP sessions across it. */
  readonly bgp?: Located<RawBgpOfPort>
  readonly labels: Readonly<Record<string, string>>
  readonly path: Path
}

export interface Way {
  /** Address, NODE or NODE:PORT; absent when the destination is on the link of `dev`. */
  readonly to?: string
  readonly dev?: string
  readonly weight: number
  /** Absent: not watched. */
  readonly bfd?: Located<RawRouteBfd>
  readonly path: Path
}

export interface Route {
  /** `default` or prefixes, as written. */
  readonly to: ReadonlyArray<Located<string>>
  readonly type: "unicast" | "blackhole" | "unreachable" | "prohibit"
  /** Empty exactly when `type` discards. */
  readonly ways: ReadonlyArray<Way>
  readonly metric?: number
  readonly table: number
}

export interface Rule {
  readonly from?: string
  readonly to?: string
  readonly iif?: string
  readonly oif?: string
  readonly fwmark?: number
  readonly table: number
  readonly priority?: number
}

export interface Nat {
  readonly masquerade: ReadonlyArray<
    Located<{ readonly out: string; readonly from: ReadonlyArray<string>; readonly except: ReadonlyArray<string> }>
  >
  readonly oneToOne: ReadonlyArray<Located<{ readonly public: string; readonly private: string; readonly on?: string }>>
  readonly portForward: ReadonlyArray<
    Located<{
      readonly on?: string
      readonly address?: string
      readonly protocol: "tcp" | "udp"
      readonly port: number
      /** `ADDRESS`, `NODE`, either with a port behind a colon. */
      readonly to: string
    }>
  >
  readonly mssClamp: ReadonlyArray<Located<{ readonly out?: string; readonly mss: number | "pmtu" }>>
}

/** A rule of a firewall; names are as written. */
export interface FirewallRule extends RuleWords {
  readonly action: "accept" | "drop" | "reject"
  readonly name?: string
  /** Where parts stand that are keys of their own. */
  readonly paths: Readonly<Record<string, Path>>
}

export interface Firewall extends Partial<Readonly<Record<Hook, Located<FirewallRule["action"]>>>> {
  readonly stateful?: boolean
  readonly connections?: number
  /** The most general first. */
  readonly rules: ReadonlyArray<Located<FirewallRule>>
  readonly path: Path
}

/** Settings of sessions from one place in the file. */
export interface SessionLayer {
  readonly raw: RawSession
  readonly path: Path
}

/** What one routing table originates. */
export interface BgpTable {
  readonly networks: ReadonlyArray<Located<{ readonly prefix: string; readonly policy?: string }>>
  readonly aggregates: ReadonlyArray<
    Located<{ readonly prefix: string; readonly "summary-only"?: boolean; readonly "as-set"?: boolean; readonly policy?: string }>
  >
  readonly redistribute: ReadonlyArray<Located<{ readonly source: "connected" | "static"; readonly policy?: string }>>
}

export interface BgpVrf extends BgpTable {
  readonly interfaces: ReadonlyArray<Located<string>>
  readonly table?: Located<number>
  readonly importTargets: ReadonlyArray<string>
  readonly exportTargets: ReadonlyArray<string>
  readonly path: Path
}

export interface Bgp extends BgpTable {
  readonly as: Located<number>
  readonly routerId?: Located<string>
  readonly clusterId?: Located<string>
  /** Something else speaks BGP in the node. */
  readonly external: boolean
  readonly derive: boolean
  readonly ibgp: "links" | "mesh" | "none"
  readonly reflectors: ReadonlyArray<Located<string>>
  readonly clients: ReadonlyArray<Located<string>>
  /** The most general first. */
  readonly sessions: ReadonlyArray<SessionLayer>
  readonly neighbors: ReadonlyArray<Located<RawNeighbor>>
  readonly vrfs: ReadonlyMap<string, BgpVrf>
  readonly policies: ReadonlyMap<string, Located<ReadonlyArray<Located<RawTerm>>>>
  readonly prefixLists: ReadonlyMap<string, Located<ReadonlyArray<string>>>
  readonly multipath: { readonly ebgp: number; readonly ibgp: number; readonly asPathRelax: boolean }
  readonly alwaysCompareMed: boolean
  readonly missingMedIsWorst: boolean
  readonly ignoreAsPath: boolean
  readonly compareRouterId: boolean
  readonly gracefulShutdown: boolean
  /** Absent: none. */
  readonly updateDelayS?: number
  readonly path: Path
}
