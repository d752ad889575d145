/**
 * Nexthop groups. A group's members are nexthops of their own in the kernel; their ids derive from the group's id and
 * from where they lead, so they belong to one group only and go with it.
 */
import { createHash } from "node:crypto"
import { familyOf } from "../wire/ip.ts"
import * as Nexthop from "../wire/rtnetlink/nexthop.ts"
import type { NexthopMember, NexthopSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { protocol } from "./protocol.ts"
import type { NodeSnapshot } from "./snapshot.ts"

/** 31 bits, never 0, distinct from group ids by the text that is hashed. */
const memberId = (group: number, member: NexthopMember): number => {
  const digest = createHash("sha256").update(`member ${group} ${member.gateway ?? ""} ${member.ifname}`).digest()
  return (digest.readUInt32BE(0) & 0x7fffffff) || 1
}

/** The group's members that exist in the kernel, as specs. */
const membersOf = (lab: Lab, node: string, snapshot: NodeSnapshot, group: Nexthop.Nexthop): NexthopMember[] => {
  const single = new Map(snapshot.nexthops.map((nexthop) => [nexthop.id, nexthop]))
  if (group.kind !== "group") return []
  return group.members.flatMap(({ id: member, weight }): ReadonlyArray<NexthopMember> => {
    const nexthop = single.get(member)
    if (nexthop === undefined || nexthop.kind !== "single") return []
    const ifname = lab.ifname(node, nexthop.index) ?? ""
    if (nexthop.gateway !== undefined) return [{ gateway: nexthop.gateway, ifname, weight }]
    return [nexthop.family === "ipv6" ? { family: "ipv6", ifname, weight } : { ifname, weight }]
  })
}

function* observe(lab: Lab): Generator<readonly [string, NexthopSpec]> {
  for (const [node, snapshot] of lab.snapshot.nodes) {
    for (const nexthop of snapshot.nexthops) {
      if (nexthop.protocol !== protocol || nexthop.kind !== "group") continue
      yield [id.nexthop(node, nexthop.id), { node, id: nexthop.id, members: membersOf(lab, node, snapshot, nexthop) }]
    }
  }
}

export const handler: Handler<"nexthop"> = {
  kind: "nexthop",
  observe,
  converge: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { node, id: group, members } = step.after!.spec
      for (const member of members) {
        const index = lab.index(node, member.ifname)
        const { gateway } = member
        const family = gateway === undefined ? member.family ?? "ipv4" : familyOf(gateway)
        const fields = { id: memberId(group, member), protocol, kind: "single", family, index } as const
        Nexthop.addNexthop(batch.out, gateway === undefined ? fields : { ...fields, gateway })
        batch.note("add nexthop", `${gateway ?? member.ifname} of ${node}`, tag)
      }
      const ids = members.map((member) => ({ id: memberId(group, member), weight: member.weight }))
      Nexthop.addNexthop(batch.out, { id: group, protocol, kind: "group", members: ids })
      batch.note("add nexthop group", `${group} of ${node}`, tag)
      for (const stale of staleMembers(step.before, step.after!.spec)) {
        Nexthop.removeNexthop(batch.out, stale)
        batch.note("remove nexthop", `${stale} of ${node}`, tag)
      }
    }),
  remove: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { node, id: group, members } = step.before!
      for (const nexthop of [group, ...members.map((member) => memberId(group, member))]) {
        Nexthop.removeNexthop(batch.out, nexthop)
        batch.note("remove nexthop", `${nexthop} of ${node}`, tag)
      }
    })
}

const staleMembers = (before: NexthopSpec | undefined, after: NexthopSpec): number[] => {
  const kept = new Set(after.members.map((member) => memberId(after.id, member)))
  return (before?.members ?? []).map((member) => memberId(after.id, member)).filter((member) => !kept.has(member))
}
