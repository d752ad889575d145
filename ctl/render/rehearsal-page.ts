/**
 * A rehearsal as one self-contained page: nothing is fetched, from nowhere, and its Content-Security-Policy says so. It reads without
 * its script, which adds zoom and details (`page/script.ts`); behind each picture there is a table that says the same.
 */

import { reasonLines } from "../rehearsal/budgets.ts"
import type { RehearsalRecord, Run } from "../rehearsal/record.ts"
import { longestMs, worstFirst } from "../rehearsal/outages.ts"
import { progressOf } from "../rehearsal/progress.ts"
import { type Content, figure, hashOf, Html, html } from "./page/html.ts"
import { script } from "./page/script.ts"
import {
  budgetSection, checkSection, faultSection, latencySection, logSection, outageSection, runsSection, stepSection, topologySection,
  verdictWords
} from "./page/sections.ts"
import { style } from "./page/style.ts"
import { timelineOf } from "./page/timeline.ts"

/** For XML parsers, which read this page as well. */
const inScript = `//<![CDATA[\n${script}//]]>`

/** @returns the document as text, ending in a newline */
export const rehearsalPage = (record: RehearsalRecord): string => {
  const css = style()
  const policy = `default-src 'none'; style-src ${hashOf(css)}; script-src ${hashOf(inScript)}; base-uri 'none'; form-action 'none'`
  const worst = worstRun(record)
  const parts = [
    budgetSection(record), runsSection(record), timelineSection(record, worst), outageSection(record), latencySection(record),
      checkSection(record),
    faultSection(record), worst === undefined ? html`` : topologySection(worst), logSection(record)
  ]
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="${policy}"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>${`${record.name}: ${record.verdict}`}</title>
<style>${new Html(css)}</style>
</head>
<body>
${heading(record)}
<main>
${parts}
</main>
<footer>Written by weft ${record.version}. Times count from the start of ${record.runs.length > 1 ? "each run"
  : "the rehearsal"}; an outage is exact to the spacing of its probes.</footer>
<div id="tip" role="status" hidden="hidden"></div>
<script>${new Html(inScript)}</script>
</body>
</html>
`
  return page.text
}

/** The one that is shown first: the first that broke off or failed, else that with the longest outage. */
const worstRun = ({ runs }: RehearsalRecord): Run | undefined =>
  runs.find(({ verdict }) => verdict === "broken-off") ?? runs.toSorted((a, b) =>
    Number(b.verdict === "failed") - Number(a.verdict === "failed")
    || longest(b) - longest(a))[0]

const longest = ({ flows }: Run): number => Math.max(0, ...flows.map(longestMs))

const heading = (record: RehearsalRecord): Html => {
  const { durationMs, filename, lab, name, repeat, runs, startedAt, verdict } = record
  const worst = worstRun(record)
  const [flow] = worst === undefined ? [] : worstFirst(worst.flows)
  const out = new Set(runs.flatMap(({ flows }) => flows.filter((one) => longestMs(one) > 0).map((one) => one.name))).size
  const all = new Set(runs.flatMap(({ flows }) => flows.map((one) => one.name))).size
  const fact = (what: string, value: Content): Html => html`<div><dt>${what}</dt><dd>${value}</dd></div>`
  const reasons = reasonLines(record)
  const shown = reasons.slice(0, 8)
  return html`<header>
<h1>${name}</h1><p class="soft">Rehearsal <code>${filename}</code> of lab <code>${lab}</code></p>
<p class="verdict ${verdict}">${verdictWords[verdict]}</p>
${verdict === "broken-off" ? html`<p><b class="warn">This record is not complete: the rehearsal broke off.</b>
What is here was measured; what would have come after is not known.</p>` : ""}
${shown.length === 0 ? "" : html`<ul class="reasons">${shown.map((reason) => html`<li>${reason}</li>`)}${
  reasons.length > shown.length ? html`<li class="soft">and ${reasons.length - shown.length} more, see <a href="#budgets">budgets</a></li>`
  : ""}</ul>`}
${aftermath(record)}
<dl class="facts">${fact("Started", html`<time datetime="${startedAt}">${startedAt.replace("T", " ").replace(/\.\d+Z$/, " UTC")}</time>`)}${
  fact("Took", `${(durationMs / 1000).toFixed(1)} s`)}${repeat > 1 ? fact("Runs", `${runs.length} of ${repeat}`) : ""}${
  fact("Steps", progressOf(worst?.steps ?? []))}${fact("Flows out",
  `${out} of ${all}`)}${
  fact("Longest outage", flow === undefined || longestMs(flow) === 0 ? "none"
  : html`${figure(longestMs(flow))} ms <small>${flow.name}</small>`)}</dl>
<nav aria-label="Sections"><ul>${[["budgets", "Budgets"], ["timeline", "Timeline"], ["outages", "Outages"], ["latency", "Round trips"],
    ...(runs.some(({ checks }) => checks.length > 0) ? [["checks", "Checks"]] : []),
  ...(runs.some(({ faults }) => faults.length > 0) ? [["faults", "Faults"]] : []),
    ...(worst?.before == null && worst?.after == null ? [] : [["topology", "Topology"]]), ["log", "Log"]]
  .map(([id = "", title = ""]) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
</header>`
}

/** What is left behind, where that is not nothing. */
const aftermath = ({ runs }: RehearsalRecord): Content => {
  const last = runs.at(-1)
  const lines = [
    ...(runs.some(({ rolledBack }) => rolledBack) ? ["Steps to roll back have run."] : []),
    ...(last?.healed === false ? ["Faults of it are still in force: weft faults shows them, weft heal --all ends them."] : [])
  ]
  return lines.map((line) => html`<p><b class="warn">!</b> ${line}</p>`)
}

const timelineSection = (record: RehearsalRecord, worst: Run | undefined): Html => html`<section id="timeline"><h2>Timeline</h2>
<p class="filter"><label>Flows named <input type="search" id="filter" autocomplete="off"/></label>
<label><input type="checkbox" id="only"/> only those that were out</label></p>
${record.runs.map((run) => {
  const content = html`<div id="timeline${run.number}">${timelineOf(run)}${stepSection(record, run)}</div>`
  return record.runs.length === 1 ? content : html`<details${run === worst ? new Html(' open="open"')
  : ""}><summary>Run ${run.number}: ${verdictWords[run.verdict]}${
    run === worst && record.runs.length > 1 ? ", the worst" : ""}</summary>${content}</details>`
})}</section>`
