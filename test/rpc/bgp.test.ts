/** What is said of a node without a speaker of weft's: in a container something else may speak. */
import t from "tap"
import type { ServerUnaryCall } from "@grpc/grpc-js"
import { makeBgp, type NodeRequest, type ResolvedNode } from "../../daemon/rpc/bgp.ts"

const details = (node: ResolvedNode): Promise<string> => {
  const { bgp } = makeBgp({
    resolveNode: async () => node,
    routing: { ask: async () => ({ kind: "nothing", reason: 'Node "r1" has no BGP speaker' }), reset: async () => 0 }
  })
  return new Promise((resolve) => {
    bgp({ request: { node: "r1" } } as ServerUnaryCall<NodeRequest, never>, (error) => resolve(error?.details ?? "answered"))
  })
}

t.test("Bgp of a node without a speaker", async (t) => {
  t.equal(await details({ lab: "main", node: "r1" }), 'Node "r1" has no BGP speaker')
  t.equal(
    await details({ lab: "main", node: "r1", container: true }),
    'Node "r1" has no BGP speaker; what runs in a container is asked by its own means: FRR by "weft exec -it main/r1 -- vtysh"'
  )
})
