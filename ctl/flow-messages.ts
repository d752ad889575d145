/** Messages of the service `Probes` as the client sends and gets them: see `proto/weft/v1/weft.proto`. */

export interface FlowSpec {
  readonly from: string
  readonly to: string
  readonly protocol: string
  readonly spacingMs: number
  readonly timeoutMs: number
  readonly payload: number
  readonly ipv6: boolean
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
}

export interface FlowReports {
  readonly flows: ReadonlyArray<FlowReport>
}
