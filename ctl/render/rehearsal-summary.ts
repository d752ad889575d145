/**
 * What a rehearsal came to, as lines for a terminal: outages in ms by flow and step, the worst flows first; then whatever did not go as it
 * should, each with its flow, step and milliseconds; the verdict last, where the eye is.
 */

import { reasonLines } from "../rehearsal/budgets.ts"
import { cellsOf, flowNames, repeatedCells, stepNames } from "../rehearsal/outages.ts"
import { progressOf } from "../rehearsal/progress.ts"
import type { Flow, RehearsalRecord } from "../rehearsal/record.ts"
import { printable, type Style } from "../terminal.ts"
import { milliseconds } from "./flows.ts"
import { figure } from "./page/html.ts"
import { type Column, naturalWidth, table } from "./table.ts"

const mostFlows = 40
const mostReasons = 20

export const rehearsalLines = (
  record: RehearsalRecord,
  look: { readonly style: Style; readonly width: number }
): ReadonlyArray<string> => {
  const { style } = look
  const { name, reasons, repeat, runs, verdict } = record
  const all = reasonLines(record)
  const checks = runs.flatMap((run) => run.checks.filter(({ outcome }) => outcome === "failed").map((check) => ({ run, check })))
  const paint = verdict === "passed" ? style.green : verdict === "failed" ? style.red : style.yellow
  const head = { passed: "✓ passed", failed: "✗ failed", "broken-off": "! broke off" }[verdict]
  const steps = `${progressOf(runs.at(-1)?.steps ?? [])} steps`
  const took = `${(record.durationMs / 1000).toFixed(1)} s`
  const notes = [...(verdict === "broken-off" ? ["what came after that is not known"] : []),
    ...(runs.some(({ rolledBack }) => rolledBack) ? ["rolled back"] : []),
    ...(runs.at(-1)?.healed === false ? ["faults are still in force: weft faults"] : [])]
  return [
    ...outageLines(record, look),
    ...troubles(record, style),
    ...checks.slice(0, mostReasons).map(({ check, run }) =>
      `${style.red("✗")} ${runs.length > 1 ? `run ${run.number}: ` : ""}check ${printable(check.name)}: ${printable(check.seen)}`),
    ...all.slice(0, mostReasons).map((line) => `${paint(verdict === "broken-off" ? "!" : "✗")} ${printable(line)}`),
    ...(all.length > mostReasons ? [style.dim(`  and ${all.length - mostReasons} more (-o json and --html have all)`)] : []),
    `${paint(style.bold(head))} ${printable(name)}: ${repeat > 1 ? `${runs.length} of ${repeat} runs` : steps}, ${took}`
      + (reasons.length > 0 && notes.length > 0 ? `; ${notes.join("; ")}` : "")
  ]
}

const many = (count: number): string => (count === 1 ? "One flow" : `${count} flows`)

/** Flows that could not be probed, or not in time. */
const troubles = ({ runs }: RehearsalRecord, style: Style): ReadonlyArray<string> => {
  const flows = runs.flatMap((run) => run.flows)
  const errors = new Map(flows.filter(({ error }) => error !== "").map(({ error, name }) => [name, error]))
  const late = flows.filter(({ unsent }) => unsent > 0)
  const worst = late.reduce<Flow | undefined>((a, b) => (a === undefined || b.blindMs > a.blindMs ? b : a), undefined)
  return [
    ...[...errors].slice(0, mostReasons).map(([name, error]) => `${style.red("✗")} ${printable(name)} was not probed: ${printable(error)}`),
    ...(worst === undefined ? [] : [style.dim(`${many(late.length)} could not send in time: outages may be off by up to ${
      milliseconds(worst.blindMs)} (${printable(worst.name)})`)])
  ]
}

/** The table; steps are numbered where their names do not fit. */
const outageLines = (record: RehearsalRecord,
  { style, width }: { readonly style: Style; readonly width: number }): ReadonlyArray<string> => {
  const { runs } = record
  const names = stepNames(runs)
  const flows = flowNames(runs)
  if (flows.length === 0 || names.length === 0) return []
  const shown = flows.slice(0, mostFlows)
  const text = cellText(record, style)
  const rows = shown.map((flow) => [printable(flow), ...names.map((step) => text(flow, step))])
  const numbers = new Map(runs.flatMap(({ steps }) => steps.map(({ name }, index) => [name, String(index + 1)] as const)))
  const columns = (titles: ReadonlyArray<string>): ReadonlyArray<Column> =>
    [{ title: "FLOW", folds: true }, ...titles.map((title) => ({ title, align: "right" as const }))]
  const full = columns(names.map((name) => (name === "" ? "before" : printable(name))))
  const isFull = Math.max(...names.map((name) => name.length)) <= 28 && naturalWidth(full, rows) <= Math.min(width, 160)
  const hidden = flows.slice(shown.length)
  return [
    style.dim(runs.length > 1 ? `Longest outage in ms, median/worst of ${runs.length} runs` : "Longest outage in ms"),
    ...table(isFull ? full : columns(names.map((name) => (name === "" ? "before" : numbers.get(name) ?? ""))), rows, { style, width }),
    ...(hidden.length === 0 ? [] : [style.dim(`and ${hidden.length} more flows, which were out for less (-o json and --html have all)`)]),
    ...(isFull ? [] : names.filter((name) => name !== "").map((name) => style.dim(`  ${numbers.get(name)} ${printable(name)}`))),
    ""
  ]
}

/** What over budget is bears a `!`. */
const cellText = ({ runs }: RehearsalRecord, style: Style): ((flow: string, step: string) => string) => {
  const broken = new Set(runs.flatMap(({ budgets }) => budgets.flatMap(({ breaches }) => breaches
    .map(({ flow, step }) => `${flow}\u0000${step}`))))
  const repeated = repeatedCells(runs)
  const single = runs[0] === undefined ? () => undefined : cellsOf(runs[0])
  return (flow, step) => {
    const told = runs.length > 1 ? repeated(flow, step) : single(flow, step)
    const worstMs = told === undefined ? 0 : "worstMs" in told ? told.worstMs : told.longestMs
    if (told === undefined && runs.length > 1) return ""
    if (worstMs === 0) return style.dim("0")
    const figures = told !== undefined && "medianMs" in told ? `${figure(told.medianMs)}/${figure(told.worstMs)}` : figure(worstMs)
    const lasts = told?.lasts === true ? "+" : ""
    return broken.has(`${flow}\u0000${step}`) ? style.red(`${figures}${lasts}!`) : `${figures}${lasts}`
  }
}
