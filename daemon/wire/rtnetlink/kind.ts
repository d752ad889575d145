/**
 * Requests that ask whether the kernel knows a kind of interface or of queueing discipline.
 *
 *     RTM_NEWLINK  | ifinfomsg, zeros | IFLA_IFNAME | IFLA_LINKINFO { IFLA_INFO_KIND }
 *     RTM_NEWQDISC | tcmsg            | TCA_KIND
 *
 * They carry a kind and nothing else. A kernel that does not know it answers EOPNOTSUPP (net/core/rtnetlink.c:
 * __rtnl_newlink) or ENOENT (net/sched/sch_api.c: qdisc_create); one that knows it obeys, or misses an attribute with
 * another errno. Either is meant for a namespace that nobody uses.
 */
import { Flag, type Writer } from "../netlink.ts"

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_NEWQDISC = 36
const IFLA_IFNAME = 3
const IFLA_LINKINFO = 18
const IFLA_INFO_KIND = 1
const TCA_KIND = 1
const TC_H_ROOT = 0xffffffff

/** The errnos that say that there is no such kind. */
export const unknownLink = "EOPNOTSUPP"
export const unknownQdisc = "ENOENT"

/** `ip link add NAME type KIND`. Returns the sequence number. */
export const addLinkOfKind = (out: Writer, kind: string, name: string): number => {
  const sequence = out.begin(RTM_NEWLINK, Flag.create | Flag.exclusive)
  for (let i = 0; i < 4; i++) out.u32(0)
  out.attributeText(IFLA_IFNAME, name)
  const info = out.nestBegin(IFLA_LINKINFO)
  out.attributeText(IFLA_INFO_KIND, kind)
  out.nestEnd(info)
  out.end()
  return sequence
}

/** `tc qdisc add dev INDEX root KIND`. Returns the sequence number. */
export const addQdiscOfKind = (out: Writer, kind: string, index: number): number => {
  const sequence = out.begin(RTM_NEWQDISC, Flag.create | Flag.exclusive)
  for (const value of [0, index, 0, TC_H_ROOT, 0]) out.u32(value)
  out.attributeText(TCA_KIND, kind)
  out.end()
  return sequence
}

/** `ip link del NAME`. Returns the sequence number. */
export const removeLinkOfName = (out: Writer, name: string): number => {
  const sequence = out.begin(RTM_DELLINK, 0)
  for (let i = 0; i < 4; i++) out.u32(0)
  out.attributeText(IFLA_IFNAME, name)
  out.end()
  return sequence
}
