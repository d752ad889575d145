/**
 * Schema issues -> diagnostics a person can act on.
 *
 * Effect's schemas report a tree: composites and pointers around leaves. Each leaf becomes one diagnostic at its path;
 * of several leaves at one path the first is kept (the reporter sees to that).
 */
import { Result, Schema } from "effect"
import type { SchemaAST, SchemaIssue } from "effect"
import { closest, type Path, quote, type Reporter } from "./diagnostic.ts"
import { profileKeys } from "./link-schema.ts"
import { nameSuggestion } from "./names.ts"

/** Words of other tools and earlier habits, and what weft calls them. */
const hints: Readonly<Record<string, string>> = {
  topology: "nodes, networks and links stand at the top level of the file",
  "<<": "merge keys are not supported: write it out, or put what nodes share into a group",
  bridges: 'a switch is an entry of "networks"',
  switches: 'a switch is an entry of "networks"',
  ...Object.fromEntries(
    Object.keys(profileKeys).map((key) => [key, "only links have it"])
  ),
  host: "a node, a group or a network has it",
  datapath: "a link or a network has it, or the file as a whole",
  encapsulation: "a lab has one, at the top level of the file",
  latency: 'called "delay" here',
  bw: 'called "rate" here',
  bandwidth: 'called "rate" here',
  permit: 'called "allow" here',
  protocol: "it stands behind the action, as in allow: tcp/443"
}

/** Decodes `value` (found at `path`), reporting everything that is wrong with it. */
export const decoder = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })
  return (value: unknown, path: Path, reporter: Reporter): S["Type"] | undefined => {
    const result = decode(value)
    if (Result.isSuccess(result)) return result.success
    explain({ issue: result.failure.issue, path, value, reporter })
    return undefined
  }
}

interface Context {
  readonly issue: SchemaIssue.Issue
  readonly path: Path
  /** What the file has at `path`. */
  readonly value: unknown
  readonly reporter: Reporter
  /** What the check that failed says it wants. */
  readonly expected?: unknown
}

const explain = (context: Context): void => {
  const { issue, path, value, reporter } = context
  switch (issue._tag) {
    case "Composite":
      for (const child of withoutConsequences(issue)) explain({ ...context, issue: child })
      return
    case "Pointer": {
      const key = issue.path[0]!
      const inside = typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined
      const rest = issue.path.slice(1)
      const next = rest.length === 0 ? issue.issue : ({ ...issue, path: rest } as SchemaIssue.Pointer)
      explain({ ...context, issue: next, path: [...path, key as string | number], value: inside })
      return
    }
    case "Filter":
      explain({ ...context, issue: issue.issue, expected: issue.filter.annotations?.["expected"] })
      return
    case "Encoding":
      explain({ ...context, issue: issue.issue })
      return
    case "AnyOf":
      if (issue.issues.length > 0) {
        // What a value is nearly is told before what it is not at all: "fast" is no time, rather than not "none".
        const near = issue.issues.filter((one) => one._tag !== "InvalidType" && !(one._tag === "AnyOf" && one.issues.length === 0))
        for (const child of near.length > 0 ? near : issue.issues) explain({ ...context, issue: child })
        return
      }
      return wrongType(context, issue.ast)
    case "InvalidType":
      return wrongType(context, issue.ast)
    case "UnexpectedKey":
      return unknownKey(context, issue.ast)
    case "MissingKey": {
      const parent = path.slice(0, -1)
      const at = typeof parent.at(-1) === "string" ? "key" : "value"
      return reporter.error(parent, `the key ${quote(String(path.at(-1)))} is missing`, { at })
    }
    case "InvalidValue": {
      const message = issue.annotations?.["message"]
      const wanted = context.expected
      const said = typeof message === "string" ? message : typeof wanted === "string" ? `expected ${wanted}` : "is not valid"
      const shown = typeof value === "string" ? `${quote(value)}: ` : typeof value === "number" ? `${value}: ` : ""
      const suggestion = typeof value === "string" && said.includes("a name has small") ? nameSuggestion(value) : undefined
      return reporter.error(path, `${shown}${said}`, { suggestion })
    }
    case "Forbidden":
    case "OneOf":
      return reporter.error(path, "is not valid")
    default:
      issue satisfies never
  }
}

