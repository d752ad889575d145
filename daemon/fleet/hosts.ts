/**
 * The hosts of a fleet: who they are and what they have, and moving everything away from one.
 *
 * Draining marks the host first, so that nothing new is placed on it, and then places each lab again without it: nodes of
 * other hosts stay where they are. A host that is lost can be drained, too: what it had is made elsewhere, and it removes
 * its own when it comes back, or is forgotten.
 */
import { place } from "../compiler/place.ts"
import { baseOf } from "../plan/fault.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"
import {
  type ChangeFailure, type ChangeOutcome, type ChangeWatch, type HostControl, type HostInfo, Refused
} from "../reconciler/control.ts"
import type { FleetStore, HostState } from "../store/fleet.ts"
import type { Fleet } from "./fleet.ts"
import type { Mirror } from "./mirror.ts"
import { hostsOf, isUnderWay, standingsOf } from "./standing.ts"

export interface FleetHostsParts {
  /** Name of this host. */
  readonly host: string
  readonly shared: FleetStore
  readonly mirror: Mirror
  readonly fleet: Fleet
}

const nothing: ChangeOutcome = { changed: 0, failures: [], rolledBack: false }
const drainPatienceMs = 60_000

export class FleetHosts implements HostControl {
  readonly #parts: FleetHostsParts

  constructor(parts: FleetHostsParts) {
    this.#parts = parts
  }

  async hosts(): Promise<{ readonly hosts: ReadonlyArray<HostInfo>; readonly error: string }> {
    const { fleet, mirror } = this.#parts
    await fleet.firstRead()
    return { hosts: mirror.hosts.map((state) => this.#info(state)), error: fleet.awayText }
  }

  async drain(
    request: { readonly host: string; readonly undo: boolean; readonly forget: boolean },
    watch: ChangeWatch
  ): Promise<ChangeOutcome> {
    const { fleet, mirror, shared } = this.#parts
    await fleet.requireShared()
    const { forget, host, undo } = request
    const state = mirror.host(host)
    if (state === undefined) {
      throw new Refused("not-found", `No host "${host}" (hosts: ${mirror.hosts.map(({ name }) => name).join(", ")})`)
    }
    if (undo) {
      await shared.setDrained(host, false)
      return nothing
    }
    if (forget && state.alive) {
      const remedy = `Stop its weftd first; weft drain ${host} moves its nodes away`
      throw new Refused("unavailable", `Cannot forget host "${host}": it is alive. ${remedy}`)
    }
    if (!state.drained) {
      await shared.setDrained(host, true)
      // What is placed next must know it.
      await mirror.until(() => (mirror.host(host)?.drained === false ? undefined : true), { timeoutMs: 5000 })
    }
    const outcome = await this.#moveAll(host, watch)
    if (!forget) return outcome
    const keeping = mirror.labs.filter((lab) => lab.plan.nodes.some((node) => node.host === host)).map(({ name }) => name)
    if (keeping.length > 0) {
      const error = `cannot forget ${host}: ${keeping.join(", ")} still ${keeping.length === 1 ? "has" : "have"} nodes there`
      return { ...outcome, failures: [...outcome.failures, { id: "", host, error, blocked: false }] }
    }
    await shared.forgetHost(host)
    return outcome
  }

  #info(state: HostState): HostInfo {
    const { alive, capacity, drained, endpoint, kernel, labels, name, since, underlay, version } = state
    const nodesIn = this.#parts.mirror.labs.map((lab) => lab.plan.nodes.filter((node) => node.host === name).length)
    return {
      name,
      state: !alive ? "lost" : drained ? "drained" : "ready",
      underlay,
      endpoint,
      capacity,
      labels,
      version,
      kernel,
      since,
      labs: nodesIn.filter((count) => count > 0).length,
      nodes: nodesIn.reduce((sum, count) => sum + count, 0),
      asked: name === this.#parts.host
    }
  }

  /** Lab after lab: where one cannot move, the others still do. */
  async #moveAll(host: string, watch: ChangeWatch): Promise<ChangeOutcome> {
    const { mirror } = this.#parts
    const labs = mirror.labs.filter((lab) => lab.wanted === "present" && lab.plan.nodes.some((node) => node.host === host))
    watch.planned({ creates: 0, updates: 0, replaces: 0, removes: 0 })
    let changed = 0
    const failures: ChangeFailure[] = []
    for (const { name } of labs) {
      try {
        const outcome = await this.#move(name, host, watch)
        changed += outcome.changed
        failures.push(...outcome.failures.map((failure) => ({ ...failure, error: `lab ${name}: ${failure.error}` })))
      } catch (error) {
        failures.push({ id: "", host, error: `lab ${name}: ${(error as Error).message}`, blocked: false })
      }
    }
    return { changed, failures, rolledBack: false }
  }

  async #move(name: string, host: string, watch: ChangeWatch): Promise<ChangeOutcome> {
    const { fleet, mirror, shared } = this.#parts
    await this.#settled(name)
    const found = await shared.lab(name)
    if (found?.lab.wanted !== "present") return nothing
    const nodes = found.lab.plan.nodes.filter((node) => node.host === host)
    if (nodes.length === 0) return nothing
    const pinned = nodes.filter((node) => node.pinned !== undefined).map((node) => node.name)
    if (pinned.length > 0) {
      const which = pinned.map((node) => `"${node}"`).join(", ")
      throw new Error(`its topology wants ${which} on ${host}: change "host" there and deploy it; nothing of the lab was moved`)
    }
    const placed = place(baseOf(found.lab), mirror.hosts, new Map(found.lab.plan.nodes.map((node) => [node.name, node.host ?? ""])))
    if (!placed.ok) throw new Error(placed.diagnostics.map(({ message }: Diagnostic) => message).join("; "))
    const to = new Map(placed.plan.nodes.map((node) => [node.name, node.host]))
    watch.note(`${name}: ${nodes.map((node) => `${node.name} to ${to.get(node.name)}`).join(", ")}`)
    return fleet.commitPlan(placed.plan, { found, filename: found.lab.filename }, { ...watch, planned: () => {} })
  }

  /** Somebody may be changing the lab right now. */
  async #settled(name: string): Promise<void> {
    const { mirror } = this.#parts
    const isBusy = (): boolean => {
      const found = mirror.lab(name)
      return found !== undefined && isUnderWay(standingsOf(found.lab, mirror.reports(name), mirror.hosts))
    }
    const done = await mirror.until(() => (isBusy() ? undefined : true), { timeoutMs: drainPatienceMs })
    if (done === undefined) throw new Error(`it is being changed (on ${hostsOf(mirror.lab(name)!.lab).join(", ")}): drain again later`)
  }
}
