/**
 * One flow of a rehearsal as its reports come: counters, outages, and a series over time that never has more than
 * `mostSlices` slices, because two become one whenever there would be.
 */

import type { FlowReport } from "../flow-messages.ts"
import type { RehearsalFlow, RehearsalOutage, RehearsalStepFlow } from "./messages.ts"
import { type Cell, type Flow, mostChanges, mostOutages, mostSlices, type Outage, type Series } from "./record.ts"

/** Reports come five times a second. */
const firstSliceMs = 200

interface Slice {
  sent: number
  received: number
  /** Of the round trips of those that were received. */
  latencyMs: number
  value: number
  values: number
}

/** What a flow saw in one step, by the index of the step. */
interface Seen {
  outages: number
  longestMs: number
  totalMs: number
  lost: number
  sent: number | null
  maxLatencyMs: number | null
}

interface Told {
  readonly outage: Outage
  readonly step: number
  readonly lengthMs: number
  readonly lost: number
}

export class FlowTrack {
  private readonly spec: RehearsalFlow
  private readonly name: string
  private report: FlowReport | undefined
  private reportedMs = 0
  private sliceMs = firstSliceMs
  private slices: Array<Slice> = []
  private over: Array<Outage> = []
  private outageCount = 0
  private readonly lasting = new Map<number, Told>()
  private readonly changes: Array<Flow["changes"][number]> = []
  private changeCount = 0
  private readonly seen = new Map<number, Seen>()

  /** @param name unique */
  constructor(spec: RehearsalFlow, name: string) {
    this.spec = spec
    this.name = name
  }

  /** @param atMs since the start of the run, as are all times here; `startMs`: when that was */
  addReport(report: FlowReport, atMs: number, startMs: number): void {
    const before = this.report
    this.report = report
    // A flow that has begun anew counts from 0.
    const anew = before === undefined || report.sent < before.sent
    const sent = report.sent - (anew ? 0 : before.sent)
    const received = report.received - (anew ? 0 : before.received)
    const latencyMs = Math.max(0, sumOf(report) - (anew ? 0 : sumOf(before)))
    const sinceMs = anew ? Math.max(0, atMs - sent * this.spec.spacingMs) : Math.min(this.reportedMs, atMs)
    this.reportedMs = atMs
    this.spread({ sent, received, latencyMs, value: 0, values: 0 }, sinceMs, atMs)
    const slice = this.sliceAt(atMs)
    for (const { value } of report.samples ?? []) {
      slice.value += value
      slice.values += 1
    }
    for (const change of report.changes ?? []) {
      this.changeCount += 1
      if (this.changes.length === mostChanges) continue
      this.changes.push({ atMs: Math.max(0, change.atMs - startMs), kind: change.kind, before: change.before, after: change.after })
    }
  }

  /**
   * The same outage is told again until it is over. As long as it lasts it counts up to now, and may turn out to have been shorter: until
   * the first probe that came back was sent.
   */
  addOutage({ lasts, lengthMs, lost, number, startMs, step }: RehearsalOutage, runStartMs: number, stepName: string): void {
    const before = this.lasting.get(number)
    const seen = this.seenAt(step)
    if (before === undefined) {
      seen.outages += 1
      this.outageCount += 1
    }
    if (!lasts) seen.longestMs = Math.max(seen.longestMs, lengthMs)
    seen.totalMs += lengthMs - (before?.lengthMs ?? 0)
    seen.lost += lost - (before?.lost ?? 0)
    const outage: Outage = { startMs: rounded(startMs - runStartMs), lengthMs: rounded(lengthMs), lost, lasts, step: stepName }
    if (lasts) this.lasting.set(number, { outage, step, lengthMs, lost })
    else {
      this.lasting.delete(number)
      this.over.push(outage)
      if (this.over.length >= 2 * mostOutages) this.over = longest(this.over)
    }
  }

  /**
   * What the daemon says of a step at its end. Outages that began in it may go on after that, so of them it is what was told that counts.
   */
  addStep(step: number, told: RehearsalStepFlow): void {
    const seen = this.seenAt(step)
    if (told.outages > seen.outages) {
      seen.outages = told.outages
      seen.longestMs = told.longestMs
      seen.totalMs = told.totalMs
    }
    seen.lost = Math.max(seen.lost, told.lost)
    seen.sent = told.sent
    seen.maxLatencyMs = told.maxLatencyMs === 0 ? null : told.maxLatencyMs
  }

