/**
 * What a check may ask of a lab: questions to its nodes, each a plain value, answered where the node is. Checks know
 * nothing else of the daemon, so they run the same whether a node is on this host or on another one.
 */
import type { FaultRequest } from "../plan/fault.ts"

/** One router's answer on the way of a packet. `what`: `passed on`, `arrived`, or why it went no further. */
export interface Hop {
  /** Counts from 1. */
  readonly ttl: number
  /** Undefined: nobody answered. */
  readonly address?: string
  readonly outcome: "passed" | "arrived" | "refused"
  /** With `refused`: `no route to host`, ... */
  readonly reason?: string
}

export interface Trace {
  /** Without silent ones at the end. */
  readonly hops: ReadonlyArray<Hop>
  readonly arrived: boolean
  /** Why nothing could be sent. */
  readonly error?: string
}

export interface RouteSeen {
  readonly prefix: string
  readonly table: number
  readonly metric: number
  readonly protocol: string
  readonly type: string
  readonly selected: boolean
  readonly ways: ReadonlyArray<{ readonly gateway: string; readonly ifname: string; readonly backup: boolean; readonly down: boolean }>
}

export interface NeighborSeen {
  readonly name: string
  readonly description: string
  readonly remoteAddress: string
  readonly remoteAs: number
  readonly state: string
  readonly lastReset: string
  readonly families: ReadonlyArray<{ readonly family: string; readonly received: number; readonly accepted: number; readonly sent: number }>
}

export interface PathSeen {
  readonly prefix: string
  readonly best: boolean
  readonly multipath: boolean
  readonly from: string
  readonly nextHop: string
  readonly asPath: string
  readonly origin: string
  readonly med?: number
  readonly localPref?: number
  readonly communities: ReadonlyArray<string>
}

export interface BfdSeen {
  readonly peer: string
  readonly ifname: string
  readonly state: string
  readonly diagnostic: string
}

export interface FlowSeen {
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly unsent: number
  readonly latency: { readonly min: number; readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number }
}

/** A flow up to now. Times are ms, moments ms since 1970. */
export interface FlowProgress {
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly unsent: number
  /** How long the oldest probe without an answer has been under way. */
  readonly pendingMs: number
  /** The longest time in which nothing could be sent: outages are known to within that. */
  readonly blindMs: number
  /** `lasts`: it was not over when this was read. The last 4096. */
  readonly outages: ReadonlyArray<{ readonly startMs: number; readonly lengthMs: number; readonly lost: number; readonly lasts: boolean }>
}

type Reached<More> = ({ readonly ok: true } & More) | { readonly ok: false; readonly reason: string }

interface Timed {
  readonly timeoutMs: number
}

interface Aimed extends Timed {
  readonly address: string
}

