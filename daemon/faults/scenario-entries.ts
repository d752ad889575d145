/** The entries of a scenario's timeline: file -> tree, with everything that is wrong told to the reporter. Pure. */
import type { Plan } from "../plan/resource.ts"
import { type Path, quote, Reporter } from "../topology/diagnostic.ts"
import { doesOf, type EntryKeys } from "../topology/entry.ts"
import { decoder } from "../topology/explain.ts"
import { parseSpan } from "../topology/units.ts"
import { type FileOf, withFiles, withoutFiles } from "./files.ts"
import { kindOf } from "./kinds.ts"
import { happensOnce, type ReadFault, readFault, readFaults } from "./read.ts"
import type { TimedFault } from "./scenario.ts"
import { doing, type Does, entrySchemas, modifierNames, parseFrequency, parseRange, type RandomSpec, type Range,
  type Timing } from "./scenario-schema.ts"

/** When an entry happens, in ms since what it stands in began. */
export type When =
  | { readonly kind: "once"; readonly atMs: number }
  | { readonly kind: "every"; readonly firstMs: number; readonly everyMs: number; readonly jitterMs: number; readonly most: number
      readonly untilMs: number }

export type Act<C> =
  | { readonly kind: "inject"; readonly faults: ReadonlyArray<TimedFault>; readonly duration?: Range }
  | { readonly kind: "heal"; readonly names: ReadonlyArray<string> | "all" }
  | { readonly kind: "check"; readonly check: C }
  | { readonly kind: "wait"; readonly duration: Range }
  /** `choices`: by fault of the list, what it may become. */
  | { readonly kind: "random"; readonly choices: ReadonlyArray<ReadonlyArray<TimedFault>>; readonly fromMs: number; readonly toMs: number
      readonly often: { readonly count: number } | { readonly perMs: number }; readonly duration?: Range }
  | { readonly kind: "parallel" | "sequence"; readonly entries: ReadonlyArray<Entry<C>> }

export interface Entry<C> {
  /** Its name, or where it stands: what it draws depends on this and the seed alone. */
  readonly stream: string
  /** Its own, or that of what it stands in; empty: none. */
  readonly name: string
  readonly line: number
  readonly path: Path
  readonly when: When
  readonly act: Act<C>
}

export interface Reading<C> {
  readonly reporter: Reporter
  /** Of the lab, without faults; absent: names are not looked up. */
  readonly plan: Plan | undefined
  readonly fileOf: FileOf
  readonly readCheck: (value: unknown, path: Path) => C | undefined
  /** Names of entries so far, and where. */
  readonly names: Map<string, Path>
  /** What is to be healed by name: looked up when all names are known. */
  readonly heals: Array<{ readonly path: Path; readonly name: string }>
}

interface Place {
  readonly path: Path
  readonly name: string
  /** Entries of a sequence follow each other. */
  readonly follows: boolean
}

const decoders = Object.fromEntries(doing.map((does) => [does, decoder(entrySchemas[does] as never)])) as Record<
  Does, (value: unknown, path: Path, reporter: Reporter) => (Timing & Readonly<Record<string, unknown>>) | undefined
>

/** A list of entries; those with errors are left out. */
export const readEntries = <C>(values: ReadonlyArray<unknown>, place: Place, reading: Reading<C>): ReadonlyArray<Entry<C>> => {
  if (values.length === 0) reading.reporter.error(place.path, "the list is empty: there is nothing to do")
  return values.flatMap((value, index) => readEntry(value, { ...place, path: [...place.path, index] }, reading) ?? [])
}

const entryKeys: EntryKeys<Does> = {
  doing,
  modifiers: modifierNames,
  example: "{at: 10s, inject: {link-down: fw:wan}, for: 5s}",
  instead: "begin another entry of the list, or use parallel"
}

