/**
 * rtnetlink: nexthop objects and groups (include/uapi/linux/nexthop.h, ip-nexthop(8); Linux 5.3).
 *
 *     nhmsg: family (1) scope (1) protocol (1) reserved (1) flags (4)
 *     nexthop_grp: id (4) weight - 1 (1) weight high (1) reserved (2)
 */
import { format, parse, type Family } from "../ip.ts"
import { attributes, Flag, u32, u8, type Writer } from "../netlink.ts"
import { familyName, familyNumber } from "./family.ts"

const RTM_NEWNEXTHOP = 104
const RTM_DELNEXTHOP = 105
const RTM_GETNEXTHOP = 106

const NHA_ID = 1
const NHA_GROUP = 2
const NHA_OIF = 5
const NHA_GATEWAY = 6
const AF_UNSPEC = 0
const headerLength = 8

export type Nexthop = {
  readonly id: number
  readonly protocol: number
} & (
  | {
      readonly kind: "single"
      /** Of the routes that may use it: the kernel refuses an IPv6 route by a nexthop that is IPv4's (net/ipv4/nexthop.c). */
      readonly family: Family
      readonly gateway?: string
      readonly index: number
    }
  | { readonly kind: "group"; readonly members: ReadonlyArray<{ readonly id: number; readonly weight: number }> }
)

/** Adds a nexthop or group, or replaces the one of the same id: every route that uses it follows at once. */
export const addNexthop = (out: Writer, nexthop: Nexthop): number => {
  const sequence = out.begin(RTM_NEWNEXTHOP, Flag.create | Flag.replace)
  const gateway = nexthop.kind === "single" && nexthop.gateway !== undefined ? parse(nexthop.gateway) : undefined
  out.u8(nexthop.kind === "group" ? AF_UNSPEC : familyNumber(nexthop.family))
  out.u8(0)
  out.u8(nexthop.protocol)
  out.u8(0)
  out.u32(0)
  out.attributeU32(NHA_ID, nexthop.id)
  if (nexthop.kind === "group") {
    const group = new DataView(new ArrayBuffer(nexthop.members.length * 8))
    nexthop.members.forEach((member, i) => {
      group.setUint32(8 * i, member.id, true)
      group.setUint8(8 * i + 4, member.weight - 1)
    })
    out.attribute(NHA_GROUP, new Uint8Array(group.buffer))
  } else {
    out.attributeU32(NHA_OIF, nexthop.index)
    if (gateway !== undefined) out.attribute(NHA_GATEWAY, gateway)
  }
  out.end()
  return sequence
}

/** Removes a nexthop and with it every route that uses it. */
export const removeNexthop = (out: Writer, id: number): number => {
  const sequence = out.begin(RTM_DELNEXTHOP, 0)
  out.u32(0)
  out.u32(0)
  out.attributeU32(NHA_ID, id)
  out.end()
  return sequence
}

export const dumpNexthops = (out: Writer): void => {
  out.begin(RTM_GETNEXTHOP, Flag.dump)
  out.u32(0)
  out.u32(0)
  out.end()
}

/** The nexthop or group of a RTM_NEWNEXTHOP body. */
export const decode = (body: Uint8Array): Nexthop => {
  let id = 0
  let index = 0
  let gateway: string | undefined
  let members: { id: number; weight: number }[] | undefined
  attributes(body, headerLength, (type, value) => {
    if (type === NHA_ID) id = u32(value)
    else if (type === NHA_OIF) index = u32(value)
    else if (type === NHA_GATEWAY) gateway = format(value)
    else if (type === NHA_GROUP) {
      members = []
      for (let at = 0; at + 8 <= value.length; at += 8) {
        members.push({ id: u32(value, at), weight: u8(value, at + 4) + 1 + u8(value, at + 5) * 256 })
      }
    }
  })
  const protocol = u8(body, 2)
  if (members !== undefined) return { id, protocol, kind: "group", members }
  const family = familyName(u8(body)) ?? "ipv4"
  return { id, protocol, kind: "single", family, index, ...(gateway === undefined ? {} : { gateway }) }
}
