/** Faults for reading: those in force, what has just come or gone, and the kinds that there are. */

import type { Fault } from "../fault.ts"
import type { FaultKind } from "../fault-messages.ts"
import type { Diagnostic } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { agoOf } from "./ago.ts"
import { table, type Column } from "./table.ts"

interface Look {
  readonly style: Style
  readonly width: number
  readonly nowMs: number
}

/** `12 s`, `4 min`, `2 h`: what is left of a fault; `-` for one that stays. */
const leftOf = ({ until }: Fault, nowMs: number): string => {
  const at = Date.parse(until)
  if (Number.isNaN(at)) return "-"
  const seconds = Math.max(0, (at - nowMs) / 1000)
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  return seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

/** `3 changes, `: of the lab; of a fault that happens once there are none to count. */
export const changesOf = (changed: number): string => (changed === 0 ? "" : `${changed} ${changed === 1 ? "change" : "changes"}, `)

/** A row for each fault, with its lab where there are several. */
export const faultTable = (faults: ReadonlyArray<Fault>, { nowMs, style, width }: Look): ReadonlyArray<string> => {
  const severalLabs = new Set(faults.map(({ lab }) => lab)).size > 1
  const others = faults.some(({ by }) => by !== "weft inject")
  const columns: ReadonlyArray<Column> = [
    ...(severalLabs ? [{ title: "LAB" }] : []),
    { title: "ID" },
    { title: "FAULT", folds: true },
    { title: "INJECTED" },
    { title: "LEFT", align: "right" },
    ...(others ? [{ title: "BY", folds: true }] : [])
  ]
  const rows = faults.map((fault) => [
    ...(severalLabs ? [printable(fault.lab)] : []),
    printable(fault.id),
    printable(fault.title),
    agoOf(fault.injectedAt, nowMs),
    leftOf(fault, nowMs),
    ...(others ? [printable(fault.by)] : [])
  ])
  return table(columns, rows, { style, width })
}

/** The kinds, with the words that each takes. */
export const kindTable = (kinds: ReadonlyArray<FaultKind>, { style, width }: Pick<Look, "style" | "width">): ReadonlyArray<string> =>
  table(
    [{ title: "KIND" }, { title: "WORDS, AND WHAT IT DOES", folds: true }],
    kinds.map(({ name, once, summary, usage }) => {
      const does = once ? `${summary} (once)` : summary
      return [style.bold(name), usage === "" ? does : [usage, does]]
    }),
    { style, width }
  )

/** What is wrong with the words of a command line: the words with a mark under each wrong one, then a line for each error. */
export const wrongWords = (diagnostics: ReadonlyArray<Diagnostic>, line: string, style: Style): ReadonlyArray<string> => {
  const columns = new Set(diagnostics.map(({ column }) => column))
  const last = Math.max(0, ...columns)
  const marks = Array.from({ length: last }, (_, index) => (columns.has(index + 1) ? "^" : " ")).join("")
  return [
    `  ${printable(line)}`,
    `  ${style.red(marks)}`,
    ...diagnostics.map(({ message, path, suggestion }) => {
      const [, ...keys] = path.split(".")
      const key = keys.length === 0 || keys.some((each) => each.includes("[")) ? "" : `${style.cyan(printable(keys.join(".")))}: `
      const meant = suggestion === "" ? "" : ` (did you mean ${style.green(printable(suggestion))}?)`
      return `${style.red("error:")} ${key}${printable(message)}${meant}`
    })
  ]
}
