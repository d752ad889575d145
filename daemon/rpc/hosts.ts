/** `Host.Hosts` and `Host.Drain`: messages to calls. A weftd of its own is the only host there is. */
import type { ServerWritableStream } from "@grpc/grpc-js"
import { cpus, release } from "node:os"
import { type HostControl, type HostInfo, Refused } from "../reconciler/control.ts"
import type { Reconciler } from "../reconciler/reconciler.ts"
import { end, follow, type ProgressCall } from "./labs.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

export const makeHosts = (control: HostControl) => ({
  hosts: unary(toStatus, () => control.hosts()),
  drain: (call: ServerWritableStream<{ host: string; undo: boolean; forget: boolean }, object>): void => {
    const progress = call as unknown as ProgressCall
    end(progress, follow(progress, "", [], (watch) => control.drain(call.request, watch)))
  }
})

/** What `weft hosts` shows where there are no others. */
export const onlyHost = (about: { readonly host: string; readonly version: string; readonly reconciler: Reconciler }): HostControl => {
  const since = new Date().toISOString()
  const { host, reconciler, version } = about
  return {
    hosts: async () => {
      const labs = await reconciler.labs()
      const nodes = labs.reduce((sum, { plan }) => sum + plan.nodes.length, 0)
      const here: HostInfo = {
        name: host,
        state: "ready",
        underlay: "",
        endpoint: "",
        capacity: cpus().length,
        labels: {},
        version,
        kernel: release(),
        since,
        labs: labs.length,
        nodes,
        asked: true
      }
      return { hosts: [here], error: "" }
    },
    drain: async () => {
      throw new Refused("unavailable", "This weftd shares labs with no other host: there is nowhere to move its nodes. See docs/fleet.md")
    }
  }
}
