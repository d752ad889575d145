/** The sections of a rehearsal's page that are tables and words. */

import { cellsOf, flowNames, longestMs, repeatedCells, stepNames, worstFirst } from "../../rehearsal/outages.ts"
import type { Budget, Cell, Flow, RehearsalRecord, Run } from "../../rehearsal/record.ts"
import { limitText, valueText, worstOf } from "../../rehearsal/budgets.ts"
import { compareLabs } from "../graph/compare.ts"
import { svg } from "../graph/svg.ts"
import { type Content, figure, Html, html, moment, type Row, tableOf } from "./html.ts"
import { stateWords } from "./timeline.ts"

const number = (title: string) => ({ title, isFigure: true })
const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`

/** Numbers of runs where there are several: `run 2`. */
const ofRun = (record: RehearsalRecord, run: Run): ReadonlyArray<Content> => (record.runs.length > 1 ? [String(run.number)] : [])
const runHead = (record: RehearsalRecord) => (record.runs.length > 1 ? [number("Run")] : [])

export const budgetSection = (record: RehearsalRecord): Html => {
  const rows = record.runs.flatMap((run) => run.budgets.map((budget) => ({ run, budget })))
  const sorted = rows.toSorted((a, b) => Number(b.budget.breaches.length > 0) - Number(a.budget.breaches.length > 0))
  const broken = rows.filter(({ budget }) => budget.breaches.length > 0)
  const told = rows.length === 0 ? "The rehearsal has no budgets." : broken.length === 0 ? "No budget broke."
    : `${plural(broken.length, "budget")} of ${rows.length} broke.`
  return html`<section id="budgets"><h2>Budgets</h2><p>${told}</p>${rows.length === 0 ? "" : tableOf(
    "What was allowed and what came, the broken ones first",
    [{ title: "Budget" }, { title: "For" }, number("Allowed"), number("Worst"), { title: "Outcome" }, ...runHead(record)],
    sorted.map(({ budget, run }) => budgetRow(budget, run, record)))}${breachList(record)}</section>`
}

const budgetRow = (budget: Budget, run: Run, record: RehearsalRecord): Row => {
  const worst = worstOf(budget, run)
  const isBroken = budget.breaches.length > 0
  const whose = [budget.flow === "" ? "all flows" : budget.flow, budget.step === "" ? "every step" : `step “${budget.step}”`].join(", ")
  return { tone: isBroken ? "bad" : undefined, cells: [
    budget.kind, whose, limitText(budget), worst === undefined ? "–" : valueText(budget, worst.value),
    isBroken ? html`<b class="bad">✗ broken</b>` : worst === undefined ? html`<span class="soft">– not tried</span>`
      : html`<span class="good">✓ kept</span>`,
    ...ofRun(record, run)
  ] }
}

const breachList = (record: RehearsalRecord): Content => {
  const all = record.runs.flatMap((run) => run.budgets.flatMap((budget) => budget.breaches.map((breach) => ({ run, budget, breach }))))
  if (all.length === 0) return undefined
  return tableOf("Who broke them", [{ title: "Flow" }, { title: "Step" }, { title: "Budget" }, number("Seen"), number("At"),
    ...runHead(record)],
    all.toSorted((a, b) => b.breach.value - a.breach.value).map(({ breach, budget, run }) => ({ flow: breach.flow, cells: [
      breach.flow, breach.step, `${budget.kind} ${budget.limit}`, html`<b class="bad">${valueText(budget, breach.value)}</b>`,
      at(run, breach.atMs - Math.min(breach.value, 2000), breach.atMs, breach.flow, breach.atMs), ...ofRun(record, run)
    ] })))
}

/** A moment that the timeline can be asked to show. */
const at = (run: Run, fromMs: number, untilMs: number, flow: string, shownMs: number): Html =>
  html`<button type="button" class="at" data-zoom="${run.number} ${Math.round(fromMs)} ${Math.round(untilMs)}" data-name="${flow}">${moment(
    shownMs)}</button>`

export const stepSection = (record: RehearsalRecord, run: Run): Html => {
  const out = new Map<string, { flows: number; worst: Cell | undefined }>()
  for (const cell of run.cells) {
    if (cell.outages === 0) continue
    const { flows, worst } = out.get(cell.step) ?? { flows: 0, worst: undefined }
    out.set(cell.step, { flows: flows + 1, worst: worst === undefined || cell.longestMs > worst.longestMs ? cell : worst })
  }
  return tableOf(record.runs.length > 1 ? `Steps of run ${run.number}` : "Steps",
    [number("No."), { title: "Step" }, { title: "Does" }, { title: "Outcome" }, number("Start"), number("Took, s"), number("Flows out"),
      number("Worst, ms"), { title: "Worst flow" }],
    run.steps.map(({ detail, endMs, kind, name, reasons, role, startMs, state }, index) => {
      const { flows = 0, worst } = out.get(name) ?? {}
      const isBad = state !== "passed" && state !== "waiting" && state !== "skipped"
      const words = html`${isBad ? html`<b class="bad">✗ ${stateWords[state]}</b>`
        : state === "passed" ? html`<span class="good">✓ ${stateWords[state]}</span>`
        : html`<span class="soft">– ${stateWords[state]}</span>`}${reasons.length === 0 ? ""
  : html`<br/><small>${reasons.join("; ")}</small>`}`
      return { tone: isBad ? "bad" : undefined, cells: [
        index + 1, html`${name}${role === "roll-back" ? html` <small>(rolls back)</small>` : ""}`,
          html`<span class="mono">${[kind, detail].filter((word) => word !== "" && word !== name).join(" ")}</span>`, words,
        startMs === null ? "–" : at(run, startMs, endMs ?? run.durationMs, "", startMs),
        startMs === null ? "–" : ((endMs ?? run.durationMs) - startMs) / 1000 < 10
          ? (((endMs ?? run.durationMs) - startMs) / 1000).toFixed(2)
          : (((endMs ?? run.durationMs) - startMs) / 1000).toFixed(1),
        startMs === null ? "–" : flows, worst === undefined ? "–" : figure(worst.longestMs), worst?.flow ?? "–"
      ] }
    }))
}

/** Flows by steps, in ms: the longest outage; of several runs, the median and the worst. */
export const outageSection = (record: RehearsalRecord): Html => {
  const { runs } = record
  const steps = stepNames(runs)
  const flows = flowNames(runs)
  const broken = new Set(runs.flatMap(({ budgets }) => budgets.flatMap(({ breaches }) => breaches
    .map(({ flow, step }) => `${flow}\u0000${step}`))))
  const isRepeated = runs.length > 1
  const repeated = repeatedCells(runs)
  const cell = runs[0] === undefined ? () => undefined : cellsOf(runs[0])
  const text = (flow: string, step: string): string => {
    if (isRepeated) {
      const found = repeated(flow, step)
      if (found === undefined) return ""
      return found.worstMs === 0 ? "0" : `${figure(found.medianMs)} / ${figure(found.worstMs)}${found.lasts ? " and on" : ""}`
    }
    const found = cell(flow, step)
    return found === undefined || found.outages === 0 ? "0"
      : `${figure(found.longestMs)}${found.outages > 1 ? ` (${found.outages})` : ""}${found.lasts ? " and on" : ""}`
  }
  const rows = flows.map((flow): Row => ({ flow, cells: [flow, ...steps.map((step) => {
    const isOver = broken.has(`${flow}\u0000${step}`)
    return isOver ? html`<b class="bad">✗ ${text(flow, step)}</b>` : text(flow, step)
  })] }))
  const caption = isRepeated ? `Longest outage in ms over ${plural(runs.length, "run")}, median / worst`
    : "Longest outage in ms (of how many, if several)"
  return html`<section id="outages"><h2>Outages by flow and step</h2>
