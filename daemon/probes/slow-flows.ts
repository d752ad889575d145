/**
 * Flows whose probe is many packets: the routers on the way (`traceroute`) and the largest packet that gets there (`path-mtu`), over and
 * over, as linux/path.ts finds them out.
 *
 * They run on the daemon's event loop. While that is busy with something else, answers are read late and what has come counts as timed
 * out; so the loop is timed along with every probe, and one that failed while the loop stood still is `unsent`, not lost.
 */
import { existsSync } from "node:fs"
import { pathMtu, trace, type Trace } from "../linux/path.ts"
import type { FlowReport, Outage, Slowest } from "./flow-report.ts"
import type { Change, Sample } from "./protocols.ts"

export interface SlowOptions {
  readonly netnsPath: string
  readonly address: string
  readonly protocol: "traceroute" | "path-mtu"
  readonly spacingMs: number
  readonly timeoutMs: number
  /** Of somebody who answers; 0: there is nobody, and a closed port says so, but once in a second only. */
  readonly port: number
}

/** What a probe found out, in words; `reason`: it did not get there. */
interface Finding {
  readonly words: string
  readonly reason?: string
  readonly value?: number
}

const kinds = { traceroute: "path", "path-mtu": "mtu" } as const
/** The loop stood still for longer than this: what failed meanwhile says nothing. */
const stillMs = 100
const beatMs = 20
const mostOutages = 4096
const mostKept = 1024

const nowMs = (): number => performance.timeOrigin + performance.now()

/** Times the event loop while something runs. */
const timed = async <A>(run: () => Promise<A>): Promise<{ readonly value: A; readonly lateMs: number }> => {
  let [last, lateMs] = [performance.now(), 0]
  const beat = (): void => {
    const now = performance.now()
    lateMs = Math.max(lateMs, now - last - beatMs)
    last = now
  }
  const timer = setInterval(beat, beatMs)
  try {
    const value = await run()
    beat()
    return { value, lateMs }
  } finally {
    clearInterval(timer)
  }
}

/** `10.0.1.1 * 10.0.2.1`: who answered, hop by hop. */
const pathWords = ({ hops }: Trace): string => hops.map(({ address = "*" }) => address).join(" ")

/** Whether two paths may be the same: a router that said nothing may be any. */
export const samePath = (before: string, after: string): boolean => {
  const [a, b] = [before.split(" "), after.split(" ")]
  return a.length === b.length && a.every((hop, place) => hop === b[place] || hop === "*" || b[place] === "*")
}

/** Both together know more. */
export const mergedPath = (before: string, after: string): string => {
  const former = before.split(" ")
  return after.split(" ").map((hop, place) => (hop === "*" ? former[place] ?? hop : hop)).join(" ")
}

export class SlowFlow {
  readonly #options: SlowOptions
  readonly #timer: NodeJS.Timeout
  readonly #outages: Array<{ startMs: number; endMs: number; lost: number }> = []
  readonly #latencies: Array<number> = []
  #changes: Array<Change> = []
  #samples: Array<Sample> = []
  #counts = { sent: 0, received: 0, lost: 0, unsent: 0, unreachable: 0, outages: 0, changes: 0 }
  #slowest: Slowest | undefined
  #isBusy = false
  #isEnded = false
  #isGone = false
  #beganMs = 0
  #lastMs = 0
  #blindMs = 0
  #words = ""
  #detail = ""

  constructor(options: SlowOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.#probe(), options.spacingMs)
    void this.#probe()
  }

