/**
 * Two records of one rehearsal, such as before and after a change: which flow at which step is better, worse or the same. Pure.
 *
 * An outage is known to the spacing of its probes, and no two runs are alike. What differs by no more than the noise is the same:
 * the spacing of both records' probes together, the longest time in which a flow did not send, and how far runs of the same record are
 * apart
 * (half of the range of each), or a tenth of the larger where both have one run.
 */

import { type RepeatedCell, repeatedCells, stepNames } from "./outages.ts"
import type { RehearsalRecord, Verdict } from "./record.ts"

export interface CellChange {
  readonly flow: string
  readonly step: string
  readonly change: "better" | "worse" | "same"
  /** Median over runs of the longest outage. */
  readonly beforeMs: number
  readonly afterMs: number
  readonly noiseMs: number
}

export interface Comparison {
  readonly before: Compared
  readonly after: Compared
  /** Of flows and steps that both have, the largest changes first. */
  readonly cells: ReadonlyArray<CellChange>
  readonly newFlows: ReadonlyArray<string>
  readonly vanishedFlows: ReadonlyArray<string>
  readonly newSteps: ReadonlyArray<string>
  /** Also those that the later record did not come to. */
  readonly vanishedSteps: ReadonlyArray<string>
  /** A cell is worse, a flow or a step is not there any more, or what passed does not. */
  readonly isWorse: boolean
}

export interface Compared {
  readonly name: string
  readonly verdict: Verdict
  readonly runs: number
  readonly startedAt: string
}

export const compareRecords = (before: RehearsalRecord, after: RehearsalRecord): Comparison => {
  const [flowsBefore, flowsAfter] = [spacings(before), spacings(after)]
  const [stepsBefore, stepsAfter] = [stepNames(before.runs), stepNames(after.runs)]
  const [cellBefore, cellAfter] = [repeatedCells(before.runs), repeatedCells(after.runs)]
  const cells = [...flowsBefore].flatMap(([flow, noiseBefore]) => {
    const noiseAfter = flowsAfter.get(flow)
    if (noiseAfter === undefined) return []
    return [...new Set([...stepsBefore, ...stepsAfter])].flatMap((step) => {
      const [a, b] = [cellBefore(flow, step), cellAfter(flow, step)]
      return a === undefined || b === undefined ? [] : [changeOf(a, b, noiseBefore + noiseAfter)]
    })
  })
  const gone = (one: Iterable<string>, other: Iterable<string>): ReadonlyArray<string> => {
    const known = new Set(other)
    return [...one].filter((name) => name !== "" && !known.has(name))
  }
  const vanishedFlows = gone(flowsBefore.keys(), flowsAfter.keys())
  const vanishedSteps = gone(stepsBefore, stepsAfter)
  const isWorse = cells.some(({ change }) => change === "worse") || vanishedFlows.length + vanishedSteps.length > 0
    || (before.verdict === "passed" && after.verdict !== "passed")
  return {
    before: headOf(before), after: headOf(after),
    cells: cells.toSorted((a, b) => Math.abs(b.afterMs - b.beforeMs) - Math.abs(a.afterMs - a.beforeMs)),
    newFlows: gone(flowsAfter.keys(), flowsBefore.keys()), vanishedFlows, newSteps: gone(stepsAfter, stepsBefore), vanishedSteps, isWorse
  }
}

const headOf = ({ name, runs, startedAt, verdict }: RehearsalRecord): Compared => ({ name, verdict, runs: runs.length, startedAt })

/** By flow, how exact its outages are known, ms. */
const spacings = ({ runs }: RehearsalRecord): ReadonlyMap<string, number> => {
  const known = new Map<string, number>()
  for (const { flows } of runs) {
    for (const { blindMs, name, spacingMs, unsent } of flows) {
      known.set(name, Math.max(known.get(name) ?? 0, spacingMs, unsent > 0 ? blindMs : 0))
    }
  }
  return known
}

const changeOf = (before: RepeatedCell, after: RepeatedCell, exactMs: number): CellChange => {
  const [a, b] = [before.medianMs, after.medianMs]
  const isRepeated = before.longestMs.length > 1 || after.longestMs.length > 1
  const spreadMs = isRepeated ? (rangeOf(before.longestMs) + rangeOf(after.longestMs)) / 2 : Math.max(a, b) / 10
  const noiseMs = Math.round(Math.max(exactMs, spreadMs) * 1000) / 1000
  // One that was not over when the run was is as long as one likes.
  const isEndless = after.lasts !== before.lasts
  const change = isEndless ? (after.lasts ? "worse" : "better") : Math.abs(b - a) <= noiseMs ? "same" : b > a ? "worse" : "better"
  return { flow: before.flow, step: before.step, change, beforeMs: a, afterMs: b, noiseMs }
}

const rangeOf = (values: ReadonlyArray<number>): number => Math.max(...values) - Math.min(...values)
