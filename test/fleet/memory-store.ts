/**
 * What hosts share, in memory: for decisions that a real etcd adds nothing to. Revisions are counted, listeners are told at
 * once, and `away` makes it unreachable.
 */
import { vnisOf } from "../../daemon/plan/vni.ts"
import type {
  CommitResult, FleetLab, FleetListener, FleetStore, HostRecord, HostState, PartReport, RegistrationListener, Versioned
} from "../../daemon/store/fleet.ts"

export class MemoryStore implements FleetStore {
  readonly labsByName = new Map<string, Versioned>()
  readonly #reports = new Map<string, Map<string, PartReport>>()
  readonly #hosts = new Map<string, HostState>()
  readonly #listeners = new Set<FleetListener>()
  #revision = 0
  #away = ""

  /** `reason` empty: it can be reached. */
  setAway(reason: string): void {
    this.#away = reason
    for (const listener of this.#listeners) {
      if (reason === "") this.#tellAll(listener)
      else listener.connection?.(false, reason)
    }
  }

  setHost(name: string, more: Partial<HostState> = {}): void {
    const of = { endpoint: "", capacity: 1, labels: {}, instance: "i", version: "0", kernel: "6", since: "2026-01-01T00:00:00.000Z" }
    const fresh = { name, underlay: `192.0.2.${this.#hosts.size + 1}`, ...of, alive: true, drained: false }
    this.#hosts.set(name, { ...fresh, ...this.#hosts.get(name), ...more })
    for (const listener of this.#listeners) listener.hosts?.([...this.#hosts.values()])
  }

  async register(record: HostRecord, listener?: RegistrationListener): Promise<void> {
    this.setHost(record.name, record)
    listener?.(true, "")
  }
  async hosts(): Promise<ReadonlyArray<HostState>> {
    return [...this.#hosts.values()]
  }
  async setDrained(host: string, drained: boolean): Promise<void> {
    this.setHost(host, { drained })
  }
  async forgetHost(host: string): Promise<void> {
    this.#hosts.delete(host)
    for (const listener of this.#listeners) listener.hosts?.([...this.#hosts.values()])
  }
  async labs(): Promise<ReadonlyArray<Versioned>> {
    this.#check()
    return [...this.labsByName.values()]
  }
  async lab(name: string): Promise<Versioned | undefined> {
    this.#check()
    return this.labsByName.get(name)
  }
  async commit(name: string, expected: string, make: (taken: ReadonlySet<number>) => FleetLab): Promise<CommitResult> {
    this.#check()
    const before = this.labsByName.get(name)
    if ((before?.revision ?? "0") !== expected) return { ok: false, winner: before }
    const others = [...this.labsByName.values()].filter(({ lab }) => lab.name !== name)
    const lab = make(new Set(others.flatMap((one) => vnisOf(one.lab.plan.resources))))
    const versioned = { lab, revision: String(++this.#revision) }
    this.labsByName.set(name, versioned)
    for (const listener of this.#listeners) listener.lab?.(name, versioned)
    return { ok: true, revision: versioned.revision }
  }
  async remove(name: string, expected: string): Promise<boolean> {
    this.#check()
    if (this.labsByName.get(name)?.revision !== expected) return false
    this.labsByName.delete(name)
    this.#reports.delete(name)
    for (const listener of this.#listeners) listener.lab?.(name, undefined)
    return true
  }
  async report(lab: string, report: PartReport): Promise<void> {
    this.#check()
    const reports = this.#reports.get(lab) ?? new Map<string, PartReport>()
    this.#reports.set(lab, reports.set(report.host, report))
    for (const listener of this.#listeners) listener.report?.(lab, report)
  }
  async reports(lab: string): Promise<ReadonlyArray<PartReport>> {
    return [...(this.#reports.get(lab)?.values() ?? [])]
  }
  watch(listener: FleetListener): () => void {
    this.#listeners.add(listener)
    queueMicrotask(() => (this.#away === "" ? this.#tellAll(listener) : listener.connection?.(false, this.#away)))
    return () => this.#listeners.delete(listener)
  }
  async close(): Promise<void> {
    this.#listeners.clear()
  }

  #check(): void {
    if (this.#away !== "") throw new Error(this.#away)
  }

  #tellAll(listener: FleetListener): void {
    listener.hosts?.([...this.#hosts.values()])
    for (const [name, found] of this.labsByName) listener.lab?.(name, found)
    for (const [lab, reports] of this.#reports) for (const report of reports.values()) listener.report?.(lab, report)
    listener.connection?.(true, "")
  }
}
