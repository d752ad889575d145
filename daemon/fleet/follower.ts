/**
 * Makes of each lab this host's part:
 *
 *     shared state --> whole lab --partOf--> part --> local reconciler --> kernel
 *                                                          `--> report
 *
 * One worker for each lab, which looks again when anything changes meanwhile. Which step to take follows from the whole
 * lab and the local entry alone (`decide`), so it does not matter what was missed: after a restart, or while the shared
 * state was away.
 *
 * A part that the shared state does not know of is never removed for that. A lab leaves etcd only when all its hosts have
 * reported it gone, so either etcd has lost its data, or this host was forgotten while it was away. Both need a person:
 * `weft destroy` or another deploy of the lab. See docs/fleet.md.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { EventLog } from "../observe/events.ts"
import { partOf } from "../plan/part.ts"
import type { Plan } from "../plan/resource.ts"
import { Refused } from "../reconciler/control.ts"
import type { Outcome, Reconciler, Watch } from "../reconciler/reconciler.ts"
import type { FleetLab, FleetStore, PartReport } from "../store/fleet.ts"
import type { LabEntry, Store } from "../store/store.ts"
import type { Mirror } from "./mirror.ts"
import { Reporter } from "./reporter.ts"
import { isGone, standingsOf } from "./standing.ts"

/** A command that fails fails again, and running it five times may be worse than once. */
const isFinal = ({ id }: { readonly id: string }): boolean => id.startsWith("exec/")

/** After a failure. Hosts that share a machine's /run/netns, as in a demo, are in each other's way while a node moves. */
const backOffMs = [200, 500, 1000, 2000]

export type Decision =
  | { readonly kind: "nothing" }
  /** It is as it should be: the others may not know. */
  | { readonly kind: "tell"; readonly state: "ready" | "gone"; readonly generation: number }
  | { readonly kind: "converge"; readonly part: Plan; readonly lab: FleetLab }
  | { readonly kind: "remove"; readonly generation: number }
  /** Only this host knows the lab. */
  | { readonly kind: "orphan" }

/** Both come from JSON, or go there: what JSON makes of them is what they are. */
const same = (a: Plan, b: Plan): boolean => JSON.stringify(a) === JSON.stringify(b)

/** What this host has to do about a lab, from what all should be and what it has. */
export const decide = (
  host: string,
  whole: FleetLab | undefined,
  entry: LabEntry | undefined,
  vtepOf: (host: string) => string | undefined
): Decision => {
  if (whole === undefined) return entry === undefined ? { kind: "nothing" } : { kind: "orphan" }
  const { generation } = whole
  const part = whole.wanted === "present" ? partOf(whole.plan, host, vtepOf) : undefined
  if (part === undefined || part.nodes.length === 0) {
    if (entry !== undefined) return { kind: "remove", generation }
    return whole.hosts.includes(host) ? { kind: "tell", state: "gone", generation } : { kind: "nothing" }
  }
  const isDone = entry?.state === "ready" && entry.generation === generation && same(entry.plan, part)
  return isDone ? { kind: "tell", state: "ready", generation } : { kind: "converge", part, lab: whole }
}

export interface FollowerParts {
  readonly host: string
  readonly store: Store
  readonly shared: FleetStore
  readonly mirror: Mirror
  readonly reconciler: Reconciler
  readonly events: EventLog
}

export class Follower {
  readonly #parts: FollowerParts
  readonly #reporter: Reporter
  readonly #working = new Map<string, Promise<void>>()
  readonly #dirty = new Set<string>()
  readonly #orphans = new Set<string>()
  readonly #stop: () => void
  readonly #closing = new AbortController()
  /** Underlay addresses by which parts were cut last. */
  #vteps = ""
  #begun = false

