/**
 * `node-pause`: a node's processes stand still, its BGP speaker and its BFD sessions say nothing and hear nothing, a container is
 * paused; its kernel goes on: it forwards, answers pings and acknowledges TCP. What a control plane that hangs looks like.
 */
import { Schema } from "effect"
import type { Plan, Resource } from "../../plan/resource.ts"
import { faultKind } from "../kind.ts"
import { Node, nodeProblems } from "../targets.ts"

const Spec = Schema.Struct({ node: Node }).annotate({ expected: "a node, or a map with node" })
type Spec = typeof Spec.Type

const pause = ({ node }: Spec, plan: Plan): Plan => {
  const resources = plan.resources.map((resource): Resource => {
    if (!("node" in resource.spec) || resource.spec.node !== node) return resource
    // With BFD, whoever has the sessions.
    if (resource.kind === "node") return { ...resource, spec: { ...resource.spec, paused: true } }
    if (resource.kind === "bgp") return { ...resource, spec: { ...resource.spec, state: "paused" } }
    if (resource.kind === "container") return { ...resource, spec: { ...resource.spec, state: "paused" } }
    return resource
  })
  return { ...plan, resources }
}

export const nodePause = faultKind<Spec>({
  summary: "A node's processes, BGP, BFD and container stand still; its kernel goes on forwarding",
  usage: "NODE",
  words: ["node"],
  schema: Spec,
  check: ({ node }, plan) => nodeProblems(plan, node),
  title: ({ node }) => `node ${node} is paused: its kernel forwards, nothing else moves`,
  apply: pause
})
