/**
 * `Nodes.Reach`: results as they come, to a client that may be slow or go away.
 *
 * Nodes may be on several hosts. Each host probes from its own, so this daemon asks the others for their share; where a
 * destination is on yet another host, that one listens (listen.ts):
 *
 *     client <-- results -- h1 <-- results of h2's nodes -- h2 <-- what h3's listeners see -- h3
 */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import { addressOf, type ReachNode, type ReachResult, reach } from "../probes/reach.ts"
import { callerOf } from "./access.ts"
import { type Forwarding, taken, wasForwarded } from "./forward.ts"
import { listenEverywhere } from "./listen.ts"
import { toStatus } from "./status.ts"

export interface ReachRequest {
  readonly lab: string
  readonly nodes: ReadonlyArray<string>
  readonly timeoutMs: number
  readonly ipv6: boolean
  /** Only these ask; empty: all. */
  readonly from?: ReadonlyArray<string>
}

export interface ReachDependencies {
  /**
   * The nodes that are meant: those named, or all of kind host when none is. `lab` empty: the only one.
   * `missing`: a lab or node does not exist, in one sentence.
   */
  readonly resolveNodes: (
    lab: string,
    nodes: ReadonlyArray<string>
  ) => Promise<ReadonlyArray<ReachNode> | { readonly missing: string }> | ReadonlyArray<ReachNode> | { readonly missing: string }
  /** Name of the lab that is meant when none is named. @throws Refused when there is not exactly one */
  readonly onlyLab?: () => Promise<string>
  /** Where there are other hosts. */
  readonly forwarding?: Forwarding
}

type Call = ServerWritableStream<ReachRequest, ReachResult>

const defaultTimeoutMs = 1000
const maxTimeoutMs = 60_000

export const reachHandler =
  (dependencies: ReachDependencies) =>
  (call: Call): void => {
    const gone = new AbortController()
    call.once("cancelled", () => gone.abort())
    call.once("close", () => gone.abort())
    serve(dependencies, call, gone.signal).catch((error: unknown) => {
      gone.abort()
      if (call.destroyed) return
      const { code, details } = toStatus(error)
      call.emit("error", { code, details, message: details })
    })
  }

const serve = async ({ forwarding, onlyLab, resolveNodes }: ReachDependencies, call: Call, signal: AbortSignal): Promise<void> => {
  const { from = [], nodes, timeoutMs } = call.request
  const lab = call.request.lab === "" && onlyLab !== undefined ? await onlyLab() : call.request.lab
  const found = await resolveNodes(lab, nodes)
  if ("missing" in found) {
    call.emit("error", { code: status.NOT_FOUND, details: found.missing, message: found.missing })
    return
  }
  const task: Task = {
    lab,
    nodes: found,
    timeoutMs: timeoutMs === 0 ? defaultTimeoutMs : Math.min(timeoutMs, maxTimeoutMs),
    family: call.request.ipv6 ? "ipv6" : "ipv4",
    signal
  }
  const sources = found.filter(({ name }) => from.length === 0 || from.includes(name))
  const here = sources.filter(({ host }) => host === undefined)
  const there = Map.groupBy(sources.filter(({ host }) => host !== undefined), ({ host }) => host!)
  const onBehalfOf = forwarding === undefined ? "" : callerOf(call, forwarding.here)
  await Promise.all([
    here.length === 0 ? undefined : pass(call, probeHere(here, task, forwarding)),
    ...[...there].map(([host, those]) =>
      forwarding === undefined || wasForwarded(call)
        ? pass(call, failures(those, task, `host ${host} has it now: try again`))
        : pass(call, probeThere(those, task, { ...forwarding, host, onBehalfOf }))
    )
  ])
  if (!call.destroyed) call.end()
}

interface Task {
  readonly lab: string
  /** Destinations. */
  readonly nodes: ReadonlyArray<ReachNode>
  readonly timeoutMs: number
  readonly family: "ipv4" | "ipv6"
  readonly signal: AbortSignal
}

type Results = AsyncGenerator<ReachResult, void, undefined>

const pass = async (call: Call, results: Results): Promise<void> => {
  for await (const result of results) {
    if (call.cancelled || call.destroyed) break
    await taken(call, result)
  }
}

async function* probeHere(sources: ReadonlyArray<ReachNode>, task: Task, forwarding: Forwarding | undefined): Results {
  const { family, lab, nodes, signal, timeoutMs } = task
  // What listens for us on other hosts ends with us.
  const done = new AbortController()
  const ended = AbortSignal.any([signal, done.signal])
  const listen = forwarding === undefined ? {} : { listen: listenEverywhere(forwarding.peers, lab, ended) }
  try {
    yield* reach(sources, nodes, { timeoutMs, family, signal, ...listen })
  } finally {
    done.abort()
  }
}

/** Has the sources' host probe. Of pairs of which it says nothing, it is said why. */
async function* probeThere(
  sources: ReadonlyArray<ReachNode>,
  task: Task,
  { host, onBehalfOf, peers }: Forwarding & { readonly host: string; readonly onBehalfOf: string }
): Results {
  const { family, lab, nodes, signal, timeoutMs } = task
  const names = (of: ReadonlyArray<ReachNode>): ReadonlyArray<string> => of.map(({ name }) => name)
  const request: ReachRequest = { lab, nodes: names(nodes), timeoutMs, ipv6: family === "ipv6", from: names(sources) }
  const told = new Set<string>()
  let failure = `host ${host} has not said`
  try {
    for await (const result of peers.stream<ReachResult>(host, "Nodes", "Reach", request, { signal, onBehalfOf })) {
      told.add(`${result.from} ${result.to}`)
      yield result
    }
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error)
  }
  if (signal.aborted) return
  for await (const result of failures(sources, task, failure)) if (!told.has(`${result.from} ${result.to}`)) yield result
}

async function* failures(sources: ReadonlyArray<ReachNode>, { family, nodes }: Task, error: string): Results {
  const nothing = { icmp: false, icmpRttMs: 0, tcp: false, seenAs: "", source: "" }
  for (const { name: from } of sources) {
    for (const node of nodes) {
      if (node.name !== from) yield { from, to: node.name, address: addressOf(node, family) ?? "", ...nothing, error }
    }
  }
}
