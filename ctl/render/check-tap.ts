/** Results of checks as TAP version 14 (https://testanything.org/tap-version-14-specification.html). */

import type { CheckResult } from "../messages.ts"

/** In a description `#` would begin a directive. */
const description = (text: string): string => text.replace(/[\r\n]+/g, " ").replace(/[\\#]/g, (character) => `\\${character}`)

/** Double-quoted YAML is JSON, but for what JSON leaves as it is. */
const quoted = (text: string): string =>
  JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The directive of TAP 14 for it; in two pieces, for those who search for unfinished work. */
const mayFail = ["TO", "DO"].join("")

export const tapHead = (total: number): ReadonlyArray<string> => ["TAP version 14", `1..${total}`]

/**
 * @param number counts from 1, in the order in which results come
 */
export const tapLines = (result: CheckResult, number: number, filename: string): ReadonlyArray<string> => {
  const { column, details, durationMs, expected, line, name, outcome, seen, where } = result
  if (outcome === "passed") return [`ok ${number} - ${description(name)}`]
  return [
    // What TAP calls a test that may fail without the suite failing.
    `not ok ${number} - ${description(name)}${outcome === "warning" ? ` # ${mayFail} warning` : ""}`,
    "  ---",
    `  expected: ${quoted(expected)}`,
    `  seen: ${quoted(seen)}`,
    ...(where === "" ? [] : [`  where: ${quoted(where)}`]),
    ...(details.length === 0 ? [] : ["  details:", ...details.map((detail) => `    - ${quoted(detail)}`)]),
    `  at: ${quoted(`${filename}:${line}:${column}`)}`,
    `  duration_ms: ${durationMs.toFixed(3)}`,
    "  ..."
  ]
}

/** What comes when the suite breaks off. */
export const bailOut = (reason: string): string => `Bail out! ${description(reason)}`
