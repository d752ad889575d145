/** What a machine can and cannot do, as a table with the worst on top. */

import type { Finding } from "../messages.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { table } from "./table.ts"

const order = { MISSING: 0, WARNING: 1, OK: 2 } as const

/** One row per finding, then how many there are of each verdict. */
export const findingLines = (
  findings: ReadonlyArray<Finding>,
  options: { width: number; style: Style }
): ReadonlyArray<string> => {
  const { style } = options
  const sign = { OK: style.green("✓"), WARNING: style.yellow("!"), MISSING: style.red("✗") } as const
  const rows = findings
    .toSorted((a, b) => order[a.verdict] - order[b.verdict])
    .map((finding) => [
      sign[finding.verdict],
      printable(finding.subject),
      printable(finding.detail),
      printable(finding.neededFor),
      printable(finding.remedy)
    ])
  const columns = [
    { title: "" },
    { title: "WHAT", folds: true },
    { title: "FOUND", folds: true },
    { title: "NEEDED FOR", folds: true },
    ...(findings.some(({ remedy }) => remedy !== "") ? [{ title: "WHAT TO DO", folds: true }] : [])
  ]
  const count = (verdict: Finding["verdict"]): number => findings.filter((finding) => finding.verdict === verdict).length
  return [...table(columns, rows, options), "", `${count("OK")} fine, ${count("WARNING")} warnings, ${count("MISSING")} missing`]
}
