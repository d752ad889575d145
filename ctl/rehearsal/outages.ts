/** Outages by flow and step, of one run or of several: what tables and comparisons are made of. Pure. */

import type { Cell, Flow, Outage, Run } from "./record.ts"

/** A cell over all runs that came to this step. */
export interface RepeatedCell {
  readonly flow: string
  readonly step: string
  /** The longest outage of each run, in the order of runs; 0: none. */
  readonly longestMs: ReadonlyArray<number>
  readonly medianMs: number
  readonly worstMs: number
  /** Number of the run that had it. */
  readonly worstRun: number
  readonly lasts: boolean
}

/** Looks cells up by flow and step. */
export const cellsOf = ({ cells }: Run): ((flow: string, step: string) => Cell | undefined) => {
  const byName = new Map(cells.map((cell) => [`${cell.flow}\u0000${cell.step}`, cell]))
  return (flow, step) => byName.get(`${flow}\u0000${step}`)
}

/** Names of steps that have begun in any run, in order; `""`, before the first, only where a flow was out then. */
export const stepNames = (runs: ReadonlyArray<Run>): ReadonlyArray<string> => {
  const begun = new Set(runs.flatMap(({ steps }) => steps.filter(({ startMs }) => startMs !== null).map(({ name }) => name)))
  const ordered = new Set(runs.flatMap(({ steps }) => steps.map(({ name }) => name)).filter((name) => begun.has(name)))
  const early = runs.some(({ cells }) => cells.some(({ outages, step }) => step === "" && outages > 0))
  return [...(early ? [""] : []), ...ordered]
}

/** Names of flows over all runs, the worst first: by the longest outage, then all outages together, then as in the file. */
export const flowNames = (runs: ReadonlyArray<Run>): ReadonlyArray<string> => {
  const worst = new Map<string, { longest: number; total: number }>()
  for (const run of runs) {
    for (const flow of run.flows) if (!worst.has(flow.name)) worst.set(flow.name, { longest: 0, total: 0 })
    for (const cell of run.cells) {
      const known = worst.get(cell.flow)
      if (known === undefined) continue
      known.longest = Math.max(known.longest, cell.longestMs)
      known.total += cell.totalMs
    }
  }
  return [...worst].sort(([, a], [, b]) => b.longest - a.longest || b.total - a.total).map(([name]) => name)
}

export const longestMs = ({ outages }: Flow): number => outages.reduce((worst, { lengthMs }) => Math.max(worst, lengthMs), 0)
export const totalMs = ({ outages }: Flow): number => outages.reduce((sum, { lengthMs }) => sum + lengthMs, 0)

export const worstFirst = (flows: ReadonlyArray<Flow>): ReadonlyArray<Flow> =>
  flows.toSorted((a, b) => longestMs(b) - longestMs(a) || totalMs(b) - totalMs(a))

/** The outage that lasts now, or undefined. */
export const lasting = ({ outages }: Flow): Outage | undefined => outages.find(({ lasts }) => lasts)

/** Over all runs in which the flow was there and the step had begun; undefined without such. */
export const repeatedCells = (runs: ReadonlyArray<Run>): ((flow: string, step: string) => RepeatedCell | undefined) => {
  const looks = runs.map((run) => ({
    number: run.number,
    cell: cellsOf(run),
    flows: new Set(run.flows.map(({ name }) => name)),
    steps: new Set(["", ...run.steps.filter(({ startMs }) => startMs !== null).map(({ name }) => name)])
  }))
  return (flow, step) => {
    const values = looks.filter(({ flows, steps }) => flows.has(flow) && steps.has(step)).map(({ cell, number }) => {
      const { lasts = false, longestMs = 0 } = cell(flow, step) ?? {}
      return { number, longestMs, lasts }
    })
    if (values.length === 0) return undefined
    const worst = values.reduce((a, b) => (b.longestMs > a.longestMs ? b : a))
    const all = values.map((value) => value.longestMs)
    return { flow, step, longestMs: all, medianMs: median(all), worstMs: worst.longestMs, worstRun: worst.number,
      lasts: values.some(({ lasts }) => lasts) }
  }
}

/** The middle one, or the mean of the two in the middle; 0 of nothing. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return 0
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
