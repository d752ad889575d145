/**
 * What flows report -> outages by step, and budgets that broke. Pure: whoever has a clock gives moments.
 *
 * An outage belongs to the step in which it began. Its first lost probe may have been under way when the step began: one
 * that began no longer before a step than an answer takes, and lasted into it, is that step's.
 *
 * Budgets are those of steps of the file: what happens in the warm-up and while rolling back is told and counts for nothing.
 */
import { budgetsFor } from "./budgets.ts"
import type { Budget, Flow, Rehearsal } from "./model.ts"

/** What a flow has seen so far: see `FlowReport` in proto/weft/v1/weft.proto. */
export interface Seen {
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly latency: Readonly<Record<"p99", number>> | null
  /** Of the answers since the report before; null: there were none. */
  readonly slowest: { readonly atMs: number; readonly latencyMs: number } | null
  /** Those that ended since the report before, and the one that lasts. */
  readonly outages: ReadonlyArray<{ readonly startMs: number; readonly lengthMs: number; readonly lost: number; readonly lasts: boolean }>
  readonly pendingMs: number
  readonly blindMs: number
}

export interface Outage {
  readonly flow: number
  /** Of the flow's, from 0. */
  readonly number: number
  readonly step: number
  readonly startMs: number
  readonly lengthMs: number
  readonly lost: number
  readonly lasts: boolean
}

/** A budget that broke. */
export interface Breach {
  readonly flow: number
  readonly step: number
  readonly budget: number
  readonly value: number
  readonly message: string
}

export interface StepFlow {
  readonly flow: number
  readonly outages: number
  readonly longestMs: number
  readonly totalMs: number
  readonly sent: number
  readonly lost: number
  readonly maxLatencyMs: number
  readonly blindMs: number
  readonly broken: ReadonlyArray<string>
}

/** Of one flow in one step. */
interface Cell {
  outages: number
  longestMs: number
  totalMs: number
  lost: number
  maxLatencyMs: number
  /** When the step began; `ended`: when it was over. */
  readonly sentBefore: number
  sent: number
  readonly broken: Map<number, number>
}

interface Account {
  readonly cells: Map<number, Cell>
  last: Seen | undefined
  /** Moment of the last report. */
  lastAtMs: number
  outages: number
  open: Outage | undefined
  /** When the last outage was over. */
  calmSinceMs: number
  /** It was answered once. */
  works: boolean
}

/** Flows are calm when no outage began for so long: two probes at least. */
const calmMs = 1000

export const formatMs = (ms: number): string =>
  ms >= 10_000 ? `${Number((ms / 1000).toFixed(1))} s` : ms >= 100 ? `${Math.round(ms)} ms` : `${Number(ms.toFixed(1))} ms`

const formatValue = ({ unit }: Budget, value: number): string =>
  unit === "ms" ? formatMs(value) : unit === "%" ? `${Number(value.toPrecision(3))}%` : `${value} ${value === 1 ? "probe" : "probes"}`

export class Ledger {
  readonly #rehearsal: Pick<Rehearsal, "flows" | "steps" | "budgets">
  readonly #accounts: ReadonlyArray<Account>
  readonly #begins: Array<{ readonly step: number; readonly atMs: number }> = []

