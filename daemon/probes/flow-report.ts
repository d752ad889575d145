/** What a flow has seen, as flows.ts and slow-flows.ts tell it. */
import type { Change, Protocol, Sample } from "./protocols.ts"

export interface Outage {
  /** Milliseconds since 1970. */
  readonly startMs: number
  readonly lengthMs: number
  /** Probes that did not come back. */
  readonly lost: number
  /** It was not over when this was read. */
  readonly lasts: boolean
}

export interface Slowest {
  /** When the answer came, in milliseconds since 1970. */
  readonly atMs: number
  readonly latencyMs: number
}

export interface FlowReport {
  readonly protocol: Protocol
  readonly port: number
  readonly sent: number
  readonly received: number
  readonly lost: number
  /** Not sent in time, or for want of room in the socket: neither sent nor lost. */
  readonly unsent: number
  readonly duplicates: number
  readonly reordered: number
  /** Answered after the timeout: they count as lost. */
  readonly late: number
  /** ICMP port unreachable, a reset instead of a connection. */
  readonly refused: number
  /** ICMP destination unreachable, or no route in the source itself. */
  readonly unreachable: number
  /** Answered, but not as expected: another HTTP status, no such DNS record. They count as lost. */
  readonly wrong: number
  /** Milliseconds; all 0 without an answer. */
  readonly latency: { readonly min: number; readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number }
  /** The slowest answer since it was read last; absent: there was none. */
  readonly slowest?: Slowest
  /** In order, from the one that was asked for on; 4096 at most. */
  readonly outages: ReadonlyArray<Outage>
  readonly outageCount: number
  /** How long the oldest probe that is neither answered nor lost has been under way: an outage that may be beginning. */
  readonly pendingMs: number
  readonly blindMs: number
  /** How it is now, in words; empty when there is nothing to say. */
  readonly detail: string
  /** Since it was read last. */
  readonly changes: ReadonlyArray<Change>
  readonly changeCount: number
  /** Since it was read last: throughput, path MTU. */
  readonly samples: ReadonlyArray<Sample>
  /** Its namespace is not there. */
  readonly isGone: boolean
}
