/**
 * Runs a scenario: at each moment of its schedule it injects, heals or checks, and at the end, whichever end it is,
 * it heals everything that it has injected.
 *
 * Moments are begun on time and one after the other. The schedule goes on while a check takes as long as it says, but what
 * follows a check at the very same time waits for it: a sequence that checks and then heals does that in this order. What
 * fails makes the scenario fail and does not stop it: the rest still shows what it shows.
 */
import type { Result } from "../checks/runner.ts"
import type { Check } from "../checks/suite.ts"
import type { Moment, Scenario } from "../faults/scenario.ts"
import type { Fault } from "../plan/fault.ts"
import type { FaultControl } from "../reconciler/fault-control.ts"

/** What a scenario needs of the world. */
export interface ScenarioWorld {
  readonly lab: string
  readonly faults: FaultControl
  /** Tries one check as its `eventually` and `always` say. Never rejects. */
  readonly check: (check: Check, signal: AbortSignal) => Promise<Result>
  /** ms, steady. */
  readonly now: () => number
}

/** What has become of one moment. `index`: in `scenario.moments`, or its length for the end; `atMs`: since the scenario began. */
export type ScenarioEvent =
  | { readonly kind: "injected"; readonly index: number; readonly atMs: number; readonly faults: ReadonlyArray<Fault> }
  | { readonly kind: "healed"; readonly index: number; readonly atMs: number; readonly faults: ReadonlyArray<Fault> }
  | { readonly kind: "checked"; readonly index: number; readonly atMs: number; readonly result: Result }
  /** What was to be done at this moment could not be done. */
  | { readonly kind: "failed"; readonly index: number; readonly atMs: number; readonly reason: string }

export interface ScenarioOptions {
  /** Who asks, as faults say it: `scenario chaos`. */
  readonly by: string
  /** 2: in half the time, faults too. Checks keep their times. */
  readonly speed?: number
  /** Of whoever holds more than this scenario (a rehearsal); absent: the scenario takes its own, and ends it. */
  readonly lease?: string
  /** Ends it; everything is healed then. */
  readonly signal: AbortSignal
  /** `moment`: undefined for what happens at the end. */
  readonly told: (event: ScenarioEvent, moment: Moment<Check> | undefined) => void
}

export interface ScenarioOutcome {
  /** `interrupted`: by the signal. `failed`: a check failed, or something could not be injected or healed. */
  readonly outcome: "passed" | "failed" | "interrupted"
  /** One line for each thing that went wrong. */
  readonly failures: ReadonlyArray<string>
  readonly durationMs: number
}

/** Between two tries of the check that ends a scenario. */
const endingPauseMs = 250

/** Resolves at a time, or when the signal says so. */
const until = (atMs: number, now: () => number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener("abort", done)
      resolve()
    }
    const timer = setTimeout(done, Math.max(0, atMs - now()))
    signal.addEventListener("abort", done)
    if (signal.aborted) done()
  })

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Resolves when the scenario has ended and everything that it injected is healed. Never rejects. */
export const runScenario = (scenario: Scenario<Check>, world: ScenarioWorld, options: ScenarioOptions): Promise<ScenarioOutcome> =>
  new Running(scenario, world, options).run()

class Running {
  readonly #scenario: Scenario<Check>
  readonly #world: ScenarioWorld
  readonly #options: ScenarioOptions
  readonly #speed: number
  readonly #began: number
  readonly #failures: Array<string> = []
  /** By name of the entry, what it has injected. */
  readonly #injected = new Map<string, Array<string>>()
  readonly #all: Array<string> = []
  /** Ends when the scenario does. */
  readonly #over = new AbortController()

  constructor(scenario: Scenario<Check>, world: ScenarioWorld, options: ScenarioOptions) {
    this.#scenario = scenario
    this.#world = world
    this.#options = options
    this.#speed = options.speed ?? 1
    this.#began = world.now()
  }

