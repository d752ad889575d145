/**
 * A world for rehearsals whose time is its own: it goes on when nobody has anything to do, as fast as it can. Flows are made up:
 * each is answered but for the times in which a test cuts it.
 */
import type { Check } from "../../daemon/checks/suite.ts"
import { load } from "../../daemon/compiler/load.ts"
import type { Fault } from "../../daemon/plan/fault.ts"
import type { FaultControl } from "../../daemon/reconciler/fault-control.ts"
import type { Flow, Rehearsal } from "../../daemon/rehearsal/model.ts"
import { parseRehearsal, type RehearsalResult, type Surroundings } from "../../daemon/rehearsal/parse.ts"
import { runRehearsal } from "../../daemon/rehearsal/runner.ts"
import type { NamedFile } from "../../daemon/rehearsal/versions.ts"
import type { CommandOutcome, Conductor, Report, Told, World } from "../../daemon/rehearsal/world.ts"

const two = `name: two
nodes: { pc: { kind: host }, r: { kind: router }, db: { kind: host } }
links:
  - { endpoints: [pc:eth0, r:a], cidr: 10.1.0.0/24 }
  - { endpoints: [r:b, db:eth0], cidr: 10.2.0.0/24 }
`
const three = `name: other
nodes: { pc: { kind: host }, r: { kind: router }, db: { kind: host }, web: { kind: host } }
links:
  - { endpoints: [pc:eth0, r:a], cidr: 10.1.0.0/24 }
  - { endpoints: [r:b, db:eth0], cidr: 10.2.0.0/24 }
  - { endpoints: [r:c, web:eth0], cidr: 10.3.0.0/24 }
`

const file = (filename: string, content: string): NamedFile =>
  ({ filename, content: Buffer.from(content), missing: "", files: new Map(), unread: new Map() })

/** `two.weft.yaml` has pc, r and db; `three.weft.yaml` has web, too. */
export const files = (more: Readonly<Record<string, string>> = {}): ReadonlyMap<string, NamedFile> =>
  new Map(Object.entries({ "two.weft.yaml": two, "three.weft.yaml": three, ...more }).map(([name, content]) => [name, file(name, content)]))

export const parse = (content: string, more: Partial<Surroundings> = {}): RehearsalResult =>
  parseRehearsal({ filename: "test.rehearsal.yaml", content }, { files: files(), load, deployed: new Map(), ...more })

export const rehearsal = (content: string, more: Partial<Surroundings> = {}): Rehearsal => {
  const result = parse(content, more)
  if (!result.ok) throw new Error(result.diagnostics.map(({ line, message, path }) => `${line}: ${path}: ${message}`).join("\n"))
  return result.rehearsal
}

const reportMs = 200
const timeoutMs = 1000

interface Timer {
  readonly atMs: number
  readonly run: () => void
}

interface Cut {
  readonly fromMs: number
  toMs: number
}

interface Watched {
  readonly flow: Flow & { readonly index: number }
  readonly sinceMs: number
  readonly told: Set<Cut>
}

/** What a test may have go wrong, and what may happen at which call: `NAME NUMBER`, from 1. */
export type Happening = () => unknown

export class FakeWorld implements World {
  nowMs = 1_000_000
  /** What answers take. */
  latencyMs = 1
  /** Every call, in order. */
  readonly calls: Array<string> = []
  readonly events: Array<Told> = []
  readonly stop = new AbortController()
  readonly happenings = new Map<string, Happening>()
  inForce: Array<Fault> = []
  /** Nodes that are missing. */
  missing: ReadonlyArray<string> = []
  exits: CommandOutcome = { code: 0, stdout: "", stderr: "", timedOut: false }
  passes = true
  proceeding: (() => void) | undefined
  probing = 0
  leases = 0
  readonly #timers: Array<Timer> = []
  readonly #cuts = new Map<string, Array<Cut>>()
  readonly #counts = new Map<string, number>()
  #faults = 0

  readonly now = (): number => this.nowMs

  readonly sleep = (ms: number, signal: AbortSignal): Promise<void> => new Promise((resolve) => {
    if (signal.aborted) return resolve()
    this.at(this.nowMs + ms, resolve)
    signal.addEventListener("abort", () => resolve())
  })

  at(atMs: number, run: () => void): void {
    this.#timers.push({ atMs, run })
    this.#timers.sort((a, b) => a.atMs - b.atMs)
  }

  /** The flow is not answered from now on, for so long. */
  cut(title: string, ms: number, inMs = 0): void {
    const cuts = this.#cuts.get(title) ?? []
    this.#cuts.set(title, cuts)
    cuts.push({ fromMs: this.nowMs + inMs, toMs: this.nowMs + inMs + ms })
  }

