/**
 * A suite of checks: a file -> `Suite`, or everything that is wrong with it, each with file:line:column.
 *
 *     suite.ts         the file as a whole, and every name in it against the lab's nodes
 *     suite-schema.ts  its shape; kinds.ts has a line, and kinds/ a file, for each kind of check
 *     runner.ts        when which check runs, how often, and what comes out of it
 *     lab.ts           all that a check may ask of a lab; who answers is the daemon's business
 *
 * Pure: no clock, no I/O. Total: any bytes in, a value out; nothing throws.
 */
import { isIP } from "node:net"
import { fileIn, type FileOf } from "../faults/files.ts"
import type { Plan } from "../plan/resource.ts"
import { type Diagnostic, inOrder, type Path, quote, Reporter } from "../topology/diagnostic.ts"
import { refuseUnknownLab } from "../topology/entry.ts"
import { decoder } from "../topology/explain.ts"
import { readSource, type Source } from "../topology/source.ts"
import { type KindName, kindNames, kindOf } from "./kinds.ts"
import type { Reference } from "./kind.ts"
import type { LabNode } from "./lab.ts"
import { legible, msOf } from "./parts.ts"
import { checkSchemas, Outline } from "./suite-schema.ts"

export interface Check {
  /** Counts from 0, in the order of the file. */
  readonly index: number
  readonly kind: KindName
  readonly spec: unknown
  readonly name: string
  readonly labels: ReadonlyArray<string>
  readonly severity: "error" | "warning"
  /** It must fail. */
  readonly isInverted: boolean
  /** 0: tried once. */
  readonly eventuallyMs: number
  readonly alwaysMs: number
  /** Where it stands in the file; they count from 1. */
  readonly line: number
  readonly column: number
}

export interface Suite {
  readonly filename: string
  readonly name: string
  readonly topology?: string
  readonly lab?: string
  readonly parallel: number
  readonly checks: ReadonlyArray<Check>
}

export type SuiteResult =
  | { readonly ok: true; readonly suite: Suite }
  /** `topology`, `lab`: what it names, when that could be read all the same. */
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic>; readonly topology?: string; readonly lab?: string }

const defaultParallel = 32
const decodeOutline = decoder(Outline)
const decoders = new Map([...checkSchemas].map(([name, schema]) => [name, decoder(schema as never)]))

export interface Modifiers {
  readonly name?: string
  readonly labels?: string | ReadonlyArray<string>
  readonly severity?: "error" | "warning"
  readonly eventually?: string
  readonly always?: string
  readonly not?: boolean
  readonly expect?: "pass" | "fail"
}

/** What a suite is read with. */
export interface Surroundings {
  /** Of the lab that is to be checked; absent: names are not looked up. */
  readonly nodes?: ReadonlyMap<string, LabNode> | undefined
  /** Of that lab, without faults; absent: names in faults are not looked up. */
  readonly plan?: Plan | undefined
  /** Recordings that faults name; absent: none came along. */
  readonly fileOf?: FileOf
  /** Labs that are deployed, where the suite's own is meant; absent: that is not looked up. */
  readonly deployed?: ReadonlyArray<string> | undefined
}

/** Parses a suite. Never throws. */
export const parseSuite = (source: Source, { deployed, fileOf, nodes, plan }: Surroundings = {}): SuiteResult => {
  const read = readSource(source, { name: "suite", least: "checks", whole: "suite" })
  if (!read.ok) return { ok: false, diagnostics: read.diagnostics }
  const reporter = new Reporter(source.filename, read.locate)
  const outline = decodeOutline(read.value, [], reporter)
  const raw = (typeof read.value === "object" && read.value !== null ? read.value : {}) as Readonly<Record<string, unknown>>
  const entries = Array.isArray(raw["checks"]) ? raw["checks"] : []
  if (raw["topology"] !== undefined && raw["lab"] !== undefined) {
    reporter.error(["lab"], "a suite with a topology has its lab from there: remove one of the two", { at: "key" })
  }
  if (Array.isArray(raw["checks"]) && entries.length === 0) reporter.error(["checks"], "the list is empty: there is nothing to check")
  if (deployed !== undefined && raw["topology"] === undefined) refuseUnknownLab(raw["lab"], deployed, reporter)
  const defaults = outline?.defaults ?? {}
  const checks = entries.flatMap((value, index) =>
    readCheck(value, { path: ["checks", index], index, defaults, nodes, plan, fileOf, reporter }) ?? [])
  if (reporter.errors > 0 || outline === undefined) {
    const text = (key: "lab" | "topology") => (typeof raw[key] === "string" ? { [key]: raw[key] } : {})
    return { ok: false, diagnostics: inOrder(reporter.diagnostics), ...text("topology"), ...text("lab") }
  }
  const { lab, name = source.filename, parallel = defaultParallel, topology } = outline
  const places = { ...(topology === undefined ? {} : { topology }), ...(lab === undefined ? {} : { lab }) }
  return { ok: true, suite: { filename: source.filename, name, parallel, checks, ...places } }
}

