/**
 * The one loop that makes labs be what they should be.
 *
 *     desired (store) --+
 *                       +--> diff --> apply --> look again --> until nothing differs
 *     observed (kernel)-+
 *
 * Deploying, changing, repairing after a crash and destroying all go through `converge`; they differ only in what is
 * desired. The store is written before the kernel is touched, so a daemon that is killed at any moment finds on its next
 * start what it was about, and `recover` does the rest.
 *
 * One change of a lab at a time (`turns.ts`). Different labs go side by side.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { isDeepStrictEqual } from "node:util"
import { KernelError, reasonOf } from "../linux/errors.ts"
import * as HostLimits from "../linux/host-limits.ts"
import * as Memory from "../linux/memory.ts"
import type { EventLog } from "../observe/events.ts"
import { diff, type Observed, type Step } from "../plan/diff.ts"
import { handOver } from "../plan/handover.ts"
import { bookOf, withFaults } from "../faults/ledger.ts"
import { baseOf, type Faulted } from "../plan/fault.ts"
import { kindOrder } from "../plan/order.ts"
import type { Kind, Plan, Remembered, Resource } from "../plan/resource.ts"
import { allocateVnis, vnisOf } from "../plan/vni.ts"
import { Lab, type Daemon } from "../resources/lab.ts"
import type { Failure, Handler } from "../resources/handler.ts"
import * as Snapshot from "../resources/snapshot.ts"
import { handlers } from "../resources/table.ts"
import type { LabEntry, LabState, Store } from "../store/store.ts"
import { apply, type Report } from "./apply.ts"
import { onlyLabOf, Refused } from "./control.ts"
import { faultNotes } from "./inspection.ts"
import { settleSessions } from "./sessions.ts"
import { sweep } from "./sweep.ts"
import { Turns } from "./turns.ts"
import { viewOf, type LabView } from "./view.ts"

const countOf = (changes: number): string => `${changes} ${changes === 1 ? "change" : "changes"}`

export interface Outcome {
  /** How many resources were made, changed or removed. */
  readonly changed: number
  readonly failures: ReadonlyArray<Failure>
  readonly rolledBack: boolean
}

export interface Watch {
  /** Before anything is touched. */
  readonly planned: (steps: ReadonlyArray<Step>) => void
  readonly report: Report
  /** Something that a person wants to know. */
  readonly note: (message: string) => void
}

export interface DeployOptions {
  readonly filename: string
  readonly rollback: boolean
  /** The plan is this host's part of that generation: its VNIs are given by whoever planned for all hosts. */
  readonly generation?: number
  /** Only faults came or went: nobody waits until BGP has settled, and it is no news. */
  readonly faultsOnly?: boolean
}

/** How the faults of a lab are to change. */
export interface Alteration {
  readonly book: Faulted
  /** A plan to go through first. */
  readonly before?: Plan
  /** When the kernel refuses something that it changes, the lab goes back to what it was. */
  readonly rollback: boolean
}

/** What goes on while a lab's entry is made true. */
interface Going extends Watch {
  /** See `DeployOptions.faultsOnly`. */
  readonly faultsOnly?: boolean
}

/** After this many rounds, what still differs is a failure. Two are the rule: one that works, one that finds nothing. */
const maxRounds = 4

const releaseAfterMs = 200
const recoveryPatienceMs = 5000

const silent: Watch = { planned: () => {}, report: () => {}, note: () => {} }

const emptyPlan = (lab: string): Plan => ({ lab, nodes: [], segments: [], resources: [] })

const byId = (resources: ReadonlyArray<Resource>): ReadonlyMap<string, Resource> =>
  new Map(resources.map((resource) => [resource.id, resource]))

/** Without what is there twice. Several versions of one resource stay: the kernel may have something of each. */
const distinct = (resources: ReadonlyArray<Resource>): ReadonlyArray<Resource> => {
  const versions = new Map(resources.map((resource) => [`${resource.id} ${JSON.stringify(resource.spec)}`, resource]))
  return [...versions.values()]
}