  end(): void {
    this.#isEnded = true
    clearInterval(this.#timer)
  }

  read(from: number): FlowReport {
    const { lost, outages, changes, received, sent, unreachable, unsent } = this.#counts
    const [told, samples] = [this.#changes, this.#samples]
    const slowest = this.#slowest
    this.#changes = []
    this.#samples = []
    this.#slowest = undefined
    const sorted = this.#latencies.toSorted((a, b) => a - b)
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
    const mean = sorted.length === 0 ? 0 : sorted.reduce((sum, one) => sum + one, 0) / sorted.length
    const now = nowMs()
    return {
      protocol: this.#options.protocol, port: this.#options.port, sent, received, lost, unsent, unreachable,
      duplicates: 0, reordered: 0, late: 0, refused: 0, wrong: 0,
      latency: { min: at(0), mean, p50: at(0.5), p99: at(0.99), max: at(1) },
      ...(slowest === undefined ? {} : { slowest }),
      outages: this.#outages.slice(from).map(({ endMs, lost: these, startMs }): Outage =>
        ({ startMs, lengthMs: (endMs === 0 ? now : endMs) - startMs, lost: these, lasts: endMs === 0 })),
      outageCount: outages,
      pendingMs: this.#isBusy ? now - this.#beganMs : 0,
      blindMs: this.#blindMs,
      detail: this.#detail, changes: told, changeCount: changes, samples, isGone: this.#isGone
    }
  }

  async #probe(): Promise<void> {
    if (this.#isBusy) {
      this.#counts.unsent++
      return
    }
    this.#isBusy = true
    this.#beganMs = nowMs()
    const startMs = this.#beganMs
    if (this.#lastMs > 0) this.#blindMs = Math.max(this.#blindMs, startMs - this.#lastMs - this.#options.spacingMs)
    this.#lastMs = startMs
    this.#look(startMs)
    try {
      const { lateMs, value } = await timed(() => (this.#isGone ? Promise.resolve(gone) : this.#find()))
      if (!this.#isEnded) this.#settle(startMs, value, lateMs)
    } finally {
      this.#isBusy = false
    }
  }

  /** Says when the namespace goes and when it is back. */
  #look(atMs: number): void {
    const isGone = !existsSync(this.#options.netnsPath)
    if (isGone === this.#isGone) return
    this.#isGone = isGone
    this.#change({ atMs, kind: isGone ? "gone" : "back", before: this.#detail, after: isGone ? gone.reason : "the node is back" })
  }

  async #find(): Promise<Finding> {
    const { address, netnsPath, port, protocol, timeoutMs } = this.#options
    const answered = port === 0 ? undefined : port
    if (protocol === "path-mtu") {
      const found = await pathMtu(netnsPath, address, timeoutMs, answered)
      if (!found.ok) return { words: "", reason: found.reason }
      return { words: `${found.mtu}${found.blackHole ? " (black hole)" : ""}`, value: found.mtu }
    }
    const known = this.#words === "" ? 0 : this.#words.split(" ").length
    const found = await trace(netnsPath, address, timeoutMs, { hops: known, ...(answered === undefined ? {} : { port: answered }) })
    if (found.arrived) return { words: pathWords(found) }
    const last = found.hops.findLast(({ address: hop }) => hop !== undefined)?.address
    const reason = found.error ?? found.hops.at(-1)?.reason ?? "timed out"
    return { words: "", reason: last === undefined ? reason : `${reason}, no further than ${last}` }
  }

  #settle(startMs: number, { reason, value, words }: Finding, lateMs: number): void {
    const counts = this.#counts
    if (reason !== undefined && lateMs > stillMs) {
      counts.unsent++
      this.#blindMs = Math.max(this.#blindMs, lateMs)
      return
    }
    counts.sent++
    const lasting = this.#outages.at(-1)?.endMs === 0 ? this.#outages.at(-1)! : undefined
    if (reason !== undefined) {
      counts.lost++
      if (!reason.startsWith("timed out") && !this.#isGone) counts.unreachable++
      if (lasting !== undefined) lasting.lost++
      else {
        counts.outages++
        if (this.#outages.length < mostOutages) this.#outages.push({ startMs, endMs: 0, lost: 1 })
      }
      if (this.#detail !== reason && !this.#isGone) this.#change({ ...this.#as(startMs), after: reason })
      return
    }
    counts.received++
    if (lasting !== undefined) lasting.endMs = startMs
    if (this.#latencies.length === mostKept) this.#latencies.shift()
    const atMs = nowMs()
    this.#latencies.push(atMs - startMs)
    if (atMs - startMs >= (this.#slowest?.latencyMs ?? 0)) this.#slowest = { atMs, latencyMs: atMs - startMs }
    if (value !== undefined && this.#samples.length < mostKept) this.#samples.push({ atMs: startMs, value })
    const isPath = this.#options.protocol === "traceroute"
    const isSame = this.#detail === this.#words && (isPath ? samePath(this.#words, words) : this.#words === words)
    const known = isSame && isPath ? mergedPath(this.#words, words) : words
    if (!isSame) this.#change({ ...this.#as(startMs), after: known })
    this.#words = known
    this.#detail = known
  }

  #as(atMs: number): Pick<Change, "atMs" | "kind" | "before"> {
    return { atMs, kind: kinds[this.#options.protocol], before: this.#detail }
  }

  #change(change: Omit<Change, "lengthMs">): void {
    this.#counts.changes++
    this.#detail = change.after
    if (this.#changes.length < mostKept) this.#changes.push({ ...change, lengthMs: 0 })
  }
}

const gone = { words: "", reason: "the node is gone" } as const
