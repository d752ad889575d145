/**
 * Faults as words of a command line: `loss fw:wan value=30% direction=out`.
 *
 * Words are turned into the map that a file would have and then read as one (`read.ts`), so both take the same and say the
 * same. Words without `=` fill the keys that the kind lists, in their order. What a file says by its syntax (30 or "30", a
 * list or one) a word cannot: it is taken as whatever the kind's schema accepts at that key.
 */
import type { Schema } from "effect"
import type { Plan } from "../plan/resource.ts"
import { type Diagnostic, formatPath, inOrder, type Locate, type Path, quote, Reporter } from "../topology/diagnostic.ts"
import { decoder } from "../topology/explain.ts"
import { kindNames, kindOf } from "./kinds.ts"
import { unknownKind } from "./near-kinds.ts"
import { happensOnce, type ReadFault, readFor, readSpec } from "./read.ts"

export interface WordOrder {
  /** The kind first. */
  readonly words: ReadonlyArray<string>
  /** Of `--for`; empty: not given. */
  readonly for: string
  /** Texts of the files that words name, by the word's path: `lte.down`. */
  readonly files?: Readonly<Record<string, string>>
}

export type ReadWords =
  | { readonly ok: true; readonly fault: ReadFault }
  /** Column: where the word begins when all are joined by single spaces, `--for` and its value last. */
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/** @param plan of the lab's topology */
export const readWords = ({ files = {}, for: time, words }: WordOrder, plan: Plan): ReadWords => {
  const places = new Map<string, number>()
  const line = [...words, ...(time === "" ? [] : ["--for", time])]
  const columnOf = (index: number): number => line.slice(0, index).reduce((sum, word) => sum + word.length + 1, 1)
  const locate: Locate = (path) => {
    for (let length = path.length; length > 0; length--) {
      const found = places.get(formatPath(path.slice(0, length)))
      if (found !== undefined) return { line: 1, column: columnOf(found) }
    }
    return { line: 1, column: 1 }
  }
  const reporter = new Reporter("weft inject", locate)
  const fault = read({ files, places, reporter, time, words }, plan)
  return fault === undefined ? { ok: false, diagnostics: inOrder(reporter.diagnostics) } : { ok: true, fault }
}

interface Reading {
  readonly words: ReadonlyArray<string>
  readonly time: string
  readonly files: Readonly<Record<string, string>>
  /** By formatted path, the index of the word that says it. */
  readonly places: Map<string, number>
  readonly reporter: Reporter
}

const read = (reading: Reading, plan: Plan): ReadFault | undefined => {
  const { places, reporter, time, words } = reading
  const [name = "", ...rest] = words
  places.set("for", words.length + 1)
  const forMs = time === "" ? undefined : readFor(time, ["for"], reporter)
  places.set(formatPath([name]), 0)
  if (kindOf(name) === undefined) {
    const message = name === "" ? "no kind of fault is given" : `unknown kind of fault ${quote(name)}${unknownKind(name)}`
    reporter.error([name], message, { meant: { word: name, among: kindNames } })
    return undefined
  }
  if (time !== "" && happensOnce(name)) reporter.error(["for"], `${name} happens once: there is nothing to heal after a time`)
  const typed = mapOf(name, rest, reading)
  const value = withFiles(name, accepted(name, typed), reading)
  const spec = readSpec(name, value, [name], reporter, plan)
  if (spec === undefined || reporter.errors > 0) return undefined
  return { kind: name, spec, ...(forMs === undefined ? {} : { forMs }) }
}

/** What each key was given, as typed. */
type Typed = Map<string, ReadonlyArray<string>>

