/**
 * Calls about nodes of another host: its daemon gets them, and what it answers comes back.
 *
 *     weft <--messages--> this daemon <--messages--> the daemon of the node's host
 *
 * Nothing is looked at on the way and nothing queues: a message is read when the one before has been taken, in either
 * direction, so whoever is slow slows the other end. A half-close, a cancelled call and a failure are passed on.
 *
 * A call that has been forwarded is not forwarded again: between two daemons that each believe that the other has a node
 * (it is being moved) it would go round for ever.
 */
import { type ClientDuplexStream, type Metadata, type ServerDuplexStream, status } from "@grpc/grpc-js"
import { forwardedBy, type PeerClients, PeerError } from "../fleet/peer-clients.ts"
import { callerOf } from "./access.ts"

export interface Forwarding {
  /** Name of this host. */
  readonly here: string
  readonly peers: PeerClients
}

/** Whether another daemon has sent us this call: then it is answered here or refused. */
export const wasForwarded = ({ metadata }: { readonly metadata: Metadata }): boolean => metadata.get(forwardedBy).length > 0

/** @throws PeerError when the call must not go on to `host` */
export const checkForwarding = (
  forwarding: Forwarding | undefined,
  call: { readonly metadata: Metadata },
  { host, node }: { readonly host: string; readonly node: string }
): Forwarding => {
  if (forwarding === undefined || wasForwarded(call)) {
    const details = `Node "${node}" is on host "${host}", says host "${forwarding?.here ?? "?"}" that was asked for it. `
    throw new PeerError(status.FAILED_PRECONDITION, host, `${details}It may be about to be moved: try again`)
  }
  return forwarding
}

type Requests<Request> = AsyncIterator<Request, unknown, undefined>

export interface Forward<Request, Response> {
  readonly host: string
  /** Of service Nodes; both sides stream. */
  readonly method: string
  readonly call: ServerDuplexStream<Request, Response>
  /** Sent first; it has been read from `requests` already. */
  readonly first: Request
  readonly requests: Requests<Request>
  /** Breaks it off with its reason. */
  readonly signal: AbortSignal
}

/** Has the daemon of `host` answer the call, to its end. Rejects with PeerError when that fails; the call is open then. */
export const forward = async <Request, Response>(
  { here, peers }: Forwarding,
  { call, first, host, method, requests, signal }: Forward<Request, Response>
): Promise<void> => {
  const far = peers.duplex<Request, Response>(host, "Nodes", method, { onBehalfOf: callerOf(call, here) })
  const cancel = (): void => far.cancel()
  call.once("close", cancel)
  call.once("cancelled", cancel)
  signal.addEventListener("abort", cancel)
  if (call.cancelled || call.destroyed || signal.aborted) cancel()
  // A request side that breaks off has a call that is cancelled, too.
  void passOn(first, requests, far).catch(cancel)
  try {
    for await (const response of far) {
      if (call.destroyed) return
      await taken(call, response as Response)
    }
    if (!call.destroyed) call.end()
  } catch (error) {
    if (signal.aborted) throw new PeerError(status.UNAVAILABLE, host, String(signal.reason))
    if (!call.destroyed) throw await peers.explain(host, error)
  } finally {
    signal.removeEventListener("abort", cancel)
    cancel()
  }
}

const passOn = async <Request>(first: Request, requests: Requests<Request>, far: ClientDuplexStream<Request, unknown>): Promise<void> => {
  await taken(far, first)
  for (let next = await requests.next(); next.done !== true; next = await requests.next()) await taken(far, next.value)
  far.end()
}

interface Taker<Message> {
  readonly writable: boolean
  write(message: Message): boolean
  once(event: "drain" | "close" | "error", listener: () => void): unknown
  off(event: "drain" | "close" | "error", listener: () => void): unknown
}

/** Resolves when the stream can take more, or never will. */
export const taken = <Message>(stream: Taker<Message>, message: Message): Promise<void> =>
  new Promise((resolve) => {
    const proceed = (): void => {
      stream.off("drain", proceed)
      stream.off("close", proceed)
      stream.off("error", proceed)
      resolve()
    }
    if (!stream.writable || stream.write(message)) return resolve()
    stream.once("drain", proceed)
    stream.once("close", proceed)
    stream.once("error", proceed)
  })