  async run(): Promise<ScenarioOutcome> {
    const { ending, moments } = this.#scenario
    const { signal } = this.#options
    const own = this.#options.lease === undefined ? this.#world.faults.lease() : undefined
    const lease = own?.id ?? this.#options.lease!
    const over = this.#over.signal
    const stop = (): void => this.#over.abort()
    signal.addEventListener("abort", stop)
    if (signal.aborted) stop()
    const ended = ending.check === undefined ? undefined : this.#awaitEnding(ending.check)
    const checks: Array<Promise<void>> = []
    for (const [index, moment] of moments.entries()) {
      await until(this.#began + moment.atMs / this.#speed, this.#world.now, over)
      if (over.aborted) break
      if (moment.what === "check") {
        const checking = this.#check(index, moment.check, signal)
        checks.push(checking)
        if (moments[index + 1]?.atMs === moment.atMs) await checking
      } else await this.#change(index, moment, lease).catch((error: unknown) => this.#fail(index, said(error)))
    }
    await until(this.#began + ending.atMs / this.#speed, this.#world.now, over)
    const passed = over.aborted
    stop()
    // A check that the schedule has begun is finished, unless the user wants out.
    await Promise.all(checks)
    await ended
    if (ending.check !== undefined && !passed) this.#fail(moments.length, `it never came to its end: ${ending.check.name}`)
    await this.#healAll(own)
    signal.removeEventListener("abort", stop)
    const outcome = signal.aborted ? "interrupted" : this.#failures.length > 0 ? "failed" : "passed"
    return { outcome, failures: this.#failures, durationMs: this.#world.now() - this.#began }
  }

  #at(): number {
    return this.#world.now() - this.#began
  }

  #tell(event: ScenarioEvent): void {
    this.#options.told(event, this.#scenario.moments[event.index])
  }

  #fail(index: number, reason: string): void {
    const moment = this.#scenario.moments[index]
    const place = moment === undefined ? "" : `line ${moment.line}, at ${moment.atMs / 1000}s: `
    this.#failures.push(`${place}${reason}`)
    this.#tell({ kind: "failed", index, atMs: this.#at(), reason })
  }

  async #change(index: number, moment: Exclude<Moment<Check>, { readonly what: "check" }>, lease: string): Promise<void> {
    const { faults, lab } = this.#world
    if (moment.what === "heal") {
      const ids = moment.names === "all" ? this.#all : moment.names.flatMap((name) => this.#injected.get(name) ?? [])
      const healed = ids.length === 0 ? [] : (await faults.heal(lab, { ids })).faults
      return this.#tell({ kind: "healed", index, atMs: this.#at(), faults: healed })
    }
    const { by } = this.#options
    const orders = moment.faults.map(({ forMs, kind, spec }) =>
      ({ kind, spec, lease, by, ...(forMs === undefined ? {} : { forMs: Math.max(1, Math.round(forMs / this.#speed)) }) }))
    const atMs = this.#at()
    const outcome = await faults.inject(lab, orders)
    const ids = outcome.faults.map(({ id }) => id)
    this.#all.push(...ids)
    if (moment.name !== "") this.#injected.set(moment.name, [...(this.#injected.get(moment.name) ?? []), ...ids])
    this.#tell({ kind: "injected", index, atMs, faults: outcome.faults })
    const [first] = outcome.failures
    if (first !== undefined) throw new Error(`${outcome.failures.length} changes failed: ${first.id}: ${first.error}`)
  }

  async #check(index: number, check: Check, signal: AbortSignal): Promise<void> {
    const result = await this.#world.check(check, signal)
    if (signal.aborted) return
    this.#tell({ kind: "checked", index, atMs: this.#at(), result })
    const { expected, passed, seen } = result.verdict
    if (!passed && check.severity !== "warning") {
      this.#failures.push(`line ${check.line}, at ${this.#scenario.moments[index]!.atMs / 1000}s: expected ${expected}, seen ${seen}`)
    }
  }

  /** Ends the scenario as soon as the check passes. */
  async #awaitEnding(check: Check): Promise<void> {
    const over = this.#over.signal
    while (!over.aborted) {
      const result = await this.#world.check(check, over)
      if (result.verdict.passed && !over.aborted) {
        this.#tell({ kind: "checked", index: this.#scenario.moments.length, atMs: this.#at(), result })
        this.#over.abort()
      } else await until(this.#world.now() + endingPauseMs, this.#world.now, over)
    }
  }

  async #healAll(own: { readonly end: () => Promise<void> } | undefined): Promise<void> {
    const { faults, lab } = this.#world
    const index = this.#scenario.moments.length
    try {
      const inForce = new Set((await faults.faults(lab)).map(({ id }) => id))
      const ids = this.#all.filter((id) => inForce.has(id))
      if (ids.length > 0) this.#tell({ kind: "healed", index, atMs: this.#at(), faults: (await faults.heal(lab, { ids })).faults })
    } catch (error) {
      this.#fail(index, `not everything was healed: ${said(error)}`)
    }
    await own?.end().catch((error: unknown) => this.#fail(index, `not everything was healed: ${said(error)}`))
  }
}
