/** `weft rehearse compare A.json B.json`: what became better or worse from one record to the other. Needs no daemon. */

import { Exit, Failure } from "../command.ts"
import { compareRecords } from "../rehearsal/compare.ts"
import { readRecord } from "../rehearsal/read-record.ts"
import { comparisonLines } from "../render/rehearsal-compare.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf, widthOf } from "../terminal.ts"

interface Wanted {
  readonly output: "table" | "json" | "yaml"
  readonly failIfWorse: boolean
}

/** @throws {Failure} exit 2 when these are not two records */
export const compareFiles = async (files: ReadonlyArray<string>, { failIfWorse, output }: Wanted): Promise<number> => {
  const [before, after, ...more] = files
  if (before === undefined || after === undefined || more.length > 0) {
    throw new Failure(Exit.usage, `Comparing takes two records, not ${files.length}`,
      "Such as: weft rehearse compare before.json after.json")
  }
  const comparison = compareRecords(await readRecord(before), await readRecord(after))
  if (output === "table") print(comparisonLines(comparison, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  else await printValue(output, comparison)
  return failIfWorse && comparison.isWorse ? Exit.failed : Exit.done
}
