/**
 * Reading orders of faults: what somebody wrote -> `ReadFault`, or everything that is wrong with it.
 *
 *     file:          inject: { loss: { link: fw:wan, value: 30% }, for: 30s }     -> readFault, readFaults
 *     command line:  weft inject loss fw:wan value=30% --for 30s                  -> read-words.ts, by the same kinds
 *
 * The first of a kind's words alone may stand for its map: `inject: { link-down: fw:wan }`. Pure, total.
 */
import { Schema } from "effect"
import type { FaultRequest } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { formatPath, type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import { dayMs, duration } from "../topology/duration.ts"
import { decoder } from "../topology/explain.ts"
import { parseSpan } from "../topology/units.ts"
import type { Problem } from "./kind.ts"
import { kindNames, kindOf } from "./kinds.ts"
import { unknownKind } from "./near-kinds.ts"

export interface ReadFault extends FaultRequest {
  /** `for: 30s`; absent: until it is healed. */
  readonly forMs?: number
}

/** Who wants a fault for longer than a day heals it by hand. */
const decodeFor = decoder(duration({ example: "a time such as 500ms, 30s or 5m", leastMs: 1, mostMs: dayMs }))

/**
 * Reads one fault: a map with a kind as its key, and `for` beside it.
 *
 * @param path where `value` stands, for the reporter
 * @param plan of the lab's topology (its base plan); absent: names are not looked up, as long as no lab is known
 * @param own keys beside the kind that the caller reads itself, `at` of a scenario
 * @returns undefined when something is wrong, all of which has been reported
 */
export const readFault = (
  value: unknown,
  path: Path,
  reporter: Reporter,
  plan?: Plan,
  own: ReadonlyArray<string> = []
): ReadFault | undefined => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    reporter.error(path, "expected a map with a kind of fault, such as {link-down: fw:wan}")
    return undefined
  }
  const map = value as Readonly<Record<string, unknown>>
  const before = reporter.errors
  const kind = kindIn(map, path, reporter, own)
  const forMs = map["for"] === undefined ? undefined : readFor(map["for"], [...path, "for"], reporter)
  const spec = kind === undefined ? undefined : readSpec(kind, map[kind], [...path, kind], reporter, plan)
  if (kind !== undefined && map["for"] !== undefined && happensOnce(kind)) {
    reporter.error([...path, "for"], `${kind} happens once: there is nothing to heal after a time`, { at: "key" })
  }
  if (kind === undefined || spec === undefined || reporter.errors > before) return undefined
  return { kind, spec, ...(forMs === undefined ? {} : { forMs }) }
}

/** One fault, or a list of them. Undefined when something is wrong with any. */
export const readFaults = (value: unknown, path: Path, reporter: Reporter, plan?: Plan): ReadonlyArray<ReadFault> | undefined => {
  if (!Array.isArray(value)) {
    const one = readFault(value, path, reporter, plan)
    return one === undefined ? undefined : [one]
  }
  if (value.length === 0) reporter.error(path, "the list is empty: there is nothing to inject")
  const read = value.map((each, index) => readFault(each, [...path, index], reporter, plan))
  const found = read.filter((each) => each !== undefined)
  return found.length === value.length && found.length > 0 ? found : undefined
}

/** ms of `for`, or undefined when it has been reported. */
export const readFor = (value: unknown, path: Path, reporter: Reporter): number | undefined => {
  const decoded = decodeFor(value, path, reporter)
  return decoded === undefined ? undefined : parseSpan(decoded)
}

/** Kinds that are over as soon as they have happened. */
export const happensOnce = (kind: string): boolean => kindOf(kind)?.act !== undefined && kindOf(kind)?.apply === undefined

/**
 * Reads what stands behind a kind's key: a map, or a plain value for the first of its words.
 *
 * @returns the spec as plain JSON; undefined when something is wrong, all of which has been reported
 */
