/** Records of rehearsals: built from events, whole at any moment, bounded; and compared. */
import t from "tap"
import { holds, reasonLines, valueText, worstOf } from "../../ctl/rehearsal/budgets.ts"
import { compareRecords } from "../../ctl/rehearsal/compare.ts"
import { FlowTrack } from "../../ctl/rehearsal/flow-track.ts"
import type { RehearsalEvent } from "../../ctl/rehearsal/messages.ts"
import { cellsOf, flowNames, median, repeatedCells, stepNames } from "../../ctl/rehearsal/outages.ts"
import { mostOutages, mostSlices } from "../../ctl/rehearsal/record.ts"
import { recorder, recordOf, unique } from "../../ctl/rehearsal/recorder.ts"
import { eventsOf, recordOfStory } from "./rehearsal-events.ts"

const story = { flows: 6, seed: 3 }
const first = (events: ReadonlyArray<RehearsalEvent>, reason?: string) => {
  const one = recorder()
  for (const event of events) one.feed(event)
  return one.run(reason)
}

t.test("a record has what the events told", async (t) => {
  const run = recordOfStory({ ...story, budgetMs: 500 }).runs[0]!
  t.same(run.steps.map(({ state }) => state), ["passed", "passed", "broken", "passed", "passed"])
  t.same(run.steps.map(({ startMs }) => startMs), [0, 2000, 8200, 13600, 17700])
  t.equal(run.verdict, "failed")
  const cell = cellsOf(run)("pc1 -> db (icmp)", "cut vpn-1")!
  t.match(cell, { outages: 1, longestMs: 552.136, totalMs: 552.136, lost: 552, sent: 5400, lasts: false })
  t.match(run.flows[0], { sent: 19300, duplicates: 0, outageCount: 3, error: "" })
  t.match(run.flows[0]!.outages[1], { step: "cut vpn-1", lengthMs: 552.136, lost: 552, lasts: false })
  t.equal(run.budgets[0]!.breaches[0]!.value, 552.1360702626407, "not what was seen when the budget broke")
  t.match(run.faults, [{ id: "f1", startMs: 8400, endMs: 13810, step: "cut vpn-1" }])
  t.equal(run.before?.nodes.length, 8)
  t.equal(run.after?.nodes.length, 9)
  t.ok(run.flows[0]!.series.latencyMs.slice(50, 60).every((ms) => ms !== null && ms > 14 && ms < 17),
    "the slower while is slower, not the mean of all")
})

t.test("a record is whole wherever the events end", async (t) => {
  const events = eventsOf(story)
  for (let end = 0; end <= events.length; end += 7) {
    const run = first(events.slice(0, end), "the daemon went away")
    t.equal(run.verdict, "broken-off")
    t.same(run.reasons, ["the daemon went away"])
    t.notOk(run.steps.some(({ state }) => state === "running"))
    t.same(JSON.parse(JSON.stringify(run)), run, "plain JSON")
  }
  const run = first(events.filter(({ atMs }) => atMs < events[0]!.atMs + 8800), "interrupted")
  t.same(run.steps.map(({ state }) => state), ["passed", "passed", "stopped", "waiting", "waiting"])
  t.equal(run.flows[0]!.outages.at(-1)!.lasts, true)
  t.match(run.faults, [{ endMs: null }], "nobody knows whether it was healed")
  t.match(recordOf([], { name: "n", filename: "f", lab: "l", version: "", repeat: 1 }), { verdict: "broken-off", runs: [] })
  t.match(recordOfStory(story, 5, 3), { verdict: "broken-off", reasons: ["3 of 5 runs were made"] })
})

t.test("one that was stopped is not complete, though the daemon ended it in order", async (t) => {
  const events = eventsOf({ ...story, breaksOffAtMs: 9000 })
  const atMs = events.at(-1)!.atMs
  const run = first([...events, { atMs, event: "done", done: {
    outcome: "stopped", reasons: ["stopped in step 3"], rolledBack: false, healed: true, destroyed: true, durationMs: 9000
  } }])
  t.match(run, { verdict: "broken-off", reasons: ["stopped in step 3"], healed: true })
  t.match(run.faults, [{ endMs: 200 + 8200 }], "healed, so one that nobody healed was over as soon as it had happened")
})

