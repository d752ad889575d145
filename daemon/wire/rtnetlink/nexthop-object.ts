/**
 * rtnetlink: nexthop objects with all that BGP needs of them: gateways of the other family (RFC 8950), gateways that need no
 * connected route, resilient groups (include/uapi/linux/nexthop.h, ip-nexthop(8); Linux 5.13).
 *
 *     nhmsg: family (1) scope (1) protocol (1) reserved (1) flags (4)
 *     nexthop_grp: id (4) weight - 1 (1) weight high (1) reserved (2)
 */
import { format } from "../ip.ts"
import { attributes, Flag, i32, u16, u32, u8, type Writer } from "../netlink.ts"
import { AF_INET6, addressFamily } from "./family.ts"

export const newNexthop = 104
export const delNexthop = 105
const RTM_GETNEXTHOP = 106

const NHA_ID = 1
const NHA_GROUP = 2
const NHA_GROUP_TYPE = 3
const NHA_BLACKHOLE = 4
const NHA_OIF = 5
const NHA_GATEWAY = 6
const NHA_RES_GROUP = 12
const NHA_RES_GROUP_BUCKETS = 1
const NHA_RES_GROUP_IDLE_TIMER = 2
const NEXTHOP_GRP_TYPE_RES = 1
const RTNH_F_ONLINK = 4
const AF_UNSPEC = 0
const headerLength = 8
/** The kernel counts idle time in clock ticks of user space: USER_HZ. */
const ticksPerSecond = 100

export interface Member {
  readonly id: number
  /** 1..256 */
  readonly weight: number
}

export interface Resilient {
  readonly buckets: number
  /** How long a flow must be silent before it may move to another member, s; 0: at once. */
  readonly idleS: number
}

export interface NexthopObject {
  readonly id: number
  readonly protocol: number
  /** AF_INET or AF_INET6 of a single one; 0 of a group. */
  readonly family: number
  /** Interface of a single one, or 0. */
  readonly index: number
  readonly gateway?: string
  readonly isBlackhole: boolean
  /** Present: a group. */
  readonly members?: ReadonlyArray<Member>
  readonly resilient?: Resilient
}

/** What to do when the id is there already. */
export const IfThere = { fail: Flag.create | Flag.exclusive, replace: Flag.create | Flag.replace } as const

const header = (out: Writer, family: number, protocol: number, flags: number): void => {
  out.u8(family)
  out.u8(0)
  out.u8(protocol)
  out.u8(0)
  out.u32(flags)
}

/**
 * A gateway of 4 or 16 octets on an interface. It is taken as on the link: who asks has looked. With 0.0.0.0 or :: there is no gateway:
 * what is sent is for somebody on the link. Returns the sequence number.
 */
export const addSingle = (out: Writer, flags: number, id: number, protocol: number, gateway: Uint8Array, index: number): number => {
  const sequence = out.begin(newNexthop, flags)
  const hasGateway = gateway.some((octet) => octet !== 0)
  header(out, addressFamily(gateway), protocol, hasGateway ? RTNH_F_ONLINK : 0)
  out.attributeU32(NHA_ID, id)
  out.attributeU32(NHA_OIF, index)
  if (hasGateway) out.attribute(NHA_GATEWAY, gateway)
  out.end()
  return sequence
}

/** `resilient`: of a new group; one that is replaced keeps its buckets, `idleS` may change. Returns the sequence number. */
export const addGroup = (
  out: Writer,
  flags: number,
  id: number,
  protocol: number,
  members: ReadonlyArray<Member>,
  resilient: Resilient | undefined
): number => {
  const sequence = out.begin(newNexthop, flags)
  header(out, AF_UNSPEC, protocol, 0)
  out.attributeU32(NHA_ID, id)
  const group = new DataView(new ArrayBuffer(members.length * 8))
  members.forEach((member, i) => {
    group.setUint32(8 * i, member.id, true)
    group.setUint8(8 * i + 4, member.weight - 1)
  })
  out.attribute(NHA_GROUP, new Uint8Array(group.buffer))
  if (resilient !== undefined) {
    out.attributeU16(NHA_GROUP_TYPE, NEXTHOP_GRP_TYPE_RES)
    const nest = out.nestBegin(NHA_RES_GROUP)
    out.attributeU16(NHA_RES_GROUP_BUCKETS, resilient.buckets)
    out.attributeU32(NHA_RES_GROUP_IDLE_TIMER, resilient.idleS * ticksPerSecond)
    out.nestEnd(nest)
  }
  out.end()
  return sequence
}

/** A nexthop goes from all its groups, a group with all its routes. Returns the sequence number. */
export const remove = (out: Writer, id: number): number => {
  const sequence = out.begin(delNexthop, 0)
  header(out, AF_UNSPEC, 0, 0)
  out.attributeU32(NHA_ID, id)
  out.end()
  return sequence
}

export const dumpObjects = (out: Writer): void => {
  out.begin(RTM_GETNEXTHOP, Flag.dump)
  header(out, AF_UNSPEC, 0, 0)
  out.end()
}

const decodeMembers = (value: Uint8Array): Member[] => {
  const members: Member[] = []
  for (let at = 0; at + 8 <= value.length; at += 8) {
    members.push({ id: u32(value, at), weight: u8(value, at + 4) + 1 + u8(value, at + 5) * 256 })
  }
  return members
}

/** The object of a RTM_NEWNEXTHOP or RTM_DELNEXTHOP body. */
export const decode = (body: Uint8Array): NexthopObject => {
  let id = 0
  let index = 0
  let gateway: string | undefined
  let members: Member[] | undefined
  let isBlackhole = false
  let groupType = 0
  let buckets = 0
  let idleTicks = 0
  attributes(body, headerLength, (type, value) => {
    if (type === NHA_ID) id = u32(value)
    else if (type === NHA_OIF) index = i32(value)
    else if (type === NHA_GATEWAY) gateway = format(value)
    else if (type === NHA_BLACKHOLE) isBlackhole = true
    else if (type === NHA_GROUP_TYPE) groupType = u16(value)
    else if (type === NHA_GROUP) members = decodeMembers(value)
    else if (type === NHA_RES_GROUP) {
      attributes(value, 0, (inner, octets) => {
        if (inner === NHA_RES_GROUP_BUCKETS) buckets = u16(octets)
        else if (inner === NHA_RES_GROUP_IDLE_TIMER) idleTicks = u32(octets)
      })
    }
  })
  return {
    id,
    protocol: u8(body, 2),
    family: u8(body),
    index,
    isBlackhole,
    ...(gateway === undefined ? {} : { gateway }),
    ...(members === undefined ? {} : { members }),
    ...(groupType === NEXTHOP_GRP_TYPE_RES ? { resilient: { buckets, idleS: idleTicks / ticksPerSecond } } : {})
  }
}

/** Of a nexthop's gateway, which of the families it is. */
export const isV6 = (object: NexthopObject): boolean => object.family === AF_INET6