const readEntry = <C>(value: unknown, place: Place, reading: Reading<C>): Entry<C> | undefined => {
  const { path } = place
  const { reporter } = reading
  const does = doesOf(value, path, reporter, entryKeys)
  if (does === undefined) return undefined
  const decoded = decoders[does](value, path, reporter)
  if (decoded === undefined) {
    inspect(does, (value as Readonly<Record<string, unknown>>)[does], { ...place, path: [...path, does] }, reading)
    return undefined
  }
  const { name = "" } = decoded
  if (name !== "") register(name, [...path, "name"], reading)
  const when = whenOf(decoded, place, reporter)
  const act = readAct(does, decoded, { ...place, name: name === "" ? place.name : name }, reading)
  if (act === undefined) return undefined
  const { line } = reporter.locate([...path, does], "key")
  return { stream: name === "" ? JSON.stringify(path) : name, name: name === "" ? place.name : name, line, path, when, act }
}

/** An entry that is wrong already: what else is. */
const inspect = <C>(does: Does, value: unknown, place: Place, reading: Reading<C>): void => {
  if (does === "inject") readInjected(value, place.path, reading)
  else if (does === "check") reading.readCheck(value, place.path)
  else if (does === "random") inspectRandom(value, place.path, reading)
  else if (Array.isArray(value)) readEntries(value, { ...place, follows: does === "sequence" }, reading)
}

const readInjected = <C>(value: unknown, path: Path, { fileOf, plan, reporter }: Reading<C>): ReadonlyArray<ReadFault> | undefined =>
  readFaults(withFiles(value, path, reporter, fileOf), path, reporter, plan)

const register = <C>(name: string, path: Path, { names, reporter }: Reading<C>): void => {
  const earlier = names.get(name)
  if (name === "all") reporter.error(path, '"all" means all of them: choose another name')
  else if (earlier !== undefined) {
    reporter.error(path, `the name ${quote(name)} is taken: line ${reporter.locate(earlier).line} has it already`)
  } else names.set(name, path)
}


const whenOf = ({ at, count, every, jitter, until }: Timing, { follows, path }: Place, reporter: Reporter): When => {
  const atMs = at === undefined ? undefined : parseSpan(at)!
  if (follows && at !== undefined && every === undefined) {
    reporter.error([...path, "at"], "entries of a sequence follow each other: put {wait: 5s} before it", { at: "key" })
  }
  if (every === undefined) {
    for (const [key, given] of Object.entries({ jitter, count, until })) {
      if (given !== undefined) reporter.error([...path, key], 'is for entries with "every"', { at: "key" })
    }
    return { kind: "once", atMs: atMs ?? 0 }
  }
  const everyMs = parseSpan(every)!
  const jitterMs = jitter === undefined ? 0 : parseSpan(jitter)!
  if (jitterMs * 2 > everyMs) reporter.error([...path, "jitter"], `is more than half of ${every}: one might come before the other`)
  return {
    kind: "every", firstMs: atMs ?? everyMs, everyMs, jitterMs, most: count ?? Infinity,
    untilMs: until === undefined ? Infinity : parseSpan(until)!
  }
}

const rangeOf = (value: unknown): { readonly duration?: Range } =>
  typeof value === "string" ? { duration: parseRange(value)! } : {}

const readAct = <C>(
  does: Does, decoded: Readonly<Record<string, unknown>>, { name, path }: Place, reading: Reading<C>
): Act<C> | undefined => {
  const { plan } = reading
  const value = decoded[does]
  const at = [...path, does]
  switch (does) {
    case "inject": {
      const faults = readInjected(value, at, reading)
      if (faults === undefined) return undefined
      if (decoded["for"] !== undefined && faults.every(({ kind }) => happensOnce(kind))) {
        reading.reporter.error([...path, "for"], `${faults[0]!.kind} happens once: there is nothing to heal after a time`, { at: "key" })
      }
      return { kind: "inject", faults: faults.map((one) => titled(one, plan)), ...rangeOf(decoded["for"]) }
    }
    case "heal": {
      const names = typeof value === "string" ? [value] : (value as ReadonlyArray<string>)
      if (names.length === 0) reading.reporter.error(at, "the list is empty: there is nothing to heal")
      if (names.includes("all")) return { kind: "heal", names: "all" }
      for (const [index, one] of names.entries()) {
        reading.heals.push({ path: typeof value === "string" ? at : [...at, index], name: one })
      }
      return { kind: "heal", names }
    }
    case "check": {
      const check = reading.readCheck(value, at)
      return check === undefined ? undefined : { kind: "check", check }
    }
    case "wait":
      return { kind: "wait", duration: parseRange(value as string)! }
    case "random":
      return readRandom(value as RandomSpec, at, reading)
    case "parallel":
    case "sequence": {
      const within = { path: at, name, follows: does === "sequence" }
      return { kind: does, entries: readEntries(value as ReadonlyArray<unknown>, within, reading) }
    }
    default:
      return does satisfies never
  }
}