export class Reconciler {
  private readonly turns = new Turns()
  private readonly daemon: Daemon
  private readonly store: Store
  private readonly events: EventLog
  /** The daemon is ending: nothing new is begun. */
  private closing = false
  private release: NodeJS.Timeout | undefined
  private placing: Promise<unknown> = Promise.resolve()
  /** Labs that start-up is still about, or that are being mended unasked: who wants to change one waits. */
  private readonly recovering = new Map<string, Promise<void>>()

  constructor(parts: { daemon: Daemon; store: Store; events: EventLog }) {
    this.daemon = parts.daemon
    this.store = parts.store
    this.events = parts.events
  }

  /** What `deploy` would do. `isPart`: the plan's VNIs are given. */
  async plan(plan: Plan, isPart = false): Promise<{
    readonly exists: boolean
    readonly steps: ReadonlyArray<Step>
    readonly notes: ReadonlyArray<string>
  }> {
    await this.recovered(plan.lab)
    const entry = await this.store.lab(plan.lab)
    const base = isPart ? plan : await this.placed(plan, entry)
    const book = withFaults(base, entry?.faults ?? [])
    const desired = book.plan
    const steps = await this.observing(desired, entry, async (lab) => diff(desired, await observe(lab)))
    return { exists: entry !== undefined, steps, notes: faultNotes(book) }
  }

  /** Makes the lab be `plan`. What the kernel refuses comes in the outcome; it throws when the change itself is refused. */
  async deploy(plan: Plan, options: DeployOptions, watch: Watch): Promise<Outcome> {
    await this.recovering.get(plan.lab)
    return this.inTurn(plan.lab, "deploy", async () => {
      const entry = await this.store.lab(plan.lab)
      const going = options.faultsOnly === true ? { ...watch, faultsOnly: true } : watch
      const now = await this.place(plan, entry, options, watch)
      const hastened = options.faultsOnly === true && entry !== undefined ? await this.hasten(now, changedIds(entry.plan, now.plan)) : 0
      const converged = await this.converge(now, going)
      const outcome = { ...converged, changed: converged.changed + hastened }
      if (outcome.failures.length === 0 || !options.rollback) return outcome
      const back = await this.rollBack(await this.require(plan.lab), watch)
      return { ...outcome, failures: [...outcome.failures, ...back.failures], rolledBack: back.failures.length === 0 }
    })
  }

  /** Removes everything of the lab, then its entry. */
  async destroy(name: string, watch: Watch): Promise<Outcome> {
    await this.recovering.get(name)
    return this.inTurn(name, "deploy", async () => {
      const entry = await this.require(name)
      return this.converge(await this.commit(entry, { plan: emptyPlan(name) }, "destroying", entry.filename), watch)
    })
  }

  /**
   * Changes the faults of a lab in its turn. `change` sees the lab as it is then; undefined: there is nothing to do.
   *
   * @param patienceMs how long it waits for somebody who deploys
   * @returns undefined when there was nothing to do
   */
  async alter(
    name: string,
    change: (entry: LabEntry) => Alteration | undefined,
    { patienceMs, watch = silent }: { readonly patienceMs: number; readonly watch?: Watch }
  ): Promise<Outcome | undefined> {
    await this.recovering.get(name)
    return this.inTurn(name, "faults", async () => {
      const entry = await this.require(name)
      if (entry.state === "destroying") throw new Refused("busy", `Lab "${name}" is being destroyed`)
      const alteration = change(entry)
      if (alteration === undefined) return undefined
      const going = { ...watch, faultsOnly: true }
      const { before, book, rollback } = alteration
      let now = entry
      if (before !== undefined) {
        now = await this.recommit(now, { ...book, plan: before })
        // What fails on the way fails again at its end.
        await this.converge(now, { ...silent, faultsOnly: true })
      }
      now = await this.recommit((await this.store.lab(name)) ?? now, book)
      const changes = changedIds(entry.plan, book.plan)
      const hastened = await this.hasten(now, changes)
      const converged = await this.converge(now, going)
      const outcome = { ...converged, changed: converged.changed + hastened }
      const own = outcome.failures.filter(({ id }) => changes.has(id))
      if (own.length === 0 || !rollback) return { ...outcome, failures: own }
      const back = await this.recommit((await this.store.lab(name)) ?? now, bookOf(entry))
      await this.converge(back, { ...silent, faultsOnly: true })
      return { ...outcome, failures: own, rolledBack: true }
    }, patienceMs)
  }

