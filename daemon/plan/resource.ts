/**
 * The words that the compiler, the diff and the resource handlers share.
 *
 * A topology compiles to a `Plan`: a flat list of resources. Each resource is one kernel object (or one file, or one
 * command to run once) with a stable id, a spec of plain values and the ids of what must exist before it. A plan
 * contains no clock, no random number and no kernel handle, so the same topology always yields the same plan.
 *
 * To add a kind: add its spec here, one file in `daemon/resources/`, and one line in `daemon/resources/table.ts`.
 */
import type { BfdTimers, BgpSpec } from "./bgp.ts"
import type { FilterSpec } from "./filter.ts"
import type { LinkProfiles } from "./link-profile.ts"

/** What becomes of a node: one network namespace. A `router` forwards packets, a `host` does not; a container is either. */
export interface NodeSpec {
  readonly node: string
  readonly nodeKind: "host" | "router"
  /** Every sysctl that weft sets in the namespace, path with dots (`net.ipv4.ip_forward`), ours and the user's merged. */
  readonly sysctls: Readonly<Record<string, string>>
  /** Its processes and its BFD sessions stand still; the kernel goes on. Processes that come later run. */
  readonly paused?: true
  /** Only observed. */
  readonly loopback?: "down"
}

/** One interface of a node: a veth pair, node side in the node's namespace, host side in the fabric. */
export interface PortSpec {
  readonly node: string
  /** Name inside the node, at most 15 octets. */
  readonly ifname: string
  /** Lower case, colons: `02:5a:...`. */
  readonly mac: string
  /** Octets of the layer 3 packet, as `ip link` counts it. */
  readonly mtu: number
  /** Name of the host side in the fabric namespace, derived, at most 15 octets, unique in the daemon. */
  readonly fabricName: string
  /** Wanted: `up`. Observed: `up`, or what is wrong: `down`, `without its eBPF program`, ... */
  readonly state: string
  /** Absent: it has one, if its other end has. Without, the interface is up and knows that nobody is there. */
  readonly carrier?: "lost"
}

/** What faults do to the frames of one port of a segment. */
export interface Gate {
  /** Nothing that the node sends passes. */
  readonly mute?: true
  /** Nothing is handed to the node. */
  readonly deaf?: true
  /** Longer packets do not pass, in either direction, and nobody is told: octets from the IP header on. */
  readonly mtu?: number
}

/** How frames of a segment cross the underlay, as the topology says it. Absent: VXLAN on its usual port, `auto`. */
export interface Transport {
  readonly encapsulation: "vxlan" | "geneve" | "gre"
  /** UDP destination port, the same on all hosts; without meaning for GRE. */
  readonly port: number
  /** Who encapsulates: the kernel's VXLAN device and our eBPF program, or the engine; `auto`: the kernel if it can. */
  readonly datapath: "auto" | "kernel" | "engine"
  /** Of Geneve (RFC 8926 3.5): as they stand in its header, in hexadecimal. */
  readonly options?: string
}

/** How a segment on this host reaches its ports on other hosts. */
export interface TunnelSpec extends Transport {
  /** Underlay addresses of the other hosts that have ports of the segment: canonical text, sorted, each once. */
  readonly vteps: ReadonlyArray<string>
}

/** One broadcast domain: what a link (`p2p`) or a network (`network`) becomes. */
export interface SegmentSpec {
  readonly segmentKind: "p2p" | "network"
  /** Name of the link or network in the topology. */
  readonly name: string
  /** 24 bits; derived from lab and name, moved by the store when two labs collide. */
  readonly vni: number
  /** `node:ifname` of each port; exactly two for `p2p`. Order has no meaning to the data path. */
  readonly ports: ReadonlyArray<string>
  /** How long a learnt MAC address is believed, in seconds. */
  readonly ageingS: number
  /** Of a link that is not a plain wire: its ports in the order by which `profiles` names them a and b. */
  readonly endpoints?: readonly [a: string, b: string]
  readonly profiles?: LinkProfiles
  /** By `node:ifname`; ports without one are open. */
  readonly gates?: Readonly<Record<string, Gate>>
  /** Only in the plan of a whole lab; the part of one host has `tunnel` instead, where the segment spans hosts. */
  readonly transport?: Transport
  /**
   * Only in the part of one host (`part.ts`): `ports` are then those on this host (one of a link), and `profiles` hold
   * what this host has to do: the direction that leaves it.
   */
  readonly tunnel?: TunnelSpec
}

/** One address on one interface (`lo` allowed). */
export interface AddressSpec {
  readonly node: string
  readonly ifname: string
  /** Canonical text with prefix length: `10.0.0.1/24`, `2001:db8::1/64`. */
  readonly address: string
}

/** One way out of a node: by gateway, by interface, or both. */
export interface NexthopMember {
  /** Absent when the destination is on the link. */
  readonly gateway?: string
  /** Only without a gateway, and only where it is not IPv4. */
  readonly family?: "ipv6"
  readonly ifname: string
  /** 1..256 */
  readonly weight: number
  /** Watch the gateway by BFD: while it is down, the group does without this member. The kernel does not know of it. */
  readonly bfd?: BfdTimers
}