/** With what it does, as people read it. */
const titled = (fault: ReadFault, plan: Plan | undefined): TimedFault => {
  const { kind, spec } = fault
  const plain = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value))
  const words = Object.entries(withoutFiles(kind, spec)).map(([key, value]) => `${key}=${plain(value)}`)
  return { ...fault, title: plan === undefined ? [kind, ...words].join(" ") : kindOf(kind)!.title(spec, plan) }
}

const emptyOf = "the list is empty: there is nothing to inject"
const twoTimes = "expected a list of two times such as [10s, 4m]"

/** What a random entry may inject, where something else in it is wrong already. */
const inspectRandom = <C>(value: unknown, path: Path, reading: Reading<C>): void => {
  if (typeof value !== "object" || value === null) return
  const { between, of, targets } = value as Readonly<Record<string, unknown>>
  if (Array.isArray(of) && of.length === 0) reading.reporter.error([...path, "of"], emptyOf)
  if (Array.isArray(between) && between.length !== 2) reading.reporter.error([...path, "between"], twoTimes)
  const isText = (one: unknown): one is string => typeof one === "string"
  const areKnown = targets === undefined || isText(targets) || (Array.isArray(targets) && targets.every(isText))
  if (Array.isArray(of) && areKnown) readChoices({ of, ...(targets === undefined ? {} : { targets }) }, path, reading)
}

/** By fault of the list, what it may become. */
const readChoices = <C>(
  { of, targets }: { readonly of: ReadonlyArray<unknown>; readonly targets?: string | ReadonlyArray<string> },
  path: Path,
  { fileOf, plan, reporter }: Reading<C>
): ReadonlyArray<ReadonlyArray<ReadFault>> => {
  const words = targets === undefined ? undefined : typeof targets === "string" ? [targets] : targets
  const aims = words?.map((word, index) => ({ word, path: [...path, "targets", ...(typeof targets === "string" ? [] : [index])] }))
  const candidates = aims?.flatMap((aim) => candidatesOf(aim.word, aim.path, plan, reporter))
  const known = of.map((value, index) => withFiles(value, [...path, "of", index], reporter, fileOf))
  return known.map((value, index) => choicesOf(value, [...path, "of", index], candidates, plan, reporter))
}

const readRandom = <C>(spec: RandomSpec, path: Path, reading: Reading<C>): Act<C> | undefined => {
  const { plan, reporter } = reading
  const { between, count, of, rate } = spec
  const before = reporter.errors
  const [fromMs = 0, toMs = 0] = between.map((time) => parseSpan(time)!)
  if (between.length !== 2) reporter.error([...path, "between"], twoTimes)
  else if (toMs <= fromMs) reporter.error([...path, "between"], "the second time is not after the first")
  if (count !== undefined && rate !== undefined) reporter.error([...path, "rate"], 'give either "rate" or "count"', { at: "key" })
  if (count === undefined && rate === undefined) reporter.error(path, 'how often? Give "rate", such as 4/min, or "count"', { at: "key" })
  if (of.length === 0) reporter.error([...path, "of"], emptyOf)
  const choices = readChoices(spec, path, reading)
  if (reporter.errors > before) return undefined
  return {
    kind: "random", choices: choices.map((each) => each.map((one) => titled(one, plan))), fromMs, toMs,
    often: count === undefined ? { perMs: parseFrequency(rate!)! } : { count }, ...rangeOf(spec.for)
  }
}

