/**
 * Results of checks as JUnit XML, the dialect that Jenkins, GitLab and GitHub's actions read: one suite, one case for each
 * check in the order of the file. A check that only warns is a skipped case, one that could not be tried an error.
 */

import type { CheckResult } from "./messages.ts"

export interface Report {
  /** What has run: `weft check`, `weft scenario`. */
  readonly program: string
  readonly suite: string
  readonly filename: string
  readonly lab: string
  /** RFC 3339 */
  readonly startedAt: string
  readonly durationMs: number
  readonly results: ReadonlyArray<CheckResult>
  /** Checks that were not run: somebody ended it, or the daemon went away. */
  readonly missing: number
  /** Why, when there are such. */
  readonly reason?: string
}

/** XML 1.0 has no way to write most control characters, nor half a surrogate pair. */
const legal = (text: string): string => text.toWellFormed().replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd")

/** Text between tags. */
export const escape = (text: string): string =>
  legal(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** In an attribute a line break would become a space. */
const attribute = (text: string): string => escape(text).replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)

/** ` name="value"`, for each. */
export const attributes = (of: Readonly<Record<string, string | number>>): string =>
  Object.entries(of).map(([name, value]) => ` ${name}="${attribute(String(value))}"`).join("")

export const seconds = (ms: number): string => (ms / 1000).toFixed(3)

/** What a person reads of a check that did not pass. */
export const story = ({ details, expected, seen, where }: CheckResult): string =>
  [`expected: ${expected}`, `seen:     ${seen}`, ...(where === "" ? [] : [`where:    ${where}`]),
    ...details.map((line) => `  ${line}`)].join("\n")

const caseOf = (result: CheckResult, { filename, lab }: Report): ReadonlyArray<string> => {
  const { durationMs, error, kind, line, name, outcome, seen } = result
  const head = attributes({ name, classname: `${lab}.${kind}`, file: filename, line, time: seconds(durationMs) })
  if (outcome === "passed") return [`    <testcase${head}/>`]
  const message = attributes({ message: outcome === "warning" ? `warning: ${seen}` : seen })
  if (outcome === "warning") return [`    <testcase${head}>`, `      <skipped${message}/>`,
    `      <system-out>${escape(story(result))}</system-out>`, "    </testcase>"]
  const tag = error ? "error" : "failure"
  return [`    <testcase${head}>`, `      <${tag}${message}${attributes({ type: kind })}>${escape(story(result))}</${tag}>`,
    "    </testcase>"]
}

/** The whole document. */
export const junit = (report: Report): string => {
  const { durationMs, filename, lab, missing, program, reason, results, startedAt, suite } = report
  const ordered = results.toSorted((a, b) => a.index - b.index)
  const count = (is: (result: CheckResult) => boolean): number => results.filter(is).length
  const failures = count(({ error, outcome }) => outcome === "failed" && !error)
  const errors = count(({ error, outcome }) => outcome === "failed" && error) + (missing > 0 ? 1 : 0)
  const skipped = count(({ outcome }) => outcome === "warning")
  const tests = results.length + (missing > 0 ? 1 : 0)
  const totals = { tests, failures, errors, time: seconds(durationMs) }
  const broken = `${missing} ${missing === 1 ? "check was" : "checks were"} not run${reason === undefined ? "" : `: ${reason}`}`
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: program, ...totals })}>`,
    `  <testsuite${attributes({ name: suite, ...totals, skipped, timestamp: startedAt.replace(/\.\d+Z$/, "") })}>`,
    "    <properties>",
    `      <property${attributes({ name: "lab", value: lab })}/>`,
    `      <property${attributes({ name: "file", value: filename })}/>`,
    "    </properties>",
    ...ordered.flatMap((result) => caseOf(result, report)),
    ...(missing === 0
      ? []
      : [`    <testcase${attributes({ name: "the suite runs to its end", classname: `${lab}.suite`, time: "0.000" })}>`,
        `      <error${attributes({ message: broken, type: "suite" })}/>`, "    </testcase>"]),
    "  </testsuite>",
    "</testsuites>",
    ""
  ].join("\n")
}
