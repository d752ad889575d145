/**
 * Runs a rehearsal, whatever happens:
 *
 *     deploy (if it is to) --> warm-up --> step, settle --> step, settle --> ... --> [roll-back] --> heal --> destroy (if deployed)
 *                                 |___________________ flows run ___________________|
 *
 * After each step it is known what flows saw. A step that fails or a budget that breaks ends the steps and has those of
 * roll-back done; the stop signal ends everything in the middle. In each case flows end, faults are healed, what was
 * deployed is destroyed, and `done` says how it ended. It never rejects, and needs nobody to listen.
 */
import { isIP } from "node:net"
import type { Plan } from "../plan/resource.ts"
import { act, said, toldOf } from "./actions.ts"
import { type Breach, formatMs, groupsFrom, Ledger } from "./ledger.ts"
import { firstRollBack, firstStep, type Rehearsal } from "./model.ts"
import { nodesIn } from "./versions.ts"
import type { Conductor, Outcome, Probes, Report, Tell, Told, World } from "./world.ts"

/** Between two looks at whether flows are calm: they report every 200 ms. */
const pollMs = 50
/** Until what was lost at the very end is known to be lost. */
const lastWordMs = 5000

export const runRehearsal = (rehearsal: Rehearsal, world: World, conductor: Conductor, tell: Tell): Promise<Outcome> =>
  new Running(rehearsal, world, conductor, tell).run()

interface Group {
  readonly flows: ReadonlyArray<number>
  readonly probes: Probes
}

class Running {
  readonly #rehearsal: Rehearsal
  readonly #world: World
  readonly #conductor: Conductor
  readonly #tellWith: Tell
  readonly #ledger: Ledger
  readonly #by: string
  readonly #began: number
  #groups: ReadonlyArray<Group> = []
  /** Flows that run. */
  readonly #live = new Set<number>()
  /** Flows that broke off, with the reason, and nobody was told why the step failed yet. */
  #gone: Array<string> = []
  readonly #injected = new Map<number, ReadonlyArray<string>>()
  readonly #reasons: Array<string> = []
  /** The last step of the file is over: what breaks later breaks nothing any more. */
  #isOver = false
  /** A budget broke that ends it. */
  #isBroken = false
  #plan: Plan | undefined

  constructor(rehearsal: Rehearsal, world: World, conductor: Conductor, tell: Tell) {
    this.#rehearsal = rehearsal
    this.#world = world
    this.#conductor = conductor
    this.#tellWith = tell
    this.#ledger = new Ledger(rehearsal)
    this.#by = `rehearsal ${rehearsal.name}`
    this.#began = world.now()
    this.#plan = rehearsal.start?.plan
  }

