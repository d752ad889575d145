/** What a rehearsal is going to do, as users are told: plain data, the same for a daemon's answer and for who has none. */
import type { Rehearsal } from "./model.ts"

/** A `RehearsalPlanned` without its diagnostics; -1: every flow, every step, never. */
export const plannedOf = ({ budgets, deploys, flows, lab, name, start, steps }: Rehearsal) => ({
  name, lab, deploys,
  topology: start?.filename ?? "",
  flows: flows.map(({ from, fromStep, protocol, spacingMs, title, to, untilStep = -1 }) =>
    ({ name: title, from, to, protocol, spacingMs, fromStep, untilStep })),
  steps: steps.map(({ action, continueOnFailure, detail, line, name: title, role }) =>
    ({ name: title, kind: action.kind, role, detail, line, continueOnFailure })),
  budgets: budgets.map(({ flow = -1, kind, limit, line, step = -1, unit, value }) => ({ kind, flow, step, limit, value, unit, line }))
})
