/** What is asked of the kernel for static routes and nexthop groups: by a deploy, and by BFD when a next hop is lost. */
import { createHash } from "node:crypto"
import type { Batch } from "../linux/rtnetlink.ts"
import type { NexthopMember, NexthopSpec, RouteSpec } from "../plan/resource.ts"
import { familyOf } from "../wire/ip.ts"
import * as Nexthop from "../wire/rtnetlink/nexthop.ts"
import { RouteType, type Route as KernelRoute } from "../wire/rtnetlink/route.ts"
import * as Route from "../wire/rtnetlink/route.ts"
import { byHand, protocol } from "./protocol.ts"

/** 31 bits, never 0, distinct from group ids by the text that is hashed. */
const memberId = (group: number, member: NexthopMember): number => {
  const digest = createHash("sha256").update(`member ${group} ${member.gateway ?? ""} ${member.ifname}`).digest()
  return (digest.readUInt32BE(0) & 0x7fffffff) || 1
}

const staleMembers = (before: NexthopSpec | undefined, after: NexthopSpec): number[] => {
  const kept = new Set(after.members.map((member) => memberId(after.id, member)))
  return (before?.members ?? []).map((member) => memberId(after.id, member)).filter((member) => !kept.has(member))
}

/** Makes the group, or changes it from what it was `before`. `index`: of the node's interfaces. */
export const writeGroup = (
  batch: Batch,
  { before, index, spec, tag }: {
    readonly spec: NexthopSpec
    readonly before?: NexthopSpec | undefined
    readonly index: (ifname: string) => number
    readonly tag: number
  }
): void => {
  const { id: group, members, node } = spec
  for (const member of members) {
    const { gateway } = member
    const family = gateway === undefined ? member.family ?? "ipv4" : familyOf(gateway)
    const fields = { id: memberId(group, member), protocol, kind: "single", family, index: index(member.ifname) } as const
    Nexthop.addNexthop(batch.out, gateway === undefined ? fields : { ...fields, gateway })
    batch.note("add nexthop", `${gateway ?? member.ifname} of ${node}`, tag)
  }
  const ids = members.map((member) => ({ id: memberId(group, member), weight: member.weight }))
  Nexthop.addNexthop(batch.out, { id: group, protocol, kind: "group", members: ids })
  batch.note("add nexthop group", `${group} of ${node}`, tag)
  for (const stale of staleMembers(before, spec)) {
    Nexthop.removeNexthop(batch.out, stale)
    batch.note("remove nexthop", `${stale} of ${node}`, tag)
  }
}

/** Removes the group; the kernel removes the routes that use it. */
export const removeGroup = (batch: Batch, { id: group, members, node }: NexthopSpec, tag: number): void => {
  for (const nexthop of [group, ...members.map((member) => memberId(group, member))]) {
    Nexthop.removeNexthop(batch.out, nexthop)
    batch.note("remove nexthop", `${nexthop} of ${node}`, tag)
  }
}

const protocolOf = (spec: Pick<RouteSpec, "byHand">): number => (spec.byHand === true ? byHand : protocol)

const toKernel = (spec: RouteSpec, indexOf: (ifname: string) => number): KernelRoute => {
  const route = { to: spec.to, table: spec.table, metric: spec.metric, type: RouteType[spec.type], protocol: protocolOf(spec) }
  if (spec.nexthop !== undefined) return { ...route, nexthop: spec.nexthop }
  if (spec.via === undefined) return route
  const index = indexOf(spec.via.ifname)
  return spec.via.gateway === undefined ? { ...route, index } : { ...route, gateway: spec.via.gateway, index }
}

const describe = (spec: RouteSpec): string => {
  const way = spec.via === undefined ? spec.type : `via ${spec.via.gateway ?? ""} dev ${spec.via.ifname}`
  return `${spec.to} ${spec.nexthop === undefined ? way : `nhid ${spec.nexthop}`} in ${spec.node}`
}

/** Makes the route, in place of the one that was there `before`. `index`: of the node's interfaces. */
export const writeRoute = (
  batch: Batch,
  { before, index, spec, tag }: {
    readonly spec: RouteSpec
    readonly before?: RouteSpec | undefined
    readonly index: (ifname: string) => number
    readonly tag: number
  }
): void => {
  // The kernel's "replace" of an IPv6 route swaps only one of the same kind (gateway, nexthop object, discard).
  if (before !== undefined && spec.to.includes(":")) {
    Route.removeRoute(batch.out, toKernel(before, index))
    batch.note("remove route", describe(before), tag)
  }
  Route.addRoute(batch.out, toKernel(spec, index))
  batch.note("add route", describe(spec), tag)
}

export const removeRoute = (batch: Batch, { byHand: made, node, to, table, metric, type }: RouteSpec, tag: number): void => {
  const owner = made === undefined ? {} : { byHand: made }
  Route.removeRoute(batch.out, { to, table, metric, type: RouteType[type], protocol: protocolOf(owner) })
  batch.note("remove route", describe({ node, to, table, metric, type }), tag)
}
