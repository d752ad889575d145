/**
 * Flows: probes from node to node at a fixed spacing, and what became of them.
 *
 *     const flows = Flows.start()
 *     const responder = flows.respond(netnsPath, "10.0.1.2", 0)            in the destination; ICMP needs none
 *     const flow = flows.add({ netnsPath, address: "10.0.1.2", port: responder.port, spacingMs: 1 })
 *     flows.read(flow)      any time: sent, lost, outages so far, latency
 *     flows.end(flow)
 *
 * Sending, receiving and counting happen in a native thread (native/src/probe.cc) that takes turns with nobody; here is
 * only what asks it. An outage is a run of probes that did not come back, from when the first of them was sent until the first
 * later one was that did, so at a spacing of 1 ms it is exact to 1 ms. What could not be sent in time is `unsent`, and
 * `blindMs` is the longest time in which nothing was: an outage may be longer or shorter by that much.
 *
 * A flow lives as long as its namespace's sockets do: it may begin before there is a route, which it then sees as an outage.
 */
import { addon, ProbeCounter as Counter, type ProbesHandle } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import { histogramLength, percentiles } from "./latency.ts"

export interface FlowOptions {
  /** `/run/netns/weft.<lab>.<node>` of the source. */
  readonly netnsPath: string
  readonly address: string
  /** UDP port of a responder; 0: ICMP echo. */
  readonly port: number
  /** 0.1 at least. */
  readonly spacingMs: number
  /** A probe without an answer for so long is lost. */
  readonly timeoutMs?: number
  /** Octets behind the UDP or ICMP header: 24 to 1400. */
  readonly payload?: number
  /** Address to send from; not for ICMP. */
  readonly source?: string
  /** ifindex, for link-local addresses. */
  readonly scope?: number
}

export interface Outage {
  /** Milliseconds since 1970. */
  readonly startMs: number
  readonly lengthMs: number
  /** Probes that did not come back. */
  readonly lost: number
  /** It was not over when this was read. */
  readonly lasts: boolean
}

export interface FlowReport {
  readonly sent: number
  readonly received: number
  readonly lost: number
  /** Not sent in time, or for want of room in the socket: neither sent nor lost. */
  readonly unsent: number
  readonly duplicates: number
  readonly reordered: number
  /** Answered after the timeout: they count as lost. */
  readonly late: number
  /** ICMP port unreachable. */
  readonly refused: number
  /** ICMP destination unreachable, or no route in the source itself. */
  readonly unreachable: number
  /** Milliseconds; all 0 without an answer. */
  readonly latency: { readonly min: number; readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number }
  /** In order, from the one that was asked for on; 4096 at most. */
  readonly outages: ReadonlyArray<Outage>
  readonly outageCount: number
  /** How long the oldest probe that is neither answered nor lost has been under way: an outage that may be beginning. */
  readonly pendingMs: number
  readonly blindMs: number
}

export interface Responder {
  readonly id: number
  readonly port: number
}

const defaultTimeoutMs = 1000
const defaultPayload = 32
const outagesPerRead = 4096
const nsPerMs = 1e6

const within = <A>(netnsPath: string, use: (netns: number) => A): A => {
  const netns = addon.netnsOpen(netnsPath)
  try {
    return use(netns)
  } finally {
    addon.close(netns)
  }
}

const octets = (address: string): Uint8Array => {
  const parsed = Ip.parse(address)
  if (parsed === undefined) throw new Error(`Cannot probe "${address}": it is no address`)
  return parsed
}

export class Flows {
  private readonly handle: ProbesHandle
  private readonly counters = new Float64Array(Object.keys(Counter).length)
  private readonly histogram = new Uint32Array(histogramLength)
  private readonly outages = new Float64Array(outagesPerRead * 3)

  static start(): Flows {
    return new Flows(addon.probesOpen())
  }

  private constructor(handle: ProbesHandle) {
    this.handle = handle
  }

  /**
   * Answers probes in a namespace.
   *
   * @param address where to listen: one of the node's own, or `0.0.0.0` or `::` for all of a family
   * @param port 0: a free one
   * @throws NativeError EADDRINUSE, ...
   */
  respond(netnsPath: string, address: string, port: number): Responder {
    const id = within(netnsPath, (netns) => addon.probeRespond(this.handle, netns, octets(address), port))
    return { id, port: addon.localPort(id) }
  }

  /** Begins a flow; returns what it is known by. @throws NativeError when the namespace or the source address is not there */
  add(options: FlowOptions): number {
    const { address, netnsPath, payload = defaultPayload, port, scope = 0, source, spacingMs, timeoutMs = defaultTimeoutMs } = options
    const from = source === undefined ? null : octets(source)
    const [spacing, timeout] = [spacingMs * nsPerMs, timeoutMs * nsPerMs]
    return within(netnsPath, (netns) =>
      addon.probeFlow(this.handle, netns, octets(address), port, scope, from, spacing, timeout, payload)
    )
  }

  /** What the flow has seen so far. `from`: number of the first outage to be told of. */
  read(flow: number, from = 0): FlowReport {
    const { counters, histogram, outages } = this
    const copied = addon.probeRead(this.handle, flow, counters, histogram, outages, from)
    if (copied < 0) throw new Error(`There is no flow ${flow}`)
    const count = (name: keyof typeof Counter): number => counters[Counter[name]]!
    const nowMs = performance.timeOrigin + performance.now()
    const outage = (at: number): Outage => {
      const [startMs, endMs, lost] = [outages[at]! / nsPerMs, outages[at + 1]! / nsPerMs, outages[at + 2]!]
      return { startMs, lengthMs: (endMs === 0 ? nowMs : endMs) - startMs, lost, lasts: endMs === 0 }
    }
    const [p50, p99] = percentiles(histogram, [0.5, 0.99])
    const received = count("received")
    return {
      sent: count("sent"),
      received,
      lost: count("lost"),
      unsent: count("unsent"),
      duplicates: count("duplicates"),
      reordered: count("reordered"),
      late: count("late"),
      refused: count("refused"),
      unreachable: count("unreachable"),
      latency: {
        min: count("latencyMinNs") / nsPerMs,
        mean: received === 0 ? 0 : count("latencySumNs") / received / nsPerMs,
        p50: p50!,
        p99: p99!,
        max: count("latencyMaxNs") / nsPerMs
      },
      outages: Array.from({ length: copied }, (_, index) => outage(index * 3)),
      outageCount: count("outageCount"),
      pendingMs: count("pendingNs") / nsPerMs,
      blindMs: count("blindNs") / nsPerMs
    }
  }

  /** Ends a flow. Fine when it has ended. */
  end(flow: number): void {
    addon.probeEnd(this.handle, flow)
  }

  /** Ends a responder. Fine when it has ended. */
  silence({ id }: Responder): void {
    addon.probeSilence(this.handle, id)
  }

  /** Ends everything. */
  close(): void {
    addon.probesClose(this.handle)
  }
}
