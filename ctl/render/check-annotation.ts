/** Failed checks as annotations of GitHub's workflows: they show at the suite's line in a pull request. */

import type { CheckResult } from "../messages.ts"

const data = (text: string): string => text.replace(/[%\r\n]/g, (character) => encodeURIComponent(character))
const property = (text: string): string => data(text).replace(/[:,]/g, (character) => encodeURIComponent(character))

/** One workflow command; undefined for what passed. */
export const annotation = (result: CheckResult, filename: string): string | undefined => {
  const { column, expected, line, name, outcome, seen, where } = result
  if (outcome === "passed") return undefined
  const level = outcome === "warning" ? "warning" : "error"
  const message = [`expected: ${expected}`, `seen: ${seen}`, ...(where === "" ? [] : [`where: ${where}`])].join("\n")
  return `::${level} file=${property(filename)},line=${line},col=${column},title=${property(name)}::${data(message)}`
}