/** By what is asked: the question and its answer. All are JSON. Addresses are without prefix lengths, times are ms. */
export interface Questions {
  readonly ping: readonly [Aimed, Reached<{ readonly rttMs: number }>]
  /** `token`: hexadecimal, sent first; a door tells where it came from. */
  readonly tcp: readonly [Aimed & { readonly port: number; readonly token?: string }, Reached<{ readonly source: string }>]
  readonly udp: readonly [Aimed & { readonly port: number }, Reached<{ readonly rttMs: number }>]
  /** By UDP, one flow: each call has another source port. */
  readonly trace: readonly [Aimed, Trace]
  /** The largest packet that arrives; `blackHole`: larger ones vanish without a word, `toldBy`: who says that they are too big. */
  readonly pmtu: readonly [Aimed, Reached<{ readonly mtu: number; readonly blackHole: boolean; readonly toldBy?: string }>]
  readonly http: readonly [
    Aimed & { readonly port: number; readonly host: string; readonly path: string; readonly method: string },
    Reached<{ readonly status: number; readonly body: string }>
  ]
  readonly dns: readonly [
    Aimed & { readonly name: string; readonly type: string },
    Reached<{ readonly rcode: string; readonly answers: ReadonlyArray<string> }>
  ]
  /** `prefix`: that one alone; an address: its longest match. `table`: a number, `main`, `all`. */
  readonly routes: readonly [{ readonly prefix: string; readonly table: string }, ReadonlyArray<RouteSeen>]
  readonly bgp: readonly [Record<never, never>, { readonly neighbors: ReadonlyArray<NeighborSeen> }]
  readonly "bgp-routes": readonly [
    { readonly prefix: string; readonly table: "rib" | "received" | "advertised"; readonly neighbor?: string },
    ReadonlyArray<PathSeen>
  ]
  readonly bfd: readonly [Record<never, never>, ReadonlyArray<BfdSeen>]
  readonly exec: readonly [
    Timed & { readonly argv: ReadonlyArray<string> },
    { readonly code: number; readonly stdout: string; readonly stderr: string; readonly timedOut: boolean }
  ]
  /** `port` 0: ICMP. */
  readonly flow: readonly [Aimed & { readonly port: number; readonly spacingMs: number; readonly forMs: number }, FlowSeen]
  /** The same, until it is ended: for what nobody knows the length of. It ends by itself when nobody has read it for a minute. */
  readonly "flow-begin": readonly [Aimed & { readonly port: number; readonly spacingMs: number }, { readonly id: number }]
  readonly "flow-read": readonly [{ readonly id: number }, FlowProgress]
  readonly "flow-end": readonly [{ readonly id: number }, null]
  /** Sends as fast as it can to a door. */
  readonly flood: readonly [Aimed & { readonly port: number; readonly token: string; readonly forMs: number },
    Reached<{ readonly source: string }>]
  /** `port` 0: a free one. `own` is false when the node itself serves there: then there is no door and `id` is 0. */
  readonly open: readonly [
    { readonly protocol: "tcp" | "udp"; readonly port: number; readonly ipv6: boolean },
    { readonly id: number; readonly port: number; readonly own: boolean }
  ]
  /** Who came with this token, and how much after it; waits for them. */
  readonly seen: readonly [
    Timed & { readonly id: number; readonly token: string },
    { readonly address: string; readonly octets: number; readonly ms: number } | null
  ]
  readonly shut: readonly [{ readonly id: number }, null]
}

export type Asked<K extends keyof Questions> = Questions[K][0]
export type Answer<K extends keyof Questions> = Questions[K][1]

export interface LabNode {
  readonly name: string
  readonly kind: string
  /** It forwards packets. */
  readonly forwards: boolean
  readonly group: string
  readonly labels: Readonly<Record<string, string>>
  /** Loopback's first, then the ports' in order; without prefix lengths. `segment`: the link or network of the port. */
  readonly addresses: ReadonlyArray<{ readonly ifname: string; readonly address: string; readonly segment?: string }>
}

export interface Lab {
  readonly nodes: ReadonlyMap<string, LabNode>
  /** Rejects with a sentence when the node cannot be asked. */
  readonly ask: <K extends keyof Questions>(node: string, what: K, question: Asked<K>) => Promise<Answer<K>>
  /**
   * Injects faults in one change, and resolves when they are in force. They are healed by `heal`, and when the daemon ends.
   * `by`: who asks, for people. Rejects when they cannot be injected; then none is.
   */
  readonly inject: (faults: ReadonlyArray<FaultRequest & { readonly forMs?: number }>, by: string) => Promise<Injected>
}

export interface Injected {
  /** What each does, for people. */
  readonly titles: ReadonlyArray<string>
  /** Resolves when the lab is again what its topology says. Fine more than once. */
  readonly heal: () => Promise<void>
}

/** Whose address it is. */
export const ownerOf = (lab: Pick<Lab, "nodes">, address: string): string | undefined => {
  for (const { addresses, name } of lab.nodes.values()) if (addresses.some((one) => one.address === address)) return name
  return undefined
}

/** `fw (10.10.0.1)`, or the address of a stranger. */
export const named = (lab: Pick<Lab, "nodes">, address: string): string => {
  const owner = ownerOf(lab, address)
  return owner === undefined ? address : `${owner} (${address})`
}
