/**
 * One run as pictures over time: its steps and faults, and under them a row for each flow with its outages to scale and its round
 * trips. Everything stands at percentages inside a nested `svg` of each row, the pane; to zoom is to make panes wider than their rows
 * (`script.ts`). Without a script the whole run is shown. The tables of the page say the same in words.
 */

import { longestMs, worstFirst } from "../../rehearsal/outages.ts"
import type { Breach, FaultSpan, Flow, Outage, Run, Step } from "../../rehearsal/record.ts"
import { type Content, figure, type Html, html, moment } from "./html.ts"

/** Times of a picture. */
export interface Span {
  readonly fromMs: number
  readonly untilMs: number
}

/** What was before the first step is deploying: nothing to see. */
export const spanOf = ({ durationMs, flows, steps }: Run): Span => {
  const begins = steps.flatMap(({ startMs }) => (startMs === null ? [] : [startMs]))
  const flowsBegin = flows.flatMap(({ series }) => {
    const first = series.sent.findIndex((count) => count > 0)
    return first === -1 ? [] : [first * series.sliceMs]
  })
  const fromMs = Math.min(durationMs, ...begins, ...flowsBegin)
  return { fromMs, untilMs: Math.max(durationMs, fromMs + 1) }
}

const drawnOutages = 400

export const timelineOf = (run: Run): Html => {
  const span = spanOf(run)
  const id = `run${run.number}`
  const breaches = run.budgets.flatMap((budget) => budget.breaches)
  const flows = worstFirst(run.flows)
  return html`
<div class="timeline" data-from="${span.fromMs}" data-until="${span.untilMs}">
<div class="tools js"><button type="button" data-do="in">Zoom in</button> <button type="button" data-do="out">Zoom out</button>
<button type="button" data-do="left" aria-label="earlier">◀</button> <button type="button" data-do="right" aria-label="later">▶</button>
<button type="button" data-do="all">Whole run</button> <span class="window" role="status"></span>
<span class="hint">Drag over a row to zoom into it, tap an outage for details.</span></div>
<p class="legend"><svg width="14" height="14" aria-hidden="true"><rect class="o" x="4" y="1" width="6" height="12"/></svg> outage, to scale
<svg width="22" height="14" aria-hidden="true"><path class="l" d="M0 10L8 9L12 4L22 5"/></svg> round trip, a sixth higher
when it takes twice as long
<svg width="14" height="14" aria-hidden="true"><rect class="off" width="14" height="14"/></svg> the flow did not run
<b class="bad">✗</b> a budget broke</p>
${rowOf("Time", html`<g class="ticks">${ticks(span)}</g>`, { height: 20, kind: "axis" })}
${rowOf("Steps", html`<g id="${id}-steps">${run.steps.map((step) => separator(step, span))}</g>${
  run.steps.map((step, index) => stepBand(step, index, span, run))}`, { height: 30, kind: "steps" })}
${run.faults.length === 0 ? "" : rowOf("Faults", run.faults.map((_, index) => faultBar(run.faults, index, span)),
  { height: 8 + 16 * Math.min(run.faults.length, faultLines), kind: "faults" })}
<div class="flows">${flows.map((flow) => flowRow(flow, span, id, breaches.filter((breach) => breach.flow === flow.name)))}</div>
</div>`
}

const rowOf = (label: Content, content: Content, { height, kind }: { readonly height: number; readonly kind: string }): Html => html`
<div class="row ${kind}"><div class="label">${label}</div><svg class="track" height="${
  height}" aria-hidden="true"><svg class="pane" x="0" y="0" width="100%" height="${height}">${content}</svg></svg></div>`

/** Place of a moment, in per cent of the pane. */
const place = (ms: number, { fromMs, untilMs }: Span): string => `${percent((ms - fromMs) / (untilMs - fromMs))}%`
const percent = (share: number): number => Math.round(Math.min(1, Math.max(0, share)) * 1e6) / 1e4
const wide = (from: number, until: number, span: Span): string =>
  `${percent((Math.min(until, span.untilMs) - Math.max(from, span.fromMs)) / (span.untilMs - span.fromMs))}%`

