/**
 * What flows may suffer in steps: the file's maps -> a list of budgets; and which of them holds for one flow in one step:
 * for each kind the most particular one, that of the step for this flow, of the step, of the flow, of all. Pure.
 */
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import { parseDuration, parseShare } from "../topology/units.ts"
import { type Budget, budgetKinds, type BudgetKind, type Flow } from "./model.ts"
import type { FlowBudget, LimitsSpec } from "./schema.ts"
import type { FlowsRead } from "./flows.ts"
import type { BudgetSpec } from "./steps.ts"

export interface ReadingBudgets {
  readonly all: FlowBudget | undefined
  readonly flows: ReadonlyArray<Flow>
  readonly ofFlows: FlowsRead["specs"]
  readonly ofSteps: ReadonlyArray<BudgetSpec>
  readonly reporter: Reporter
}

type Scope = Pick<Budget, "flow" | "step">

export const readBudgets = ({ all, flows, ofFlows, ofSteps, reporter }: ReadingBudgets): ReadonlyArray<Budget> => {
  const budgets: Array<Budget> = []
  const add = (spec: FlowBudget, path: Path, scope: Scope): void => {
    for (const kind of budgetKinds) {
      const limit = spec === "none" ? "none" : spec[kind]
      if (limit === undefined) continue
      const { line } = reporter.locate(spec === "none" ? path : [...path, kind], "key")
      budgets.push({ kind, ...limitOf(kind, limit), line, ...scope })
    }
  }
  if (all !== undefined) add(all, ["budgets"], {})
  for (const { flows: those, path, spec } of ofFlows) for (const flow of those) add(spec, path, { flow })
  for (const { path, place: step, spec } of ofSteps) {
    if (spec === "none") add(spec, path, { step })
    else {
      add(spec, path, { step })
      for (const [title, one] of Object.entries(spec.flows ?? {})) {
        const flow = flows.findIndex((each) => each.title === title)
        const meant = { meant: { word: title, among: flows.map((each) => each.title) }, at: "key" } as const
        if (flow < 0) reporter.error([...path, "flows", title], `no flow has the name ${quote(title)}`, meant)
        else add(one, [...path, "flows", title], { flow, step })
      }
    }
  }
  return budgets
}

const limitOf = (kind: BudgetKind, limit: NonNullable<LimitsSpec[BudgetKind]>): Pick<Budget, "limit" | "value" | "unit"> => {
  const unit = kind !== "max-loss" ? "ms" : typeof limit === "number" ? "probes" : "%"
  if (limit === "none") return { limit, value: Infinity, unit }
  if (typeof limit === "number") return { limit: kind === "max-loss" ? String(limit) : "0ms", value: limit, unit }
  return { limit, value: kind === "max-loss" ? parseShare(limit)! * 100 : parseDuration(limit)!, unit }
}

/** Indexes of the budgets that hold for a flow in a step: at most one of each kind. */
export const budgetsFor = (budgets: ReadonlyArray<Budget>, flow: number, step: number): ReadonlyArray<number> =>
  budgetKinds.flatMap((kind) => {
    let best = -1
    let bestRank = -1
    for (const [index, budget] of budgets.entries()) {
      const holds = budget.kind === kind && (budget.flow ?? flow) === flow && (budget.step ?? step) === step
      const rank = (budget.step === undefined ? 0 : 2) + (budget.flow === undefined ? 0 : 1)
      // Of two of one rank there is no second: a file has each key once.
      if (holds && rank > bestRank) [best, bestRank] = [index, rank]
    }
    return best < 0 ? [] : [best]
  })
