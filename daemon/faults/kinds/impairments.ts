/**
 * What can become of a wire: one short kind for each thing that people ask for most, and `impair` for all at once. Values are
 * written as in topologies (docs/topology.md); the fault's take the place of the topology's, and what it does not name stays.
 */
import { Schema } from "effect"
import { optional } from "../../topology/schema-parts.ts"
import { Aqm, Distribution, Limit, profileKeys, Rate, type RawProfile, Share, Time } from "../../topology/link-schema.ts"
import { type Impairment, impair as apply, impairmentProblems, uselessKeys } from "../impairment.ts"
import { type FaultKind, faultKind, type Problem } from "../kind.ts"
import { Direction, Link, wayTitle } from "../targets.ts"

const place = { link: Link, direction: optional(Direction) } as const
type Place = { readonly link: string; readonly direction?: Direction }

const way = "[direction=both|out|in|a-to-b|b-to-a]"

const short = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return String(value)
  if (Array.isArray(value)) return value.map(short).join(" ")
  return Object.entries(value).map(([key, inner]) => `${key} ${short(inner)}`).join(" ")
}

/** `delay 50ms jitter 5ms` */
const words = (keys: RawProfile): string =>
  Object.entries(keys).map(([key, value]) => `${key} ${short(value).replace(/^time /, "")}`).join(", ")

/** Where the topology's key is found in the spec of a short kind: so that what is wrong with it points there. */
const toSpec = (key: string) => (problem: Problem): Problem =>
  problem.path[0] === key ? { ...problem, path: ["value", ...problem.path.slice(1)] } : problem

interface Short<Spec extends Place> {
  readonly key: string
  readonly summary: string
  readonly more?: string
  readonly schema: Schema.Codec<Spec, unknown, never, never>
  readonly keys: (spec: Spec) => RawProfile
}

const kindOf = <Spec extends Place>({ key, keys, more = "", schema, summary }: Short<Spec>): FaultKind<Spec> => {
  const of = (spec: Spec): Impairment => ({ link: spec.link, direction: spec.direction, keys: keys(spec) })
  return faultKind<Spec>({
    summary,
    usage: `LINK|NODE:IF ${key.toUpperCase()} ${more === "" ? "" : `${more} `}${way}`,
    words: ["link", "value"],
    schema,
    check: (spec, plan) => impairmentProblems(of(spec), plan).map(toSpec(key)),
    useless: (spec, plan) => uselessKeys(of(spec), plan).map(toSpec(key)),
    title: (spec, plan) => `${wayTitle(plan, spec)}: ${words(keys(spec))}`,
    apply: (spec, plan) => apply(of(spec), plan)
  })
}

const given = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> }

const struct = <F extends Schema.Struct.Fields>(fields: F) =>
  Schema.Struct({ ...place, ...fields }).annotate({ expected: "a map with link and value" })

const spread = {
  distribution: optional(Distribution),
  reorder: optional(Schema.Boolean.annotate({ description: "Packets may overtake each other; false unless given" }))
} as const

const DelaySpec = struct({ value: Time, jitter: optional(Time), ...spread })
export const delay = kindOf<typeof DelaySpec.Type>({
  key: "delay",
  summary: "One-way delay of a link, in place of its own",
  more: "[jitter=TIME] [distribution=uniform|normal|pareto] [reorder=true]",
  schema: DelaySpec,
  keys: ({ distribution, jitter, reorder, value }) => ({ delay: { time: value, ...given({ jitter, distribution, reorder }) } })
})

const JitterSpec = struct({ value: Time, ...spread })
export const jitter = kindOf<typeof JitterSpec.Type>({
  key: "jitter",
  summary: "How much a link's delay varies",
  more: "[distribution=uniform|normal|pareto] [reorder=true]",
  schema: JitterSpec,
  keys: ({ distribution, reorder, value }) => ({ jitter: { time: value, ...given({ distribution, reorder }) } })
})

const burst = { p: optional(Share), r: optional(Share), bad: optional(Share), good: optional(Share) } as const
const LossSpec = Schema.Struct({ ...place, value: optional(Share), ...burst }).check(
  Schema.makeFilter(({ bad, good, p, r, value }) => {
    const isBurst = [p, r, bad, good].some((share) => share !== undefined)
    if (value === undefined && !isBurst) return "expected a share such as 30%, or p and r for bursts"
    return value !== undefined && isBurst ? "has both a share and bursts (p, r, bad, good): which is it?" : undefined
  })
).annotate({ expected: "a map with link and value" })
export const loss = kindOf<typeof LossSpec.Type>({
  key: "loss",
  summary: "Packets of a link are lost: at random, or in bursts (Gilbert-Elliott: p into a burst, r out of it)",
  more: "| p=SHARE r=SHARE [bad=SHARE] [good=SHARE]",
  schema: LossSpec,
  keys: ({ bad, good, p, r, value }) => ({ loss: value ?? given({ p, r, bad, good }) })
})

const RateSpec = struct({ value: Rate, queue: optional(Limit), aqm: optional(Aqm) })
export const rate = kindOf<typeof RateSpec.Type>({
  key: "rate",
  summary: "Bits per second of a link, each way",
  more: "[queue=LIMIT] [aqm=fifo|codel|red]",
  schema: RateSpec,
  keys: ({ aqm, queue, value }) => ({ rate: value, ...given({ queue, aqm }) })
})

const ShareSpec = struct({ value: Share })
const share = (key: "duplicate" | "corrupt" | "reorder", summary: string) =>
  kindOf<typeof ShareSpec.Type>({ key, summary, schema: ShareSpec, keys: ({ value }) => ({ [key]: value }) })

export const duplicate = share("duplicate", "A share of a link's packets comes twice")
export const corrupt = share("corrupt", "A share of a link's packets has one bit flipped; checksums stay as they were")
export const reorder = share("reorder", "A share of a link's packets skips its delay, and overtakes")

const { seed: _, trace: __, ...keysOfLinks } = profileKeys
const ImpairSpec = Schema.Struct({ ...place, ...keysOfLinks })
  .annotate({ expected: "a map with link and keys of a link, such as delay and loss" })
type ImpairSpec = typeof ImpairSpec.Type

const impairmentOf = ({ direction, link, ...keys }: ImpairSpec): Impairment => ({ link, direction, keys })

export const impair = faultKind<ImpairSpec>({
  summary: "Anything of a link's wire at once, by the keys that links have in topologies",
  usage: `LINK|NODE:IF [delay=TIME] [jitter=TIME] [loss=SHARE] [rate=RATE] [queue=LIMIT] [duplicate=SHARE] ... ${way}`,
  words: ["link"],
  schema: ImpairSpec,
  check: (spec, plan) => impairmentProblems(impairmentOf(spec), plan),
  useless: (spec, plan) => uselessKeys(impairmentOf(spec), plan),
  title: (spec, plan) => `${wayTitle(plan, spec)}: ${words(impairmentOf(spec).keys)}`,
  apply: (spec, plan) => apply(impairmentOf(spec), plan)
})
