import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { budgetsFor } from "../../daemon/rehearsal/budgets.ts"
import { parseRehearsal } from "../../daemon/rehearsal/parse.ts"
import { jsonSchema } from "../../daemon/rehearsal/schema.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { files, parse, rehearsal } from "./fake-world.ts"

const problems = (content: string, more: Parameters<typeof parse>[1] = {}): ReadonlyArray<string> => {
  const result = parse(content, more)
  return result.ok ? [] : result.diagnostics.map(render)
}

t.test("everything that is wrong is told at once, with its place, in all files", async (t) => {
  const content = `topology: two.weft.yaml
flows:
  - { from: pcc, to: db }
  - { from: pc, to: db, spacing: 1us }
  - { from: pc, to: db, protocol: dns }
  - { from: pc, to: db, path: / }
  - { from: pc, to: db, from-step: nowhere }
  - { form: pc, to: db }
  - { from: pc, to: db, budget: { max-outage: fast, max-loss: 200% } }
budgets: { max-outage: 5 }
steps:
  - { deploy: broken.weft.yaml }
  - { depoly: three.weft.yaml }
  - { deploy: gone.weft.yaml }
  - { name: a, inject: { link-dwon: "pc:eth0" } }
  - { name: a, inject: { link-down: "pc:eth7" } }
  - { heal: b }
  - { exec: { node: pc, command: "'" } }
  - { exec: { node: nobody, command: ls, output: "(" } }
  - { check: { reachable: { from: pc, to: nobody } } }
  - { check: suite.check.yaml }
  - { wait: 5, pause: now }
roll-back: none
`
  const more = files({ "broken.weft.yaml": "name: x\nnodes: { a: { kind: hots } }\n", "suite.check.yaml": "checks: [{ reachable: {} }]\n" })
  // Kinds of faults come and go.
  t.matchSnapshot(problems(content, { files: more }).join("\n").replace(/shows all \d+/, "shows all"))
})

t.test("a rehearsal without anything to start with, to probe or to do", async (t) => {
  t.matchSnapshot([
    ...problems(""), ...problems("flows: []\nsteps: []\n"), ...problems("lab: two\nflows: [{ from: pc, to: db }]\nsteps: [{ wait: 1s }]"),
    ...problems("topology: missing.weft.yaml\nflows: [{ from: pc, to: db }]\nsteps: [{ wait: 1s }]")
  ].join("\n"))
})

t.test("a flow with a wrong value and a wrong name has both told", async (t) => {
  const content = (flow: string): string => `topology: two.weft.yaml\nflows: [${flow}]\nsteps: [{ wait: 1s }]\n`
  t.match(problems(content("{ from: pcc, to: [dbb], spacing: fast }")), [/no node "pcc"/, /no node "dbb"/, /"fast": expected a time/])
  t.match(problems(content("{ all-pairs: { group: none }, spacing: fast }")), [/no node has the group "none"/, /"fast": expected a time/])
  t.match(problems(content("{ from: { pc: pc }, to: 5, spacing: fast }")),
    [/from\.pc: unknown key/, /to: expected/, /"fast": expected a time/])
})

t.test("names are looked up in the version that is there then", async (t) => {
  const steps = (list: string): string => `topology: two.weft.yaml\nflows: [{ from: pc, to: db }]\nsteps: [${list}]\n`
  const look = "{ check: { reachable: { from: pc, to: web } } }"
  const more = "{ deploy: three.weft.yaml }"
  t.strictSame(problems(steps(`${more}, ${look}`)), [])
  t.match(problems(steps(`${look}, ${more}`)), ['test.rehearsal.yaml:3:47: steps[0].check.reachable.to: no node "web"'])
  t.match(problems(steps(`${more}, { deploy: two.weft.yaml }, ${look}`)), [/no node "web"/])
})

