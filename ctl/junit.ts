/**
 * Results of checks as JUnit XML, the dialect that Jenkins, GitLab and GitHub's actions read: one suite, one case for each
 * check in the order of the file. A check that only warns is a skipped case, one that could not be tried an error. When a run
 * breaks off, one case is the error that says why, and what was not come to is skipped: one cause is one red case.
 */

import type { CheckResult } from "./messages.ts"

/** What was not come to. */
export type Unreached = Pick<CheckResult, "index" | "name" | "kind" | "line">

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
  /** It broke off: somebody ended it, or the daemon went away. */
  readonly broken?: {
    readonly reason: string
    /** `3 checks were not run`; empty: nothing is missing but the end. */
    readonly missing: string
    readonly unreached: ReadonlyArray<Unreached>
  }
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

const unreachedCase = ({ kind, line, name }: Unreached, reason: string, { filename, lab }: Report): ReadonlyArray<string> => [
  `    <testcase${attributes({ name, classname: `${lab}.${kind}`, file: filename, line, time: "0.000" })}>`,
  `      <skipped${attributes({ message: `not done: ${reason}` })}/>`,
  "    </testcase>"
]

const brokenCase = (message: string, { filename, lab }: Report): ReadonlyArray<string> => [
  `    <testcase${attributes({ name: "the suite runs to its end", classname: `${lab}.suite`, file: filename, time: "0.000" })}>`,
  `      <error${attributes({ message, type: "suite" })}/>`,
  "    </testcase>"
]

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
  const { broken, durationMs, filename, lab, program, results, startedAt, suite } = report
  const unreached = broken?.unreached ?? []
  const byIndex = [
    ...results.map((result) => [result.index, caseOf(result, report)] as const),
    ...unreached.map((one) => [one.index, unreachedCase(one, broken!.reason, report)] as const)
  ].toSorted(([a], [b]) => a - b)
  const count = (is: (result: CheckResult) => boolean): number => results.filter(is).length
  const failures = count(({ error, outcome }) => outcome === "failed" && !error)
  const errors = count(({ error, outcome }) => outcome === "failed" && error) + (broken === undefined ? 0 : 1)
  const skipped = count(({ outcome }) => outcome === "warning") + unreached.length
  const tests = results.length + unreached.length + (broken === undefined ? 0 : 1)
  const totals = { tests, failures, errors, time: seconds(durationMs) }
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: program, ...totals })}>`,
    `  <testsuite${attributes({ name: suite, ...totals, skipped, timestamp: startedAt.replace(/\.\d+Z$/, "") })}>`,
    "    <properties>",
    `      <property${attributes({ name: "lab", value: lab })}/>`,
    `      <property${attributes({ name: "file", value: filename })}/>`,
    "    </properties>",
    ...byIndex.flatMap(([, lines]) => lines),
    ...(broken === undefined ? [] : brokenCase([broken.missing, broken.reason].filter((part) => part !== "").join(": "), report)),
    "  </testsuite>",
    "</testsuites>",
    ""
  ].join("\n")
}
