/** Two records of a rehearsal side by side, for a terminal: what changed, the largest first, and a tally. Pure. */

import type { CellChange, Compared, Comparison } from "../rehearsal/compare.ts"
import { printable, type Style } from "../terminal.ts"
import { figure } from "./page/html.ts"
import { table } from "./table.ts"

const mostRows = 60

export const comparisonLines = (
  { after, before, cells, newFlows, newSteps, vanishedFlows, vanishedSteps }: Comparison,
  { style, width }: { readonly style: Style; readonly width: number }
): ReadonlyArray<string> => {
  const changed = cells.filter(({ change }) => change !== "same")
  const count = (of: CellChange["change"]): number => cells.filter(({ change }) => change === of).length
  const right = "right" as const
  const columns = [{ title: "FLOW", folds: true }, { title: "IN STEP", folds: true }, { title: "A, ms", align: right },
    { title: "B, ms", align: right },
    { title: "CHANGE, ms", align: right }, { title: "NOISE, ms", align: right }, { title: "" }]
  const rows = changed.slice(0, mostRows).map(({ afterMs, beforeMs, change, flow, noiseMs, step }) => {
    const paint = change === "worse" ? style.red : style.green
    const sign = afterMs >= beforeMs ? "+" : "\u2212"
    return [printable(flow), step === "" ? "before" : printable(step), figure(beforeMs), figure(afterMs),
      paint(`${sign}${figure(Math.abs(afterMs - beforeMs))}`),
      style.dim(`±${figure(noiseMs)}`), paint(change)]
  })
  const list = (what: string, names: ReadonlyArray<string>, paint: (text: string) => string): ReadonlyArray<string> =>
    names.length === 0 ? [] : [`${paint(what)} ${names.slice(0, mostRows).map(printable).join(", ")}${names.length > mostRows ? ", ..."
      : ""}`]
  const worse = count("worse")
  const better = count("better")
  return [
    headLine("A", before, style), headLine("B", after, style),
    ...(rows.length === 0 ? [] : ["", ...table(columns, rows, { style, width })]),
    ...(changed.length > mostRows ? [style.dim(`and ${changed.length - mostRows} more (-o json has all)`)] : []),
    "",
    ...list("new flows:", newFlows, style.cyan), ...list("flows gone:", vanishedFlows, style.red),
    ...list("new steps:", newSteps, style.cyan), ...list("steps gone, or not come to:", vanishedSteps, style.red),
    `${worse === 0 ? "0 worse" : style.red(`${worse} worse`)}, ${better === 0 ? "0 better"
      : style.green(`${better} better`)}, ${count("same")} the same`
      + style.dim(" (longest outages by flow and step)")
  ]
}

const headLine = (letter: string, { name, runs, startedAt, verdict }: Compared, style: Style): string => {
  const paint = verdict === "passed" ? style.green : style.red
  const told = paint(verdict === "broken-off" ? "broke off" : verdict)
  return `${style.bold(letter)}  ${printable(name)}, ${told}, ${runs === 1 ? "one run" : `median of ${runs} runs`}, ${
    printable(startedAt.replace("T", " ").replace(/\.\d+Z$/, " UTC"))}`
}
