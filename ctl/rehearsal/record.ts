/**
 * What is known of a rehearsal: plain JSON, and all that reports are made of. `recorder.ts` builds it from the events of
 * `Rehearsals.Run` while they come, so that it is whole at any moment: a rehearsal that breaks off has a record that ends there.
 *
 *     events --recorder.ts--> Run --+--> RehearsalRecord --> -o json, report.html, junit.xml, the summary
 *            (one for each --repeat)+
 *
 * All times are milliseconds; those that are called `atMs`, `startMs` or `endMs` count from the start of their run, which is
 * `startedAt`. `weft rehearse compare` reads what `-o json` wrote: what changes here is added, and optional for readers, or
 * the format gets another number.
 */

import type { InspectResponse } from "../messages.ts"

export const recordFormat = "weft-rehearsal/1"

export interface RehearsalRecord {
  readonly format: typeof recordFormat
  /** Of weft; empty: not known. */
  readonly version: string
  readonly name: string
  /** The rehearsal's file, as it was named on the command line. */
  readonly filename: string
  readonly lab: string
  /** RFC 3339 */
  readonly startedAt: string
  readonly durationMs: number
  /** How many runs were wanted: more than there are when it broke off between two. */
  readonly repeat: number
  /** The worst of its runs'. */
  readonly verdict: Verdict
  /** Why it did not pass, for people, one line each; empty when it did. */
  readonly reasons: ReadonlyArray<string>
  readonly runs: ReadonlyArray<Run>
}

/** `broken-off`: the daemon died, Ctrl-C. What came before is true; what would have come after is not known. */
export type Verdict = "passed" | "failed" | "broken-off"

export interface Run {
  /** From 1. */
  readonly number: number
  readonly startedAt: string
  readonly durationMs: number
  readonly verdict: Verdict
  readonly reasons: ReadonlyArray<string>
  /** In the order in which they come: the warm-up, the file's, those that roll back. */
  readonly steps: ReadonlyArray<Step>
  /** In the order of the file. */
  readonly flows: ReadonlyArray<Flow>
  /** What flows saw in steps; a pair that is not there saw nothing to tell. */
  readonly cells: ReadonlyArray<Cell>
  readonly budgets: ReadonlyArray<Budget>
  readonly checks: ReadonlyArray<CheckOutcome>
  readonly faults: ReadonlyArray<FaultSpan>
  readonly log: ReadonlyArray<LogEntry>
  /** As it was before the first step, and after the last; null: not known. */
  readonly before: InspectResponse | null
  readonly after: InspectResponse | null
  /** Its steps for rolling back have run. */
  readonly rolledBack: boolean
  /** Whether no fault of it is left, and the lab that it had deployed is gone; null: nobody said so. */
  readonly healed: boolean | null
  readonly destroyed: boolean | null
}

/**
 * `waiting`: it has not begun, nor will it when the run broke off; `failed`: its action; `broken`: a budget; `stopped`: it was under
 * way when the run was ended.
 */
export type StepState = "waiting" | "running" | "passed" | "failed" | "broken" | "skipped" | "stopped"

export interface Step {
  /** Unique in its run. */
  readonly name: string
  /** `warm-up`, `deploy`, `inject`, `heal`, `exec`, `wait`, `check`, `scenario`, `pause`, `probe` */
  readonly kind: string
  readonly role: "warm-up" | "step" | "roll-back"
  /** One line: the file, the fault, the command. */
  readonly detail: string
  /** In the file; 0: none. */
  readonly line: number
  readonly state: StepState
  /** Null: it has not begun, it has not ended. */
  readonly startMs: number | null
  readonly endMs: number | null
  /** Of that time, its action's own; the rest is flows that were watched. */
  readonly actionMs: number
  readonly reasons: ReadonlyArray<string>
}

