/** `Nodes.Reach`: results as they come, to a client that may be slow or go away. */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import { type ReachNode, type ReachResult, reach } from "../probes/reach.ts"

export interface ReachRequest {
  readonly lab: string
  readonly nodes: ReadonlyArray<string>
  readonly timeoutMs: number
  readonly ipv6: boolean
}

export interface ReachDependencies {
  /**
   * The nodes that are meant: those named, or all of kind host when none is. `lab` empty: the only one.
   * `missing`: a lab or node does not exist, in one sentence.
   */
  readonly resolveNodes: (
    lab: string,
    nodes: ReadonlyArray<string>
  ) => Promise<ReadonlyArray<ReachNode> | { readonly missing: string }> | ReadonlyArray<ReachNode> | { readonly missing: string }
}

const defaultTimeoutMs = 1000
const maxTimeoutMs = 60_000

export const reachHandler =
  (dependencies: ReachDependencies) =>
  (call: ServerWritableStream<ReachRequest, ReachResult>): void => {
    serve(dependencies, call).catch((error: unknown) => {
      if (call.destroyed) return
      const details = error instanceof Error ? error.message : String(error)
      call.emit("error", { code: status.INTERNAL, details, message: details })
    })
  }

const serve = async (dependencies: ReachDependencies, call: ServerWritableStream<ReachRequest, ReachResult>): Promise<void> => {
  const { lab, nodes, timeoutMs, ipv6 } = call.request
  const found = await dependencies.resolveNodes(lab, nodes)
  if ("missing" in found) {
    call.emit("error", { code: status.NOT_FOUND, details: found.missing, message: found.missing })
    return
  }
  const gone = new AbortController()
  call.once("cancelled", () => gone.abort())
  const results = reach(found, found, {
    timeoutMs: timeoutMs === 0 ? defaultTimeoutMs : Math.min(timeoutMs, maxTimeoutMs),
    family: ipv6 ? "ipv6" : "ipv4",
    signal: gone.signal
  })
  for await (const result of results) {
    if (call.cancelled || call.destroyed) break
    if (!call.write(result)) await drained(call)
  }
  if (!call.destroyed) call.end()
}

const drained = (call: ServerWritableStream<ReachRequest, ReachResult>): Promise<void> =>
  new Promise((resolve) => {
    const proceed = (): void => {
      call.off("drain", proceed)
      call.off("close", proceed)
      resolve()
    }
    call.once("drain", proceed)
    call.once("close", proceed)
  })