/** A nexthop group (RTM_NEWNEXTHOP): changing its members changes every route that uses it at once. */
export interface NexthopSpec {
  readonly node: string
  /** Kernel id of the group, unique in the node, stable while its routes are the same. 1..2^31-1 */
  readonly id: number
  readonly members: ReadonlyArray<NexthopMember>
}

/** One static route. Exactly one of: `via` (one way out), `nexthop` (id of a group), or a discarding `type`. */
export interface RouteSpec {
  readonly node: string
  /** Canonical prefix: `0.0.0.0/0`, `2001:db8::/32`. */
  readonly to: string
  readonly table: number
  /** Lower wins; 0 for IPv4 unless given, 1024 for IPv6 unless given (the kernel's own defaults). */
  readonly metric: number
  readonly type: "unicast" | "blackhole" | "unreachable" | "prohibit"
  /** Only observed: somebody made it with ip(8). */
  readonly byHand?: true
  /** `bfd`: watch the gateway; while it is down, the route is not in the kernel. */
  readonly via?: { readonly gateway?: string; readonly ifname: string; readonly bfd?: BfdTimers }
  readonly nexthop?: number
}

/** One end of a BFD session (RFC 5880). */
export interface BfdSpec extends BfdTimers {
  readonly node: string
  readonly peer: string
  /** Of a session that is one hop long. */
  readonly ifname?: string
  readonly local?: string
  readonly multihop: boolean
  /** Wanted: `running`. Observed: `running`, or what is wrong. */
  readonly state: string
}

/** One policy routing rule (`ip rule`). */
export interface RuleSpec {
  readonly node: string
  readonly family: "ipv4" | "ipv6"
  readonly priority: number
  readonly from?: string
  readonly to?: string
  readonly iif?: string
  readonly oif?: string
  readonly fwmark?: number
  readonly table: number
  /** Only observed: somebody made it with ip(8). `action`: FR_ACT_*, where it does not look up a table. */
  readonly byHand?: { readonly protocol: number; readonly action?: number }
}

/** All of a node's NAT and MSS clamping: one nftables table named `weft` in the node. */
export interface NatSpec {
  readonly node: string
  /** Source NAT to the address of the interface that the packet leaves by. */
  readonly masquerade: ReadonlyArray<{
    readonly out: string
    readonly from?: string
    readonly exceptTo: ReadonlyArray<string>
    /** Ports to use for TCP and UDP: `40000-40003`. Absent: the same as inside, or any that is free. */
    readonly ports?: string
  }>
  /** Public address <-> private address, both directions, all ports. */
  readonly oneToOne: ReadonlyArray<{ readonly public: string; readonly private: string; readonly on?: string }>
  /** Destination NAT of one port. `address` absent: any address of the node. */
  readonly portForward: ReadonlyArray<{
    readonly on?: string
    readonly address?: string
    readonly protocol: "tcp" | "udp"
    readonly port: number
    readonly to: string
    readonly toPort: number
  }>
  /** TCP maximum segment size of forwarded SYNs: a number of octets, or what the path MTU allows. */
  readonly mssClamp: ReadonlyArray<{ readonly out?: string; readonly mss: number | "pmtu" }>
}

/** `/etc/hosts` of every node in the lab: one file per lab. */
export interface HostsFileSpec {
  readonly entries: ReadonlyArray<{ readonly address: string; readonly names: ReadonlyArray<string> }>
}

/** `/etc/resolv.conf` of one node. */
export interface ResolverSpec {
  readonly node: string
  readonly servers: ReadonlyArray<string>
  readonly search: ReadonlyArray<string>
}

/** A command run once in a node when everything else of that node is ready; run again when it changes or the node is remade. */
export interface ExecSpec {
  readonly node: string
  /** Position in the node's list: commands of one node run in order. */
  readonly index: number
  /** Program and arguments: never a shell. */
  readonly argv: ReadonlyArray<string>
}

export interface HealthcheckSpec {
  /** Program and arguments, run in the container; exit code 0 means healthy. */
  readonly test: ReadonlyArray<string>
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly retries: number
  readonly startPeriodMs: number
}

/** What runs in the namespace of a node of kind container, made when everything else of the node is there. */
export interface ContainerSpec {
  readonly node: string
  readonly image: string
  /** Absent: the image's own; so, too, `entrypoint`, `user` and `healthcheck`. */
  readonly cmd?: ReadonlyArray<string>
  readonly entrypoint?: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  /** `HOST-PATH:CONTAINER-PATH[:ro|rw]` */
  readonly binds: ReadonlyArray<string>
  /** By path in the container; `mode` in octal digits: `0644`. */
  readonly files: Readonly<Record<string, { readonly content: string; readonly mode: string }>>
  readonly user?: string
  /** Without the prefix CAP_, besides those that every container node has. */
  readonly capAdd: ReadonlyArray<string>
  /** Absent: no limit, for `memory` (octets), too. */
  readonly cpu?: number
  readonly memory?: number
  readonly healthcheck?: HealthcheckSpec | "none"
  readonly waitFor?: "healthy"
  /** Wanted: `running` or `paused`. Observed: the same, or what is wrong: `exited with code 137`, ... */
  readonly state: string
}

