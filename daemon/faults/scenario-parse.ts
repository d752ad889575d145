/** A scenario's file and seed -> its moments, or everything that is wrong with it. */
import type { Plan } from "../plan/resource.ts"
import { inOrder, type Path, quote, Reporter } from "../topology/diagnostic.ts"
import { refuseUnknownLab } from "../topology/entry.ts"
import { decoder } from "../topology/explain.ts"
import { readSource, type Source } from "../topology/source.ts"
import { parseSpan } from "../topology/units.ts"
import { fileIn, type FileOf } from "./files.ts"
import type { Ending, ScenarioResult } from "./scenario.ts"
import { readEntries, type Reading } from "./scenario-entries.ts"
import { schedule } from "./scenario-schedule.ts"
import { Outline } from "./scenario-schema.ts"

export interface ParseOptions<C> {
  /** Of the lab, without faults; absent: names are not looked up, and chance among groups and labels is an error. */
  readonly plan?: Plan
  /** In place of the file's own. */
  readonly seed?: number
  /** Labs that there are; absent: the one that the file names is not looked up. */
  readonly deployed?: ReadonlyArray<string>
  /** Files that faults name; absent: none came along. */
  readonly fileOf?: FileOf
  /** Reads a check; what is wrong with it, it tells the reporter. */
  readonly readCheck: (value: unknown, path: Path, reporter: Reporter) => C | undefined
}

const defaultSeed = 1
const defaultWithinMs = 600_000
const decodeOutline = decoder(Outline)

/** Parses a scenario and takes its chances. Never throws. */
export const parseScenario = <C>(source: Source, options: ParseOptions<C>): ScenarioResult<C> => {
  const { deployed, fileOf = fileIn(new Map(), new Map()), plan, seed } = options
  const read = readSource(source, { name: "scenario", least: "a timeline", whole: "scenario" })
  if (!read.ok) return { ok: false, diagnostics: read.diagnostics }
  const reporter = new Reporter(source.filename, read.locate)
  const outline = decodeOutline(read.value, [], reporter)
  const raw = (typeof read.value === "object" && read.value !== null ? read.value : {}) as Readonly<Record<string, unknown>>
  const text = (key: "lab" | "topology"): Readonly<Record<string, string>> =>
    typeof raw[key] === "string" ? { [key]: raw[key] } : {}
  const places = { ...text("topology"), ...text("lab") }
  if (raw["topology"] !== undefined && raw["lab"] !== undefined) {
    reporter.error(["lab"], "a scenario with a topology has its lab from there: remove one of the two", { at: "key" })
  }
  if (deployed !== undefined && raw["topology"] === undefined) refuseUnknownLab(raw["lab"], deployed, reporter)
  const reading: Reading<C> = {
    reporter, plan, fileOf, names: new Map(), heals: [], readCheck: (value, path) => options.readCheck(value, path, reporter)
  }
  const timeline = Array.isArray(raw["timeline"]) ? raw["timeline"] : undefined
  const entries = timeline === undefined ? [] : readEntries(timeline, { path: ["timeline"], name: "", follows: false }, reading)
  for (const { name, path } of reading.heals) {
    if (!reading.names.has(name)) {
      reporter.error(path, `no entry has the name ${quote(name)}`, { meant: { word: name, among: reading.names.keys() } })
    }
  }
  if (outline === undefined) inspectUntil(raw["until"], reading)
  const until = outline === undefined ? undefined : untilOf(outline, reading)
  const used = seed ?? outline?.seed ?? defaultSeed
  const { lastMs, moments } = schedule(entries, { endMs: until?.atMs ?? Infinity, reporter, seed: used })
  if (reporter.errors > 0 || outline === undefined) return { ok: false, diagnostics: inOrder(reporter.diagnostics), ...places }
  const { name = source.filename } = outline
  return { ok: true, scenario: { filename: source.filename, name, ...places, seed: used, moments, ending: until ?? { atMs: lastMs } } }
}

/** The check of an ending, where something else at the top of the file is wrong already. */
const inspectUntil = <C>(until: unknown, { readCheck }: Reading<C>): void => {
  if (typeof until !== "object" || until === null || !("check" in until)) return
  readCheck(until.check, ["until", "check"])
}

const untilOf = <C>({ until }: typeof Outline.Type, { readCheck }: Reading<C>): Ending<C> | undefined => {
  if (until === undefined) return undefined
  if (typeof until === "string") return { atMs: parseSpan(until)! }
  const check = readCheck(until.check, ["until", "check"])
  const atMs = until.within === undefined ? defaultWithinMs : parseSpan(until.within)!
  return check === undefined ? { atMs } : { atMs, check }
}
