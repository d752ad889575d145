/**
 * A rehearsal's file and those that it names -> `Rehearsal`, or everything that is wrong with all of them, each with
 * file:line:column. Nothing has been touched then.
 *
 * Names are looked up in the version of the lab that is there when they are used: those of a step in what the last deploy
 * before it made, those of a flow in all versions through which it lives. Pure, total.
 */
import type { Plan } from "../plan/resource.ts"
import { type Diagnostic, inOrder, quote, Reporter } from "../topology/diagnostic.ts"
import { decoder } from "../topology/explain.ts"
import { readSource, type Source } from "../topology/source.ts"
import { readBudgets } from "./budgets.ts"
import { readFlows } from "./flows.ts"
import type { Rehearsal, Version } from "./model.ts"
import { Outline } from "./schema.ts"
import { readSteps, settleOf, warmUpOf } from "./steps.ts"
import { Files, type Load, type NamedFile } from "./versions.ts"

export interface Surroundings {
  /** By the names that the rehearsal gives them. */
  readonly files: ReadonlyMap<string, NamedFile>
  readonly load: Load
  /** Labs that are deployed, by name, without their faults. */
  readonly deployed: ReadonlyMap<string, Plan>
  /** In place of the file's own. */
  readonly lab?: string
}

export type RehearsalResult =
  | { readonly ok: true; readonly rehearsal: Rehearsal; readonly warnings: ReadonlyArray<Diagnostic> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

const decodeOutline = decoder(Outline)

/** Parses a rehearsal. Never throws. */
export const parseRehearsal = (source: Source, surroundings: Surroundings): RehearsalResult => {
  const read = readSource(source, { name: "rehearsal", least: "flows and steps", whole: "rehearsal" })
  if (!read.ok) return { ok: false, diagnostics: read.diagnostics }
  const reporter = new Reporter(source.filename, read.locate)
  const files = new Files(surroundings.files, surroundings.load)
  const outline = decodeOutline(read.value, [], reporter)
  const raw = (typeof read.value === "object" && read.value !== null ? read.value : {}) as Readonly<Record<string, unknown>>
  const { lab, ...beginning } = beginningOf(raw, { files, reporter, surroundings })
  const settle = settleOf(outline?.settle)
  const [doing, undoing] = [listOf(raw["steps"]), listOf(raw["roll-back"])]
  if (Array.isArray(raw["steps"]) && doing.length === 0) reporter.error(["steps"], "the list is empty: there is nothing to rehearse")
  const reading = { files, lab, plan: beginning.plan, reporter, settle, warmUp: warmUpOf(outline?.["warm-up"]) }
  const { plans, specs, steps } = readSteps(doing, undoing, reading)
  if (Array.isArray(raw["flows"]) && raw["flows"].length === 0) {
    reporter.error(["flows"], "the list is empty: without flows nothing is measured; for checks alone there is weft check")
  }
  const { flows, specs: ofFlows } = readFlows(listOf(raw["flows"]), { plans, reporter, steps })
  const budgets = readBudgets({ all: outline?.budgets, flows, ofFlows, ofSteps: specs, reporter })
  const diagnostics = inOrder(reporter.diagnostics)
  const found = [...diagnostics, ...files.diagnostics]
  if (found.some(({ severity }) => severity === "error") || outline === undefined) return { ok: false, diagnostics: found }
  const { name = source.filename.replace(/^.*\/|\.rehearsal\.yaml$/g, "") } = outline
  const { deploys, start } = beginning
  const rehearsal = { filename: source.filename, name, lab, deploys, flows, steps, budgets, ...(start === undefined ? {} : { start }) }
  return { ok: true, rehearsal, warnings: found }
}

const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

interface Beginning {
  readonly lab: string
  /** Undefined where that is not known. */
  readonly plan: Plan | undefined
  readonly start?: Version
  readonly deploys: boolean
}

interface Around {
  readonly files: Files
  readonly reporter: Reporter
  readonly surroundings: Surroundings
}

/** The lab as it is, where one is named and runs; else what `topology` makes. */
const beginningOf = (raw: Readonly<Record<string, unknown>>, { files, reporter, surroundings }: Around): Beginning => {
  const { deployed } = surroundings
  const named = surroundings.lab ?? (typeof raw["lab"] === "string" ? raw["lab"] : undefined)
  const { topology } = raw
  const there = named === undefined ? undefined : deployed.get(named)
  const start = typeof topology === "string" ? files.version(topology, ["topology"], reporter, named) : undefined
  if (there !== undefined) return { lab: named!, plan: there, deploys: false }
  if (topology === undefined) {
    if (named === undefined) reporter.error([], 'with what does it start? Give "topology", the file of one, or "lab", one that runs')
    else reporter.error(["lab"], `lab ${quote(named)} is not deployed: deploy it, or give "topology", the file to deploy it from`,
      { meant: { word: named, among: deployed.keys() } })
  }
  const lab = named ?? start?.plan.lab ?? ""
  return { lab, plan: start?.plan, deploys: true, ...(start === undefined ? {} : { start }) }
}
