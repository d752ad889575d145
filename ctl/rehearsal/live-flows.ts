/**
 * What the live view shows of flows: how each is now, how it was in the last slices of time, its worst outage so far. Cheap enough
 * for hundreds of flows five times a second.
 */

import type { FlowReport } from "../flow-messages.ts"
import type { RehearsalFlow, RehearsalFlows, RehearsalOutage } from "./messages.ts"

/** One character of a sparkline. */
export const sliceMs = 500
/** As far back as the widest sparkline goes. */
const mostSlices = 80
const mostOutages = 64

export interface LiveFlow {
  readonly name: string
  readonly report: FlowReport | undefined
  /** Longest so far, and the step in which it began. */
  readonly worstMs: number
  readonly worstStep: number
  readonly outages: number
  readonly lasting: RehearsalOutage | undefined
  /** It broke a budget. */
  readonly broken: boolean
  /** When the newest report came. */
  readonly heardAtMs: number
  /** The outage that lasts was longer in the newest report than in the one before: it goes on. */
  readonly grows: boolean
}

/** What a slice of time was like; undefined: the flow did not run. */
export interface LiveSlice {
  /** Of the slice, from 0 to 1. */
  readonly out: number
  /** Mean round trip; null: no answer. */
  readonly latencyMs: number | null
}

interface Slice {
  sent: number
  received: number
  latencyMs: number
}

interface Tracked {
  name: string
  report: FlowReport | undefined
  worstMs: number
  worstStep: number
  outages: number
  lasting: RehearsalOutage | undefined
  broken: boolean
  heardAtMs: number
  grows: boolean
  /** The longest of those that are over. */
  overMs: number
  overStep: number
  /** By number of the slice. */
  readonly slices: Map<number, Slice>
  /** The newest, by number. */
  readonly recent: Map<number, RehearsalOutage>
  leastMs: number
  /** Number of the newest slice. */
  last: number
}

export class LiveFlows {
  private readonly tracked: ReadonlyArray<Tracked>

  constructor(flows: ReadonlyArray<RehearsalFlow>) {
    this.tracked = flows.map(({ name }) => ({
      name, report: undefined, worstMs: 0, worstStep: -1, outages: 0, lasting: undefined, broken: false, heardAtMs: 0, grows: false,
      overMs: 0, overStep: -1, slices: new Map(), recent: new Map(), leastMs: Number.POSITIVE_INFINITY, last: -1
    }))
  }

  /** @param atMs moment of the event */
  add({ flows, outages }: RehearsalFlows, atMs: number): void {
    const before = flows.map(({ flow }) => (this.tracked[flow] === undefined ? 0 : outNowMs(this.tracked[flow])))
    for (const report of flows) this.addReport(report, atMs)
    for (const outage of outages) this.addOutage(outage)
    for (const [place, { flow }] of flows.entries()) {
      const tracked = this.tracked[flow]
      if (tracked === undefined) continue
      tracked.heardAtMs = atMs
      tracked.grows = outNowMs(tracked) > before[place]!
    }
  }

  breaks(flow: number): void {
    const tracked = this.tracked[flow]
    if (tracked !== undefined) tracked.broken = true
  }

  /** Those that are out, the longest first, then by their worst outage, then in the file's order. */
  worstFirst(): ReadonlyArray<LiveFlow> {
    // As reported, so that no two flows change places between two reports.
    return this.tracked.toSorted((a, b) => outNowMs(b) - outNowMs(a) || b.worstMs - a.worstMs)
  }

  /** The last `count` slices up to a moment, the oldest first. */
  slices(flow: LiveFlow, atMs: number, count: number): { readonly leastMs: number; readonly slices: ReadonlyArray<LiveSlice | undefined> } {
    const { leastMs, recent, slices } = flow as Tracked
    const last = Math.ceil(atMs / sliceMs) - 1
    const outages = [...recent.values()]
    return {
      leastMs,
      slices: Array.from({ length: count }, (_, index) => {
        const number = last - count + 1 + index
        const slice = slices.get(number)
        if (slice === undefined) return undefined
        const [from, until] = [number * sliceMs, (number + 1) * sliceMs]
        const outMs = outages.reduce(
          (sum, { lengthMs, startMs }) => sum + Math.max(0, Math.min(until, startMs + lengthMs) - Math.max(from, startMs)), 0
        )
        return { out: Math.min(1, outMs / sliceMs), latencyMs: slice.received === 0 ? null : slice.latencyMs / slice.received }
      })
    }
  }

  private addReport(report: FlowReport, atMs: number): void {
    const tracked = this.tracked[report.flow]
    if (tracked === undefined) return
    const before = tracked.report !== undefined && report.sent >= tracked.report.sent ? tracked.report : undefined
    tracked.report = report
    const number = Math.ceil(atMs / sliceMs) - 1
    let slice = tracked.slices.get(number)
    if (slice === undefined) {
      tracked.slices.set(number, (slice = { sent: 0, received: 0, latencyMs: 0 }))
      tracked.slices.delete(number - mostSlices)
      // A report that comes late is about the slices before, too.
      if (before !== undefined) for (let at = Math.max(tracked.last + 1, number - mostSlices); at < number; at++) tracked.slices.set(at,
        slice)
      tracked.last = number
    }
    const received = report.received - (before?.received ?? 0)
    slice.sent += report.sent - (before?.sent ?? 0)
    if (received <= 0) return
    slice.received += received
    slice.latencyMs += Math.max(0, sumOf(report) - (before === undefined ? 0 : sumOf(before)))
    tracked.leastMs = Math.min(tracked.leastMs, report.latency?.min ?? Number.POSITIVE_INFINITY)
  }

  private addOutage(outage: RehearsalOutage): void {
    const tracked = this.tracked[outage.flow]
    if (tracked === undefined) return
    tracked.outages = Math.max(tracked.outages, outage.number + 1)
    tracked.recent.set(outage.number, outage)
    tracked.recent.delete(outage.number - mostOutages)
    // One that lasts counts up to now, and may turn out to have been shorter.
    if (!outage.lasts && outage.lengthMs > tracked.overMs) {
      tracked.overMs = outage.lengthMs
      tracked.overStep = outage.step
    }
    const isWorst = outage.lasts && outage.lengthMs > tracked.overMs
    tracked.worstMs = isWorst ? outage.lengthMs : tracked.overMs
    tracked.worstStep = isWorst ? outage.step : tracked.overStep
    if (outage.lasts) tracked.lasting = outage
    else if (tracked.lasting?.number === outage.number) tracked.lasting = undefined
  }
}

const sumOf = ({ latency, received }: FlowReport): number => (latency?.mean ?? 0) * received

/** A daemon that says nothing for longer may be gone: then nothing is known. */
const mostCountedMs = 1000

/** `outNowMs` at a moment, on the daemon's clock: between two reports an outage that goes on is counted on. */
export const countedOutMs = (flow: LiveFlow, atMs: number): number => {
  const outMs = outNowMs(flow)
  if (outMs === 0 || !flow.grows) return outMs
  return outMs + Math.max(0, Math.min(atMs - flow.heardAtMs, mostCountedMs))
}

/**
 * For how long a flow had been out when it was heard of last, 0: it was not. A probe that is under way for longer than others
 * took counts before its time is over: the outage that may be beginning is what one wants to see.
 */
export const outNowMs = ({ lasting, report }: LiveFlow): number => {
  if (lasting !== undefined) return lasting.lengthMs
  if (report === undefined || report.error !== "") return 0
  return report.pendingMs > 20 + 2 * (report.latency?.p99 ?? 0) ? report.pendingMs : 0
}
