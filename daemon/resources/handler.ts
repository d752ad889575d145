/**
 * What every kind of resource knows how to do. One file in this folder implements it for one kind.
 *
 * `observe` is pure over the snapshot (or reads what the snapshot does not hold); `converge` makes and changes;
 * `remove` removes. All take everything of their kind at once, because the kernel is fast in batches. They return what
 * failed; what they do not mention went well. Making what exists already and removing what is gone already succeed.
 */
import { KernelError } from "../linux/errors.ts"
import { Batch } from "../linux/rtnetlink.ts"
import type { StepOf } from "../plan/diff.ts"
import type { Kind, SpecByKind } from "../plan/resource.ts"
import type { Lab } from "./lab.ts"

export interface Failure {
  readonly id: string
  readonly error: KernelError
}

export type Failures = ReadonlyArray<Failure>

export interface Handler<K extends Kind> {
  readonly kind: K
  observe(lab: Lab): Iterable<readonly [id: string, spec: SpecByKind[K]]> | Promise<Iterable<readonly [id: string, spec: SpecByKind[K]]>>
  converge(lab: Lab, steps: ReadonlyArray<StepOf<K>>): Failures | Promise<Failures>
  /** Never given steps that are `implied`. */
  remove(lab: Lab, steps: ReadonlyArray<StepOf<K>>): Failures | Promise<Failures>
}

/** Any thrown thing as a failure of `step`. What is not a KernelError is a defect and rises. */
export const asFailure = (id: string, error: unknown): Failure => {
  if (error instanceof KernelError) return { id, error }
  throw error
}

/** Why a step was not tried: what it depends on, `cause`, has failed. */
export const blockedBy = (step: { readonly action: string; readonly id: string }, cause: string): KernelError =>
  new KernelError({ operation: step.action, object: step.id, code: "blocked", detail: `it needs ${cause}, which failed` })

/** Runs `action` for each step on its own; collects what it throws. */
export const each = <S extends { readonly id: string }>(steps: ReadonlyArray<S>, action: (step: S) => void): Failures => {
  const failures: Failure[] = []
  for (const step of steps) {
    try {
      action(step)
    } catch (error) {
      failures.push(asFailure(step.id, error))
    }
  }
  return failures
}

/** `each`, one step after the other. */
export const eachAsync = async <S extends { readonly id: string }>(
  steps: ReadonlyArray<S>,
  action: (step: S) => Promise<void>
): Promise<Failures> => {
  const failures: Failure[] = []
  for (const step of steps) {
    try {
      await action(step)
    } catch (error) {
      failures.push(asFailure(step.id, error))
    }
  }
  return failures
}

/** Does `work` with each item, `atOnce` at a time; the results are in the order of the items. The first that throws, throws. */
export const inParallel = async <I, R>(atOnce: number, items: ReadonlyArray<I>, work: (item: I) => Promise<R>): Promise<Array<R>> => {
  const results = new Array<R>(items.length)
  const left = items.entries()
  const worker = async (): Promise<void> => {
    for (const [position, item] of left) results[position] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  return results
}

/** Steps of the same node together, in order. */
export const byNode = <S extends { readonly node: string }>(steps: ReadonlyArray<S>): ReadonlyMap<string, ReadonlyArray<S>> => {
  const groups = new Map<string, S[]>()
  for (const step of steps) {
    const group = groups.get(step.node)
    if (group === undefined) groups.set(step.node, [step])
    else group.push(step)
  }
  return groups
}

/**
 * One rtnetlink batch for each node. `write` puts a step's requests into the batch, calling `batch.note` after each with
 * the given tag.
 */
export const batchByNode = <S extends { readonly id: string; readonly node: string }>(
  lab: Lab,
  steps: ReadonlyArray<S>,
  write: (batch: Batch, step: S, tag: number) => void
): Failures => {
  const failures: Failure[] = []
  for (const [node, group] of byNode(steps)) {
    try {
      const batch = new Batch(lab.netns(node).fd)
      for (const [tag, step] of group.entries()) {
        try {
          write(batch, step, tag)
        } catch (error) {
          failures.push(asFailure(step.id, error))
        }
      }
      for (const { tag, error } of batch.commit()) failures.push({ id: group[tag]!.id, error })
    } catch (error) {
      for (const step of group) failures.push(asFailure(step.id, error))
    }
  }
  return failures
}
