/** `Labs`: messages to model and back. What happens is the reconciler's. */
import type { ServerWritableStream } from "@grpc/grpc-js"
import type { CompileResult } from "../compiler/compile.ts"
import type { EventLog } from "../observe/events.ts"
import type { Step } from "../plan/diff.ts"
import type { Plan } from "../plan/resource.ts"
import type { Outcome, Reconciler, Watch } from "../reconciler/reconciler.ts"
import type { LabEntry } from "../store/store.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"
import type { TopologySource } from "../topology/parse.ts"
import { toInspect } from "./inspect.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

interface TopologyMessage {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
}

/** `compiler/load.ts` */
export type Load = (source: TopologySource) => CompileResult

interface Loaded {
  /** Absent when the diagnostics have errors. */
  readonly plan: Plan | undefined
  readonly diagnostics: ReadonlyArray<Diagnostic>
}

const loadTopology = (load: Load, topology: TopologyMessage | null): Loaded => {
  const { filename, content, lab } = topology ?? { filename: "", content: new Uint8Array(), lab: "" }
  const result = load({ filename: filename === "" ? "topology" : filename, content, ...(lab === "" ? {} : { lab }) })
  return result.ok ? { plan: result.plan, diagnostics: result.warnings } : { plan: undefined, diagnostics: result.diagnostics }
}

const toDiagnostic = (diagnostic: Diagnostic): object => ({ ...diagnostic, severity: diagnostic.severity.toUpperCase() })

const json = (value: unknown): string => (value === undefined ? "" : JSON.stringify(value))

export const toChange = (step: Step, host: string): object => ({
  action: step.action.toUpperCase(),
  id: step.id,
  kind: step.kind,
  node: step.node,
  attributes: step.attributes.map(({ path, before, after }) => ({ path, before: json(before), after: json(after) })),
  reason: step.reason,
  host
})

/** For progress: what and where; the attributes have been shown by the plan. */
const toBriefChange = (step: Step): object => ({ action: step.action.toUpperCase(), id: step.id, kind: step.kind, node: step.node })

export const toSummary = (entry: LabEntry, recovering: boolean): object => ({
  name: entry.name,
  state: recovering ? "recovering" : entry.state,
  nodes: entry.plan.nodes.length,
  segments: entry.plan.segments.length,
  deployedAt: entry.deployedAt,
  filename: entry.filename,
  error: entry.error ?? ""
})

const count = (steps: ReadonlyArray<Step>, action: Step["action"]): number => steps.filter((step) => step.action === action).length

type ProgressCall = ServerWritableStream<never, object>

/** Runs a change and tells the client about it; a client that has gone away does not stop it. */
const follow = async (
  call: ProgressCall,
  lab: string,
  diagnostics: ReadonlyArray<Diagnostic>,
  change: (watch: Watch) => Promise<Outcome>
): Promise<void> => {
  const started = performance.now()
  const write = (message: object): void => {
    if (!call.cancelled && !call.destroyed) call.write(message)
  }
  const failures: object[] = []
  const outcome = await change({
    planned: (steps) =>
      write({
        planned: {
          lab,
          diagnostics: diagnostics.map(toDiagnostic),
          creates: count(steps, "create"),
          updates: count(steps, "update"),
          replaces: count(steps, "replace"),
          removes: count(steps, "remove")
        }
      }),
    note: (message) => write({ note: { message } }),
    report: (step, error) => {
      const done = { change: toBriefChange(step), error: error?.message ?? "", blocked: error?.code === "blocked" }
      if (error !== undefined) failures.push({ ...done, change: toChange(step, "") })
      write({ change: done })
    }
  })
  if (outcome.failures.length === 0) {
    write({ done: { lab, changed: outcome.changed, durationMs: Math.round(performance.now() - started) } })
  } else {
    const first = outcome.failures[0]!
    const others = outcome.failures.length === 1 ? "" : ` (and ${outcome.failures.length - 1} more)`
    const reported = failures.length > 0 ? failures : outcome.failures.map(({ id, error }) => ({ change: { id }, error: error.message }))
    write({ failed: { message: `${first.error.message}${others}`, failures: reported, rolledBack: outcome.rolledBack } })
  }
}

