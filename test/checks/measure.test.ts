/** Bounds of what is measured, with a lab that is made up: fractions of a millisecond, and minutes, are bounds like others. */
import t from "tap"
import type { Lab } from "../../daemon/checks/lab.ts"
import { runChecks, type Result } from "../../daemon/checks/runner.ts"
import { parseSuite } from "../../daemon/checks/suite.ts"
import { fileIn } from "../../daemon/faults/files.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const nodes: Lab["nodes"] = new Map(["a", "b"].map((name, index) => [
  name,
  { name, kind: "host", forwards: false, group: "", labels: {}, addresses: [{ ifname: "eth0", address: `10.0.0.${index + 1}` }] }
]))

/** Round trips take 0.2 to 1.4 ms. */
const latency = { min: 0.2, mean: 0.4, p50: 0.3, p99: 1.2, max: 1.4 }

/** The one path that is known, as a speaker shows it. */
const path = {
  prefix: "10.0.0.0/8", best: true, multipath: false, from: "b", nextHop: "10.0.0.2", asPath: "64500 64501", origin: "igp",
  communities: ["65000:1", "no-export-subconfed", "rt:65000:1", "65000:1:2", "encap:vxlan"]
}

/** What comes out of one check, and how far apart its probes were. */
const run = async (check: string): Promise<{ readonly result: Result; readonly spacingMs: number }> => {
  const suite = parseSuite({ filename: "f", content: `checks: [${check}]` }, { nodes })
  if (!suite.ok) throw new Error(suite.diagnostics.map(render).join("\n"))
  let [result, spacingMs]: [Result | undefined, number] = [undefined, 0]
  const lab: Lab = {
    nodes,
    ask: (async (_node: string, what: string, question: { readonly spacingMs: number }) => {
      if (what === "bgp-routes") return [path]
      if (what !== "flow") throw new Error("nobody knows")
      spacingMs = question.spacingMs
      return { sent: 200, received: 200, lost: 0, unsent: 0, latency }
    }) as unknown as Lab["ask"],
    inject: () => Promise.reject(new Error("nothing to inject here"))
  }
  await runChecks(suite.suite.checks, lab, { parallel: 1, signal: new AbortController().signal, told: (one) => void (result = one) })
  return { result: result!, spacingMs }
}

t.test("latency takes bounds below a millisecond, and above a minute", async (t) => {
  for (const [bound, passed] of [
    ["p50: 300us", true], ["p50: 250us", false], ["p50: 0.25ms", false], ["p99: 1.2ms", true], ["p99: 1.1ms", false],
    ["max: 2m", true], ["min: 0.1ms", true], ["min: 1m", false], ["jitter: 900us", true], ["jitter: 800us", false]
  ] as const) {
    const { result } = await run(`{ latency: { from: a, to: b, ${bound} } }`)
    t.equal(result.verdict?.passed, passed, bound)
  }
})

t.test("latency sends at the spacing that it was given", async (t) => {
  t.equal((await run("{ latency: { from: a, to: b } }")).spacingMs, 5)
  t.equal((await run("{ latency: { from: a, to: b, spacing: 500us } }")).spacingMs, 0.5)
  t.equal((await run("{ latency: { from: a, to: b, spacing: 1.5ms } }")).spacingMs, 1.5)
  await t.rejects(run("{ latency: { from: a, to: b, spacing: 50us } }"), /at least 100us/)
})

t.test("communities are the same however they are written", async (t) => {
  for (const [community, passed] of [
    ["65000:1", true], ["local-as", true], ["65535:65283", true], ["rt:65000:1", true], ['"65000:1:2"', true], ["encap:vxlan", true],
    ["[65000:1, no-export]", false], ["65000:2", false]
  ] as const) {
    const { result } = await run(`{ bgp-route: { node: a, prefix: 10.0.0.0/8, communities: ${community} } }`)
    t.equal(result.verdict.passed, passed, community)
  }
  t.ok((await run('{ bgp-route: { node: a, prefix: 10.0.0.0/8, as-path: "64500  64501", as-path-has: 64501 } }')).result.verdict.passed)
  t.notOk((await run('{ bgp-route: { node: a, prefix: 10.0.0.0/8, as-path: "" } }')).result.verdict.passed, "empty is a path of our own")
})

t.test("failover has the recordings that came along, and shows nobody what they hold", async (t) => {
  const content = "checks: [{ failover: { flows: { from: a, to: b }, inject: [{ brownout: { link: ab, trace: day.csv } }] } }]"
  const fileOf = fileIn(new Map([["day.csv", Buffer.from("time,loss\n0s,9%\n")]]), new Map())
  const suite = parseSuite({ filename: "f", content }, { nodes, fileOf })
  if (!suite.ok) return t.fail(suite.diagnostics.map(render).join("\n"))
  const inject = [{ brownout: { recording: /^time,loss/ } }]
  t.match(suite.suite.checks, [{ name: "a -> b: back when brownout ab day.csv", spec: { inject } }])
  const missing = parseSuite({ filename: "f", content }, { nodes, fileOf: fileIn(new Map(), new Map([["day.csv", "no such file"]])) })
  t.match(missing.ok ? [] : missing.diagnostics.map(render), [/^f:1:91: .*trace: cannot read it: no such file$/])
})

t.test("failover takes no outage at all as a bound, and minutes", async (t) => {
  const parse = (more: string) => {
    const failover = `{ flows: { from: a, to: b }, inject: { link-down: "a:eth0" }, ${more} }`
    return parseSuite({ filename: "f", content: `checks: [{ failover: ${failover} }]` }, { nodes })
  }
  for (const bound of ["max-outage: 0", "max-outage: 0ms", "max-outage: 2m", "max-outage: 2.5ms, within: 1m"]) t.ok(parse(bound).ok, bound)
  for (const bound of ["max-outage: 5", "max-outage: fast", "within: 3m"]) t.notOk(parse(bound).ok, bound)
})
