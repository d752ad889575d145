/**
 * `Nodes.Bgp`, `Nodes.BgpRoutes`, `Nodes.BgpReset`: looking into a node's BGP speaker. A table goes page after page from
 * the routing thread to the client, as fast as the client takes it; a node of another host is asked there.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type sendUnaryData, type ServerUnaryCall, type ServerWritableStream, status } from "@grpc/grpc-js"
import type { ResetKind } from "../bgp/messages.ts"
import type { Routing } from "../bgp/routing.ts"
import type { Answer, DumpQuery, RoutesQuery, TableName } from "../bgp/view/view.ts"
import type { Family } from "../plan/bgp.ts"
import { PeerError } from "../fleet/peer-clients.ts"
import { callerOf } from "./access.ts"
import { checkForwarding, type Forwarding, taken } from "./forward.ts"
import { toStatus } from "./status.ts"

/** A node as the directory finds it, or why there is none. */
export type ResolvedNode =
  | { readonly lab: string; readonly node: string; readonly host?: string; readonly container?: boolean }
  | { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

/** Where nodes are found. */
export interface NodeDependencies {
  readonly resolveNode: (name: string) => Promise<ResolvedNode>
  readonly forwarding?: Forwarding
}

export interface BgpDependencies extends NodeDependencies {
  readonly routing: Pick<Routing, "ask" | "reset">
}

export interface NodeRequest {
  readonly node: string
}

interface RoutesRequest extends NodeRequest {
  readonly table: string
  readonly vrf: string
  readonly family: string
  readonly neighbor: string
  readonly prefix: string
  readonly limit: number
}

interface ResetRequest extends NodeRequest {
  readonly neighbor: string
  readonly how: string
}

/** A failed call with its status. */
class CallError extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

const statusOf = (error: unknown): { readonly code: status; readonly details: string; readonly message: string } => {
  const { code, details } = error instanceof CallError || error instanceof PeerError
    ? { code: error.code, details: error.message }
    : toStatus(error)
  return { code, details, message: details }
}

const tables: ReadonlySet<string> = new Set<TableName>(["rib", "received", "advertised"])
const resets: ReadonlySet<string> = new Set<ResetKind>(["hard", "soft", "soft-in", "soft-out"])

/** Prefixes of one page: some tens of kilobytes. */
const pagePrefixes = 256

const found = async ({ resolveNode }: NodeDependencies, name: string) => {
  const node = await resolveNode(name)
  if (!("error" in node)) return node
  const hint = node.suggestion === undefined ? "" : ` (did you mean "${node.suggestion}"?)`
  throw new CallError(node.ambiguous === true ? status.INVALID_ARGUMENT : status.NOT_FOUND, `${node.error}${hint}`)
}

/** A node on this host. */
interface Place {
  readonly lab: string
  readonly node: string
  readonly container?: boolean
}

/** Which program speaks in a container only its image knows. */
const hintOf = ({ container, lab, node }: Place): string =>
  container === true ? `; what runs in a container is asked by its own means: FRR by "weft exec -it ${lab}/${node} -- vtysh"` : ""

const answered = (answer: Answer, place: Place): Exclude<Answer, { readonly kind: "nothing" }> => {
  if (answer.kind === "nothing") throw new CallError(status.NOT_FOUND, `${answer.reason}${hintOf(place)}`)
  return answer
}

/** A unary method that is answered here, or by the host that has the node. */
export const unaryOf =
  <Request extends NodeRequest, Response>(
    dependencies: NodeDependencies,
    method: string,
    here: (request: Request, place: Place) => Promise<Response>
  ) =>
  (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
    const serve = async (): Promise<Response> => {
      const place = await found(dependencies, call.request.node)
      if (place.host === undefined) return here(call.request, place)
      const { here: self, peers } = checkForwarding(dependencies.forwarding, call, { host: place.host, node: place.node })
      const request = { ...call.request, node: `${place.lab}/${place.node}` }
      return peers.unary<Response>(place.host, "Nodes", method, request, { onBehalfOf: callerOf(call, self) })
    }
    serve().then((response) => callback(null, response), (error: unknown) => callback(statusOf(error)))
  }

const queryOf = (request: RoutesRequest, { lab, node }: Place): RoutesQuery => {
  const { family, limit, neighbor, prefix, table, vrf } = request
  if (!tables.has(table)) throw new CallError(status.INVALID_ARGUMENT, `Unknown table "${table}": rib, received or advertised`)
  return {
    kind: "routes",
    lab,
    node,
    table: table as TableName,
    vrf,
    limit: limit === 0 ? pagePrefixes : Math.min(limit, pagePrefixes),
    ...(family === "" ? {} : { family: family as Family }),
    ...(neighbor === "" ? {} : { neighbor }),
    ...(prefix === "" ? {} : { prefix })
  }
}

type Pages<Request> = (request: Request, place: Place) => AsyncGenerator<object, void, undefined>

/** A method that streams: pages are made as the client takes them, here or on the host that has the node. */
const streamOf =
  <Request extends NodeRequest>(dependencies: BgpDependencies, method: string, pagesHere: Pages<Request>) =>
  (call: ServerWritableStream<Request, object>): void => {
    const pages = async (): Promise<AsyncGenerator<object, void, undefined>> => {
      const place = await found(dependencies, call.request.node)
      if (place.host === undefined) return pagesHere(call.request, place)
      const { here, peers } = checkForwarding(dependencies.forwarding, call, { host: place.host, node: place.node })
      const request = { ...call.request, node: `${place.lab}/${place.node}` }
      return peers.stream<object>(place.host, "Nodes", method, request, { onBehalfOf: callerOf(call, here) })
    }
    const serve = async (): Promise<void> => {
      for await (const page of await pages()) {
        if (call.cancelled || call.destroyed) return
        await taken(call, page)
      }
      if (!call.destroyed) call.end()
    }
    serve().catch((error: unknown) => {
      if (!call.destroyed) call.emit("error", statusOf(error))
    })
  }

const routesPages = ({ routing }: BgpDependencies): Pages<RoutesRequest> =>
  async function* (request, place) {
    const seen = new Set<string>()
    for (let query: RoutesQuery | undefined = queryOf(request, place); query !== undefined;) {
      const answer = answered(await routing.ask(query), place)
      if (answer.kind !== "routes") return
      yield { paths: answer.paths, total: answer.total }
      if (request.limit > 0) for (const { prefix } of answer.paths) seen.add(prefix)
      const isEnough = answer.next === undefined || (request.limit > 0 && seen.size >= request.limit)
      query = isEnough ? undefined : { ...query, after: answer.next! }
    }
  }

interface DumpRequest extends NodeRequest {
  readonly vrf: string
  readonly updates: boolean
  readonly neighbor: string
}

/** How often it is asked for messages that have come. */
const updatesMs = 100

/** What neighbours send, until the reader goes: also a piece without octets is a look whether it is still there. */
const updatePieces = async function* (
  { routing }: BgpDependencies,
  neighbor: string,
  place: Place
): AsyncGenerator<object, void, undefined> {
  const query = { kind: "updates", lab: place.lab, node: place.node, neighbor } as const
  const began = answered(await routing.ask(query), place)
  if (began.kind !== "updates") return
  const { tap } = began
  try {
    for (;;) {
      const answer = answered(await routing.ask({ ...query, tap }), place)
      if (answer.kind !== "updates") return
      if (answer.lost > 0) throw new CallError(status.RESOURCE_EXHAUSTED, `${answer.lost} messages came faster than they were taken`)
      yield { mrt: answer.octets }
      await sleep(updatesMs)
    }
  } finally {
    await routing.ask({ ...query, tap, end: true }).catch(() => {})
  }
}

const dumpPieces = (dependencies: BgpDependencies): Pages<DumpRequest> =>
  async function* ({ neighbor, updates, vrf }, place) {
    const { lab, node } = place
    const { routing } = dependencies
    if (updates) return yield* updatePieces(dependencies, neighbor, place)
    for (let query: DumpQuery | undefined = { kind: "dump", lab, node, vrf, limit: pagePrefixes }; query !== undefined;) {
      const answer = answered(await routing.ask(query), place)
      if (answer.kind !== "dump") return
      if (answer.octets.length > 0) yield { mrt: answer.octets }
      query = answer.next === undefined ? undefined : { ...query, after: answer.next }
    }
  }

export const makeBgp = (dependencies: BgpDependencies) => ({
  bgp: unaryOf(dependencies, "Bgp", async (_request: NodeRequest, place) => {
    const { lab, node } = place
    const answer = answered(await dependencies.routing.ask({ kind: "speaker", lab, node }), place)
    if (answer.kind !== "speaker") throw new CallError(status.INTERNAL, "the routing thread answered something else")
    return answer.speaker
  }),
  bgpRoutes: streamOf(dependencies, "BgpRoutes", routesPages(dependencies)),
  bgpDump: streamOf(dependencies, "BgpDump", dumpPieces(dependencies)),
  bgpReset: unaryOf(dependencies, "BgpReset", async ({ how, neighbor }: ResetRequest, place) => {
    const kind = how === "" ? "hard" : how
    if (!resets.has(kind)) throw new CallError(status.INVALID_ARGUMENT, `Unknown way to reset "${how}": hard, soft, soft-in or soft-out`)
    try {
      return { neighbors: await dependencies.routing.reset(place, neighbor, kind as ResetKind) }
    } catch (error) {
      throw new CallError(status.NOT_FOUND, error instanceof Error ? error.message : String(error))
    }
  })
})