const end = (call: ProgressCall, work: Promise<void>): void => {
  work.then(
    () => call.end(),
    // grpc-js turns this event into the call's status.
    (error) => call.emit("error", toStatus(error))
  )
}

const invalid = (call: ProgressCall, diagnostics: ReadonlyArray<Diagnostic>): void => {
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === "error").length
  call.write({ planned: { lab: "", diagnostics: diagnostics.map(toDiagnostic) } })
  call.write({ failed: { message: `the topology has ${errors} ${errors === 1 ? "error" : "errors"}`, invalidTopology: true } })
}

export interface LabsDependencies {
  readonly load: Load
  readonly reconciler: Reconciler
  readonly events: EventLog
  /** Name of this host. */
  readonly host: string
}

export const makeLabs = (dependencies: LabsDependencies) => {
  const { reconciler } = dependencies
  return handlers(dependencies, (entry) => toSummary(entry, reconciler.isRecovering(entry.name)))
}

const handlers = ({ load, reconciler, events, host }: LabsDependencies, summarise: (entry: LabEntry) => object) => ({
  validate: unary(toStatus, (request: { topology: TopologyMessage | null }) => {
    const { plan, diagnostics } = loadTopology(load, request.topology)
    const found = diagnostics.map(toDiagnostic)
    if (plan === undefined) return { diagnostics: found }
    return { diagnostics: found, lab: plan.lab, nodes: plan.nodes.length, segments: plan.segments.length, resources: plan.resources.length }
  }),

  plan: unary(toStatus, async (request: { topology: TopologyMessage | null }) => {
    const { plan, diagnostics } = loadTopology(load, request.topology)
    const found = diagnostics.map(toDiagnostic)
    if (plan === undefined) return { diagnostics: found }
    const { exists, steps } = await reconciler.plan(plan)
    return { diagnostics: found, lab: plan.lab, exists, changes: steps.map((step) => toChange(step, host)) }
  }),

  deploy: (call: ServerWritableStream<{ topology: TopologyMessage | null; rollback: boolean }, object>): void => {
    const { topology, rollback } = call.request
    const progress = call as unknown as ProgressCall
    const deploy = async (): Promise<void> => {
      const { plan, diagnostics } = loadTopology(load, topology)
      if (plan === undefined) return invalid(progress, diagnostics)
      const options = { filename: topology?.filename ?? "", rollback }
      await follow(progress, plan.lab, diagnostics, (watch) => reconciler.deploy(plan, options, watch))
    }
    end(progress, deploy())
  },

  destroy: (call: ServerWritableStream<{ lab: string }, object>): void => {
    const { lab } = call.request
    const progress = call as unknown as ProgressCall
    end(progress, follow(progress, lab, [], (watch) => reconciler.destroy(lab, watch)))
  },

  list: unary(toStatus, async () => ({ labs: (await reconciler.labs()).map(summarise) })),

  inspect: unary(toStatus, async (request: { lab: string }) => {
    const name = request.lab === "" ? await reconciler.onlyLab() : request.lab
    const { entry, drift, view } = await reconciler.inspect(name)
    return toInspect({ entry, drift, view, host, summary: summarise(entry), toChange: (step) => toChange(step, host) })
  }),

  events: (call: ServerWritableStream<{ lab: string; follow: boolean; last: number }, object>): void => {
    const { lab, follow: live, last } = call.request
    for (const event of events.last(lab, last)) call.write(event)
    if (!live) {
      call.end()
      return
    }
    // A client that does not read loses events rather than filling our memory.
    const stop = events.listen((event) => {
      if ((lab === "" || event.lab === lab) && call.writableLength < 1000) call.write(event)
    })
    call.once("cancelled", () => {
      stop()
      call.end()
    })
  }
})
