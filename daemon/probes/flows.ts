/**
 * Flows: probes from node to node at a fixed spacing, and what became of them.
 *
 *     const flows = Flows.start()
 *     const responder = flows.respond(netnsPath, "10.0.1.2", 0)            in the destination; ICMP needs none
 *     const flow = flows.add({ netnsPath, address: "10.0.1.2", port: responder.port, spacingMs: 1 })
 *     flows.read(flow)      any time: sent, lost, outages so far, latency, what has changed
 *     flows.end(flow)
 *
 * Sending, receiving and counting happen in native threads (native/src/probe.cc) that take turns with nobody; here is
 * only what asks them. An outage is a run of probes that did not come back, from when the first of them was sent until the first
 * later one was that did, so at a spacing of 1 ms it is exact to 1 ms. What could not be sent in time is `unsent`, and
 * `blindMs` is the longest time in which nothing was: an outage may be longer or shorter by that much. Paths and their MTU take
 * many packets to find out, far apart: slow-flows.ts has those, on the daemon's own event loop.
 *
 * A flow belongs to a namespace's name, not to the namespace: while there is none its probes are lost, and when there is another one, it
 * goes on. It may begin before there is a route, which it then sees as an outage.
 */
import { addon, ProbeCounter as Counter, ProbeKind, type ProbesHandle } from "../native/index.ts"
import * as Dns from "../wire/dns.ts"
import * as Ip from "../wire/ip.ts"
import type { FlowReport, Outage } from "./flow-report.ts"
import { changeOf } from "./flow-words.ts"
import { histogramLength, percentiles } from "./latency.ts"
import type { Change, Protocol, ProtocolOptions } from "./protocols.ts"
import { SlowFlow } from "./slow-flows.ts"

export interface FlowOptions extends ProtocolOptions {
  /** `/run/netns/weft.<lab>.<node>` of the source. */
  readonly netnsPath: string
  readonly address: string
  /** Absent: UDP with a port, ICMP without. */
  readonly protocol?: Protocol
  /** Of whoever answers; 0: ICMP echo, when there is no protocol. */
  readonly port: number
  /** 0.1 at least. */
  readonly spacingMs: number
  /** A probe without an answer for so long is lost. */
  readonly timeoutMs?: number
  /** Octets behind the UDP or ICMP header, or of a request over TCP: 24 to 1400. */
  readonly payload?: number
  /** Address to send from; not for ICMP. */
  readonly source?: string
  /** ifindex, for link-local addresses. */
  readonly scope?: number
}

export interface Responder {
  readonly id: number
  readonly port: number
}

const responderKinds = { udp: 0, tcp: 1, throughput: 2 } as const
export type ResponderKind = keyof typeof responderKinds

interface Known {
  readonly protocol: Protocol
  readonly port: number
  detail: string
  /** Before the namespace went. */
  former: string | undefined
}

const defaultTimeoutMs = 1000
const defaultPayload = 32
const outagesPerRead = 4096
const nsPerMs = 1e6
const mostStatus = 1000

const octets = (address: string): Uint8Array => {
  const parsed = Ip.parse(address)
  if (parsed === undefined) throw new Error(`Cannot probe "${address}": it is no address`)
  return parsed
}

/** Statuses that are fine, by number: `200`, `2xx,404`; those below 400 when nothing is expected. */
export const expectedStatuses = (expect: string): Uint8Array => {
  const fine = new Uint8Array(mostStatus)
  if (expect === "") return fine.fill(1, 100, 400)
  for (const word of expect.split(",")) {
    const [, first, rest] = /^\s*([1-9])(\d\d|xx)\s*$/.exec(word) ?? []
    if (first === undefined) throw new Error(`Cannot expect "${word}": a status such as 200, or 2xx, is expected`)
    if (rest === "xx") fine.fill(1, Number(first) * 100, Number(first) * 100 + 100)
    else fine[Number(first + rest)] = 1
  }
  return fine
}

const requestOf = ({ address, host = "", path = "" }: FlowOptions): Uint8Array => {
  const named = host === "" ? (address.includes(":") ? `[${address}]` : address) : host
  const [where, name] = [path === "" ? "/" : path, named].map((text) => text.replaceAll(/[\r\n ]/g, "%20"))
  // RFC 9112 3.2, RFC 9110 7.2; HTTP/1.0, so that the body comes as it is.
  return Buffer.from(`GET ${where} HTTP/1.0\r\nHost: ${name}\r\nUser-Agent: weft\r\nAccept: */*\r\nConnection: close\r\n\r\n`)
}

const questionOf = ({ address, name = "", type = "" }: FlowOptions): Uint8Array => {
  const asked = type === "" ? (address.includes(":") ? "AAAA" : "A") : type.toUpperCase()
  if (!(asked in Dns.Type)) throw new Error(`Cannot ask for "${type}": ${Object.keys(Dns.Type).join(", ")} are known`)
  const packet = Dns.encodeQuestion(0, name, asked as Dns.TypeName)
  if (name === "" || packet === undefined) throw new Error(`Cannot ask for "${name}": it is no domain name`)
  return packet
}

export class Flows {
  private readonly handle: ProbesHandle
  private readonly counters = new Float64Array(Object.keys(Counter).length)
  private readonly histogram = new Uint32Array(histogramLength)
  private readonly outages = new Float64Array(outagesPerRead * 3)
  private readonly known = new Map<number, Known>()
  /** By negative numbers. */
  private readonly slow = new Map<number, SlowFlow>()
  private lastSlow = 0

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
  respond(netnsPath: string, address: string, port: number, kind: ResponderKind = "udp"): Responder {
    const [id, own] = addon.probeRespond(this.handle, netnsPath, octets(address), port, responderKinds[kind])
    return { id, port: own }
  }

