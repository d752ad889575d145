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
import { type ProbeOutcome, Probing, type ProbeSpec } from "../probes/probing.ts"
import { addressOf, type ReachNode } from "../probes/reach.ts"
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

type FlowMessage = { readonly flow: number; readonly address: string; readonly error?: string }

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
const defaults = { spacingMs: 1, timeoutMs: 1000, payload: 32, reportMs: 200 } as const
const leastReportMs = 20

/** What a request may ask for: the first thing that it may not, in a sentence. */
const wrong = ({ flows, reportMs }: FlowRequest): string | undefined => {
  if (flows.length === 0) return "No flows are asked for"
  if (flows.length > mostFlows) return `Cannot start ${flows.length} flows: ${mostFlows} at most`
  if (reportMs !== 0 && reportMs < leastReportMs) return `Cannot report every ${reportMs} ms: ${leastReportMs} ms at least`
  return flows.map(wrongFlow).find((problem) => problem !== undefined)
}

const wrongFlow = ({ from, payload, protocol, spacingMs, timeoutMs, to }: FlowSpec): string | undefined => {
  const refuse = (why: string): string => `Cannot probe from "${from}" to "${to}": ${why}`
  if (!["", "udp", "icmp"].includes(protocol)) return refuse(`protocol "${protocol}" is neither udp nor icmp`)
  if (spacingMs !== 0 && !(spacingMs >= 0.1 && spacingMs <= 60_000)) return refuse(`spacing ${spacingMs} ms is not between 0.1 and 60000`)
  if (timeoutMs !== 0 && !(timeoutMs >= 1 && timeoutMs <= 60_000)) return refuse(`timeout ${timeoutMs} ms is not between 1 and 60000`)
  if (payload !== 0 && (payload < 24 || payload > 1400)) return refuse(`payload ${payload} is not between 24 and 1400`)
  return undefined
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
    serve({ ...dependencies, flows, signal: AbortSignal.any([gone.signal, ended.signal]) }, call).catch((error: unknown) => {
      gone.abort()
      if (call.destroyed) return
      const { code, details } = error instanceof Unfit ? { code: error.code, details: error.message } : toStatus(error)
      call.emit("error", { code, details, message: details })
    })
  }
  return {
    handlers: { flow },
    respond: respondHandler({ resolveNodes: dependencies.resolveNodes, flows, signal: ended.signal }),
    /** Ends all calls and the thread. */
    end: (): void => {
      ended.abort()
      thread?.close()
      thread = undefined
    }
  }
}

interface Serving extends ProbesDependencies {
  readonly flows: () => Flows
  readonly signal: AbortSignal
}

const serve = async (serving: Serving, call: Call): Promise<void> => {
  const { forwarding, onlyLab, signal } = serving
  const problem = wrong(call.request)
  if (problem !== undefined) throw new Unfit(status.INVALID_ARGUMENT, problem)
  const lab = call.request.lab === "" && onlyLab !== undefined ? await onlyLab() : call.request.lab
  const placed: Array<Placed> = []
  for (const [place, wanted] of call.request.flows.entries()) placed.push(await placeFlow(serving, lab, { place, wanted }))
  const reportMs = call.request.reportMs === 0 ? defaults.reportMs : call.request.reportMs
  const hosts = Map.groupBy(placed, ({ spec }) => spec.from.host ?? "")
  const onBehalfOf = forwarding === undefined ? "" : callerOf(call, forwarding.here)
  await Promise.all(
    [...hosts].map(async ([host, those]) => {
      if (host === "") return probeHere(call, those, { lab, reportMs, serving })
      if (forwarding === undefined || wasForwarded(call)) return taken(call, failures(those, `host ${host} has it now: try again`))
      const request: FlowRequest = { lab, flows: those.map(({ wanted }) => wanted), reportMs }
      try {
        const reports = forwarding.peers.stream<FlowReports>(host, "Probes", "Flow", request, { signal, onBehalfOf })
        for await (const { flows } of reports) {
          await taken(call, { flows: flows.map((report) => ({ ...report, flow: those[report.flow]!.place })) })
        }
      } catch (error) {
        if (!signal.aborted) await taken(call, failures(those, (error as Error).message))
      }
    })
  )
  if (!call.destroyed) call.end()
}

/** Finds both ends of a flow. @throws Unfit */
const placeFlow = async (
  { nodeOf, resolveNodes }: ProbesDependencies,
  lab: string,
  { place, wanted }: Pick<Placed, "place" | "wanted">
): Promise<Placed> => {
  const isAddress = /^[0-9.]+$|:/.test(wanted.to)
  const to = isAddress ? await nodeOf(lab, wanted.to) : wanted.to
  const found = await resolveNodes(lab, to === undefined ? [wanted.from] : [wanted.from, to])
  if ("missing" in found) throw new Unfit(status.NOT_FOUND, found.missing)
  const [from, target] = found as readonly [ReachNode, ReachNode | undefined]
  const family = wanted.ipv6 ? "ipv6" : "ipv4"
  const address = isAddress ? wanted.to : addressOf(target!, family)
  if (address === undefined) {
    const named = { ipv4: "IPv4", ipv6: "IPv6" }[family]
    throw new Unfit(status.FAILED_PRECONDITION, `Cannot probe "${wanted.to}": it has no ${named} address`)
  }
  const spec: ProbeSpec = {
    from,
    ...(target === undefined ? {} : { to: target }),
    address,
    protocol: wanted.protocol === "icmp" ? "icmp" : "udp",
    spacingMs: wanted.spacingMs || defaults.spacingMs,
    timeoutMs: wanted.timeoutMs || defaults.timeoutMs,
    payload: wanted.payload || defaults.payload
  }
  return { place, wanted, spec }
}

interface Task {
  readonly lab: string
  readonly reportMs: number
  readonly serving: Serving
}

const probeHere = async (call: Call, placed: ReadonlyArray<Placed>, { lab, reportMs, serving }: Task): Promise<void> => {
  const { flows, forwarding, signal } = serving
  const done = new AbortController()
  const respond = respondEverywhere({ flows, lab, peers: forwarding?.peers, signal: AbortSignal.any([signal, done.signal]) })
  const probing = await Probing.start(flows(), placed.map(({ spec }) => spec), respond)
  try {
    do {
      await pause(reportMs, signal)
      if (signal.aborted) return
      await taken(call, { flows: probing.read().map((outcome, each) => messageOf(placed[each]!, outcome)) })
    } while (probing.runs)
  } finally {
    probing.end()
    done.abort()
  }
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
    ? { flow: place, address: spec.address, error: outcome.error }
    : { flow: place, address: spec.address, ...outcome.report }

const failures = (placed: ReadonlyArray<Placed>, error: string): FlowReports => ({
  flows: placed.map((one) => messageOf(one, { error }))
})