  /**
   * Start-up: removes what belongs to nothing, then finishes what was begun and adopts what is there, lab after lab. It
   * resolves when the first part is done; who wants to change a lab waits for its turn in the second.
   */
  async recover(): Promise<void> {
    const entries = await this.store.labs()
    const vnis = new Set(entries.flatMap((entry) => [...vnisOf(entry.plan.resources), ...vnisOf(entry.former)]))
    await sweep(this.daemon, new Set(entries.map((entry) => entry.name)), vnis, this.events)
    let turn: Promise<void> = Promise.resolve()
    for (const { name } of entries) {
      turn = turn.then(() => this.adopt(name))
      this.recovering.set(name, turn)
    }
  }

  /** Tries again to make whole the labs that failed and have containers: Docker is back. */
  async retryContainers(): Promise<void> {
    for (const { name, plan, state } of await this.store.labs()) {
      const isMeant = state === "failed" && plan.resources.some(({ kind }) => kind === "container")
      if (!isMeant || this.turns.has(name) || this.recovering.has(name)) continue
      const mending = this.adopt(name)
      this.recovering.set(name, mending)
      await mending
    }
  }

  /** Start-up has not looked at this lab yet, or it is being mended. */
  isRecovering(name: string): boolean {
    return this.recovering.has(name)
  }

  /** Who looks at a lab right after start-up sees it recovered, unless that takes long: then as it is. */
  private async recovered(name: string): Promise<void> {
    const recovery = this.recovering.get(name)
    if (recovery !== undefined) await Promise.race([recovery, sleep(recoveryPatienceMs, undefined, { ref: false })])
  }

  /** Never fails: a lab that cannot be looked at must not keep the others, or its own removal, from happening. */
  private async adopt(name: string): Promise<void> {
    const entry = await this.store.lab(name)
    // Destroyed since it was listed.
    if (entry === undefined) return void this.recovering.delete(name)
    const tell = (text: string): void =>
      this.events.emit({ lab: name, type: "lab.adopted", subject: name, message: `${name} was ${entry.state}; ${text}` })
    try {
      if (this.closing) return
      const { changed, failures } = await this.inTurn(name, "faults", async () => this.converge(await this.refreshed(entry), silent))
      const what = changed === 0 ? "adopted as it was" : `repaired: ${countOf(changed)}`
      tell(failures.length > 0 ? `cannot be made whole: ${failures[0]!.error.message}` : what)
    } catch (error) {
      const reason = reasonOf(error)
      tell(`cannot be made whole: ${reason}`)
      await this.store.put({ ...entry, state: entry.state === "destroying" ? "destroying" : "failed", error: reason }).catch(() => {})
    } finally {
      this.recovering.delete(name)
    }
  }

  /** The entry, and everything in which the kernel differs from it now. */
  async inspect(name: string): Promise<{ readonly entry: LabEntry; readonly drift: ReadonlyArray<Step>; readonly view: LabView }> {
    await this.recovered(name)
    const entry = await this.require(name)
    return this.observing(entry.plan, entry, async (lab) => {
      const drift = this.turns.has(name) ? [] : diff(entry.plan, await observe(lab))
      return { entry, drift, view: viewOf(lab) }
    })
  }

  async labs(): Promise<ReadonlyArray<LabEntry>> {
    return this.store.labs()
  }

  /** The name of the lab when there is exactly one. */
  async onlyLab(): Promise<string> {
    return onlyLabOf(await this.store.labs())
  }

  async require(name: string): Promise<LabEntry> {
    const entry = await this.store.lab(name)
    if (entry !== undefined) return entry
    const names = (await this.store.labs()).map((lab) => lab.name)
    const there = names.length === 0 ? "no lab is deployed" : `deployed: ${names.join(", ")}`
    throw new Refused("not-found", `No lab "${name}" (${there})`)
  }

