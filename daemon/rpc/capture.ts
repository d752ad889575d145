/**
 * `Nodes.Capture`: a pcapng stream of interfaces of nodes, over one bidirectional call.
 *
 *     request messages:   start, then perhaps stop
 *     response messages:  pcapng | text ..., last: ended
 *
 * A chunk is read from the kernel when the transport has taken the one before. A cancelled call ends at once, and so do
 * all calls when the daemon ends; `stop` and limits end it with the last frames, statistics and `ended`.
 *
 * Ports of other hosts: their daemons capture, and everything becomes one stream here (observe/capture-merge.ts).
 */
import { release } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { type ServerDuplexStream, status } from "@grpc/grpc-js"
import { PeerError } from "../fleet/peer-clients.ts"
import * as Capture from "../observe/capture.ts"
import type { Ending } from "../observe/capture-ending.ts"
import { merge, type Source } from "../observe/capture-merge.ts"
import { type Tunnelled, tunnelSide } from "../observe/capture-underlay.ts"
import { linesOf } from "../observe/packet-line.ts"
import { closest } from "../topology/diagnostic.ts"
import { callerOf } from "./access.ts"
import { checkForwarding, type Forwarding } from "./forward.ts"

/** `weft.v1.CaptureRequest` as proto-loader makes it with `oneofs: true`. */
export interface CaptureRequest {
  readonly start?: CaptureStart | null
  readonly stop?: boolean
}
export interface CaptureStart {
  readonly ports: ReadonlyArray<string>
  readonly filter: string
  readonly count: number
  readonly durationMs: number
  readonly snaplen: number
  readonly text: boolean
  /** The tunnel side of the ports. */
  readonly tunnel?: boolean
}
export type CaptureResponse =
  | { readonly pcapng: Uint8Array }
  | { readonly text: string }
  | { readonly ended: Ending }

/** An interface that may be there, or why there is none. */
export type ResolvedPort =
  | {
      readonly lab: string
      readonly node: string
      readonly kind: string
      readonly ifname: string
      readonly netnsPath: string
      /** Names of interfaces that the node has, for suggestions. */
      readonly known: ReadonlyArray<string>
      /** The other host that has the node; absent: this one. */
      readonly host?: string
    }
  /** `ambiguous`: the name fits several, or nothing at all. `suggestion`: the closest name that exists. */
  | { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

export interface CaptureDependencies {
  readonly resolvePort: (port: string) => ResolvedPort | Promise<ResolvedPort>
  /** The tunnel of a port's segment on this host; undefined: it has none. */
  readonly tunnelOf?: (port: PortName) => Promise<Tunnelled | undefined>
  /** Where there are other hosts. */
  readonly forwarding?: Forwarding
}

export interface CaptureService {
  /** For `Nodes.Capture` of a grpc-js service. */
  readonly handler: (call: Call) => void
  /** Ends all captures in an orderly way, and resolves when they have ended or their clients take too long: at shutdown. */
  readonly end: () => Promise<void>
}

type FoundPort = Exclude<ResolvedPort, { readonly error: string }>
export type PortName = Pick<FoundPort, "lab" | "node" | "ifname">

type Call = ServerDuplexStream<CaptureRequest, CaptureResponse>

/** For clients that do not read what is sent to them. */
const patienceMs = 1000

/** Each port takes megabytes of the kernel's memory. */
const maxPorts = 64

/** How a capture ends that nobody waits for. */
const nothing: Ending = { reason: "", failed: false, ports: [] }

class Refused extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const codes = { filter: status.INVALID_ARGUMENT, missing: status.NOT_FOUND, unsupported: status.FAILED_PRECONDITION } as const

export const makeCapture = (dependencies: CaptureDependencies): CaptureService => {
  const running = new Map<Promise<void>, AbortController>()
  const handler = (call: Call): void => {
    const stop = new AbortController()
    const serving = serve(dependencies, call, stop).catch((error: unknown) => {
      if (call.destroyed) return
      const code = error instanceof Refused || error instanceof PeerError ? error.code : status.INTERNAL
      const details = error instanceof Error ? error.message : String(error)
      call.emit("error", { code, details, message: details })
    })
    running.set(serving, stop)
    void serving.then(() => running.delete(serving))
  }
  const end = async (): Promise<void> => {
    for (const stop of running.values()) stop.abort("weftd is ending")
    await Promise.race([Promise.all(running.keys()), sleep(patienceMs, undefined, { ref: false })])
  }
  return { handler, end }
}

const serve = async (dependencies: CaptureDependencies, call: Call, stop: AbortController): Promise<void> => {
  const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterator<CaptureRequest>
  const first = await requests.next()
  const start = first.done === true ? undefined : first.value.start
  if (start === undefined || start === null) throw new Refused(status.INVALID_ARGUMENT, "Cannot capture: the first message must be start")
  // A call that goes away may leave somebody waiting for `drain` who never comes.
  call.once("close", () => stop.abort())
  call.once("cancelled", () => stop.abort())
  void stopWhenAsked(requests, stop)
  const capture = await open(dependencies, call, start)
  const chunks = capture.chunks(stop.signal)
  try {
    const print = start.text ? linesOf() : undefined
    for (;;) {
      const next = await chunks.next()
      if (call.cancelled || call.destroyed) return
      if (next.done === true) {
        call.write({ ended: next.value })
        call.end()
        return
      }
      // The first chunk comes at once and says that the capture runs, even where there is nothing to read in it. A chunk
      // is valid until the next one is asked for, and is taken by then.
      await send(call, print === undefined ? { pcapng: next.value } : { text: print(next.value) })
    }
  } finally {
    void chunks.return(nothing).catch(() => undefined)
    capture.close()
  }
}

/** Reads what comes after `start`. A client that breaks off is noticed elsewhere. */
const stopWhenAsked = async (requests: AsyncIterator<CaptureRequest>, stop: AbortController): Promise<void> => {
  try {
    for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
      if (next.value.stop === true) stop.abort()
    }
  } catch {
    stop.abort()
  }
}

