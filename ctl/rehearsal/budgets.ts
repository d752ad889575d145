/** What budgets allow and what flows came to, in figures and words. Pure. */

import { measured } from "./recorder.ts"
import type { Budget, RehearsalRecord, Run } from "./record.ts"

type Kind = Pick<Budget, "kind" | "unit">

/** `552 ms`, `0.12 %`, `3 probes` */
export const valueText = ({ unit }: Kind, value: number): string => {
  if (unit === "probes") return `${Math.round(value)} ${Math.round(value) === 1 ? "probe" : "probes"}`
  if (value === 0) return `0 ${unit}`
  const digits = unit === "%" ? 2 : value >= 100 ? 0 : value >= 1 ? 1 : 2
  return `${value.toFixed(digits)} ${unit}`
}

/** As the file has it, with a space before the unit. */
export const limitText = ({ limit }: Pick<Budget, "limit">): string => limit.replace(/^([\d.]+)([a-z%]+)$/, "$1 $2")

/** The flow and step that came nearest to the budget, or broke it worst; undefined: none has been tried. */
export const worstOf = (budget: Budget, run: Run): { readonly flow: string; readonly step: string; readonly value: number } | undefined => {
  const isMine = holds(budget, run)
  const tried = run.cells.filter(({ flow, step }) => isMine(flow, step))
  const values = [
    ...tried.map((cell) => ({ flow: cell.flow, step: cell.step, value: measured(budget, cell) })),
    ...budget.breaches.map(({ flow, step, value }) => ({ flow, step, value }))
  ]
  return values.reduce<(typeof values)[number] | undefined>((a, b) => (a === undefined || b.value > a.value ? b : a), undefined)
}

/**
 * Whether it is this budget that holds for a flow in a step: that of the step goes before that of the flow, that before the general one.
 */
export const holds = (budget: Budget, { budgets }: Run): ((flow: string, step: string) => boolean) => {
  const rank = ({ flow, step }: Budget): number => (step === "" ? 0 : 2) + (flow === "" ? 0 : 1)
  const fits = (one: Budget, flow: string, step: string): boolean => (one.flow === "" || one.flow === flow)
    && (one.step === "" || one.step === step)
  const others = budgets.filter((other) => other !== budget && other.kind === budget.kind && rank(other) > rank(budget))
  return (flow, step) => fits(budget, flow, step) && !others.some((other) => fits(other, flow, step))
}

/** One line for each budget that broke: the flow, the step, what was seen and what was allowed. The worst first. */
export const breachLines = (record: RehearsalRecord): ReadonlyArray<string> =>
  record.runs.flatMap((run) => run.budgets.flatMap((budget) => budget.breaches.map((breach) => ({ run, budget, breach }))))
    .toSorted((a, b) => b.breach.value / (b.budget.value || 1) - a.breach.value / (a.budget.value || 1))
    .map(({ breach, budget, run }) => {
      const whose = breach.flow === "" ? "" : `${breach.flow} `
      const inRun = record.runs.length > 1 ? `run ${run.number}: ` : ""
      return `${inRun}${whose}in step "${breach.step}": ${valueText(budget, breach.value)}, ${budget.kind} is ${limitText(budget)}`
    })

/** Why a rehearsal did not pass, one line each: budgets with what was seen in the end, then everything else. */
export const reasonLines = (record: RehearsalRecord): ReadonlyArray<string> => {
  const breaches = record.runs.flatMap((run) =>
    run.budgets.flatMap((budget) => budget.breaches.map(({ flow, step }) => [flow, step, budget.kind])))
  return [...breachLines(record), ...record.reasons.filter((reason) => !breaches
    .some((words) => words.every((word) => reason.includes(word))))]
}
