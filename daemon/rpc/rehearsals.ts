/**
 * `Rehearsals.Run`: a rehearsal against a lab, told to the client as it happens.
 *
 *     start --> read all files: planned --> rehearsal/runner.ts --events--> client
 *     proceed, stop ------------------------------^   over the lab's control, faults, probes and checks
 *
 * The run outlives its client: whoever goes away has stopped it, and it ends in an orderly manner all the same. So does the daemon
 * when it is asked to end; when it dies, the faults' lease heals them, and the client has the rest done (ctl/commands/rehearse.ts).
 */
import { type ServerDuplexStream, status } from "@grpc/grpc-js"
import { setTimeout as sleep } from "node:timers/promises"
import { runChecks } from "../checks/runner.ts"
import type { Plan } from "../plan/resource.ts"
import { type ChangeFailure, type ChangeWatch, type LabControl, Refused, Unplaceable } from "../reconciler/control.ts"
import type { FaultControl } from "../reconciler/fault-control.ts"
import type { Flow, Rehearsal, Version } from "../rehearsal/model.ts"
import { parseRehearsal, type RehearsalResult } from "../rehearsal/parse.ts"
import { plannedOf } from "../rehearsal/planned.ts"
import { runRehearsal } from "../rehearsal/runner.ts"
import { type NamedFile, nodesIn } from "../rehearsal/versions.ts"
import type { Conductor, Report, World } from "../rehearsal/world.ts"
import { callerOf } from "./access.ts"
import { checkLab, type CheckLabDependencies } from "./check-lab.ts"
import { type Load, toDiagnostic } from "./labs.ts"
import type { makeProbes } from "./probes.ts"
import { EventWriter } from "./rehearsal-events.ts"
import { toStatus } from "./status.ts"

export interface RehearsalsDependencies extends CheckLabDependencies {
  readonly load: Load
  readonly control: LabControl
  /** With what their topologies say, whatever faults they have. */
  readonly labs: () => Promise<ReadonlyArray<{ readonly name: string; readonly plan: Plan }>>
  readonly watch: ReturnType<typeof makeProbes>["watch"]
}

interface FileMessage {
  readonly filename: string
  readonly content: Uint8Array
  readonly missing: string
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly unread: Readonly<Record<string, string>>
}

interface Start {
  readonly filename: string
  readonly content: Uint8Array
  readonly files: Readonly<Record<string, FileMessage>>
  readonly lab: string
  readonly keep: boolean
  readonly lookOnly: boolean
  readonly pauseBeforeEach: boolean
}

type Request = { readonly start: Start } | { readonly proceed: object } | { readonly stop: object }

type Call = ServerDuplexStream<Request, object>

