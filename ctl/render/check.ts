/** Results of checks for people: a line each as they come, more of those that did not pass, and a tally. */

import type { CheckDone, CheckResult } from "../messages.ts"
import { printable, type Style } from "../terminal.ts"

const duration = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

/**
 * One result.
 *
 * @param filename of the suite, so that the place can be opened from the terminal
 */
export const resultLines = (result: CheckResult, filename: string, style: Style): ReadonlyArray<string> => {
  const { column, details, durationMs, error, expected, line, name, outcome, seen, where } = result
  const took = style.dim(`(${duration(durationMs)})`)
  const row = (label: string, text: string): string => `    ${style.dim(label.padEnd(8))} ${printable(text)}`
  if (outcome === "passed") {
    // How long it was is what people run this one for.
    return [`${style.green("✓")} ${printable(name)} ${took}`, ...(result.kind === "failover" ? [row("seen", seen)] : [])]
  }
  const mark = outcome === "warning" ? style.yellow("!") : style.red("✗")
  return [
    `${mark} ${style.bold(printable(name))} ${took}`,
    ...(expected === name ? [] : [row("expected", expected)]),
    row(error ? "error" : "seen", seen),
    ...(where === "" ? [] : [row("where", where)]),
    ...details.map((detail) => row("", detail)),
    row("at", `${filename}:${line}:${column}`)
  ]
}

const count = (number: number, word: string): string => `${number} ${word}`

/** `62 passed, 1 failed, 2 warnings in 4.2 s` */
export const tallyLine = ({ durationMs, failed, passed, warnings }: CheckDone, style: Style): string => {
  const parts = [
    style.green(count(passed, "passed")),
    ...(failed === 0 ? [] : [style.red(count(failed, "failed"))]),
    ...(warnings === 0 ? [] : [style.yellow(count(warnings, warnings === 1 ? "warning" : "warnings"))])
  ]
  return `${parts.join(", ")} ${style.dim(`in ${duration(durationMs)}`)}`
}