const open = async (dependencies: CaptureDependencies, call: Call, start: CaptureStart): Promise<Capture.Capture> => {
  const { here, there } = await placesOf(dependencies, start)
  const forwardings = new Map([...there].map(([host, ports]) => [host, checkForwarding(dependencies.forwarding, call, ports[0]!)]))
  const own = here.length === 0 ? undefined : await openHere(dependencies, here, start)
  if (there.size === 0) return own!
  const abandoned = new AbortController()
  const sources: Array<Source> = own === undefined ? [] : [{ host: dependencies.forwarding!.here, chunks: (stop) => copied(own, stop) }]
  for (const [host, ports] of there) {
    const { here: self, peers } = forwardings.get(host)!
    // Other limits are kept here, where all packets come together.
    const asked = { ...start, ports: ports.map(nameOf), durationMs: 0, text: false }
    const far = { peers, host, start: asked, onBehalfOf: callerOf(call, self), abandoned: abandoned.signal }
    sources.push({ host, chunks: (stop) => farChunks(far, stop) })
  }
  const labs = new Set([...here, ...[...there.values()].flat()].map(({ lab }) => lab))
  const hosts = sources.map(({ host }) => host).join(", ")
  const comment = `lab ${[...labs].join(", ")}, captured from ${new Date().toISOString()} on ${hosts}`
  return {
    chunks: (stop) => merge(sources, { count: start.count, durationMs: start.durationMs, comment, os: `Linux ${release()}` }, stop),
    close: () => {
      abandoned.abort()
      own?.close()
    }
  }
}

const nameOf = ({ ifname, lab, node }: PortName): string => `${lab}/${node}:${ifname}`

type FarPort = FoundPort & { readonly host: string }
/** Ports by where they are; `there` by host. */
interface Places {
  readonly here: ReadonlyArray<FoundPort>
  readonly there: ReadonlyMap<string, ReadonlyArray<FarPort>>
}

/** Finds the ports, each once. */
const placesOf = async ({ resolvePort }: CaptureDependencies, { ports }: CaptureStart): Promise<Places> => {
  const names = [...new Set(ports)]
  if (names.length === 0) throw new Refused(status.INVALID_ARGUMENT, "Cannot capture: no port is named")
  if (names.length > maxPorts) {
    throw new Refused(status.INVALID_ARGUMENT, `Cannot capture on ${names.length} ports at once: ${maxPorts} is the limit`)
  }
  const found = await Promise.all(names.map(async (name) => resolved(await resolvePort(name))))
  const unique = [...new Map(found.map((port) => [nameOf(port), port])).values()]
  const far = unique.flatMap(({ host, ...port }): ReadonlyArray<FarPort> => (host === undefined ? [] : [{ ...port, host }]))
  const there = Map.groupBy(far, ({ host }) => host)
  return { here: unique.filter(({ host }) => host === undefined), there }
}

