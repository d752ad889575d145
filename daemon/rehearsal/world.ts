/** All that a rehearsal needs of the world, and all that it tells: plain interfaces, so that tests have their own world and time. */
import type { Result } from "../checks/runner.ts"
import type { Check } from "../checks/suite.ts"
import type { Plan } from "../plan/resource.ts"
import type { FaultControl } from "../reconciler/fault-control.ts"
import type { Breach, Outage, Seen, StepFlow } from "./ledger.ts"
import type { Flow, Version } from "./model.ts"

/** A report of a flow, as it goes to the client: a `FlowReport`, whose `flow` is the flow's index in the rehearsal. */
export interface Report extends Seen {
  readonly flow: number
  /** Why there is no such flow (any more); else empty. */
  readonly error: string
}

export interface Probes {
  /** Ends them. Fine when they have ended. */
  readonly end: () => void
}

export interface CommandOutcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
}

export interface Inspected {
  /** `faults`: ids of those that change it. */
  readonly nodes: ReadonlyArray<{ readonly name: string; readonly state: string; readonly faults?: ReadonlyArray<string> }>
}

export interface World {
  readonly faults: FaultControl
  /** Milliseconds since 1970, never backwards. */
  readonly now: () => number
  /** Resolves after a time, or at once when the signal says so. Never rejects. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Makes the lab be so. Resolves with what failed, one line each. Rejects when it cannot even begin. */
  readonly deploy: (version: Version, progress: (text: string) => void) => Promise<ReadonlyArray<string>>
  readonly destroy: (lab: string) => Promise<ReadonlyArray<string>>
  /** The lab as it is: an `InspectResponse`. */
  readonly inspect: (lab: string) => Promise<Inspected>
  /** Begins flows; `told` comes again and again with a report of each. Resolves when they have begun. */
  readonly probe: (
    lab: string,
    flows: ReadonlyArray<Flow & { readonly index: number }>,
    told: (reports: ReadonlyArray<Report>) => void
  ) => Promise<Probes>
  readonly exec: (
    lab: string, plan: Plan, node: string, argv: ReadonlyArray<string>,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal }
  ) => Promise<CommandOutcome>
  /** `weft check`'s runner, in a lab that is `plan`. Never rejects. */
  readonly checks: (
    lab: string, plan: Plan, checks: ReadonlyArray<Check>,
    options: { readonly parallel: number; readonly signal: AbortSignal; readonly told: (result: Result) => void }
  ) => Promise<void>
}

/** Whoever runs it. */
export interface Conductor {
  /** An orderly end is wanted, or nobody is there any more. */
  readonly stop: AbortSignal
  /** Resolves when a pause is over. Rejects never. */
  readonly proceed: () => Promise<void>
  readonly pauseBeforeEach: boolean
  readonly keep: boolean
}

export interface FaultTold {
  readonly id: string
  readonly kind: string
  readonly title: string
  /** RFC 3339: when it was begun with, which is before all of it is there. */
  readonly since: string
  readonly until: string
}

export type Outcome = "passed" | "failed" | "stopped"

export interface Done {
  readonly outcome: Outcome
  readonly reasons: ReadonlyArray<string>
  readonly rolledBack: boolean
  readonly healed: boolean
  readonly destroyed: boolean
  readonly durationMs: number
}

export interface StepEnded {
  readonly step: number
  readonly outcome: "passed" | "failed" | "broken" | "skipped" | "stopped"
  readonly reasons: ReadonlyArray<string>
  readonly actionMs: number
  readonly settleMs: number
  readonly flows: ReadonlyArray<StepFlow>
}

/** A `RehearsalEvent` without its moment; proto/weft/v1/weft.proto says what each is. */
export type Told =
  | { readonly note: { readonly text: string; readonly step: number; readonly warning: boolean; readonly passing: boolean } }
  | { readonly stepBegun: { readonly step: number } }
  | { readonly stepEnded: StepEnded }
  | { readonly flows: { readonly flows: ReadonlyArray<Report>; readonly outages: ReadonlyArray<Outage> } }
  | { readonly check: { readonly step: number; readonly filename: string; readonly result: Result } }
  | { readonly broken: Breach }
  | { readonly rollBack: { readonly reasons: ReadonlyArray<string> } }
  | { readonly pause: { readonly step: number; readonly text: string } }
  | { readonly faults: { readonly step: number; readonly injected: ReadonlyArray<FaultTold>; readonly healed: ReadonlyArray<FaultTold> } }
  | { readonly snapshot: { readonly when: "before" | "after"; readonly lab: object } }
  | { readonly done: Done }

export type Tell = (event: Told, atMs: number) => void
