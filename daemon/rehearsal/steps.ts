/** The steps of a rehearsal: the file's lists -> `Step`s, with everything that is wrong told to the reporter. Pure. */
import { readCheck } from "../checks/suite.ts"
import { parseSuite, withLabels } from "../checks/suite.ts"
import { fileIn, type FileOf, withFiles } from "../faults/files.ts"
import { kindOf } from "../faults/kinds.ts"
import { type ReadFault, readFaults } from "../faults/read.ts"
import { parseScenario } from "../faults/scenario-parse.ts"
import type { Plan } from "../plan/resource.ts"
import { type Diagnostic, type Path, quote, Reporter } from "../topology/diagnostic.ts"
import { doesOf, type EntryKeys } from "../topology/entry.ts"
import { decoder } from "../topology/explain.ts"
import { parseSpan } from "../topology/units.ts"
import { splitWords } from "../topology/words.ts"
import type { Action, Settle, Step } from "./model.ts"
import { CheckFile, doing, type Does, Exec, modifierNames, type StepBudget, stepSchemas } from "./schema.ts"
import { type Files, nodesIn, nodesInAny } from "./versions.ts"

const defaultMostMs = 30_000
const defaultWarmUp = { quietMs: 1000, mostMs: 60_000 }
const defaultTimeoutMs = 60_000
const defaultParallel = 32

type Bounded = string | number | { readonly "at-most": string }

export const settleOf = (value: Bounded | undefined, otherwise: Settle = { until: "calm", mostMs: defaultMostMs }): Settle =>
  value === undefined ? otherwise
    : typeof value === "object" ? { until: "calm", mostMs: parseSpan(value["at-most"])! } : { until: "time", ms: parseSpan(value)! }

export const warmUpOf = (value: string | number | { readonly for?: string | number; readonly "at-most"?: string } | undefined) => {
  if (value === undefined) return defaultWarmUp
  const { "at-most": most, for: quiet } = typeof value === "object" ? value : { for: value, "at-most": undefined }
  const quietMs = quiet === undefined ? defaultWarmUp.quietMs : parseSpan(quiet)!
  return { quietMs, mostMs: most === undefined ? quietMs + defaultWarmUp.mostMs : parseSpan(most)! }
}

export interface ReadingSteps {
  readonly files: Files
  readonly lab: string
  /** What the lab is at first; undefined: that is not known. */
  readonly plan: Plan | undefined
  readonly reporter: Reporter
  readonly settle: Settle
  readonly warmUp: { readonly quietMs: number; readonly mostMs: number }
}

/** A step's own budget, and where it stands. */
export interface BudgetSpec {
  readonly place: number
  readonly path: Path
  readonly spec: StepBudget
}

export interface StepsRead {
  /** Those that could not be read are left out of nothing: they keep their place, so that indexes are right. */
  readonly steps: ReadonlyArray<Step>
  /** What the lab is after each step; undefined: that is not known. */
  readonly plans: ReadonlyArray<Plan | undefined>
  readonly specs: ReadonlyArray<BudgetSpec>
}

interface Walk extends ReadingSteps {
  readonly steps: Array<Step>
  readonly plans: Array<Plan | undefined>
  readonly specs: Array<BudgetSpec>
  readonly names: Map<string, Path>
  /** Names that inject, with their steps. */
  readonly injects: Map<string, number>
}

const decoders = Object.fromEntries(doing.map((does) => [does, decoder(stepSchemas[does] as never)])) as Record<
  Does, (value: unknown, path: Path, reporter: Reporter) => Readonly<Record<string, unknown>> | undefined
>
const decodeCheckFile = decoder(CheckFile)

export const readSteps = (steps: ReadonlyArray<unknown>, rollBack: ReadonlyArray<unknown>, reading: ReadingSteps): StepsRead => {
  const walk: Walk = { ...reading, steps: [], plans: [], specs: [], names: new Map(), injects: new Map() }
  const { quietMs, mostMs } = reading.warmUp
  walk.steps.push({
    name: "warm-up", role: "warm-up", action: { kind: "warm-up", quietMs, mostMs }, detail: "", line: 0,
    settle: { until: "time", ms: 0 }, continueOnFailure: false
  })
  walk.plans.push(reading.plan)
  walk.names.set("warm-up", [])
  for (const [index, value] of steps.entries()) readStep(value, ["steps", index], "step", walk)
  for (const [index, value] of rollBack.entries()) readStep(value, ["roll-back", index], "roll-back", walk)
  return walk
}

const nothing: Action = { kind: "wait", ms: 0 }

const stepKeys: EntryKeys<Does> = {
  doing,
  modifiers: modifierNames,
  example: "{deploy: next.weft.yaml}",
  instead: "begin another step"
}

