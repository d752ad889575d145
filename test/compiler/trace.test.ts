/** Recordings beside a topology: what is read, what links get, and what is refused at which line. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { largestTrace, parseTrace } from "../../daemon/compiler/trace.ts"
import type { LinkProfiles, Trace } from "../../daemon/plan/link-profile.ts"
import { profileText } from "../../daemon/plan/profile-text.ts"
import type { SegmentSpec } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import * as DeliveryTimes from "../../daemon/wire/delivery-times.ts"
import { seeded } from "../random.ts"

const octets = (text: string): Uint8Array => Buffer.from(text)

const traceOf = (text: string): Trace => {
  const parsed = parseTrace("a", octets(text))
  if (!parsed.ok) throw new Error(`${parsed.line}: ${parsed.message}`)
  return parsed.trace
}

t.test("parseTrace reads Mahimahi's format", async (t) => {
  const times = (text: string): ReadonlyArray<number> => {
    const trace = traceOf(text)
    return trace.kind === "deliveries" ? [...DeliveryTimes.decode(trace.times)!] : []
  }
  t.strictSame(times("0\n1\n1\n7\n"), [0, 1, 1, 7])
  t.strictSame(times("5"), [5], "without an end of the last line")
  t.strictSame(times("1\r\n2\r\n"), [1, 2])
  t.strictSame(times("\ufeff1\n2\n"), [1, 2])
})

t.test("parseTrace reads CSV with units", async (t) => {
  t.strictSame(traceOf("time,rate,delay,loss\n0,20mbit,30ms,0%\n1s,,60ms,1%\n1500ms,5mbit\n"), {
    kind: "samples",
    name: "a",
    periodMs: 2000,
    samples: [
      { atMs: 0, rateBps: 20e6, delayMs: 30, loss: 0 },
      { atMs: 1000, delayMs: 60, loss: 0.01 },
      { atMs: 1500, rateBps: 5e6 }
    ]
  })
  const closed = traceOf("# of a ferry\n\nLoss, Time\n 1% , 0s \n\n2%,4s\n,10s\n")
  t.strictSame(closed, { kind: "samples", name: "a", periodMs: 10_000, samples: [{ atMs: 0, loss: 0.01 }, { atMs: 4000, loss: 0.02 }] })
  t.strictSame(traceOf("time,delay\n0,5ms"), { kind: "samples", name: "a", periodMs: 1000, samples: [{ atMs: 0, delayMs: 5 }] })
})

const wrong: ReadonlyArray<readonly [text: string, at: string, message: RegExp]> = [
  ["", "1:1", /^the recording is empty$/],
  ["\n# nothing\n", "1:1", /is empty/],
  ["1\n2\nx\n", "3:1", /^"x": expected a whole number of milliseconds$/],
  ["1\n\n2\n", "2:1", /expected a whole number/],
  ["1\n2.5\n", "2:1", /whole number/],
  ["-1\n", "1:1", /whole number/],
  ["3\n2\n", "2:1", /^2: times must not fall, and the line before has 3$/],
  ["0\n0\n", "2:1", /takes no time/],
  ["9999999999\n", "1:1", /at most 1000000000/],
  ["time,speed\n", "1:6", /^"speed": expected milliseconds in each line, or a header such as time,rate,delay,loss$/],
  ["time,rate,rate\n", "1:1", /comes twice/],
  ["rate,loss\n", "1:1", /"time" is missing/],
  ["time\n0\n", "1:1", /nothing is recorded/],
  ["time,rate\n", "1:1", /no samples/],
  ["time,rate\n0,5\n", "2:3", /^rate "5": expected a rate with its unit/],
  ["time,rate\n0, 9bit\n", "2:4", /expected 1kbit/],
  ["time,delay\n0,70s\n", "2:3", /at most 60s/],
  ["time,loss\n0,2\n", "2:3", /expected a share/],
  ["time,loss\n0,1%,\n", "2:1", /^expected 2 fields, not 3$/],
  ["time,loss\n1s,1%\n", "2:1", /first sample must be at time 0/],
  ["time,loss\n0,1%\n0,2%\n", "3:1", /must rise/],
  ["time,loss\n0,1%\n5s\n6s,1%\n", "3:1", /only the last line/],
  ["time,loss\n0,1%\n,2%\n", "3:1", /time is missing/],
  ["time,loss\n0,1%\n5,2%\n", "3:1", /^time "5": expected a time with its unit such as 100ms/],
  ["time,loss\n0,1%\n90000s,2%\n", "3:1", /at most 86400s/],
  [`time,loss\n0,1%\n${Array.from({ length: 20_001 }, (_, i) => `${i + 1}ms,1%\n`).join("")}`, "20003:1", /more than 20000 samples/],
  ["\u0000\u0001", "1:1", /no text/]
]

for (const [text, at, message] of wrong) {
  t.test(`parseTrace refuses ${JSON.stringify(text.slice(0, 40))}`, async (t) => {
    const parsed = parseTrace("a", octets(text))
    if (parsed.ok) return t.fail("accepted")
    t.equal(`${parsed.line}:${parsed.column}`, at)
    t.match(parsed.message, message)
  })
}

t.test("parseTrace takes any octets, and quickly", async (t) => {
  for (let seed = 1; seed <= 300; seed++) {
    const { below, octets, pick } = seeded(seed)
    const letters = "0123456789,\n %ms.time,rate#-"
    const text = seed % 2 === 0 ? octets(below(200)) : Buffer.from(Array.from({ length: below(200) }, () => pick([...letters])).join(""))
    t.doesNotThrow(() => parseTrace("a", text))
  }
  t.match(parseTrace("a", new Uint8Array(largestTrace + 1)), { ok: false, message: /at most 8388608/ })
  const start = process.cpuUsage()
  t.ok(parseTrace("a", octets("1\n".repeat(largestTrace / 2))).ok)
  const { system, user } = process.cpuUsage(start)
  t.ok((user + system) / 1000 < 5000, `${(user + system) / 1000} ms for 4 million lines`)
})

const topology = (link: object): string =>
  JSON.stringify({ name: "lab", nodes: { a: { kind: "host" }, b: { kind: "host" } }, links: [{ endpoints: ["a", "b"], ...link }] })
const files = new Map([
  ["up.trace", octets("1\n2\n")],
  ["down.csv", octets("time,rate\n0,8mbit\n1s,1mbit\n")],
  ["air.csv", octets("time,delay\n0,8ms\n1s,9ms\n")],
  ["wrong.trace", octets("1\nx\n")]
])

const profilesOf = (link: object): LinkProfiles => {
  const result = load({ filename: "labs/x.weft.yaml", content: topology(link), files })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return (result.plan.resources.find(({ kind }) => kind === "segment")!.spec as SegmentSpec).profiles!
}

t.test("compile gives directions their recordings", async (t) => {
  const { aToB, bToA } = profilesOf({ trace: { "a-to-b": "up.trace", "b-to-a": "down.csv" }, queue: "100p", aqm: "codel", delay: "5ms" })
  t.strictSame(aToB, { delayMs: 5, queue: { packets: 100 }, aqm: "codel", trace: { kind: "deliveries", name: "up.trace", times: "11" } })
  t.match(bToA, { queue: { packets: 100 }, trace: { kind: "samples", periodMs: 2000 } })
  t.equal(profileText(aToB), "delay 5ms queue 100p aqm codel trace up.trace")
  const one = profilesOf({ trace: { "b-to-a": "up.trace" } })
  t.strictSame(one.aToB, {})
  t.equal(profilesOf({ trace: "air.csv", rate: "1mbit" }).aToB.rateBps, 1e6, "a rate where the recording has none")
  t.equal(profilesOf({ trace: "air.csv", queue: "5p" }).aToB.queue, undefined, "no queue without a rate")
})

const refusals = (link: object): ReadonlyArray<string> => {
  const result = load({ filename: "labs/x.weft.yaml", content: topology(link), files })
  return result.ok ? [] : result.diagnostics.map(render)
}

t.test("compile refuses recordings that make the plan too large", async (t) => {
  let time = 0
  const long = octets(Array.from({ length: 1_000_000 }, (_, i) => `${(time += i % 2)}\n`).join(""))
  const links = Array.from({ length: 20 }, () => ({ endpoints: ["a", "b"], trace: "long.trace" }))
  const content = JSON.stringify({ name: "lab", nodes: { a: { kind: "host" }, b: { kind: "host" } }, links })
  const result = load({ filename: "f", content, files: new Map([["long.trace", long]]) })
  const [first] = result.ok ? [] : result.diagnostics.map(render)
  t.match(first, /links\[16\]\.trace: the recordings of all links are more than the 33554432 octets/)
})

t.test("compile refuses recordings that are not there, wrong, or beside a rate of the link", async (t) => {
  const absent = /^labs\/x\.weft\.yaml:1:\d+: links\[0\]\.trace: cannot read "no\.trace": it did not come with the topology$/
  t.match(refusals({ trace: "no.trace" }), [absent])
  const once = ['labs/wrong.trace:2:1: "x": expected a whole number of milliseconds']
  t.strictSame(refusals({ trace: "wrong.trace" }), once, "once for both directions")
  t.match(refusals({ trace: "up.trace", rate: "1mbit" }), [/links\[0\]\.rate: does nothing: the recording "up\.trace" has the rate$/])
  for (const name of ["/etc/shadow", "../up.trace", "a/../../b", "", "a\nb", "x".repeat(256)]) {
    t.match(refusals({ trace: name }), [/links\[0\]\.trace/], name.slice(0, 20))
  }
  t.strictSame(refusals({ trace: "up.trace" }), [])
  t.match(refusals({ trace: ["up.trace"] }), [/expected a file in the topology's folder, or \{a-to-b, b-to-a\}, not a list/])
})
