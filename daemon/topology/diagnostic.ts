/**
 * What is wrong with a topology, where, and what was probably meant.
 *
 * Every stage from YAML to plan reports `Diagnostic`s instead of throwing. They are plain data: the command line prints
 * them with `render`, editors and CI read the fields.
 */

/** Keys and indexes from the document's root to a value. */
export type Path = ReadonlyArray<string | number>

export interface Diagnostic {
  readonly severity: "error" | "warning"
  readonly filename: string
  /** Counts from 1. */
  readonly line: number
  /** Counts from 1, in UTF-16 code units, as editors do. */
  readonly column: number
  /** `nodes.pc.ports.eth0.mtu`, `links[0].endpoints[1]`; empty for the document as a whole. */
  readonly path: string
  readonly message: string
  /** The closest valid word. */
  readonly suggestion?: string
}

/** One line: `file:line:column: path: message (did you mean "x"?)`. Contains no control characters. */
export const render = (d: Diagnostic): string => {
  const path = d.path === "" ? "" : `${d.path}: `
  const suggestion = d.suggestion === undefined ? "" : ` (did you mean ${quote(d.suggestion)}?)`
  return `${printable(d.filename)}:${d.line}:${d.column}: ${path}${d.message}${suggestion}`
}

/** A path as people write it. Keys that are not plain words are quoted. */
export const formatPath = (path: Path): string => {
  let text = ""
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`
    else if (/^[A-Za-z0-9_-]{1,64}$/.test(part)) text += text === "" ? part : `.${part}`
    else text += `[${quote(part)}]`
  }
  return text
}

const longest = 64

/** A user's text inside a message: quoted, escaped, cut to 64 characters. */
export const quote = (text: string): string =>
  `"${printable(text.length > longest ? `${text.slice(0, longest)}…` : text).replaceAll('"', '\\"')}"`

/** Escapes control, bidirectional and unpaired surrogate characters, so that a file cannot write to the terminal. */
const printable = (text: string): string =>
  text.toWellFormed().replace(
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** The candidate nearest to `word`, if it is near enough to be a typing error. */
export const closest = (word: string, candidates: Iterable<string>): string | undefined => {
  if (word.length > longest) return undefined
  const limit = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), limit)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

/** Damerau-Levenshtein distance (adjacent swaps count once), three rows at a time; gives up beyond `limit`. */
const editDistance = (a: string, b: string, limit: number): number => {
  let beforePrevious: Array<number> = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, substitution)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforePrevious[j - 2]! + 1)
      }
      row.push(best)
    }
    // Every way to the end leads through this row.
    if (Math.min(...row) > limit) return limit + 1
    beforePrevious = previous
    previous = row
  }
  return previous[b.length]!
}

/** By line and column, errors and warnings together, as a compiler prints them. */
export const inOrder = (diagnostics: ReadonlyArray<Diagnostic>): ReadonlyArray<Diagnostic> =>
  diagnostics.toSorted((a, b) => a.line - b.line || a.column - b.column)

/** Nobody reads more at once, and a file made to be wrong could fill the memory. */
const mostDiagnostics = 500
/** Words compared in search of suggestions: with thousands of nodes and errors there are better ways to spend seconds. */
const mostComparisons = 100_000

/**
 * Collects diagnostics of one document. `locate` turns a path into a position; a path is reported once only, because a
 * second complaint about the same value is nearly always a consequence of the first.
 */
export class Reporter {
  readonly diagnostics: Array<Diagnostic> = []
  private readonly seen = new Set<string>()
  private readonly filename: string
  /** Position of a path, for messages that point elsewhere ("already given at line 4"). */
  readonly locate: Locate

  constructor(filename: string, locate: Locate) {
    this.filename = filename
    this.locate = locate
  }

  /** How many errors there are so far, shown or not. */
  errors = 0
  private comparisons = 0

  error(path: Path, message: string, hints: Hints = {}): void {
    this.add("error", path, message, hints)
  }

  warning(path: Path, message: string): void {
    this.add("warning", path, message, {})
  }

  /** In another file than the document: what it says there. */
  errorIn(filename: string, { line, column }: { readonly line: number; readonly column: number }, message: string): void {
    this.errors++
    if (this.diagnostics.length < mostDiagnostics) {
      this.diagnostics.push({ severity: "error", filename, line, column, path: "", message })
    }
  }

  private add(severity: Diagnostic["severity"], path: Path, message: string, hints: Hints): void {
    const text = formatPath(path)
    const once = `${severity} ${text}`
    if (this.seen.has(once)) return
    if (severity === "error") this.errors++
    if (this.diagnostics.length >= mostDiagnostics) return
    this.seen.add(once)
    const { line, column } = this.locate(path, hints.at ?? "value")
    const suggestion = hints.suggestion ?? this.guess(hints.meant)
    this.diagnostics.push({
      severity, filename: this.filename, line, column, path: text, message, ...(suggestion === undefined ? {} : { suggestion })
    })
  }

  private guess(meant: Hints["meant"]): string | undefined {
    if (meant === undefined || this.comparisons > mostComparisons) return undefined
    const among = [...meant.among]
    this.comparisons += among.length
    return closest(meant.word, among)
  }
}

/** What makes an error easier to act on. */
export interface Hints {
  readonly suggestion?: string | undefined
  /** A word that is not known, and the known ones: the closest becomes the suggestion. */
  readonly meant?: { readonly word: string; readonly among: Iterable<string> }
  /** Point at the key of the last path element rather than at its value. */
  readonly at?: "key" | "value"
}

/** Position of a path's value or key; of its nearest existing ancestor when the path does not exist. */
export type Locate = (path: Path, at?: "key" | "value") => { readonly line: number; readonly column: number }
