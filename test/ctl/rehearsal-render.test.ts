/** Rehearsals as text: the live view, the summary, JUnit, comparisons. */
import t from "tap"
import { compareRecords } from "../../ctl/rehearsal/compare.ts"
import { countedOutMs, type LiveFlow, LiveFlows, outNowMs } from "../../ctl/rehearsal/live-flows.ts"
import { comparisonLines } from "../../ctl/render/rehearsal-compare.ts"
import { rehearsalJunit } from "../../ctl/render/rehearsal-junit.ts"
import { liveLines, LiveState, liveView, sparkline } from "../../ctl/render/rehearsal-live.ts"
import { rehearsalLines } from "../../ctl/render/rehearsal-summary.ts"
import { colours, plain, visibleLength } from "../../ctl/terminal.ts"
import { junitProblems } from "./junit-schema.ts"
import { eventsOf, nasty, recordOfStory } from "./rehearsal-events.ts"

const story = { flows: 6, seed: 3, budgetMs: 500 }
const stateAt = (ms: number, flows = 6): LiveState => {
  const state = new LiveState()
  const events = eventsOf({ ...story, flows })
  for (const event of events) if (event.atMs <= events[0]!.atMs + ms) state.feed(event)
  return state
}

t.test("liveLines shows flows, the worst first, in whatever room there is", async (t) => {
  for (const [width, height] of [[120, 24], [79, 12], [50, 12], [30, 10]] as const) {
    const state = stateAt(9000, 30)
    const lines = liveLines(state, { width, height, style: plain, title: "run 2 of 5", atMs: state.lastMs })
    t.ok(lines.length <= height, `${lines.length} of ${height} lines`)
    t.same(lines.filter((line) => visibleLength(line) > width), [], `no line is wider than ${width}`)
    t.matchSnapshot(lines.join("\n"), `${width} columns`)
    const painted = liveLines(state, { width, height, style: colours, title: "run 2 of 5", atMs: state.lastMs })
    t.same(painted.map((line) => line.replace(/\u001b\[\d+m/g, "").trimEnd()), lines.map((line) => line.trimEnd()), "colours take no room")
  }
})

t.test("sparkline: heights are round trips, signs are loss", async (t) => {
  const at = (latencyMs: number | null, out = 0) => ({ latencyMs, out })
  t.equal(sparkline([undefined, at(1), at(1.05), at(2.1), at(4.3), at(100)], 1, plain), " ▁▁▃▅█")
  t.equal(sparkline([at(1, 0.01), at(1, 0.5), at(null), at(null, 1)], 1, plain), "!×××")
  t.equal(sparkline([at(1), at(1, 0.3), at(1, 1), at(1)], 1, colours), "▁\u001b[31m!×\u001b[39m▁")
})

t.test("outNowMs: a probe that takes long is an outage that may be beginning", async (t) => {
  const events = eventsOf(story)
  const report = events.flatMap((event) => (event.event === "flows" ? event.flows.flows : []))[0]!
  const flow: LiveFlow = { name: "f", report: { ...report, pendingMs: 10 }, worstMs: 0, worstStep: -1, outages: 0, lasting: undefined,
    broken: false, heardAtMs: 0, grows: false }
  t.equal(outNowMs(flow), 0)
  t.equal(outNowMs({ ...flow, report: { ...report, pendingMs: 300 } }), 300)
  t.equal(outNowMs({ ...flow, report: undefined }), 0)
})

t.test("countedOutMs: an outage that lasts is counted on between two reports, and one that is over is not", async (t) => {
  const events = eventsOf(story)
  const planned = events.flatMap((event) => (event.event === "planned" ? [event.planned] : []))[0]!
  const report = events.flatMap((event) => (event.event === "flows" ? event.flows.flows : []))[0]!
  const { flow } = report
  const flows = new LiveFlows(planned.flows)
  const hear = (atMs: number, lengthMs: number, lasts: boolean): void =>
    flows.add({ flows: [report], outages: [{ flow, number: 0, step: 1, startMs: 1000, lengthMs, lost: 1, lasts }] }, atMs)
  const shown = (atMs: number): number => {
    const one = flows.worstFirst().find(({ outages }) => outages > 0)!
    return countedOutMs(one, atMs)
  }
  hear(2000, 1000, true)
  hear(2200, 1200, true)
  t.strictSame([2200, 2300, 2399].map(shown), [1200, 1300, 1399])
  t.equal(shown(9000), 2200, "who has not been heard of for long is not known")
  hear(2400, 1200, true)
  t.equal(shown(2500), 1200, "it was over then, and waits for its last probes")
  hear(2600, 1200, false)
  t.equal(shown(2700), 0)
  const state = new LiveState()
  state.feed({ atMs: 1000, event: "planned", planned })
  const lasting = { flow, number: 0, step: 1, startMs: 1000, lengthMs: 1000, lost: 1, lasts: true }
  state.feed({ atMs: 2000, event: "flows", flows: { flows: [report], outages: [lasting] } })
  const lines = (atMs: number): string => liveLines(state, { width: 100, height: 20, style: plain, title: "", atMs }).join("\n")
  t.match(lines(2000), /^✗ .* 1\.00 s/m)
  t.match(lines(2100), /^✗ .* 1\.10 s/m, "the figure counts")
})

/** A terminal's screen: what is written, with long lines folded, the cursor moving up and what is below it being erased. */
const screen = (columns: number) => {
  const rows: Array<string> = [""]
  let at = 0
  const put = (text: string): void => {
    for (const [index, line] of text.split("\n").entries()) {
      if (index > 0) at += 1
      if (index > 0 && rows[at] === undefined) rows[at] = ""
      for (let from = 0; from < line.length; from += columns) {
        if (from > 0) at += 1
        rows[at] = line.slice(from, from + columns)
      }
    }
  }
  const write = (text: string): void => {
    for (const [, up, below, rest, other] of text.matchAll(/\u001b\[(\d+)A|(\u001b\[J)|(\u001b\[K)|((?:\u001b\[\d+m)|\r|[^\u001b\r]+)/g)) {
      if (other === "\r") continue
      if (up !== undefined) at -= Number(up)
      else if (below !== undefined) {
        rows.length = at
        rows[at] = ""
      } else if (rest === undefined) put(other!)
    }
  }
  return { rows, write }
}

t.test("liveView redraws in place, and leaves what happened", async (t) => {
  const { TERM } = process.env
  process.env["TERM"] = "xterm"
  t.teardown(() => void (process.env["TERM"] = TERM ?? ""))
  const one = screen(100)
  let now = 0
  const target = { isTTY: true, columns: 100, rows: 20, write: one.write }
  const live = liveView(target, { style: plain, now: () => now })
  for (const event of eventsOf(story)) {
    now += 60
    live.feed(event)
  }
  t.ok(one.rows.some((row) => row.startsWith("✓ pc1 -> www (udp)")), "drawn")
  live.end()
  t.matchSnapshot(one.rows.join("\n"))
})

t.test("liveView writes plain lines where there is no terminal", async (t) => {
  let text = ""
  const live = liveView({ isTTY: false, write: (more) => (text += more) }, { style: plain, now: () => 0 })
  for (const event of eventsOf({ ...story, badness: 2.5 })) live.feed(event)
  live.end()
  t.notMatch(text, /\u001b/)
  t.matchSnapshot(text)
})

t.test("names cannot drive the terminal", async (t) => {
  let text = ""
  const live = liveView({ isTTY: false, write: (more) => (text += more) }, { style: plain, now: () => 0 })
  for (const event of eventsOf({ ...story, name: nasty })) live.feed(event)
  t.notMatch(text, /\u001b/)
  t.notMatch(rehearsalLines(recordOfStory({ ...story, name: nasty }), { style: plain, width: 100 }).join("\n"), /\u001b/)
})

t.test("rehearsalLines sums up", async (t) => {
  const lines = (record: ReturnType<typeof recordOfStory>, width = 120) => rehearsalLines(record, { style: plain, width })
  t.matchSnapshot(lines(recordOfStory(story)).join("\n"), "failed")
  t.matchSnapshot(lines(recordOfStory(story), 60).join("\n"), "narrow")
  t.matchSnapshot(lines(recordOfStory({ ...story, budgetMs: 900 }, 5)).join("\n"), "repeated")
  t.matchSnapshot(lines(recordOfStory({ ...story, breaksOffAtMs: 8900 })).join("\n"), "broke off")
  t.matchSnapshot(lines(recordOfStory({ ...story, badness: 2.5 }, 4, 2)).join("\n"), "broke off between runs")
  t.same(lines(recordOfStory(story), 60).filter((line) => line.length > 60 && !line.startsWith("✗")), [])
  t.ok(lines(recordOfStory({ ...story, flows: 200, budgetMs: 100 })).length < 80, "not all of 200 flows")
  t.match(lines(recordOfStory({ ...story, breaksOffAtMs: 0 })).join("\n"), /! broke off/)
})

t.test("rehearsalJunit is what the schema says, in every case", async (t) => {
  const records = {
    passed: recordOfStory({ ...story, budgetMs: 900 }), failed: recordOfStory({ ...story, badness: 2.5 }),
      repeated: recordOfStory(story, 3),
    "broke off": recordOfStory({ ...story, breaksOffAtMs: 8900 }), "broke off at once": recordOfStory({ ...story, breaksOffAtMs: 0 }),
    "broke off between runs": recordOfStory({ ...story, budgetMs: 900 }, 3, 1), nasty: recordOfStory({ ...story, name: nasty })
  }
  for (const [name, record] of Object.entries(records)) {
    const xml = rehearsalJunit(record)
    t.equal(junitProblems(xml), "", name)
    t.equal(/<(failure|error) /.test(xml), record.verdict !== "passed", `${name}: something fails if and only if it did`)
  }
  t.matchSnapshot(rehearsalJunit(records.failed).split("\n").filter((line) => !line.endsWith("/>")).join("\n"))
  t.match(rehearsalJunit(records.failed), /message="pc1 -&#62; db \(icmp\) in step &#34;cut vpn-1&#34;: 1380 ms, max-outage is 500 ms"/)
  const broken = rehearsalJunit(records["broke off"])
  t.match(broken, /it broke off: the daemon went away/)
  const tags = [...broken.matchAll(/<testcase name="step ([^"]*)"[^>]*>\s*<(\w+) message="([^"]*)"/g)].map((found) => found.slice(1))
  const [under, ...after] = tags.filter(([name]) => !name?.startsWith("warm"))
  t.match(under, [/cut/, "error", "it was under way when the rehearsal broke off"])
  t.strictSame(after.map(([, tag, message]) => [tag, message]), [["skipped", "not reached"], ["skipped", "not reached"]])
})

t.test("comparisonLines", async (t) => {
  const [a, b] = [recordOfStory({ ...story, budgetMs: 900 }, 3), recordOfStory({ ...story, flows: 5, badness: 2.5 }, 3)]
  t.matchSnapshot(comparisonLines(compareRecords(a, b), { style: plain, width: 110 }).join("\n"), "worse")
  t.matchSnapshot(comparisonLines(compareRecords(b, a), { style: plain, width: 70 }).join("\n"), "better, narrow")
  t.matchSnapshot(comparisonLines(compareRecords(a, a), { style: plain, width: 110 }).join("\n"), "the same")
})