/** A port of a container that the machine it runs on offers: weftd listens there and passes on. */
export interface PublishSpec {
  readonly node: string
  readonly protocol: "tcp" | "udp"
  /** Address of the machine; empty: all. */
  readonly address: string
  readonly hostPort: number
  readonly port: number
  /** The node's own addresses, without prefix length: tried in order where nobody listens on its loopback. */
  readonly targets: ReadonlyArray<string>
}

export interface SpecByKind {
  readonly node: NodeSpec
  readonly port: PortSpec
  readonly segment: SegmentSpec
  readonly address: AddressSpec
  readonly nexthop: NexthopSpec
  readonly route: RouteSpec
  readonly rule: RuleSpec
  readonly nat: NatSpec
  readonly filter: FilterSpec
  readonly bgp: BgpSpec
  readonly bfd: BfdSpec
  readonly "hosts-file": HostsFileSpec
  readonly resolver: ResolverSpec
  readonly container: ContainerSpec
  readonly publish: PublishSpec
  readonly exec: ExecSpec
}

export type Kind = keyof SpecByKind

/** What the kernel cannot tell us later: kept with the lab, by resource id. */
export type Remembered =
  /** A command that has run, the inode of the namespace in which it ran, and the id of the container if it was in one. */
  | { readonly kind: "exec"; readonly argv: ReadonlyArray<string>; readonly inode: number; readonly container?: string }
  /** Processes that were stopped, each with when it was started (clock ticks since boot), in the namespace with this inode. */
  | { readonly kind: "pause"; readonly inode: number; readonly stopped: ReadonlyArray<readonly [pid: number, startedAt: string]> }
  /** A rule set that was applied, and the digest of how nft lists it. */
  | { readonly kind: "nat"; readonly spec: NatSpec; readonly listing: string }
  | { readonly kind: "filter"; readonly spec: FilterSpec; readonly listing: string }

/** Where in the topology file a resource comes from; lines and columns count from 1. */
export interface Source {
  readonly line: number
  readonly column: number
}

export type ResourceOf<K extends Kind> = {
  readonly kind: K
  /** Stable, unique in the lab, readable: see `id` below. */
  readonly id: string
  readonly spec: SpecByKind[K]
  /** Ids of resources that must exist first. */
  readonly dependsOn: ReadonlyArray<string>
  readonly source?: Source
}

export type Resource = { readonly [K in Kind]: ResourceOf<K> }[Kind]

/** What people see of a node beyond its resources: never reconciled, shown by `inspect` and `graph`. */
export interface NodeInfo {
  readonly name: string
  readonly kind: "host" | "router" | "container"
  readonly group?: string
  /** The host that has the node: as the topology asks, and after placement as it is. Absent: any, or the only one. */
  readonly host?: string
  /** Where the topology asks for `host`; absent when placement chose it. */
  readonly pinned?: Source & { readonly path: string }
  readonly labels: Readonly<Record<string, string>>
}

/** What people see of a link or network. */
export interface SegmentInfo {
  readonly name: string
  readonly kind: "p2p" | "network"
  /** `node:ifname` */
  readonly ports: ReadonlyArray<string>
  readonly cidrs: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
}

export interface Plan {
  readonly lab: string
  readonly nodes: ReadonlyArray<NodeInfo>
  readonly segments: ReadonlyArray<SegmentInfo>
  readonly resources: ReadonlyArray<Resource>
}

/** The id of each kind of resource: the only place that spells them. */
export const id = {
  node: (node: string): string => `node/${node}`,
  port: (node: string, ifname: string): string => `port/${node}:${ifname}`,
  link: (name: string): string => `segment/link/${name}`,
  network: (name: string): string => `segment/network/${name}`,
  address: (node: string, ifname: string, address: string): string => `address/${node}:${ifname}/${address}`,
  nexthop: (node: string, group: number): string => `nexthop/${node}/${group}`,
  route: (node: string, table: number, to: string, metric: number): string => `route/${node}/${table}/${to}/${metric}`,
  rule: (node: string, family: "ipv4" | "ipv6", priority: number): string => `rule/${node}/${family}/${priority}`,
  nat: (node: string): string => `nat/${node}`,
  filter: (node: string): string => `filter/${node}`,
  bgp: (node: string): string => `bgp/${node}`,
  bfd: (node: string, peer: string, ifname?: string): string => `bfd/${node}/${peer}${/^fe[89ab]/i.test(peer) ? `%${ifname}` : ""}`,
  hostsFile: (): string => "hosts-file",
  resolver: (node: string): string => `resolver/${node}`,
  container: (node: string): string => `container/${node}`,
  publish: (node: string, spec: { readonly address: string; readonly hostPort: number; readonly protocol: string }): string =>
    `publish/${node}/${spec.address === "" ? "*" : spec.address}/${spec.hostPort}/${spec.protocol}`,
  exec: (node: string, index: number): string => `exec/${node}/${index}`
} as const
