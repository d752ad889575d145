/** Scenarios: what they say about mistakes, that a seed fixes the schedule on every machine, and that the examples are right. */
import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { readScenario, stepsOf } from "../../daemon/checks/scenario.ts"
import { load } from "../../daemon/compiler/load.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const topologies = new URL("../../topologies/", import.meta.url)
const planOf = (topology: string): Plan => {
  const result = load({ filename: topology, content: readFileSync(new URL(topology, topologies)) })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}
const hybrid = planOf("hybrid-idc-aws-office.weft.yaml")

const rows = (content: string, options: { readonly plan?: Plan; readonly seed?: number } = {}): ReadonlyArray<string> => {
  const result = readScenario({ filename: "s", content }, options)
  if (!result.ok) return result.diagnostics.map(render)
  return result.scenario.moments.map((moment) => {
    const what = moment.what === "inject" ? moment.faults.map(({ forMs = 0, kind }) => `${kind} ${forMs}`).join(" + ")
      : moment.what === "heal" ? [moment.names].flat().join(" + ") : moment.check.kind
    return `${moment.atMs} ${moment.what} ${what}`
  })
}

t.test("entries follow each other, repeat, and stand beside each other", async (t) => {
  t.same(rows(`
timeline:
  - { at: 1m, heal: all }
  - { name: cut, inject: { link-down: x }, for: 5s }
  - { every: 10s, count: 2, inject: [{ link-down: x }, { link-down: y, for: 1s }], for: 2s }
  - at: 3s
    sequence:
      - { inject: { link-down: x }, for: 4s }
      - { wait: 500ms }
      - parallel:
          - { inject: { link-down: x }, for: 2s }
          - { at: 1s, inject: { link-down: y }, for: 3s }
      - { heal: cut }
`), [
    "0 inject link-down 5000", "3000 inject link-down 4000", "7500 inject link-down 2000", "8500 inject link-down 3000",
    "10000 inject link-down 2000 + link-down 1000", "11500 heal cut", "20000 inject link-down 2000 + link-down 1000", "60000 heal all"
  ])
  t.same(rows("until: 25s\ntimeline: [{ every: 10s, at: 0s, inject: { link-down: x }, for: 20s }]"),
    ["0 inject link-down 20000", "10000 inject link-down 20000", "20000 inject link-down 20000"], "until ends what would not end")
})

const chance = (others = ""): string => `
seed: 7
timeline:
${others}
  - { name: storm, random: { rate: 30/min, between: [1s, 20s], of: [link-down, { loss: { value: 10% } }], targets: [x, y], for: 1s..3s } }
  - { name: drum, every: 5s, jitter: 1s, count: 3, inject: { link-down: x }, for: 1s..2s }
`

const golden = [
  "2021 inject link-down 1499", "4949 inject link-down 1081", "5859 inject link-down 1891", "6221 inject loss 2861",
  "9154 inject loss 1302", "9545 inject link-down 1271", "10327 inject link-down 2595", "10591 inject link-down 2896",
  "10655 inject link-down 1571", "11519 inject link-down 2380", "12051 inject loss 2289", "13875 inject loss 1196",
  "15980 inject link-down 1340", "18490 inject link-down 2144"
]

t.test("the same seed gives the same schedule on every machine", async (t) => {
  // Of a seed once and for all: whoever changes these lines changes what every file with chance in it does.
  t.same(rows(chance()), golden)
  t.notSame(rows(chance(), { seed: 8 }), rows(chance()))
  const more = rows(chance("  - { at: 2s, inject: { link-down: z } }"))
  t.same(more.filter((row) => row !== "2000 inject link-down 0"), rows(chance()), "another entry shifts no chance")
})

t.test("chance among what a group stands for takes what suits", async (t) => {
  const of = (targets: string): ReadonlyArray<string> => {
    const timeline = `[{ random: { count: 200, between: [0s, 9s], of: [link-down], targets: ${targets}, for: 1s } }]`
    const result = readScenario({ filename: "s", content: `timeline: ${timeline}` }, { plan: hybrid })
    return result.ok ? result.scenario.moments.flatMap((one) => (one.what === "inject" ? one.faults.map(({ title }) => title) : []))
      : result.diagnostics.map(render)
  }
  t.ok(new Set(of("all")).size > 5, "all links")
  t.match(of("group:nobody")[0], /no node has the group "nobody"/)
  const alone = rows("timeline: [{ random: { count: 1, between: [0s, 1s], of: [link-down], targets: all } }]")
  t.match(alone[0], /cannot be looked up without a lab/)
})

