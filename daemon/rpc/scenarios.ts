/**
 * `Scenarios.Run`: faults on a timeline against a lab. A client that goes away ends it; however it ends, the runner heals
 * everything, and the faults' lease does when this daemon cannot.
 */
import { type ServerDuplexStream, status } from "@grpc/grpc-js"
import type { LabNode } from "../checks/lab.ts"
import { nodesOf } from "../checks/nodes.ts"
import { runCheck } from "../checks/runner.ts"
import { readScenario, stepsOf } from "../checks/scenario.ts"
import type { Check } from "../checks/suite.ts"
import type { Scenario, ScenarioResult } from "../faults/scenario.ts"
import { needsLab } from "../faults/scenario-entries.ts"
import type { Plan } from "../plan/resource.ts"
import { runScenario, type ScenarioEvent } from "../rehearsal/scenario.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"
import { callerOf } from "./access.ts"
import { checkLab } from "./check-lab.ts"
import { type ChecksDependencies, toResult } from "./checks.ts"
import { toFault } from "./faults.ts"
import { taken } from "./forward.ts"
import { loadTopology, toDiagnostic, type TopologyMessage } from "./labs.ts"
import { toStatus } from "./status.ts"

type ScenarioRequest = { readonly start: ScenarioStart } | { readonly stop: object }

interface ScenarioStart {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
  readonly topology: TopologyMessage | null
  readonly seed: string
  readonly speed: number
  readonly lookOnly: boolean
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly unread: Readonly<Record<string, string>>
}

type Call = ServerDuplexStream<ScenarioRequest, object>

/** A call that fails, with its status. */
class CallError extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

const mostSpeed = 1000

const parsed = (
  { content, filename, files, seed, unread }: ScenarioStart,
  plan: Plan | undefined,
  deployed?: ReadonlyArray<string>
): ScenarioResult<Check> =>
  readScenario({ filename: filename === "" ? "scenario" : filename, content }, {
    ...(plan === undefined ? {} : { plan }),
    ...(deployed === undefined ? {} : { deployed }),
    ...(seed === "" ? {} : { seed: Number(seed) }),
    files: new Map(Object.entries(files)),
    unread: new Map(Object.entries(unread))
  })

interface Found {
  readonly lab: string
  /** Without faults. Undefined: the lab is not known yet. */
  readonly plan: Plan | undefined
  /** Of the topology. */
  readonly diagnostics: ReadonlyArray<Diagnostic>
}

const unknown: Found = { lab: "", plan: undefined, diagnostics: [] }

/** The lab that is meant. @throws CallError, Refused when it is not there, and was to be run in */
const findLab = async (
  { labs, load, onlyLab }: ChecksDependencies,
  request: ScenarioStart,
  { lab, topology }: { readonly lab: string; readonly topology: string }
): Promise<Found> => {
  if (request.topology !== null && request.topology !== undefined) {
    const { diagnostics, plan } = loadTopology(load, request.topology)
    return { lab: plan?.lab ?? "", plan, diagnostics }
  }
  const named = request.lab === "" ? lab : request.lab
  if (request.lookOnly && named === "" && topology !== "") return unknown
  const all = await labs()
  // What the plan of a scenario would be can be said of some without any lab.
  if (request.lookOnly && named === "" && all.length !== 1) return unknown
  const name = named === "" ? await onlyLab() : named
  const entry = all.find((one) => one.name === name)
  if (entry === undefined && request.lookOnly) return unknown
  if (entry === undefined) throw new CallError(status.NOT_FOUND, `No lab "${name}"`)
  return { lab: name, plan: entry.plan, diagnostics: [] }
}

const toPlanned = (scenario: Scenario<Check>): object => {
  const { ending, name, seed } = scenario
  return { name, seed, endingMs: ending.atMs, endingCheck: ending.check?.name ?? "", steps: stepsOf(scenario) }
}

interface Place {
  readonly lab: string
  readonly plan: Plan
  /** How many there are. */
  readonly steps: number
}

const toMoment = (event: ScenarioEvent, { lab, plan, steps }: Place): object => {
  const moment = { step: event.index < steps ? event.index : -1, atMs: event.atMs }
  switch (event.kind) {
    case "injected":
    case "healed":
      return { ...moment, [event.kind]: event.faults.map((fault) => toFault(lab, plan, fault)) }
    case "checked":
      return { ...moment, check: toResult(event.result) }
    case "failed":
      return { ...moment, error: event.reason }
    default:
      return event satisfies never
  }
}

