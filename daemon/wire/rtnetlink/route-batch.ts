/**
 * rtnetlink: routes by the million. One buffer takes requests that differ in little; nothing is allocated for each.
 *
 *     nlmsghdr (16) rtmsg (12) RTA_DST (8 or 20) RTA_PRIORITY (8) [RTA_TABLE (8)] [RTA_NH_ID (8)]
 *
 * Requests carry no NLM_F_ACK: the kernel answers those that fail, and says nothing of others (net/netlink/af_netlink.c:
 * netlink_rcv_skb). The sequence number of an answer is that of the request.
 */
import { Flag, headerLength } from "../netlink.ts"
import { AF_INET, AF_INET6 } from "./family.ts"

const RTM_NEWROUTE = 24
const RTM_DELROUTE = 25
const RTA_DST = 1
const RTA_PRIORITY = 6
const RTA_TABLE = 15
const RTA_NH_ID = 30
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_NOWHERE = 255
const rtmsgLength = 12
/** The longest request: an IPv6 route with all attributes. */
const longest = headerLength + rtmsgLength + 20 + 8 + 8 + 8

/** What requests have in common beside destination and nexthop. */
export interface Common {
  readonly protocol: number
  readonly table: number
  readonly metric: number
  /** RTN_UNICAST or RTN_BLACKHOLE. */
  readonly type: number
}

/** What to do when the destination with this metric is there already. */
export const IfThere = { fail: Flag.create | Flag.exclusive, replace: Flag.create | Flag.replace } as const

export class RouteBatch {
  readonly bytes: Uint8Array
  private readonly view: DataView
  length = 0
  count = 0

  constructor(octets: number) {
    this.bytes = new Uint8Array(octets)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Whether one more request fits. */
  get hasSpace(): boolean {
    return this.length + longest <= this.bytes.length
  }

  clear(): void {
    this.length = 0
    this.count = 0
  }

  /**
   * `destination[at..]`: 4 octets (or 16 if `isV6`) of which `prefixLength` bits count, the others 0. `nexthop` 0: none. Returns the
   * sequence number: how many requests there were before.
   */
  add(flags: number, destination: Uint8Array, at: number, prefixLength: number, isV6: boolean, common: Common, nexthop: number): number {
    return this.write(RTM_NEWROUTE, flags, destination, at, prefixLength, isV6, common, nexthop)
  }

  /** Removes the route with this destination, table, metric and protocol, and no other. */
  remove(destination: Uint8Array, at: number, prefixLength: number, isV6: boolean, common: Common): number {
    return this.write(RTM_DELROUTE, 0, destination, at, prefixLength, isV6, common, 0)
  }

  private write(
    message: number,
    flags: number,
    destination: Uint8Array,
    from: number,
    prefixLength: number,
    isV6: boolean,
    common: Common,
    nexthop: number
  ): number {
    const { bytes, view } = this
    const start = this.length
    const family = isV6 ? AF_INET6 : AF_INET
    const octets = isV6 ? 16 : 4
    view.setUint16(start + 4, message, true)
    view.setUint16(start + 6, flags | Flag.request, true)
    view.setUint32(start + 8, this.count, true)
    view.setUint32(start + 12, 0, true)
    view.setUint32(start + 16, family | (prefixLength << 8), true)
    const table = common.table < 256 ? common.table : 0
    // fib_table_delete takes "nowhere" for any scope; IPv6 has none.
    const scope = message === RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE
    bytes[start + 20] = table
    bytes[start + 21] = common.protocol
    bytes[start + 22] = scope
    bytes[start + 23] = common.type
    view.setUint32(start + 24, 0, true)
    let at = start + headerLength + rtmsgLength
    view.setUint32(at, (octets + 4) | (RTA_DST << 16), true)
    at += 4
    for (let i = 0; i < octets; i++) bytes[at + i] = destination[from + i]!
    at = this.number(at + octets, RTA_PRIORITY, common.metric)
    if (table === 0) at = this.number(at, RTA_TABLE, common.table)
    if (nexthop !== 0) at = this.number(at, RTA_NH_ID, nexthop)
    view.setUint32(start, at - start, true)
    this.length = at
    return this.count++
  }

  private number(at: number, type: number, value: number): number {
    this.view.setUint32(at, 8 | (type << 16), true)
    this.view.setUint32(at + 4, value, true)
    return at + 8
  }
}
