/**
 * `LabControl` of one of many hosts. Any of them can be asked: a change is committed to the shared state, which every
 * host follows by itself (`follower.ts`), and whoever was asked waits for their reports.
 *
 *     deploy:  read lab --place--> --VNIs--> commit on the revision that was read --> reports of all hosts --> outcome
 *
 * Who loses a race is told so and has changed nothing. What was committed goes on, whatever becomes of the daemon that
 * was asked. Looking (labs, inspect) works while the shared state is away, from what was known last.
 */
import { type Placement, place } from "../compiler/place.ts"
import { bookOf, type Lost, withFaults } from "../faults/ledger.ts"
import { baseOf, type Faulted } from "../plan/fault.ts"
import { hostsWithNodes, partOf } from "../plan/part.ts"
import type { Plan } from "../plan/resource.ts"
import { allocateVnis, vnisOf } from "../plan/vni.ts"
import {
  type Change, changeOf, type ChangeOutcome, type ChangeWatch, type Inspection, type LabControl, type LabSummary,
  onlyLabOf, type PlannedChanges, Refused, Unplaceable
} from "../reconciler/control.ts"
import { faultNotes, inspectionOf, nodesOf, segmentsOf, summaryOf, withFaultsShown } from "../reconciler/inspection.ts"
import type { Reconciler } from "../reconciler/reconciler.ts"
import type { CommitResult, FleetLab, FleetStore, Versioned } from "../store/fleet.ts"
import { destroyHere, type Follower } from "./follower.ts"
import type { Mirror } from "./mirror.ts"
import { settle, type Settled, usualPatience } from "./settling.ts"
import { countsBetween, fleetSummary, hostsOf, isUnderWay, type Standing, standingsOf, stepsBetween } from "./standing.ts"
import type { VtepWatch } from "./vtep-watch.ts"

/** What other hosts are asked; `peer-clients.ts` asks them. Rejects with an Error that says which host and why not. */
export interface Peers {
  planPart(host: string, part: Plan): Promise<ReadonlyArray<Change>>
  inspectPart(host: string, lab: string): Promise<Inspection>
}

export interface FleetParts {
  readonly host: string
  readonly shared: FleetStore
  readonly mirror: Mirror
  readonly reconciler: Reconciler
  readonly follower: Follower
  readonly peers: Peers
  readonly tunnels: VtepWatch
  /** Why this daemon may not be this host: another living one is. Empty: it is. */
  readonly refusal: () => string
}

const emptyPlan = (lab: string): Plan => ({ lab, nodes: [], segments: [], resources: [] })

/** What a commit makes of a lab. `deployedAt`: only its faults are others, and it was deployed then. */
type Made = Pick<FleetLab, "filename" | "wanted"> & Faulted & { readonly deployedAt?: string }

const silent: ChangeWatch = { planned: () => {}, report: () => {}, host: () => {}, note: () => {} }

/** How long hosts may be about faults before a deploy is refused for it. */
const faultsPatienceMs = 20_000

/** A daemon that has just started has not read the shared state yet. */
const firstReadPatienceMs = 3000
/** How long it may stay unknown whether a commit came through. */
const doubtPatienceMs = 75_000

export class Fleet implements LabControl {
  readonly #parts: FleetParts
  readonly #mirror: Mirror
  readonly #host: string
  readonly #startedMs = performance.now()

  constructor(parts: FleetParts) {
    this.#parts = parts
    this.#mirror = parts.mirror
    this.#host = parts.host
  }

  // ---- changing ----------------------------------------------------------------------------------------------------

