/** Static routes: those that carry our protocol number, and what people add to them (by-hand.ts); routing daemons' are left alone. */
import { RouteType, type Route as KernelRoute, type RouteTypeName } from "../wire/rtnetlink/route.ts"
import type { RouteSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { strictNodes } from "./by-hand.ts"
import { byHand, protocol } from "./protocol.ts"
import { removeRoute, writeRoute } from "./route-requests.ts"

const typeNames = new Map<number, RouteTypeName>(Object.entries(RouteType).map(([name, number]) => [number, name as RouteTypeName]))

const toSpec = (lab: Lab, node: string, route: KernelRoute): RouteSpec | undefined => {
  const type = typeNames.get(route.type)
  if (type === undefined) return undefined
  const base = { node, to: route.to, table: route.table, metric: route.metric, type }
  if (type !== "unicast") return base
  if (route.nexthop !== undefined) return { ...base, nexthop: route.nexthop }
  const ifname = route.index === undefined ? "" : lab.ifname(node, route.index) ?? ""
  return { ...base, via: route.gateway === undefined ? { ifname } : { gateway: route.gateway, ifname } }
}

function* observe(lab: Lab): Generator<readonly [string, RouteSpec]> {
  const isStrict = strictNodes(lab)
  for (const [node, { routes }] of lab.snapshot.nodes) {
    for (const route of routes) {
      if (route.protocol !== protocol) {
        const made = route.protocol === byHand && isStrict(node) ? toSpec(lab, node, route) : undefined
        if (made !== undefined) yield [id.route(node, made.table, made.to, made.metric), { ...made, byHand: true }]
        continue
      }
      const spec = toSpec(lab, node, route)
      if (spec === undefined) continue
      const resource = id.route(node, spec.table, spec.to, spec.metric)
      yield [resource, lab.daemon.bfdRoutes.asWantedRoute(lab.name, resource, spec)]
    }
  }
  for (const [resource, spec] of lab.daemon.bfdRoutes.absent(lab.name)) {
    if ("to" in spec && lab.snapshot.nodes.has(spec.node)) yield [resource, spec]
  }
}

export const handler: Handler<"route"> = {
  kind: "route",
  observe,
  converge: (lab, steps) => {
    lab.daemon.bfdRoutes.follow(lab)
    return batchByNode(lab, steps, (batch, { after, before, id: resource, node }, tag) => {
      const { spec } = after!
      const index = (ifname: string): number => lab.index(node, ifname)
      if (lab.daemon.bfdRoutes.isUsable(lab.name, resource, spec)) writeRoute(batch, { spec, before, index, tag })
      else if (before !== undefined) removeRoute(batch, before, tag)
    })
  },
  remove: (lab, steps) => {
    lab.daemon.bfdRoutes.follow(lab)
    return batchByNode(lab, steps, (batch, { before }, tag) => removeRoute(batch, before!, tag))
  }
}
