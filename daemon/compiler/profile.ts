/**
 * The character of a link, as the file has it -> one `LinkProfile` for each direction, in plain numbers.
 *
 * What is 0 or false is left out, so that a profile holds only what does something; a link whose directions both end up
 * empty has none, and costs nothing.
 */
import type { LinkProfile, LinkProfiles, Trace } from "../plan/link-profile.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import type { RawProfile } from "../topology/link-schema.ts"
import type { Located } from "../topology/model.ts"
import { parseLimit, parseRate, parseShare, parseTime } from "../topology/units.ts"
import type { Traces } from "./trace.ts"

export type Direction = "a-to-b" | "b-to-a"
const directions: ReadonlyArray<Direction> = ["a-to-b", "b-to-a"]

type Map = Readonly<Record<string, unknown>>
type Spread = { readonly distribution?: "uniform" | "normal" | "pareto"; readonly reorder?: boolean }

const asMap = (value: unknown): Map | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Map) : undefined

export const isDirected = (value: unknown): boolean => directions.some((direction) => Object.hasOwn(asMap(value) ?? {}, direction))

/** What holds for one direction of a value that may be given for each. */
const directed = <T>(value: T | { readonly [D in Direction]?: T } | undefined, direction: Direction): T | undefined =>
  asMap(value) === undefined ? (value as T | undefined) : (value as { readonly [D in Direction]?: T })[direction]

const time = (value: string | number | undefined): number => (value === undefined ? 0 : parseTime(value)!)
const share = (value: string | number | undefined): number => (value === undefined ? 0 : parseShare(value)!)

const readDelay = ({ delay }: RawProfile, direction: Direction): number => {
  const map = asMap(delay)
  return time((map === undefined ? delay : isDirected(map) ? map[direction] : map["time"]) as string | number | undefined)
}

const readJitter = ({ delay, jitter }: RawProfile, direction: Direction): LinkProfile["jitter"] => {
  const beside = asMap(delay)
  const given = isDirected(jitter) ? asMap(jitter)![direction] : jitter
  const own = asMap(given)
  const ms = time((jitter === undefined ? beside?.["jitter"] : own === undefined ? given : own["time"]) as string | number | undefined)
  const { distribution = "uniform", reorder = false }: Spread = (jitter === undefined ? beside : own) ?? {}
  return ms === 0 ? undefined : { distribution, ms, reorder }
}

const readLoss = ({ loss }: RawProfile, direction: Direction): LinkProfile["loss"] => {
  const given = isDirected(loss) ? asMap(loss)![direction] : loss
  const bursts = asMap(given) as { readonly [K in "p" | "r" | "bad" | "good"]?: string | number } | undefined
  if (bursts === undefined) {
    const probability = share(given as string | number | undefined)
    return probability === 0 ? undefined : { kind: "random", probability }
  }
  const { bad = "100%", good = 0, p, r } = bursts
  return { kind: "gilbert-elliott", p: share(p), r: share(r), lossBad: share(bad), lossGood: share(good) }
}

const readQueue = ({ queue }: RawProfile, direction: Direction): LinkProfile["queue"] => {
  const given = directed<string | number | ReadonlyArray<string | number>>(queue, direction)
  if (given === undefined) return undefined
  const limits = Array.isArray(given) ? given : [given]
  return limits.reduce((all, limit) => ({ ...all, ...parseLimit(limit) }), {})
}

const present = (profile: { readonly [K in keyof LinkProfile]: LinkProfile[K] | undefined | 0 | false }): LinkProfile =>
  Object.fromEntries(Object.entries(profile).filter(([, value]) => value !== undefined && value !== 0 && value !== false))

/** The recording says when packets may leave. */
export const hasPace = (trace: Trace | undefined): boolean =>
  trace?.kind === "deliveries" || (trace?.samples.some((sample) => sample.rateBps !== undefined) ?? false)

/** What the keys say of one direction. `waits`: there is a rate elsewhere, for which packets wait. */
export const readDirection = (raw: RawProfile, direction: Direction, trace?: Trace, waits?: boolean): LinkProfile => {
  const rate = directed(raw.rate, direction)
  const rateBps = rate === undefined ? 0 : parseRate(rate)!
  const aqm = directed(raw.aqm, direction)
  const isShaped = waits ?? (rateBps > 0 || hasPace(trace))
  return present({
    delayMs: readDelay(raw, direction),
    jitter: readJitter(raw, direction),
    loss: readLoss(raw, direction),
    duplicate: share(directed(raw.duplicate, direction)),
    corrupt: share(directed(raw.corrupt, direction)),
    reorder: share(directed(raw.reorder, direction)),
    rateBps,
    queue: isShaped ? readQueue(raw, direction) : undefined,
    aqm: isShaped && aqm !== "fifo" ? aqm : undefined,
    down: directed(raw.down, direction),
    trace
  })
}

export interface ProfileContext {
  /** Where the file gives none. */
  readonly defaultSeed: number
  readonly traces: Traces
  readonly reporter: Reporter
}

