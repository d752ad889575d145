/**
 * A rehearsal, read and understood: what flows between whom, what is done in which order, and what flows may suffer.
 *
 *     parse.ts      files -> Rehearsal, or everything that is wrong with them      schema.ts: their shape
 *     ledger.ts     what flows report -> outages by step, budgets that broke       pure
 *     runner.ts     does the steps in order over a `World`, whatever happens       world.ts: all that it needs
 *     actions.ts    one step's action
 *     scenario.ts   scenarios, alone or as a step
 *
 * Steps have one list: the warm-up first, then the steps of the file, then those that roll back. An outage counts for the
 * step in which it began. Who calls is `rpc/rehearsals.ts`.
 */
import type { Check } from "../checks/suite.ts"
import type { Scenario } from "../faults/scenario.ts"
import type { ReadFault } from "../faults/read.ts"
import type { Plan } from "../plan/resource.ts"
import type { Protocol, ProtocolOptions } from "../probes/protocols.ts"

/** A version of the lab: a topology that was compiled under the lab's name. */
export interface Version {
  readonly filename: string
  readonly plan: Plan
}

export interface Flow extends ProtocolOptions {
  /** Unique. */
  readonly title: string
  readonly from: string
  /** A node, or an address. */
  readonly to: string
  readonly protocol: Protocol
  readonly spacingMs: number
  /** 0: as the protocol has it. */
  readonly timeoutMs: number
  /** 0: as the protocol has it. */
  readonly payload: number
  readonly ipv6: boolean
  /** NAT: the node where the daemon answers. */
  readonly answeredBy?: string
  /** Index of the step with which it begins; `afterAction`: its nodes come with that step's action. */
  readonly fromStep: number
  readonly afterAction: boolean
  /** Index of the step before which it ends. */
  readonly untilStep?: number
}

export type BudgetKind = "max-outage" | "max-downtime" | "max-loss" | "max-latency"
export const budgetKinds: ReadonlyArray<BudgetKind> = ["max-outage", "max-downtime", "max-loss", "max-latency"]

export interface Budget {
  readonly kind: BudgetKind
  /** Index; undefined: every one. */
  readonly flow?: number
  readonly step?: number
  /** As the file has it. */
  readonly limit: string
  /** Infinity: none. */
  readonly value: number
  readonly unit: "ms" | "%" | "probes"
  readonly line: number
}

export type Action =
  | { readonly kind: "warm-up"; readonly quietMs: number; readonly mostMs: number }
  | { readonly kind: "deploy"; readonly version: Version }
  | { readonly kind: "inject"; readonly faults: ReadonlyArray<ReadFault> }
  /** `steps`: indexes of steps that inject. */
  | { readonly kind: "heal"; readonly steps: ReadonlyArray<number> | "all" }
  | { readonly kind: "exec"; readonly node: string; readonly argv: ReadonlyArray<string>; readonly timeoutMs: number
      readonly code: number; readonly output?: string }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "check"; readonly filename: string; readonly checks: ReadonlyArray<Check>; readonly parallel: number }
  | { readonly kind: "scenario"; readonly scenario: Scenario<Check>; readonly speed: number }
  | { readonly kind: "pause"; readonly text: string }
  /** Flows alone, for so long; each must be answered at the end. */
  | { readonly kind: "probe"; readonly ms: number }

/** How long flows are watched after the action. */
export type Settle =
  /** Until no outage lasts, and none began for a second; at most so long. */
  | { readonly until: "calm"; readonly mostMs: number }
  | { readonly until: "time"; readonly ms: number }

export interface Step {
  /** Unique. */
  readonly name: string
  readonly role: "warm-up" | "step" | "roll-back"
  readonly action: Action
  /** One line: the file, the fault, the command. */
  readonly detail: string
  /** In the file, from 1; 0: the warm-up. */
  readonly line: number
  readonly settle: Settle
  readonly continueOnFailure: boolean
}

export interface Rehearsal {
  readonly filename: string
  readonly name: string
  readonly lab: string
  /** What it starts with. Undefined: the lab as it is. */
  readonly start?: Version
  /** The lab is not there: it is deployed, and destroyed at the end. */
  readonly deploys: boolean
  readonly flows: ReadonlyArray<Flow>
  readonly steps: ReadonlyArray<Step>
  readonly budgets: ReadonlyArray<Budget>
}

/** Steps of the file begin behind the warm-up. */
export const firstStep = 1

/** The index of the first step that rolls back; the number of steps where there is none. */
export const firstRollBack = ({ steps }: Pick<Rehearsal, "steps">): number => {
  const found = steps.findIndex(({ role }) => role === "roll-back")
  return found < 0 ? steps.length : found
}
