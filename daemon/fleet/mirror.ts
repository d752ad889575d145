/**
 * What this daemon knows of the shared state: labs, reports and hosts as the watch told them last. Everything that is
 * asked of a fleet is answered from here, so it is answered while etcd is away, too; what it says is then as old as
 * `connection` tells.
 *
 * Who waits for something listens, and looks again whenever anything has changed.
 */
import type { FleetLab, FleetStore, HostState, PartReport, Versioned } from "../store/fleet.ts"

export interface Heard extends PartReport {
  /** When it reached us, by our own clock that only goes forward: other hosts' clocks may be wrong. */
  readonly heardMs: number
}

export interface Connection {
  readonly connected: boolean
  /** Why not. */
  readonly reason: string
  /** RFC 3339: since when it is so. */
  readonly since: string
}

export type Changed =
  | { readonly kind: "lab"; readonly lab: string }
  | { readonly kind: "report"; readonly lab: string; readonly host: string }
  | { readonly kind: "hosts" }
  | { readonly kind: "connection" }

export class Mirror {
  readonly #labs = new Map<string, Versioned>()
  /** When each lab was told last, by our own clock. */
  readonly #toldMs = new Map<string, number>()
  readonly #reports = new Map<string, Map<string, Heard>>()
  #hosts: ReadonlyArray<HostState> = []
  #connection: Connection = { connected: false, reason: "not connected yet", since: new Date().toISOString() }
  /** Labs and hosts have been read once: what is not here is not there. */
  #complete = false
  readonly #listeners = new Set<(changed: Changed) => void>()
  readonly #stop: () => void

  constructor(store: FleetStore) {
    this.#stop = store.watch({
      lab: (name, found) => this.#heardLab(name, found),
      report: (lab, report) => this.#heardReport(lab, report),
      hosts: (hosts) => {
        this.#hosts = hosts.toSorted((a, b) => (a.name < b.name ? -1 : 1))
        this.#tell({ kind: "hosts" })
      },
      connection: (connected, reason) => this.#heardConnection(connected, reason)
    })
  }

  get connection(): Connection {
    return this.#connection
  }

  /** False until the shared state has been read once since this daemon started. */
  get isComplete(): boolean {
    return this.#complete
  }

  /** By name. */
  get hosts(): ReadonlyArray<HostState> {
    return this.#hosts
  }

  host(name: string): HostState | undefined {
    return this.#hosts.find((host) => host.name === name)
  }

  /** Underlay address of a host, also of one that is lost: it comes back. */
  readonly vtepOf = (name: string): string | undefined => this.host(name)?.underlay

  /** By name. */
  get labs(): ReadonlyArray<FleetLab> {
    return [...this.#labs.values()].map(({ lab }) => lab).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  lab(name: string): Versioned | undefined {
    return this.#labs.get(name)
  }

  /** What each host said last of a lab, of whatever generation. */
  reports(lab: string): ReadonlyMap<string, Heard> {
    return this.#reports.get(lab) ?? new Map<string, Heard>()
  }

  /** For how long nothing was heard of a host's part, nor of a change of the lab. */
  silentMs(lab: string, host: string): number {
    const heardMs = this.reports(lab).get(host)?.heardMs ?? Number.NEGATIVE_INFINITY
    return performance.now() - Math.max(heardMs, this.#toldMs.get(lab) ?? Number.NEGATIVE_INFINITY)
  }

  /** Called after each change; returns what ends it. */
  listen(listener: (changed: Changed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Resolves with what `look` finds, looking again after every change, or with undefined when the time is up.
   * `look` may also want to look by the clock alone: `everyMs`.
   */
  until<A>(look: () => A | undefined, options: { readonly timeoutMs: number; readonly everyMs?: number }): Promise<A | undefined> {
    const first = look()
    if (first !== undefined) return Promise.resolve(first)
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        stop()
        clearTimeout(deadline)
        clearInterval(clock)
        settle()
      }
      const again = (): void => {
        try {
          const found = look()
          if (found !== undefined) end(() => resolve(found))
        } catch (error) {
          end(() => reject(error))
        }
      }
      const stop = this.listen(again)
      const deadline = setTimeout(() => end(() => resolve(undefined)), options.timeoutMs)
      const clock = options.everyMs === undefined ? undefined : setInterval(again, options.everyMs)
    })
  }

  close(): void {
    this.#stop()
    this.#listeners.clear()
  }

  #heardLab(name: string, found: Versioned | undefined): void {
    if (found === undefined) {
      this.#labs.delete(name)
      this.#reports.delete(name)
      this.#toldMs.delete(name)
    } else {
      this.#labs.set(name, found)
      this.#toldMs.set(name, performance.now())
    }
    this.#tell({ kind: "lab", lab: name })
  }

  #heardReport(lab: string, report: PartReport): void {
    let ofLab = this.#reports.get(lab)
    if (ofLab === undefined) this.#reports.set(lab, (ofLab = new Map()))
    ofLab.set(report.host, { ...report, heardMs: performance.now() })
    this.#tell({ kind: "report", lab, host: report.host })
  }

  /** The store tells of a connection after all that a watch found at its start. */
  #heardConnection(connected: boolean, reason: string): void {
    if (connected) this.#complete = true
    const same = connected === this.#connection.connected
    this.#connection = { connected, reason, since: same ? this.#connection.since : new Date().toISOString() }
    this.#tell({ kind: "connection" })
  }

  #tell(changed: Changed): void {
    for (const listener of [...this.#listeners]) listener(changed)
  }
}
