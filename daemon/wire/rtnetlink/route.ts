/**
 * rtnetlink: routes (include/uapi/linux/rtnetlink.h, rtnetlink(7)).
 *
 *     rtmsg: family (1) dst_len (1) src_len (1) tos (1) table (1) protocol (1) scope (1) type (1) flags (4)
 *
 * Unsupported: routes by source or TOS, encapsulations, RTA_MULTIPATH (several ways out are a nexthop group here).
 */
import { format, parse, parsePrefix } from "../ip.ts"
import { attributes, Flag, u32, u8, type Writer } from "../netlink.ts"
import { addressFamily, familyName } from "./family.ts"

const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTM_GETROUTE = 26

const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_TABLE = 15
const RTA_NH_ID = 30
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const RTM_F_CLONED = 0x200
const headerLength = 12
const protocolOffset = 5

export const RouteType = { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const
export type RouteTypeName = keyof typeof RouteType

export interface Route {
  /** Canonical prefix. */
  readonly to: string
  readonly table: number
  readonly metric: number
  readonly type: number
  readonly protocol: number
  readonly gateway?: string
  readonly index?: number
  readonly nexthop?: number
}

/** Where the destination is: an IPv4 route says so, an IPv6 one has no scope. */
const scopeOf = (route: Route): number => {
  const onLink = route.type === RouteType.unicast && route.gateway === undefined && route.nexthop === undefined
  return onLink && !route.to.includes(":") ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE
}

const write = (out: Writer, message: number, flags: number, route: Route, scope: number): number => {
  const { address, length } = parsePrefix(route.to)!
  const sequence = out.begin(message, flags)
  out.u8(addressFamily(address))
  out.u8(length)
  out.u8(0)
  out.u8(0)
  out.u8(route.table < 256 ? route.table : 0)
  out.u8(route.protocol)
  out.u8(scope)
  out.u8(route.type)
  out.u32(0)
  if (length > 0) out.attribute(RTA_DST, address)
  out.attributeU32(RTA_TABLE, route.table)
  if (route.metric !== 0) out.attributeU32(RTA_PRIORITY, route.metric)
  if (route.gateway !== undefined) out.attribute(RTA_GATEWAY, parse(route.gateway)!)
  if (route.index !== undefined) out.attributeU32(RTA_OIF, route.index)
  if (route.nexthop !== undefined) out.attributeU32(RTA_NH_ID, route.nexthop)
  out.end()
  return sequence
}

/** Adds a route, or replaces the one of the same destination, table and metric. */
export const addRoute = (out: Writer, route: Route): number => write(out, RTM_NEWROUTE, Flag.create | Flag.replace, route, scopeOf(route))

/**
 * Removes the route of this destination, table, metric and protocol, wherever it leads unless that is given, too. Scope
 * "nowhere" is any scope (fib_table_delete).
 */
export const removeRoute = (out: Writer, route: Route): number => write(out, RTM_DELROUTE, 0, route, RT_SCOPE_NOWHERE)

/**
 * Asks for all routes, or only for those with this protocol number: the kernel sorts them out on a socket that has
 * NETLINK_GET_STRICT_CHK, and sends all on another.
 */
export const dumpRoutes = (out: Writer, protocol = 0): void => {
  out.begin(RTM_GETROUTE, Flag.dump)
  for (let i = 0; i < headerLength; i++) out.u8(i === protocolOffset ? protocol : 0)
  out.end()
}

/** Asks which way a packet to `address` (4 or 16 octets) would take; `wayOut` reads the answer. */
export const findRoute = (out: Writer, address: Uint8Array): void => {
  out.begin(RTM_GETROUTE, 0)
  out.u8(addressFamily(address))
  out.u8(address.length * 8)
  for (let i = 2; i < headerLength; i++) out.u8(0)
  out.attribute(RTA_DST, address)
  out.end()
}

/** The interface by which the answer to `findRoute` sends; 0 when it does not. */
export const wayOut = (body: Uint8Array): number => {
  let index = 0
  attributes(body, headerLength, (type, value) => {
    if (type === RTA_OIF) index = u32(value)
  })
  return index
}

/** The route of a RTM_NEWROUTE body; undefined for what is no unicast FIB entry of IPv4 or IPv6 (cached, multicast, ...). */
export const decode = (body: Uint8Array): Route | undefined => {
  const family = familyName(u8(body))
  if (family === undefined || (u32(body, 8) & RTM_F_CLONED) !== 0) return undefined
  let to: Uint8Array = new Uint8Array(family === "ipv4" ? 4 : 16)
  let table = u8(body, 4)
  let metric = 0
  let gateway: string | undefined
  let index: number | undefined
  let nexthop: number | undefined
  attributes(body, headerLength, (type, value) => {
    if (type === RTA_DST) to = value
    else if (type === RTA_TABLE) table = u32(value)
    else if (type === RTA_PRIORITY) metric = u32(value)
    else if (type === RTA_GATEWAY) gateway = format(value)
    else if (type === RTA_OIF) index = u32(value)
    else if (type === RTA_NH_ID) nexthop = u32(value)
  })
  return {
    to: `${format(to)}/${u8(body, 1)}`,
    table,
    metric,
    type: u8(body, 7),
    protocol: u8(body, protocolOffset),
    ...(gateway === undefined ? {} : { gateway }),
    ...(index === undefined ? {} : { index }),
    ...(nexthop === undefined ? {} : { nexthop })
  }
}
