/**
 * `Probes.Flow`: flows of probes between nodes, and reports of them until the call ends.
 *
 * Nodes may be on several hosts. Each host has the flows of its own nodes, so this daemon asks the others for their share and
 * passes on what they report; where a destination is on yet another host, that one answers (respond.ts):
 *
 *     client <-- reports -- h1 <-- reports of flows from h2's nodes -- h2 <-- probes --> h3
 *
 * A report that comes while the client has not taken the one before is not made: it would say the same, only earlier.
 */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import { Flows } from "../probes/flows.ts"
import { type ProbeOutcome, Probing, type ProbeSpec, type Whereabouts } from "../probes/probing.ts"
import { isProtocol, type ProtocolOptions, protocols, terms, wrongOption } from "../probes/protocols.ts"
import { addressOf } from "../probes/reach.ts"
import { callerOf } from "./access.ts"
import { taken, wasForwarded } from "./forward.ts"
import type { ReachDependencies } from "./reach.ts"
import { respondEverywhere, respondHandler } from "./respond.ts"
import { toStatus } from "./status.ts"

export interface FlowSpec {
  readonly from: string
  readonly to: string
  readonly protocol: string
  readonly spacingMs: number
  readonly timeoutMs: number
  readonly payload: number
  readonly ipv6: boolean
  readonly port?: number
  readonly path?: string
  readonly host?: string
  readonly expect?: string
  readonly name?: string
  readonly type?: string
  readonly answeredBy?: string
  readonly rate?: number
}

export interface FlowRequest {
  readonly lab: string
  readonly flows: ReadonlyArray<FlowSpec>
  readonly reportMs: number
}

type FlowMessage = { readonly flow: number; readonly address: string; readonly protocol: string; readonly error?: string }

interface FlowReports {
  readonly flows: ReadonlyArray<FlowMessage>
}

export interface ProbesDependencies extends ReachDependencies {
  /** The node of a lab that has an address; undefined: none, or several. */
  readonly nodeOf: (lab: string, address: string) => Promise<string | undefined>
}

type Call = ServerWritableStream<FlowRequest, FlowReports>

/** A flow whose ends are known. `place`: in the request. */
interface Placed {
  readonly place: number
  readonly wanted: FlowSpec
  readonly spec: ProbeSpec
}

const mostFlows = 1000
const defaultReportMs = 200
const defaultPayload = 32
const leastReportMs = 20
const mostMs = 60_000

/** What a request may ask for: the first thing that it may not, in a sentence. */
const wrong = ({ flows, reportMs }: FlowRequest): string | undefined => {
  if (flows.length === 0) return "No flows are asked for"
  if (flows.length > mostFlows) return `Cannot start ${flows.length} flows: ${mostFlows} at most`
  if (reportMs !== 0 && reportMs < leastReportMs) return `Cannot report every ${reportMs} ms: ${leastReportMs} ms at least`
  return flows.map(wrongFlow).find((problem) => problem !== undefined)
}

const wrongFlow = (flow: FlowSpec): string | undefined => {
  const { expect = "", from, name = "", payload, port = 0, protocol: asked, rate = 0, spacingMs, timeoutMs, to, type = "" } = flow
  const refuse = (why: string): string => `Cannot probe from "${from}" to "${to}": ${why}`
  const protocol = asked === "" ? "udp" : asked
  if (!isProtocol(protocol)) return refuse(`protocol "${asked}" is none of ${protocols.join(", ")}`)
  const least = terms[protocol].leastSpacingMs
  if (spacingMs !== 0 && !(spacingMs >= least && spacingMs <= mostMs)) {
    return refuse(`spacing ${spacingMs} ms is not between ${least} and ${mostMs}${protocol === "udp" ? "" : ` (${protocol})`}`)
  }
  if (timeoutMs !== 0 && !(timeoutMs >= 1 && timeoutMs <= mostMs)) return refuse(`timeout ${timeoutMs} ms is not between 1 and ${mostMs}`)
  if (payload !== 0 && (payload < 24 || payload > 1400)) return refuse(`payload ${payload} is not between 24 and 1400`)
  if (port > 65535) return refuse(`port ${port} is not between 0 and 65535`)
  if (rate < 0) return refuse(`rate ${rate} is less than 0`)
  if (protocol === "dns" && name === "") return refuse("dns needs the name to ask for (weft probe --name NAME)")
  const wrong = wrongOption(protocol, { expect, port, type })
  return wrong === undefined ? undefined : refuse(wrong.why)
}

