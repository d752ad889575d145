/**
 * Applies steps in their order: kind after kind, each kind in slices, so that the daemon answers others meanwhile.
 *
 * A step whose dependency failed is not tried; it fails with a reason that names the dependency. Everything else goes on:
 * what can be there, is.
 */
import type { KernelError } from "../linux/errors.ts"
import type { Step, StepOf } from "../plan/diff.ts"
import type { Kind } from "../plan/resource.ts"
import { blockedBy, type Failures, type Handler } from "../resources/handler.ts"
import type { Lab } from "../resources/lab.ts"
import { handlers } from "../resources/table.ts"

/** Called once for each step, when it is done or has failed. */
export type Report = (step: Step, error?: KernelError) => void

const sliceSize = 256

const slices = function* <A>(list: ReadonlyArray<A>): Generator<ReadonlyArray<A>> {
  for (let at = 0; at < list.length; at += sliceSize) yield list.slice(at, at + sliceSize)
}

/** Runs of neighbouring steps of one kind. */
const runs = (steps: ReadonlyArray<Step>): ReadonlyArray<ReadonlyArray<Step>> => {
  const groups: Step[][] = []
  for (const step of steps) {
    const last = groups.at(-1)
    if (last !== undefined && last[0]!.kind === step.kind && (last[0]!.action === "remove") === (step.action === "remove")) last.push(step)
    else groups.push([step])
  }
  return groups
}

const othersTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** All of `steps` are of one kind: its handler takes them. */
const perform = <K extends Kind>(lab: Lab, kind: K, steps: ReadonlyArray<StepOf<K>>): Failures | Promise<Failures> => {
  const handler = handlers[kind] as Handler<K>
  if (steps[0]!.action !== "remove") return handler.converge(lab, steps)
  const real = steps.filter((step) => !step.implied)
  return real.length === 0 ? [] : handler.remove(lab, real)
}

const blocked = (step: Step, failed: ReadonlySet<string>): KernelError | undefined => {
  const cause = step.after?.dependsOn.find((id) => failed.has(id))
  return cause === undefined ? undefined : blockedBy(step, cause)
}

/** Returns what failed. Never throws for a step's sake. */
export const apply = async (lab: Lab, steps: ReadonlyArray<Step>, report: Report): Promise<Failures> => {
  const failures: { id: string; error: KernelError }[] = []
  const failed = new Set<string>()
  const settle = (step: Step, error: KernelError | undefined): void => {
    if (error !== undefined) {
      failures.push({ id: step.id, error })
      failed.add(step.id)
    }
    report(step, error)
  }
  for (const run of runs(steps)) {
    for (const slice of slices(run)) {
      const ready: Step[] = []
      for (const step of slice) {
        const error = blocked(step, failed)
        if (error === undefined) ready.push(step)
        else settle(step, error)
      }
      if (ready.length === 0) continue
      const outcome = await perform(lab, ready[0]!.kind, ready as never)
      const errors = new Map(outcome.map((failure) => [failure.id, failure.error]))
      for (const step of ready) settle(step, errors.get(step.id))
      await othersTurn()
    }
  }
  return failures
}
