/**
 * A capture: interfaces in, a pcapng stream out.
 *
 *     section, one interface block per port | packet blocks in the order of time ... | one statistics block per port
 *
 * It is pulled: nothing is read from the kernel's rings before the consumer has taken what came before, so a slow consumer
 * costs no memory. The kernel then drops frames, and the statistics say how many.
 *
 * Frames are as the node's interface has them: those that it sends are taken before they are cut into segments and
 * before checksums are filled in, those that it receives after they were put together. A virtual link does neither, so
 * a TCP super-frame of up to 64 KiB is one packet here.
 */
import { release } from "node:os"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { Captures, compile, type Filter, maxSnapLength, settleMs } from "../linux/capture.ts"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as Pcapng from "../wire/pcapng.ts"
import { type Ending, enough, over, type Reason, statisticsOf, stoppedBy } from "./capture-ending.ts"

export interface Port {
  /** `lab/node:ifname` */
  readonly name: string
  readonly lab: string
  readonly node: string
  /** `host`, `router` */
  readonly kind: string
  readonly ifname: string
  readonly netnsPath: string
  /** Where else frames are taken, and which of them: the tunnel side of the port. */
  readonly tap?: Tap
}

/** An interface in another place than the port, and what of it is meant. */
export interface Tap {
  readonly netnsPath: string
  readonly ifname: string
  /** pcap-filter(7); the filter of the request is part of it. */
  readonly filter: string
  readonly description: string
}

export interface Request {
  readonly ports: ReadonlyArray<Port>
  /** pcap-filter(7); empty: everything. */
  readonly filter: string
  /** Ends after so many packets; 0: no limit. */
  readonly count: number
  /** Ends after this time; 0: no limit. */
  readonly durationMs: number
  /** Octets kept of each packet; 0: all. */
  readonly snapLength: number
}

/** Why no capture can be started. `port`: the place of the port that it is about. */
export class Refusal extends Error {
  readonly kind: "filter" | "missing" | "unsupported"
  readonly port: number | undefined
  constructor(kind: Refusal["kind"], message: string, port?: number) {
    super(message)
    this.kind = kind
    this.port = port
  }
}

export interface Capture {
  /**
   * One chunk of the file after the other, then how it ended. `stop` ends it in an orderly way; when its reason is a text,
   * the capture has failed for that reason.
   */
  readonly chunks: (stop: AbortSignal) => AsyncGenerator<Uint8Array, Ending, undefined>
  /** Must be called; also ends `chunks` that are not read to their end. */
  readonly close: () => void
}

/** Octets: filters that people write are shorter, and the compiler's time grows with the length. */
const maxFilterLength = 8192
/** How often it is looked whether the nodes are still there. */
const lookMs = 500
const nanoseconds = 9

/** Starts a capture: from now on frames are kept. Rejects with `Refusal`. */
export const open = async (request: Request): Promise<Capture> => {
  const snapLength = request.snapLength === 0 ? maxSnapLength : Math.min(request.snapLength, maxSnapLength)
  // By itself first, so that what is wrong with it is said in the user's own words.
  const filter = await filterOf(request.filter, snapLength)
  const filters = await Promise.all(request.ports.map(({ tap }) => (tap === undefined ? filter : filterOf(tap.filter, snapLength))))
  const captures = openAll(request.ports, filter, filters)
  return { chunks: (stop) => run(captures, { ...request, snapLength }, stop), close: () => captures.close() }
}

const filterOf = async (expression: string, snapLength: number): Promise<Filter> => {
  if (expression.length > maxFilterLength) {
    throw new Refusal("filter", `Cannot use a filter of ${expression.length} characters: ${maxFilterLength} is the limit`)
  }
  try {
    return await compile(expression, snapLength)
  } catch (error) {
    throw new Refusal("filter", `Cannot use "${expression}" as a filter: ${reasonOf(error)}`)
  }
}

