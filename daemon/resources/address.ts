/** Addresses of interfaces in nodes. */
import * as Address from "../wire/rtnetlink/address.ts"
import type { AddressSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { batchByNode, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { protocol } from "./protocol.ts"

const linkScope = 253

/**
 * On our ports: every address but those that come by themselves (link-local ones, leases and other addresses with a
 * lifetime); a stranger's is drift there. On loopback and on interfaces that commands in the node have made (bridges,
 * tunnels): only what is ours.
 */
function* observe(lab: Lab): Generator<readonly [string, AddressSpec]> {
  for (const [node, { addresses }] of lab.snapshot.nodes) {
    for (const { index, address, scope, permanent, protocol: maker } of addresses) {
      const ifname = lab.ifname(node, index)
      if (ifname === undefined) continue
      const ours = maker === protocol || lab.known.has(id.address(node, ifname, address))
      const onOurPort = lab.fabricIndex(`${node}:${ifname}`) !== undefined
      if (ours || (onOurPort && permanent && scope !== linkScope)) yield [id.address(node, ifname, address), { node, ifname, address }]
    }
  }
}

export const handler: Handler<"address"> = {
  kind: "address",
  observe,
  converge: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { node, ifname, address } = step.after!.spec
      Address.addAddress(batch.out, lab.index(node, ifname), address, protocol)
      batch.note("add address", `${address} to ${node}:${ifname}`, tag)
    }),
  remove: (lab, steps) =>
    batchByNode(lab, steps, (batch, step, tag) => {
      const { node, ifname, address } = step.before!
      Address.removeAddress(batch.out, lab.index(node, ifname), address)
      batch.note("remove address", `${address} from ${node}:${ifname}`, tag)
    })
}
