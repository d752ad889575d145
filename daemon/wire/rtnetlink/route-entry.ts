/**
 * rtnetlink: routes as the kernel has them, whoever made them (include/uapi/linux/rtnetlink.h, rtnetlink(7)): with all their
 * ways, where `route.ts` has only what weft itself writes.
 *
 *     rtmsg: family (1) dst_len (1) src_len (1) tos (1) table (1) protocol (1) scope (1) type (1) flags (4)
 *     rtnexthop, in RTA_MULTIPATH: length (2) flags (1) weight - 1 (1) index (4), then attributes
 *
 * Unsupported: routes by source or TOS, encapsulations: they are read without them.
 */
import { format } from "../ip.ts"
import { attributes, Flag, i32, u16, u32, u8, type Writer } from "../netlink.ts"
import { familyName } from "./family.ts"

export const newRoute = 24
export const delRoute = 25
const RTM_GETROUTE = 26

const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_MULTIPATH = 9
const RTA_TABLE = 15
const RTA_VIA = 18
const RTA_NH_ID = 30
const RTM_F_CLONED = 0x200
const RTNH_F_DEAD = 1
const RTNH_F_LINKDOWN = 16
const headerLength = 12
const rtnexthopLength = 8

/** rtm_type, of which these are for packets to others. */
export const unicastType = 1

/** One way out of a route. */
export interface Way {
  readonly gateway?: string
  readonly index: number
  readonly weight: number
  /** The interface has no carrier or is down. */
  readonly isDown?: boolean
}

export interface Entry {
  /** Canonical prefix. */
  readonly prefix: string
  readonly table: number
  readonly metric: number
  /** RTN_*: 1 unicast, 6 blackhole, 7 unreachable, 8 prohibit, ... */
  readonly type: number
  readonly protocol: number
  /** rtm_scope: 0 global, 253 link, 254 host. */
  readonly scope: number
  /** Nexthop object, or 0. */
  readonly nexthop: number
  /** Of a route with a nexthop object: what the kernel tells of it (nothing with nexthop_compat_mode off). */
  readonly ways: ReadonlyArray<Way>
  readonly preferredSource?: string
}

/** What a dump is to have; the kernel sorts the rest out on a socket with NETLINK_GET_STRICT_CHK. 0: any. */
export interface Filter {
  /** AF_INET, AF_INET6 or 0. */
  readonly family: number
  readonly table: number
  readonly protocol: number
}

export const dumpEntries = (out: Writer, { family, table, protocol }: Filter): void => {
  out.begin(RTM_GETROUTE, Flag.dump)
  out.u8(family)
  for (let i = 1; i < headerLength; i++) out.u8(i === 5 ? protocol : 0)
  if (table !== 0) out.attributeU32(RTA_TABLE, table)
  out.end()
}

const wayOf = (gateway: string | undefined, index: number, weight: number, flags: number): Way => {
  const isDown = (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) !== 0
  return { ...(gateway === undefined ? {} : { gateway }), index, weight, ...(isDown ? { isDown } : {}) }
}

/** RTA_VIA: family (2), address. */
const via = (value: Uint8Array): string => format(value.subarray(2))

const decodeWays = (value: Uint8Array): Way[] => {
  const ways: Way[] = []
  for (let at = 0; at + rtnexthopLength <= value.length; ) {
    const length = u16(value, at)
    if (length < rtnexthopLength || at + length > value.length) break
    let gateway: string | undefined
    attributes(value.subarray(0, at + length), at + rtnexthopLength, (type, octets) => {
      if (type === RTA_GATEWAY) gateway = format(octets)
      else if (type === RTA_VIA) gateway = via(octets)
    })
    ways.push(wayOf(gateway, i32(value, at + 4), u8(value, at + 3) + 1, u8(value, at + 2)))
    at += (length + 3) & ~3
  }
  return ways
}

/** The route of a RTM_NEWROUTE or RTM_DELROUTE body; undefined for what is neither IPv4 nor IPv6, and for cached ones. */
export const decode = (body: Uint8Array): Entry | undefined => {
  const family = familyName(u8(body))
  if (family === undefined || (u32(body, 8) & RTM_F_CLONED) !== 0) return undefined
  let to: Uint8Array = new Uint8Array(family === "ipv4" ? 4 : 16)
  let table = u8(body, 4)
  let metric = 0
  let gateway: string | undefined
  let index = 0
  let nexthop = 0
  let ways: Way[] | undefined
  let preferredSource: string | undefined
  attributes(body, headerLength, (type, value) => {
    if (type === RTA_DST) to = value
    else if (type === RTA_TABLE) table = u32(value)
    else if (type === RTA_PRIORITY) metric = u32(value)
    else if (type === RTA_GATEWAY) gateway = format(value)
    else if (type === RTA_VIA) gateway = via(value)
    else if (type === RTA_OIF) index = i32(value)
    else if (type === RTA_NH_ID) nexthop = u32(value)
    else if (type === RTA_PREFSRC) preferredSource = format(value)
    else if (type === RTA_MULTIPATH) ways = decodeWays(value)
  })
  if (ways === undefined) ways = index === 0 ? [] : [wayOf(gateway, index, 1, u32(body, 8))]
  return {
    prefix: `${format(to)}/${u8(body, 1)}`,
    table,
    metric,
    type: u8(body, 7),
    protocol: u8(body, 5),
    scope: u8(body, 6),
    nexthop,
    ways,
    ...(preferredSource === undefined ? {} : { preferredSource })
  }
}

/** What `scan` found; one object serves a million routes. */
export interface Scanned {
  isV6: boolean
  length: number
  table: number
  metric: number
  type: number
  protocol: number
  nexthop: number
  /** Where in the body the destination begins; -1: the default route, which has none. */
  destinationAt: number
}

/** The plain fields of a RTM_NEWROUTE body, without making anything: for dumps of a million. */
export const scan = (body: Uint8Array, into: Scanned): void => {
  into.isV6 = familyName(u8(body)) === "ipv6"
  into.length = u8(body, 1)
  into.table = u8(body, 4)
  into.protocol = u8(body, 5)
  into.type = u8(body, 7)
  into.metric = 0
  into.nexthop = 0
  into.destinationAt = -1
  for (let at = headerLength; at + 4 <= body.length; ) {
    const length = u16(body, at)
    if (length < 4 || at + length > body.length) return
    const type = u16(body, at + 2) & 0x3fff
    if (type === RTA_DST) into.destinationAt = at + 4
    else if (type === RTA_TABLE) into.table = u32(body, at + 4)
    else if (type === RTA_PRIORITY) into.metric = u32(body, at + 4)
    else if (type === RTA_NH_ID) into.nexthop = u32(body, at + 4)
    at += (length + 3) & ~3
  }
}
