/**
 * Builds the record of one run out of the events of `Rehearsals.Run` as they come. What it has so far is a whole record at
 * any moment, so that one exists when the daemon dies in the middle.
 */

import { FlowTrack } from "./flow-track.ts"
import type { RehearsalBroken, RehearsalEvent, RehearsalFaults, RehearsalPlanned, RehearsalStepEnded } from "./messages.ts"
import type { RehearsalStepFlow } from "./messages.ts"
import { mostLogEntries, recordFormat } from "./record.ts"
import type { Breach, Budget, CheckOutcome, FaultSpan, LogEntry, RehearsalRecord, Run, Step, Verdict } from "./record.ts"

export interface Recorder {
  /** An event as the daemon sent it. */
  readonly feed: (event: RehearsalEvent) => void
  /**
   * What is known now. Without `done` having come it is a run that broke off.
   *
   * @param reason why it broke off, for people: `interrupted`, `the daemon went away`
   */
  readonly run: (reason?: string) => Run
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** @param number of the run, from 1 */
export const recorder = (number = 1): Recorder => {
  const state = new State(number)
  return { feed: (event) => state.feed(event), run: (reason = "the daemon did not say how it ended") => state.run(reason) }
}

/** All runs as one record. @param more what the events do not say */
export const recordOf = (
  runs: ReadonlyArray<Run>,
  more: { readonly name: string; readonly filename: string; readonly lab: string; readonly version: string; readonly repeat: number }
): RehearsalRecord => {
  const [first] = runs
  const last = runs.at(-1)
  const missing = more.repeat - runs.length
  const worst = (["broken-off", "failed", "passed"] as const).find((verdict) => runs.some((run) => run.verdict === verdict)) ?? "broken-off"
  const verdict: Verdict = missing > 0 && worst === "passed" ? "broken-off" : worst
  const ofRun = ({ number, reasons }: Run): ReadonlyArray<string> => (more.repeat > 1 ? reasons.map((text) => `run ${number}: ${text}`)
    : reasons)
  return {
    format: recordFormat,
    version: more.version,
    name: more.name,
    filename: more.filename,
    lab: more.lab,
    startedAt: first?.startedAt ?? new Date(0).toISOString(),
    durationMs: first === undefined || last === undefined ? 0 : Date.parse(last.startedAt) + last.durationMs - Date.parse(first.startedAt),
    repeat: more.repeat,
    verdict,
    reasons: [...runs.flatMap(ofRun), ...(missing > 0 ? [`${runs.length} of ${more.repeat} runs were made`] : [])],
    runs
  }
}

class State {
  private readonly number: number
  private startMs = 0
  private lastMs = 0
  private steps: Array<Writable<Step>> = []
  private tracks: Array<FlowTrack> = []
  private flowNames: ReadonlyArray<string> = []
  private budgets: ReadonlyArray<Omit<Budget, "breaches"> & { readonly breaches: Array<Writable<Breach>> }> = []
  private readonly checks: Array<CheckOutcome> = []
  private readonly faults: Array<Writable<FaultSpan> & { readonly until: string }> = []
  private readonly log: Array<LogEntry> = []
  private before: Run["before"] = null
  private after: Run["after"] = null
  private rolledBack = false
  private done: (RehearsalEvent & { readonly event: "done" })["done"] | undefined

  constructor(number: number) {
    this.number = number
  }

