/**
 * Nexthop groups. A group's members are nexthops of their own in the kernel; their ids derive from the group's id and
 * from where they lead, so they belong to one group only and go with it.
 */
import type * as Nexthop from "../wire/rtnetlink/nexthop.ts"
import type { NexthopMember, NexthopSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { protocol } from "./protocol.ts"
import { removeGroup, writeGroup } from "./route-requests.ts"
import type { NodeSnapshot } from "./snapshot.ts"

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
      const resource = id.nexthop(node, nexthop.id)
      const spec = { node, id: nexthop.id, members: membersOf(lab, node, snapshot, nexthop) }
      yield [resource, lab.daemon.bfdRoutes.asWantedGroup(lab.name, resource, spec)]
    }
  }
  for (const [resource, spec] of lab.daemon.bfdRoutes.absent(lab.name)) {
    if ("members" in spec && lab.snapshot.nodes.has(spec.node)) yield [resource, spec]
  }
}

export const handler: Handler<"nexthop"> = {
  kind: "nexthop",
  observe,
  converge: (lab, steps) => {
    lab.daemon.bfdRoutes.follow(lab)
    return batchByNode(lab, steps, (batch, { after, before, id: resource, node }, tag) => {
      const { spec } = after!
      const members = lab.daemon.bfdRoutes.usable(lab.name, resource, spec)
      const index = (ifname: string): number => lab.index(node, ifname)
      if (members.length > 0) writeGroup(batch, { spec: { ...spec, members }, before, index, tag })
      else if (before !== undefined) removeGroup(batch, before, tag)
    })
  },
  remove: (lab, steps) => {
    lab.daemon.bfdRoutes.follow(lab)
    return batchByNode(lab, steps, (batch, { before }, tag) => removeGroup(batch, before!, tag))
  }
}