export interface Flow {
  /** Unique in its run. */
  readonly name: string
  readonly from: string
  readonly to: string
  /** `icmp`, `udp`, `tcp`, `http`, ... */
  readonly protocol: string
  readonly spacingMs: number
  readonly sent: number
  readonly received: number
  readonly lost: number
  /** Could not be sent in time: outages may be longer or shorter by `blindMs`. */
  readonly unsent: number
  readonly blindMs: number
  readonly duplicates: number
  readonly reordered: number
  /** Null without an answer. */
  readonly latency: Latency | null
  /** In order; of more than `mostOutages` the longest. */
  readonly outages: ReadonlyArray<Outage>
  readonly outageCount: number
  /** Connected, reset, another path, ...: in order, the first ones. */
  readonly changes: ReadonlyArray<{ readonly atMs: number; readonly kind: string; readonly before: string; readonly after: string }>
  readonly changeCount: number
  readonly series: Series
  /** Why it could not be probed; empty: it could. */
  readonly error: string
}

export type Latency = { readonly [K in "min" | "mean" | "p50" | "p99" | "max"]: number }

/** Probes that did not come back, one after the other. */
export interface Outage {
  readonly startMs: number
  readonly lengthMs: number
  readonly lost: number
  /** It was not over when the run was. */
  readonly lasts: boolean
  /** In which it began; empty: in none. */
  readonly step: string
}

/** Equal slices of time, the first from 0. There are at most `mostSlices`: longer runs have longer slices. */
export interface Series {
  readonly sliceMs: number
  /** Probes that were sent; 0: the flow did not run. */
  readonly sent: ReadonlyArray<number>
  /** Mean of those that came back; null: none did. */
  readonly latencyMs: ReadonlyArray<number | null>
  /** Bit/s of throughput, octets of path-mtu: mean; empty with other protocols. */
  readonly value: ReadonlyArray<number | null>
}

export const mostOutages = 1000
export const mostSlices = 480
export const mostChanges = 100
export const mostLogEntries = 5000

/** What one flow saw in one step. An outage belongs to the step in which it began, however long it lasts. */
export interface Cell {
  readonly flow: string
  /** Empty: in no step. */
  readonly step: string
  readonly outages: number
  readonly longestMs: number
  readonly totalMs: number
  /** Null as long as the step has not ended. */
  readonly sent: number | null
  readonly lost: number
  /** Null: not known. */
  readonly maxLatencyMs: number | null
  /** The last outage was not over when the run was. */
  readonly lasts: boolean
}

/** What a flow may suffer in a step. For each flow, step and kind the most particular one holds: of the step, of the flow, of all. */
export interface Budget {
  /** `max-outage`: the longest; `max-downtime`: all of a step together; `max-loss`; `max-latency` */
  readonly kind: string
  /** As the file has it: `500ms`, `0.1%`. */
  readonly limit: string
  readonly value: number
  readonly unit: "ms" | "%" | "probes"
  /** Whose it is; empty: all. */
  readonly flow: string
  readonly step: string
  /** In the file. */
  readonly line: number
  readonly breaches: ReadonlyArray<Breach>
}

/** One flow at one step that broke a budget. */
export interface Breach {
  readonly flow: string
  readonly step: string
  /** In the budget's unit: at the end of the step; when the budget broke, if it has not ended. */
  readonly value: number
  readonly message: string
  readonly atMs: number
}

export interface CheckOutcome {
  readonly step: string
  readonly name: string
  readonly kind: string
  readonly filename: string
  readonly line: number
  readonly outcome: "passed" | "failed" | "warning"
  /** It could not be tried. */
  readonly error: boolean
  readonly expected: string
  readonly seen: string
  readonly where: string
  readonly details: ReadonlyArray<string>
  readonly atMs: number
  readonly durationMs: number
}

export interface FaultSpan {
  readonly id: string
  readonly kind: string
  readonly title: string
  readonly step: string
  readonly startMs: number
  /** Null: in force when the run ended or broke off. What happens once ends as it starts. */
  readonly endMs: number | null
}

export interface LogEntry {
  readonly atMs: number
  readonly level: "info" | "warning" | "error"
  readonly text: string
}