/** A call that fails, with its status. */
class CallError extends Error {
  readonly code: status
  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

/** How long a change waits for others of the lab: faults come and go by themselves. */
const patienceMs = 30_000
const busyPauseMs = 200

const patiently = async <A>(change: () => Promise<A>): Promise<A> => {
  const deadline = performance.now() + patienceMs
  for (;;) {
    try {
      return await change()
    } catch (error) {
      if (!(error instanceof Refused && error.code === "busy") || performance.now() > deadline) throw error
      await sleep(busyPauseMs)
    }
  }
}

const linesOf = (failures: ReadonlyArray<ChangeFailure>): ReadonlyArray<string> =>
  failures.filter(({ blocked }) => !blocked).map(({ error, host, id }) => [host, id, error].filter((word) => word !== "").join(": "))

/** Tells how far a change is: resources where this host makes them, hosts where there are several. */
const watching = (progress: (text: string) => void): ChangeWatch => {
  let total = 0
  let done = 0
  const hosts = new Map<string, string>()
  return {
    planned: ({ creates, removes, replaces, updates }) => (total = creates + removes + replaces + updates),
    report: () => progress(`${++done} of ${Math.max(total, done)} changes`),
    host: ({ done: those, host, state, total: all }) => {
      hosts.set(host, `${host} ${state}${all === 0 ? "" : ` ${those}/${all}`}`)
      progress([...hosts.values()].join(", "))
    },
    note: progress
  }
}

/** Milliseconds since 1970, as flows count them, that go on evenly whatever is done to the machine's clock. */
const makeClock = (): (() => number) => {
  // The clock has whole milliseconds: the largest difference of a few looks is nearest to the truth.
  const looks = Array.from({ length: 200 }, () => Date.now() - performance.now())
  const sinceMs = Math.max(...looks)
  return () => sinceMs + performance.now()
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  signal.aborted ? Promise.resolve() : sleep(ms, undefined, { signal }).catch(() => undefined)

/** A `FlowSpec`; what a flow does not say is as the protocol has it. */
const toSpec = ({ afterAction: _, fromStep: __, title: ___, untilStep: ____, ...spec }: Flow) => ({
  port: 0, path: "", host: "", expect: "", name: "", type: "", answeredBy: "", rate: 0, ...spec
})

type FlowMessage = object & { readonly flow: number; readonly error?: string; readonly slowest?: Report["slowest"] }

/** Of a flow that could not even begin. */
const never = { sent: 0, received: 0, lost: 0, latency: null, slowest: null, outages: [], pendingMs: 0, blindMs: 0 }

const worldOf = (dependencies: RehearsalsDependencies, faults: FaultControl, caller: string): World => {
  const { control, watch } = dependencies
  const labAs = (lab: string, plan: Plan) => checkLab(dependencies, { lab, nodes: nodesIn(plan), caller })
  return {
    faults,
    now: makeClock(),
    sleep: pause,
    deploy: async ({ filename, plan }: Version, progress) => {
      try {
        const { failures } = await patiently(() => control.deploy(plan, { filename, rollback: false }, watching(progress)))
        return linesOf(failures)
      } catch (error) {
        if (!(error instanceof Unplaceable)) throw error
        return error.diagnostics.map(({ message }) => message)
      }
    },
    destroy: async (lab) => {
      try {
        return linesOf((await patiently(() => control.destroy(lab, watching(() => {})))).failures)
      } catch (error) {
        // It could not be deployed, or somebody was faster.
        if (error instanceof Refused && error.code === "not-found") return []
        throw error
      }
    },
    inspect: (lab) => control.inspect(lab),
    probe: async (lab, flows, told) => {
      const ended = new AbortController()
      const toReport = (message: FlowMessage): Report =>
        ({ ...never, ...message, slowest: message.slowest ?? null, error: message.error ?? "", flow: flows[message.flow]!.index })
      const order = {
        request: { lab, flows: flows.map(toSpec), reportMs: 0 },
        caller,
        take: async (reports: { readonly flows: ReadonlyArray<FlowMessage> }) => {
          if (!ended.signal.aborted) told(reports.flows.map(toReport))
        }
      }
      watch(order, ended.signal).catch((error: unknown) => {
        if (!ended.signal.aborted) told(flows.map(({ index }) => ({ ...never, flow: index, error: (error as Error).message })))
      })
      return { end: () => ended.abort() }
    },
    exec: (lab, plan, node, argv, { signal, timeoutMs }) => {
      const stopped = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("it was stopped"))))
      return Promise.race([labAs(lab, plan).ask(node, "exec", { argv, timeoutMs }), stopped])
    },
    checks: (lab, plan, checks, options) => runChecks(checks, labAs(lab, plan), options)
  }
}

const fileOf = ({ content, filename, files, missing, unread }: FileMessage): NamedFile =>
  ({ filename, content, missing, files: new Map(Object.entries(files)), unread: new Map(Object.entries(unread)) })

const nameOf = ({ filename }: Start): string => (filename === "" ? "rehearsal" : filename)

const parsed = async ({ labs, load }: RehearsalsDependencies, start: Start): Promise<RehearsalResult> =>
  parseRehearsal({ filename: nameOf(start), content: start.content }, {
    files: new Map(Object.entries(start.files).map(([name, file]) => [name, fileOf(file)])),
    load,
    deployed: new Map((await labs()).map(({ name, plan }) => [name, plan])),
    ...(start.lab === "" ? {} : { lab: start.lab })
  })

