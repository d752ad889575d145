/**
 * `Nodes.Capture`: a pcapng stream of interfaces of nodes, over one bidirectional call.
 *
 *     request messages:   start, then perhaps stop
 *     response messages:  pcapng | text ..., last: ended
 *
 * A chunk is read from the kernel when the transport has taken the one before. A cancelled call ends at once, and so do
 * all calls when the daemon ends; `stop` and limits end it with the last frames, statistics and `ended`.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type ServerDuplexStream, status } from "@grpc/grpc-js"
import * as Capture from "../observe/capture.ts"
import { linesOf } from "../observe/packet-line.ts"
import { closest } from "../topology/diagnostic.ts"

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
}
export type CaptureResponse =
  | { readonly pcapng: Uint8Array }
  | { readonly text: string }
  | { readonly ended: Capture.Ending }

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
    }
  /** `ambiguous`: the name fits several, or nothing at all. `suggestion`: the closest name that exists. */
  | { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

export interface CaptureDependencies {
  readonly resolvePort: (port: string) => ResolvedPort | Promise<ResolvedPort>
}

export interface CaptureService {
  /** For `Nodes.Capture` of a grpc-js service. */
  readonly handler: (call: Call) => void
  /** Ends all captures in an orderly way, and resolves when they have ended or their clients take too long: at shutdown. */
  readonly end: () => Promise<void>
}

type Call = ServerDuplexStream<CaptureRequest, CaptureResponse>

/** For clients that do not read what is sent to them. */
const patienceMs = 1000

/** Each port takes megabytes of the kernel's memory. */
const maxPorts = 64

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
      const code = error instanceof Refused ? error.code : status.INTERNAL
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
  const capture = await open(dependencies, start)
  try {
    const chunks = capture.chunks(stop.signal)
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

const open = async (dependencies: CaptureDependencies, start: CaptureStart): Promise<Capture.Capture> => {
  const names = [...new Set(start.ports)]
  if (names.length === 0) throw new Refused(status.INVALID_ARGUMENT, "Cannot capture: no port is named")
  if (names.length > maxPorts) {
    throw new Refused(status.INVALID_ARGUMENT, `Cannot capture on ${names.length} ports at once: ${maxPorts} is the limit`)
  }
  const ports = await Promise.all(names.map(async (name) => resolved(await dependencies.resolvePort(name))))
  const request: Capture.Request = {
    ports: ports.map((port) => ({ ...port, name: `${port.lab}/${port.node}:${port.ifname}` })),
    filter: start.filter.trim(),
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

const resolved = (port: ResolvedPort): Exclude<ResolvedPort, { readonly error: string }> => {
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