  /** Waits for changes under way; after it, all are refused. */
  async close(): Promise<void> {
    this.closing = true
    while (this.turns.size > 0) await sleep(20)
  }

  private async inTurn<A>(name: string, kind: "deploy" | "faults", action: () => Promise<A>, patienceMs = 0): Promise<A> {
    if (this.closing) throw new Refused("busy", "weftd is stopping")
    const end = await this.turns.take(name, kind, patienceMs)
    try {
      if (this.closing) throw new Refused("busy", "weftd is stopping")
      return await action()
    } finally {
      end()
      this.releaseMemory()
    }
  }

  private releaseMemory(): void {
    clearTimeout(this.release)
    this.release = setTimeout(() => this.turns.size === 0 && Memory.release(), releaseAfterMs)
    this.release.unref()
  }

  /** Makes the plan the lab's desired state. One lab after the other: no two may choose the same VNI. */
  private async place(
    plan: Plan,
    entry: LabEntry | undefined,
    { filename, generation }: DeployOptions,
    { note }: Watch
  ): Promise<LabEntry> {
    const placing = this.placing.then(async () => {
      const base = generation === undefined ? await this.placed(plan, entry) : plan
      const { lost, ...book } = withFaults(base, entry?.faults ?? [], entry?.faultCount)
      for (const { fault, reason } of lost) {
        const message = `fault ${fault.id} (${fault.title}) goes: ${reason}`
        note(message)
        this.events.emit({ lab: plan.lab, type: "fault.lost", subject: fault.id, message })
      }
      return this.commit(entry, book, entry === undefined ? "deploying" : "changing", filename, generation)
    })
    this.placing = placing.catch(() => {})
    return placing
  }

  /** The entry with its plan computed anew from its faults: they may be half injected, or this weftd does it differently. */
  private async refreshed(entry: LabEntry): Promise<LabEntry> {
    if (entry.base === undefined || entry.state === "destroying") return entry
    const { lost: _, ...book } = withFaults(entry.base, entry.faults ?? [], entry.faultCount)
    return this.recommit(entry, book)
  }

  /** Makes the entry be about other faults. */
  private async recommit(entry: LabEntry, book: Faulted): Promise<LabEntry> {
    const { base: _, error: __, faultCount: ___, faults: ____, plan, ...rest } = entry
    const staying = new Set(book.plan.resources)
    const former = distinct([...entry.former, ...plan.resources.filter((resource) => !staying.has(resource))])
    const state = entry.state === "deploying" ? "deploying" : "changing"
    const committed: LabEntry = { ...rest, ...book, state, former }
    await this.store.put(committed)
    return committed
  }

  /** The plan with VNIs that are this lab's own. */
  private async placed(plan: Plan, entry: LabEntry | undefined): Promise<Plan> {
    const others = (await this.store.labs()).filter((lab) => lab.name !== plan.lab)
    const taken = new Set(others.flatMap((lab) => [...vnisOf(lab.plan.resources), ...vnisOf(lab.former)]))
    return allocateVnis(plan, taken, entry === undefined ? [] : [...entry.former, ...entry.plan.resources, ...baseOf(entry).resources])
  }

  private async commit(
    entry: LabEntry | undefined,
    book: Faulted,
    state: LabState,
    filename: string,
    generation = entry?.generation
  ): Promise<LabEntry> {
    const former = entry === undefined ? [] : distinct([...entry.former, ...entry.plan.resources])
    const lastGood = entry?.state === "ready" ? { plan: baseOf(entry), filename: entry.filename } : entry?.lastGood
    const committed: LabEntry = {
      name: book.plan.lab,
      filename,
      state,
      ...book,
      ...(lastGood === undefined ? {} : { lastGood }),
      former,
      deployedAt: new Date().toISOString(),
      ...(generation === undefined ? {} : { generation })
    }
    await this.store.put(committed)
    return committed
  }