  async run(): Promise<Outcome> {
    const { deploys, lab } = this.#rehearsal
    const lease = this.#world.faults.lease()
    let rolledBack = false
    if (await this.#deployStart()) {
      const fine = await this.#steps(lease.id)
      if (!fine && !this.#stopped) rolledBack = await this.#rollBack(lease.id)
    }
    this.#isOver = true
    for (const { probes } of this.#groups) probes.end()
    this.#live.clear()
    await this.#snapshot("after")
    const healed = await this.#heal(lease)
    const destroyed = deploys && !this.#conductor.keep && await this.#destroy(lab)
    const reasons = [...(this.#stopped ? ["it was stopped"] : []), ...this.#ledger.broken(), ...this.#reasons]
    const outcome = this.#stopped ? "stopped" : reasons.length === 0 && healed ? "passed" : "failed"
    this.#tell({ done: { outcome, reasons, rolledBack, healed, destroyed, durationMs: this.#world.now() - this.#began } })
    return outcome
  }

  get #stopped(): boolean {
    return this.#conductor.stop.aborted
  }

  #tell(event: Told): void {
    this.#tellWith(event, this.#world.now())
  }

  #note(text: string, { passing = false, step = -1, warning = false } = {}): void {
    this.#tell({ note: { text, step, warning, passing } })
  }

  /** Whether the lab is there. */
  async #deployStart(): Promise<boolean> {
    const { deploys, lab, start } = this.#rehearsal
    if (this.#stopped) return false
    if (!deploys || start === undefined) return true
    this.#note(`deploying ${start.filename} as ${lab}`)
    const began = this.#world.now()
    try {
      const failures = await this.#world.deploy(start, (text) => this.#note(text, { passing: true }))
      if (failures.length === 0) this.#note(`${lab} is deployed (${formatMs(this.#world.now() - began)})`)
      this.#reasons.push(...failures.map((failure) => `the lab could not be deployed: ${failure}`))
    } catch (error) {
      this.#reasons.push(`the lab could not be deployed: ${said(error)}`)
    }
    return this.#reasons.length === 0 && !this.#stopped
  }

  /** The warm-up and the steps of the file. Whether all went well; the others are told of as skipped. */
  async #steps(lease: string): Promise<boolean> {
    const last = firstRollBack(this.#rehearsal)
    let fine = true
    for (let place = 0; place < last; place++) {
      if (!fine || this.#stopped) {
        this.#skip(place, this.#stopped ? "it was stopped before" : "a step before failed or broke a budget")
        continue
      }
      if (place === firstStep) await this.#snapshot("before")
      fine = await this.#step(place, lease)
    }
    if (fine && !this.#stopped) fine = await this.#lastWord()
    return fine
  }

  #skip(step: number, reason: string): void {
    this.#tell({ stepEnded: { step, outcome: "skipped", reasons: [reason], actionMs: 0, settleMs: 0, flows: [] } })
  }

  /** Whether the rehearsal goes on after it. */
  async #step(place: number, lease: string): Promise<boolean> {
    const step = this.#rehearsal.steps[place]!
    const world = this.#world
    if (this.#conductor.pauseBeforeEach && place > 0) {
      this.#tell({ pause: { step: place, text: `next: ${step.name}` } })
      await this.#conductor.proceed()
      if (this.#stopped) {
        this.#skip(place, "it was stopped before")
        return false
      }
    }
    this.#endFlows(place)
    if (this.#isOver && step.action.kind === "deploy") this.#forget(nodesIn(step.action.version.plan))
    const began = world.now()
    this.#ledger.begin(place, began)
    this.#tell({ stepBegun: { step: place } })
    await this.#beginFlows(place, false)
    const answered = new Map([...this.#live].map((flow) => [flow, this.#ledger.counts(flow).received]))
    const failed = [...await act({
      world, conductor: this.#conductor, lab: this.#rehearsal.lab, plan: this.#plan!, place, step, by: this.#by, lease,
      injected: this.#injected, tell: (event) => this.#tell(event)
    })]
    const acted = world.now()
    if (step.action.kind === "deploy") this.#plan = step.action.version.plan
    if (failed.length === 0 && !this.#stopped) await this.#beginFlows(place, true)
    if (failed.length === 0 && !this.#stopped) failed.push(...await this.#settle(place, acted, answered))
    for (const breach of this.#ledger.end(place)) this.#break(breach)
    failed.push(...await this.#vanished(), ...this.#gone)
    this.#gone = []
    const flows = this.#ledger.flowsOf(place)
    const isBroken = flows.some(({ broken }) => broken.length > 0)
    const outcome = this.#stopped ? "stopped" : failed.length > 0 ? "failed" : isBroken ? "broken" : "passed"
    const title = (flow: number): string => this.#rehearsal.flows[flow]!.title
    const reasons = [...failed, ...flows.flatMap(({ broken, flow }) => broken.map((text) => `flow ${title(flow)}: ${text}`))]
    this.#tell({ stepEnded: { step: place, outcome, reasons, actionMs: acted - began, settleMs: world.now() - acted, flows } })
    if (failed.length > 0) this.#reasons.push(...failed.map((reason) => `step ${step.name}: ${reason}`))
    return !this.#stopped && !this.#isBroken && (failed.length === 0 || step.continueOnFailure)
  }

  /** Waits until flows have said what the action did to them. Resolves with why they are not as they must be. */
  async #settle(place: number, sinceMs: number, answered: ReadonlyMap<number, number>): Promise<ReadonlyArray<string>> {
    const { action, name, settle } = this.#rehearsal.steps[place]!
    if (action.kind === "warm-up") return this.#warmUp(action)
    if (settle.until === "time") {
      await this.#world.sleep(settle.ms, this.#conductor.stop)
      // What was lost is known when its time is over. Who asks for no settling does not wait for that either.
      const endMs = action.kind === "probe" ? sinceMs : this.#world.now()
      if (settle.ms > 0 || action.kind === "probe") {
        await this.#until(this.#world.now() + lastWordMs, () => this.#ledger.pending(this.#live, endMs))
      }
      return action.kind === "probe" ? this.#unanswered(answered, action.ms) : []
    }
    const restless = await this.#until(sinceMs + settle.mostMs, () => this.#ledger.restless(this.#live, place, sinceMs))
    if (restless.length > 0 && !this.#stopped) {
      const which = this.#titles(restless.filter((flow) => this.#ledger.isDown(flow)))
      if (which !== "") this.#note(`${formatMs(settle.mostMs)} after ${name} flows are still out: ${which}`, { step: place, warning: true })
    }
    return []
  }

  /** Waits until flows work that begin at once. Those of which anything is asked must. */
  async #warmUp({ mostMs, quietMs }: { readonly quietMs: number; readonly mostMs: number }): Promise<ReadonlyArray<string>> {
    const began = this.#world.now()
    const needed = [...this.#live].filter((flow) => this.#ledger.hasBudget(flow))
    const all = needed.length === 0 ? [...this.#live] : needed
    const restless = await this.#until(began + mostMs, () => this.#ledger.restless(all, 0, began, quietMs))
    const down = [...this.#live].filter((flow) => this.#ledger.isDown(flow))
    const others = down.filter((flow) => !needed.includes(flow))
    if (others.length > 0) this.#note(`not answered before the first step: ${this.#titles(others)}`, { step: 0, warning: true })
    if (this.#stopped) return []
    const times = `for ${formatMs(quietMs)} on end within ${formatMs(mostMs)}`
    return restless.filter((flow) => needed.includes(flow)).map((flow) =>
      `flow ${this.#rehearsal.flows[flow]!.title} was not answered ${times}, before the first step`)
  }

  #unanswered(before: ReadonlyMap<number, number>, ms: number): ReadonlyArray<string> {
    if (this.#stopped) return []
    return [...this.#live].flatMap((flow) => {
      // A path or its MTU takes seconds to find out.
      const isSlow = 4 * this.#rehearsal.flows[flow]!.spacingMs > ms
      const isSilent = this.#ledger.isDown(flow) || (!isSlow && this.#ledger.counts(flow).received === before.get(flow))
      return isSilent ? [`flow ${this.#rehearsal.flows[flow]!.title} is not answered at the end of it`] : []
    })
  }

  /** Waits until there are none; resolves with those that there are when the time is over. */
  async #until(deadlineMs: number, look: () => ReadonlyArray<number>): Promise<ReadonlyArray<number>> {
    for (;;) {
      const found = look()
      if (found.length === 0 || this.#stopped || this.#world.now() >= deadlineMs) return found
      await this.#world.sleep(pollMs, this.#conductor.stop)
    }
  }

  /** What was lost at the end of the last step is known a while later. Whether all budgets held. */
  async #lastWord(): Promise<boolean> {
    const now = this.#world.now()
    await this.#until(now + lastWordMs, () => this.#ledger.pending(this.#live, now))
    for (let place = firstStep; place < firstRollBack(this.#rehearsal); place++) {
      for (const breach of this.#ledger.end(place)) this.#break(breach)
    }
    return !this.#isBroken
  }

  async #rollBack(lease: string): Promise<boolean> {
    const { steps } = this.#rehearsal
    const first = firstRollBack(this.#rehearsal)
    this.#isOver = true
    if (first === steps.length) return false
    this.#tell({ rollBack: { reasons: [...new Set([...this.#ledger.broken(), ...this.#reasons])] } })
    for (let place = first; place < steps.length; place++) {
      if (this.#stopped) this.#skip(place, "it was stopped before")
      else await this.#step(place, lease)
    }
    return true
  }

  async #beginFlows(place: number, afterAction: boolean): Promise<void> {
    const { flows, lab } = this.#rehearsal
    for (const group of groupsFrom(flows, place, afterAction)) {
      for (const flow of group) this.#live.add(flow)
      const indexed = group.map((index) => ({ ...flows[index]!, index }))
      try {
        const probes = await this.#world.probe(lab, indexed, (reports) => this.#take(reports))
        this.#groups = [...this.#groups, { flows: group, probes }]
      } catch (error) {
        for (const flow of group) this.#live.delete(flow)
        this.#gone.push(`flows cannot begin: ${said(error)}`)
      }
    }
  }

  /** Ends flows that are not to see this step. */
  #endFlows(place: number): void {
    const isOver = ({ flows }: Group): boolean => flows.some((flow) => this.#rehearsal.flows[flow]!.untilStep === place)
    for (const group of this.#groups.filter(isOver)) {
      group.probes.end()
      for (const flow of group.flows) this.#live.delete(flow)
    }
    this.#groups = this.#groups.filter((group) => !isOver(group))
  }

  /** Rolling back takes away what only later versions have: nobody waits for flows to it. */
  #forget(nodes: ReadonlyMap<string, unknown>): void {
    for (const flow of [...this.#live]) {
      const { from, to } = this.#rehearsal.flows[flow]!
      if (!nodes.has(from) || (isIP(to) === 0 && !nodes.has(to))) this.#live.delete(flow)
    }
  }

  /** Flows that are out because an end of theirs is gone, which nobody has ordered. */
  async #vanished(): Promise<ReadonlyArray<string>> {
    const down = [...this.#live].filter((flow) => this.#ledger.isDown(flow))
    if (down.length === 0 || this.#isOver || this.#stopped) return []
    const { nodes } = await this.#world.inspect(this.#rehearsal.lab).catch(() => ({ nodes: [] }))
    const missing = new Set(nodes.filter(({ faults = [], state }) => state === "missing" && faults.length === 0).map(({ name }) => name))
    return down.flatMap((flow) => {
      const { from, title, to } = this.#rehearsal.flows[flow]!
      const end = [from, to].find((name) => missing.has(name))
      if (end === undefined) return []
      this.#live.delete(flow)
      return [`flow ${title}: node ${end} is gone`]
    })
  }

  #take(reports: ReadonlyArray<Report>): void {
    const now = this.#world.now()
    const flows = reports.filter(({ flow }) => this.#live.has(flow))
    if (flows.length === 0) return
    const results = flows.flatMap((report) => (report.error === "" ? [this.#ledger.report(report.flow, report, now)] : []))
    const outages = results.flatMap((result) => result.outages)
    this.#tell({ flows: { flows: flows.map((report) => ({ ...report, outages: [] })), outages } })
    for (const { broken } of results) for (const breach of broken) this.#break(breach)
    for (const { error, flow } of flows) {
      if (error === "") continue
      this.#live.delete(flow)
      const reason = `flow ${this.#rehearsal.flows[flow]!.title} broke off: ${error}`
      // Rolling back may take away what only the version had that is rolled back.
      if (this.#isOver) this.#note(reason, { warning: true })
      else this.#gone.push(reason)
    }
  }

  #break(breach: Breach): void {
    if (this.#isOver) return
    this.#isBroken ||= !this.#rehearsal.steps[breach.step]!.continueOnFailure
    this.#tell({ broken: breach })
  }

  #titles(flows: ReadonlyArray<number>): string {
    const titles = flows.map((flow) => this.#rehearsal.flows[flow]!.title)
    return titles.length > 5 ? `${titles.slice(0, 5).join(", ")} and ${titles.length - 5} more` : titles.join(", ")
  }

  async #snapshot(when: "before" | "after"): Promise<void> {
    try {
      this.#tell({ snapshot: { when, lab: await this.#world.inspect(this.#rehearsal.lab) } })
    } catch (error) {
      this.#note(`the lab could not be looked at: ${said(error)}`, { warning: true })
    }
  }

  /** Ends the lease, which heals what bears it. Whether all is healed. */
  async #heal(lease: { readonly id: string; readonly end: () => Promise<void> }): Promise<boolean> {
    const { lab } = this.#rehearsal
    try {
      const faults = (await this.#world.faults.faults(lab).catch(() => [])).filter((fault) => fault.lease === lease.id)
      await lease.end()
      const left = (await this.#world.faults.faults(lab).catch(() => [])).filter((fault) => fault.lease === lease.id)
      const healed = faults.filter(({ id }) => left.every((one) => one.id !== id))
      if (healed.length > 0) this.#tell({ faults: { step: -1, injected: [], healed: healed.map(toldOf) } })
      this.#reasons.push(...left.map(({ id, title }) => `fault ${id} (${title}) could not be healed`))
      return left.length === 0
    } catch (error) {
      this.#reasons.push(`not everything was healed: ${said(error)}`)
      return false
    }
  }

  async #destroy(lab: string): Promise<boolean> {
    try {
      const failures = await this.#world.destroy(lab)
      this.#reasons.push(...failures.map((failure) => `the lab was not destroyed: ${failure}`))
      return failures.length === 0
    } catch (error) {
      this.#reasons.push(`the lab was not destroyed: ${said(error)}`)
      return false
    }
  }
}
