/** BGP speakers: what the routing thread runs, compared with what the topology wants. */
import { KernelError } from "../linux/errors.ts"
import { each, type Handler } from "./handler.ts"

export const handler: Handler<"bgp"> = {
  kind: "bgp",
  observe: () => [],
  converge: (_lab, steps) =>
    each(steps, ({ id }) => {
      throw new KernelError({ operation: "start BGP", object: id, code: "unsupported", detail: "this weftd has no speaker" })
    }),
  remove: () => []
}
