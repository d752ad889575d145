/**
 * Messages of the service `Rehearsals` as the client sends and gets them: `proto/weft/v1/weft.proto` says what each field
 * means. Moments are milliseconds since 1970 on the daemon's clock; flows and steps are meant by their index in `planned`.
 */
import type { FlowReport } from "../flow-messages.ts"
import type { CheckResult, Diagnostic, InspectResponse } from "../messages.ts"

export interface RehearsalFile {
  readonly filename: string
  readonly content?: Uint8Array
  /** Why it could not be read. */
  readonly missing?: string
  readonly files?: Readonly<Record<string, Uint8Array>>
  readonly unread?: Readonly<Record<string, string>>
}

export interface RehearsalStart {
  readonly filename: string
  readonly content: Uint8Array
  readonly files: Readonly<Record<string, RehearsalFile>>
  readonly lab: string
  readonly keep: boolean
  readonly lookOnly: boolean
  readonly pauseBeforeEach: boolean
}

export type RehearsalRequest =
  | { readonly start: RehearsalStart }
  | { readonly proceed: Readonly<Record<string, never>> }
  | { readonly stop: Readonly<Record<string, never>> }

export interface RehearsalFlow {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly protocol: string
  readonly spacingMs: number
  readonly fromStep: number
  /** -1: never. */
  readonly untilStep: number
}

export type StepKind = "warm-up" | "deploy" | "inject" | "heal" | "exec" | "wait" | "check" | "scenario" | "pause" | "probe"

export interface RehearsalStep {
  readonly name: string
  readonly kind: StepKind
  readonly role: "warm-up" | "step" | "roll-back"
  readonly detail: string
  readonly line: number
  readonly continueOnFailure: boolean
}

export interface RehearsalBudget {
  readonly kind: "max-outage" | "max-downtime" | "max-loss" | "max-latency"
  /** -1: every flow. */
  readonly flow: number
  /** -1: every step. */
  readonly step: number
  readonly limit: string
  readonly value: number
  readonly unit: "ms" | "%" | "probes"
  readonly line: number
}

export interface RehearsalPlanned {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly name: string
  readonly lab: string
  readonly topology: string
  readonly deploys: boolean
  readonly flows: ReadonlyArray<RehearsalFlow>
  readonly steps: ReadonlyArray<RehearsalStep>
  readonly budgets: ReadonlyArray<RehearsalBudget>
}

export interface RehearsalNote {
  readonly text: string
  /** -1: none. */
  readonly step: number
  readonly warning: boolean
  /** The next one replaces it: for the live view alone. */
  readonly passing: boolean
}

export interface RehearsalStepFlow {
  readonly flow: number
  readonly outages: number
  readonly longestMs: number
  readonly totalMs: number
  readonly sent: number
  readonly lost: number
  /** 0: not known. */
  readonly maxLatencyMs: number
  readonly blindMs: number
  readonly broken: ReadonlyArray<string>
}

export interface RehearsalStepEnded {
  readonly step: number
  readonly outcome: "passed" | "failed" | "broken" | "skipped" | "stopped"
  readonly reasons: ReadonlyArray<string>
  readonly actionMs: number
  readonly settleMs: number
  readonly flows: ReadonlyArray<RehearsalStepFlow>
}

export interface RehearsalOutage {
  readonly flow: number
  /** Of the flow's outages, from 0: the same one is told again until it is over. */
  readonly number: number
  readonly step: number
  readonly startMs: number
  readonly lengthMs: number
  readonly lost: number
  readonly lasts: boolean
}

export interface RehearsalFlows {
  /** From the beginning of each flow on; `outages` is empty. */
  readonly flows: ReadonlyArray<FlowReport>
  readonly outages: ReadonlyArray<RehearsalOutage>
}

export interface RehearsalCheck {
  readonly step: number
  readonly filename: string
  readonly result: CheckResult
}

export interface RehearsalBroken {
  readonly flow: number
  readonly step: number
  /** Its index in `planned`. */
  readonly budget: number
  /** In the budget's unit. */
  readonly value: number
  readonly message: string
}

export interface RehearsalFault {
  readonly id: string
  readonly kind: string
  readonly title: string
  /** RFC 3339, or empty. */
  readonly since: string
  readonly until: string
}

export interface RehearsalFaults {
  /** -1: at the end. */
  readonly step: number
  readonly injected: ReadonlyArray<RehearsalFault>
  readonly healed: ReadonlyArray<RehearsalFault>
}

export interface RehearsalSnapshot {
  readonly when: "before" | "after"
  readonly lab: InspectResponse
}

export interface RehearsalDone {
  readonly outcome: "passed" | "failed" | "stopped"
  readonly reasons: ReadonlyArray<string>
  readonly rolledBack: boolean
  readonly healed: boolean
  readonly destroyed: boolean
  readonly durationMs: number
}

export type RehearsalEvent = { readonly atMs: number } & (
  | { readonly event: "planned"; readonly planned: RehearsalPlanned }
  | { readonly event: "note"; readonly note: RehearsalNote }
  | { readonly event: "stepBegun"; readonly stepBegun: { readonly step: number } }
  | { readonly event: "stepEnded"; readonly stepEnded: RehearsalStepEnded }
  | { readonly event: "flows"; readonly flows: RehearsalFlows }
  | { readonly event: "check"; readonly check: RehearsalCheck }
  | { readonly event: "broken"; readonly broken: RehearsalBroken }
  | { readonly event: "rollBack"; readonly rollBack: { readonly reasons: ReadonlyArray<string> } }
  | { readonly event: "pause"; readonly pause: { readonly step: number; readonly text: string } }
  | { readonly event: "faults"; readonly faults: RehearsalFaults }
  | { readonly event: "snapshot"; readonly snapshot: RehearsalSnapshot }
  | { readonly event: "done"; readonly done: RehearsalDone }
)

/** A rehearsal under way: iterate events until `done`. */
export interface RehearsalCall extends AsyncIterable<RehearsalEvent> {
  /** A pause is over. */
  readonly proceed: () => void
  /** Ends it in an orderly manner: it goes on telling how. */
  readonly stop: () => void
  /** Hangs up; the daemon ends it in an orderly manner all the same. */
  readonly cancel: () => void
}
