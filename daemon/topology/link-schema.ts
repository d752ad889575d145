/**
 * The keys of a link that give its wire a character: delay, loss, rate and the like.
 *
 * Each value holds for both directions, or is a map of `a-to-b` and `b-to-a`, where a is the first endpoint. What needs
 * more than one value to judge is checked in `compiler/profile.ts`.
 */
import { Schema } from "effect"
import { integer, optional, text } from "./schema-parts.ts"
import { parseLimit, parseRate, parseShare, parseTime } from "./units.ts"

/** A text with a unit, or 0. */
const measure = (description: string, problem: (value: string | number) => string | undefined) =>
  Schema.Union([Schema.String, Schema.Finite])
    .annotate({ description, expected: description })
    .check(Schema.makeFilter((value: string | number) => problem(value)))

const maxTimeMs = 60_000
export const timeProblem = (value: string | number): string | undefined => {
  const ms = parseTime(value)
  if (ms === undefined) return "expected a time with its unit such as 4ms, 300us or 1.5s"
  return ms > maxTimeMs ? "expected at most 60s" : undefined
}
export const Time = measure("a time such as 4ms or 300us", timeProblem)

const [minRate, maxRate] = [1000, 100e9]
export const rateProblem = (value: string | number): string | undefined => {
  const rate = parseRate(value)
  if (rate === undefined) {
    const octets = /bps$/i.test(String(value)) ? " (tc means octets by bps: weft counts bits)" : ""
    return `expected a rate with its unit such as 200mbit, 64kbit or 1.5gbit${octets}`
  }
  return rate !== 0 && (rate < minRate || rate > maxRate) ? "expected 1kbit to 100gbit, or 0 for no limit" : undefined
}
export const Rate = measure("a rate such as 200mbit", rateProblem)

export const shareProblem = (value: string | number): string | undefined =>
  parseShare(value) === undefined ? "expected a share from 0% to 100%, with its sign, such as 0.5%" : undefined
export const Share = measure("a share such as 1%", shareProblem)

export const Limit = measure("a time, size or number of packets such as 100ms, 64kb or 1000p", (value) =>
  parseLimit(value) === undefined ? "expected a time, a size or a number of packets such as 100ms, 64kb or 1000p" : undefined
)

const aToB = "a-to-b"
const bToA = "b-to-a"

/** One value for both directions, or one for each. */
const directed = <S extends Schema.Constraint>(value: S, expected: string, description: string) =>
  Schema.Union([value, Schema.Struct({ [aToB]: optional(value), [bToA]: optional(value) })])
    .annotate({ expected: `${expected}, or {a-to-b, b-to-a}`, description })

export const Distribution = Schema.Literals(["uniform", "normal", "pareto"])
const spread = {
  distribution: optional(Distribution.annotate({
    description: "uniform: within the jitter; normal: the jitter is the standard deviation; pareto: its scale"
  })),
  reorder: optional(Schema.Boolean.annotate({ description: "Packets may overtake each other; false unless given" }))
}

const Delay = Schema.Union([
  Time,
  Schema.Struct({ time: optional(Time), [aToB]: optional(Time), [bToA]: optional(Time), jitter: optional(Time), ...spread })
]).annotate({ expected: "a time, or {a-to-b, b-to-a, jitter, distribution, reorder}", description: "One-way delay" })

const OneJitter = Schema.Union([Time, Schema.Struct({ time: Time, ...spread })])
  .annotate({ expected: "a time, or {time, distribution, reorder}" })
const Jitter = Schema.Union([
  Time,
  Schema.Struct({ time: optional(Time), ...spread, [aToB]: optional(OneJitter), [bToA]: optional(OneJitter) })
]).annotate({ expected: "a time, {time, distribution, reorder}, or {a-to-b, b-to-a}", description: "How much the delay varies" })

const gilbert = {
  p: optional(Share.annotate({ description: "From good to bad, for each packet" })),
  r: optional(Share.annotate({ description: "From bad to good, for each packet" })),
  bad: optional(Share.annotate({ description: "Loss while bad: 100% unless given" })),
  good: optional(Share.annotate({ description: "Loss while good: 0% unless given" }))
}
const OneLoss = Schema.Union([Share, Schema.Struct(gilbert)]).annotate({ expected: "a share, or {p, r, bad, good}" })
const Loss = Schema.Union([Share, Schema.Struct({ ...gilbert, [aToB]: optional(OneLoss), [bToA]: optional(OneLoss) })]).annotate({
  expected: "a share, {p, r, bad, good} or {a-to-b, b-to-a}",
  description: "Random loss, or bursts (Gilbert-Elliott)"
})

const Queue = Schema.Union([
  Limit,
  Schema.Array(Limit),
  Schema.Struct({
    [aToB]: optional(Schema.Union([Limit, Schema.Array(Limit)])),
    [bToA]: optional(Schema.Union([Limit, Schema.Array(Limit)]))
  })
]).annotate({
  expected: "a limit such as 100ms, 64kb or 1000p, a list of them, or {a-to-b, b-to-a}",
  description: "What may wait for the rate; of several limits the first that is reached counts"
})

const longestFileName = 255
const fileProblem = (value: string): string | undefined => {
  if (value.trim() === "" || value.length > longestFileName) return `expected the name of a file, of at most ${longestFileName} characters`
  if (/[\u0000-\u001f\u007f]/.test(value)) return "a file's name cannot have control characters here"
  return value.startsWith("/") || value.split("/").includes("..")
    ? "expected a file in the topology's folder or below it: copy it there"
    : undefined
}
const File = text({ description: "a file in the topology's folder, such as lte.down", problem: fileProblem })

export const Aqm = Schema.Literals(["fifo", "codel", "red"])

export const profileKeys = {
  delay: optional(Delay),
  jitter: optional(Jitter),
  loss: optional(Loss),
  duplicate: optional(directed(Share, "a share such as 1%", "Packets that come twice")),
  corrupt: optional(directed(Share, "a share such as 1%", "Packets with one bit flipped")),
  reorder: optional(directed(Share, "a share such as 1%", "Packets that skip the delay")),
  rate: optional(directed(Rate, "a rate such as 200mbit", "Bits per second")),
  queue: optional(Queue),
  aqm: optional(directed(Aqm, '"fifo", "codel" or "red"', "How the queue is kept short")),
  down: optional(directed(Schema.Boolean, "true or false", "No packet passes")),
  trace: optional(directed(File, "a file in the topology's folder", "A recording to replay, of Mahimahi's or CSV: time,rate,delay,loss")),
  seed: optional(integer(0, 4294967295, "The same seed and the same packets give the same drops"))
}

const Profile = Schema.Struct(profileKeys)

/** The profile of a link as the file has it. */
export type RawProfile = typeof Profile.Type