/** 1, 2 or 5 times a power of ten, so that there are some ten of them. */
const ticks = (span: Span): ReadonlyArray<Html> => {
  const rough = (span.untilMs - span.fromMs) / 8
  const power = 10 ** Math.floor(Math.log10(rough))
  const every = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough
  const first = Math.ceil(span.fromMs / every) * every
  return Array.from({ length: Math.floor((span.untilMs - first) / every) + 1 }, (_, index) => {
    const ms = first + index * every
    const x = place(ms, span)
    return html`<line x1="${x}" x2="${x}" y1="14" y2="20"/><text x="${x}" y="11" text-anchor="${
      ms === span.fromMs ? "start" : "middle"}">${every < 100 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(1))} s`}</text>`
  })
}

const separator = ({ startMs }: Step, span: Span): Html =>
  startMs === null ? html`` : html`<line class="sep" x1="${place(startMs, span)}" x2="${place(startMs, span)}" y1="0" y2="100"/>`

const endOf = ({ endMs }: Step, run: Run): number => endMs ?? run.durationMs

const stepBand = (step: Step, index: number, span: Span, run: Run): Html => {
  const { kind, name, role, startMs, state } = step
  if (startMs === null) return html``
  const untilMs = endOf(step, run)
  const mark = state === "passed" ? "" : state === "skipped" ? "– " : "✗ "
  const text = `${index + 1} ${mark}${name}`
  return html`<svg class="s ${state === "passed" ? "" : "bad"}${role === "roll-back" ? " back" : ""}"
 x="${place(startMs, span)}" width="${wide(startMs, untilMs, span)}" height="30"
 data-from="${startMs}" data-until="${untilMs}"><title>${`step ${index + 1}: ${name} (${kind}), ${stateWords[state]}, ${moment(
  startMs)} to ${moment(untilMs)}`}</title>
<rect class="band${index % 2 === 1 ? " odd" : ""}" width="100%" height="30"/><text x="5" y="20">${text}</text></svg>`
}

export const stateWords: Readonly<Record<Step["state"], string>> = {
  waiting: "not begun", running: "under way", passed: "done", failed: "failed", broken: "broke a budget", skipped: "skipped",
    stopped: "broken off"
}

const faultLines = 3

/** A bar as long as the fault, and its words, which may go beyond it, but not over what comes next in their line. */
const faultBar = (faults: ReadonlyArray<FaultSpan>, index: number, span: Span): Html => {
  const { endMs, id, startMs, title } = faults[index]!
  const untilMs = endMs ?? span.untilMs
  const y = 4 + 16 * (index % faultLines)
  const next = faults.find((other, at) => at > index && at % faultLines === index % faultLines && other.startMs > startMs)
  const roomMs = Math.max(untilMs, next?.startMs ?? span.untilMs)
  const share = roomMs <= startMs ? 1 : (untilMs - startMs) / (roomMs - startMs)
  return html`<svg class="f" x="${place(startMs, span)}" y="${y}" width="${wide(startMs, roomMs, span)}" height="14"
 data-from="${startMs}" data-until="${untilMs}">
<title>${`${id}: ${title}, ${moment(startMs)} to ${endMs === null ? "the end and on"
  : moment(endMs)}`}</title><rect class="fault" width="${percent(share)}%" height="13" rx="3"/><text x="4" y="10.5">${
  `${id} ${title}`}</text></svg>`
}

const flowHeight = 26

const flowRow = (flow: Flow, span: Span, id: string, breaches: ReadonlyArray<Breach>): Html => {
  const { error, name, outageCount, outages } = flow
  const worst = longestMs(flow)
  const drawn = outages.length <= drawnOutages ? outages : outages.toSorted((a, b) => b.lengthMs - a.lengthMs).slice(0, drawnOutages)
  const said = error !== "" ? error : worst === 0 ? "no outage" : `${outageCount === 1 ? "one outage"
    : `${outageCount} outages`}, the longest ${figure(worst)} ms`
  return html`
<div class="row flow" data-flow="${name}" data-worst="${worst}"><div class="label"><span class="name">${breaches.length > 0
  ? html`<b class="bad">✗ </b>` : ""}${name}</span> <small>${
  error !== "" ? html`<b class="bad">not probed</b>` : worst === 0 ? "no outage"
  : html`<b>${figure(worst)} ms</b>`}</small></div><svg class="track" height="${flowHeight}" role="img" aria-label="${
  `${name}: ${said}`}"><svg class="pane" x="0" y="0" width="100%" height="${flowHeight}"><use href="#${id}-steps"/>${gaps(flow,
  span)}${latencyLine(flow, span)}${
  drawn.map((outage) => outageBox(outage, span))}${
  breaches.map(({ atMs, message }) => html`<text class="x" x="${place(atMs,
  span)}" y="12"><title>${message}</title>✗</text>`)}</svg></svg></div>`
}

const outageBox = (outage: Outage, span: Span): Html => {
  const { lasts, lengthMs, lost, startMs, step } = outage
  const probes = lost === 1 ? "one probe" : `${lost} probes`
  const words = `out for ${figure(lengthMs)} ms${lasts ? " and on" : ""} from ${moment(startMs)}: ${probes} lost${
    step === "" ? "" : `, in step “${step}”`}`
  return html`<rect class="o${lasts ? " on" : ""}" x="${place(startMs, span)}" y="3" width="${wide(startMs, startMs + lengthMs,
    span)}" height="20"><title>${words}</title></rect>`
}

