/**
 * Ports of the machine that lead into containers: a relay in weftd for each (linux/relay.ts). There is nothing of them in the
 * kernel but weftd's own sockets, so what is open is what is observed, and a new weftd opens them all again.
 */
import { id } from "../plan/resource.ts"
import { eachAsync, type Handler } from "./handler.ts"
import type { Lab } from "./lab.ts"

export const handler: Handler<"publish"> = {
  kind: "publish",
  observe: (lab: Lab) => lab.daemon.relays.of(lab.name).map((spec) => [id.publish(spec.node, spec), spec] as const),
  // One after the other: a port may pass from one node to another.
  converge: (lab, steps) => eachAsync(steps, (step) => lab.daemon.relays.open(lab.name, step.after!.spec)),
  remove: (lab, steps) => eachAsync(steps, (step) => lab.daemon.relays.close(lab.name, step.before!))
}
