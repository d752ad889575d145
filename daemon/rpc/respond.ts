/**
 * `Peers.Respond`: the far half of flows of probes, whose source is on another host.
 *
 *     h1: flow in pc  ----probe----> h2: responder in srv ----the same octets----> h1
 *     h1  <---- ready { port } ----  h2
 *
 * A responder lives as long as the call.
 */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import type { PeerClients } from "../fleet/peer-clients.ts"
import type { Flows } from "../probes/flows.ts"
import type { Answerer, Answering, Respond } from "../probes/probing.ts"
import type { ReachNode } from "../probes/reach.ts"
import { taken } from "./forward.ts"
import type { ReachDependencies } from "./reach.ts"

export interface RespondRequest {
  readonly lab: string
  readonly node: string
  readonly address: string
  readonly protocol: string
  readonly port: number
}

interface Ready {
  readonly port: number
  readonly own: boolean
}

type Call = ServerWritableStream<RespondRequest, Ready>

const kindOf = (protocol: string): Answering["kind"] => (protocol === "tcp" || protocol === "throughput" ? protocol : "udp")

export interface RespondDependencies {
  readonly resolveNodes: ReachDependencies["resolveNodes"]
  readonly flows: () => Flows
  /** Ends all calls. */
  readonly signal: AbortSignal
}

export const respondHandler =
  (dependencies: RespondDependencies) =>
  (call: Call): void => {
    serve(dependencies, call).catch((error: unknown) => {
      if (call.destroyed) return
      const details = error instanceof Error ? error.message : String(error)
      call.emit("error", { code: status.INTERNAL, details, message: details })
    })
  }

const serve = async ({ flows, resolveNodes, signal }: RespondDependencies, call: Call): Promise<void> => {
  const { address, lab, node, port, protocol } = call.request
  const gone = new Promise<void>((resolve) => {
    call.once("cancelled", resolve)
    call.once("close", resolve)
    signal.addEventListener("abort", () => resolve(), { once: true })
  })
  const found = await resolveNodes(lab, [node])
  if ("missing" in found) {
    call.emit("error", { code: status.NOT_FOUND, details: found.missing, message: found.missing })
    return
  }
  const [target] = found
  if (target?.host !== undefined) throw new Error(`node ${node} is on host ${target.host} now`)
  const answerer = respondHere(flows(), target!, { address, kind: kindOf(protocol), port })
  try {
    if (call.cancelled || call.destroyed) return
    await taken(call, { port: answerer.port, own: answerer.isOwn === true })
    await gone
  } finally {
    answerer.close()
    if (!call.destroyed) call.end()
  }
}

/** @throws Error that says in which node nobody can answer, and why */
const respondHere = (flows: Flows, { name, netnsPath }: ReachNode, { address, kind, port }: Answering): Answerer => {
  try {
    const responder = flows.respond(netnsPath, address, port, kind)
    return { port: responder.port, close: () => flows.silence(responder) }
  } catch (error) {
    if ((error as { readonly code?: string }).code === "EADDRINUSE") return { port, isOwn: true, close: () => {} }
    throw new Error(`cannot answer probes in ${name} at ${address}: ${(error as Error).message}`)
  }
}

export interface Everywhere {
  readonly flows: () => Flows
  /** Absent: there are no other hosts. */
  readonly peers: PeerClients | undefined
  readonly lab: string
  /** Ends those of other hosts. */
  readonly signal: AbortSignal
}

/** Responders in nodes wherever they are. */
export const respondEverywhere =
  ({ flows, lab, peers, signal }: Everywhere): Respond =>
  async (node, answering) => {
    if (node.host === undefined) return respondHere(flows(), node, answering)
    if (peers === undefined) throw new Error(`node ${node.name} is on host ${node.host}, which cannot be asked`)
    const { address, kind, port } = answering
    return respondThere(peers, node.host, { lab, node: node.name, address, protocol: kind, port }, signal)
  }

/** How long another host may take to open its responder. */
const readyPatienceMs = 15_000

const respondThere = async (peers: PeerClients, host: string, request: RespondRequest, signal: AbortSignal): Promise<Answerer> => {
  const ending = new AbortController()
  const late = setTimeout(() => ending.abort(), readyPatienceMs)
  const options = { signal: AbortSignal.any([signal, ending.signal]) }
  const answers = peers.stream<Ready>(host, "Peers", "Respond", request, options)
  try {
    const ready = await answers.next()
    if (ready.done === true) throw new Error(`host ${host} has not opened its responder within ${readyPatienceMs / 1000} s`)
    // Nothing more comes; the call is open until it is aborted.
    answers.next().catch(() => {})
    return { port: ready.value.port, isOwn: ready.value.own, close: () => ending.abort() }
  } finally {
    clearTimeout(late)
  }
}