t.test("a flow lives as long as its nodes do", async (t) => {
  const flow = (words: string, steps: string) => `topology: two.weft.yaml\nflows: [{ from: pc, to: web${words} }]\nsteps: [${steps}]\n`
  const there = "{ name: more, deploy: three.weft.yaml }"
  const back = "{ name: less, deploy: two.weft.yaml }"
  t.match(rehearsal(flow("", `{ wait: 1s }, ${there}`)).flows, [{ fromStep: 2, afterAction: true }])
  t.match(problems(flow("", "{ wait: 1s }")), [/no node "web"/])
  t.match(problems(flow("", `${there}, ${back}`)), [/node "web" goes with step "less": end the flow before, with until-step/])
  t.match(rehearsal(flow(", until-step: less", `${there}, ${back}`)).flows, [{ fromStep: 1, untilStep: 2 }])
  t.match(problems(flow(", from-step: first", `{ name: first, wait: 1s }, ${there}`)), [/node "web" is not there at step "first"/])
  t.match(problems(flow(", until-step: more", `${there}`)), [/it would end before it begins/])
})

t.test("one entry stands for many flows", async (t) => {
  const { flows } = rehearsal(`topology: three.weft.yaml
flows:
  - { all-pairs: { kind: host }, protocol: icmp, spacing: 10ms }
  - { from: [pc, web], to: [db, "r:b"], name: some }
steps: [{ wait: 1s }]`)
  t.equal(flows.length, 6 + 4)
  t.match(flows[0], { title: "pc -> db icmp", protocol: "icmp", spacingMs: 10 })
  t.match(flows[7], { title: "some pc -> r:b", to: "10.2.0.1" })
})

t.test("a lab that runs is taken as it is where it is named, and only then", async (t) => {
  const plan = load({ filename: "three.weft.yaml", content: files().get("three.weft.yaml")!.content, lab: "live" })
  const deployed = new Map([["live", plan.ok ? plan.plan : undefined!]])
  const content = "lab: live\ntopology: two.weft.yaml\nflows: [{ from: pc, to: web }]\nsteps: [{ deploy: three.weft.yaml }]"
  t.match(rehearsal(content, { deployed }), { lab: "live", deploys: false, start: undefined, flows: [{ fromStep: 0 }] })
  t.match(rehearsal(content), { lab: "live", deploys: true, start: { plan: { lab: "live" } }, flows: [{ fromStep: 1 }] })
  const asked = rehearsal(content.replace("lab: live\n", ""), { lab: "live" })
  t.match(asked, { lab: "live", steps: [{}, { action: { version: { plan: { lab: "live" } } } }] })
})

t.test("one thing that is wrong with a step or a flow does not hide the next", async (t) => {
  const content = (flows: string, steps: string): string => `topology: two.weft.yaml\nflows: [${flows}]\nsteps: [${steps}]\n`
  const flow = "{ from: pc, to: db }"
  t.match(problems(content(flow, '{ check: { reachable: { from: pc9, to: db } }, settle: fast }')), [/no node "pc9"/, /"fast"/])
  t.match(problems(content(flow, '{ inject: { link-down: "pc:eth7" }, settle: fast }')), [/inject/, /"fast"/])
  t.match(problems(content(flow, "{ deploy: gone.weft.yaml, settle: fast }")), [/cannot read it/, /"fast"/])
  t.match(problems(content(flow, "{ heal: [] }")), [/the list is empty: there is nothing to heal/])
  t.match(problems(content("{ from: [], to: db }, { from: pc, to: [] }", "{ wait: 1s }")),
    [/from: the list is empty/, /to: the list is empty/])
  for (const [options, reason] of [
    ["protocol: http, path: x", /path: "x": expected a path such as \/health/],
    ["protocol: http, expect: 999x", /expect: "999x" is no list/],
    ["protocol: dns, query: a, type: banana", /type: type "banana" is none of A,/],
    ["protocol: dns, query: a, expect: b", /"b" is no address/],
    ["protocol: icmp, port: 5", /port: icmp has no ports/]
  ] as const) t.match(problems(content(`{ from: pc, to: db, ${options} }`, "{ wait: 1s }")), [reason], options)
})