<p class="soft">An outage belongs to the step in which it began, however long it lasts. ✗: over budget.</p>${tableOf(caption,
  [{ title: "Flow" },
  ...steps.map((name) => number(name === "" ? "before" : name))], rows)}${runs.map((run) => outageList(run, record))}</section>`
}

const listedOutages = 500

const outageList = (run: Run, record: RehearsalRecord): Content => {
  const all = run.flows.flatMap((flow) => flow.outages.map((outage) => ({ flow, outage })))
    .sort((a, b) => b.outage.lengthMs - a.outage.lengthMs)
  if (all.length === 0) return undefined
  const more = run.flows.reduce((sum, { outageCount }) => sum + outageCount, 0) - Math.min(all.length, listedOutages)
  const ofRun = record.runs.length > 1 ? ` of run ${run.number}` : ""
  return html`<details><summary>Every outage${ofRun} (${all.length}), the longest first</summary>${tableOf("Outages",
    [{ title: "Flow" }, number("Length, ms"), number("Start"), number("Probes lost"), { title: "Step" }],
    all.slice(0, listedOutages).map(({ flow, outage }) => ({ flow: flow.name, cells: [
      flow.name, `${figure(outage.lengthMs)}${outage.lasts ? " and on" : ""}`,
      at(run, outage.startMs, outage.startMs + outage.lengthMs, flow.name, outage.startMs), outage.lost, outage.step] })))}${
    more > 0 ? html`<p class="soft">and ${more} shorter ones</p>` : ""}</details>`
}

export const latencySection = (record: RehearsalRecord): Html => {
  const rows = record.runs.flatMap((run) => worstFirst(run.flows).map((flow) => ({ run, flow })))
  return html`<section id="latency"><h2>Probes and round trips</h2>${tableOf("Round trips in ms, and what became of probes",
    [{ title: "Flow" }, ...runHead(record), { title: "Probes" }, number("Median"), number("99 %"), number("Most"), number("Least"),
  number("Sent"), number("Lost"), number("Lost, %"),
      number("Not sent in time"), number("Twice"), number("Out of order")],
    rows.map(({ flow, run }) => latencyRow(flow, ofRun(record, run))))}
