/**
 * Scenarios: faults on a timeline, in a file (`*.scenario.yaml`, docs/scenarios.md).
 *
 *     file --scenario-entries.ts--> entries --scenario-schedule.ts--> moments --rehearsal/scenario.ts--> lab
 *            all errors at once              seed, no clock             inject, heal, check
 *
 * `scenario-parse.ts` joins the two. Everything here is pure: the same file and the same seed give the same moments on
 * every machine. What a scenario checks on its way is not known here (`C`): whoever parses says how a check is read.
 */
import type { FaultRequest } from "../plan/fault.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"

/** A fault and how long it lasts; absent: until it is healed by name, or the scenario ends. */
export interface TimedFault extends FaultRequest {
  readonly forMs?: number
  /** For people: what the fault does, or how the file writes it where there is no lab to ask. */
  readonly title: string
}

/** What happens at one moment. */
export type Deed<C> =
  | { readonly what: "inject"; readonly faults: ReadonlyArray<TimedFault> }
  /** `names`: of entries that inject; what they injected and is still in force is healed. */
  | { readonly what: "heal"; readonly names: ReadonlyArray<string> | "all" }
  | { readonly what: "check"; readonly check: C }

export type Moment<C> = Deed<C> & {
  /** Since the scenario began. */
  readonly atMs: number
  /** Of its entry, for `heal`; empty: it has none. */
  readonly name: string
  /** Of its entry in the file; counts from 1. */
  readonly line: number
}

/** Until when a scenario goes on. */
export interface Ending<C> {
  /** The end, at the latest. */
  readonly atMs: number
  /** Ends it as soon as this passes; if it never does, the scenario has failed. */
  readonly check?: C
}

/** A scenario with its chances taken. */
export interface Scenario<C> {
  readonly filename: string
  readonly name: string
  readonly topology?: string
  readonly lab?: string
  readonly seed: number
  /** By `atMs`; at one time, in the order of the file. */
  readonly moments: ReadonlyArray<Moment<C>>
  readonly ending: Ending<C>
}

export type ScenarioResult<C> =
  | { readonly ok: true; readonly scenario: Scenario<C> }
  /** `topology`, `lab`: what it names, when that could be read all the same. */
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic>; readonly topology?: string; readonly lab?: string }
