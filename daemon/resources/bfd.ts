/** BFD sessions of nodes: what the engine runs, compared with what the topology wants. Those of BGP neighbours are BGP's. */
import { KernelError, reasonOf } from "../linux/errors.ts"
import { type BfdSpec, id } from "../plan/resource.ts"
import { eachAsync, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"

function* observe(lab: Lab): Generator<readonly [string, BfdSpec]> {
  for (const [resource, inode, spec] of lab.daemon.bfd.running(lab.name)) {
    const isThere = lab.snapshot.nodes.get(spec.node)?.netns.inode === inode
    // One whose namespace has gone is still to be removed when nobody wants it.
    if (isThere || !lab.desired.has(resource)) yield [resource, spec]
  }
}

export const handler: Handler<"bfd"> = {
  kind: "bfd",
  observe,
  converge: (lab, steps) =>
    eachAsync(steps, async ({ after, id: resource, node }) => {
      try {
        await lab.daemon.bfd.set(lab.name, resource, lab.netns(node).inode, after!.spec)
      } catch (error) {
        if (error instanceof KernelError) throw error
        throw new KernelError({ operation: "start BFD on", object: node, code: "bfd", detail: reasonOf(error) })
      }
    }),
  remove: (lab, steps) =>
    eachAsync(steps, async ({ id: resource, node }) => {
      await lab.daemon.bfd.remove(lab.name, resource)
      if (!lab.desired.has(id.node(node))) lab.daemon.bfdRoutes.forget(lab.name, node)
    })
}