<p class="soft">Probes that could not be sent in time are not counted as lost: outages of that flow may be
longer or shorter by the time in which none was sent.</p></section>`
}

const latencyRow = (flow: Flow, ofRun: ReadonlyArray<Content>): Row => {
  const { blindMs, duplicates, error, latency, lost, name, protocol, reordered, sent, spacingMs, unsent } = flow
  const time = (key: "min" | "p50" | "p99" | "max"): string => (latency === null ? "–" : figure(latency[key]))
  return { flow: name, tone: error === "" ? undefined : "bad", cells: [
    html`${name}${error === "" ? "" : html`<br/><small class="bad">✗ ${error}</small>`}`, ...ofRun, `${protocol}, every ${spacingMs} ms`,
      time("p50"), time("p99"), time("max"), time("min"), sent, lost,
    sent === 0 ? "–" : ((100 * lost) / sent).toFixed(lost === 0 ? 0 : 2), unsent === 0 ? 0 : `${unsent} (${figure(blindMs)} ms)`,
      duplicates, reordered
  ] }
}

export const checkSection = (record: RehearsalRecord): Html => {
  const rows = record.runs.flatMap((run) => run.checks.map((check) => ({ run, check })))
  if (rows.length === 0) return html``
  const rank = { failed: 0, warning: 1, passed: 2 }
  const failed = rows.filter(({ check }) => check.outcome === "failed").length
  const told = failed === 0 ? `All ${rows.length} passed.` : `${failed} of ${rows.length} failed.`
  return html`<section id="checks"><h2>Checks</h2><p>${told}</p>${tableOf("Results of checks, the failed ones first",
    [{ title: "Check" }, { title: "Outcome" }, { title: "Step" }, { title: "Expected" }, { title: "Seen" }, number("Took, ms"),
  ...runHead(record)],
    rows.toSorted((a, b) => rank[a.check.outcome] - rank[b.check.outcome]).map(({ check, run }) => ({
      tone: check.outcome === "failed" ? "bad" : check.outcome === "warning" ? "warn" : undefined,
      cells: [html`${check.name}<br/><small class="mono">${check.filename === "" ? record.filename : check.filename}:${check.line}</small>`,
        check.outcome === "passed" ? html`<span class="good">✓ passed</span>` : check.outcome === "warning"
  ? html`<b class="warn">! warning</b>` : html`<b class="bad">✗ failed</b>`,
        check.step, check.expected, html`${check.seen}${check.where === "" ? "" : html`<br/><small>${check.where}</small>`}${check.details
  .map((line) => html`<br/><small>${line}</small>`)}`,
        figure(check.durationMs), ...ofRun(record, run)]
    })))}</section>`
}

export const faultSection = (record: RehearsalRecord): Html => {
  const rows = record.runs.flatMap((run) => run.faults.map((fault) => ({ run, fault })))
  if (rows.length === 0) return html``
  return html`<section id="faults"><h2>Faults</h2>${tableOf("What was injected",
    [{ title: "Fault" }, { title: "What" }, { title: "Step" }, number("From"), number("Until"), ...runHead(record)],
    rows.map(({ fault, run }) => ({ tone: fault.endMs === null ? "warn" as const : undefined, cells: [
      html`${fault.id} <small class="mono">${fault.kind}</small>`, fault.title, fault.step,
  at(run, fault.startMs, fault.endMs ?? run.durationMs, "", fault.startMs),
      fault.endMs === null ? html`<b class="warn">! not healed when the record ends</b>` : fault.endMs === fault.startMs ? "at once"
  : moment(fault.endMs), ...ofRun(record, run)] })))}</section>`
}

export const topologySection = ({ before, after, number: run }: Run): Html => {
  if (before === null && after === null) return html``
  if (before === null || after === null) {
    const [lab, when] = before === null ? [after!, "after the last step"] : [before, "before the first step"]
    const { after: graph } = compareLabs(lab, lab)
    return html`<section id="topology"><h2>Topology</h2><p class="soft">Only what was there ${when} is known.</p>${drawing(svg(graph,
      { prefix: `t${run}`, marks: new Map() }), when)}</section>`
  }
  const compared = compareLabs(before, after)
  if (compared.changes.length === 0) {
    return html`<section id="topology"><h2>Topology</h2><p>After the last step the lab was as it was before the first.</p>${
      drawing(svg(compared.after, { prefix: `t${run}`, marks: new Map() }), "before and after")}</section>`
  }
  const signs = { added: html`<b class="good">+ new</b>`, removed: html`<b class="bad">− gone</b>`,
    changed: html`<b class="warn">~ changed</b>` }
  return html`<section id="topology"><h2>Topology before and after</h2>
