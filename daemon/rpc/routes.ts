/**
 * `Nodes.Routes`: the routes that a node's kernel has, page after page, as fast as the client takes them; a node of another
 * host is asked there.
 */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import type { RoutesQuery, RouteView } from "../bgp/fib/lookup.ts"
import { PeerError } from "../fleet/peer-clients.ts"
import { callerOf } from "./access.ts"
import { checkForwarding, type Forwarding, taken } from "./forward.ts"
import { toStatus } from "./status.ts"

/** A node as the directory finds it, or why there is none. */
type ResolvedNode =
  | { readonly lab: string; readonly node: string; readonly netnsPath: string; readonly host?: string }
  | { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

export interface RoutesDependencies {
  readonly resolveNode: (name: string) => Promise<ResolvedNode>
  /** Pages of the routes of the namespace at this path. */
  readonly read: (netnsPath: string, query: RoutesQuery) => AsyncIterable<ReadonlyArray<RouteView>>
  /** Whether a text is an address or a prefix. */
  readonly isPrefix: (text: string) => boolean
  readonly forwarding?: Forwarding
}

/** `weft.v1.RoutesRequest` */
interface RoutesRequest {
  readonly node: string
  readonly table: string
  readonly family: string
  readonly prefix: string
  readonly protocol: string
  readonly limit: number
}

type Call = ServerWritableStream<RoutesRequest, object>

/** A failed call with its status. */
class CallError extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

/** Routes of one page: some tens of kilobytes. */
const pageRoutes = 256
const mainTable = 254
const largestTable = 0xffffffff

const tableOf = (text: string): number => {
  if (text === "" || text === "main") return mainTable
  if (text === "all") return 0
  if (text === "local") return 255
  const number = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= largestTable) return number
  throw new CallError(status.INVALID_ARGUMENT, `Unknown table "${text}": a number, main, local or all`)
}

const queryOf = ({ isPrefix }: RoutesDependencies, { family, prefix, protocol, table }: RoutesRequest): RoutesQuery => {
  if (prefix !== "" && !isPrefix(prefix)) {
    throw new CallError(status.INVALID_ARGUMENT, `Cannot look up "${prefix}": it is no address and no prefix`)
  }
  if (!["", "ipv4", "ipv6"].includes(family)) throw new CallError(status.INVALID_ARGUMENT, `Unknown family "${family}": ipv4 or ipv6`)
  return {
    table: tableOf(table),
    pageRoutes,
    ...(family === "" ? {} : { family: family as "ipv4" | "ipv6" }),
    ...(prefix === "" ? {} : { prefix }),
    ...(protocol === "" ? {} : { protocol })
  }
}

const serve = async (dependencies: RoutesDependencies, call: Call): Promise<void> => {
  const { request } = call
  const place = await dependencies.resolveNode(request.node)
  if ("error" in place) {
    const hint = place.suggestion === undefined ? "" : ` (did you mean "${place.suggestion}"?)`
    throw new CallError(place.ambiguous === true ? status.INVALID_ARGUMENT : status.NOT_FOUND, `${place.error}${hint}`)
  }
  if (place.host !== undefined) {
    const { here, peers } = checkForwarding(dependencies.forwarding, call, { host: place.host, node: place.node })
    const there = { ...request, node: `${place.lab}/${place.node}` }
    for await (const page of peers.stream<object>(place.host, "Nodes", "Routes", there, { onBehalfOf: callerOf(call, here) })) {
      if (call.cancelled || call.destroyed) return
      await taken(call, page)
    }
    return void call.end()
  }
  let left = request.limit === 0 ? Infinity : Number(request.limit)
  for await (const routes of dependencies.read(place.netnsPath, queryOf(dependencies, request))) {
    if (call.cancelled || call.destroyed) return
    await taken(call, { routes: routes.slice(0, left) })
    left -= routes.length
    if (left <= 0) break
  }
  if (!call.destroyed) call.end()
}

export const makeRoutes = (dependencies: RoutesDependencies) => ({
  routes: (call: Call): void => {
    serve(dependencies, call).catch((error: unknown) => {
      const { code, details } = error instanceof CallError || error instanceof PeerError
        ? { code: error.code, details: error.message }
        : toStatus(error)
      if (!call.destroyed) call.emit("error", { code, details, message: details })
    })
  }
})
