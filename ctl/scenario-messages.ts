/** Messages of service Scenarios, as TypeScript; the proto file says what they mean. */

import type { CheckResult, Diagnostic, Topology } from "./messages.ts"

export interface ScenarioStart {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
  readonly topology?: Topology
  readonly seed: string
  readonly speed: number
  readonly lookOnly: boolean
  /** Recordings that its faults name, by these names. */
  readonly files: Readonly<Record<string, Uint8Array>>
  /** Why others could not be read. */
  readonly unread: Readonly<Record<string, string>>
}

export interface ScenarioStep {
  readonly atMs: number
  /** `inject`, `heal`, `check` */
  readonly what: string
  readonly name: string
  readonly line: number
  readonly faults: ReadonlyArray<{ readonly kind: string; readonly title: string; readonly spec: string; readonly forMs: number }>
  readonly heals: ReadonlyArray<string>
  readonly check: string
}

export interface ScenarioPlanned {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly name: string
  readonly lab: string
  readonly topology: string
  readonly seed: number
  readonly endingMs: number
  readonly endingCheck: string
  readonly steps: ReadonlyArray<ScenarioStep>
}

/** What is told of a fault. */
export interface ScenarioFault {
  readonly id: string
  readonly title: string
}

export interface ScenarioMoment {
  /** -1: at the end. */
  readonly step: number
  readonly atMs: number
  readonly injected: ReadonlyArray<ScenarioFault>
  readonly healed: ReadonlyArray<ScenarioFault>
  readonly check: CheckResult | null
  readonly error: string
}

export interface ScenarioDone {
  /** `passed`, `failed`, `interrupted` */
  readonly outcome: string
  readonly reasons: ReadonlyArray<string>
  readonly durationMs: number
}

export type ScenarioEvent =
  | { readonly event: "planned"; readonly planned: ScenarioPlanned }
  | { readonly event: "moment"; readonly moment: ScenarioMoment }
  | { readonly event: "done"; readonly done: ScenarioDone }

/** A run: iterate events; `stop` ends it in an orderly manner, with all events to its end. */
export interface ScenarioCall extends AsyncIterable<ScenarioEvent> {
  readonly stop: () => void
  readonly cancel: () => void
}
