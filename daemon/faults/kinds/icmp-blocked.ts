/**
 * `icmp-blocked`: a node swallows ICMP: what comes to it, what it forwards, what it should say itself. Without packet too big
 * path MTU discovery hangs (RFC 2923 2.1): ping works, large answers do not.
 */
import { Schema } from "effect"
import { type FilterRule, hooks, icmpTypes } from "../../plan/filter.ts"
import { optional } from "../../topology/schema-parts.ts"
import { Nodes, nodesProblems, override } from "../edits.ts"
import { faultKind } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  type: optional(Schema.Literals([...icmpTypes, "all"]).annotate({
    description: "too-big unless given: fragmentation needed, packet too big"
  }))
}).annotate({ expected: "a node, or a map with node and type" })
type Spec = typeof Spec.Type

const rules = (type: NonNullable<Spec["type"]>): ReadonlyArray<FilterRule> =>
  hooks.map((hook) => ({
    name: type === "all" ? "fault: ICMP is swallowed" : `fault: ICMP ${type} is swallowed`,
    hook,
    action: "drop",
    services: [{ protocol: "icmp", ...(type === "all" ? {} : { type }) }]
  }))

export const icmpBlocked = faultKind<Spec>({
  summary: "A node swallows ICMP: packet too big, so that path MTU discovery hangs, or another type, or all of it",
  usage: `NODE [${[...icmpTypes, "all"].join("|")}]`,
  words: ["node", "type"],
  schema: Spec,
  check: ({ node }, plan) => nodesProblems(plan, node),
  title: ({ node, type = "too-big" }) => `${node} swallows ${type === "all" ? "all ICMP" : `ICMP ${type}`}`,
  apply: ({ node, type = "too-big" }, plan) => override(plan, nodesOf(plan, node), rules(type))
})
