/**
 * `brownout`: a link does what a recording of one did, from the moment of the injection on: a daemon that is started again goes
 * on where the recording is by then. It is over at the recording's end, or lasts as long as `for` says and begins again meanwhile.
 */
import { Schema } from "effect"
import { parseTrace } from "../../compiler/trace.ts"
import type { Trace } from "../../plan/link-profile.ts"
import { optional, text } from "../../topology/schema-parts.ts"
import * as DeliveryTimes from "../../wire/delivery-times.ts"
import { impair, impairmentProblems } from "../impairment.ts"
import { faultKind, type Problem } from "../kind.ts"
import { Direction, Link, wayTitle } from "../targets.ts"

const Spec = Schema.Struct({
  link: Link,
  trace: text({
    description: "a file with a recording, of Mahimahi's or CSV: time,rate,delay,loss",
    problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
  }),
  recording: optional(Schema.String.annotate({ description: "What the file holds: put here by whoever reads the order" })),
  direction: optional(Direction)
}).annotate({ expected: "a map with link and trace" })
type Spec = typeof Spec.Type

type Parsed = ReturnType<typeof parseTrace>

/** Plans are computed often and recordings may be long: the latest are kept. */
const parsed = new Map<string, Parsed>()
const mostKept = 16

const parse = ({ recording = "", trace }: Spec): Parsed => {
  const key = `${trace}\0${recording}`
  const found = parsed.get(key)
  if (found !== undefined) return found
  const fresh = parseTrace(trace, Buffer.from(recording))
  if (parsed.size >= mostKept) parsed.delete(parsed.keys().next().value!)
  parsed.set(key, fresh)
  return fresh
}

const traceOf = (spec: Spec): Trace | undefined => {
  const result = parse(spec)
  return result.ok ? result.trace : undefined
}

const problems = (spec: Spec, plan: Parameters<typeof impairmentProblems>[1]): ReadonlyArray<Problem> => {
  const { direction, link, recording, trace } = spec
  const name: Problem["path"] = ["trace"]
  if (recording === undefined) return [{ path: name, message: `cannot read "${trace}": what it holds did not come along` }]
  const result = parse(spec)
  if (!result.ok) return [{ path: name, message: `${trace}:${result.line}:${result.column}: ${result.message}` }]
  return impairmentProblems({ link, direction, keys: {}, trace: result.trace }, plan)
}

/** Of one round, in ms; undefined for a recording that is the same all the time. */
const periodMs = (trace: Trace | undefined): number | undefined => {
  if (trace?.kind === "deliveries") return DeliveryTimes.decode(trace.times)?.at(-1)
  return trace === undefined || trace.samples.length === 1 ? undefined : trace.periodMs
}

export const brownout = faultKind<Spec>({
  summary: "A link does what a recording says (rate, delay, loss over time), from now on and to the recording's end",
  usage: "LINK|NODE:IF FILE [direction=both|out|in|a-to-b|b-to-a]",
  words: ["link", "trace"],
  files: { trace: "recording" },
  schema: Spec,
  check: problems,
  title: (spec, plan) => `${wayTitle(plan, spec)} does what ${spec.trace} says`,
  defaultForMs: (spec) => periodMs(traceOf(spec)),
  apply: (spec, plan, _phase, { injectedAt }) => {
    const trace = traceOf(spec)
    if (trace === undefined) return plan
    return impair({ link: spec.link, direction: spec.direction, keys: {}, trace: { ...trace, sinceMs: Date.parse(injectedAt) } }, plan)
  }
})
