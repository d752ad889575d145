/** `one-way`: nothing passes in one direction, everything in the other, and nobody is told: a fibre of two is broken. */
import { Schema } from "effect"
import { cutWay } from "../cut.ts"
import { faultKind } from "../kind.ts"
import { Link, linkProblems, wayTitle } from "../targets.ts"

const Spec = Schema.Struct({
  link: Link,
  direction: Schema.Literals(["out", "in", "a-to-b", "b-to-a"]).annotate({
    description: "Which way nothing passes: out and in are seen from NODE:IF, a-to-b and b-to-a as in the topology"
  })
}).annotate({ expected: "a map with link and direction" })

export const oneWay = faultKind<typeof Spec.Type>({
  summary: "Nothing passes a link, or a port of a network, in one direction; carriers stay",
  usage: "LINK|NODE:IF out|in|a-to-b|b-to-a",
  words: ["link", "direction"],
  schema: Spec,
  check: (spec, plan) => linkProblems(plan, spec, true),
  title: (spec, plan) => `nothing passes ${wayTitle(plan, spec)}`,
  apply: (spec, plan) => cutWay(plan, spec)
})
