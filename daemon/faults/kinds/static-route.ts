/** `blackhole`: a discarding route where there should be none, or instead of the right one; `route-missing`: a static route is gone. */
import { Schema } from "effect"
import type { Plan, ResourceOf, RouteSpec } from "../../plan/resource.ts"
import { id } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import * as Ip from "../../topology/ip.ts"
import { optional } from "../../topology/schema-parts.ts"
import { change, Nodes, nodesProblems, PrefixText, prefixesOf, put } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const mainTable = 254

const HoleSpec = Schema.Struct({
  node: Nodes,
  to: PrefixText,
  type: optional(Schema.Literals(["blackhole", "unreachable", "prohibit"]).annotate({
    description: "What senders hear: nothing (unless given), no route, or administratively prohibited"
  }))
}).annotate({ expected: "a map with node and to" })
type HoleSpec = typeof HoleSpec.Type

/** What the kernel does by itself for an address on an interface cannot be replaced: it would not come back. */
const connected = ({ node, to }: HoleSpec, plan: Plan): ReadonlyArray<Problem> => {
  const nodes = nodesOf(plan, node)
  const prefixes = prefixesOf(to)
  const own = plan.resources.find((one) =>
    one.kind === "address" && nodes.includes(one.spec.node) &&
    prefixes.includes(Ip.formatPrefix(Ip.network(Ip.parsePrefix(one.spec.address)!)))
  )
  if (own?.kind !== "address") return []
  const message = `${own.spec.node} is in ${to} itself, by ${own.spec.ifname}: give a longer prefix, or use link-down`
  return [{ path: ["to"], message }]
}

/**
 * Metrics that win over all others. IPv4 has 0, that of static routes unless they say otherwise: those are replaced. In
 * IPv6 0 means 1024, so 1 is the least (net/ipv6/route.c, IP6_RT_PRIO_USER).
 */
const bestMetric = (prefix: string): number => (prefix.includes(":") ? 1 : 0)

const dig = ({ node, to, type = "blackhole" }: HoleSpec, plan: Plan): Plan => {
  let holed = plan
  for (const name of nodesOf(plan, node)) {
    for (const prefix of prefixesOf(to)) {
      const metric = bestMetric(prefix)
      const spec: RouteSpec = { node: name, to: prefix, table: mainTable, metric, type }
      const route: ResourceOf<"route"> = { kind: "route", id: id.route(name, mainTable, prefix, metric), spec, dependsOn: [id.node(name)] }
      holed = put(holed, route)
    }
  }
  return withoutIdleGroups(holed)
}

/** Groups of next hops that a route had use of and none has any more. */
const withoutIdleGroups = (plan: Plan): Plan => {
  const used = new Set(plan.resources.flatMap(({ kind, spec }) =>
    kind === "route" && spec.nexthop !== undefined ? [id.nexthop(spec.node, spec.nexthop)] : []
  ))
  return change(plan, "nexthop", (spec, resource) => (used.has(resource.id) ? spec : undefined))
}

export const blackhole = faultKind<HoleSpec>({
  summary: "A route that discards packets, in a node; it wins over a static route to the same prefix",
  usage: "NODE PREFIX [type=blackhole|unreachable|prohibit]",
  words: ["node", "to"],
  schema: HoleSpec,
  check: (spec, plan) => {
    const wrong = nodesProblems(plan, spec.node)
    return wrong.length > 0 ? wrong : connected(spec, plan)
  },
  title: ({ node, to, type = "blackhole" }) => `${node} has ${type === "unreachable" ? "an" : "a"} ${type} route to ${to}`,
  apply: dig
})

const MissingSpec = Schema.Struct({ node: Nodes, to: PrefixText }).annotate({ expected: "a map with node and to" })
type MissingSpec = typeof MissingSpec.Type

const missing = ({ node, to }: MissingSpec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = nodesProblems(plan, node)
  if (wrong.length > 0) return wrong
  const nodes = nodesOf(plan, node)
  const routes = plan.resources.flatMap((one) => (one.kind === "route" && nodes.includes(one.spec.node) ? [one.spec.to] : []))
  if (prefixesOf(to).some((prefix) => routes.includes(prefix))) return []
  const candidates = [...new Set(routes.map((prefix) => (prefix === "0.0.0.0/0" || prefix === "::/0" ? "default" : prefix)))]
  const list = candidates.length === 0 ? "none" : candidates.slice(0, 8).join(", ")
  return [{ path: ["to"], message: `${quote(node)} has no static route to ${to}: it has ${list}`, candidates }]
}

export const routeMissing = faultKind<MissingSpec>({
  summary: "A static route of a node is gone; that of a default gateway, too",
  usage: "NODE PREFIX|default",
  words: ["node", "to"],
  schema: MissingSpec,
  check: missing,
  title: ({ node, to }) => `${node} has lost its route to ${to}`,
  apply: ({ node, to }, plan) => {
    const nodes = nodesOf(plan, node)
    const prefixes = prefixesOf(to)
    return withoutIdleGroups(change(plan, "route", (spec) => (nodes.includes(spec.node) && prefixes.includes(spec.to) ? undefined : spec)))
  }
})