interface Ordered {
  readonly scenario: Scenario<Check>
  readonly lab: string
  readonly plan: Plan
  readonly speed: number
  readonly signal: AbortSignal
}

const run = async (dependencies: ChecksDependencies, call: Call, { lab, plan, scenario, signal, speed }: Ordered): Promise<void> => {
  const { faults, forwarding } = dependencies
  if (faults === undefined) throw new CallError(status.UNIMPLEMENTED, "This weftd cannot inject faults")
  const nodes: ReadonlyMap<string, LabNode> = nodesOf(plan)
  const checked = checkLab(dependencies, { lab, nodes, caller: callerOf(call, forwarding?.here ?? "this host") })
  const world = {
    lab,
    faults,
    now: () => performance.now(),
    check: (check: Check, ended: AbortSignal) => runCheck(check, checked, { signal: ended })
  }
  const outcome = await runScenario(scenario, world, {
    by: `scenario ${scenario.name}`,
    speed: speed === 0 ? 1 : speed,
    signal,
    told: (event) => {
      if (!call.destroyed && !call.cancelled) call.write({ moment: toMoment(event, { lab, plan, steps: scenario.moments.length }) })
    }
  })
  const { durationMs, failures: reasons } = outcome
  if (!call.destroyed) call.write({ done: { outcome: outcome.outcome, reasons, durationMs } })
}

/** Serves the call from its first message on; `signal`: the client wants it to end, or is gone. */
const serve = async (dependencies: ChecksDependencies, call: Call, request: ScenarioStart, signal: AbortSignal): Promise<void> => {
  const { lookOnly, seed, speed } = request
  if (seed !== "" && !/^\d{1,15}$/.test(seed)) {
    throw new CallError(status.INVALID_ARGUMENT, `"${seed}" is no seed: a whole number from 0 on`)
  }
  if (!(speed >= 0 && speed <= mostSpeed)) {
    throw new CallError(status.INVALID_ARGUMENT, `The speed ${speed} is not between 0 and ${mostSpeed}`)
  }
  const alone = parsed(request, undefined)
  const { lab = "", topology = "" } = alone.ok ? alone.scenario : alone
  // A plan needs no lab; of a scenario that is wrong in other ways, too, all of it is told at once.
  const needsOwn = request.lab === "" && lab !== "" && !(alone.ok && lookOnly)
  const labs = needsOwn ? (await dependencies.labs()).map(({ name }) => name) : undefined
  const first = labs === undefined ? alone : parsed(request, undefined, labs)
  const isThere = labs === undefined || labs.includes(lab)
  const found = isThere ? await findLab(dependencies, request, { lab, topology }) : unknown
  const result = found.plan === undefined ? first : parsed(request, found.plan)
  // Without a lab, what needs one is an error for now: of a topology that the client has not sent yet, it is none.
  const isEarly = found.plan === undefined && found.diagnostics.length === 0 && topology !== ""
  const own = result.ok ? [] : result.diagnostics.filter(({ message }) => !isEarly || !message.includes(needsLab))
  const diagnostics = [...own, ...found.diagnostics].map(toDiagnostic)
  const planned = { diagnostics, lab: found.lab, topology, ...(result.ok ? toPlanned(result.scenario) : {}) }
  await taken(call, { planned })
  const hasErrors = found.diagnostics.some(({ severity }) => severity === "error")
  const { plan } = found
  if (result.ok && !hasErrors && !lookOnly && plan !== undefined) {
    await run(dependencies, call, { scenario: result.scenario, lab: found.lab, plan, speed, signal })
  }
  if (!call.destroyed) call.end()
}

export const scenariosHandler =
  (dependencies: ChecksDependencies) =>
  (call: Call): void => {
    const gone = new AbortController()
    for (const event of ["cancelled", "close"] as const) call.once(event, () => gone.abort())
    let begun = false
    call.on("data", (request: ScenarioRequest) => {
      if (!("start" in request) || begun) return gone.abort()
      begun = true
      serve(dependencies, call, request.start, gone.signal).catch((error: unknown) => {
        if (call.destroyed) return
        const { code, details } = error instanceof CallError ? { code: error.code, details: error.message } : toStatus(error)
        call.emit("error", { code, details, message: details })
      })
    })
    call.on("end", () => {
      if (!begun) call.end()
    })
  }
