/**
 * A rehearsal while it runs. On a terminal one block is redrawn in place: the step, then a line for each flow, the worst first
 * when there are more than fit; what is over stays above it, a line for each step. Elsewhere there are such lines only.
 *
 *     one tunnel to two · company                                                         12.4 s
 *     > 3/5 cut vpn-1  inject link-down vpn-1                                              3.2 s
 *       FLOW               20 s                                          RTT      OUT  WORST
 *     x pc1 -> db (icmp)   ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁!××   9.7 ms   505 ms  505 ms cut vpn-1
 *     ✓ pc2 -> web (tcp)   ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁!▃▃   9.6 ms           278 ms cut vpn-1
 *
 * Heights of a sparkline are round trips: each step of height is 1.4 times longer than the quickest. `×` is a slice that was lost for
 * the most part, `!` one that was lost in part, a space one in which the flow did not run.
 */

import { countedOutMs, LiveFlows, type LiveFlow, type LiveSlice, outNowMs, sliceMs } from "../rehearsal/live-flows.ts"
import type { RehearsalEvent, RehearsalPlanned, RehearsalStepEnded } from "../rehearsal/messages.ts"
import { printable, type Style, visibleLength } from "../terminal.ts"
import { milliseconds } from "./flows.ts"
import type { Target } from "./progress.ts"

export interface LiveView {
  readonly feed: (event: RehearsalEvent) => void
  /** Prints a line that stays, above what is redrawn. */
  readonly say: (line: string) => void
  /** Redraws if it is time; call it some times a second, for the clock goes on when no events come. */
  readonly tick: () => void
  /** Removes what is redrawn. */
  readonly end: () => void
}

/** What it writes to; `process.stderr` outside of tests. */
export type LiveTarget = Target & { readonly rows?: number }

const redrawMs = 100

/** @param options.now milliseconds that only go forward; `title`: such as `run 2 of 5` */
export const liveView = (
  target: LiveTarget,
  options: { readonly style: Style; readonly now: () => number; readonly title?: string }
): LiveView => {
  const { now, style, title = "" } = options
  const state = new LiveState()
  const isLive = target.isTTY === true && process.env["TERM"] !== "dumb"
  let drawn: ReadonlyArray<number> = []
  let drawnAt = Number.NEGATIVE_INFINITY
  let heardAt = now()

  const columns = (): number => Math.max(20, target.columns ?? 80)
  /** Back to the first line of the block; a terminal that has become narrower has folded its lines. */
  const back = (): string => {
    const up = drawn.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / columns())), 0)
    // A terminal shows what is typed, such as ^C: the cursor may be anywhere in its line.
    return up === 0 ? "" : `\r\u001b[${up}A`
  }
  const draw = (): void => {
    const lines = liveLines(state, { width: columns() - 1, height: Math.max(6, (target.rows ?? 24) - 1), style, title, atMs: state.lastMs
      + now() - heardAt })
    target.write(`${back()}${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`)
    drawn = lines.map(visibleLength)
    drawnAt = now()
  }
  const erase = (): void => {
    if (drawn.length > 0) target.write(`${back()}\u001b[J`)
    drawn = []
  }
  const say = (line: string): void => {
    erase()
    target.write(`${line}\n`)
    if (isLive && state.flows !== undefined) draw()
  }
  const tick = (): void => {
    if (isLive && state.flows !== undefined && now() - drawnAt >= redrawMs) draw()
  }
  return {
    say,
    tick,
    end: erase,
    feed: (event) => {
      heardAt = now()
      state.feed(event)
      for (const line of stayingLines(state, event, style)) say(line)
      tick()
    }
  }
}

/** What events so far have come to, for the view. */
export class LiveState {
  planned: RehearsalPlanned | undefined
  flows: LiveFlows | undefined
  startMs = 0
  lastMs = 0
  /** -1: none yet. */
  step = -1
  stepStartMs = 0
  note = ""
  paused = ""

  feed(event: RehearsalEvent): void {
    if (this.startMs === 0) this.startMs = event.atMs
    this.lastMs = Math.max(this.lastMs, event.atMs)
    if (event.event !== "flows" && event.event !== "note") this.paused = ""
    if (event.event === "planned") {
      this.planned = event.planned
      this.flows = new LiveFlows(event.planned.flows)
    } else if (event.event === "note" && event.note.passing) this.note = event.note.text
    else if (event.event === "flows") this.flows?.add(event.flows, event.atMs)
    else if (event.event === "broken") this.flows?.breaks(event.broken.flow)
    else if (event.event === "pause") this.paused = event.pause.text === "" ? "Enter goes on" : event.pause.text
    else if (event.event === "stepBegun") {
      this.step = event.stepBegun.step
      this.stepStartMs = event.atMs
      this.note = ""
    }
  }
}

