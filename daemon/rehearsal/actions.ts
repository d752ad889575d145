/**
 * What a step does, until it is done: nothing here knows of budgets, of other steps, or of what follows. An action that fails
 * resolves with the reasons; one that the stop signal ends resolves early, and what it began is over.
 */
import type { Result } from "../checks/runner.ts"
import type { Fault } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { runScenario } from "./scenario.ts"
import type { Action, Step } from "./model.ts"
import type { Conductor, FaultTold, Told, World } from "./world.ts"

/** Of the step that acts. */
export interface Acting {
  readonly world: World
  readonly conductor: Conductor
  readonly lab: string
  /** What the lab is meant to be. */
  readonly plan: Plan
  readonly place: number
  readonly step: Step
  /** Who asks, as faults say it: `rehearsal static-to-bgp`. */
  readonly by: string
  readonly lease: string
  /** Ids of what steps have injected, by step. */
  readonly injected: Map<number, ReadonlyArray<string>>
  readonly tell: (event: Told) => void
}

type Reasons = ReadonlyArray<string>

const fine: Reasons = []
/** A fault whose time is over is healed by the daemon: how long that may take it. */
const healingMs = 60_000
const pollMs = 50
const shownLines = 3

export const said = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const toldOf = ({ id, injectedAt, kind, title, until = "" }: Fault): FaultTold => ({ id, kind, title, since: injectedAt, until })

/** Does it. Never rejects. */
export const act = async (acting: Acting): Promise<Reasons> => {
  try {
    return await actions[acting.step.action.kind](acting.step.action as never, acting)
  } catch (error) {
    return [said(error)]
  }
}

type Actions = { readonly [K in Action["kind"]]: (action: Extract<Action, { readonly kind: K }>, acting: Acting) => Promise<Reasons> }

const actions: Actions = {
  "warm-up": async () => fine,
  deploy: ({ version }, acting) => acting.world.deploy(version, (text) => note(acting, text, true)),
  inject: ({ faults }, acting) => inject(faults, acting),
  heal: ({ steps }, acting) => heal(steps, acting),
  exec: (action, acting) => exec(action, acting),
  wait: ({ ms }, { conductor, world }) => world.sleep(ms, conductor.stop).then(() => fine),
  probe: ({ ms }, { conductor, world }) => world.sleep(ms, conductor.stop).then(() => fine),
  check: (action, acting) => check(action, acting),
  scenario: (action, acting) => scenario(action, acting),
  pause: async ({ text }, { conductor, place, tell }) => {
    tell({ pause: { step: place, text } })
    await conductor.proceed()
    return fine
  }
}

const note = ({ place, tell }: Acting, text: string, passing = false, warning = false): void =>
  tell({ note: { text, step: place, warning, passing } })

const inject = async (faults: Extract<Action, { readonly kind: "inject" }>["faults"], acting: Acting): Promise<Reasons> => {
  const { by, injected, lab, lease, place, tell, world } = acting
  const orders = faults.map(({ forMs, kind, spec }) => ({ kind, spec, lease, by, ...(forMs === undefined ? {} : { forMs }) }))
  const outcome = await world.faults.inject(lab, orders)
  injected.set(place, outcome.faults.map(({ id }) => id))
  tell({ faults: { step: place, injected: outcome.faults.map(toldOf), healed: [] } })
  if (outcome.failures.length > 0) return outcome.failures.map(({ error, id }) => `${id}: ${error}`)
  return untilHealed(outcome.faults.filter(({ until }) => until !== undefined), acting)
}

/** Waits for faults that end by themselves: the step is what they do, from beginning to end. */
const untilHealed = async (faults: ReadonlyArray<Fault>, { conductor, lab, place, tell, world }: Acting): Promise<Reasons> => {
  const waiting = new Map(faults.map((fault) => [fault.id, fault]))
  while (waiting.size > 0 && !conductor.stop.aborted) {
    const nextMs = Math.min(...[...waiting.values()].map(({ until }) => Date.parse(until!))) - world.now()
    await world.sleep(Math.max(nextMs, pollMs), conductor.stop)
    const inForce = new Set((await world.faults.faults(lab)).map(({ id }) => id))
    const healed = [...waiting.values()].filter(({ id }) => !inForce.has(id))
    for (const { id } of healed) waiting.delete(id)
    if (healed.length > 0) tell({ faults: { step: place, injected: [], healed: healed.map(toldOf) } })
    const late = [...waiting.values()].find(({ until }) => world.now() > Date.parse(until!) + healingMs)
    if (late !== undefined) return [`fault ${late.id} (${late.title}) should have ended at ${late.until} and is still in force`]
  }
  return fine
}