  flow(): Flow {
    const { from, protocol, spacingMs, to } = this.spec
    const { blindMs = 0, duplicates = 0, error = "", latency = null, lost = 0, received = 0, reordered = 0, sent = 0, unsent = 0 } =
      this.report ?? {}
    const outages = longest([...this.over, ...[...this.lasting.values()].map(({ outage }) => outage)])
    return {
      name: this.name, from, to, protocol, spacingMs, sent, received, lost, unsent, blindMs, duplicates, reordered,
      latency: received === 0 ? null : latency, outages, outageCount: this.outageCount, changes: [...this.changes],
      changeCount: this.changeCount, series: this.series(), error
    }
  }

  cells(steps: ReadonlyArray<string>): ReadonlyArray<Cell> {
    const open = new Map<number, number>()
    for (const { lengthMs, step } of this.lasting.values()) open.set(step, Math.max(open.get(step) ?? 0, lengthMs))
    return [...this.seen].map(([step, { longestMs, totalMs, ...seen }]) => ({
      flow: this.name, step: steps[step] ?? "", ...seen, longestMs: rounded(Math.max(longestMs, open.get(step) ?? 0)),
      totalMs: rounded(totalMs), lasts: open.has(step)
    }))
  }

  /** Evenly over the time that a report is about: reports come late where there is much to do. */
  private spread(what: Slice, fromMs: number, untilMs: number): void {
    this.sliceAt(untilMs)
    const first = Math.floor(fromMs / this.sliceMs)
    const last = Math.max(first, Math.ceil(untilMs / this.sliceMs) - 1)
    let sent = 0
    for (let number = first; number <= last; number++) {
      const share = last === first ? 1
        : Math.max(0, Math.min(untilMs, (number + 1) * this.sliceMs) - Math.max(fromMs, number * this.sliceMs)) / (untilMs - fromMs)
      const slice = this.sliceAt((number + 1) * this.sliceMs)
      // What rounding leaves comes last.
      const part = number === last ? what.sent - sent : Math.round(what.sent * share)
      sent += part
      slice.sent += part
      slice.received += what.received * share
      slice.latencyMs += what.latencyMs * share
    }
  }

  private seenAt(step: number): Seen {
    const known = this.seen.get(step)
    if (known !== undefined) return known
    const seen: Seen = { outages: 0, longestMs: 0, totalMs: 0, lost: 0, sent: null, maxLatencyMs: null }
    this.seen.set(step, seen)
    return seen
  }

  private sliceAt(atMs: number): Slice {
    // What is told at the very end of a slice was measured in it.
    const place = (): number => Math.max(0, Math.ceil(atMs / this.sliceMs) - 1)
    while (place() >= mostSlices) {
      this.slices = Array.from({ length: Math.ceil(this.slices.length / 2) }, (_, at) =>
        joined(this.slices[2 * at]!, this.slices[2 * at + 1]))
      this.sliceMs *= 2
    }
    const at = place()
    while (this.slices.length <= at) this.slices.push({ sent: 0, received: 0, latencyMs: 0, value: 0, values: 0 })
    return this.slices[at]!
  }

  private series(): Series {
    const { sliceMs, slices } = this
    return {
      sliceMs,
      sent: slices.map(({ sent }) => sent),
      latencyMs: slices.map(({ latencyMs, received }) => (received === 0 ? null : rounded(latencyMs / received))),
      value: slices.every(({ values }) => values === 0) ? []
        : slices.map(({ value, values }) => (values === 0 ? null : Math.round(value / values)))
    }
  }
}

const joined = (a: Slice, b: Slice | undefined): Slice => (b === undefined ? a : {
  sent: a.sent + b.sent, received: a.received + b.received, latencyMs: a.latencyMs + b.latencyMs, value: a.value + b.value,
  values: a.values + b.values
})

const sumOf = ({ latency, received }: FlowReport): number => (latency?.mean ?? 0) * received

const rounded = (ms: number): number => Math.round(ms * 1000) / 1000

/** At most `mostOutages`, the longest, in order of time. */
const longest = (outages: ReadonlyArray<Outage>): Array<Outage> =>
  outages.toSorted((a, b) => b.lengthMs - a.lengthMs).slice(0, mostOutages).sort((a, b) => a.startMs - b.startMs)