const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`

/** Lines of a step, a note, ... that stay where they are printed. */
export const stayingLines = (state: LiveState, event: RehearsalEvent, style: Style): ReadonlyArray<string> => {
  const at = style.dim(seconds(event.atMs - state.startMs).padStart(8))
  const one = (text: string): ReadonlyArray<string> => [`${at}  ${text}`]
  switch (event.event) {
    case "note":
      return event.note.passing ? [] : one(`${event.note.warning ? `${style.yellow("warning:")} ` : ""}${printable(event.note.text)}`)
    case "stepBegun": {
      const { step } = event.stepBegun
      const { detail = "", kind = "", name = "" } = state.planned?.steps[step] ?? {}
      return one(`${style.cyan("▸")} ${stepNumber(state, step)}${style.bold(printable(name))} ${style.dim(what(kind, detail,
        name))}`.trimEnd())
    }
    case "stepEnded": return one(endedText(state, event.stepEnded, style))
    case "broken": return one(`${style.red("✗ budget:")} ${printable(event.broken.message)}`)
    case "rollBack": return one(`${style.yellow("↩ rolling back:")} ${printable(event.rollBack.reasons.join("; "))}`)
    case "pause": return one(`${style.yellow("‖ paused:")} ${printable(event.pause.text)}`)
    case "faults": return [
      ...event.faults.injected.flatMap(({ id, title }) => one(`${style.yellow("⚡")} ${printable(id)} ${printable(title)}`)),
      ...event.faults.healed.flatMap(({ id, title }) => one(`${style.green("+")} healed ${printable(id)} ${printable(title)}`))
    ]
    case "check": {
      const { name, outcome, seen } = event.check.result
      if (outcome === "passed") return []
      return one(`${outcome === "failed" ? style.red("✗") : style.yellow("!")} ${printable(name)}: ${printable(seen)}`)
    }
    default: return []
  }
}

/** `2/5 `; steps that roll back are numbered beyond the others: `6/6 `. */
const stepNumber = (state: LiveState, step: number): string => {
  const steps = state.planned?.steps ?? []
  const all = steps[step]?.role === "roll-back" ? steps : steps.filter(({ role }) => role !== "roll-back")
  return `${step + 1}/${all.length} `
}

/** `inject link-down vpn-1`, but nothing that the name says already. */
const what = (kind: string, detail: string, name: string): string =>
  printable([...(name === kind ? [] : [kind]), ...(detail === "" || detail === name || name === `${kind} ${detail}` ? [] : [detail])]
    .join(" "))

const outcomes = { passed: "", failed: "failed", broken: "broke a budget", skipped: "skipped", stopped: "stopped" } as const

const endedText = (state: LiveState, { flows, outcome, reasons, step }: RehearsalStepEnded, style: Style): string => {
  const mark = outcome === "passed" ? style.green("✓") : outcome === "skipped" ? style.dim("-") : style.red("✗")
  const out = flows.filter(({ outages }) => outages > 0)
  const worst = out.reduce<(typeof out)[number] | undefined>((a, b) => (a === undefined || b.longestMs > a.longestMs ? b : a), undefined)
  const name = printable(state.planned?.steps[step]?.name ?? "")
  const told = worst === undefined ? (flows.length === 0 ? "" : "no outage")
    : `${out.length} of ${flows.length} flows out, at worst ${milliseconds(worst.longestMs)}: ${printable(
      state.planned?.flows[worst.flow]?.name ?? "")}`
  const why = reasons.length === 0 ? "" : `: ${style.red(printable(reasons.join("; ")))}`
  return `${mark} ${stepNumber(state, step)}${name} ${style.bold(outcomes[outcome])}`.trimEnd()
    + `${why}${told === "" ? "" : `  ${style.dim(told)}`}`
}

interface Look {
  readonly width: number
  readonly height: number
  readonly style: Style
  readonly title: string
  /** The moment now, on the daemon's clock. */
  readonly atMs: number
}

/** The block: at most `height` lines of at most `width` columns. */
export const liveLines = (state: LiveState, look: Look): ReadonlyArray<string> => {
  const { atMs, height, style, title, width } = look
  const { flows, paused, planned } = state
  const step = planned?.steps[state.step]
  const heading = [planned?.name ?? "", planned?.lab ?? "", title].filter((part) => part !== "").map(printable).join(" · ")
  const doing = step === undefined ? "preparing" : `${stepNumber(state, state.step)}${printable(step.name)}`
  const more = step === undefined ? "" : what(step.kind, step.detail, step.name)
  const head = [
    ends(style.bold, heading, seconds(atMs - state.startMs), width),
    ends(style.cyan, `▸ ${doing}${more === "" ? "" : `  ${more}`}`, step === undefined ? "" : seconds(atMs - state.stepStartMs), width),
    ...(paused !== "" ? [style.yellow(cut(`‖ ${printable(paused)}`, width))] : state.note === "" ? []
      : [style.dim(cut(`  ${printable(state.note)}`, width))])
  ]
  if (flows === undefined || planned === undefined || planned.flows.length === 0) return head
  const all = flows.worstFirst()
  const room = Math.max(1, height - head.length - 2)
  const shown = all.length <= room + 1 ? all : all.slice(0, room)
  const hidden = all.slice(shown.length)
  return [...head, ...flowRows(flows, shown, { ...look, steps: planned.steps.map(({ name }) => name) }),
    ...(hidden.length === 0 ? [] : [style.dim(cut(hiddenText(hidden), width))])]
}

const hiddenText = (hidden: ReadonlyArray<LiveFlow>): string => {
  const out = hidden.filter((flow) => outNowMs(flow) > 0).length
  const worst = Math.max(...hidden.map(({ worstMs }) => worstMs))
  return `  ${hidden.length} more${out === 0 ? "" : `, ${out} of them out`}${worst === 0 ? ", none of them was out"
    : `, at worst ${milliseconds(worst)}`}`
}

const flowRows = (flows: LiveFlows, shown: ReadonlyArray<LiveFlow>,
  look: Look & { readonly steps: ReadonlyArray<string> }): ReadonlyArray<string> => {
  const { atMs, style, width } = look
  // Mark, name, sparkline, RTT, out now, worst, its step.
  const figures = 2 + 10 + 2 + 9 + 2 + 9
  const longestName = Math.max(4, ...shown.map(({ name }) => printable(name).length))
  const isNarrow = width < 60
  const nameWidth = Math.max(4, Math.min(longestName, isNarrow ? width - 2 - 20 : Math.floor((width - figures) / 2)))
  const stepWidth = width - figures - nameWidth >= 50 ? Math.min(24, Math.max(4, ...look.steps.map((name) => name.length))) : 0
  const sparkWidth = isNarrow ? 0 : Math.max(0, Math.min(80, width - 2 - nameWidth - 2 - figures - (stepWidth === 0 ? 0 : stepWidth + 1)))
  const row = (mark: string, cells: { name: string; spark: string; rtt: string; out: string; worst: string; step: string }): string => {
    const parts = [pad(cells.name, nameWidth), ...(sparkWidth === 0 ? [] : [pad(cells.spark, sparkWidth)]),
      ...(isNarrow ? [] : [left(cells.rtt, 10)]),
      left(cells.out, 9), left(cells.worst, 9) + (stepWidth === 0 ? "" : ` ${cells.step}`)]
    return `${mark} ${parts.join(isNarrow ? " " : "  ")}`.trimEnd()
  }
  const spanText = sparkWidth >= 6 ? `${(sparkWidth * sliceMs) / 1000} s` : ""
  const heading = row(" ", { name: "FLOW", spark: spanText, rtt: "RTT", out: "OUT", worst: "WORST", step: "IN STEP" })
  return [style.dim(cut(heading, width)), ...shown.map((flow) => {
    const { broken, report, worstMs, worstStep } = flow
    const outMs = countedOutMs(flow, atMs)
    const error = report?.error ?? ""
    const mark = outMs > 0 || error !== "" ? style.red("✗") : report === undefined ? style.dim("·") : broken ? style.red("!")
      : style.green("✓")
    const { leastMs, slices } = flows.slices(flow, atMs, sparkWidth)
    const worst = worstMs === 0 ? "" : milliseconds(worstMs)
    return row(mark, {
      name: cut(printable(flow.name), nameWidth),
      spark: error === "" ? sparkline(slices, leastMs, style) : style.red(cut(printable(error), sparkWidth)),
      rtt: report?.latency == null || report.received === 0 ? "" : milliseconds(report.latency.p50),
      out: outMs === 0 ? "" : style.red(milliseconds(outMs)),
      worst: broken ? style.red(worst) : worst,
      step: worstMs === 0 ? "" : style.dim(cut(printable(look.steps[worstStep] ?? ""), stepWidth))
    })
  })]
}

const heights = "▁▂▃▄▅▆▇█"

/** @param leastMs the quickest round trip of the flow so far */
export const sparkline = (slices: ReadonlyArray<LiveSlice | undefined>, leastMs: number, style: Style): string => {
  let text = ""
  let bad = ""
  const flushed = (): string => {
    const red = style.red(bad)
    bad = ""
    return red
  }
  for (const slice of slices) {
    if (slice !== undefined && (slice.out > 0 || slice.latencyMs === null)) {
      bad += slice.out >= 0.5 || slice.latencyMs === null ? "×" : "!"
      continue
    }
    // Some tenths of a millisecond more or less are no difference on any network.
    const level = slice === undefined ? -1 : Math.round(2 * Math.log2(((slice.latencyMs ?? 0) + 0.3) / (leastMs + 0.3)))
    text += flushed() + (slice === undefined ? " " : heights[Math.max(0, Math.min(heights.length - 1, level))]!)
  }
  return text + flushed()
}

const cut = (text: string, width: number): string => {
  const characters = Array.from(text)
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join("")}…`
}
const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - visibleLength(text)))
const left = (text: string, width: number): string => " ".repeat(Math.max(0, width - visibleLength(text))) + text

/** A text at the left and one at the right edge. */
const ends = (paint: (text: string) => string, text: string, right: string, width: number): string => {
  const room = width - right.length - (right === "" ? 0 : 1)
  return `${paint(pad(cut(text, room), room))}${right === "" ? "" : ` ${right}`}`
}