  /** Begins a flow; returns what it is known by. @throws NativeError when the namespace or the source address is not there */
  add(options: FlowOptions): number {
    const { address, expect = "", netnsPath, payload = defaultPayload, port, rate = 0, scope = 0, source, spacingMs } = options
    const { timeoutMs = defaultTimeoutMs } = options
    const protocol = options.protocol ?? (port === 0 ? "icmp" : "udp")
    const to = octets(address)
    if (protocol === "traceroute" || protocol === "path-mtu") {
      const id = --this.lastSlow
      this.slow.set(id, new SlowFlow({ netnsPath, address, protocol, spacingMs, timeoutMs, port }))
      return id
    }
    const settings =
      Float64Array.of(ProbeKind[protocol], port, scope, spacingMs * nsPerMs, timeoutMs * nsPerMs, payload, rate / 8)
    const from = source === undefined ? null : octets(source)
    const request = protocol === "http" ? requestOf(options) : protocol === "dns" ? questionOf(options) : null
    const expected = protocol === "http" ? expectedStatuses(expect) : protocol === "dns" && expect !== "" ? octets(expect) : null
    const id = addon.probeFlow(this.handle, netnsPath, to, settings, from, request, expected)
    this.known.set(id, { protocol, port, detail: "", former: undefined })
    return id
  }

  /** What the flow has seen so far. `from`: number of the first outage to be told of. */
  read(flow: number, from = 0): FlowReport {
    const slow = this.slow.get(flow)
    if (slow !== undefined) return slow.read(from)
    const { counters, histogram, outages } = this
    const copied = addon.probeRead(this.handle, flow, counters, histogram, outages, from)
    const known = this.known.get(flow)
    if (copied < 0 || known === undefined) throw new Error(`There is no flow ${flow}`)
    const count = (name: keyof typeof Counter): number => counters[Counter[name]]!
    const nowMs = performance.timeOrigin + performance.now()
    const outage = (at: number): Outage => {
      const [startMs, endMs, lost] = [outages[at]! / nsPerMs, outages[at + 1]! / nsPerMs, outages[at + 2]!]
      return { startMs, lengthMs: (endMs === 0 ? nowMs : Math.abs(endMs)) - startMs, lost, lasts: endMs <= 0 }
    }
    const [p50, p99] = percentiles(histogram, [0.5, 0.99])
    const received = count("received")
    return {
      protocol: known.protocol,
      port: known.port,
      sent: count("sent"),
      received,
      lost: count("lost"),
      unsent: count("unsent"),
      duplicates: count("duplicates"),
      reordered: count("reordered"),
      late: count("late"),
      refused: count("refused"),
      unreachable: count("unreachable"),
      wrong: count("wrong"),
      latency: {
        min: count("latencyMinNs") / nsPerMs,
        mean: received === 0 ? 0 : count("latencySumNs") / received / nsPerMs,
        p50: p50!,
        p99: p99!,
        max: count("latencyMaxNs") / nsPerMs
      },
      ...(count("slowestAtNs") === 0 ? {}
        : { slowest: { atMs: count("slowestAtNs") / nsPerMs, latencyMs: count("slowestNs") / nsPerMs } }),
      outages: Array.from({ length: copied }, (_, index) => outage(index * 3)),
      outageCount: count("outageCount"),
      pendingMs: count("pendingNs") / nsPerMs,
      blindMs: count("blindNs") / nsPerMs,
      changeCount: count("noteCount"),
      ...this.news(flow, known)
    }
  }

  /** What has changed since the last call. */
  private news(flow: number, known: Known): Pick<FlowReport, "detail" | "changes" | "samples" | "isGone"> {
    const [notes, numbers] = addon.probeNotes(this.handle, flow)
    const changes = notes.map((note): Change => {
      const change = changeOf(known.protocol, note, known.detail)
      if (change.kind === "gone") known.former = known.detail
      // A connection that lives long tells itself when it is there again; the others, when anything is not as before.
      const isMend = change.kind === "back" && known.protocol !== "tcp" && known.protocol !== "throughput"
      known.detail = isMend ? known.former ?? "" : change.after
      if (change.kind === "back") known.former = undefined
      return change
    })
    const samples = Array.from({ length: numbers.length / 2 }, (_, place) => ({
      atMs: numbers[2 * place]! / nsPerMs,
      value: numbers[2 * place + 1]!
    }))
    const last = samples.at(-1)
    if (known.protocol === "throughput" && last !== undefined) known.detail = bitRate(last.value)
    return { detail: known.detail, changes, samples, isGone: known.former !== undefined }
  }

  /** Ends a flow. Fine when it has ended. */
  end(flow: number): void {
    this.slow.get(flow)?.end()
    this.slow.delete(flow)
    if (this.known.delete(flow)) addon.probeEnd(this.handle, flow)
  }

  /** Ends a responder. Fine when it has ended. */
  silence({ id }: Responder): void {
    addon.probeEnd(this.handle, id)
  }

  /** Ends everything. */
  close(): void {
    for (const flow of this.slow.values()) flow.end()
    this.slow.clear()
    this.known.clear()
    addon.probesClose(this.handle)
  }
}

/** `943 Mbit/s` */
export const bitRate = (value: number): string => {
  const [unit, by] = value >= 1e9 ? ["Gbit/s", 1e9] as const : value >= 1e6 ? ["Mbit/s", 1e6] as const : ["kbit/s", 1e3] as const
  return `${Number((value / by).toPrecision(3))} ${unit}`
}