/** Where a check stands, and what its names are looked up in. */
export interface CheckContext {
  readonly path: Path
  /** Becomes the check's `index`. */
  readonly index: number
  readonly defaults?: Modifiers
  readonly nodes: ReadonlyMap<string, LabNode> | undefined
  readonly plan: Plan | undefined
  readonly fileOf: FileOf | undefined
  readonly reporter: Reporter
}

const noFiles = fileIn(new Map(), new Map())

/** One check as files write it: `{reachable: {from: pc, to: db}, eventually: 5s}`. Undefined: the reporter knows why. */
export const readCheck = (value: unknown, context: CheckContext): Check | undefined => {
  const { defaults = {}, fileOf = noFiles, index, nodes, path, plan, reporter } = context
  const kind = kindIn(value, path, reporter)
  if (kind === undefined) return undefined
  const { problems, references, title, withFiles } = kindOf(kind)
  const plain = (value as Readonly<Record<string, unknown>>)[kind]
  const written = withFiles === undefined ? plain : withFiles(plain, { path: [...path, kind], reporter, fileOf })
  const decoded = decoders.get(kind)!({ ...(value as object), [kind]: written }, path, reporter) as
    (Modifiers & Readonly<Record<string, unknown>>) | undefined
  problems?.(written, { path: [...path, kind], plan, reporter })
  if (nodes !== undefined) {
    const named = decoded === undefined ? legible(written, references) : references(decoded[kind])
    for (const reference of named) lookUp(reference, [...path, kind], nodes, reporter)
  }
  if (decoded === undefined) return undefined
  const spec = decoded[kind]
  const { always, eventually = defaults.eventually, expect, labels = defaults.labels, not, severity = defaults.severity } = decoded
  if (not !== undefined && expect !== undefined) reporter.error([...path, "expect"], 'says the same as "not": remove one of the two',
    { at: "key" })
  const isInverted = not === true || expect === "fail"
  const { column, line } = reporter.locate([...path, kind], "key")
  return {
    index,
    kind,
    spec,
    name: decoded.name ?? `${isInverted ? "not: " : ""}${title(spec)}`,
    labels: labels === undefined ? [] : typeof labels === "string" ? [labels] : labels,
    severity: severity ?? "error",
    isInverted,
    eventuallyMs: msOf(eventually, 0),
    alwaysMs: msOf(always, 0),
    line,
    column
  }
}

/** The one key of an entry that says what kind of check it is. */
const kindIn = (value: unknown, path: Path, reporter: Reporter): KindName | undefined => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    reporter.error(path, "expected a map such as {reachable: {from: pc, to: db}}")
    return undefined
  }
  const keys = Object.keys(value)
  const [first, second] = keys.filter((key): key is KindName => (kindNames as ReadonlyArray<string>).includes(key))
  if (first === undefined) {
    const stranger = keys.find((key) => !knownModifiers.has(key))
    if (stranger === undefined) reporter.error(path, `names no kind of check: one of ${kindNames.join(", ")}`)
    else {
      const list = `expected one of ${kindNames.join(", ")}`
      reporter.error([...path, stranger], `unknown kind of check: ${list}`, { meant: { word: stranger, among: kindNames }, at: "key" })
    }
    return undefined
  }
  if (second === undefined) return first
  reporter.error([...path, second], `is a second check: "${first}" is here already, begin another entry of the list`, { at: "key" })
  return undefined
}

const knownModifiers = new Set(["name", "labels", "severity", "eventually", "always", "not", "expect"])

const lookUp = ({ path, text, what }: Reference, at: Path, nodes: ReadonlyMap<string, LabNode>, reporter: Reporter): void => {
  const place = [...at, ...path]
  const all = [...nodes.values()]
  if (what === "group") {
    const groups = new Set(all.map(({ group }) => group).filter((group) => group !== ""))
    if (!groups.has(text)) reporter.error(place, `no node is of group ${quote(text)}`, { meant: { word: text, among: groups } })
    return
  }
  if (what === "label") {
    const labels = new Set(all.flatMap((node) => Object.entries(node.labels).map(([key, value]) => `${key}=${value}`)))
    if (!labels.has(text)) reporter.error(place, `no node has the label ${quote(text)}`, { meant: { word: text, among: labels } })
    return
  }
  if (what === "target" && isIP(text) !== 0) return
  const [name = "", ifname] = what === "target" ? text.split(":") : [text]
  const node = nodes.get(name)
  if (node === undefined) return reporter.error(place, `no node ${quote(name)}`, { meant: { word: name, among: nodes.keys() } })
  const ports = node.addresses.map((one) => one.ifname)
  if (ifname !== undefined && !ports.includes(ifname)) {
    const list = ports.length === 0 ? "it has none" : `it has ${[...new Set(ports)].join(", ")}`
    reporter.error(place, `node ${quote(name)} has no port ${quote(ifname)} with an address: ${list}`,
      { meant: { word: ifname, among: ports } })
  }
}

/** The checks that have at least one of the labels; all without labels. */
export const withLabels = (checks: ReadonlyArray<Check>, labels: ReadonlyArray<string>): ReadonlyArray<Check> =>
  labels.length === 0 ? checks : checks.filter((check) => check.labels.some((label) => labels.includes(label)))
