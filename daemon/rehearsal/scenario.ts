/**
 * Runs a scenario: at each moment of its schedule it injects, heals or checks, and at the end, whichever end it is,
 * it heals everything that it has injected.
 */
import type { Result } from "../checks/runner.ts"
import type { Check } from "../checks/suite.ts"
import type { Moment, Scenario } from "../faults/scenario.ts"
import type { Fault } from "../plan/fault.ts"
import type { FaultControl } from "../reconciler/fault-control.ts"

/** What a scenario needs of the world. */
export interface ScenarioWorld {
  readonly lab: string
  readonly faults: FaultControl
  /** Tries one check as its `eventually` and `always` say. Never rejects. */
  readonly check: (check: Check, signal: AbortSignal) => Promise<Result>
  /** ms, steady. */
  readonly now: () => number
}

/** What has become of one moment. `index`: in `scenario.moments`; `atMs`: since the scenario began. */
export type ScenarioEvent =
  | { readonly kind: "injected"; readonly index: number; readonly atMs: number; readonly faults: ReadonlyArray<Fault> }
  | { readonly kind: "healed"; readonly index: number; readonly atMs: number; readonly faults: ReadonlyArray<Fault> }
  | { readonly kind: "checked"; readonly index: number; readonly atMs: number; readonly result: Result }
  /** What was to be done at this moment could not be done. */
  | { readonly kind: "failed"; readonly index: number; readonly atMs: number; readonly reason: string }

export interface ScenarioOptions {
  /** Who asks, as faults say it: `scenario chaos`. */
  readonly by: string
  /** 2: in half the time, faults too. Checks keep their times. */
  readonly speed?: number
  /** Of whoever holds more than this scenario (a rehearsal); absent: the scenario takes its own, and ends it. */
  readonly lease?: string
  /** Ends it; everything is healed then. */
  readonly signal: AbortSignal
  readonly told: (event: ScenarioEvent, moment: Moment<Check>) => void
}

export interface ScenarioOutcome {
  /** `interrupted`: by the signal. `failed`: a check failed, or something could not be injected or healed. */
  readonly outcome: "passed" | "failed" | "interrupted"
  /** One line for each thing that went wrong. */
  readonly failures: ReadonlyArray<string>
  readonly durationMs: number
}

/** Resolves when the scenario has ended and everything that it injected is healed. Never rejects. */
export type RunScenario = (scenario: Scenario<Check>, world: ScenarioWorld, options: ScenarioOptions) => Promise<ScenarioOutcome>
