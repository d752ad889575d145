/** Messages of the service `Probes` as the client sends and gets them: see `proto/weft/v1/weft.proto`. */

export interface FlowSpec {
  readonly from: string
  readonly to: string
  readonly protocol: string
  readonly spacingMs: number
  readonly timeoutMs: number
  readonly payload: number
  readonly ipv6: boolean
  /** All that follows may be left out: see the message. */
  readonly port?: number
  readonly path?: string
  readonly host?: string
  readonly expect?: string
  readonly name?: string
  readonly type?: string
  readonly answeredBy?: string
  readonly rate?: number
}

export interface FlowRequest {
  readonly lab: string
  readonly flows: ReadonlyArray<FlowSpec>
  readonly reportMs: number
}

export interface FlowOutage {
  readonly startMs: number
  readonly lengthMs: number
  readonly lost: number
  readonly lasts: boolean
}

export interface FlowReport {
  readonly flow: number
  readonly address: string
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly unsent: number
  readonly duplicates: number
  readonly reordered: number
  readonly late: number
  readonly refused: number
  readonly unreachable: number
  /** Null without an answer. */
  readonly latency: Readonly<Record<"min" | "mean" | "p50" | "p99" | "max", number>> | null
  /** Those that ended since the report before, and the one that lasts. */
  readonly outages: ReadonlyArray<FlowOutage>
  readonly outageCount: number
  readonly pendingMs: number
  readonly blindMs: number
  readonly error: string
  readonly protocol: string
  readonly port: number
  /** Answered, but not as expected: they are lost. */
  readonly wrong?: number
  readonly detail: string
  /** Since the report before. */
  readonly changes: ReadonlyArray<FlowChange>
  readonly changeCount: number
  /** Since the report before. */
  readonly samples: ReadonlyArray<FlowSample>
}

/** `kind`: connected, stall, reset, closed, timeout, refused, unreachable, reconnected, status, answer, path, mtu, gone, back. */
export interface FlowChange {
  readonly atMs: number
  readonly kind: string
  readonly before: string
  readonly after: string
  readonly lengthMs: number
}

/** Throughput in bit/s, path MTU in octets. */
export interface FlowSample {
  readonly atMs: number
  readonly value: number
}

export interface FlowReports {
  readonly flows: ReadonlyArray<FlowReport>
}
