/** `Checks.Run`: a suite against a lab; results go to the client as they are known. A client that goes away ends the run. */
import { type ServerWritableStream, status } from "@grpc/grpc-js"
import type { LabNode } from "../checks/lab.ts"
import { nodesOf } from "../checks/nodes.ts"
import { type Result, runChecks } from "../checks/runner.ts"
import { parseSuite, type Suite, type SuiteResult, withLabels } from "../checks/suite.ts"
import { fileIn } from "../faults/files.ts"
import { PeerError } from "../fleet/peer-clients.ts"
import type { Plan } from "../plan/resource.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"
import { callerOf } from "./access.ts"
import { checkLab, type CheckLabDependencies } from "./check-lab.ts"
import { taken } from "./forward.ts"
import { type Load, loadTopology, toDiagnostic, type TopologyMessage } from "./labs.ts"
import { toStatus } from "./status.ts"

export interface ChecksDependencies extends CheckLabDependencies {
  readonly load: Load
  readonly labs: () => Promise<ReadonlyArray<{ readonly name: string; readonly plan: Plan }>>
  /** Name of the lab that is meant when none is named. @throws Refused when there is not exactly one */
  readonly onlyLab: () => Promise<string>
}

interface CheckRequest {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
  readonly topology: TopologyMessage | null
  readonly only: ReadonlyArray<string>
  readonly lookOnly: boolean
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly unread: Readonly<Record<string, string>>
}

type Call = ServerWritableStream<CheckRequest, object>

/** A call that fails, with its status. */
class CallError extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

/** The lab's nodes, and what is wrong with the topology that they come from. */
interface Found {
  readonly lab: string
  readonly nodes: ReadonlyMap<string, LabNode> | undefined
  /** Without faults. */
  readonly plan: Plan | undefined
  readonly diagnostics: ReadonlyArray<Diagnostic>
}

const refuse = (error: unknown, named: SuiteResult): string => {
  if (named.ok) throw error
  return ""
}

const findLab = async ({ labs, load, onlyLab }: ChecksDependencies, request: CheckRequest, named: SuiteResult): Promise<Found> => {
  if (request.topology !== null && request.topology !== undefined) {
    const { diagnostics, plan } = loadTopology(load, request.topology)
    return { lab: plan?.lab ?? "", nodes: plan === undefined ? undefined : nodesOf(plan), plan, diagnostics }
  }
  const topology = named.ok ? named.suite.topology : named.topology
  if (request.lookOnly && request.lab === "" && topology !== undefined) {
    return { lab: "", nodes: undefined, plan: undefined, diagnostics: [] }
  }
  const own = named.ok ? named.suite.lab : named.lab
  // What is wrong with the suite is told, whatever labs there are.
  const lab = request.lab !== "" ? request.lab : (own ?? await onlyLab().catch((error: unknown) => refuse(error, named)))
  const entry = (await labs()).find(({ name }) => name === lab)
  if (entry === undefined && !named.ok) return { lab: "", nodes: undefined, plan: undefined, diagnostics: [] }
  if (entry === undefined) throw new CallError(status.NOT_FOUND, `No lab "${lab}"`)
  return { lab, nodes: nodesOf(entry.plan), plan: entry.plan, diagnostics: [] }
}

const outcomeOf = ({ check, verdict }: Result): string =>
  verdict.passed ? "passed" : check.severity === "warning" ? "warning" : "failed"

/** A `CheckResult`. */
export const toResult = (result: Result): object => {
  const { attempts, check, durationMs, isError, verdict } = result
  const { column, index, kind, labels, line, name } = check
  const { details = [], expected, seen, where = "" } = verdict
  const outcome = outcomeOf(result)
  return { index, name, kind, line, column, outcome, error: isError, expected, seen, where, details, attempts, durationMs, labels }
}

const run = async (dependencies: ChecksDependencies, call: Call, suite: Suite, { lab, nodes }: Found): Promise<void> => {
  const began = performance.now()
  const gone = new AbortController()
  for (const event of ["cancelled", "close"] as const) call.once(event, () => gone.abort())
  const counts = { passed: 0, failed: 0, warnings: 0 }
  const told = (result: Result): void => {
    const outcome = outcomeOf(result)
    counts[outcome === "warning" ? "warnings" : outcome === "passed" ? "passed" : "failed"]++
    if (!call.destroyed && !call.cancelled) call.write({ result: toResult(result) })
  }
  const asked = checkLab(dependencies, { lab, nodes: nodes!, caller: callerOf(call, dependencies.forwarding?.here ?? "this host") })
  await runChecks(suite.checks, asked, { parallel: suite.parallel, signal: gone.signal, told })
  if (!call.destroyed) call.write({ done: { ...counts, durationMs: performance.now() - began } })
}

const serve = async (dependencies: ChecksDependencies, call: Call): Promise<void> => {
  const { request } = call
  const source = { filename: request.filename === "" ? "suite" : request.filename, content: request.content }
  const fileOf = fileIn(new Map(Object.entries(request.files)), new Map(Object.entries(request.unread)))
  const alone = parseSuite(source, { fileOf })
  const own = alone.ok ? alone.suite.lab : alone.lab
  const deployed = request.lab === "" && own !== undefined ? (await dependencies.labs()).map(({ name }) => name) : undefined
  const named = deployed === undefined ? alone : parseSuite(source, { fileOf, deployed })
  const found = await findLab(dependencies, request, named)
  const parsed = found.nodes === undefined ? named : parseSuite(source, { fileOf, deployed, nodes: found.nodes, plan: found.plan })
  const diagnostics = [...(parsed.ok ? [] : parsed.diagnostics), ...found.diagnostics].map(toDiagnostic)
  const topology = (named.ok ? named.suite.topology : named.topology) ?? ""
  const hasErrors = !parsed.ok || found.diagnostics.some(({ severity }) => severity === "error")
  if (!parsed.ok || hasErrors) {
    call.write({ planned: { diagnostics, suite: source.filename, lab: found.lab, topology, total: 0 } })
    return void call.end()
  }
  const checks = withLabels(parsed.suite.checks, request.only)
  if (checks.length === 0) {
    const labels = [...new Set(parsed.suite.checks.flatMap((check) => check.labels))]
    const known = labels.length === 0 ? "no check has labels" : `there are ${labels.join(", ")}`
    throw new CallError(status.INVALID_ARGUMENT, `No check has the label ${request.only.join(" or ")}: ${known}`)
  }
  const suite = { ...parsed.suite, checks }
  await taken(call, { planned: { diagnostics, suite: suite.name, lab: found.lab, topology, total: checks.length, checks } })
  if (!request.lookOnly) await run(dependencies, call, suite, found)
  if (!call.destroyed) call.end()
}

export const checksHandler =
  (dependencies: ChecksDependencies) =>
  (call: Call): void => {
    serve(dependencies, call).catch((error: unknown) => {
      if (call.destroyed) return
      const known = error instanceof CallError || error instanceof PeerError
      const { code, details } = known ? { code: error.code, details: error.message } : toStatus(error)
      call.emit("error", { code, details, message: details })
    })
  }
