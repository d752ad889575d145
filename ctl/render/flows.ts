/** Flows of probes as lines: the one that changes while they run, and the table of outages at the end. Pure. */

import { answers, type FlowState, outagesOf } from "../flows.ts"
import type { Style } from "../terminal.ts"
import { printable } from "../terminal.ts"
import { table } from "./table.ts"

/** `143.2 ms`, `0.043 ms`, `1.52 s`. */
export const milliseconds = (ms: number): string => {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`
  return `${ms >= 1 ? ms.toFixed(1) : ms.toFixed(3)} ms`
}

/** `12:03:55.123`, local time. */
const clock = (ms: number): string => {
  const at = new Date(ms)
  return `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`
}

const total = (states: ReadonlyArray<FlowState>, of: "sent" | "received" | "lost" | "unsent"): number =>
  states.reduce((sum, { report }) => sum + (report?.[of] ?? 0), 0)

/** Of a hundred, as exact as it is worth. */
const percent = (part: number, all: number): string => (all === 0 ? "0" : ((100 * part) / all).toFixed(part === 0 ? 0 : 2))

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`

/** While they run. */
export const liveLine = (states: ReadonlyArray<FlowState>, elapsedMs: number, style: Style): string => {
  const lost = total(states, "lost")
  const lossText = `${lost} lost (${percent(lost, total(states, "sent"))} %)`
  const silent = states.filter((state) => !answers(state))
  const sinceMs = Math.max(0, ...silent.map(({ lasting, report }) => lasting?.lengthMs ?? report?.pendingMs ?? 0))
  const which = silent.length < states.length ? `${silent.length} of ${states.length} flows ` : ""
  const [first] = states
  const detail = states.length === 1 ? printable(first?.report?.detail ?? "") : ""
  const fine = detail === "" ? "answers" : detail
  const now = silent.length === 0 ? style.green(fine) : style.red(`${which}silent for ${milliseconds(sinceMs)}`)
  return `${(elapsedMs / 1000).toFixed(1)} s  ${total(states, "sent")} sent  ${lost === 0 ? lossText : style.yellow(lossText)}  ${now}`
}

const mostRows = 40

/** At the end. */
export const flowLines = (states: ReadonlyArray<FlowState>, { style, width }: { readonly style: Style; readonly width: number }) => {
  const several = states.length > 1
  const rows = states.flatMap((state, place) =>
    outagesOf(state).map(({ lasts, lengthMs, lost, startMs }) => {
      const length = `${milliseconds(lengthMs)}${lasts ? " and on" : ""}`
      return { startMs, cells: [...(several ? [String(place + 1)] : []), clock(startMs), length, String(lost)] }
    })
  )
  const sorted = rows.toSorted((a, b) => a.startMs - b.startMs).map(({ cells }) => cells)
  const right = "right" as const
  const columns = [
    ...(several ? [{ title: "FLOW", align: right }] : []),
    { title: "OUTAGE AT" }, { title: "LENGTH", align: right }, { title: "LOST", align: right }
  ]
  return [
    ...(rows.length === 0 ? [] : table(columns, sorted.slice(0, mostRows), { width, style })),
    ...(sorted.length > mostRows ? [style.dim(`and ${sorted.length - mostRows} more (-o json has all)`)] : []),
    ...(rows.length === 0 ? [] : [""]),
    ...changeLines(states, { style, width }),
    ...summary(states, style)
  ]
}

/** What happened to flows that have more to tell than loss: connections, statuses, answers, paths. */
const changeLines = (states: ReadonlyArray<FlowState>, { style, width }: { readonly style: Style; readonly width: number }) => {
  const several = states.length > 1
  const all = states.flatMap(({ changes }, place) => changes.map((change) => ({ ...change, place })))
  // That there is one at first is no news.
  const news = all.filter(({ before, kind }) => kind !== "connected" || before !== "").toSorted((a, b) => a.atMs - b.atMs)
  if (news.length === 0) return []
  const rows = news.slice(0, mostRows).map(({ after, atMs, before, kind, lengthMs, place }) => [
    ...(several ? [String(place + 1)] : []),
    clock(atMs),
    kind,
    kind === "stall" || kind === "reconnected" ? `after ${milliseconds(lengthMs)} data flowed again` : arrow(before, after)
  ])
  const columns = [...(several ? [{ title: "FLOW", align: "right" as const }] : []), { title: "AT" }, { title: "WHAT" }, { title: "" }]
  return [
    ...table(columns, rows, { width, style }),
    ...(news.length > mostRows ? [style.dim(`and ${news.length - mostRows} more (-o json has all)`)] : []),
    ""
  ]
}

const arrow = (before: string, after: string): string => printable(before === "" ? after : `${before} -> ${after}`)

/** Throughput and path MTU: least, median, most. */
const sampleLines = (states: ReadonlyArray<FlowState>): ReadonlyArray<string> =>
  states.flatMap(({ report, samples }, place) => {
    if (samples.length === 0) return []
    const sorted = samples.map(({ value }) => value).toSorted((a, b) => a - b)
    const words = report?.protocol === "throughput" ? bitRate : (value: number): string => `${value} octets`
    const [least, middle, most] = [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!].map(words)
    const which = states.length === 1 ? "" : `flow ${place + 1}: `
    const what = report?.protocol === "throughput" ? "throughput" : "path MTU"
    return [`${which}${what}: ${least} at least, median ${middle}, at most ${most}`]
  })

/** `943 Mbit/s` */
const bitRate = (value: number): string => {
  const [unit, by] = value >= 1e9 ? ["Gbit/s", 1e9] as const : value >= 1e6 ? ["Mbit/s", 1e6] as const : ["kbit/s", 1e3] as const
  return `${Number((value / by).toPrecision(3))} ${unit}`
}

const summary = (states: ReadonlyArray<FlowState>, style: Style): ReadonlyArray<string> => {
  const [sent, lost, unsent] = [total(states, "sent"), total(states, "lost"), total(states, "unsent")]
  const latencies = states.flatMap(({ report }) => (report?.latency && report.latency.max >= 0.0005 ? [report.latency] : []))
  const blindMs = Math.max(0, ...states.map(({ report }) => report?.blindMs ?? 0))
  const errors = [...new Set(states.flatMap(({ report }) => (report?.error ? [report.error] : [])))]
  // Percentiles come from a histogram: its classes may end above the slowest answer.
  const worst = (of: "p50" | "p99" | "max"): string => milliseconds(Math.max(...latencies.map((one) => Math.min(one[of], one.max))))
  const best = milliseconds(Math.min(...latencies.map(({ min }) => min)))
  const received = total(states, "received")
  // While an outage lasts nobody waits for what is under way at the end: of that, nothing is known.
  const open = states.some(({ lasting }) => lasting !== undefined) ? Math.max(0, sent - received - lost) : 0
  const verdict = lost === 0 ? style.green("none lost") : style.red(`${lost} lost (${percent(lost, sent - open)} %)`)
  const outages = states.reduce((sum, { report }) => sum + (report?.outageCount ?? 0), 0)
  const wrong = states.reduce((sum, { report }) => sum + (report?.wrong ?? 0), 0)
  const details = states.length === 1 ? printable(states[0]?.report?.detail ?? "") : ""
  return [
    ...errors.map((error) => `${style.red("error:")} ${printable(error)}`),
    ...(details === "" ? [] : [`now: ${details}`]),
    `${sent} sent, ${received} answered, ${verdict}${outages === 0 ? "" : ` in ${plural(outages, "outage")}`}`,
    ...(open === 0 ? [] : [`${open} were not answered when it ended, and too young to be lost`]),
    ...(wrong === 0 ? [] : [style.red(`${wrong} answered, but not as expected`)]),
    ...sampleLines(states),
    ...(latencies.length === 0
      ? []
      : [`round trip: ${best} at least, median ${worst("p50")}, 99 % ${worst("p99")}, at most ${worst("max")}`]),
    ...(unsent === 0
      ? []
      : [style.dim(`${unsent} could not be sent in time, ${milliseconds(blindMs)} at a stretch: outages may be off by that`)])
  ]
}