  /** Lets time go on until the promise is settled. */
  async pass<A>(promise: Promise<A>): Promise<A> {
    let isSettled = false
    promise.then(() => (isSettled = true), () => (isSettled = true))
    for (let idle = 0; ; ) {
      await new Promise((resolve) => setImmediate(resolve))
      if (isSettled) return promise
      const next = this.#timers.shift()
      if (next === undefined && ++idle > 100) throw new Error(`nothing happens any more: ${this.calls.at(-1)}`)
      if (next === undefined) continue
      idle = 0
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
  }

  /** Runs a rehearsal to its end. */
  async run(what: Rehearsal, more: Partial<Pick<Conductor, "keep" | "pauseBeforeEach">> = {}): Promise<string> {
    const conductor: Conductor = {
      stop: this.stop.signal, keep: false, pauseBeforeEach: false, ...more,
      proceed: () => new Promise((resolve) => {
        this.proceeding = resolve
        this.stop.signal.addEventListener("abort", () => resolve())
        if (this.stop.signal.aborted) resolve()
      })
    }
    return this.pass(runRehearsal(what, this, conductor, (event) => {
      this.events.push(event)
      for (const kind of Object.keys(event)) this.happenings.get(`${kind} told`)?.()
    }))
  }

  async #call(name: string, detail = ""): Promise<void> {
    const count = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, count)
    this.calls.push(`${name} ${detail}`.trim())
    await new Promise<void>((resolve) => this.at(this.nowMs + 10, resolve))
    this.happenings.get(`${name} ${count}`)?.()
  }

  readonly deploy: World["deploy"] = async ({ filename }) => {
    await this.#call("deploy", filename)
    return []
  }

  readonly destroy: World["destroy"] = async (lab) => {
    await this.#call("destroy", lab)
    return []
  }

  readonly inspect: World["inspect"] = async () => {
    await this.#call("inspect")
    return { nodes: this.missing.map((name) => ({ name, state: "missing", faults: [] })) }
  }

  readonly exec: World["exec"] = async (_lab, _plan, node) => {
    await this.#call("exec", node)
    return this.exits
  }

  readonly checks: World["checks"] = async (_lab, _plan, checks, { told }) => {
    await this.#call("check", checks.map(({ name }) => name).join(", "))
    for (const check of checks) told(this.#result(check))
  }

  #result(check: Check) {
    const verdict = { passed: this.passes, expected: check.name, seen: "something else" }
    return { check, isError: false, attempts: 1, durationMs: 1, verdict }
  }

  readonly probe: World["probe"] = async (_lab, flows, told) => {
    await this.#call("probe", flows.map(({ title }) => title).join(", "))
    const watched = flows.map((flow): Watched => ({ flow, sinceMs: this.nowMs, told: new Set() }))
    let isOver = false
    this.probing++
    const report = (): void => {
      if (isOver) return
      told(watched.map((one) => this.#report(one)))
      this.at(this.nowMs + reportMs, report)
    }
    this.at(this.nowMs + reportMs, report)
    const end = (): void => {
      if (!isOver) this.probing--
      isOver = true
    }
    return { end }
  }

  /** As real flows do, it takes the time-out until a probe is known to be lost. */
  #report({ flow, sinceMs, told }: Watched): Report {
    const now = this.nowMs
    const { spacingMs } = flow
    const cuts = (this.#cuts.get(flow.title) ?? []).map((cut) => ({ cut, fromMs: Math.max(cut.fromMs, sinceMs), toMs: cut.toMs }))
    const known = cuts.filter(({ cut, fromMs }) => fromMs + timeoutMs <= now && !told.has(cut))
    const outages = known.map(({ cut, fromMs, toMs }) => {
      const lasts = now < toMs
      if (!lasts) told.add(cut)
      const lengthMs = (lasts ? now : toMs) - fromMs
      return { startMs: fromMs, lengthMs, lost: Math.round(lengthMs / spacingMs), lasts }
    })
    const lostMs = cuts.reduce((sum, { fromMs, toMs }) => sum + Math.max(0, Math.min(now, toMs) - fromMs), 0)
    const pending = cuts.filter(({ fromMs, toMs }) => now > fromMs && now < toMs + timeoutMs)
    const sent = Math.round((now - sinceMs) / spacingMs)
    return {
      flow: flow.index, error: "", sent, lost: Math.round(lostMs / spacingMs), received: sent - Math.round(lostMs / spacingMs), outages,
      latency: { p99: 1 }, slowest: { atMs: now, latencyMs: this.latencyMs }, blindMs: 0,
      pendingMs: Math.max(1, ...pending.map(({ fromMs }) => Math.min(now - fromMs, timeoutMs)))
    }
  }

  readonly faults: FaultControl = {
    inject: async (_lab, orders) => {
      await this.#call("inject", orders.map(({ kind }) => kind).join(", "))
      const injectedAt = new Date(this.nowMs).toISOString()
      const faults = orders.map(({ forMs, ...order }): Fault => ({
        ...order, id: `f${++this.#faults}`, title: order.kind, injectedAt,
        ...(forMs === undefined ? {} : { until: new Date(this.nowMs + forMs).toISOString() })
      }))
      this.inForce.push(...faults)
      for (const fault of faults) {
        if (fault.until !== undefined) this.at(Date.parse(fault.until), () => (this.inForce = this.inForce.filter((one) => one !== fault)))
      }
      return { faults, changed: faults.length, failures: [] }
    },
    heal: async (_lab, which) => {
      await this.#call("heal")
      const isMeant = (fault: Fault): boolean =>
        which === "all" || ("ids" in which ? which.ids.includes(fault.id) : fault.lease === which.lease)
      const healed = this.inForce.filter(isMeant)
      this.inForce = this.inForce.filter((fault) => !isMeant(fault))
      return { faults: healed, changed: healed.length, failures: [] }
    },
    faults: async () => this.inForce,
    lease: () => {
      this.leases++
      return {
        id: "here/1",
        end: async () => {
          await this.#call("end lease")
          this.leases--
          this.inForce = this.inForce.filter(({ lease }) => lease !== "here/1")
        }
      }
    }
  }
}

/** The events of one kind. */
export const told = <K extends string>(world: FakeWorld, kind: K) =>
  world.events.flatMap((event) => (kind in event ? [(event as Record<string, unknown>)[kind]] : [])) as ReadonlyArray<
    Extract<Told, Record<K, unknown>>[K & keyof Extract<Told, Record<K, unknown>>]
  >