const heal = async (steps: ReadonlyArray<number> | "all", { injected, lab, lease, place, tell, world }: Acting): Promise<Reasons> => {
  const outcome = await world.faults.heal(lab, steps === "all" ? { lease } : { ids: steps.flatMap((step) => injected.get(step) ?? []) })
  tell({ faults: { step: place, injected: [], healed: outcome.faults.map(toldOf) } })
  return outcome.failures.map(({ error, id }) => `${id}: ${error}`)
}

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line.trim() !== "")

const exec = async (action: Extract<Action, { readonly kind: "exec" }>, acting: Acting): Promise<Reasons> => {
  const { conductor, lab, plan, world } = acting
  const { argv, code, node, output, timeoutMs } = action
  const outcome = await world.exec(lab, plan, node, argv, { timeoutMs, signal: conductor.stop })
  const lines = [...linesOf(outcome.stdout), ...linesOf(outcome.stderr)]
  for (const line of lines.slice(0, 50)) note(acting, line)
  if (conductor.stop.aborted) return fine
  const command = `"${argv.join(" ")}" in ${node}`
  const last = lines.slice(-shownLines).join(" / ")
  if (outcome.timedOut) return [`${command} took more than ${timeoutMs / 1000} s`]
  if (outcome.code !== code) return [`${command} ended with ${outcome.code}, not with ${code}${last === "" ? "" : `: ${last}`}`]
  if (output !== undefined && !new RegExp(output, "m").test(outcome.stdout)) {
    return [`${command} did not write what matches /${output}/${last === "" ? "" : `, but: ${last}`}`]
  }
  return fine
}

/** What a check that failed is to people: nothing where it passed, or is only a warning. */
const reasonsOf = ({ check, verdict: { expected, passed, seen, where = "" } }: Result): Reasons =>
  passed || check.severity === "warning" ? fine
    : [`check ${check.name}: expected ${expected}, seen ${seen}${where === "" ? "" : ` (${where})`}`]

const check = async ({ checks, filename, parallel }: Extract<Action, { readonly kind: "check" }>, acting: Acting): Promise<Reasons> => {
  const { conductor, lab, place, plan, tell, world } = acting
  const reasons: Array<string> = []
  const told = (result: Result): void => {
    tell({ check: { step: place, filename, result } })
    reasons.push(...reasonsOf(result))
  }
  await world.checks(lab, plan, checks, { parallel, signal: conductor.stop, told })
  return conductor.stop.aborted ? fine : reasons
}

const scenario = async (action: Extract<Action, { readonly kind: "scenario" }>, acting: Acting): Promise<Reasons> => {
  const { by, conductor, lab, lease, place, plan, tell, world } = acting
  const { filename, moments } = action.scenario
  const outcome = await runScenario(action.scenario, {
    lab, faults: world.faults, now: world.now,
    check: async (one, signal) => {
      let found: Result | undefined
      await world.checks(lab, plan, [one], { parallel: 1, signal, told: (result) => (found = result) })
      const verdict = { passed: false, expected: one.name, seen: "it was stopped" }
      return found ?? { check: one, verdict, isError: true, attempts: 0, durationMs: 0 }
    }
  }, {
    by, lease, speed: action.speed, signal: conductor.stop,
    told: (event) => {
      if (event.kind === "injected") tell({ faults: { step: place, injected: event.faults.map(toldOf), healed: [] } })
      else if (event.kind === "healed") tell({ faults: { step: place, injected: [], healed: event.faults.map(toldOf) } })
      else if (event.kind === "checked") {
        // Each is the first of its own list; in the report they are in the order of the schedule.
        const result = { ...event.result, check: { ...event.result.check, index: Math.min(event.index, moments.length) } }
        tell({ check: { step: place, filename, result } })
      } else note(acting, event.reason, false, true)
    }
  })
  return outcome.outcome === "failed" ? outcome.failures : fine
}
