/** `route-leak`: a router tells a neighbour everything it knows (RFC 7908): its export policy is not asked. */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import { optional } from "../../topology/schema-parts.ts"
import { changeFamilies, changeNeighbors, isMeant, Neighbor, sessionProblems, sessionTitle, speakers } from "../bgp.ts"
import { changeBgp, Nodes } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  neighbor: optional(Neighbor.annotate({ description: "Whom it tells: a node, an address or an interface; all neighbours unless given" }))
}).annotate({ expected: "a node, or a map with node and neighbor" })
type Spec = typeof Spec.Type

const problems = (spec: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = sessionProblems(plan, spec)
  if (wrong.length > 0) return wrong
  const filtered = speakers(plan, spec.node).flatMap(({ neighbors }) => neighbors).filter(({ families }) =>
    families.some(({ exportPolicy }) => exportPolicy !== undefined)
  )
  if (filtered.some((one) => isMeant(one, spec.neighbor))) return []
  const whom = spec.neighbor === undefined ? "any neighbour" : quote(spec.neighbor)
  const message = `${spec.node} has no export policy towards ${whom}: it tells everything already`
  const candidates = filtered.map(({ description, name }) => description ?? name)
  return [{ path: [spec.neighbor === undefined ? "node" : "neighbor"], message, candidates }]
}

export const routeLeak = faultKind<Spec>({
  summary: "A router tells a neighbour all routes that it knows, whatever its export policy says",
  usage: "NODE [NEIGHBOR]",
  words: ["node", "neighbor"],
  schema: Spec,
  check: problems,
  title: (spec) => `${sessionTitle(spec)} leaks every route`,
  apply: ({ neighbor, node }, plan) =>
    changeBgp(plan, nodesOf(plan, node), (spec) =>
      changeNeighbors(spec, neighbor, (one) => changeFamilies(one, ({ exportPolicy: _, ...family }) => family))
    )
})