/** A request that is refused, with its status. */
class Unfit extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

export const makeProbes = (dependencies: ProbesDependencies) => {
  const ended = new AbortController()
  let thread: Flows | undefined
  // A thread of its own, for those who use it.
  const flows = (): Flows => (thread ??= Flows.start())
  const flow = (call: Call): void => {
    const gone = new AbortController()
    call.once("cancelled", () => gone.abort())
    call.once("close", () => gone.abort())
    const order: Order = {
      request: call.request,
      caller: dependencies.forwarding === undefined ? "" : callerOf(call, dependencies.forwarding.here),
      isForwarded: wasForwarded(call),
      take: (reports) => taken(call, reports)
    }
    const serving = { ...dependencies, flows, signal: AbortSignal.any([gone.signal, ended.signal]) }
    const serveIt = async (): Promise<void> => {
      await serve(serving, order)
      if (!call.destroyed) call.end()
    }
    serveIt().catch((error: unknown) => {
      gone.abort()
      if (call.destroyed) return
      const { code, details } = error instanceof Unfit ? { code: error.code, details: error.message } : toStatus(error)
      call.emit("error", { code, details, message: details })
    })
  }
  return {
    handlers: { flow },
    /**
     * The same for whoever is in this daemon. Resolves when the signal ends it or no flow runs any more; rejects when the flows are
     * not fit to begin.
     */
    watch: (order: Omit<Order, "isForwarded">, signal: AbortSignal): Promise<void> =>
      serve({ ...dependencies, flows, signal: AbortSignal.any([signal, ended.signal]) }, { ...order, isForwarded: false }),
    respond: respondHandler({ resolveNodes: dependencies.resolveNodes, flows, signal: ended.signal }),
    /** Ends all calls and the thread. */
    end: (): void => {
      ended.abort()
      thread?.close()
      thread = undefined
    }
  }
}

/** What is to be probed, and who takes what comes of it. */
export interface Order {
  readonly request: FlowRequest
  /** For the log of other hosts. */
  readonly caller: string
  /** Another daemon asks: it is answered here or refused. */
  readonly isForwarded: boolean
  /** Resolves when more can be taken. */
  readonly take: (reports: FlowReports) => Promise<void>
}

interface Serving extends ProbesDependencies {
  readonly flows: () => Flows
  readonly signal: AbortSignal
}

const serve = async (serving: Serving, { caller, isForwarded, request: asked, take }: Order): Promise<void> => {
  const { forwarding, onlyLab, signal } = serving
  const problem = wrong(asked)
  if (problem !== undefined) throw new Unfit(status.INVALID_ARGUMENT, problem)
  const lab = asked.lab === "" && onlyLab !== undefined ? await onlyLab() : asked.lab
  const placed: Array<Placed> = []
  for (const [place, one] of asked.flows.entries()) placed.push(await placeFlow(serving, lab, { place, wanted: one }))
  const reportMs = asked.reportMs === 0 ? defaultReportMs : asked.reportMs
  const hosts = Map.groupBy(placed, ({ spec }) => spec.from.host ?? "")
  await Promise.all(
    [...hosts].map(async ([host, those]) => {
      if (host === "") return probeHere(take, those, { lab, reportMs, serving })
      if (forwarding === undefined || isForwarded) return take(failures(those, `host ${host} has it now: try again`))
      const request: FlowRequest = { lab, flows: those.map((one) => one.wanted), reportMs }
      try {
        const reports = forwarding.peers.stream<FlowReports>(host, "Probes", "Flow", request, { signal, onBehalfOf: caller })
        for await (const { flows } of reports) {
          await take({ flows: flows.map((report) => ({ ...report, flow: those[report.flow]!.place })) })
        }
      } catch (error) {
        if (!signal.aborted) await take(failures(those, (error as Error).message))
      }
    })
  )
}

