/** Static routes: those that carry our protocol number; anybody else's are left alone. */
import { RouteType, type Route as KernelRoute, type RouteTypeName } from "../wire/rtnetlink/route.ts"
import * as Route from "../wire/rtnetlink/route.ts"
import type { RouteSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { protocol } from "./protocol.ts"

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

const toKernel = (lab: Lab, spec: RouteSpec): KernelRoute => {
  const route = { to: spec.to, table: spec.table, metric: spec.metric, type: RouteType[spec.type], protocol }
  if (spec.nexthop !== undefined) return { ...route, nexthop: spec.nexthop }
  if (spec.via === undefined) return route
  const index = lab.index(spec.node, spec.via.ifname)
  return spec.via.gateway === undefined ? { ...route, index } : { ...route, gateway: spec.via.gateway, index }
}

const describe = (spec: RouteSpec): string => {
  const way = spec.via === undefined ? spec.type : `via ${spec.via.gateway ?? ""} dev ${spec.via.ifname}`
  return `${spec.to} ${spec.nexthop === undefined ? way : `nhid ${spec.nexthop}`} in ${spec.node}`
}

function* observe(lab: Lab): Generator<readonly [string, RouteSpec]> {
  for (const [node, { routes }] of lab.snapshot.nodes) {
    for (const route of routes) {
      if (route.protocol !== protocol) continue
      const spec = toSpec(lab, node, route)
      if (spec !== undefined) yield [id.route(node, spec.table, spec.to, spec.metric), spec]
    }
  }
}

export const handler: Handler<"route"> = {
  kind: "route",
  observe,
  converge: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { spec } = step.after!
      // The kernel's "replace" of an IPv6 route swaps only one of the same kind (gateway, nexthop object, discard).
      if (step.before !== undefined && spec.to.includes(":")) {
        Route.removeRoute(batch.out, toKernel(lab, step.before))
        batch.note("remove route", describe(step.before), tag)
      }
      Route.addRoute(batch.out, toKernel(lab, spec))
      batch.note("add route", describe(spec), tag)
    }),
  remove: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { node, to, table, metric, type } = step.before!
      Route.removeRoute(batch.out, { to, table, metric, type: RouteType[type], protocol })
      batch.note("remove route", describe({ node, to, table, metric, type }), tag)
    })
}