  constructor(rehearsal: Pick<Rehearsal, "flows" | "steps" | "budgets">) {
    this.#rehearsal = rehearsal
    this.#accounts = rehearsal.flows.map(() => ({
      cells: new Map(), last: undefined, lastAtMs: 0, outages: 0, open: undefined, calmSinceMs: 0, works: false
    }))
  }

  begin(step: number, atMs: number): void {
    this.#begins.push({ step, atMs })
  }

  /** Takes a report. Returns the outages that are new, last or ended, and what broke with it. */
  report(flow: number, seen: Seen, atMs: number): { readonly outages: ReadonlyArray<Outage>; readonly broken: ReadonlyArray<Breach> } {
    const account = this.#accounts[flow]!
    const outages = seen.outages.map((outage) => this.#outage(flow, outage, seen))
    const step = this.#begins.at(-1)?.step ?? 0
    const cell = this.#cell(flow, step)
    const slow = this.#slowest(flow, seen)
    cell.sent = seen.sent - cell.sentBefore
    account.last = seen
    account.lastAtMs = atMs
    account.works ||= seen.received > 0
    const steps = new Set([step, ...(slow === undefined ? [] : [slow]), ...outages.map((outage) => outage.step)])
    return { outages, broken: [...steps].flatMap((each) => this.#judge(flow, each, each !== step)) }
  }

  /** A step is over: shares of loss are known now. */
  end(step: number): ReadonlyArray<Breach> {
    return this.#rehearsal.flows.flatMap((_, flow) => (this.#accounts[flow]!.cells.has(step) ? this.#judge(flow, step, true) : []))
  }

  /** What those flows that ran saw in a step. */
  flowsOf(step: number): ReadonlyArray<StepFlow> {
    return this.#accounts.flatMap((account, flow) => {
      const cell = account.cells.get(step)
      if (cell === undefined) return []
      const { maxLatencyMs, outages, sent } = cell
      const broken = [...cell.broken].map(([budget, value]) => {
        const { kind, limit } = this.#rehearsal.budgets[budget]!
        return `${kind} ${limit}: ${formatValue(this.#rehearsal.budgets[budget]!, value)}`
      })
      const { longestMs, lost, totalMs } = this.#sums(account, step)
      return [{ flow, outages, longestMs, totalMs, sent, lost, maxLatencyMs, blindMs: account.last?.blindMs ?? 0, broken }]
    })
  }

  /** Whether nobody waits until this flow is back: it may be down as long as it likes in this step, or was never up. */
  #isOutOfIt(flow: number, step: number): boolean {
    const account = this.#accounts[flow]!
    if (account.open?.step === 0 && step > 0) return true
    return this.#budgets(flow, step).some((budget) => {
      const { kind, value } = this.#rehearsal.budgets[budget]!
      return (kind === "max-outage" || kind === "max-downtime") && value === Infinity
    })
  }

  /**
   * The flows, of those given, that are not calm yet: all that was sent until a while after `sinceMs` must have come back, and
   * nothing been lost for a while.
   */
  restless(flows: Iterable<number>, step: number, sinceMs: number, quietMs = calmMs): ReadonlyArray<number> {
    return [...flows].filter((flow) => {
      const { calmSinceMs, lastAtMs, last, open, works } = this.#accounts[flow]!
      if (step > 0 && this.#isOutOfIt(flow, step)) return lastAtMs < sinceMs + quietMs
      if (last === undefined || open !== undefined || (step === 0 && !works)) return true
      const quiet = quietMs === 0 ? 0 : Math.max(quietMs, 2 * this.#rehearsal.flows[flow]!.spacingMs)
      return lastAtMs - last.pendingMs < Math.max(sinceMs, calmSinceMs) + quiet
    })
  }

  /** Flows, of those given, about whose probes until `atMs` not everything is known. */
  pending(flows: Iterable<number>, atMs: number): ReadonlyArray<number> {
    return [...flows].filter((flow) => {
      const { last, lastAtMs, open } = this.#accounts[flow]!
      return open === undefined && lastAtMs - (last?.pendingMs ?? 0) <= atMs
    })
  }

  /** Whether an outage of the flow lasts, or it was never answered. */
  isDown(flow: number): boolean {
    const { open, works } = this.#accounts[flow]!
    return open !== undefined || !works
  }

  /** How many probes of it were sent and came back. */
  counts(flow: number): { readonly sent: number; readonly received: number } {
    const { last } = this.#accounts[flow]!
    return { sent: last?.sent ?? 0, received: last?.received ?? 0 }
  }

  /** Whether anything is asked of a flow at all. */
  hasBudget(flow: number): boolean {
    return this.#rehearsal.budgets.some((budget) => (budget.flow ?? flow) === flow && budget.value !== Infinity)
  }

  #outage(flow: number, { lasts, lengthMs, lost, startMs }: Seen["outages"][number], seen: Seen): Outage {
    const account = this.#accounts[flow]!
    const { open } = account
    const isKnown = open !== undefined && Math.abs(open.startMs - startMs) < 0.01
    const step = isKnown ? open.step : this.#stepOf(flow, startMs, startMs + lengthMs, seen)
    const outage = { flow, number: isKnown ? open.number : account.outages++, step, startMs, lengthMs, lost, lasts }
    const cell = this.#cell(flow, step)
    if (!isKnown) cell.outages++
    account.open = lasts ? outage : undefined
    if (!lasts) {
      account.calmSinceMs = Math.max(account.calmSinceMs, startMs + lengthMs)
      cell.longestMs = Math.max(cell.longestMs, lengthMs)
      cell.totalMs += lengthMs
      cell.lost += lost
    }
    return outage
  }

  /** Puts the slowest answer to the step in which it came, and returns that. */
  #slowest(flow: number, { slowest }: Seen): number | undefined {
    if (slowest === null) return undefined
    const step = this.#begins.findLast(({ atMs }) => slowest.atMs >= atMs)?.step ?? 0
    const cell = this.#cell(flow, step)
    cell.maxLatencyMs = Math.max(cell.maxLatencyMs, slowest.latencyMs)
    return step
  }

  /** The step in which an outage began. */
  #stepOf(flow: number, startMs: number, endMs: number, { latency }: Seen): number {
    const underWayMs = Math.max(2 * this.#rehearsal.flows[flow]!.spacingMs, latency?.p99 ?? 0)
    const found = this.#begins.findLast(({ atMs }) => startMs >= atMs || (startMs >= atMs - underWayMs && endMs >= atMs))
    return found?.step ?? 0
  }

  #cell(flow: number, step: number): Cell {
    const account = this.#accounts[flow]!
    const known = account.cells.get(step)
    if (known !== undefined) return known
    const cell: Cell = {
      outages: 0, longestMs: 0, totalMs: 0, lost: 0, maxLatencyMs: 0, sentBefore: account.last?.sent ?? 0, sent: 0, broken: new Map()
    }
    account.cells.set(step, cell)
    return cell
  }

  /** With the outage that lasts. */
  #sums({ cells, open }: Account, step: number): Pick<Cell, "longestMs" | "totalMs" | "lost"> {
    const { longestMs, lost, totalMs } = cells.get(step)!
    if (open?.step !== step) return { longestMs, totalMs, lost }
    return { longestMs: Math.max(longestMs, open.lengthMs), totalMs: totalMs + open.lengthMs, lost: lost + open.lost }
  }

  readonly #known = new Map<string, ReadonlyArray<number>>()

  #budgets(flow: number, step: number): ReadonlyArray<number> {
    const key = `${flow} ${step}`
    const known = this.#known.get(key) ?? budgetsFor(this.#rehearsal.budgets, flow, step)
    this.#known.set(key, known)
    return known
  }

  /** Budgets of one flow in one step that are broken now and were not. */
  #judge(flow: number, step: number, isOver: boolean): ReadonlyArray<Breach> {
    const { budgets, flows, steps } = this.#rehearsal
    if (steps[step]?.role !== "step") return []
    const account = this.#accounts[flow]!
    const cell = account.cells.get(step)!
    const { longestMs, lost, totalMs } = this.#sums(account, step)
    return this.#budgets(flow, step).flatMap((index) => {
      const budget = budgets[index]!
      const { kind, limit, unit } = budget
      if (unit === "%" && !isOver) return []
      const share = cell.sent === 0 ? 0 : (lost / cell.sent) * 100
      const value = { "max-outage": longestMs, "max-downtime": totalMs, "max-loss": unit === "%" ? share : lost,
        "max-latency": cell.maxLatencyMs }[kind]
      if (value <= budget.value) return []
      const isNew = !cell.broken.has(index)
      cell.broken.set(index, value)
      const seen = formatValue(budget, value)
      const message = `flow ${flows[flow]!.title}, step ${steps[step]!.name}: ${wordOf[kind]} ${seen}, ${kind} is ${limit}`
      return isNew ? [{ flow, step, budget: index, value, message }] : []
    })
  }

  /** Every budget that is broken, in words, with what is known now. */
  broken(): ReadonlyArray<string> {
    const { budgets, flows, steps } = this.#rehearsal
    return this.#accounts.flatMap(({ cells }, flow) => [...cells].flatMap(([step, cell]) => [...cell.broken].map(([index, value]) => {
      const budget = budgets[index]!
      const { kind, limit } = budget
      return `flow ${flows[flow]!.title}, step ${steps[step]!.name}: ${wordOf[kind]} ${formatValue(budget, value)}, ${kind} is ${limit}`
    })))
  }
}

const wordOf = {
  "max-outage": "out for", "max-downtime": "out for all in all", "max-loss": "lost", "max-latency": "an answer took"
} as const

/** Groups of flows that begin together and end together. */
export const groupsFrom = (flows: ReadonlyArray<Flow>, step: number, afterAction: boolean): ReadonlyArray<ReadonlyArray<number>> => {
  const those = flows.flatMap((flow, index) => (flow.fromStep === step && flow.afterAction === afterAction ? [index] : []))
  return [...Map.groupBy(those, (index) => flows[index]!.untilStep).values()]
}