const openAll = (ports: ReadonlyArray<Port>, filter: Filter, filters: ReadonlyArray<Filter>): Captures => {
  const captures = new Captures(ports.length, filter)
  for (const [place, port] of ports.entries()) {
    try {
      captures.add(port.tap ?? port, filters[place])
    } catch (error) {
      captures.close()
      throw refusalOf(error, port, place)
    }
  }
  return captures
}

const refusalOf = (error: unknown, { ifname, lab, node, tap }: Port, place: number): unknown => {
  const code = error instanceof KernelError ? error.code : ""
  if (tap !== undefined) {
    const reason = code === "EPROTONOSUPPORT" ? "it carries no Ethernet frames" : reasonOf(error)
    return new Refusal("unsupported", `Cannot capture on "${tap.ifname}" of the host, the tunnel side of "${node}:${ifname}": ${reason}`)
  }
  if (code === "ENODEV") return new Refusal("missing", `No interface "${ifname}" in node "${node}" of lab "${lab}"`, place)
  if (code === "ENOENT") return new Refusal("missing", `Node "${node}" of lab "${lab}" is not there: its namespace is missing`)
  if (code === "EPROTONOSUPPORT") return new Refusal("unsupported", `Cannot capture on "${node}:${ifname}": it carries no Ethernet frames`)
  return error
}

async function* run(captures: Captures, request: Request, stop: AbortSignal): AsyncGenerator<Uint8Array, Ending, undefined> {
  const startMs = Date.now()
  const deadline = request.durationMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + request.durationMs
  let left = request.count === 0 ? Number.POSITIVE_INFINITY : request.count
  yield Pcapng.encode(...headerOf(request, startMs))

  const lost = (): Reason | undefined => {
    const place = captures.lost()
    return place === undefined ? undefined : { reason: goneOf(request.ports[place]!), failed: true }
  }
  let nextLook = performance.now() + lookMs
  let ending: Reason | undefined
  while (ending === undefined) {
    const { frames, octets } = captures.read(captures.settledMs(), left)
    left -= frames
    if (frames > 0) yield octets
    const now = performance.now()
    if (left === 0) ending = enough(request.count)
    else if (stop.aborted) ending = stoppedBy(stop.reason)
    else if (now >= deadline) ending = over(request.durationMs)
    else if (now >= nextLook) {
      nextLook = now + lookMs
      ending = lost()
    } else if (frames > 0) await nextTurn()
    else await captures.wait(Math.min(nextLook, deadline) - now, stop)
  }

  // What was on the wire until now belongs to the capture; the kernel still holds some of it.
  const endMs = Date.now()
  if (left > 0) await sleep(settleMs)
  for (;;) {
    const { frames, octets } = captures.read(endMs, left)
    if (frames === 0) break
    left -= frames
    yield octets
    await nextTurn()
  }
  const ports = captures.counters().map((counts, place) => ({ name: request.ports[place]!.name, ...counts }))
  yield Pcapng.encode(...statisticsOf(ports, startMs, endMs))
  return { ...ending, ports }
}

const goneOf = ({ ifname, lab, node, tap }: Port): string =>
  tap === undefined
    ? `interface "${ifname}" of node "${node}" in lab "${lab}" has gone`
    : `interface "${tap.ifname}" of the host, the tunnel side of "${node}:${ifname}", has gone`

const headerOf = ({ filter, ports, snapLength }: Request, startMs: number): ReadonlyArray<Pcapng.Block> => {
  const labs = [...new Set(ports.map(({ lab }) => lab))].join(", ")
  const section: Pcapng.Section = {
    kind: "section",
    comment: `lab ${labs}, captured from ${new Date(startMs).toISOString()}`,
    os: `Linux ${release()}`,
    application: "weft"
  }
  const interfaces = ports.map(({ ifname, kind, lab, name, node, tap }): Pcapng.Interface => {
    const inEffect = tap?.filter ?? filter
    return {
      kind: "interface",
      linkType: Pcapng.ethernet,
      snapLength,
      name,
      description: tap?.description ?? `${ifname} of ${kind} ${node} in lab ${lab}`,
      timestampResolution: nanoseconds,
      ...(inEffect === "" ? {} : { filter: inEffect })
    }
  })
  return [section, ...interfaces]
}
