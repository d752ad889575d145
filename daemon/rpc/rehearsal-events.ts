/**
 * What a rehearsal tells -> messages, in their order. A client that does not take them (it is stopped in its terminal) must not fill
 * the daemon: reports of flows then wait as one that is renewed, with everything in it that a later one does not repeat.
 */
import type { ServerDuplexStream } from "@grpc/grpc-js"
import type { Outage } from "../rehearsal/ledger.ts"
import type { Report, Tell, Told } from "../rehearsal/world.ts"
import { toResult } from "./checks.ts"

/** A `FlowReport` has them, whatever else it has. */
interface Deltas {
  readonly changes?: ReadonlyArray<unknown>
  readonly samples?: ReadonlyArray<unknown>
}

/** Of one flow, while nobody takes them. */
const mostDeltas = 1000

const merged = (earlier: Report & Deltas | undefined, report: Report & Deltas): Report & Deltas =>
  earlier === undefined ? report : {
    ...report,
    changes: [...(earlier.changes ?? []), ...(report.changes ?? [])].slice(-mostDeltas),
    samples: [...(earlier.samples ?? []), ...(report.samples ?? [])].slice(-mostDeltas)
  }

const toMessage = (event: Told): object =>
  "check" in event ? { check: { ...event.check, result: toResult(event.check.result) } } : event

export class EventWriter {
  readonly #call: ServerDuplexStream<never, object>
  readonly #flows = new Map<number, Report>()
  readonly #outages = new Map<string, Outage>()
  #isWaiting = false

  constructor(call: ServerDuplexStream<never, object>) {
    this.#call = call
  }

  readonly tell: Tell = (event, atMs) => {
    if (this.#isWaiting && "flows" in event) {
      for (const report of event.flows.flows) this.#flows.set(report.flow, merged(this.#flows.get(report.flow), report))
      for (const outage of event.flows.outages) this.#outages.set(`${outage.flow} ${outage.number}`, outage)
      return
    }
    // Nothing overtakes anything.
    this.#flush(atMs)
    this.#write({ atMs, ...toMessage(event) })
  }

  #flush(atMs: number): void {
    if (this.#flows.size === 0 && this.#outages.size === 0) return
    this.#write({ atMs, flows: { flows: [...this.#flows.values()], outages: [...this.#outages.values()] } })
    this.#flows.clear()
    this.#outages.clear()
  }

  #write(message: object): void {
    const call = this.#call
    if (call.destroyed || call.cancelled || !call.writable) return
    if (call.write(message) || this.#isWaiting) return
    this.#isWaiting = true
    call.once("drain", () => (this.#isWaiting = false))
  }
}
