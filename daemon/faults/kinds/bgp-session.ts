/** `bgp-down`: sessions are shut down by their administrator; `bgp-reset`: they end once and come back by themselves. */
import { Schema } from "effect"
import type { BgpNeighborSpec, BgpSpec } from "../../plan/bgp.ts"
import type { Plan } from "../../plan/resource.ts"
import * as Ip from "../../topology/ip.ts"
import { optional } from "../../topology/schema-parts.ts"
import { isMeant, Neighbor, sessionProblems, sessionTitle, speakers } from "../bgp.ts"
import { change, Nodes } from "../edits.ts"
import { type Action, faultKind } from "../kind.ts"

const target = {
  node: Nodes,
  neighbor: optional(Neighbor.annotate({ description: "A node, an address or an interface; all neighbours unless given" }))
}

const DownSpec = Schema.Struct(target).annotate({ expected: "a node, or a map with node and neighbor" })
type DownSpec = typeof DownSpec.Type

/** Whether `other`, a neighbour of `peer`, is the far end of `node`'s session with `own`. */
const isFarEnd = (plan: Plan, node: string, own: BgpNeighborSpec, peer: string, other: BgpNeighborSpec): boolean => {
  if (own.description !== peer || other.description !== node) return false
  if (own.remote.kind === "interface" && other.remote.kind === "interface") {
    const ends = [`${node}:${own.remote.ifname}`, `${peer}:${other.remote.ifname}`]
    return plan.segments.some(({ ports }) => ends.every((end) => ports.includes(end)))
  }
  if (own.remote.kind !== "address" || other.remote.kind !== "address") return true
  const remote = Ip.parseAddress(own.remote.address)
  const local = Ip.parseAddress(other.remote.address)
  if (remote === undefined || local === undefined || remote.family !== local.family) return false
  // Over a link both addresses are in one subnet; between loopbacks each is alone in its own.
  const subnet = plan.resources.flatMap((one) => {
    const prefix = one.kind === "address" && one.spec.node === peer ? Ip.parsePrefix(one.spec.address) : undefined
    return prefix !== undefined && prefix.family === remote.family && prefix.bits === remote.bits ? [prefix] : []
  })[0]
  return subnet === undefined || subnet.length === Ip.hostLength(subnet.family) || Ip.contains(subnet, local)
}

/** Shut down at one end; at the other nobody waits for it any more. */
const shutDown = ({ neighbor, node }: DownSpec, plan: Plan): Plan => {
  const down = speakers(plan, node).flatMap((spec) =>
    spec.neighbors.filter((one) => isMeant(one, neighbor)).map((one) => ({ node: spec.node, neighbor: one }))
  )
  const isDown = (spec: BgpSpec, one: BgpNeighborSpec): boolean => down.some((end) => end.node === spec.node && end.neighbor === one)
  const isForsaken = (spec: BgpSpec, one: BgpNeighborSpec): boolean =>
    one.expected === true && down.some((end) => isFarEnd(plan, end.node, end.neighbor, spec.node, one))
  return change(plan, "bgp", (spec) => {
    if (!spec.neighbors.some((one) => isDown(spec, one) || isForsaken(spec, one))) return spec
    const neighbors = spec.neighbors.map((one): BgpNeighborSpec => {
      if (!isDown(spec, one) && !isForsaken(spec, one)) return one
      const { expected: _, ...rest } = one
      return isDown(spec, one) ? { ...rest, shutdown: true } : rest
    })
    return { ...spec, neighbors }
  })
}

export const bgpDown = faultKind<DownSpec>({
  summary: "BGP sessions are shut down by their administrator",
  usage: "NODE [NEIGHBOR]",
  words: ["node", "neighbor"],
  schema: DownSpec,
  check: (spec, plan) => sessionProblems(plan, spec),
  title: (spec) => `BGP of ${sessionTitle(spec)} is shut down`,
  apply: shutDown
})

const How = Schema.Literals(["hard", "soft", "soft-in", "soft-out"]).annotate({
  description: "hard (unless given): the session ends; soft: routes are told and asked for again (RFC 2918)"
})
const ResetSpec = Schema.Struct({ ...target, how: optional(How) }).annotate({ expected: "a node, or a map with node and neighbor" })
type ResetSpec = typeof ResetSpec.Type

export const bgpReset = faultKind<ResetSpec>({
  summary: "BGP sessions are reset, once; they come back by themselves",
  usage: "NODE [NEIGHBOR] [how=hard|soft|soft-in|soft-out]",
  words: ["node", "neighbor"],
  schema: ResetSpec,
  check: (spec, plan) => sessionProblems(plan, spec),
  title: (spec) => `BGP of ${sessionTitle(spec)} is reset`,
  act: ({ how = "hard", neighbor, node }, plan) =>
    speakers(plan, node).flatMap((spec): ReadonlyArray<Action> => {
      const reset = { kind: "bgp-reset" as const, node: spec.node, how }
      if (neighbor === undefined) return [reset]
      return spec.neighbors.filter((one) => isMeant(one, neighbor)).map(({ name }) => ({ ...reset, neighbor: name }))
    })
})