t.test("all times are written alike", async (t) => {
  const content = (time: string): string => `topology: two.weft.yaml
warm-up: ${time}
settle: ${time}
flows: [{ from: pc, to: db, budget: { max-outage: ${time}, max-downtime: ${time}, max-latency: ${time} } }]
steps:
  - { inject: { link-down: "pc:eth0" }, settle: { at-most: 2m } }
  - { wait: 0.5h, settle: ${time} }
`
  for (const [time, ms] of [["2m", 120_000], ["1.5s", 1500], ["500ms", 500], ["1h", 3_600_000], ["0", 0], ["0ms", 0]] as const) {
    const { budgets, steps } = rehearsal(content(time))
    t.strictSame(budgets.map(({ value }) => value), [ms, ms, ms], time)
    t.match(steps, [{ action: { quietMs: ms } }, { settle: { until: "calm", mostMs: 120_000 } },
      { action: { ms: 1_800_000 }, settle: { until: "time", ms } }], time)
  }
  const wrong = [["5", /: 5: expected a time/], ["-2m", /"-2m": expected/], ["25h", /at most 24h/], ["2d", /expected a time/]] as const
  for (const [time, reason] of wrong) {
    t.match(problems(content(time)), Array.from({ length: 6 }, () => reason), time)
  }
})

t.test("the most particular budget of each kind holds", async (t) => {
  const { budgets } = rehearsal(`topology: two.weft.yaml
flows:
  - { from: pc, to: db, name: one, budget: { max-outage: 2s, max-loss: 3 } }
  - { from: pc, to: db, name: two, protocol: icmp }
budgets: { max-outage: 1s, max-loss: 0.5% }
steps:
  - { name: plain, wait: 1s }
  - { name: own, wait: 1s, budget: { max-outage: 3s, flows: { two: { max-outage: 4s } } } }
  - { name: free, wait: 1s, budget: none }`)
  const holding = (flow: number, step: number) =>
    budgetsFor(budgets, flow, step).map((index) => `${budgets[index]!.kind} ${budgets[index]!.limit}`)
  t.strictSame(holding(0, 1), ["max-outage 2s", "max-loss 3"])
  t.strictSame(holding(1, 1), ["max-outage 1s", "max-loss 0.5%"])
  t.strictSame(holding(0, 2), ["max-outage 3s", "max-loss 3"])
  t.strictSame(holding(1, 2), ["max-outage 4s", "max-loss 0.5%"])
  t.strictSame(holding(0, 3), ["max-outage none", "max-downtime none", "max-loss none", "max-latency none"])
})

t.test("any octets in, a value out", async (t) => {
  const odd = "steps: [1, [], {}, null]\nflows: [1, [], {}, null]\ntopology: 7\n"
  for (const content of ["[", "- 1", "1", "flows: 1\nsteps: 2\n", odd, "\0", "a: &a [*a]"]) {
    t.not(problems(content).length, 0, content)
  }
})

t.test("topologies/rehearsal.schema.json is fresh", async (t) => {
  const file = readFileSync(new URL("../../topologies/rehearsal.schema.json", import.meta.url), "utf8")
  t.equal(file, `${JSON.stringify(jsonSchema(), null, 2)}\n`, "node scripts/generate-schema.ts")
})

t.test("every rehearsal in topologies/ is right", async (t) => {
  const folder = new URL("../../topologies/", import.meta.url)
  const names = readdirSync(folder)
  const all = new Map(names.filter((name) => name.endsWith(".yaml")).map((name) => {
    const content = readFileSync(new URL(name, folder))
    return [name, { filename: name, content, missing: "", files: new Map<string, Uint8Array>(), unread: new Map<string, string>() }]
  }))
  for (const [name, { content }] of [...all].filter(([file]) => file.endsWith(".rehearsal.yaml"))) {
    const result = parseRehearsal({ filename: name, content }, { files: all, load, deployed: new Map() })
    t.strictSame(result.ok ? [] : result.diagnostics.map(render), [], name)
  }
})
