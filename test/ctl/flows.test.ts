/** Reports of probes, put together and shown. */
import t from "tap"
import type { Client } from "../../ctl/client.ts"
import type { FlowOutage, FlowReport, FlowReports } from "../../ctl/flow-messages.ts"
import { answers, longestOutageMs, outagesOf, watchFlows } from "../../ctl/flows.ts"
import { flowLines, liveLine, milliseconds } from "../../ctl/render/flows.ts"
import { plain } from "../../ctl/terminal.ts"

const spec = { from: "a", to: "b", protocol: "udp", spacingMs: 1, timeoutMs: 1000, payload: 0, ipv6: false }
const latency = { min: 0.01, mean: 0.02, p50: 0.02, p99: 0.5, max: 3 }
const outage = (startMs: number, lengthMs: number, lasts = false): FlowOutage => ({ startMs, lengthMs, lost: lengthMs, lasts })
const report = (flow: number, more: Partial<FlowReport>): FlowReport => ({
  flow, address: "10.0.0.2", sent: 0, received: 0, lost: 0, unsent: 0, duplicates: 0, reordered: 0, late: 0, refused: 0, unreachable: 0,
  latency, outages: [], outageCount: 0, pendingMs: 0, blindMs: 0, error: "",
  protocol: "udp", port: 0, wrong: 0, detail: "", changes: [], changeCount: 0, samples: [], ...more
})

/** A daemon that reports these, one after the other, and hangs up. */
const clientOf = (reports: ReadonlyArray<FlowReports>): Client =>
  ({
    flow: async function* () {
      yield* reports
    }
  }) as unknown as Client

const watched = async (count: number, reports: ReadonlyArray<FlowReports>) => {
  const flows = watchFlows(clientOf(reports), { lab: "", flows: Array.from({ length: count }, () => spec), reportMs: 0 })
  await flows.until(() => false)
  return flows.states
}

t.test("outages that are over are kept, the one that lasts is the newest report's", async (t) => {
  const [state] = await watched(1, [
    { flows: [report(0, { sent: 100, received: 90, outages: [outage(1000, 5), outage(2000, 3, true)] })] },
    { flows: [report(0, { sent: 200, received: 180, outages: [outage(2000, 9, true)] })] }
  ])
  t.same(outagesOf(state!), [outage(1000, 5), outage(2000, 9, true)])
  t.equal(longestOutageMs(state!), 9)
  t.notOk(answers(state!))
})

t.test("a flow answers while its oldest probe under way is not late", async (t) => {
  const answering = async (more: Partial<FlowReport>): Promise<boolean> => answers((await watched(1, [{ flows: [report(0, more)] }]))[0]!)
  t.equal(await answering({ received: 5, pendingMs: 1 }), true)
  t.equal(await answering({ received: 5, pendingMs: 50 }), false)
  t.equal(await answering({ received: 5, pendingMs: 50, latency: { ...latency, p99: 40 } }), true, "its path is that long")
  t.equal(await answering({ received: 0 }), false)
  t.equal(await answering({ received: 5, error: "node a is gone" }), false)
  t.equal(answers((await watched(1, []))[0]!), false, "nothing was heard yet")
})

t.test("the line while they run", async (t) => {
  const fine = await watched(2, [{ flows: [report(0, { sent: 10, received: 10 }), report(1, { sent: 10, received: 10 })] }])
  t.equal(liveLine(fine, 1234, plain), "1.2 s  20 sent  0 lost (0 %)  answers")
  const silent = await watched(2, [
    { flows: [report(0, { sent: 10, received: 10 }), report(1, { sent: 90, received: 10, lost: 40, pendingMs: 80 })] }
  ])
  t.equal(liveLine(silent, 60_000, plain), "60.0 s  100 sent  40 lost (40.00 %)  1 of 2 flows silent for 80.0 ms")
})

t.test("the table at the end", async (t) => {
  const at = new Date(2026, 0, 2, 3, 4, 5, 67).getTime()
  const states = await watched(2, [{
    flows: [
      report(0, { sent: 1000, received: 1000, latency: { ...latency, max: 9 } }),
      report(1, { sent: 1000, received: 880, lost: 120, unsent: 7, blindMs: 2.5, outageCount: 1, outages: [outage(at, 120)] })
    ]
  }])
  t.same(flowLines(states, { style: plain, width: 80 }), [
    "FLOW  OUTAGE AT       LENGTH  LOST",
    "   2  03:04:05.067  120.0 ms   120",
    "",
    "2000 sent, 1880 answered, 120 lost (6.00 %) in 1 outage",
    "round trip: 0.010 ms at least, median 0.020 ms, 99 % 0.500 ms, at most 9.0 ms",
    "7 could not be sent in time, 2.5 ms at a stretch: outages may be off by that"
  ])
  const dead = await watched(1, [{
    flows: [report(0, { sent: 978, lost: 19, latency: { ...latency, max: 0 }, outageCount: 1, outages: [outage(at, 1020, true)] })]
  }])
  t.match(flowLines(dead, { style: plain, width: 80 }).slice(-2), [
    "978 sent, 0 answered, 19 lost (100.00 %) in 1 outage",
    "959 were not answered when it ended, and too young to be lost"
  ])
  const many = await watched(1, [{ flows: [report(0, { received: 1, outages: Array.from({ length: 50 }, (_, i) => outage(at + i, 1)) })] }])
  t.match(flowLines(many, { style: plain, width: 80 })[41], "and 10 more")
  const none = await watched(1, [{ flows: [report(0, { error: "nobody\u001b answers" })] }])
  t.match(flowLines(none, { style: plain, width: 80 }), ["error: nobody\ufffd answers", "0 sent, 0 answered, none lost"])
})

t.test("times are as exact as they are worth", async (t) => {
  t.same([0.0421, 7.25, 143.21, 1520].map(milliseconds), ["0.042 ms", "7.3 ms", "143.2 ms", "1.52 s"])
})