/** Where the flow did not run. */
const gaps = ({ series }: Flow, span: Span): ReadonlyArray<Html> => {
  const { sent, sliceMs } = series
  const found: Array<{ from: number; until: number }> = []
  for (let at = Math.floor(span.fromMs / sliceMs); at * sliceMs < span.untilMs; at++) {
    if ((sent[at] ?? 0) > 0) continue
    const last = found.at(-1)
    if (last !== undefined && last.until === at * sliceMs) last.until += sliceMs
    else found.push({ from: at * sliceMs, until: (at + 1) * sliceMs })
  }
  // What is shorter than a report is no gap.
  return found.filter(({ from, until }) => until - from > 2 * sliceMs).map(({ from, until }) =>
    html`<rect class="off" x="${place(from, span)}" width="${wide(from, until, span)}" height="${flowHeight}"/>`)
}

/**
 * Round trips from the quickest slice on, one sixth of the height for each doubling; throughput and the like by their share of the best.
 */
const latencyLine = ({ series }: Flow, span: Span): Html => {
  const { latencyMs, sliceMs, value } = series
  const isValue = value.length > 0
  const values = isValue ? value : latencyMs
  const known = values.filter((each) => each !== null)
  if (known.length === 0) return html``
  const [least, most] = [Math.min(...known), Math.max(...known)]
  const height = (each: number): number => (isValue ? (most === 0 ? 0 : each / most)
    : Math.min(1, Math.log2((each + 0.3) / (least + 0.3)) / 6 + 0.08))
  let path = ""
  let isDrawing = false
  let previousY = -1
  for (const [index, each] of values.entries()) {
    const isSame = each !== null && isDrawing && 100 - Math.round(height(each) * 90) === previousY && values[index + 1] != null
      && 100 - Math.round(height(values[index + 1]!) * 90) === previousY
    if (isSame) continue
    if (each !== null) {
      previousY = 100 - Math.round(height(each) * 90)
      path += `${isDrawing ? "L" : "M"}${Math.round((index + 0.5) * sliceMs - span.fromMs)} ${previousY}`
    }
    isDrawing = each !== null
  }
  return html`<svg y="2" width="100%" height="22" viewBox="0 0 ${Math.round(
    span.untilMs - span.fromMs)} 100" preserveAspectRatio="none"><path class="l" d="${path}"/></svg>`
}
