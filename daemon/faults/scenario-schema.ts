/** The shape of a scenario (`*.scenario.yaml`), version 1, and what its words stand for. Each entry is decoded on its own. */
import { Schema } from "effect"
import { dayMs, duration, durationOrZero, durationText } from "../topology/duration.ts"
import { integer, oneOrMore, optional, text } from "../topology/schema-parts.ts"
import { parseSpan } from "../topology/units.ts"

const example = "a time such as 500ms, 30s or 5m"

export interface Range {
  readonly least: number
  readonly most: number
}

/** `5s`, or `5s..20s` -> milliseconds. */
export const parseRange = (value: string): Range | undefined => {
  const [first = "", second = first, ...others] = value.split("..")
  const [least, most] = [parseSpan(first), parseSpan(second)]
  return least === undefined || most === undefined || others.length > 0 ? undefined : { least, most }
}

/** `4/min`, `1/s`, `10/h` -> how many in a millisecond. */
export const parseFrequency = (value: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?) ?\/ ?(s|m|min|h)$/.exec(value.trim())
  const unit = { s: 1000, m: 60_000, min: 60_000, h: 3_600_000 }[match?.[2] ?? ""]
  return match === null || unit === undefined || Number(match[1]) === 0 ? undefined : Number(match[1]) / unit
}

const rangeProblem = (value: string): string | undefined => {
  const range = parseRange(value)
  if (range === undefined) return `expected ${example}, or two of them such as 5s..20s`
  if (range.most < range.least) return "the second time is shorter than the first"
  return range.least < 1 ? "at least 1ms" : range.most > dayMs ? `at most ${durationText(dayMs)}` : undefined
}

const Moment = durationOrZero({ example: `${example}, or 0`, mostMs: dayMs })
const Span = duration({ example, leastMs: 1, mostMs: dayMs })
const Spans = text({ description: `${example}, or two of them such as 5s..20s`, problem: rangeProblem })
const Frequency = text({
  description: "a rate such as 4/min",
  problem: (value) => (parseFrequency(value) === undefined ? "expected a rate such as 4/min, 1/s or 10/h" : undefined)
})
const Word = text({ description: "text", problem: (value) => (value.trim() === "" ? "the text is empty" : undefined) })
const Count = integer(1, 10_000, "How many times")

const Name = optional(Word.annotate({ description: "For heal, and in what is told" }))
const timing = {
  name: Name,
  at: optional(Moment.annotate({ description: "Since what it stands in began; with every: the first time" })),
  every: optional(Span.annotate({ description: "Again and again; give count or until, or the scenario's until" })),
  jitter: optional(Span.annotate({ description: "Each time by so much earlier or later, by chance" })),
  count: optional(Count),
  until: optional(Span.annotate({ description: "No more after this, since what it stands in began" }))
}

const Random = Schema.Struct({
  rate: optional(Frequency.annotate({ description: "How many on average" })),
  count: optional(Count.annotate({ description: "How many, instead of rate" })),
  between: Schema.Array(Moment).annotate({ expected: "a list of two times such as [10s, 4m]", description: "First and last moment" }),
  of: Schema.Array(Schema.Unknown).annotate({ expected: "a list of faults" }),
  targets: optional(oneOrMore(Word, "a target, group:NAME, label:KEY=VALUE or all")),
  for: optional(Spans)
}).annotate({ expected: "a map with of, between, and rate or count" })

const entry = <F extends Schema.Struct.Fields>(fields: F) => Schema.Struct({ ...timing, ...fields })
const Entries = Schema.Array(Schema.Unknown).annotate({ expected: "a list of entries" })

/** By the key that says what an entry does. */
export const entrySchemas = {
  inject: entry({ inject: Schema.Unknown, for: optional(Spans) }),
  heal: entry({ heal: oneOrMore(Word, "the name of an entry, or all") }),
  check: entry({ check: Schema.Unknown }),
  wait: Schema.Struct({ wait: Spans }),
  random: Schema.Struct({ name: Name, at: timing.at, random: Random }),
  parallel: entry({ parallel: Entries }),
  sequence: entry({ sequence: Entries })
} as const

export type Does = keyof typeof entrySchemas
export const doing = Object.keys(entrySchemas) as ReadonlyArray<Does>

export type RandomSpec = typeof Random.Type

export interface Timing {
  readonly name?: string
  readonly at?: string | number
  readonly every?: string
  readonly jitter?: string
  readonly count?: number
  readonly until?: string
}

/** The modifiers of all entries: a word that is none of these and does nothing is a stranger. */
export const modifierNames: ReadonlyArray<string> = [...Object.keys(timing), "for"]

export const Until = Schema.Union([
  Span,
  Schema.Struct({ check: Schema.Unknown, within: optional(Span.annotate({ description: "It has failed after this; 10m unless given" })) })
]).annotate({ expected: `${example}, or a map with check` })

export const Outline = Schema.Struct({
  name: optional(Word.annotate({ description: "What the scenario is called; otherwise the file's name" })),
  topology: optional(Word.annotate({ description: "The topology's file, from this file's folder: deployed, broken, destroyed" })),
  lab: optional(Word.annotate({ description: "The lab, where the scenario has no topology; without both: the only one" })),
  seed: optional(integer(0, Number.MAX_SAFE_INTEGER, "Of all chance in it; 1 unless given")),
  until: optional(Until),
  timeline: Entries
}).annotate({ expected: "a map with timeline" })
