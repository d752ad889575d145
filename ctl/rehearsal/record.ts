/**
 * What is known of a rehearsal: plain JSON, and all that reports are made of. `recorder.ts` builds it from the events of
 * `Rehearsals.Run` while they come, so that it is whole at any moment: a rehearsal that breaks off has a record that ends there.
 *
 *     events --recorder.ts--> Run --+--> Record --> weft-rehearsal.json (-o json), report.html, junit.xml, the summary
 *              (one per --repeat) --+
 *
 * All times are milliseconds; those that are called `...AtMs`, `startMs` or `endMs` count from the start of their run, which
 * is `startedAt`. `weft rehearse compare` reads what `-o json` wrote, so whatever changes here is either added, and optional
 * for readers, or gets another format.
 */

import type { InspectResponse } from "../messages.ts"

export const recordFormat = "weft-rehearsal/1"

export interface Record {
  readonly format: typeof recordFormat
  /** Of weft. */
  readonly version: string
  readonly name: string
  /** The rehearsal's file, as it was named on the command line. */
  readonly filename: string
  readonly lab: string
  /** RFC 3339 */
  readonly startedAt: string
  readonly durationMs: number
  /** How many were wanted (`--repeat`); more than there are runs when it broke off between two. */
  readonly repeat: number
  /** The worst of its runs'. */
  readonly verdict: Verdict
  /** Why it did not pass, for people, one line; empty when it did. */
  readonly reason: string
  readonly runs: ReadonlyArray<Run>
}

/** `broken-off`: the daemon died, Ctrl-C. What came before is true, what would have come after is not known. */
export type Verdict = "passed" | "failed" | "broken-off"

export interface Run {
  /** From 1. */
  readonly number: number
  readonly startedAt: string
  readonly durationMs: number
  readonly verdict: Verdict
  readonly reason: string
  /** In the order of the file, then those for rolling back. */
  readonly steps: ReadonlyArray<Step>
  readonly flows: ReadonlyArray<Flow>
  readonly budgets: ReadonlyArray<Budget>
  readonly checks: ReadonlyArray<CheckOutcome>
  readonly faults: ReadonlyArray<FaultSpan>
  readonly log: ReadonlyArray<LogEntry>
  /** As it was before the first step, and after the last; null: not known. */
  readonly before: InspectResponse | null
  readonly after: InspectResponse | null
}

/** `waiting`: a later step that has not begun, also for ever when the run broke off. */
export type StepState = "waiting" | "running" | "done" | "failed" | "skipped"

export interface Step {
  /** Unique in its run. */
  readonly name: string
  /** `deploy`, `inject`, `heal`, `exec`, `wait`, `check`, `pause`, ... */
  readonly kind: string
  /** In the file; 0: none. */
  readonly line: number
  /** Of those that run when a budget breaks. */
  readonly isRollback: boolean
  readonly state: StepState
  /** Null: it has not begun. */
  readonly startMs: number | null
  readonly endMs: number | null
  /** Why it failed; or what it came to, in one line. */
  readonly message: string
}

export interface Flow {
  /** Unique in its run: `pc -> db icmp`, or what the file calls it. */
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
  readonly outages: ReadonlyArray<Outage>
  /** What it was like over time. */
  readonly series: Series
  /** Why it could not be probed; empty: it could. */
  readonly error: string
}

export type Latency = { readonly [K in "min" | "mean" | "p50" | "p99" | "max"]: number }

export interface Outage {
  readonly startMs: number
  readonly lengthMs: number
  /** Probes. */
  readonly lost: number
  /** It was not over when the run was. */
  readonly lasts: boolean
  /** The step that it counts for: the one under way, or the last one, when it began. Empty: before the first. */
  readonly step: string
}

/** Equal slices of time, the first from 0. At most `mostSlices` of them: longer runs have longer slices. */
export interface Series {
  readonly sliceMs: number
  /** Probes by slice. */
  readonly sent: ReadonlyArray<number>
  readonly lost: ReadonlyArray<number>
  /** Median of each slice; null: no answer. */
  readonly latencyMs: ReadonlyArray<number | null>
}

export interface Budget {
  /** `max-outage`, `max-loss`, ... */
  readonly kind: string
  /** What it is for; empty: every flow, every step. */
  readonly flow: string
  readonly step: string
  /** As the file has it: `500ms`, `0.1%`. */
  readonly limit: string
  readonly limitValue: number
  /** `ms`, `%` */
  readonly unit: string
  readonly broken: ReadonlyArray<Breach>
  readonly line: number
}

/** One flow at one step that broke a budget. */
export interface Breach {
  readonly flow: string
  readonly step: string
  readonly value: number
  readonly atMs: number
}

export interface CheckOutcome {
  readonly step: string
  readonly name: string
  readonly outcome: "passed" | "failed" | "warning"
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
  readonly startMs: number
  /** Null: still in force when the run ended, or it broke off. */
  readonly endMs: number | null
}

export interface LogEntry {
  readonly atMs: number
  readonly level: "info" | "warning" | "error"
  readonly text: string
}