const mapOf = (name: string, words: ReadonlyArray<string>, { places, reporter }: Reading): Typed => {
  const kind = kindOf(name)!
  const keys = [...kind.words]
  const typed: Typed = new Map()
  const add = (key: string, value: string, index: number): void => {
    typed.set(key, [...(typed.get(key) ?? []), value])
    const path = [name, ...key.split(".")]
    if (!places.has(formatPath(path))) places.set(formatPath(path), index)
  }
  for (const [at, word] of words.entries()) {
    const index = at + 1
    const equals = word.indexOf("=")
    const key = word.slice(0, Math.max(0, equals))
    // `label:site=idc` is a target, not a key.
    if (/^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*$/.test(key)) {
      add(key, word.slice(equals + 1), index)
      continue
    }
    const [next] = keys
    if (next === undefined) {
      places.set(formatPath([name, `word ${index}`]), index)
      const takes = kind.usage === "" ? "no words" : kind.usage
      reporter.error([name, `word ${index}`], `unexpected word ${quote(word)}: ${name} takes ${takes}`)
    } else if (next.endsWith("...")) {
      add(next.slice(0, -3), word, index)
    } else {
      add(next, word, index)
      keys.shift()
    }
  }
  return typed
}

/** Without a prototype, as the reader of files makes them: a key may be any word. */
const emptyMap = (): Record<string, unknown> => Object.create(null) as Record<string, unknown>

/** The value at a dotted key, made of maps. */
const place = (map: Record<string, unknown>, key: string, value: unknown): void => {
  const path = key.split(".")
  let at = map
  for (const part of path.slice(0, -1)) {
    const inner = at[part]
    at = (typeof inner === "object" && inner !== null ? inner : (at[part] = emptyMap())) as Record<string, unknown>
  }
  at[path.at(-1)!] = value
}

const valueOf = (typed: Typed, choice: ReadonlyMap<string, unknown>): Record<string, unknown> => {
  const map = emptyMap()
  for (const key of typed.keys()) place(map, key, choice.get(key))
  return map
}

/** What a word may be, the likeliest first. */
const meanings = (words: ReadonlyArray<string>): ReadonlyArray<unknown> => {
  const [word = ""] = words
  if (words.length > 1) return [words, words.map(scalar), words.join(",")]
  const parts = word.split(",")
  return [scalar(word), word, ...(parts.length > 1 ? [parts, parts.map(scalar)] : []), [word], [scalar(word)]]
}

/** As YAML's core schema reads it. */
const scalar = (word: string): unknown =>
  word === "true" ? true : word === "false" ? false : /^-?(0|[1-9]\d*)(\.\d+)?$/.test(word) ? Number(word) : word

/** The map in which each key has the first of its meanings that the schema takes; its first, where it takes none. */
const accepted = (name: string, typed: Typed): Record<string, unknown> => {
  const decode = decoder(kindOf(name)!.schema as unknown as Schema.ConstraintDecoder<unknown>)
  const errorsAt = (choice: ReadonlyMap<string, unknown>, key: string): boolean => {
    const silent = new Reporter("", () => ({ line: 1, column: 1 }))
    decode(valueOf(typed, choice), [], silent)
    const at = formatPath(key.split("."))
    return silent.diagnostics.some(({ path }) => path === at || path.startsWith(`${at}.`) || path.startsWith(`${at}[`))
  }
  const choice = new Map<string, unknown>([...typed].map(([key, words]) => [key, meanings(words)[0]]))
  for (const [key, words] of typed) {
    if (!errorsAt(choice, key)) continue
    const fits = meanings(words).find((meaning) => !errorsAt(new Map([...choice, [key, meaning]]), key))
    if (fits !== undefined) choice.set(key, fits)
  }
  return valueOf(typed, choice)
}

/** With the texts of the files that it names, under the keys that the kind wants them at. */
const withFiles = (name: string, value: Record<string, unknown>, { files, reporter }: Reading): Record<string, unknown> => {
  for (const [key, into] of Object.entries(kindOf(name)!.files ?? {})) {
    const file = value[key]
    if (typeof file !== "string") continue
    const path: Path = [name, key]
    const text = Object.hasOwn(files, file) ? files[file] : undefined
    if (text === undefined) reporter.error(path, `the file ${quote(file)} was not sent along: there is none of that name where weft runs`)
    else value[into] = text
  }
  return value
}
