/** Suites of checks: what is accepted, and that what is wrong is refused with exactly the messages beside it. */
import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { kindNames } from "../../daemon/checks/kinds.ts"
import { nodesOf } from "../../daemon/checks/nodes.ts"
import { parseSuite, withLabels } from "../../daemon/checks/suite.ts"
import { jsonSchema } from "../../daemon/checks/suite-schema.ts"
import { load } from "../../daemon/compiler/load.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { matchesGolden } from "../topology/golden.ts"

const topologies = new URL("../../topologies/", import.meta.url)
const read = (url: URL): Buffer => readFileSync(url)
const planOf = (topology: string) => {
  const result = load({ filename: topology, content: read(new URL(topology, topologies)) })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}
const hybridPlan = planOf("hybrid-idc-aws-office.weft.yaml")
const hybrid = nodesOf(hybridPlan)

const bad = new URL("bad/", import.meta.url)
for (const file of readdirSync(bad).filter((name) => name.endsWith(".yaml"))) {
  t.test(`parseSuite refuses ${file}`, async (t) => {
    const result = parseSuite({ filename: file, content: read(new URL(file, bad)) }, { nodes: hybrid, plan: hybridPlan })
    const text = result.ok ? "accepted" : result.diagnostics.map((one) => `${render(one)}\n`).join("")
    matchesGolden(t, new URL(file.replace(/yaml$/, "txt"), bad), text)
    t.match(text, /^\S+:\d+:\d+: /, "begins with a position")
  })
}

t.test("parseSuite says of a lab that is not there so, with all else", async (t) => {
  const content = "lab: hybird\nchecks: [{ reachable: { from: pc1, tox: db } }]"
  const told = (deployed?: ReadonlyArray<string>) => {
    const result = parseSuite({ filename: "f", content }, { deployed })
    return result.ok ? [] : [...result.diagnostics.map(render), result.lab]
  }
  t.match(told(["hybrid"]), [/^f:1:6: lab: lab "hybird" is not deployed.*did you mean "hybrid"/, /tox: unknown key/, "hybird"])
  t.match(told(["hybird"]), [/tox: unknown key/, "hybird"])
  t.match(told(), [/tox: unknown key/, "hybird"])
})

t.test("parseSuite says what each check is, and where it stands", async (t) => {
  const content = read(new URL("good/all.check.yaml", import.meta.url))
  const result = parseSuite({ filename: "all.check.yaml", content }, { nodes: hybrid, plan: hybridPlan })
  if (!result.ok) return t.fail(result.diagnostics.map(render).join("\n"))
  const lines = result.suite.checks.map(({ alwaysMs, column, eventuallyMs, isInverted, kind, labels, line, name, severity }) =>
    [`${line}:${column}`, kind, name, severity, `${eventuallyMs}/${alwaysMs}`, isInverted ? "inverted" : "", labels.join("+")].join(" | ")
  )
  matchesGolden(t, new URL("good/all.check.txt", import.meta.url), `${lines.join("\n")}\n`)
  t.same(new Set(result.suite.checks.map(({ kind }) => kind)), new Set(kindNames), "every kind is in it")
  t.equal(withLabels(result.suite.checks, ["x"]).length, 1)
  t.equal(withLabels(result.suite.checks, []).length, kindNames.length + 1)
})

for (const file of readdirSync(topologies).filter((name) => name.endsWith(".check.yaml"))) {
  t.test(`topologies/${file} fits its topology`, async (t) => {
    const content = read(new URL(file, topologies))
    const first = parseSuite({ filename: file, content })
    const topology = first.ok ? first.suite.topology : undefined
    if (topology === undefined) return t.fail("names no topology")
    const plan = planOf(topology)
    const result = parseSuite({ filename: file, content }, { nodes: nodesOf(plan), plan })
    t.equal(result.ok ? "" : result.diagnostics.map(render).join("\n"), "")
  })
}

t.test("topologies/check.schema.json is fresh", async (t) => {
  const file = read(new URL("check.schema.json", topologies)).toString("utf8")
  t.equal(file, `${JSON.stringify(jsonSchema(), null, 2)}\n`, "if not: node scripts/generate-schema.ts")
})

t.test("parseSuite survives any octets", async (t) => {
  const content = read(new URL("good/all.check.yaml", import.meta.url))
  const parse = (text: Buffer | string) => parseSuite({ filename: "f", content: text }, { nodes: hybrid })
  for (let length = 0; length < content.length; length += 7) parse(content.subarray(0, length))
  for (const text of ["[]", "3", "checks: 3", "checks: [null, [], {}]", "checks: {a: 1}", "topology: [1]"]) {
    const result = parse(text)
    t.notOk(result.ok, text)
  }
})