  feed(event: RehearsalEvent): void {
    if (this.startMs === 0) this.startMs = event.atMs
    const atMs = Math.max(0, event.atMs - this.startMs)
    this.lastMs = Math.max(this.lastMs, atMs)
    switch (event.event) {
      case "planned": return this.plan(event.planned)
      case "note": return this.addNote(event.note, atMs)
      case "stepBegun": return this.begin(event.stepBegun.step, atMs)
      case "stepEnded": return this.endStep(event.stepEnded, atMs)
      case "flows": {
        for (const report of event.flows.flows) this.tracks[report.flow]?.addReport(report, atMs, this.startMs)
        for (const outage of event.flows.outages) this.tracks[outage.flow]?.addOutage(outage, this.startMs, this.stepName(outage.step))
        return
      }
      case "check": return this.addCheck(event.check, atMs)
      case "broken": return this.breaks(event.broken, atMs)
      case "rollBack":
        this.rolledBack = true
        return this.say(atMs, "warning", `rolling back: ${event.rollBack.reasons.join("; ")}`)
      case "pause": return this.say(atMs, "info", `paused: ${event.pause.text}`)
      case "faults": return this.addFaults(event.faults, atMs)
      case "snapshot":
        this[event.snapshot.when] = event.snapshot.lab
        return
      case "done":
        this.done = event.done
        return this.say(atMs, event.done.outcome === "passed" ? "info" : "error", [event.done.outcome, ...event.done.reasons].join(": "))
      default: return event satisfies never
    }
  }

  run(reason: string): Run {
    const { done } = this
    const names = this.steps.map(({ name }) => name)
    const verdict = done === undefined || done.outcome === "stopped" ? "broken-off" : done.outcome
    const reasons = done === undefined ? [reason] : done.reasons.length > 0 || verdict === "passed" ? done.reasons : [done.outcome]
    const steps = this.steps.map((step) => (step.state === "running" && verdict === "broken-off" ? { ...step, state: "stopped" as const }
      : step))
    return {
      number: this.number, startedAt: new Date(this.startMs).toISOString(), durationMs: this.lastMs, verdict, reasons, steps,
      flows: this.tracks.map((track) => track.flow()), cells: this.tracks.flatMap((track) => track.cells(names)),
      budgets: this.budgets.map((budget) => ({ ...budget, breaches: budget.breaches.map((breach) => ({ ...breach })) })),
      checks: [...this.checks], faults: this.faults.map((fault) => this.spanOf(fault)), log: [...this.log], before: this.before,
      after: this.after, rolledBack: this.rolledBack || done?.rolledBack === true, healed: done?.healed ?? null,
      destroyed: done?.destroyed ?? null
    }
  }

  private plan({ budgets, flows, steps }: RehearsalPlanned): void {
    const stepNames = unique(steps.map(({ name }) => name))
    this.steps = steps.map(({ detail, kind, line, role }, at) => ({
      name: stepNames[at]!, kind, role, detail, line, state: "waiting", startMs: null, endMs: null, actionMs: 0, reasons: []
    }))
    this.flowNames = unique(flows.map(({ name }) => name))
    this.tracks = flows.map((flow, at) => new FlowTrack(flow, this.flowNames[at]!))
    this.budgets = budgets.map(({ flow, kind, limit, line, step, unit, value }) => ({
      kind, limit, value, unit, flow: this.flowNames[flow] ?? "", step: stepNames[step] ?? "", line, breaches: []
    }))
  }

  private addNote({ passing, text, warning }: { passing: boolean; text: string; warning: boolean }, atMs: number): void {
    if (!passing) this.say(atMs, warning ? "warning" : "info", text)
  }

  private begin(index: number, atMs: number): void {
    const step = this.steps[index]
    if (step === undefined) return
    step.state = "running"
    step.startMs = atMs
    this.say(atMs, "info", `step "${step.name}" begins`)
  }

  private endStep({ actionMs, flows, outcome, reasons, step: index }: RehearsalStepEnded, atMs: number): void {
    const step = this.steps[index]
    if (step === undefined) return
    step.state = outcome
    step.actionMs = actionMs
    step.reasons = reasons
    if (step.startMs !== null) step.endMs = atMs
    for (const told of flows) {
      this.tracks[told.flow]?.addStep(index, told)
      this.measure(told, this.flowNames[told.flow] ?? "", step.name)
    }
    const isFine = outcome === "passed"
    this.say(atMs, isFine ? "info" : outcome === "skipped" ? "warning" : "error",
      `step "${step.name}" ${isFine ? "is done" : { failed: "failed", broken: "broke a budget", skipped: "is skipped",
        stopped: "was stopped" }[outcome]}`
      + (reasons.length === 0 ? "" : `: ${reasons.join("; ")}`))
  }