t.test("everything that is wrong is told at once, with its place", async (t) => {
  const told = rows(`
seed: x
timeline:
  - { at: 10x, inject: { link-dwn: fw:wan } }
  - { every: 30s, jitter: 25s, inject: { link-down: dx-9 } }
  - { inject: { link-down: dx-1 }, heal: all }
  - { sequence: [{ at: 5s, inject: { link-down: dx-1 } }, { weit: 2s }, { heal: agin }] }
  - { random: { between: [10s], of: [] } }
  - { at: 5s, check: { reachable: { from: pc9, to: db } } }
  - 7
  - { random: { rate: 20/minx, between: [1s, 2s], of: [{ los: 10% }], targets: [dx-8] } }
until: { within: 5y, check: { reachable: { from: pc8, to: db } } }
`, { plan: hybrid })
  for (const [place, message] of [
    ["2:7", /seed: expected a whole number/], ["4:11", /expected a time/], ["4:26", /unknown kind of fault.*"link-down"\?/],
    ["5:27", /more than half/], ["5:53", /no link "dx-9"/], ["6:36", /is here already/], ["7:20", /put \{wait: 5s\} before it/],
    ["7:61", /unknown key.*"wait"\?/], ["7:81", /no entry has the name "agin"/], ["8:7", /how often/], ["9:43", /no node "pc9"/],
    ["10:5", /expected a map/], ["11:23", /expected a rate/], ["11:58", /los: unknown kind of fault/], ["12:18", /expected /],
    ["12:50", /no node "pc8"/]
  ] as const) t.ok(told.some((line) => line.startsWith(`s:${place}: `) && message.test(line)), `${place} ${message}\n${told.join("\n")}`)
  t.match(rows("timeline: [{ every: 1s, inject: { link-down: x } }]")[0], /never ends/)
  t.match(rows("until: 1h\ntimeline: [{ every: 1ms, inject: { link-down: x } }]")[0], /more than 10000 moments/)
  t.match(rows("until: 5s\ntimeline: [{ at: 6s, inject: { link-down: x } }]")[0], /comes after 5s/)
})

t.test("a scenario is told to heal nothing, or what is over at once", async (t) => {
  const told = (timeline: string, more: object = {}): ReadonlyArray<string> => {
    const result = readScenario({ filename: "s", content: timeline }, { plan: hybrid, ...more })
    return result.ok ? [] : result.diagnostics.map(render)
  }
  t.match(told("timeline: [{ heal: [] }]"), [/^s:1:20: .*the list is empty: there is nothing to heal$/])
  t.match(told("timeline: [{ inject: { daemon-restart: {} }, for: 5s }]"), [/^s:1:46: .*daemon-restart happens once/])
  t.match(told("timeline: [{ random: { rate: 4, between: [5s], of: [] } }]"),
    [/rate: /, /between: expected a list of two/, /of: the list is empty/])
  t.match(told("lab: hybird\ntimeline: [{ at: x, inject: { link-down: dx-1 } }]", { deployed: ["hybrid"] }),
    [/^s:1:6: lab: lab "hybird" is not deployed/, /^s:2:18: /])
})

t.test("recordings that came along are with their faults, and last as long as they do", async (t) => {
  const file = (name: string): string => `
timeline:
  - { inject: { brownout: { link: dx-1, trace: ${name} } } }
  - { at: 1m, inject: { brownout: { link: dx-1, trace: ${name} } }, for: 2s }
  - { random: { count: 1, between: [2m, 3m], of: [{ brownout: { trace: ${name} } }], targets: [dx-1] } }
`
  const files = new Map([["day.csv", Buffer.from("time,rate,delay,loss\n0s,5mbit,20ms,1%\n5s,1mbit,80ms,9%\n10s,5mbit,20ms,1%\n")]])
  const unread = new Map([["gone.csv", "no such file"]])
  const read = (name: string, more: object) => readScenario({ filename: "s", content: file(name) }, { plan: hybrid, ...more })
  const result = read("day.csv", { files })
  t.equal(result.ok ? "" : result.diagnostics.map(render).join("\n"), "")
  if (!result.ok) return
  t.match(result.scenario.moments.map((moment) => (moment.what === "inject" ? moment.faults : [])), [
    [{ forMs: 15_000, spec: { recording: /^time,/ } }], [{ forMs: 2000 }], [{ forMs: 15_000, spec: { link: "dx-1", recording: /^time,/ } }]
  ])
  t.notMatch(JSON.stringify(stepsOf(result.scenario)), /time,rate/, "nobody is shown what the file holds")
  const bare = readScenario({ filename: "s", content: file("day.csv") }, { files })
  t.match(bare.ok ? stepsOf(bare.scenario)[0]!.faults : bare.diagnostics, [{ title: "brownout link=dx-1 trace=day.csv" }])
  const told = (name: string, more: object): ReadonlyArray<string> => {
    const wrong = read(name, more)
    return wrong.ok ? [] : wrong.diagnostics.map(render)
  }
  t.match(told("gone.csv", { files, unread }), [/^s:3:48: .*trace: cannot read it: no such file$/, /^s:4:/, /^s:5:/])
  t.match(told("day.csv", {}), [/it was not sent along$/, /^s:4:/, /^s:5:/])
})

t.test("the example of docs/scenarios.md is a scenario", async (t) => {
  const text = readFileSync(new URL("../../docs/scenarios.md", import.meta.url), "utf8")
  const content = /^```yaml\n([^]*?)^```$/m.exec(text)?.[1] ?? ""
  const result = readScenario({ filename: "docs/scenarios.md", content }, { plan: hybrid })
  t.same(result.ok ? [] : result.diagnostics.map(render), [])
})

for (const file of readdirSync(topologies).filter((name) => name.endsWith(".scenario.yaml"))) {
  t.test(`topologies/${file} fits its topology`, async (t) => {
    const content = readFileSync(new URL(file, topologies))
    const first = readScenario({ filename: file, content })
    const { topology } = first.ok ? first.scenario : first
    if (topology === undefined) return t.fail("names no topology")
    const result = readScenario({ filename: file, content }, { plan: planOf(topology) })
    t.equal(result.ok ? "" : result.diagnostics.map(render).join("\n"), "")
  })
}