const openHere = async (
  dependencies: CaptureDependencies,
  ports: ReadonlyArray<FoundPort>,
  start: CaptureStart
): Promise<Capture.Capture> => {
  const filter = start.filter.trim()
  const named = ports.map((port) => ({ ...port, name: nameOf(port) }))
  const request: Capture.Request = {
    ports: start.tunnel === true ? (await Promise.all(named.map((port) => tunnelSides(dependencies, port, filter)))).flat() : named,
    filter,
    count: start.count,
    durationMs: start.durationMs,
    snapLength: start.snaplen
  }
  try {
    return await Capture.open(request)
  } catch (error) {
    if (!(error instanceof Capture.Refusal)) throw error
    const port = error.port === undefined ? undefined : ports[error.port]
    throw new Refused(codes[error.kind], error.message + (port === undefined ? "" : adviceFor(port)))
  }
}

const tunnelSides = async (
  { tunnelOf }: CaptureDependencies,
  port: Capture.Port,
  filter: string
): Promise<ReadonlyArray<Capture.Port>> => {
  const tunnelled = await tunnelOf?.(port)
  if (tunnelled === undefined) {
    const reason = "nothing of its segment is on another host"
    throw new Refused(status.FAILED_PRECONDITION, `Cannot capture on the tunnel side of "${port.name}": it has none, ${reason}`)
  }
  try {
    return tunnelSide(port, tunnelled, filter)
  } catch (error) {
    throw new Refused(status.FAILED_PRECONDITION, `Cannot capture on the tunnel side of "${port.name}": ${(error as Error).message}`)
  }
}

/** Our own chunks are valid until the next one is read, but wait for others here. */
async function* copied(capture: Capture.Capture, stop: AbortSignal): AsyncGenerator<Uint8Array, Ending, undefined> {
  const chunks = capture.chunks(stop)
  for (;;) {
    const next = await chunks.next()
    if (next.done === true) return next.value
    yield next.value.slice()
  }
}

interface Far {
  readonly peers: Forwarding["peers"]
  readonly host: string
  readonly start: CaptureStart
  readonly onBehalfOf: string
  /** Nobody waits for it any more. */
  readonly abandoned: AbortSignal
}

type Chunks = AsyncGenerator<Uint8Array, Ending, undefined>
type FarResponse = Partial<{ readonly pcapng: Uint8Array; readonly ended: Ending | null }>

/** What another host captures. `stop` asks it to end. Throws PeerError. */
async function* farChunks({ abandoned, host, onBehalfOf, peers, start }: Far, stop: AbortSignal): Chunks {
  const call = peers.duplex<object, FarResponse>(host, "Nodes", "Capture", { onBehalfOf, signal: abandoned })
  const ask = (): void => void (call.writable && call.write({ stop: true }))
  call.write({ start })
  stop.addEventListener("abort", ask)
  try {
    for await (const response of call) {
      const { ended, pcapng } = response as FarResponse
      if (ended !== undefined && ended !== null) return ended
      if (pcapng !== undefined) yield pcapng
    }
    throw new PeerError(status.UNAVAILABLE, host, `Host "${host}" hung up before its capture ended`)
  } catch (error) {
    throw await peers.explain(host, error)
  } finally {
    stop.removeEventListener("abort", ask)
    call.cancel()
  }
}

const resolved = (port: ResolvedPort): FoundPort => {
  if (!("error" in port)) return port
  const hint = port.suggestion === undefined ? "" : `; did you mean "${port.suggestion}"?`
  throw new Refused(port.ambiguous === true ? status.INVALID_ARGUMENT : status.NOT_FOUND, port.error + hint)
}

const adviceFor = ({ ifname, known }: { readonly ifname: string; readonly known: ReadonlyArray<string> }): string => {
  const meant = closest(ifname, known)
  if (meant !== undefined) return `; did you mean "${meant}"?`
  return known.length === 0 ? "" : `; it has ${known.slice(0, 8).join(", ")}${known.length > 8 ? ", ..." : ""}`
}

/** Resolves when the transport has taken the message, or never will: one message is under way at a time. */
const send = (call: Call, message: CaptureResponse): Promise<void> =>
  new Promise((resolve) => {
    const proceed = (): void => {
      call.off("close", proceed)
      call.off("cancelled", proceed)
      resolve()
    }
    call.once("close", proceed)
    call.once("cancelled", proceed)
    call.write(message, proceed)
  })