  /** At the end of a step the whole of an outage is known, not just that it was too long. */
  private measure(told: RehearsalStepFlow, flow: string, step: string): void {
    for (const budget of this.budgets) {
      for (const breach of budget.breaches) {
        const value = measured(budget, told)
        if (breach.flow === flow && breach.step === step && value > budget.value) breach.value = value
      }
    }
  }

  private addCheck({ filename, result, step }: (RehearsalEvent & { readonly event: "check" })["check"], atMs: number): void {
    const { details, durationMs, error, expected, kind, line, name, outcome, seen, where } = result
    this.checks.push({ step: this.stepName(step), name, kind, filename, line, outcome, error, expected, seen, where, details, atMs,
      durationMs })
    if (outcome !== "passed") this.say(atMs, outcome === "failed" ? "error" : "warning", `check "${name}": ${seen}`)
  }

  private breaks({ budget, flow, message, step, value }: RehearsalBroken, atMs: number): void {
    this.budgets[budget]?.breaches.push({ flow: this.flowNames[flow] ?? "", step: this.stepName(step), value, message, atMs })
    this.say(atMs, "error", message)
  }

  private addFaults({ healed, injected, step }: RehearsalFaults, atMs: number): void {
    for (const { id, kind, since, title, until } of injected) {
      // Told when all of it is there; flows may have been hit before.
      const startMs = since === "" ? atMs : Math.min(atMs, Math.max(0, Date.parse(since) - this.startMs))
      this.faults.push({ id, kind, title, step: this.stepName(step), startMs, endMs: null, until })
      this.say(atMs, "info", `injected ${id}: ${title}`)
    }
    for (const { id, title } of healed) {
      const open = this.faults.find((fault) => fault.id === id && fault.endMs === null)
      if (open !== undefined) open.endMs = atMs
      this.say(atMs, "info", `healed ${id}: ${title}`)
    }
  }

  /** Where all faults are healed, one of which nobody said so has ended by itself: at its time, or as soon as it happened. */
  private spanOf({ until, ...span }: FaultSpan & { readonly until: string }): FaultSpan {
    if (span.endMs !== null || this.done?.healed !== true) return span
    const endMs = until === "" ? span.startMs : Math.min(this.lastMs, Math.max(span.startMs, Date.parse(until) - this.startMs))
    return { ...span, endMs }
  }

  private stepName(index: number): string {
    return this.steps[index]?.name ?? ""
  }

  private say(atMs: number, level: LogEntry["level"], text: string): void {
    if (this.log.length < mostLogEntries) this.log.push({ atMs, level, text })
    else if (this.log.length === mostLogEntries) this.log.push({ atMs, level: "warning", text: "there was more, which is not kept" })
  }
}

/** What a budget is held against. */
export const measured = (
  { kind, unit }: Pick<Budget, "kind" | "unit">,
  { longestMs, lost, maxLatencyMs, sent, totalMs }: {
    readonly longestMs: number
    readonly totalMs: number
    readonly sent: number | null
    readonly lost: number
    readonly maxLatencyMs: number | null
  }
): number => {
  if (kind === "max-outage") return longestMs
  if (kind === "max-downtime") return totalMs
  if (kind === "max-latency") return maxLatencyMs ?? 0
  return unit === "probes" ? lost : sent === null || sent === 0 ? 0 : (100 * lost) / sent
}

/** A second `wait 5s` becomes `wait 5s (2)`. */
export const unique = (names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const taken = new Set<string>()
  return names.map((name) => {
    let free = name
    for (let number = 2; taken.has(free); number++) free = `${name} (${number})`
    taken.add(free)
    return free
  })
}
