/**
 * `LabControl` of a weftd of its own: labs are what its reconciler has, and every node is here, whatever host a topology
 * asks for.
 */
import { onOneHost, partOf } from "../plan/part.ts"
import type { Plan } from "../plan/resource.ts"
import {
  type ChangeFailure, changeOf, type ChangeOutcome, type ChangeWatch, countsOf, type Inspection, type LabControl
} from "./control.ts"
import { inspectionOf, summaryOf, withFaultsShown } from "./inspection.ts"
import type { Outcome, Reconciler, Watch } from "./reconciler.ts"

/** The reconciler's reports, for somebody who follows one host or many. `host`: the name of this one. */
export const watching = (watch: ChangeWatch): Watch => ({
  planned: (steps) => watch.planned(countsOf(steps)),
  report: watch.report,
  note: watch.note
})

const failureOf = (host: string, id: string, error: { readonly message: string; readonly code: string }): ChangeFailure =>
  ({ id, host, error: error.message, blocked: error.code === "blocked" })

/** What failed, as whoever asked is told. */
export const failuresOf = ({ failures }: Outcome, host: string): ReadonlyArray<ChangeFailure> =>
  failures.map(({ error, id }) => failureOf(host, id, error))

export class OneHost implements LabControl {
  readonly #reconciler: Reconciler
  readonly #host: string

  /** @param host name of this host */
  constructor(reconciler: Reconciler, host: string) {
    this.#reconciler = reconciler
    this.#host = host
  }

  async plan(plan: Plan): ReturnType<LabControl["plan"]> {
    const { exists, notes, steps } = await this.#reconciler.plan(this.#here(plan))
    return { exists, changes: steps.map((step) => changeOf(step, this.#host)), notes: [...this.#notes(plan), ...notes] }
  }

  async deploy(plan: Plan, options: { readonly filename: string; readonly rollback: boolean }, watch: ChangeWatch): Promise<ChangeOutcome> {
    const failures: ChangeFailure[] = []
    const outcome = await this.#reconciler.deploy(this.#here(plan), options, watching(this.#collecting(watch, failures)))
    for (const note of this.#notes(plan)) watch.note(note)
    return this.#outcome(outcome, failures)
  }

  async destroy(lab: string, watch: ChangeWatch): Promise<ChangeOutcome> {
    const failures: ChangeFailure[] = []
    const outcome = await this.#reconciler.destroy(lab, watching(this.#collecting(watch, failures)))
    return this.#outcome(outcome, failures)
  }

  async labs(): ReturnType<LabControl["labs"]> {
    const entries = await this.#reconciler.labs()
    return { labs: entries.map((entry) => this.#summary(entry)), error: "" }
  }

  async inspect(lab: string): Promise<Inspection> {
    const found = await this.#reconciler.inspect(lab === "" ? await this.onlyLab() : lab)
    const inspection = inspectionOf({ ...found, host: this.#host, summary: this.#summary(found.entry) })
    return withFaultsShown(inspection, found.entry)
  }

  onlyLab(): Promise<string> {
    return this.#reconciler.onlyLab()
  }

  /** Somebody may have written `host` for many hosts. */
  #notes(plan: Plan): ReadonlyArray<string> {
    const elsewhere = plan.nodes.filter(({ host }) => host !== undefined && host !== this.#host)
    if (elsewhere.length === 0) return []
    const [first, ...others] = elsewhere
    const nodes = others.length === 0 ? `"${first!.name}"` : `"${first!.name}" and ${others.length} more`
    return [`this weftd shares labs with no other host, so everything is on it: "host" of ${nodes} is not obeyed`]
  }

  #here(plan: Plan): Plan {
    return partOf(onOneHost(plan), this.#host, () => undefined)
  }

  #summary(entry: Parameters<typeof summaryOf>[0]): ReturnType<typeof summaryOf> {
    return summaryOf(entry, { host: this.#host, recovering: this.#reconciler.isRecovering(entry.name) })
  }

  /** Passes everything on, and keeps what failed with all that the step says. */
  #collecting(watch: ChangeWatch, failures: ChangeFailure[]): ChangeWatch {
    return {
      ...watch,
      report: (step, error) => {
        if (error !== undefined) failures.push({ ...failureOf(this.#host, step.id, error), change: changeOf(step, this.#host) })
        watch.report(step, error)
      }
    }
  }

  #outcome(outcome: Outcome, reported: ReadonlyArray<ChangeFailure>): ChangeOutcome {
    const { changed, failures, rolledBack } = outcome
    return { changed, failures: failures.length > 0 && reported.length > 0 ? reported : failuresOf(outcome, this.#host), rolledBack }
  }
}