export const readSpec = (name: string, value: unknown, path: Path, reporter: Reporter, plan?: Plan): unknown => {
  const kind = kindOf(name)!
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value)
  const [first = ""] = kind.words
  const key = first.replace(/\.\.\.$/, "")
  const isPlain = !isMap && value !== null && value !== undefined && first !== ""
  const map = isMap ? value : isPlain ? { [key]: first === key || Array.isArray(value) ? value : [value] } : {}
  const shortened = isPlain ? new WithoutKey(reporter, path, key) : undefined
  const decoded = decoder(kind.schema as unknown as Schema.ConstraintDecoder<unknown>)(map, path, shortened?.reporter ?? reporter)
  if (decoded === undefined) {
    if (plan !== undefined) checkRest(name, map as Readonly<Record<string, unknown>>, path, shortened?.reporter ?? reporter, plan)
    return undefined
  }
  if (plan === undefined) return decoded
  const problems = kind.check(decoded, plan)
  for (const problem of problems) report(problem, decoded, path, shortened?.reporter ?? reporter)
  // Another fault may give it by then: whoever injects judges (ledger.ts).
  for (const { message, path: at } of problems.length > 0 ? [] : kind.useless?.(decoded, plan) ?? []) {
    (shortened?.reporter ?? reporter).warning([...path, ...at], `${message}, unless another fault gives it`)
  }
  return problems.length > 0 ? undefined : decoded
}

/** Looks up the names in a value of which something is wrong, so that all errors are told at once. */
const checkRest = (name: string, map: Readonly<Record<string, unknown>>, path: Path, reporter: Reporter, plan: Plan): void => {
  const wrong = (key: string): boolean => {
    const at = formatPath([...path, key])
    return reporter.diagnostics.some((one) => one.path === at || one.path.startsWith(`${at}.`) || one.path.startsWith(`${at}[`))
  }
  const sound = Object.fromEntries(Object.entries(map).filter(([key]) => !wrong(key)))
  try {
    for (const problem of kindOf(name)!.check(sound, plan)) {
      const [key] = problem.path
      if (typeof key === "string" && Object.hasOwn(sound, key)) report(problem, sound, path, reporter)
    }
  } catch {
    // It needs what is missing: the names are looked up when that is right.
  }
}

/** What a lab does not have, at its place. */
export const report = (problem: Problem, spec: unknown, path: Path, reporter: Reporter): void => {
  const word = problem.path.reduce<unknown>((at, key) => (at as Record<string | number, unknown> | undefined)?.[key], spec)
  const { candidates } = problem
  const hints = candidates === undefined || typeof word !== "string" ? {} : { meant: { word, among: candidates } }
  reporter.error([...path, ...problem.path], problem.message, hints)
}

/** A reporter for a value that stands for a map with one key: that key is not in the file, so paths do without it. */
class WithoutKey {
  readonly reporter: Reporter

  constructor(outer: Reporter, path: Path, key: string) {
    const shorten = (at: Path): Path => (at.length > path.length && at[path.length] === key ? at.toSpliced(path.length, 1) : at)
    this.reporter = Object.create(outer, {
      error: { value: (at: Path, ...rest: [string, Parameters<Reporter["error"]>[2]?]) => outer.error(shorten(at), ...rest) },
      diagnostics: { value: outer.diagnostics },
      warning: { value: (at: Path, message: string) => outer.warning(shorten(at), message) }
    }) as Reporter
  }
}

/** The one key that names a kind of fault. */
const kindIn = (map: Readonly<Record<string, unknown>>, path: Path, reporter: Reporter, own: ReadonlyArray<string>): string | undefined => {
  const known = new Set(["for", ...own])
  const keys = Object.keys(map)
  const [first, ...others] = keys.filter((key) => kindOf(key) !== undefined)
  for (const key of keys) {
    if (known.has(key) || kindOf(key) !== undefined) continue
    const what = first === undefined ? `unknown kind of fault${unknownKind(key)}` : "unknown key"
    const among = first === undefined ? kindNames : [...known, ...kindNames]
    reporter.error([...path, key], what, { meant: { word: key, among }, at: "key" })
  }
  for (const other of others) {
    reporter.error([...path, other], `is a second fault: ${quote(first!)} is here already, make it a list`, { at: "key" })
  }
  if (first === undefined && keys.every((key) => known.has(key))) {
    reporter.error(path, "names no kind of fault, such as link-down or loss; weft inject --list shows all")
  }
  return others.length > 0 ? undefined : first
}
