/** Entries and a seed -> moments. No clock: the same entries and seed give the same moments on every machine. */
import type { Reporter } from "../topology/diagnostic.ts"
import { Random } from "../wire/random.ts"
import { kindOf } from "./kinds.ts"
import { happensOnce } from "./read.ts"
import type { Moment, TimedFault } from "./scenario.ts"
import type { Act, Entry } from "./scenario-entries.ts"
import type { Range } from "./scenario-schema.ts"

export const mostMoments = 10_000

interface Scheduling<C> {
  readonly seed: number
  /** When the scenario ends; Infinity: with its last entry. */
  readonly endMs: number
  readonly reporter: Reporter
  readonly moments: Array<Moment<C>>
  readonly chances: Map<string, Random>
  /** Too many: told once. */
  overflowed: boolean
}

export interface Schedule<C> {
  /** In order. None is at `endMs` or after it. */
  readonly moments: ReadonlyArray<Moment<C>>
  /** When the last entry has ended, what it injects for some time included. */
  readonly lastMs: number
}

/** @param endMs of the scenario; Infinity: it ends by itself, and what never would is an error */
export const schedule = <C>(
  entries: ReadonlyArray<Entry<C>>,
  { endMs, reporter, seed }: { readonly endMs: number; readonly reporter: Reporter; readonly seed: number }
): Schedule<C> => {
  const scheduling: Scheduling<C> = { seed, endMs, reporter, moments: [], chances: new Map(), overflowed: false }
  const lastMs = Math.max(0, ...entries.map((entry) => place(entry, 0, scheduling)))
  // Sorting is stable: at one time they stay in the order of the file.
  return { moments: scheduling.moments.toSorted((a, b) => a.atMs - b.atMs), lastMs }
}

/** Each entry has a stream of its own for each thing that it draws: another entry, or one more draw, shifts none. */
const chance = <C>(entry: Entry<C>, of: string, { chances, seed }: Scheduling<C>): Random => {
  const stream = `${entry.stream} ${of}`
  const made = chances.get(stream) ?? new Random(seed, stream)
  chances.set(stream, made)
  return made
}

/** Puts an entry into what began at `fromMs`. Returns when it has ended. */
const place = <C>(entry: Entry<C>, fromMs: number, scheduling: Scheduling<C>): number => {
  const { path, when } = entry
  const { endMs, reporter } = scheduling
  if (when.kind === "once") {
    const atMs = fromMs + when.atMs
    if (atMs >= endMs && when.atMs > 0) reporter.error([...path, "at"], `comes after ${endMs / 1000}s, when the scenario ends`)
    return perform(entry, atMs, scheduling)
  }
  const { everyMs, firstMs, jitterMs, most, untilMs } = when
  const lastMs = Math.min(fromMs + untilMs, endMs)
  if (most === Infinity && lastMs === Infinity) {
    reporter.error([...path, "every"], 'never ends: give "count" or "until", or the scenario an "until"', { at: "key" })
    return fromMs
  }
  const jitter = chance(entry, "jitter", scheduling)
  let ended = fromMs
  for (let time = 0; time < most && fromMs + firstMs + time * everyMs < lastMs && !scheduling.overflowed; time++) {
    const shift = jitterMs === 0 ? 0 : Math.round((jitter.unit() * 2 - 1) * jitterMs)
    ended = Math.max(ended, perform(entry, fromMs + Math.max(0, firstMs + time * everyMs + shift), scheduling))
  }
  return ended
}

const drawn = ({ least, most }: Range, random: Random): number => least + Math.round(random.unit() * (most - least))

/** Does what an entry does, at a time. Returns when that has ended. */
const perform = <C>(entry: Entry<C>, atMs: number, scheduling: Scheduling<C>): number => {
  const { act } = entry
  switch (act.kind) {
    case "inject": {
      const duration = act.duration === undefined ? undefined : drawn(act.duration, chance(entry, "for", scheduling))
      return inject(entry, atMs, act.faults.map((fault) => lasting(fault, duration)), scheduling)
    }
    case "heal":
      add(entry, { what: "heal", names: act.names, atMs }, scheduling)
      return atMs
    case "check":
      add(entry, { what: "check", check: act.check, atMs }, scheduling)
      return atMs
    case "wait":
      return atMs + drawn(act.duration, chance(entry, "wait", scheduling))
    case "random":
      return scatter(entry, act, atMs, scheduling)
    case "parallel":
      return Math.max(atMs, ...act.entries.map((each) => place(each, atMs, scheduling)))
    case "sequence":
      return act.entries.reduce((at, each) => place(each, at, scheduling), atMs)
    default:
      return act satisfies never
  }
}

/** As long as the fault says, or its entry, or what its kind does by itself: a recording has an end. */
const lasting = (fault: TimedFault, ofEntryMs: number | undefined): TimedFault => {
  if (fault.forMs !== undefined || happensOnce(fault.kind)) return fault
  const forMs = ofEntryMs ?? kindOf(fault.kind)?.defaultForMs?.(fault.spec)
  return forMs === undefined ? fault : { ...fault, forMs }
}

const inject = <C>(entry: Entry<C>, atMs: number, faults: ReadonlyArray<TimedFault>, scheduling: Scheduling<C>): number => {
  add(entry, { what: "inject", faults, atMs }, scheduling)
  return Math.max(...faults.map(({ forMs = 0 }) => atMs + forMs))
}

type Added<C> = Moment<C> extends infer M ? (M extends unknown ? Omit<M, "name" | "line"> : never) : never

const add = <C>(entry: Entry<C>, moment: Added<C>, scheduling: Scheduling<C>): void => {
  const { line, name, path } = entry
  const { endMs, moments, reporter } = scheduling
  if (moment.atMs >= endMs || scheduling.overflowed) return
  moments.push({ ...moment, name, line } as Moment<C>)
  if (moments.length <= mostMoments) return
  scheduling.overflowed = true
  reporter.error(path, `with this the scenario has more than ${mostMoments} moments: make it shorter or rarer`)
}

type Scatter<C> = Extract<Act<C>, { readonly kind: "random" }>

/** Moments by chance: so many anywhere in the time, or with a rate, each as likely at any time (a Poisson process). */
const scatter = <C>(entry: Entry<C>, act: Scatter<C>, atMs: number, scheduling: Scheduling<C>): number => {
  const { choices, duration, fromMs, often, toMs } = act
  const times = momentsOf(often, toMs - fromMs, chance(entry, "when", scheduling))
  const which = chance(entry, "which", scheduling)
  const lengths = chance(entry, "for", scheduling)
  let ended = atMs + toMs
  for (const time of times) {
    // All three are drawn for each, so that what one of them is never shifts the next.
    const choice = choices[Math.floor(which.unit() * choices.length)]!
    const fault = choice[Math.floor(which.unit() * choice.length)]!
    const forMs = duration === undefined ? undefined : drawn(duration, lengths)
    ended = Math.max(ended, inject(entry, atMs + fromMs + time, [lasting(fault, forMs)], scheduling))
  }
  return ended
}

const momentsOf = (often: Scatter<unknown>["often"], lengthMs: number, random: Random): ReadonlyArray<number> => {
  if ("count" in often) return Array.from({ length: often.count }, () => Math.floor(random.unit() * lengthMs)).toSorted((a, b) => a - b)
  const times: Array<number> = []
  for (let time = 0; times.length <= mostMoments;) {
    time += -Math.log(random.positiveUnit()) / often.perMs
    if (time >= lengthMs) break
    times.push(Math.floor(time))
  }
  return times
}