  private async rollBack(entry: LabEntry, watch: Watch): Promise<Outcome> {
    const target = entry.lastGood
    const state = target === undefined ? "destroying" : "changing"
    const { lost: _, ...book } =
      target === undefined ? withFaults(emptyPlan(entry.name), []) : withFaults(target.plan, entry.faults ?? [], entry.faultCount)
    const committed = await this.commit(entry, book, state, target?.filename ?? entry.filename)
    return this.converge(committed, { ...watch, planned: () => {} })
  }

  /**
   * Makes at once what can be changed in place, looking at the kinds of what has changed alone: `nft` and Docker take their time.
   * `converge` comes after it and looks at everything.
   *
   * @returns how many were changed
   */
  private async hasten(entry: LabEntry, ids: ReadonlySet<string>): Promise<number> {
    const changed = entry.plan.resources.filter(({ id }) => ids.has(id))
    const kinds = new Set(changed.map(({ kind }) => kind))
    return this.observing(entry.plan, entry, async (lab) => {
      const steps = diff({ ...entry.plan, resources: changed }, await observe(lab, kinds)).filter(({ id }) => ids.has(id))
      if (steps.length === 0 || steps.some(({ action }) => action !== "update")) return 0
      const failures = await apply(lab, steps, () => {})
      await lab.save()
      return steps.length - failures.length
    })
  }

  /** Rounds of observe, diff, apply until nothing differs or something fails; the entry follows. Before BGP replaces routes it settles. */
  private async converge(entry: LabEntry, watch: Going): Promise<Outcome> {
    let changed = 0
    let failures: ReadonlyArray<Failure> = []
    await this.fitHost(entry.name, watch)
    for (let round = 0; ; round++) {
      const result = await this.observing(entry.plan, entry, async (lab) => {
        const steps = diff(entry.plan, await observe(lab))
        if (round === 0) this.begin(entry, steps, watch)
        if (steps.length === 0) return { steps, failures: [], isHandingOver: false }
        if (round === maxRounds) return { steps, failures: steps.map(didNotSettle), isHandingOver: false }
        // A fault is in force at once, and so is its end: nothing waits until others have replaced it.
        const { later, now } =
          watch.faultsOnly === true ? { later: [], now: steps } : handOver(steps, { isPart: entry.generation !== undefined })
        const failed = await apply(lab, now, (step, error) => this.report(entry.name, watch.report, step, error))
        await lab.save()
        return { steps: now, failures: failed, isHandingOver: later.length > 0 }
      })
      failures = result.failures
      changed += round === maxRounds ? 0 : result.steps.length - failures.length
      if (result.steps.length === 0 || failures.length > 0) break
      if (result.isHandingOver) await this.settled(entry, watch)
    }
    if (failures.length === 0 && changed > 0 && watch !== silent && watch.faultsOnly !== true) {
      await this.settled(entry, watch)
    }
    if (failures.length === 0 && watch.faultsOnly !== true) this.forgetFar(entry.plan)
    await this.settle(entry, failures, changed, watch.faultsOnly === true)
    await this.fitHost(entry.name, watch)
    return { changed, failures, rolledBack: false }
  }

  /** Nodes may have moved between other hosts: frames for them go everywhere until they are heard, or EVPN tells where they are now. */
  private forgetFar({ resources }: Plan): void {
    const networks = resources.flatMap(({ kind, spec }) => (kind === "segment" && spec.tunnel !== undefined ? [spec.vni] : []))
    this.daemon.program.forgetFar(new Set(networks))
  }

  private settled({ plan }: LabEntry, { note }: Watch): Promise<void> {
    return settleSessions(this.daemon.routing, plan, { note, isOver: () => this.closing })
  }

  /** The machine's shared limits follow what all labs need together. */
  private async fitHost(lab: string, watch: Watch): Promise<void> {
    const sizes = (await this.store.labs()).flatMap((entry) => entry.plan.segments.map((segment) => segment.ports.length))
    for (const change of HostLimits.fit(sizes, this.daemon.runDirectory)) {
      watch.note(`limit of this machine: ${change}`)
      this.events.emit({ lab, type: "host.limit", subject: lab, message: change })
    }
  }