/** A required key that is missing because it is misspelt needs no complaint of its own. */
const withoutConsequences = (composite: SchemaIssue.Composite): ReadonlyArray<SchemaIssue.Issue> => {
  const misspelt = new Set<string | undefined>()
  for (const issue of composite.issues) {
    if (issue._tag === "Pointer" && issue.issue._tag === "UnexpectedKey") {
      misspelt.add(closest(String(issue.path[0]), knownKeys(composite.ast)))
    }
  }
  return composite.issues.filter((issue) =>
    !(issue._tag === "Pointer" && issue.issue._tag === "MissingKey" && misspelt.has(String(issue.path[0])))
  )
}

const knownKeys = (ast: SchemaAST.AST): ReadonlyArray<string> =>
  ast._tag === "Objects" ? ast.propertySignatures.map((signature) => String(signature.name)) : []

const wrongType = ({ path, value, reporter }: Context, ast: SchemaAST.AST): void => {
  const words = literals(ast)
  if (words.length > 0 && typeof value === "string") {
    const message = `${quote(value)}: expected ${words.map(quote).join(" or ")}`
    return reporter.error(path, message, { meant: { word: value, among: words } })
  }
  if (value === null) {
    return reporter.error(path, `has no value: expected ${expected(ast)}, or remove the key`, { at: "key" })
  }
  const numberAsText = ast._tag === "String" && (typeof value === "number" || typeof value === "boolean")
  const textAsNumber = typeof value === "string" && ast._tag === "Number" && value.trim() !== "" && !Number.isNaN(Number(value))
  // Where a unit is missing, as in times, quotes alone would not help.
  const isUnitMissing = /\d(ms|s|mbit|%)/.test(expected(ast))
  const quotes = numberAsText && !isUnitMissing ? `: put it in quotes, "${String(value)}"` : ""
  const hint = textAsNumber ? ": remove the quotes" : quotes
  reporter.error(path, `expected ${expected(ast)}, not ${describe(value)}${hint}`)
}

const unknownKey = ({ path, reporter, value }: Context, ast: SchemaAST.AST): void => {
  const key = String(path.at(-1))
  const known = knownKeys(ast)
  // `{ allow: tcp/80,443 }` is a map of "allow" and "443".
  const split = value === null && /^[\d:]/.test(key) ? "a comma begins a new key inside { }: put text with commas in quotes" : undefined
  const said = split ?? (Object.hasOwn(hints, key) ? hints[key] : undefined)
  const hint = said === undefined ? "" : `: ${said}`
  const suggestion = hint === "" ? closest(key, known) : undefined
  const list = suggestion === undefined && hint === "" ? `: expected one of ${known.join(", ")}` : ""
  reporter.error(path, `unknown key${hint}${list}`, { suggestion, at: "key" })
}

const literals = (ast: SchemaAST.AST): ReadonlyArray<string> =>
  ast._tag === "Literal"
    ? [String(ast.literal)]
    : ast._tag === "Union" && ast.types.every((type) => type._tag === "Literal")
    ? ast.types.map((type) => String((type as SchemaAST.Literal).literal))
    : []

const expected = (ast: SchemaAST.AST): string => {
  const annotation = ast.annotations?.["expected"] ?? ast.checks?.at(-1)?.annotations?.["expected"]
  if (typeof annotation === "string") return annotation
  const words = literals(ast)
  if (words.length > 0) return words.map(quote).join(" or ")
  switch (ast._tag) {
    case "String":
      return "text"
    case "Number":
      return "a number"
    case "Boolean":
      return "true or false"
    case "Arrays":
      return "a list"
    case "Objects":
      return "a map"
    default:
      return "another type"
  }
}

const describe = (value: unknown): string => {
  if (Array.isArray(value)) return "a list"
  if (value === null || value === undefined) return "nothing"
  if (typeof value === "object") return "a map"
  return typeof value === "string" ? `the text ${quote(value)}` : `the ${typeof value} ${String(value)}`
}
