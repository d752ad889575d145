/**
 * Faults of labs that many hosts share: their books are in the shared state, and every host makes its part of what comes of
 * them (`follower.ts`).
 *
 *     inject:  wait until nobody changes the lab --> change its book --commit on that revision--> reports of all hosts
 *
 * Who loses a race looks again and changes the book as it is then. Every daemon keeps the clock: the first of the lab's hosts
 * acts at once, each other one a little later, if it is still due then.
 */
import { bookOf } from "../faults/ledger.ts"
import type { Faulted } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { type ChangeOutcome, type ChangeWatch, Refused } from "../reconciler/control.ts"
import type { FaultedLabs } from "../reconciler/faults.ts"
import { type Alteration, changedIds } from "../reconciler/reconciler.ts"
import { Turns } from "../reconciler/turns.ts"
import type { Versioned } from "../store/fleet.ts"
import type { Fleet } from "./fleet.ts"
import type { Mirror } from "./mirror.ts"
import { hostsOf } from "./standing.ts"

/** How long a change of faults waits for somebody who deploys, and for others that change faults. */
const patienceMs = 30_000
/** How much later than the one before it a host does what is due. */
const laterMs = 400

export interface FleetFaultsParts {
  /** Name of this host. */
  readonly host: string
  readonly mirror: Mirror
  readonly fleet: Fleet
}

/** Hosts that have nodes of these resources. */
const hostsAbout = (ids: ReadonlySet<string>, plans: ReadonlyArray<Plan>): ReadonlySet<string> => {
  const hostOf = new Map(plans.flatMap(({ nodes }) => nodes.map(({ host = "", name }) => [name, host] as const)))
  const nodes = plans.flatMap(({ resources }) =>
    resources.filter(({ id }) => ids.has(id)).flatMap(({ kind, spec }) =>
      kind === "segment" ? spec.ports.map((port) => port.slice(0, port.indexOf(":"))) : "node" in spec ? [spec.node] : []))
  return new Set(nodes.map((node) => hostOf.get(node) ?? ""))
}

export class FleetFaults implements FaultedLabs {
  readonly #parts: FleetFaultsParts
  /** Changes that this host was asked for do not race each other. */
  readonly #turns = new Turns()

  constructor(parts: FleetFaultsParts) {
    this.#parts = parts
  }

  async books(): Promise<ReadonlyArray<{ readonly lab: string; readonly book: Faulted }>> {
    const present = this.#parts.mirror.labs.filter(({ wanted }) => wanted === "present")
    return present.map((lab) => ({ lab: lab.name, book: bookOf(lab) }))
  }

  async resolve(lab: string): Promise<string> {
    const { fleet } = this.#parts
    await fleet.firstRead()
    const name = lab === "" ? await fleet.onlyLab() : lab
    await fleet.present(name)
    return name
  }

  async alter(
    lab: string,
    change: (book: Faulted) => Alteration | undefined,
    watch?: ChangeWatch
  ): Promise<ChangeOutcome | undefined> {
    const end = await this.#turns.take(lab, "faults")
    const deadlineMs = performance.now() + patienceMs
    try {
      for (;;) {
        const leftMs = deadlineMs - performance.now()
        const found = await this.#parts.fleet.quiet(lab, Math.max(0, leftMs))
        const alteration = change(found.lab)
        if (alteration === undefined) return undefined
        try {
          return await this.#make(found, alteration, watch)
        } catch (error) {
          // Somebody was faster: what is asked for is asked of the lab as it is now.
          if (!(error instanceof Refused) || error.code !== "busy" || leftMs <= 0) throw error
        }
      }
    } finally {
      end()
    }
  }

  patienceMs(lab: string): number {
    const { host, mirror } = this.#parts
    const found = mirror.lab(lab)
    const hosts = (found === undefined ? [] : hostsOf(found.lab)).filter((name) => mirror.host(name)?.alive === true)
    const place = hosts.indexOf(host)
    return laterMs * (place < 0 ? hosts.length + 1 : place)
  }

  isHostLost(host: string): boolean {
    const { mirror } = this.#parts
    return mirror.isComplete && mirror.connection.connected && mirror.host(host)?.alive !== true
  }

  /** @throws Refused `busy` when somebody else was faster; nothing was changed then */
  async #make(found: Versioned, { before, book, rollback }: Alteration, watch: ChangeWatch | undefined): Promise<ChangeOutcome> {
    const { fleet } = this.#parts
    let now = found
    if (before !== undefined) now = await this.#pass(now, book, before)
    const outcome = await fleet.commitFaults(now, book, watch)
    const changed = changedIds(found.lab.plan, book.plan)
    const hosts = hostsAbout(changed, [found.lab.plan, book.plan])
    // What a host that has no part in it says, or does not say, is another matter.
    const own = outcome.failures.filter(({ host, id }) => (id === "" ? host === "" || hosts.has(host) : changed.has(id)))
    // A host that is lost does its part when it comes back: that is no reason to undo it everywhere.
    const refused = own.filter(({ id }) => id !== "")
    if (refused.length === 0 || !rollback) return { ...outcome, failures: own }
    const after = await fleet.quiet(found.lab.name, patienceMs)
    await fleet.commitFaults(after, bookOf(found.lab))
    return { ...outcome, failures: own, rolledBack: true }
  }

  /** Goes through a plan on the way. What fails there fails again at the end. */
  async #pass(found: Versioned, book: Faulted, plan: Plan): Promise<Versioned> {
    const { fleet } = this.#parts
    await fleet.commitFaults(found, { ...book, plan })
    return fleet.quiet(found.lab.name, patienceMs)
  }
}
