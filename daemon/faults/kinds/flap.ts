/** `flap`: a link goes down and comes up again and again, on the beat. */
import { Schema } from "effect"
import { dayMs, duration } from "../../topology/duration.ts"
import { parseSpan } from "../../topology/units.ts"
import { faultKind } from "../kind.ts"
import { downFields, downProblems, downTitle, takeDown } from "./link-down.ts"

/** Shorter phases than a change of the lab takes would not be kept. */
const shortestMs = 50

const Phase = duration({ example: "a time such as 500ms or 2s", leastMs: shortestMs, mostMs: dayMs })

const Spec = Schema.Struct({
  ...downFields,
  "down-for": Phase.annotate({ description: "How long it is down each time" }),
  "up-for": Phase.annotate({ description: "How long it is up in between" })
}).annotate({ expected: "a map with link, down-for and up-for" })

export const flap = faultKind<typeof Spec.Type>({
  summary: "A link goes down and comes up, again and again",
  usage: "LINK|NODE:IF DOWN-FOR UP-FOR [carrier=lost|keep] [side=both|near]",
  words: ["link", "down-for", "up-for"],
  schema: Spec,
  check: downProblems,
  title: (spec, plan) => `${downTitle(spec, plan)}, for ${spec["down-for"]} at a time, and up for ${spec["up-for"]}`,
  apply: (spec, plan, phase) => (phase === 0 ? takeDown(spec, plan) : plan),
  phases: (spec) => [parseSpan(spec["down-for"])!, parseSpan(spec["up-for"])!]
})
