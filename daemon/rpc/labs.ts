/** `Labs`: messages to model and back. What happens is the control's: of one host, or of many. */
import type { ServerWritableStream } from "@grpc/grpc-js"
import type { CompileResult } from "../compiler/compile.ts"
import type { Step } from "../plan/diff.ts"
import type { Plan } from "../plan/resource.ts"
import { type ChangeFailure, type ChangeOutcome, type ChangeWatch, type LabControl, Unplaceable } from "../reconciler/control.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"
import type { TopologySource } from "../topology/parse.ts"
import type { EventsCall } from "./events.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

/** `weft.v1.Topology` */
export interface TopologyMessage {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly unread: Readonly<Record<string, string>>
}

/** `compiler/load.ts` */
export type Load = (source: TopologySource) => CompileResult

interface Loaded {
  /** Absent when the diagnostics have errors. */
  readonly plan: Plan | undefined
  readonly diagnostics: ReadonlyArray<Diagnostic>
}

export const loadTopology = (load: Load, topology: TopologyMessage | null): Loaded => {
  const { filename = "", content = new Uint8Array(), lab = "", files = {}, unread = {} } = topology ?? {}
  const beside = { files: new Map(Object.entries(files)), unread: new Map(Object.entries(unread)) }
  const result = load({ filename: filename === "" ? "topology" : filename, content, ...beside, ...(lab === "" ? {} : { lab }) })
  return result.ok ? { plan: result.plan, diagnostics: result.warnings } : { plan: undefined, diagnostics: result.diagnostics }
}

export const toDiagnostic = (diagnostic: Diagnostic): object => ({ ...diagnostic, severity: diagnostic.severity.toUpperCase() })

/** For progress: what and where; the attributes have been shown by the plan. */
const toBriefChange = (step: Step): object => ({ action: step.action.toUpperCase(), id: step.id, kind: step.kind, node: step.node })

const toFailure = ({ id, host, error, blocked, change }: ChangeFailure): object => ({
  change: { ...(change ?? { id }), host },
  error,
  blocked
})

export type ProgressCall = ServerWritableStream<never, object>

/** Runs a change and tells the client about it; a client that has gone away does not stop it. */
export const follow = async (
  call: ProgressCall,
  lab: string,
  diagnostics: ReadonlyArray<Diagnostic>,
  change: (watch: ChangeWatch) => Promise<ChangeOutcome>
): Promise<void> => {
  const started = performance.now()
  const write = (message: object): void => {
    if (!call.cancelled && !call.destroyed) call.write(message)
  }
  const { changed, failures, rolledBack } = await change({
    planned: (counts) => write({ planned: { lab, diagnostics: diagnostics.map(toDiagnostic), ...counts } }),
    note: (message) => write({ note: { message } }),
    host: (host) => write({ host }),
    report: (step, error) => {
      write({ change: { change: toBriefChange(step), error: error?.message ?? "", blocked: error?.code === "blocked" } })
    }
  })
  const [first, ...others] = failures
  if (first === undefined) {
    write({ done: { lab, changed, durationMs: Math.round(performance.now() - started) } })
  } else {
    const more = others.length === 0 ? "" : ` (and ${others.length} more)`
    write({ failed: { message: `${first.error}${more}`, failures: failures.map(toFailure), rolledBack } })
  }
}

export const end = (call: ProgressCall, work: Promise<void>): void => {
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
  readonly control: LabControl
  /** `Labs.Events`, see events.ts. */
  readonly events: (call: EventsCall) => void
}

export const makeLabs = ({ control, events, load }: LabsDependencies) => ({
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
    try {
      return { diagnostics: found, lab: plan.lab, ...(await control.plan(plan, request.topology?.filename)) }
    } catch (error) {
      if (error instanceof Unplaceable) return { diagnostics: [...found, ...error.diagnostics.map(toDiagnostic)] }
      throw error
    }
  }),

  deploy: (call: ServerWritableStream<{ topology: TopologyMessage | null; rollback: boolean }, object>): void => {
    const { topology, rollback } = call.request
    const progress = call as unknown as ProgressCall
    const deploy = async (): Promise<void> => {
      const { plan, diagnostics } = loadTopology(load, topology)
      if (plan === undefined) return invalid(progress, diagnostics)
      const options = { filename: topology?.filename ?? "", rollback }
      try {
        await follow(progress, plan.lab, diagnostics, (watch) => control.deploy(plan, options, watch))
      } catch (error) {
        if (!(error instanceof Unplaceable)) throw error
        invalid(progress, [...diagnostics, ...error.diagnostics])
      }
    }
    end(progress, deploy())
  },

  destroy: (call: ServerWritableStream<{ lab: string }, object>): void => {
    const { lab } = call.request
    const progress = call as unknown as ProgressCall
    end(progress, follow(progress, lab, [], (watch) => control.destroy(lab, watch)))
  },

  list: unary(toStatus, () => control.labs()),

  inspect: unary(toStatus, ({ lab }: { lab: string }) => control.inspect(lab)),

  events
})