const readStep = (value: unknown, path: Path, role: Step["role"], walk: Walk): void => {
  const { plans, reporter, specs, steps } = walk
  const place = steps.length
  const does = doesOf(value, path, reporter, stepKeys)
  const decoded = does === undefined ? undefined : decoders[does](value, path, reporter)
  const before = plans.at(-1)
  const known = does === undefined || decoded !== undefined ? decoded : legibleIn(value as Decoded, does)
  const action = does === undefined || known === undefined ? nothing : (readAction(does, known, path, before, walk) ?? nothing)
  const detail = does === undefined || decoded === undefined ? "" : detailOf(action, decoded[does], before)
  const { budget, "continue-on-failure": goesOn = false, name, settle } = (decoded ?? {}) as {
    readonly name?: string; readonly budget?: StepBudget; readonly settle?: Bounded; readonly "continue-on-failure"?: boolean
  }
  steps.push({
    name: register(name, `${does ?? "step"} ${detail}`.trim(), path, walk), role, action, detail,
    line: reporter.locate(does === undefined ? path : [...path, does], "key").line,
    settle: settleOf(settle, settleFor(action, walk.settle)), continueOnFailure: goesOn
  })
  plans.push(action.kind === "deploy" ? action.version.plan : does === "deploy" ? undefined : before)
  if (action.kind === "inject") walk.injects.set(steps[place]!.name, place)
  if (budget !== undefined) specs.push({ place, path: [...path, "budget"], spec: budget })
}

/** Nothing that flows could feel: then there is nothing to wait for. */
const settleFor = ({ kind }: Action, otherwise: Settle): Settle =>
  kind === "wait" || kind === "pause" || kind === "probe" || kind === "check" ? { until: "time", ms: 0 } : otherwise

/** The step's own name, or one that nobody has. */
const register = (name: string | undefined, otherwise: string, path: Path, { names, reporter }: Walk): string => {
  if (name !== undefined) {
    const earlier = names.get(name)
    if (name === "all") reporter.error([...path, "name"], '"all" means all of them: choose another name')
    else if (earlier !== undefined) {
      const where = earlier.length === 0 ? "it is that of the time before the first step" : `line ${reporter.locate(earlier).line} has it`
      reporter.error([...path, "name"], `the name ${quote(name)} is taken: ${where}`)
    } else names.set(name, path)
    return name
  }
  let unique = otherwise
  for (let number = 2; names.has(unique); number++) unique = `${otherwise} (${number})`
  names.set(unique, path)
  return unique
}


type Decoded = Readonly<Record<string, unknown>>

/** What a step does, of which something else is wrong: that is looked at all the same. */
const legibleIn = (step: Decoded, does: Does): Decoded | undefined =>
  (does === "inject" || does === "check" || (does === "deploy" && typeof step[does] === "string") ? step : undefined)

const readAction = (does: Does, decoded: Decoded, path: Path, plan: Plan | undefined, walk: Walk): Action | undefined => {
  const { reporter } = walk
  const at = [...path, does]
  const value = decoded[does]
  switch (does) {
    case "deploy": {
      const version = walk.files.version(value as string, at, reporter, walk.lab)
      return version === undefined ? undefined : { kind: "deploy", version }
    }
    case "inject": {
      const faults = readFaults(withFiles(value, at, reporter, fileOfOwn(walk)), at, reporter, plan)
      return faults === undefined ? undefined : { kind: "inject", faults }
    }
    case "heal":
      return readHeal(value as string | ReadonlyArray<string>, at, walk)
    case "exec":
      return readExec(value as typeof Exec.Type, at, plan, walk)
    case "wait":
      return { kind: "wait", ms: parseSpan(value as string)! }
    case "check":
      return readChecks(value, at, plan, walk)
    case "scenario":
      return readScenario(value as ScenarioSpec, at, plan, walk)
    case "pause":
      return { kind: "pause", text: value as string }
    case "probe-only":
      return { kind: "probe", ms: parseSpan(value as string)! }
    default:
      return does satisfies never
  }
}

/** Recordings that faults in the rehearsal itself name. */
const fileOfOwn = ({ files, reporter }: Walk): FileOf => (name, where) => files.named(name, where, reporter)?.content

const readHeal = (value: string | ReadonlyArray<string>, at: Path, { injects, reporter }: Walk): Action => {
  const names = typeof value === "string" ? [value] : value
  if (names.length === 0) reporter.error(at, "the list is empty: there is nothing to heal")
  if (names.includes("all")) return { kind: "heal", steps: "all" }
  const steps = names.flatMap((name, index) => {
    const place = injects.get(name)
    if (place !== undefined) return [place]
    const list = injects.size === 0 ? "no step before this one injects" : `expected all or ${[...injects.keys()].join(", ")}`
    reporter.error(typeof value === "string" ? at : [...at, index], `no step of that name injects: ${list}`,
      { meant: { word: name, among: injects.keys() } })
    return []
  })
  return { kind: "heal", steps }
}

