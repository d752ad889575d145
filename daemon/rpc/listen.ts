/**
 * `Peers.Listen`: the far half of a reachability test, whose source is on another host.
 *
 *     h1: connect from pc -----------token-----------> h2: listener in srv
 *     h1  <---- ready { srv, port } ... seen { token, address } ----  h2
 *
 * Listeners live as long as the call. A token of 16 random octets is known only to who has sent it.
 */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import type { PeerClients } from "../fleet/peer-clients.ts"
import { listenHere } from "../probes/listeners.ts"
import type { Listen, ReachNode } from "../probes/reach.ts"
import { taken } from "./forward.ts"

export interface ListenRequest {
  readonly lab: string
  readonly nodes: ReadonlyArray<string>
  readonly ipv6: boolean
}

export type ListenResponse =
  | { readonly ready: { readonly node: string; readonly port: number; readonly error: string } }
  | { readonly seen: { readonly token: Uint8Array; readonly address: string } }

type Found = ReadonlyArray<ReachNode> | { readonly missing: string }

export interface ListenDependencies {
  /** `missing`: a lab or node does not exist, in one sentence. */
  readonly resolveNodes: (lab: string, nodes: ReadonlyArray<string>) => Promise<Found> | Found
}

type Call = ServerWritableStream<ListenRequest, ListenResponse>

export const listenHandler =
  ({ resolveNodes }: ListenDependencies) =>
  (call: Call): void => {
    serve(resolveNodes, call).catch((error: unknown) => {
      if (call.destroyed) return
      const details = error instanceof Error ? error.message : String(error)
      call.emit("error", { code: status.INTERNAL, details, message: details })
    })
  }

const serve = async (resolveNodes: ListenDependencies["resolveNodes"], call: Call): Promise<void> => {
  const { ipv6, lab, nodes } = call.request
  const gone = new Promise<void>((resolve) => {
    call.once("cancelled", resolve)
    call.once("close", resolve)
  })
  const found = await resolveNodes(lab, nodes)
  if ("missing" in found) {
    call.emit("error", { code: status.NOT_FOUND, details: found.missing, message: found.missing })
    return
  }
  const isOpen = (): boolean => !call.cancelled && !call.destroyed
  const told = (token: Uint8Array, address: string): void => void (isOpen() && call.write({ seen: { token, address } }))
  const here = found.filter(({ host }) => host === undefined)
  const listeners = await listenHere(here, ipv6 ? "ipv6" : "ipv4", told)
  try {
    for (const { host, name } of found) {
      if (host !== undefined) await taken(call, { ready: { node: name, port: 0, error: `node ${name} is on host ${host} now` } })
    }
    for (const [place, { name }] of here.entries()) {
      const listener = listeners[place]!
      const ready = typeof listener === "string" ? { node: name, port: 0, error: listener } : { node: name, port: listener.port, error: "" }
      if (isOpen()) await taken(call, { ready })
    }
    if (isOpen()) await gone
  } finally {
    await Promise.all(listeners.map((listener) => (typeof listener === "string" ? undefined : listener.close())))
    if (!call.destroyed) call.end()
  }
}

type FarListeners = Awaited<ReturnType<Listen>>
type Waiter = (address: string) => void

const keyOf = (token: Uint8Array): string => Buffer.from(token).toString("hex")

/** How long another host may take to open its listeners. */
const readyPatienceMs = 15_000

/**
 * Listeners in nodes wherever they are: `probes/reach.ts` uses them alike.
 *
 * @param signal ends those of other hosts
 */
export const listenEverywhere =
  (peers: PeerClients, lab: string, signal: AbortSignal): Listen =>
  async (nodes, family) => {
    const here = nodes.filter(({ host }) => host === undefined)
    const there = [...Map.groupBy(nodes.filter(({ host }) => host !== undefined), ({ host }) => host!)]
    const [own, ...far] = await Promise.all([
      listenHere(here, family),
      ...there.map(([host, those]) => listenThere(peers, host, { lab, nodes: those, family, signal }))
    ])
    const listeners = new Map<ReachNode, FarListeners[number]>(here.map((node, place) => [node, own[place]!]))
    for (const [place, [, those]] of there.entries()) those.forEach((node, each) => listeners.set(node, far[place]![each]!))
    return nodes.map((node) => listeners.get(node)!)
  }

interface There {
  readonly lab: string
  readonly nodes: ReadonlyArray<ReachNode>
  readonly family: "ipv4" | "ipv6"
  readonly signal: AbortSignal
}

/** Has another host listen. Resolves when it has said of all nodes whether it does. */
const listenThere = async (peers: PeerClients, host: string, { family, lab, nodes, signal }: There): Promise<FarListeners> => {
  const ending = new AbortController()
  const ready = new Map<string, { readonly port: number; readonly error: string }>()
  const waiting = new Map<string, Waiter>()
  let failure = `host ${host} has not opened its listeners within ${readyPatienceMs / 1000} s`
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, readyPatienceMs)
    const request = { lab, nodes: nodes.map(({ name }) => name), ipv6: family === "ipv6" }
    const read = async (): Promise<void> => {
      const options = { signal: AbortSignal.any([signal, ending.signal]) }
      for await (const response of peers.stream<Partial<ListenMessage>>(host, "Peers", "Listen", request, options)) {
        if (response.ready) ready.set(response.ready.node, response.ready)
        else if (response.seen) waiting.get(keyOf(response.seen.token))?.(response.seen.address)
        if (ready.size === nodes.length) resolve()
      }
    }
    void read()
      .catch((error: Error) => (failure = error.message))
      .then(() => {
        clearTimeout(timer)
        resolve()
      })
  })
  let open = nodes.length
  const close = async (): Promise<void> => {
    if (--open === 0) ending.abort()
  }
  return nodes.map(({ name }) => {
    const { error = failure, port = 0 } = ready.get(name) ?? {}
    if (error !== "") {
      void close()
      return `cannot listen in ${name}: ${error.replace(`cannot listen in ${name}: `, "")}`
    }
    return {
      port,
      seen: (token) => new Promise<string>((resolve) => waiting.set(keyOf(token), resolve)),
      forget: (token) => waiting.delete(keyOf(token)),
      close
    }
  })
}

interface ListenMessage {
  readonly ready: { readonly node: string; readonly port: number; readonly error: string } | null
  readonly seen: { readonly token: Uint8Array; readonly address: string } | null
}