/** Both directions, or undefined when the link is a plain wire. */
export const compileProfile = (profile: Located<RawProfile>, context: ProfileContext): LinkProfiles | undefined => {
  const { defaultSeed, reporter, traces } = context
  const raw = profile.value
  const before = reporter.errors
  refuseMixtures(raw, profile.path, reporter)
  refuseUseless(raw, profile.path, reporter)
  if (reporter.errors > before) return undefined
  const read = (direction: Direction): LinkProfile => readDirection(raw, direction, readTrace(profile, direction, traces))
  const [aToB, bToA] = [read("a-to-b"), read("b-to-a")]
  refuseTwoRates(profile, [aToB, bToA], reporter)
  if (reporter.errors > before) return undefined
  if (Object.keys(aToB).length === 0 && Object.keys(bToA).length === 0) return undefined
  return { aToB, bToA, seed: raw.seed ?? defaultSeed }
}

const readTrace = ({ path, value }: Located<RawProfile>, direction: Direction, traces: Traces): Trace | undefined => {
  const name = directed(value.trace, direction)
  return name === undefined ? undefined : traces.get(name, [...path, "trace", ...(isDirected(value.trace) ? [direction] : [])])
}

/** A rate beside a recording that leaves no time without one. */
const refuseTwoRates = ({ path }: Located<RawProfile>, profiles: ReadonlyArray<LinkProfile>, reporter: Reporter): void => {
  const isRecorded = (trace: Trace | undefined): boolean =>
    trace?.kind === "deliveries" || (trace?.samples.every(({ rateBps }) => rateBps !== undefined) ?? false)
  const { trace } = profiles.find((profile) => profile.rateBps !== undefined && isRecorded(profile.trace)) ?? {}
  if (trace === undefined) return
  reporter.error([...path, "rate"], `does nothing: the recording ${quote(trace.name)} has the rate`, { at: "key" })
}

/** `{a-to-b: 1%, p: 1%}`, bursts without a way in or out, and the like. */
export const refuseMixtures = (raw: RawProfile, path: Path, reporter: Pick<Reporter, "error">): void => {
  for (const key of ["delay", "jitter", "loss"] as const) {
    const map = asMap(raw[key])
    if (map === undefined) continue
    const allowed = key === "delay" ? ["jitter", "distribution", "reorder"] : []
    const strange = isDirected(map) ? Object.keys(map).find((name) => ![...directions, ...allowed].includes(name)) : undefined
    if (strange !== undefined) {
      const where = `give ${quote(strange)} inside of "a-to-b" and "b-to-a"`
      const why = strange === "time" ? "it is given for each direction already" : where
      reporter.error([...path, key, strange], `holds for both directions, beside a value for one: ${why}`, { at: "key" })
    }
    if (key !== "loss" && !isDirected(map) && map["time"] === undefined) {
      reporter.error([...path, key], `gives no ${key}: expected "time", or "a-to-b" and "b-to-a"`, { at: "key" })
    }
  }
  for (const [bursts, at] of burstsOf(raw)) {
    for (const name of ["p", "r"]) {
      if (bursts[name] !== undefined) continue
      const what = name === "p" ? "one begins" : "one ends"
      reporter.error([...path, ...at], `bursts of loss need ${quote(name)}, the share of packets at which ${what}`, { at: "key" })
    }
  }
  refuseSpread(raw, path, reporter)
}

const burstsOf = ({ loss }: RawProfile): ReadonlyArray<readonly [Map, Path]> =>
  isDirected(loss)
    ? directions.flatMap((direction) => {
        const bursts = asMap(asMap(loss)![direction])
        return bursts === undefined ? [] : [[bursts, ["loss", direction]] as const]
      })
    : asMap(loss) === undefined
    ? []
    : [[asMap(loss)!, ["loss"]]]

/** How jitter is distributed, without any. */
const refuseSpread = ({ delay, jitter }: RawProfile, path: Path, reporter: Pick<Reporter, "error">): void => {
  const beside = asMap(delay)
  for (const name of ["jitter", "distribution", "reorder"]) {
    if (beside?.[name] === undefined) continue
    if (jitter !== undefined) reporter.error([...path, "delay", name], 'the link has the key "jitter", too: give it there', { at: "key" })
    else if (beside["jitter"] === undefined) reporter.error([...path, "delay", name], 'does nothing without "jitter"', { at: "key" })
  }
}

/** Somebody expects something of these; beside a rate or delay that was set to 0 they may stay. */
const refuseUseless = (raw: RawProfile, path: Path, reporter: Reporter): void => {
  for (const [key, needed] of [["queue", "rate"], ["aqm", "rate"], ["reorder", "delay"]] as const) {
    if (raw[key] === undefined || raw[key] === 0 || raw[needed] !== undefined || raw.trace !== undefined) continue
    reporter.error([...path, key], `does nothing without ${quote(needed)}`, { at: "key" })
  }
}
