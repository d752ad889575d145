/**
 * Tells the others how far this host has got: the latest report of each lab, at most five a second, and again when the
 * shared state comes back after it could not be written. Only the latest counts, so nothing queues up.
 */
import type { FleetStore, PartReport } from "../store/fleet.ts"
import type { Mirror } from "./mirror.ts"

const throttleMs = 200
const retryMs = 1000
/** Whoever waits for a host that converges should hear from it. */
const heartbeatMs = 5000
const maxFailures = 20

export class Reporter {
  readonly #store: FleetStore
  readonly #mirror: Mirror
  readonly #latest = new Map<string, PartReport>()
  readonly #unsent = new Set<string>()
  /** The commit that the latest report is about. */
  readonly #toldOf = new Map<string, string | undefined>()
  readonly #heartbeat: NodeJS.Timeout
  readonly #stop: () => void
  #timer: NodeJS.Timeout | undefined
  #sending = false
  #sentMs = 0
  #closed = false

  constructor(store: FleetStore, mirror: Mirror) {
    this.#store = store
    this.#mirror = mirror
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs)
    this.#heartbeat.unref()
    this.#stop = mirror.listen((changed) => {
      if (changed.kind === "connection" && mirror.connection.connected) this.#schedule(0)
      // What was not sent is of no use to another commit; and a lab made anew counts its generations from 1 again.
      else if (changed.kind === "lab" && this.#commitOf(changed.lab) !== this.#toldOf.get(changed.lab)) this.forget(changed.lab)
    })
  }

  /** What became of the lab here. Says nothing when the others have heard just that. */
  tell(lab: string, report: Omit<PartReport, "at" | "failures"> & { readonly failures?: PartReport["failures"] }): void {
    const failures = (report.failures ?? []).slice(0, maxFailures)
    const heard = this.#mirror.reports(lab).get(report.host)
    const isFinal = report.state !== "converging"
    const isNews = heard === undefined || heard.generation !== report.generation || heard.state !== report.state || failures.length > 0
    if (isFinal && !isNews && !this.#unsent.has(lab)) return void this.#latest.delete(lab)
    this.#latest.set(lab, { ...report, failures, at: new Date().toISOString() })
    this.#toldOf.set(lab, this.#commitOf(lab))
    this.#unsent.add(lab)
    this.#schedule(isFinal ? 0 : throttleMs - (performance.now() - this.#sentMs))
  }

  /** Nothing more is said of the lab. */
  forget(lab: string): void {
    this.#latest.delete(lab)
    this.#unsent.delete(lab)
    this.#toldOf.delete(lab)
  }

  /** Nothing more is said of any lab. */
  forgetAll(): void {
    this.#latest.clear()
    this.#unsent.clear()
    this.#toldOf.clear()
  }

  /** Sends what is waiting, if it can. */
  async close(): Promise<void> {
    clearInterval(this.#heartbeat)
    clearTimeout(this.#timer)
    this.#stop()
    if (this.#mirror.connection.connected) await this.#send()
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #commitOf(lab: string): string | undefined {
    const found = this.#mirror.lab(lab)?.lab
    return found?.faultsAt ?? found?.deployedAt
  }

  #beat(): void {
    for (const [lab, report] of this.#latest) {
      if (report.state !== "converging") continue
      this.#latest.set(lab, { ...report, at: new Date().toISOString() })
      this.#unsent.add(lab)
    }
    if (this.#unsent.size > 0) this.#schedule(0)
  }

  #schedule(inMs: number): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#send(), Math.max(0, inMs))
  }

  async #send(): Promise<void> {
    if (this.#sending) return this.#schedule(throttleMs)
    this.#sending = true
    try {
      for (const lab of [...this.#unsent]) {
        this.#unsent.delete(lab)
        const report = this.#latest.get(lab)
        if (report === undefined) continue
        try {
          await this.#store.report(lab, report)
          this.#sentMs = performance.now()
          if (report.state !== "converging" && this.#latest.get(lab) === report) this.#latest.delete(lab)
        } catch {
          // The mirror says that the shared state cannot be reached; this is said again.
          this.#unsent.add(lab)
          this.#schedule(retryMs)
          return
        }
      }
    } finally {
      this.#sending = false
    }
  }
}
