/**
 * What a machine can and cannot do: first what is missing or may hurt, each with what to do about it, then what is fine in
 * one line each. What somebody has to type is never folded: it is there to be copied.
 */

import type { Finding } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { fold, table } from "./table.ts"

const order = { MISSING: 0, WARNING: 1, OK: 2 } as const

/** Problems as blocks, then a table of what is fine, then how many there are of each verdict. */
export const findingLines = (
  findings: ReadonlyArray<Finding>,
  options: { width: number; style: Style }
): ReadonlyArray<string> => {
  const problems = findings.filter(({ verdict }) => verdict !== "OK").toSorted((a, b) => order[a.verdict] - order[b.verdict])
  const rows = findings
    .filter(({ verdict }) => verdict === "OK")
    .map(({ subject, detail }) => [options.style.green("✓"), printable(subject), printable(detail)])
  const columns = [{ title: "" }, { title: "FINE" }, { title: "FOUND", folds: true }]
  const count = (verdict: Finding["verdict"]): number => findings.filter((finding) => finding.verdict === verdict).length
  return [
    ...problems.flatMap((problem) => [...problemLines(problem, options), ""]),
    ...(rows.length === 0 ? [] : [...table(columns, rows, options), ""]),
    `${count("OK")} fine, ${counted(count("WARNING"), "warning")}, ${count("MISSING")} missing`
  ]
}

const problemLines = (problem: Finding, { style, width }: { width: number; style: Style }): ReadonlyArray<string> => {
  const sign = problem.verdict === "MISSING" ? style.red("✗") : style.yellow("!")
  const indented = (text: string): ReadonlyArray<string> => fold(printable(text), width - 4).map((line) => `    ${line}`)
  return [
    `${sign}  ${style.bold(printable(problem.subject))}`,
    ...indented(problem.detail),
    ...indented(`needed for: ${problem.neededFor}`),
    ...(problem.remedy === "" ? [] : [`    what to do: ${printable(problem.remedy)}`])
  ]
}

/** `1 warning`, `3 warnings` */
const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`