<div class="drawings">${drawing(svg(compared.before, { prefix: `t${run}b`, marks: compared.marksBefore }),
  "Before the first step (− will be gone, ~ will change)")}${
  drawing(svg(compared.after, { prefix: `t${run}a`, marks: compared.marksAfter }),
  "After the last step (+ is new, ~ has changed)")}</div>${tableOf("What changed",
  [{ title: "What" }, { title: "How" }, { title: "Details" }],
  compared.changes.map(({ details, mark, what }) => ({ cells: [what, signs[mark], details
  .map((line, index) => html`${index === 0 ? "" : html`<br/>`}<span class="mono">${line}</span>`)] })))}</section>`
}

const drawing = (picture: string, caption: string): Html =>
  html`<figure><figcaption>${caption}</figcaption><div class="topology" tabindex="0" role="group" aria-label="${caption}">${new Html(
    picture)}</div></figure>`

export const logSection = (record: RehearsalRecord): Html => html`<section id="log"><h2>Event log</h2>${record.runs.map((run) => {
  const signs = { info: html`<span class="soft">·</span>`, warning: html`<b class="warn">! note</b>`,
  error: html`<b class="bad">✗ bad</b>` }
  const list = html`<ol class="log" tabindex="0">${run.log.map(({ atMs, level, text }) =>
    html`<li><time>${moment(atMs)}</time><span>${signs[level]}</span><span>${text}</span></li>`)}</ol>`
  return record.runs.length > 1 ? html`<details><summary>Run ${run.number}</summary>${list}</details>` : list
})}</section>`

export const runsSection = (record: RehearsalRecord): Html => {
  if (record.repeat === 1) return html``
  return html`<section id="runs"><h2>Runs</h2>${tableOf(`${record.runs.length} of ${record.repeat} runs`,
    [{ title: "Run" }, { title: "Verdict" }, number("Took, s"), number("Longest outage, ms"), { title: "Flow" }, number("Budgets broken")],
    record.runs.map((run) => {
      const [worst] = worstFirst(run.flows)
      return { tone: run.verdict === "passed" ? undefined : "bad" as const,
  cells: [run.number, verdictWords[run.verdict], (run.durationMs / 1000).toFixed(1),
        worst === undefined ? "–" : figure(longestMs(worst)), worst === undefined || longestMs(worst) === 0 ? "–" : worst.name,
        run.budgets.filter(({ breaches }) => breaches.length > 0).length] }
    }))}</section>`
}

export const verdictWords = { passed: "✓ passed", failed: "✗ failed", "broken-off": "! broke off" } as const
