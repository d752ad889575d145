/** Flows of probes as they go on: the daemon's reports put together. */

import type { Client } from "./client.ts"
import type { FlowChange, FlowOutage, FlowReport, FlowRequest, FlowSample, FlowSpec } from "./flow-messages.ts"

/** What is known of one flow. */
export interface FlowState {
  readonly spec: FlowSpec
  /** The newest; undefined before the first. */
  readonly report: FlowReport | undefined
  /** Those that are over, in order. */
  readonly outages: ReadonlyArray<FlowOutage>
  /** The one that is not. */
  readonly lasting: FlowOutage | undefined
  /** All of them, in order. */
  readonly changes: ReadonlyArray<FlowChange>
  readonly samples: ReadonlyArray<FlowSample>
}

export interface Watched {
  /** In the order of the request; grows with every report. */
  readonly states: ReadonlyArray<FlowState>
  /** Resolves when reports have come until `isEnough` says so; rejects when the flows ended before. */
  readonly until: (isEnough: (states: ReadonlyArray<FlowState>) => boolean) => Promise<void>
  /** Ends the flows. */
  readonly end: () => Promise<void>
}

/** Starts flows and follows them. */
export const watchFlows = (client: Client, request: FlowRequest): Watched => {
  const states = request.flows.map((spec): FlowState => ({
    spec, report: undefined, outages: [], lasting: undefined, changes: [], samples: []
  }))
  const reports = client.flow(request)[Symbol.asyncIterator]()
  const until: Watched["until"] = async (isEnough) => {
    while (!isEnough(states)) {
      const next = await reports.next()
      if (next.done === true) return
      for (const report of next.value.flows) states[report.flow] = joined(states[report.flow]!, report)
    }
  }
  return { states, until, end: async () => void (await reports.return?.()) }
}

const joined = ({ changes, outages, samples, spec }: FlowState, report: FlowReport): FlowState => ({
  spec,
  report,
  outages: [...outages, ...report.outages.filter(({ lasts }) => !lasts)],
  lasting: report.outages.find(({ lasts }) => lasts),
  changes: report.changes.length === 0 ? changes : [...changes, ...report.changes],
  samples: report.samples.length === 0 ? samples : [...samples, ...report.samples]
})

/** All outages of a flow, in order. */
export const outagesOf = ({ lasting, outages }: FlowState): ReadonlyArray<FlowOutage> =>
  lasting === undefined ? outages : [...outages, lasting]

/** How long the longest one was; 0 without any. */
export const longestOutageMs = (state: FlowState): number => Math.max(0, ...outagesOf(state).map(({ lengthMs }) => lengthMs))

/** Longer than this and a probe under way is later than it should be. */
const patienceMs = ({ latency }: FlowReport): number => 20 + 2 * (latency?.p99 ?? 0)

/** Whether the newest probes come back. */
export const answers = ({ lasting, report }: FlowState): boolean =>
  report !== undefined && report.error === "" && lasting === undefined && report.received > 0 && report.pendingMs <= patienceMs(report)
