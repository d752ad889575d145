/** Errors of a topology file, as compilers print them: `file:line:column: path: message`. */

import type { Diagnostic, Topology } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"

/** Longest piece of a source line that is quoted; around the column when the line is longer. */
const quoteLength = 100

/**
 * @param source quotes the offending lines of this file with a caret; absent: one line per diagnostic
 */
export const diagnosticLines = (
  diagnostics: ReadonlyArray<Diagnostic>,
  style: Style,
  source?: Pick<Topology, "filename" | "content">
): ReadonlyArray<string> => {
  const sourceLines = source === undefined ? undefined : Buffer.from(source.content).toString("utf8").split(/\r\n|\r|\n/)
  return diagnostics.flatMap((diagnostic) => {
    const { column, line } = diagnostic
    const position = [diagnostic.filename, ...(line > 0 ? [line, ...(column > 0 ? [column] : [])] : [])].join(":")
    const kind = diagnostic.severity === "WARNING" ? `${style.yellow("warning")}: ` : ""
    const path = diagnostic.path === "" ? "" : `${style.cyan(printable(diagnostic.path))}: `
    const meant = diagnostic.suggestion === "" ? "" : ` (did you mean ${style.green(printable(diagnostic.suggestion))}?)`
    const head = `${style.bold(printable(position))}: ${kind}${path}${printable(diagnostic.message)}${meant}`
    const text = diagnostic.filename === source?.filename ? sourceLines?.[line - 1] : undefined
    return text === undefined || text.trim() === "" ? [head] : [head, ...quote(text, line, column, style)]
  })
}

const quote = (text: string, line: number, column: number, style: Style): ReadonlyArray<string> => {
  const from = column > quoteLength ? column - 1 - quoteLength / 2 : 0
  const piece = printable(text.replaceAll("\t", " ").slice(from, from + quoteLength))
  const margin = `${line} | `.padStart(8)
  return [
    style.dim(margin) + piece,
    `${style.dim("| ".padStart(margin.length))}${" ".repeat(Math.max(0, column - 1 - from))}${style.red("^")}`
  ]
}

/** `3 errors, 1 warning` */
export const tally = (diagnostics: ReadonlyArray<Diagnostic>): string => {
  const warnings = diagnostics.filter(({ severity }) => severity === "WARNING").length
  const errors = diagnostics.length - warnings
  const counted = (count: number, word: string): ReadonlyArray<string> =>
    count === 0 ? [] : [`${count} ${word}${count === 1 ? "" : "s"}`]
  return [...counted(errors, "error"), ...counted(warnings, "warning")].join(", ")
}

export const hasErrors = (diagnostics: ReadonlyArray<Diagnostic>): boolean =>
  diagnostics.some(({ severity }) => severity !== "WARNING")