  async plan(plan: Plan, filename?: string): Promise<PlannedChanges> {
    await this.requireShared()
    const found = this.#mirror.lab(plan.lab)
    const { plan: placed, notes } = this.#place(plan, found, filename)
    const others = this.#mirror.labs.filter(({ name }) => name !== plan.lab)
    const taken = others.flatMap((lab) => vnisOf([...baseOf(lab).resources, ...lab.plan.resources]))
    const before = presentBook(found, plan.lab)
    const book = withFaults(allocateVnis(placed, new Set(taken), baseOf(before).resources), before.faults ?? [])
    const wanted = book.plan
    const hosts = [...new Set([...hostsWithNodes(wanted), ...(found === undefined ? [] : hostsOf(found.lab))])].toSorted()
    const asked = await Promise.all(hosts.map((host) => this.#planOn(host, before.plan, wanted)))
    return {
      exists: found?.lab.wanted === "present",
      changes: asked.flatMap(({ changes }) => changes),
      notes: [...notes, ...faultNotes(book), ...asked.flatMap(({ note }) => note ?? [])]
    }
  }

  async deploy(plan: Plan, options: { readonly filename: string; readonly rollback: boolean }, watch: ChangeWatch): Promise<ChangeOutcome> {
    await this.requireShared()
    await this.#faultsSettled(plan.lab)
    const found = await this.#read(plan.lab)
    this.#refuseBusy(plan.lab, found)
    const { plan: placed, notes } = this.#place(plan, found, options.filename)
    for (const note of notes) watch.note(note)
    const outcome = await this.commitPlan(placed, { found, filename: options.filename }, watch)
    if (outcome.failures.length === 0 || !options.rollback) return outcome
    const back = await this.#rollBack(plan.lab, found, watch).catch((error: unknown): ChangeOutcome => {
      // Somebody was faster, or etcd went away: what failed before is the news.
      if (!(error instanceof Refused)) throw error
      const failure = { id: "", host: this.#host, error: `cannot roll back: ${error.message}`, blocked: false }
      return { changed: 0, failures: [failure], rolledBack: false }
    })
    return { ...outcome, failures: [...outcome.failures, ...back.failures], rolledBack: back.failures.length === 0 }
  }

  async destroy(name: string, watch: ChangeWatch): Promise<ChangeOutcome> {
    await this.requireShared()
    await this.#faultsSettled(name)
    const found = await this.#read(name)
    if (found === undefined && !this.#parts.follower.orphans.has(name)) throw await this.#noLab(name)
    if (found?.lab.wanted === "present") this.#refuseBusy(name, found)
    return this.#commitAbsence(name, found, watch)
  }

  /** Commits a plan whose nodes all have hosts, and waits for those. `found`: what it is to replace. */
  async commitPlan(
    placed: Plan,
    { filename, found }: { readonly found: Versioned | undefined; readonly filename: string },
    watch: ChangeWatch
  ): Promise<ChangeOutcome> {
    const before = presentBook(found, placed.lab)
    let gone: ReadonlyArray<Lost> = []
    const lab = await this.#commit(placed.lab, found, (taken) => {
      const base = allocateVnis(placed, taken, baseOf(before).resources)
      const { lost, ...book } = withFaults(base, before.faults ?? [], before.faultCount)
      gone = lost
      return { filename, wanted: "present", ...book }
    })
    for (const { fault, reason } of gone) watch.note(`fault ${fault.id} (${fault.title}) goes: ${reason}`)
    watch.planned(countsBetween(before.plan, lab.plan, this.#mirror.vtepOf))
    const settled = await this.#settle(lab, watch)
    for (const host of settled.unconfirmed) {
      watch.note(`${host} is lost: what it had of the lab goes when it comes back, or for good with weft drain ${host} --forget`)
    }
    return { changed: settled.changed, failures: settled.failures, rolledBack: false }
  }

  /**
   * Commits other faults of a lab and waits for all hosts.
   *
   * @param found the lab as it is
   * @throws Refused `busy` when somebody else was faster
   */
  async commitFaults(found: Versioned, book: Faulted, watch: ChangeWatch = silent): Promise<ChangeOutcome> {
    const { deployedAt, filename, name, plan } = found.lab
    const lab = await this.#commit(name, found, () => ({ filename, wanted: "present", ...book, deployedAt }))
    watch.planned(countsBetween(plan, lab.plan, this.#mirror.vtepOf))
    const { changed, failures } = await this.#settle(lab, watch)
    return { changed, failures, rolledBack: false }
  }

  /** The lab as it is when no host is changing it. @throws Refused when there is none, or somebody changes it for too long */
  async quiet(name: string, timeoutMs: number): Promise<Versioned> {
    await this.requireShared()
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      // The watch may be behind what is read, and what is read is what the next commit stands on.
      const found = await this.#read(name)
      if (found?.lab.wanted !== "present") throw await this.#noLab(name)
      if (!isUnderWay(this.#standings(found.lab))) return found
      const leftMs = deadlineMs - performance.now()
      const isQuiet = (): true | undefined => {
        const seen = this.#mirror.lab(name)
        const isBehind = seen !== undefined && seen.lab.generation < found.lab.generation
        return !isBehind && (seen === undefined || !isUnderWay(this.#standings(seen.lab))) ? true : undefined
      }
      if (leftMs > 0) await this.#mirror.until(isQuiet, { timeoutMs: leftMs })
      else {
        this.#refuseBusy(name, found)
        return found
      }
    }
  }

  /** @throws Refused when the lab is not there, or is going */
  async present(name: string): Promise<void> {
    if (this.#mirror.lab(name)?.lab.wanted !== "present") throw await this.#noLab(name)
  }

  /** Who deploys waits for hosts that are about faults: that is short, and nobody's decision. */
  async #faultsSettled(name: string): Promise<void> {
    const isAboutFaults = (): true | undefined => {
      const found = this.#mirror.lab(name)
      return found?.lab.faultsAt === undefined || !isUnderWay(this.#standings(found.lab)) ? true : undefined
    }
    await this.#mirror.until(isAboutFaults, { timeoutMs: faultsPatienceMs })
  }

  async #commitAbsence(name: string, found: Versioned | undefined, watch: ChangeWatch): Promise<ChangeOutcome> {
    // Nobody remembers which hosts have something of a lab that etcd has lost: all are asked.
    const hosts = found === undefined ? this.#mirror.hosts.map((host) => host.name) : hostsOf(found.lab)
    const before = presentBook(found, name).plan
    const filename = found?.lab.filename ?? ""
    const lab = await this.#commit(name, found, () => ({ filename, wanted: "absent", plan: emptyPlan(name) }), hosts)
    watch.planned(countsBetween(before, emptyPlan(name), this.#mirror.vtepOf))
    const settled = await this.#settle(lab, watch)
    const now = this.#mirror.lab(name)
    // The followers do it, too; but whoever destroys a lab wants to deploy it again at once.
    if (settled.failures.length === 0 && now?.lab.generation === lab.generation) await this.#parts.shared.remove(name, now.revision)
    return { changed: settled.changed, failures: settled.failures, rolledBack: false }
  }

  async #rollBack(name: string, found: Versioned | undefined, watch: ChangeWatch): Promise<ChangeOutcome> {
    const now = await this.#read(name)
    const quiet = { ...watch, planned: () => {} }
    if (found?.lab.wanted !== "present") return this.#commitAbsence(name, now, quiet)
    return this.commitPlan(baseOf(found.lab), { found: now, filename: found.lab.filename }, quiet)
  }

  /** One transaction on the revision that was read. @throws Refused when somebody else was faster */
  async #commit(
    name: string,
    found: Versioned | undefined,
    make: (taken: ReadonlySet<number>) => Made,
    hosts: ReadonlyArray<string> = this.#remaining(found)
  ): Promise<FleetLab> {
    const generation = (found?.lab.generation ?? 0) + 1
    const stamp = new Date().toISOString()
    let made: FleetLab | undefined
    const result = await this.#commitSurely(name, found, stamp, (taken) => {
      const { deployedAt, ...lab } = make(taken)
      const times = deployedAt === undefined ? { deployedAt: stamp } : { deployedAt, faultsAt: stamp }
      const all = [...new Set([...hosts, ...(lab.wanted === "present" ? hostsWithNodes(lab.plan) : [])])].toSorted()
      made = { name, ...lab, generation, ...times, deployedBy: this.#host, hosts: all }
      return made
    })
    if (result.ok) return made!
    throw new Refused("busy", lostTo(name, result.winner))
  }

  /** When etcd goes away in the middle, its word on whether the commit came through is waited for. */
  async #commitSurely(
    name: string,
    found: Versioned | undefined,
    stamp: string,
    make: (taken: ReadonlySet<number>) => FleetLab
  ): Promise<CommitResult> {
    const expected = found?.revision ?? "0"
    const isOurs = (now: Versioned | undefined): boolean =>
      now?.lab.deployedBy === this.#host && (now.lab.faultsAt ?? now.lab.deployedAt) === stamp
    try {
      const result = await this.#parts.shared.commit(name, expected, make)
      // An answer that was lost and asked for again.
      return !result.ok && isOurs(result.winner) ? { ok: true, revision: result.winner!.revision } : result
    } catch (error) {
      const deadlineMs = performance.now() + doubtPatienceMs
      const reason = (error as Error).message
      while (performance.now() < deadlineMs) {
        const now = await this.#parts.shared.lab(name).catch(() => "away" as const)
        if (now === "away") await new Promise((resolve) => setTimeout(resolve, 1000))
        else if (isOurs(now)) return { ok: true, revision: now!.revision }
        else if ((now?.revision ?? "0") !== expected) return { ok: false, winner: now }
        else throw new Refused("unavailable", `Cannot commit lab "${name}": ${reason}. Nothing was changed`)
      }
      throw new Refused("unavailable", `Cannot tell whether etcd took the change of lab "${name}": ${reason}. Look with: weft list`)
    }
  }

  #settle(lab: FleetLab, watch: ChangeWatch): Promise<Settled> {
    const { generation, name, wanted } = lab
    return settle({ mirror: this.#mirror, name, generation, wanted, tell: watch.host })
  }

  /** Hosts that have, or may have, something of the lab as it was. */
  #remaining(found: Versioned | undefined): ReadonlyArray<string> {
    if (found === undefined) return []
    const standings = this.#standings(found.lab)
    return standings.filter(({ state }) => state !== "gone").map(({ host }) => host)
  }

  #refuseBusy(name: string, found: Versioned | undefined): void {
    if (found === undefined) return
    const { deployedAt, deployedBy, generation, wanted } = found.lab
    // Nobody waits for a host that has been silent for as long as `settle` would; the watch may be behind what was read.
    const isNew = this.#mirror.lab(name)?.lab.generation !== generation
    const isHeard = ({ host }: Standing): boolean => isNew || this.#mirror.silentMs(name, host) < usualPatience.silentMs
    const heard = this.#standings(found.lab).filter(isHeard)
    if (!isUnderWay(heard)) return
    const what = wanted === "absent" ? "destroyed" : "changed"
    const by = deployedBy === undefined ? "" : ` by host ${deployedBy}`
    throw new Refused("busy", `Lab "${name}" is being ${what}${by} since ${deployedAt}: wait for it (weft events --follow)`)
  }

  #place(plan: Plan, found: Versioned | undefined, filename?: string): Extract<Placement, { readonly ok: true }> {
    const previous = found === undefined ? [] : baseOf(found.lab).nodes
    const where = new Map(previous.flatMap(({ name, host }) => (host === undefined ? [] : [[name, host] as const])))
    const placed = place(plan, this.#mirror.hosts, where, filename)
    if (!placed.ok) throw new Unplaceable(placed.diagnostics)
    return placed
  }

  async #planOn(host: string, before: Plan, wanted: Plan): Promise<{ readonly changes: ReadonlyArray<Change>; readonly note?: string }> {
    const part = partOf(wanted, host, this.#mirror.vtepOf)
    try {
      if (host !== this.#host) return { changes: await this.#parts.peers.planPart(host, part) }
      return { changes: await this.planPart(part) }
    } catch (error) {
      const changes = stepsBetween(before, wanted, host, this.#mirror.vtepOf).map((step) => changeOf(step, host))
      return { changes, note: `${(error as Error).message}; its changes are from the records, not from its kernel` }
    }
  }

  /** `Peers.PlanPart`: what would change on this host. */
  async planPart(part: Plan): Promise<ReadonlyArray<Change>> {
    const { steps } = await this.#parts.reconciler.plan(part, true)
    return steps.map((step) => changeOf(step, this.#host))
  }

  // ---- looking -----------------------------------------------------------------------------------------------------

  async labs(): ReturnType<LabControl["labs"]> {
    await this.firstRead()
    const local = await this.#parts.reconciler.labs()
    const known = new Set(this.#mirror.labs.map(({ name }) => name))
    const others = local.filter(({ name }) => !known.has(name)).map((entry): LabSummary => {
      const summary = summaryOf(entry, { host: this.#host, recovering: this.#parts.reconciler.isRecovering(entry.name) })
      if (!this.#parts.follower.orphans.has(entry.name)) return summary
      return { ...summary, ...orphaned(entry.name, this.#host) }
    })
    const shared = this.#mirror.labs.map((lab) => fleetSummary(lab, this.#standings(lab), this.#mirror.hosts))
    return { labs: [...shared, ...others].toSorted((a, b) => (a.name < b.name ? -1 : 1)), error: this.awayText }
  }

  async inspect(lab: string): Promise<Inspection> {
    await this.firstRead()
    const name = lab === "" ? await this.onlyLab() : lab
    const found = this.#mirror.lab(name)
    if (found === undefined) return this.#inspectAlone(name)
    const hosts = hostsOf(found.lab)
    const answers = await Promise.all(hosts.map((host) => this.#inspectOn(host, name)))
    const parts = answers.flatMap(({ part }) => part ?? [])
    const nodes = new Map(parts.flatMap((part) => part.nodes.map((node) => [node.name, node] as const)))
    const unknown = new Set(answers.flatMap(({ error, host }) => (error === undefined ? [] : [host])))
    const planned = nodesOf(found.lab.plan, { view: undefined, drift: [], host: "" })
    const inspection: Inspection = {
      lab: fleetSummary(found.lab, this.#standings(found.lab), this.#mirror.hosts),
      host: this.#host,
      nodes: planned.map((node) => {
        const seen = nodes.get(node.name)
        return seen !== undefined && seen.host === node.host ? seen : unknown.has(node.host) ? node : { ...node, state: "missing" }
      }),
      segments: segmentsOf(found.lab.plan),
      drift: parts.flatMap(({ drift }) => drift),
      tunnels: parts.flatMap(({ tunnels }) => tunnels),
      unreachable: answers.flatMap(({ error }) => error ?? []),
      faults: []
    }
    return withFaultsShown(inspection, found.lab)
  }

  /** A lab that only this host knows. */
  async #inspectAlone(name: string): Promise<Inspection> {
    try {
      const own = await this.inspectPart(name)
      const away = this.awayText === "" ? [] : [`${this.awayText}. Shown is what host ${this.#host} has; the lab may have more on others`]
      const part = { ...own, unreachable: away }
      return this.#parts.follower.orphans.has(name) ? { ...part, lab: { ...part.lab, ...orphaned(name, this.#host) } } : part
    } catch (error) {
      if (this.awayText === "" || !(error instanceof Refused)) throw error
      throw new Refused(error.code, `${error.message}; ${this.awayText}`)
    }
  }

  /** All labs with all their nodes; of those that only this host knows, its part. */
  async namedLabs(): Promise<ReadonlyArray<{ readonly name: string; readonly plan: Plan }>> {
    await this.firstRead()
    const shared = this.#mirror.labs.filter(({ wanted }) => wanted === "present").map((lab) => ({ name: lab.name, plan: baseOf(lab) }))
    const known = new Set(this.#mirror.labs.map(({ name }) => name))
    const local = await this.#parts.reconciler.labs()
    return [...shared, ...local.filter(({ name }) => !known.has(name))]
  }

  /** `Peers.InspectPart`: this host's part as it is. @throws Refused when it has none */
  async inspectPart(name: string): Promise<Inspection> {
    const found = await this.#parts.reconciler.inspect(name)
    const summary = summaryOf(found.entry, { host: this.#host, recovering: this.#parts.reconciler.isRecovering(name) })
    const part = inspectionOf({ ...found, host: this.#host, summary })
    return { ...part, tunnels: this.#parts.tunnels.tunnelsOf(found.entry.plan) }
  }

  async #inspectOn(host: string, lab: string): Promise<{ readonly host: string; readonly part?: Inspection; readonly error?: string }> {
    try {
      return { host, part: host === this.#host ? await this.inspectPart(lab) : await this.#parts.peers.inspectPart(host, lab) }
    } catch (error) {
      // It has not begun, or is done with removing.
      if ((error as { readonly code?: unknown }).code === "not-found") return { host }
      return { host, error: (error as Error).message }
    }
  }

  async onlyLab(): Promise<string> {
    return onlyLabOf((await this.labs()).labs)
  }

  /** A lab that etcd has lost may still be on some host. */
  async #noLab(name: string): Promise<Refused> {
    const names = this.#mirror.labs.map((lab) => lab.name)
    const there = names.length === 0 ? "no lab is deployed" : `deployed: ${names.join(", ")}`
    const others = this.#mirror.hosts.filter(({ alive, name: host }) => alive && host !== this.#host)
    const asked = others.map(({ name: host }) => this.#parts.peers.inspectPart(host, name).then(() => [host], () => []))
    const having = (await Promise.all(asked)).flat()
    const ask = (host: string): string => `. etcd does not know it, but it is on ${having.join(", ")}: ${destroyHere(name, host)}`
    const elsewhere = having[0] === undefined ? "" : ask(having[0])
    return new Refused("not-found", `No lab "${name}" (${there})${elsewhere}`)
  }

  #standings(lab: FleetLab): ReadonlyArray<Standing> {
    return standingsOf(lab, this.#mirror.reports(lab.name), this.#mirror.hosts)
  }

  // ---- the shared state --------------------------------------------------------------------------------------------

  /** Why what is shown may be old; empty when the shared state can be reached. */
  get awayText(): string {
    const { connected, reason, since } = this.#mirror.connection
    if (connected && this.#parts.refusal() !== "") return `${this.#parts.refusal()}. Meanwhile this weftd leaves its labs as they are`
    return connected ? "" : `etcd cannot be reached since ${since}: ${reason}. Labs go on; nothing can be deployed or destroyed`
  }

  /** @throws Refused at once when the shared state cannot be reached */
  async requireShared(): Promise<void> {
    await this.firstRead()
    const { connected, reason, since } = this.#mirror.connection
    if (!connected) throw new Refused("unavailable", `Cannot reach etcd since ${since}: ${reason}. Labs go on as they are`)
    if (this.#parts.refusal() !== "") throw new Refused("unavailable", this.awayText)
    // This host registers when it has begun to serve.
    await this.#mirror.until(() => this.#mirror.host(this.#host)?.alive || undefined, { timeoutMs: firstReadPatienceMs })
  }

  async #read(lab: string): Promise<Versioned | undefined> {
    try {
      return await this.#parts.shared.lab(lab)
    } catch (error) {
      throw new Refused("unavailable", `Cannot read lab "${lab}": ${(error as Error).message}`)
    }
  }

  /** Resolves when the shared state has been read, or will not be for now. */
  async firstRead(): Promise<void> {
    const timeoutMs = this.#startedMs + firstReadPatienceMs - performance.now()
    if (this.#mirror.isComplete || timeoutMs <= 0) return
    await this.#mirror.until(() => (this.#mirror.isComplete ? true : undefined), { timeoutMs })
  }
}

const orphaned = (lab: string, host: string): Pick<LabSummary, "state" | "error"> => ({
  state: "orphaned",
  error: `etcd does not know it: deploy it again, or ${destroyHere(lab, host)}`
})

/** What the lab was; empty when there was none, or it was going. */
const presentBook = (found: Versioned | undefined, lab: string): Faulted =>
  found?.lab.wanted === "present" ? bookOf(found.lab) : { plan: emptyPlan(lab) }

const lostTo = (name: string, winner: Versioned | undefined): string => {
  if (winner === undefined) return `Lab "${name}" was destroyed while this change was planned: nothing of it was done`
  const { deployedAt, deployedBy, wanted } = winner.lab
  const by = deployedBy === undefined ? "" : ` on host ${deployedBy}`
  const what = wanted === "absent" ? "destroyed" : "deployed"
  return `Somebody else${by} ${what} lab "${name}" first (${deployedAt}): nothing of this change was done. Look, and try again`
}