interface Candidate {
  readonly word: string
  /** One of several that a group, a label or `all` stands for: fine when it does not suit. */
  readonly isOneOfMany: boolean
}

/** In the one message that is none where the lab is still to come. */
export const needsLab = "cannot be looked up without a lab"

/** The nodes and links that a target of chance stands for; a plain word stands for itself. */
const candidatesOf = (word: string, path: Path, plan: Plan | undefined, reporter: Reporter): ReadonlyArray<Candidate> => {
  const [, what, which = ""] = /^(?:(group|label):(.+)|all)$/s.exec(word) ?? []
  if (what === undefined && word !== "all") return [{ word, isOneOfMany: false }]
  if (plan === undefined) {
    reporter.error(path, `${quote(word)} ${needsLab}: name its topology or lab, and start weftd where it runs`)
    return []
  }
  const nodes = plan.nodes.filter(({ group, labels }) =>
    what === undefined || (what === "group" ? group === which : Object.entries(labels).some(([key, value]) => `${key}=${value}` === which)))
  if (nodes.length === 0) {
    const among = what === "group" ? plan.nodes.map(({ group = "" }) => `group:${group}`)
      : plan.nodes.flatMap(({ labels }) => Object.entries(labels).map(([key, value]) => `label:${key}=${value}`))
    reporter.error(path, `no node has the ${what} ${quote(which)}`, { meant: { word, among: new Set(among) } })
    return []
  }
  const names = new Set(nodes.map(({ name }) => name))
  const segments = plan.resources.flatMap((one) =>
    one.kind === "segment" && one.spec.ports.some((port) => names.has(port.split(":")[0]!)) ? [one.spec.name] : [])
  return [...names, ...segments].map((each) => ({ word: each, isOneOfMany: true }))
}

/** What one fault of a random entry may become: as it is, or with each target that suits it. */
const choicesOf = (
  value: unknown, path: Path, candidates: ReadonlyArray<Candidate> | undefined, plan: Plan | undefined, reporter: Reporter
): ReadonlyArray<ReadFault> => {
  const map = typeof value === "string" ? { [value]: {} } : value
  const open = candidates === undefined ? undefined : aimed(map)
  if (open === undefined) {
    const fault = readFault(map, path, reporter, plan)
    return fault === undefined ? [] : [fault]
  }
  const read = candidates!.flatMap(({ isOneOfMany, word }) => {
    if (!isOneOfMany) return readFault(open(word), path, reporter, plan) ?? []
    const silent = new Reporter("", () => ({ line: 0, column: 0 }))
    const fault = readFault(open(word), path, silent, plan)
    // What would do nothing there does not suit, either.
    return fault === undefined || silent.diagnostics.length > 0 ? [] : fault
  })
  if (read.length > 0 || candidates!.length === 0 || candidates!.some(({ isOneOfMany }) => !isOneOfMany)) return read
  // Is it the fault itself, whatever its target? Then its first target shows it.
  readFault(open(candidates![0]!.word), path, reporter, plan)
  return []
}

/** How to aim a fault that does not say what at: by the first of its kind's words. Undefined: it does say, or is no fault. */
const aimed = (value: unknown): ((target: string) => unknown) | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  const found = Object.entries(value).find(([key]) => kindOf(key) !== undefined)
  if (found === undefined) return undefined
  const [name, spec] = found
  const first = kindOf(name)!.words[0]
  if (first === undefined || typeof spec !== "object" || spec === null || Array.isArray(spec)) return undefined
  const key = first.replace(/\.\.\.$/, "")
  if (Object.hasOwn(spec, key)) return undefined
  return (target) => ({ ...value, [name]: { [key]: first === key ? target : [target], ...spec } })
}
