/** Scenarios for people: their schedule, and what happens as it happens. */

import type { ScenarioMoment, ScenarioPlanned, ScenarioStep } from "../scenario-messages.ts"
import { printable, type Style } from "../terminal.ts"
import { resultLines } from "./check.ts"

/** `1:05.250`, `12.000`: since the beginning. */
export const clock = (ms: number): string => {
  const seconds = (ms % 60_000) / 1000
  const minutes = Math.floor(ms / 60_000)
  return minutes === 0 ? seconds.toFixed(3) : `${minutes}:${seconds.toFixed(3).padStart(6, "0")}`
}

const length = (ms: number): string => (ms < 1000 ? `${ms}ms` : ms % 1000 === 0 ? `${ms / 1000}s` : `${(ms / 1000).toFixed(1)}s`)
const column = 10

const doings = ({ check, faults, heals, what }: ScenarioStep): ReadonlyArray<string> => {
  if (what === "inject") return faults.map(({ forMs, title }) => `${title}${forMs === 0 ? "" : ` for ${length(forMs)}`}`)
  return what === "heal" ? [heals.join(", ")] : [check]
}

/** The whole schedule: time, what is done, where it stands in the file. */
export const scheduleLines = ({ endingCheck, endingMs, steps }: ScenarioPlanned, filename: string, style: Style): ReadonlyArray<string> => {
  const rows = steps.flatMap((step) => {
    const mark = { inject: style.red("inject"), heal: style.green("heal  "), check: style.cyan("check ") }[step.what] ?? step.what
    const name = step.name === "" ? "" : style.dim(` [${printable(step.name)}]`)
    const place = style.dim(`  ${filename}:${step.line}`)
    return doings(step).map((text, index) =>
      `${(index === 0 ? clock(step.atMs) : "").padStart(column)}  ${mark}  ${printable(text)}${name}${place}`)
  })
  const ends = endingCheck === "" ? "end: all is healed" : `end at the latest; before, as soon as this passes: ${printable(endingCheck)}`
  return [...rows, `${clock(endingMs).padStart(column)}  ${style.dim(ends)}`]
}

/** What has happened. */
export const momentLines = (
  moment: ScenarioMoment,
  step: ScenarioStep | undefined,
  { filename, speed }: { readonly filename: string; readonly speed: number },
  style: Style
): ReadonlyArray<string> => {
  const { atMs, check, error, healed, injected } = moment
  const at = style.dim(clock(atMs).padStart(column))
  const forMs = (index: number): string => {
    const lasts = step?.faults[index]?.forMs ?? 0
    return lasts === 0 ? "" : ` for ${length(Math.round(lasts / speed))}`
  }
  const place = step === undefined ? "" : style.dim(` (${filename}:${step.line})`)
  return [
    ...injected.map(({ id, title }, index) => `${at}  ${style.red("inject")}  ${printable(title)}${forMs(index)} ${style.dim(id)}`),
    ...healed.map(({ id, title }) => `${at}  ${style.green("heal")}    ${printable(title)} ${style.dim(id)}`),
    ...(check === null ? [] : resultLines(check, filename, style).map((line, index) =>
      index === 0 ? `${at}  check   ${line}` : `${" ".repeat(column)}  ${line}`)),
    ...(error === "" ? [] : [`${at}  ${style.red("failed")}  ${printable(error)}${place}`])
  ]
}