t.test("FlowTrack keeps what a long run with a bad link says within bounds", async (t) => {
  const spec = { name: "f", from: "a", to: "b", protocol: "udp", spacingMs: 1, fromStep: 0, untilStep: -1 }
  const track = new FlowTrack(spec, "f")
  const report = eventsOf(story).flatMap((event) => (event.event === "flows" ? event.flows.flows : []))[0]!
  let totalMs = 0
  for (let number = 0; number < 9000; number++) {
    const lengthMs = 1 + (number % 100)
    totalMs += lengthMs
    track.addOutage({ flow: 0, number, step: 0, startMs: number * 200, lengthMs: lengthMs / 2, lost: 1, lasts: true }, 0, "s")
    track.addOutage({ flow: 0, number, step: 0, startMs: number * 200, lengthMs, lost: lengthMs, lasts: false }, 0, "s")
    track.addReport({ ...report, sent: (number + 1) * 200, received: (number + 1) * 190, latency: { ...report.latency!, mean: 5 } },
      (number + 1) * 200, 0)
  }
  const flow = track.flow()
  t.equal(flow.outages.length, mostOutages)
  t.ok(flow.outages.every(({ lengthMs }) => lengthMs > 80), "the longest are kept")
  t.same(flow.outages.toSorted((a, b) => a.startMs - b.startMs), flow.outages)
  t.equal(flow.outageCount, 9000)
  t.match(track.cells(["s"]), [{ outages: 9000, longestMs: 100, totalMs, lost: totalMs }])
  t.ok(flow.series.sent.length <= mostSlices)
  t.equal(flow.series.sent.reduce((sum, count) => sum + count, 0), 9000 * 200, "no probe gets lost when slices are joined")
  t.ok(flow.series.sent.length * flow.series.sliceMs >= 9000 * 200)
  t.ok(flow.series.latencyMs.every((ms) => ms === 5))
})

t.test("cells over runs: median and worst", async (t) => {
  const { runs } = recordOfStory(story, 3)
  const cell = repeatedCells(runs)("pc1 -> db (icmp)", "cut vpn-1")!
  t.equal(cell.longestMs.length, 3)
  t.equal(cell.worstMs, Math.max(...cell.longestMs))
  t.equal(cell.longestMs[cell.worstRun - 1], cell.worstMs)
  t.equal(cell.medianMs, cell.longestMs.toSorted((a, b) => a - b)[1])
  t.equal(repeatedCells(runs)("nobody", "cut vpn-1"), undefined)
  t.same([median([]), median([3]), median([4, 1]), median([9, 1, 5])], [0, 3, 2.5, 5])
  t.equal(stepNames(runs).length, 5)
  const broken = recordOfStory({ ...story, breaksOffAtMs: 8800 }).runs
  t.same(stepNames(broken), ["warm-up", "second tunnel", "cut vpn-1"], "steps that were not come to are not 0")
  t.equal(flowNames(runs).length, 6)
  t.same(unique(["a", "a", "b", "a"]), ["a", "a (2)", "b", "a (3)"])
})

t.test("budgets: the most particular one holds", async (t) => {
  const run = recordOfStory({ ...story, budgetMs: 500 }).runs[0]!
  const [all, second] = run.budgets
  t.equal(holds(all!, run)("pc1 -> db (icmp)", "second tunnel"), false, "that step has its own")
  t.equal(holds(second!, run)("pc1 -> db (icmp)", "second tunnel"), true)
  t.equal(holds(all!, run)("pc1 -> db (icmp)", "cut vpn-1"), true)
  t.match(worstOf(all!, run), { flow: "pc1 -> db (icmp)", step: "cut vpn-1" })
  t.equal(valueText({ kind: "max-loss", unit: "%" }, 0.1234), "0.12 %")
  t.equal(valueText({ kind: "max-loss", unit: "probes" }, 1), "1 probe")
  t.same(reasonLines(recordOfStory({ ...story, budgetMs: 500 })), ['pc1 -> db (icmp) in step "cut vpn-1": 552 ms, max-outage is 500 ms'])
})

t.test("compareRecords tells what is worse from noise", async (t) => {
  const [a, b] = [recordOfStory(story, 3), recordOfStory({ ...story, badness: 2.5 }, 3)]
  t.match(compareRecords(a, a), { isWorse: false, newFlows: [], vanishedFlows: [] })
  t.ok(compareRecords(a, a).cells.every(({ change }) => change === "same"))
  const worse = compareRecords(a, b)
  t.equal(worse.isWorse, true)
  t.match(worse.cells[0], { flow: "pc1 -> db (icmp)", step: "cut vpn-1", change: "worse" })
  t.notOk(worse.cells.some(({ change }) => change === "better"))
  const better = compareRecords(b, a)
  t.equal(better.isWorse, false)
  t.match(better.cells[0], { change: "better" })
  const fewer = compareRecords(a, recordOfStory({ ...story, flows: 5 }, 3))
  t.match(fewer, { isWorse: true, vanishedFlows: ["pc2 -> www (icmp) 6"], newFlows: [] })
  t.match(compareRecords(a, recordOfStory({ ...story, flows: 7 }, 3)), { isWorse: false, newFlows: ["pc1 -> db (tcp) 7"] })
  const broken = compareRecords(a, recordOfStory({ ...story, breaksOffAtMs: 8800 }))
  t.match(broken, { isWorse: true, vanishedSteps: ["mend it", "still as it should be"] })
  // A difference of one probe is none, of whatever size the outages are.
  const one = recordOfStory(story)
  const shifted = { ...one, runs: one.runs.map((run) => ({ ...run, cells: run.cells
    .map((cell) => ({ ...cell, longestMs: cell.longestMs + 1 })) })) }
  t.ok(compareRecords(one, shifted).cells.every(({ change }) => change === "same"))
})