  constructor(parts: FollowerParts) {
    this.#parts = parts
    this.#reporter = new Reporter(parts.shared, parts.mirror)
    this.#stop = parts.mirror.listen((changed) => {
      if (changed.kind === "lab") this.#kick(changed.lab)
      else if (changed.kind === "report") void this.#removeWhenGone(changed.lab)
      else if (changed.kind === "connection" && parts.mirror.connection.connected) void this.#kickAll()
      else if (changed.kind === "hosts") this.#hostsChanged()
    })
  }

  /** Labs of which only this host knows, by name. */
  get orphans(): ReadonlySet<string> {
    return this.#orphans
  }

  /** Nothing is made before: whoever bears the name of another living host would make that host's part a second time. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    void this.#kickAll()
  }

  /** Makes, removes and reports nothing more until `begin`; what is there stays. */
  pause(): void {
    this.#begun = false
    this.#dirty.clear()
    this.#reporter.forgetAll()
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#stop()
    this.#closing.abort()
    await Promise.all(this.#working.values())
    await this.#reporter.close()
  }

  async #kickAll(): Promise<void> {
    const { mirror, store } = this.#parts
    const local = (await store.labs()).map(({ name }) => name)
    for (const lab of new Set([...local, ...mirror.labs.map(({ name }) => name)])) this.#kick(lab)
  }

  /** Parts are cut anew when somebody's underlay address is another; a lab that is going may wait only for the forgotten. */
  #hostsChanged(): void {
    const vteps = JSON.stringify(this.#parts.mirror.hosts.map(({ name, underlay }) => [name, underlay]))
    if (vteps !== this.#vteps) void this.#kickAll()
    this.#vteps = vteps
    for (const { name } of this.#parts.mirror.labs) void this.#removeWhenGone(name)
  }

  #kick(lab: string): void {
    if (!this.#begun || !this.#parts.mirror.isComplete || this.#closing.signal.aborted) return
    this.#dirty.add(lab)
    if (this.#working.has(lab)) return
    const work = this.#work(lab).finally(() => {
      this.#working.delete(lab)
      if (this.#dirty.has(lab)) this.#kick(lab)
    })
    this.#working.set(lab, work)
  }

  /** Never rejects. */
  async #work(lab: string): Promise<void> {
    while (this.#begun && this.#dirty.delete(lab) && !this.#closing.signal.aborted) {
      try {
        await this.#follow(lab)
      } catch (error) {
        if (this.#closing.signal.aborted) return
        this.#tellFailure(lab, (error as Error).message)
      }
      await this.#removeWhenGone(lab)
    }
  }

  /** Something that is no resource's fault: whoever waits for this host should hear of it all the same. */
  #tellFailure(lab: string, error: string): void {
    const { events, host, mirror } = this.#parts
    if (!this.#begun) return
    events.emit({ lab, type: "lab.failed", subject: lab, message: `${lab}: ${error}` })
    const generation = mirror.lab(lab)?.lab.generation
    if (generation === undefined) return
    this.#reporter.tell(lab, { host, generation, state: "failed", done: 0, total: 0, failures: [{ id: "", error }] })
  }

  async #follow(lab: string): Promise<void> {
    const { host, mirror, reconciler, store } = this.#parts
    const whole = mirror.lab(lab)?.lab
    const decision = decide(host, whole, await store.lab(lab), mirror.vtepOf)
    if (decision.kind !== "orphan") this.#orphans.delete(lab)
    switch (decision.kind) {
      case "nothing":
        return this.#reporter.forget(lab)
      case "orphan":
        return this.#tellOrphan(lab)
      case "tell":
        return this.#reporter.tell(lab, { host, generation: decision.generation, state: decision.state, done: 0, total: 0 })
      case "remove":
        return this.#repeat(lab, decision.generation, "gone", (watch) => reconciler.destroy(lab, watch))
      case "converge": {
        const { generation, filename } = decision.lab
        const options = { filename, rollback: false, generation, faultsOnly: decision.lab.faultsAt !== undefined }
        return this.#repeat(lab, generation, "ready", (watch) => reconciler.deploy(decision.part, options, watch))
      }
    }
  }

  #tellOrphan(lab: string): void {
    const { host } = this.#parts
    if (this.#orphans.has(lab)) return
    this.#orphans.add(lab)
    const remedy = `Deploy it again, or ${destroyHere(lab, host)}`
    const message = `${lab} is on this host and unknown to etcd: it stays as it is. ${remedy}`
    this.#parts.events.emit({ lab, type: "lab.orphaned", subject: lab, message })
  }

  /** Tries until it succeeds, the lab changes again, or the last back-off is over; reports all the while. */
  async #repeat(lab: string, generation: number, goal: "ready" | "gone", attempt: (watch: Watch) => Promise<Outcome>): Promise<void> {
    const { host, mirror } = this.#parts
    let done = 0
    let total = 0
    const tell = (state: PartReport["state"], failures: PartReport["failures"] = []): void => {
      if (this.#begun) this.#reporter.tell(lab, { host, generation, state, done, total: Math.max(done, total), failures })
    }
    const watch: Watch = {
      planned: (steps) => {
        total = done + steps.length
        tell("converging")
      },
      report: (_, error) => {
        if (error === undefined) done += 1
        tell("converging")
      },
      note: () => {}
    }
    for (let tries = 0; ; tries++) {
      const before = done
      const { changed, failures } = await told(attempt(watch))
      // Gates of faults are shut before anything is planned.
      done = Math.max(done, before + changed)
      if (failures.length === 0) return tell(goal)
      const isOld = (): boolean =>
        !this.#begun || mirror.lab(lab)?.lab.generation !== generation || this.#closing.signal.aborted
      if (isOld()) return
      const wait = failures.every(isFinal) ? undefined : backOffMs[tries]
      if (wait === undefined) return tell("failed", failures)
      await sleep(wait, undefined, { signal: this.#closing.signal }).catch(() => {})
      if (isOld()) return
    }
  }

  /** The last one to report closes the door: whoever notices it first removes the entry. */
  async #removeWhenGone(lab: string): Promise<void> {
    const { host, mirror, shared } = this.#parts
    const found = mirror.lab(lab)
    if (!this.#begun || found?.lab.wanted !== "absent" || !mirror.connection.connected) return
    if (!isGone(standingsOf(found.lab, mirror.reports(lab), mirror.hosts))) return
    const first = mirror.hosts.find(({ alive }) => alive)?.name ?? host
    if (first === host) await shared.remove(lab, found.revision).catch(() => {})
  }
}

/** Only the daemon that has a lab of which etcd does not know can destroy it. */
export const destroyHere = (lab: string, host: string): string => `weft destroy ${lab} (with the weftd of host ${host})`

interface Told {
  readonly changed: number
  readonly failures: PartReport["failures"]
}

/** How many changes were made; causes first, a failure for each thing that went wrong, also when nothing could be tried. */
const told = async (attempt: Promise<Outcome>): Promise<Told> => {
  try {
    const { changed, failures } = await attempt
    const isCause = ({ error }: Outcome["failures"][number]): boolean => error.code !== "blocked"
    const ordered = [...failures.filter(isCause), ...failures.filter((one) => !isCause(one))]
    return { changed, failures: ordered.map(({ id, error }) => ({ id, error: error.message })) }
  } catch (error) {
    // Somebody else was first to remove it.
    if (error instanceof Refused && error.code === "not-found") return { changed: 0, failures: [] }
    return { changed: 0, failures: [{ id: "", error: (error as Error).message }] }
  }
}
