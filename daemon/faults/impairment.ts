/**
 * What a fault says of a link's wire, laid over what the topology says of it: `(plan, keys of a profile) -> plan`. Pure.
 *
 * Keys are those of links in topologies and are read by the compiler's own functions. A key that the fault has takes the
 * place of the topology's, also 0, which means none; what it does not name stays. A recording of the topology's does not hide a
 * fault: what the fault names, the recording says no more.
 */
import { hasPace, isDirected, readDirection, refuseMixtures } from "../compiler/profile.ts"
import * as Derive from "../compiler/derive.ts"
import type { LinkProfile, LinkProfiles, Trace, TraceSample } from "../plan/link-profile.ts"
import type { Plan, SegmentSpec } from "../plan/resource.ts"
import type { Path } from "../topology/diagnostic.ts"
import type { RawProfile } from "../topology/link-schema.ts"
import type { Problem } from "./kind.ts"
import { type Direction, endpointsOf, find, isAToB, linkProblems } from "./targets.ts"

export interface Impairment {
  readonly link: string
  readonly direction?: Direction | undefined
  readonly keys: RawProfile
  /** A recording, and since when it runs. */
  readonly trace?: Trace
}

type Side = "a-to-b" | "b-to-a"

/** Why links only. */
const networkHint =
  "only links have delay, loss, a rate and the like (docs/faults.md says what to do); one-way, link-down, mtu and partition work here"

/** What the lab has not, and keys that do not go together. */
export const impairmentProblems = (impairment: Impairment, plan: Plan): ReadonlyArray<Problem> => {
  const problems = [...linkProblems(plan, impairment, networkHint)]
  const error = (path: Path, message: string): void => void problems.push({ path, message })
  refuseMixtures(impairment.keys, [], { error })
  const { direction, keys } = impairment
  if (Object.keys(keys).length === 0 && impairment.trace === undefined) {
    error([], "says nothing of the link: give delay, loss, rate or the like")
  }
  const given = Object.entries(keys).find(([, value]) => isDirected(value))?.[0]
  if (given !== undefined && direction !== undefined && direction !== "both") {
    error(["direction"], `${given} says itself what holds for which direction`)
  }
  return problems
}

/** Somebody expects something of these. `plan`: with the faults that are in force. */
export const uselessKeys = ({ keys, link }: Impairment, plan: Plan): ReadonlyArray<Problem> => {
  const { aToB = {}, bToA = {} } = find(plan, link)?.segment.spec.profiles ?? {}
  const both = [aToB, bToA]
  const hasRate = keys.rate !== undefined || both.some((profile) => profile.rateBps !== undefined || hasPace(profile.trace))
  const hasDelay = keys.delay !== undefined || both.some((profile) => profile.delayMs !== undefined || profile.trace !== undefined)
  return [
    ...(["queue", "aqm"] as const).filter((key) => keys[key] !== undefined && !hasRate).map((key) => [key, "rate"] as const),
    ...(keys.reorder !== undefined && !hasDelay ? [["reorder", "delay"] as const] : [])
  ].map(([key, needed]) => {
    const message = `does nothing on a link without "${needed}": give it, too (impair takes both, or inject it before)`
    return { path: [key], message }
  })
}

/** The link with the impairment on its wire. */
export const impair = (impairment: Impairment, plan: Plan): Plan => {
  const target = find(plan, impairment.link)
  if (target === undefined || target.segment.spec.segmentKind !== "p2p") return plan
  const { near, segment } = target
  const endpoints = endpointsOf(plan, segment.spec)
  const before: LinkProfiles = segment.spec.profiles ?? { aToB: {}, bToA: {}, seed: Derive.seed(plan.lab, segment.spec.name) }
  const { direction = "both" } = impairment
  const touches = (side: Side): boolean => direction === "both" || isAToB(direction, near, endpoints[0]) === (side === "a-to-b")
  const profiles: LinkProfiles = {
    ...before,
    aToB: touches("a-to-b") ? over(before.aToB, impairment, "a-to-b") : before.aToB,
    bToA: touches("b-to-a") ? over(before.bToA, impairment, "b-to-a") : before.bToA
  }
  const spec = withProfiles(segment.spec, endpoints, profiles)
  return { ...plan, resources: plan.resources.map((one) => (one === segment ? { ...segment, spec } : one)) }
}

/** A link that had no profile and is to have nothing of one stays a plain wire. */
const withProfiles = (spec: SegmentSpec, endpoints: readonly [string, string], profiles: LinkProfiles): SegmentSpec => {
  const isPlain = Object.keys(profiles.aToB).length === 0 && Object.keys(profiles.bToA).length === 0
  return spec.profiles === undefined && isPlain ? spec : { ...spec, endpoints, profiles }
}

/** One direction as it is with the fault. */
const over = (before: LinkProfile, { keys, trace }: Impairment, side: Side): LinkProfile => {
  const named = namedIn(keys, side)
  const rates = named.has("rateBps") ? keys.rate !== 0 : before.rateBps !== undefined
  const said = readDirection(keys, side, undefined, rates || hasPace(trace ?? before.trace))
  const recording = trace ?? without(before.trace, named)
  const kept = Object.entries(before).filter(([key]) => key !== "trace" && !named.has(key as keyof LinkProfile))
  const { trace: _, ...mine } = said
  return { ...Object.fromEntries(kept), ...mine, ...(recording === undefined ? {} : { trace: recording }) }
}

/** Which parts of a profile the keys say something of, in this direction. */
const namedIn = (keys: RawProfile, side: Side): ReadonlySet<keyof LinkProfile> => {
  const named = new Set<keyof LinkProfile>()
  for (const [key, value] of Object.entries(keys)) {
    const beside = key === "delay" && typeof value === "object" && value !== null && Object.hasOwn(value, "jitter")
    if (beside) named.add("jitter")
    if (isDirected(value) && !Object.hasOwn(value as object, side)) continue
    named.add(key === "delay" ? "delayMs" : key === "rate" ? "rateBps" : (key as keyof LinkProfile))
  }
  return named
}

/** A recording without what a fault says instead; nothing when nothing is left of it. */
const without = (trace: Trace | undefined, named: ReadonlySet<keyof LinkProfile>): Trace | undefined => {
  if (trace === undefined || (!named.has("rateBps") && !named.has("delayMs") && !named.has("loss"))) return trace
  if (trace.kind === "deliveries") return named.has("rateBps") ? undefined : trace
  const samples = trace.samples.map((sample): TraceSample =>
    Object.fromEntries(Object.entries(sample).filter(([column]) => !named.has(column as keyof LinkProfile))) as unknown as TraceSample
  )
  return samples.every((sample) => Object.keys(sample).length === 1) ? undefined : { ...trace, samples }
}