const readExec = (spec: typeof Exec.Type, at: Path, plan: Plan | undefined, { plans, reporter }: Walk): Action | undefined => {
  const { code = 0, command, node, output, timeout } = spec
  const known = plan === undefined ? nodesInAny(plans.filter((one) => one !== undefined)) : nodesIn(plan)
  if (plan !== undefined && !known.has(node)) {
    reporter.error([...at, "node"], `no node ${quote(node)}`, { meant: { word: node, among: known.keys() } })
  }
  const words = typeof command === "string" ? splitWords(command) : { ok: true as const, words: command }
  if (!words.ok) return undefined
  const timeoutMs = timeout === undefined ? defaultTimeoutMs : parseSpan(timeout)!
  return { kind: "exec", node, argv: words.words, timeoutMs, code, ...(output === undefined ? {} : { output }) }
}

/** A suite's file, `{file, only}`, one check, or a list of them. */
const readChecks = (value: unknown, at: Path, plan: Plan | undefined, walk: Walk): Action | undefined => {
  const { files, reporter } = walk
  const nodes = plan === undefined ? undefined : nodesIn(plan)
  if (typeof value === "string" || (typeof value === "object" && value !== null && "file" in value)) {
    const spec = typeof value === "string" ? { file: value } : decodeCheckFile(value, at, reporter)
    if (spec === undefined) return undefined
    const file = files.named(spec.file, typeof value === "string" ? at : [...at, "file"], reporter)
    if (file === undefined) return undefined
    const suite = parseSuite(file, { nodes, plan, fileOf: fileIn(file.files, file.unread) })
    if (!suite.ok) return void addTo(files, suite.diagnostics)
    const { only } = spec
    const checks = withLabels(suite.suite.checks, only === undefined ? [] : typeof only === "string" ? [only] : only)
    if (checks.length === 0) reporter.error([...at, "only"], "no check of the suite has this label")
    return { kind: "check", filename: file.filename, checks, parallel: suite.suite.parallel }
  }
  const isList = Array.isArray(value)
  const entries: ReadonlyArray<unknown> = isList ? value : [value]
  if (entries.length === 0) reporter.error(at, "the list is empty: there is nothing to check")
  const checks = entries.flatMap((entry, index) =>
    readCheck(entry, { path: isList ? [...at, index] : at, index, nodes, plan, fileOf: fileOfOwn(walk), reporter }) ?? [])
  return checks.length < entries.length || checks.length === 0 ? undefined
    : { kind: "check", filename: "", checks, parallel: defaultParallel }
}

type ScenarioSpec = string | { readonly file: string; readonly seed?: number; readonly speed?: number }

const readScenario = (value: ScenarioSpec, at: Path, plan: Plan | undefined, { files, reporter }: Walk): Action | undefined => {
  const { file: name, seed, speed = 1 } = typeof value === "string" ? { file: value } : value
  const file = files.named(name, typeof value === "string" ? at : [...at, "file"], reporter)
  if (file === undefined) return undefined
  const nodes = plan === undefined ? undefined : nodesIn(plan)
  const fileOf = fileIn(file.files, file.unread)
  const result = parseScenario(file, {
    ...(plan === undefined ? {} : { plan }),
    ...(seed === undefined ? {} : { seed }),
    fileOf,
    readCheck: (check, path, of) => readCheck(check, { path, index: 0, nodes, plan, fileOf, reporter: of })
  })
  if (!result.ok) return void addTo(files, result.diagnostics)
  return { kind: "scenario", scenario: result.scenario, speed }
}

/** The same file may be used by several steps: what is wrong with it is told once. */
const addTo = ({ diagnostics }: Files, found: ReadonlyArray<Diagnostic>): void => {
  const known = new Set(diagnostics.map((one) => JSON.stringify(one)))
  diagnostics.push(...found.filter((one) => !known.has(JSON.stringify(one))))
}

const faultTitle = ({ forMs, kind, spec }: ReadFault, plan: Plan | undefined): string => {
  const title = plan === undefined ? kind : kindOf(kind)!.title(spec, plan)
  return forMs === undefined ? title : `${title} for ${forMs / 1000}s`
}

/** One line about what a step does. */
const detailOf = (action: Action, value: unknown, plan: Plan | undefined): string => {
  switch (action.kind) {
    case "deploy":
    case "heal":
      return typeof value === "string" ? value : (value as ReadonlyArray<string>).join(", ")
    case "inject":
      return action.faults.map((fault) => faultTitle(fault, plan)).join(", ")
    case "exec":
      return `${action.node}: ${action.argv.join(" ")}`
    case "check":
      if (action.filename !== "") return action.filename
      return action.checks.length === 1 ? action.checks[0]!.name : `${action.checks.length} checks`
    case "scenario":
      return action.scenario.name
    case "pause":
      return action.text
    default:
      return typeof value === "string" ? value : ""
  }
}