/** Finds both ends of a flow. @throws Unfit */
const placeFlow = async (
  { nodeOf, resolveNodes }: ProbesDependencies,
  lab: string,
  { place, wanted }: Pick<Placed, "place" | "wanted">
): Promise<Placed> => {
  const isNumeric = /^[0-9.]+$|:/.test(wanted.to)
  const answeredBy = wanted.answeredBy ?? ""
  const to = isNumeric ? await nodeOf(lab, wanted.to) : wanted.to
  const names = [wanted.from, ...(to === undefined ? [] : [to]), ...(answeredBy === "" ? [] : [answeredBy])]
  const found = await resolveNodes(lab, names)
  if ("missing" in found) throw new Unfit(status.NOT_FOUND, found.missing)
  const from = found[0]!
  const target = to === undefined ? undefined : found[1]
  const answerer = answeredBy === "" ? target : found.at(-1)
  const family = wanted.ipv6 ? "ipv6" : "ipv4"
  const address = isNumeric ? wanted.to : addressOf(target!, family)
  if (address === undefined) {
    const named = { ipv4: "IPv4", ipv6: "IPv6" }[family]
    throw new Unfit(status.FAILED_PRECONDITION, `Cannot probe "${wanted.to}": it has no ${named} address`)
  }
  const protocol = isProtocol(wanted.protocol) ? wanted.protocol : "udp"
  const spec: ProbeSpec = {
    ...optionsOf(wanted),
    from,
    ...(answerer === undefined ? {} : { to: answerer }),
    ...(answeredBy === "" ? {} : { answerAt: address.includes(":") ? "::" : "0.0.0.0" }),
    address,
    protocol,
    spacingMs: wanted.spacingMs || terms[protocol].spacingMs,
    timeoutMs: wanted.timeoutMs || terms[protocol].timeoutMs,
    payload: wanted.payload || defaultPayload
  }
  return { place, wanted, spec }
}

const optionsOf = ({ expect = "", host = "", name = "", path = "", port = 0, rate = 0, to, type = "" }: FlowSpec): ProtocolOptions => ({
  port, path, expect, name, type, rate, host: host === "" ? to : host
})

interface Task {
  readonly lab: string
  readonly reportMs: number
  readonly serving: Serving
}

const probeHere = async (take: Order["take"], placed: ReadonlyArray<Placed>, { lab, reportMs, serving }: Task): Promise<void> => {
  const { flows, forwarding, signal } = serving
  const done = new AbortController()
  const respond = respondEverywhere({ flows, lab, peers: forwarding?.peers, signal: AbortSignal.any([signal, done.signal]) })
  const probing = await Probing.start(flows(), placed.map(({ spec }) => spec), respond)
  try {
    do {
      await pause(reportMs, signal)
      await probing.look(whereabouts(serving, lab))
      if (signal.aborted) return
      await take({ flows: probing.read().map((outcome, each) => messageOf(placed[each]!, outcome)) })
    } while (probing.runs)
  } finally {
    probing.end()
    done.abort()
  }
}

/** Whether a node is one of this host's. A lab that is changed has its nodes all the time, whatever their namespaces do. */
const whereabouts = ({ resolveNodes }: Serving, lab: string): Whereabouts => async (name) => {
  const found = await resolveNodes(lab, [name])
  if ("missing" in found) return { isHere: false, why: `node ${name} is gone` }
  const host = found[0]?.host
  return host === undefined ? { isHere: true } : { isHere: false, why: `node ${name} is on host ${host} now` }
}

/** Resolves after a time, or when it is not worth waiting for. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener("abort", end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener("abort", end)
    if (signal.aborted) end()
  })

const messageOf = ({ place, spec }: Placed, outcome: ProbeOutcome): FlowMessage =>
  "error" in outcome
    ? { flow: place, address: spec.address, protocol: spec.protocol, error: outcome.error }
    : { flow: place, address: spec.address, ...outcome.report }

const failures = (placed: ReadonlyArray<Placed>, error: string): FlowReports => ({
  flows: placed.map((one) => messageOf(one, { error }))
})
