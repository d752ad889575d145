/** `daemon-restart`: weftd itself is killed and comes back after a while: what must go on without it, does. */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import { duration } from "../../topology/duration.ts"
import { optional } from "../../topology/schema-parts.ts"
import { parseSpan } from "../../topology/units.ts"
import { quote } from "../../topology/diagnostic.ts"
import { faultKind, type Problem } from "../kind.ts"
import { hostsOf } from "../targets.ts"

const longestMs = 600_000
const defaultDownMs = 1000

const Spec = Schema.Struct({
  host: optional(Schema.String.annotate({ description: "A host of the fleet; absent: the only one" })),
  "down-for": optional(duration({
    description: "a time such as 2s; 1s unless given", example: "a time such as 500ms or 2s", leastMs: 0, mostMs: longestMs
  }))
}).annotate({ expected: "a map with host" })
type Spec = typeof Spec.Type

const problems = ({ host }: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const hosts = hostsOf(plan)
  if (host === undefined) {
    return hosts.length < 2 ? [] : [{ path: [], message: `the lab is on ${hosts.join(", ")}: name the host whose weftd is to be killed` }]
  }
  if (hosts.includes(host)) return []
  return [{ path: ["host"], message: `none of the lab's nodes is on host ${quote(host)}`, candidates: hosts }]
}

export const daemonRestart = faultKind<Spec>({
  summary: "weftd is killed, as by kill -9, and started again after a while",
  usage: "[HOST] [down-for=TIME]",
  words: ["host", "down-for"],
  schema: Spec,
  check: problems,
  title: ({ "down-for": downFor = `${defaultDownMs / 1000}s`, host }) =>
    `weftd${host === undefined ? "" : ` on ${host}`} is killed, and back after ${downFor}`,
  act: (spec, plan) => [
    { kind: "daemon-restart", host: spec.host ?? hostsOf(plan)[0] ?? "", downMs: parseSpan(spec["down-for"] ?? "") ?? defaultDownMs }
  ]
})
