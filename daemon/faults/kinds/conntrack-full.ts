/**
 * `conntrack-full`: the connection table of a node has room for so many connections only; new ones above that are dropped
 * without a word (nf_conntrack: table full, dropping packet). The sysctl of that limit is one for all namespaces of a machine, so a
 * rule counts instead: connections that begin while the fault is in force. Those from before go on and are not counted.
 */
import { Schema } from "effect"
import { integer, optional } from "../../topology/schema-parts.ts"
import { changeFilter, Nodes, nodesProblems } from "../edits.ts"
import { faultKind } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  entries: optional(integer(0, 16_777_216, "How many new connections there is room for; none unless given"))
}).annotate({ expected: "a node, or a map with node and entries" })
type Spec = typeof Spec.Type

export const conntrackFull = faultKind<Spec>({
  summary: "A node's connection table is full, or nearly: new connections are dropped, those that are known go on",
  usage: "NODE [ENTRIES]",
  words: ["node", "entries"],
  schema: Spec,
  check: ({ node }, plan) => nodesProblems(plan, node),
  title: ({ entries = 0, node }) => `the connection table of ${node} ${entries === 0 ? "is full" : `has room for ${entries} more`}`,
  apply: ({ entries = 0, node }, plan) =>
    nodesOf(plan, node).reduce(
      (so, name) => changeFilter(so, name, (spec) => ({ ...spec, connections: Math.min(spec.connections ?? entries, entries) })),
      plan
    )
})
