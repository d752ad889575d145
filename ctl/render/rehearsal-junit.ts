/**
 * A rehearsal as JUnit XML, the dialect of `junit.ts`: a suite for each run, with a case for each step, for each flow's budgets at
 * each step, for each check, and one for the run having come to its end.
 */

import { attributes, escape, seconds } from "../junit.ts"
import { holds, limitText, valueText } from "../rehearsal/budgets.ts"
import type { Budget, CheckOutcome, RehearsalRecord, Run, Step } from "../rehearsal/record.ts"
import { measured } from "../rehearsal/recorder.ts"
import type { Note } from "./check-annotation.ts"

interface Case {
  readonly name: string
  readonly classname: string
  readonly line: number
  readonly file: string
  readonly timeMs: number
  /** Absent: it passed. */
  readonly problem?: {
    readonly tag: "failure" | "error" | "skipped"
    readonly message: string
    readonly text: string
    readonly type: string
  }
}

export const rehearsalJunit = (record: RehearsalRecord): string => {
  const suites = record.runs.map((run) => ({ run, cases: casesOf(run, record) }))
  // A suite without runs would pass.
  const missing = record.repeat - record.runs.length
  if (missing > 0) suites.push({ run: emptyRun(record), cases: [missingCase(record, missing)] })
  const { skipped: _skipped, ...sums } = totals(suites.flatMap(({ cases }) => cases))
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: "weft rehearse", ...sums, time: seconds(record.durationMs) })}>`,
    ...suites.flatMap(({ cases, run }) => suite(run, cases, record)),
    "</testsuites>",
    ""
  ].join("\n")
}

/** What failed, at its line of the rehearsal or of the suite. */
export const rehearsalNotes = (record: RehearsalRecord): ReadonlyArray<Note> =>
  record.runs.flatMap((run) => casesOf(run, record)).flatMap(({ file, line, name, problem }) =>
    problem === undefined || problem.tag === "skipped" ? []
      : [{ level: "error" as const, file, line, title: name, message: problem.message }])

const totals = (cases: ReadonlyArray<Case>) => {
  const count = (tag: string): number => cases.filter(({ problem }) => problem?.tag === tag).length
  return { tests: cases.length, failures: count("failure"), errors: count("error"), skipped: count("skipped") }
}

const suite = (run: Run, cases: ReadonlyArray<Case>, { filename, lab, name, repeat }: RehearsalRecord): ReadonlyArray<string> => [
  `  <testsuite${attributes({ name: repeat > 1 ? `${name}, run ${run.number}` : name, ...totals(cases), time: seconds(run.durationMs),
    timestamp: run.startedAt.replace(/\.\d+Z$/, "") })}>`,
  "    <properties>",
  ...[["lab", lab], ["file", filename], ["verdict", run.verdict]].map(([key = "", value = ""]) =>
    `      <property${attributes({ name: key, value })}/>`),
  "    </properties>",
  ...cases.flatMap(caseLines),
  "  </testsuite>"
]

const caseLines = ({ classname, file, line, name, problem, timeMs }: Case): ReadonlyArray<string> => {
  const head = attributes({ name, classname, file, ...(line > 0 ? { line } : {}), time: seconds(timeMs) })
  if (problem === undefined) return [`    <testcase${head}/>`]
  const { message, tag, text, type } = problem
  const inside = tag === "skipped" ? `      <skipped${attributes({ message })}/>`
    : `      <${tag}${attributes({ message, type })}>${escape(text)}</${tag}>`
  return [`    <testcase${head}>`, inside, "    </testcase>"]
}

const casesOf = (run: Run, record: RehearsalRecord): ReadonlyArray<Case> => [
  ...run.steps.map((step) => stepCase(step, run, record)),
  ...budgetCases(run, record),
  ...run.checks.map((check) => checkCase(check, record)),
  endCase(run, record)
]

const stepCase = (step: Step, run: Run, { filename, lab }: RehearsalRecord): Case => {
  const { detail, endMs, kind, line, name, reasons, startMs, state } = step
  const timeMs = startMs === null ? 0 : (endMs ?? run.durationMs) - startMs
  const head = { name: `step ${name}`, classname: `${lab}.step`, file: filename, line, timeMs }
  const message = reasons.length === 0 ? { waiting: "not reached",
    stopped: "it was under way when the rehearsal broke off" }[state as string] ?? state
    : reasons.join("; ")
  const text = [`step: ${name} (${[kind, detail].filter((word) => word !== "").join(" ")})`, ...reasons].join("\n")
  if (state === "passed") return head
  // A budget that broke is the failure of its flow; the step itself did what it should.
  if (state === "broken" || state === "failed") return { ...head, problem: { tag: "failure", message, text, type: kind } }
  // What was not come to is skipped, whether somebody stopped the run or its daemon died: the end's case is the error that says why.
  if (state === "skipped" || state === "waiting") return { ...head, problem: { tag: "skipped", message, text, type: kind } }
  return { ...head, problem: { tag: "error", message, text, type: kind } }
}

const stepEnd = ({ endMs, startMs }: Step): number => (endMs ?? startMs ?? 0) - (startMs ?? 0)

/** One for each flow, step and budget that was put to the test. */
const budgetCases = (run: Run, { filename, lab }: RehearsalRecord): ReadonlyArray<Case> => {
  const steps = new Map(run.steps.map((step) => [step.name, step]))
  return run.budgets.flatMap((budget) => {
    const isMine = holds(budget, run)
    const tried = run.cells.filter(({ flow, sent, step }) => isMine(flow, step)
      && (sent !== null || breachOf(budget, flow, step) !== undefined))
    return tried.map((cell): Case => {
      const { flow, step } = cell
      const breach = breachOf(budget, flow, step)
      const head = { name: `${flow} ${budget.kind} in ${step}`, classname: `${lab}.budget`, file: filename, line: budget.line,
        timeMs: steps.has(step) ? stepEnd(steps.get(step)!) : 0 }
      if (breach === undefined) return head
      const seen = valueText(budget, Math.max(breach.value, measured(budget, cell)))
      const message = `${flow} in step "${step}": ${seen}, ${budget.kind} is ${limitText(budget)}`
      return { ...head, problem: { tag: "failure", message, type: budget.kind,
        text: [`flow:    ${flow}`, `step:    ${step}`, `budget:  ${budget.kind} ${limitText(budget)}`, `seen:    ${seen}`,
          `outages: ${cell.outages}`].join("\n") } }
    })
  })
}

const breachOf = ({ breaches }: Budget, flow: string, step: string) => breaches
  .find((breach) => breach.flow === flow && breach.step === step)

const checkCase = (check: CheckOutcome, { filename: own, lab }: RehearsalRecord): Case => {
  const { details, durationMs, error, expected, filename, kind, line, name, outcome, seen, step, where } = check
  const head = { name: `${name} (${step})`, classname: `${lab}.${kind}`, file: filename === "" ? own : filename, line, timeMs: durationMs }
  if (outcome === "passed") return head
  const text = [`expected: ${expected}`, `seen:     ${seen}`, ...(where === "" ? [] : [`where:    ${where}`]), ...details].join("\n")
  return { ...head, problem: { tag: outcome === "warning" ? "skipped" : error ? "error" : "failure", message: seen, text, type: kind } }
}

/** What no other case says: it broke off, a flow could not be probed, something was left behind. */
const endCase = (run: Run, { filename, lab }: RehearsalRecord): Case => {
  const head = { name: "the rehearsal runs to its end", classname: `${lab}.rehearsal`, file: filename, line: 0, timeMs: run.durationMs }
  if (run.verdict === "broken-off") {
    const message = `it broke off: ${run.reasons.join("; ")}`
    return { ...head, problem: { tag: "error", message, text: message, type: "rehearsal" } }
  }
  const isTold = run.steps.some(({ state }) => state === "failed" || state === "broken") || run.budgets
    .some(({ breaches }) => breaches.length > 0)
    || run.checks.some(({ outcome }) => outcome === "failed")
  if (run.verdict === "passed" || isTold) return head
  const message = run.reasons.join("; ")
  return { ...head, problem: { tag: "failure", message, text: message, type: "rehearsal" } }
}

const missingCase = ({ filename, lab, repeat }: RehearsalRecord, missing: number): Case => {
  const message = `${missing} of ${repeat} runs were not made`
  return { name: "all runs are made", classname: `${lab}.rehearsal`, file: filename, line: 0, timeMs: 0,
    problem: { tag: "error", message, text: message, type: "rehearsal" } }
}

const emptyRun = ({ repeat, startedAt }: RehearsalRecord): Run => ({
  number: repeat, startedAt, durationMs: 0, verdict: "broken-off", reasons: [], steps: [], flows: [], cells: [], budgets: [], checks: [],
    faults: [], log: [],
  before: null, after: null, rolledBack: false, healed: null, destroyed: null
})