  private begin(entry: LabEntry, steps: ReadonlyArray<Step>, watch: Going): void {
    const message = `${entry.name} is ${entry.state}: ${countOf(steps.length)}`
    const isNews = steps.length > 0 && watch.faultsOnly !== true
    if (isNews) this.events.emit({ lab: entry.name, type: "lab.changing", subject: entry.name, message })
    watch.planned(steps)
  }

  private report(lab: string, report: Report, step: Step, error: KernelError | undefined): void {
    if (error !== undefined) this.events.emit({ lab, type: "resource.failed", subject: step.id, message: error.message })
    report(step, error)
  }

  /** Records how it ended: gone, ready or failed. */
  private async settle(entry: LabEntry, failures: ReadonlyArray<Failure>, changed: number, isQuiet: boolean): Promise<void> {
    const { error: _, ...rest } = entry
    if (failures.length > 0) {
      const message = failures[0]!.error.message
      await this.store.put({ ...rest, state: entry.state === "destroying" ? "destroying" : "failed", error: message })
      this.events.emit({ lab: entry.name, type: "lab.failed", subject: entry.name, message })
    } else if (entry.state === "destroying") {
      await this.store.remove(entry.name)
      const message = `${entry.name} is gone: ${changed} removed`
      this.events.emit({ lab: entry.name, type: "lab.destroyed", subject: entry.name, message })
    } else {
      await this.store.put({ ...rest, state: "ready", former: [] })
      if (isQuiet) return
      this.events.emit({ lab: entry.name, type: "lab.ready", subject: entry.name, message: `${entry.name} is ready: ${countOf(changed)}` })
    }
  }

  /** Runs `use` with the lab as it is in the kernel; its namespaces are open meanwhile. */
  private async observing<A>(plan: Plan, entry: LabEntry | undefined, use: (lab: Lab) => Promise<A>): Promise<A> {
    const desired = byId(plan.resources)
    const previous = entry === undefined ? [] : [...entry.former, ...(entry.plan === plan ? [] : entry.plan.resources)]
    const nodes = new Set<string>()
    for (const resource of [...desired.values(), ...previous]) if (resource.kind === "node") nodes.add(resource.spec.node)
    const snapshot = Snapshot.take(plan.lab, this.daemon.instance, this.daemon.fabric, nodes)
    let lab: Lab | undefined
    try {
      const records = await this.store.remembered(plan.lab)
      const save = (now: ReadonlyMap<string, Remembered>): Promise<void> => this.store.remember(plan.lab, [...now])
      lab = new Lab({ name: plan.lab, daemon: this.daemon, snapshot, desired, previous, records, save })
      return await use(lab)
    } finally {
      lab?.close()
      Snapshot.close(snapshot)
    }
  }
}

/** Ids of what is another in the second plan, or in only one of them. */
export const changedIds = (before: Plan, after: Plan): ReadonlySet<string> => {
  const [old, now] = [new Set(before.resources), new Set(after.resources)]
  const changed = [...before.resources.filter((one) => !now.has(one)), ...after.resources.filter((one) => !old.has(one))]
  const ids = new Set(changed.map(({ id }) => id))
  if (ids.size === 0) return ids
  // Plans that were read from JSON are others all over.
  const specs = new Map(before.resources.map(({ id, spec }) => [id, spec]))
  for (const { id, spec } of after.resources) if (ids.has(id) && isDeepStrictEqual(specs.get(id), spec)) ids.delete(id)
  return ids
}

const didNotSettle = (step: Step): Failure => ({
  id: step.id,
  error: new KernelError({ operation: step.action, object: step.id, code: "unsettled", detail: "something changes it back" })
})

/** Everything of the lab that is in the kernel, by id; of some kinds, where that is enough. */
const observe = async (lab: Lab, kinds?: ReadonlySet<Kind>): Promise<Observed> => {
  const observed = new Map<string, { kind: Kind; spec: unknown }>()
  for (const kind of kindOrder) {
    if (kinds?.has(kind) === false) continue
    for (const [id, spec] of await (handlers[kind] as Handler<Kind>).observe(lab)) observed.set(id, { kind, spec })
  }
  return observed as unknown as Observed
}
