/**
 * What a node lets in, through and out, compiled: one nftables table in the node's namespace (`daemon/resources/filter.ts`).
 * Every name is resolved; addresses are canonical prefixes.
 */

/** Where a packet is looked at: for the node itself, on its way through, from the node itself. */
export type Hook = "input" | "forward" | "output"

export const hooks: ReadonlyArray<Hook> = ["input", "forward", "output"]

/** `reject` says so to the sender: a TCP reset, or ICMP administratively prohibited. */
export type Verdict = "accept" | "drop" | "reject"

/** What `icmp/TYPE` may be; each stands for ICMP and ICMPv6. */
export const icmpTypes = ["echo-request", "echo-reply", "unreachable", "too-big", "time-exceeded", "redirect"] as const

export type IcmpType = (typeof icmpTypes)[number]

/** Protocols by name, with their numbers (IANA); `icmp` stands for ICMPv6 (58), too, but never for neighbour discovery. */
export const protocols: Readonly<Record<string, number>> = {
  icmp: 1, ipip: 4, tcp: 6, udp: 17, gre: 47, esp: 50, ah: 51, ospf: 89, vrrp: 112, sctp: 132
}

export interface Service {
  /** A key of `protocols`. */
  readonly protocol: string
  /** Destination ports, of tcp, udp and sctp: `443`, `8000-8100`. Absent: all. */
  readonly ports?: ReadonlyArray<string>
  /** `ports` are where the packet comes from: it is an answer of that service. */
  readonly answers?: true
  /** Of icmp. Absent: all. */
  readonly type?: IcmpType
}

export interface FilterRule {
  /** For people, counters and faults: its own name, or its text. */
  readonly name: string
  readonly hook: Hook
  readonly action: Verdict
  /** Any of these; empty: everything. */
  readonly services: ReadonlyArray<Service>
  /** Prefixes of both families; absent: any. An empty list matches nothing. */
  readonly from?: ReadonlyArray<string>
  readonly to?: ReadonlyArray<string>
  /** Interfaces that the packet comes in by and leaves by; absent: any. */
  readonly in?: ReadonlyArray<string>
  readonly out?: ReadonlyArray<string>
}

/** A node without a filter accepts everything. */
export interface FilterSpec {
  readonly node: string
  /** What becomes of packets that no rule matches. */
  readonly input: Verdict
  readonly forward: Verdict
  readonly output: Verdict
  /** Answers to what was let through pass, whatever the rules say; packets that belong to no connection do not. */
  readonly stateful: boolean
  /** How many connections fit into the table: new ones above it are dropped. Absent: no limit of ours. */
  readonly connections?: number
  /** Before everything else, also for connections that were let through: what faults put there. */
  readonly overrides: ReadonlyArray<FilterRule>
  /** In order: the first that matches decides. */
  readonly rules: ReadonlyArray<FilterRule>
  /** Wanted: `applied`. Observed: `applied`, or what is wrong. */
  readonly state: string
  /** Only observed: a table that is none of ours, as somebody made it with nft(8). */
  readonly byHand?: { readonly family: string; readonly table: string }
}

/** A filter that lets everything pass: where faults begin on a node that has none. */
export const openFilter = (node: string): FilterSpec => ({
  node, input: "accept", forward: "accept", output: "accept", stateful: false, overrides: [], rules: [], state: "applied"
})

/** `tcp/80,443`, `icmp/too-big`, `gre`. */
export const formatService = ({ protocol, ports, type }: Service): string =>
  ports !== undefined ? `${protocol}/${ports.join(",")}` : type !== undefined ? `${protocol}/${type}` : protocol
