/** `(base plan, faults) -> plan`: what a lab should be while these faults are in force. Pure. */
import type { Fault } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { kindOf } from "./kinds.ts"

export interface Faulted {
  readonly plan: Plan
  /** Faults whose target the base plan has not (any more), with the reason: they do nothing. */
  readonly lost: ReadonlyArray<{ readonly fault: Fault; readonly reason: string }>
}

/** Applies faults in the order in which they were injected; the same faults on the same plan give the same plan. */
export const applyFaults = (base: Plan, faults: ReadonlyArray<Fault>): Faulted => {
  const lost: Array<{ readonly fault: Fault; readonly reason: string }> = []
  let plan = base
  for (const fault of faults) {
    const kind = kindOf(fault.kind)
    if (kind === undefined) {
      lost.push({ fault, reason: `this weftd knows no fault "${fault.kind}"` })
      continue
    }
    const [problem] = kind.check(fault.spec, base)
    if (problem !== undefined) lost.push({ fault, reason: problem.message })
    else if (kind.apply !== undefined) plan = kind.apply(fault.spec, plan, fault.phase ?? 0, fault)
  }
  return { plan, lost }
}