interface Running {
  readonly stop: AbortController
  readonly over: Promise<void>
}

/** What a client has asked for since `start`. */
class Conducting {
  readonly stop: AbortController
  #waiting: (() => void) | undefined
  /** Nobody will say that a pause is over. */
  #isAlone = false

  constructor(stop: AbortController) {
    this.stop = stop
    stop.signal.addEventListener("abort", () => this.#waiting?.())
  }

  take(request: Request): void {
    if ("stop" in request) this.stop.abort()
    else if ("proceed" in request) this.#waiting?.()
  }

  leave(): void {
    this.#isAlone = true
    this.#waiting?.()
  }

  readonly proceed = (): Promise<void> =>
    this.stop.signal.aborted || this.#isAlone ? Promise.resolve() : new Promise((resolve) => {
      this.#waiting = resolve
    })
}

export const makeRehearsals = (dependencies: RehearsalsDependencies) => {
  const running = new Map<string, Running>()
  let closing = false

  const begin = async (call: Call, start: Start, conducting: Conducting): Promise<void> => {
    const result = await parsed(dependencies, start)
    const diagnostics = (result.ok ? result.warnings : result.diagnostics).map(toDiagnostic)
    const planned = result.ok ? { diagnostics, ...plannedOf(result.rehearsal) } : { diagnostics, name: nameOf(start) }
    const writer = new EventWriter(call as ServerDuplexStream<never, object>)
    const { faults, forwarding } = dependencies
    if (!result.ok || start.lookOnly) return void call.write({ atMs: Date.now(), planned })
    const { rehearsal } = result
    if (faults === undefined) throw new CallError(status.UNIMPLEMENTED, "This weftd cannot inject faults")
    await refuseBusy(rehearsal)
    call.write({ atMs: Date.now(), planned })
    const world = worldOf(dependencies, faults, callerOf(call, forwarding?.here ?? "this host"))
    const conductor: Conductor =
      { stop: conducting.stop.signal, proceed: conducting.proceed, pauseBeforeEach: start.pauseBeforeEach, keep: start.keep }
    const over = runRehearsal(rehearsal, world, conductor, writer.tell).then(() => undefined)
    running.set(rehearsal.lab, { stop: conducting.stop, over })
    await over.finally(() => running.delete(rehearsal.lab))
  }

  const refuseBusy = async ({ deploys, lab }: Rehearsal): Promise<void> => {
    if (closing) throw new Refused("busy", "weftd is stopping")
    if (running.has(lab)) throw new Refused("busy", `Lab "${lab}" is being rehearsed already`)
    if (!deploys || !(await dependencies.labs()).some(({ name }) => name === lab)) return
    throw new CallError(status.FAILED_PRECONDITION,
      `Lab "${lab}" is deployed already: destroy it first, or rehearse with it as it is and stays, with --lab ${lab}`)
  }

  const run = (call: Call): void => {
    const conducting = new Conducting(new AbortController())
    for (const event of ["cancelled", "close"] as const) call.once(event, () => conducting.stop.abort())
    let begun = false
    call.on("data", (request: Request) => {
      if (begun || !("start" in request)) return conducting.take(request)
      begun = true
      begin(call, request.start, conducting).then(() => !call.destroyed && call.end(), (error: unknown) => {
        if (call.destroyed) return
        const { code, details } = error instanceof CallError ? { code: error.code, details: error.message } : toStatus(error)
        call.emit("error", { code, details, message: details })
      })
    })
    call.on("end", () => (begun ? conducting.leave() : call.end()))
  }

  return {
    handlers: { run },
    /** Stops all, and waits until their labs are as they should be. */
    end: async (): Promise<void> => {
      closing = true
      for (const { stop } of running.values()) stop.abort()
      await Promise.all([...running.values()].map(({ over }) => over))
    }
  }
}
