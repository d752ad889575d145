/** Which BGP sessions a deploy waits for. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { partOf } from "../../daemon/plan/part.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { waitedFor } from "../../daemon/reconciler/sessions.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const planOf = (content: string): Plan => {
  const result = load({ filename: "f", content })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}

/** Sessions of a plan as `node neighbor`: those that are waited for. */
const waited = (plan: Plan): ReadonlyArray<string> => {
  const isWaitedFor = waitedFor(plan)
  return plan.resources.flatMap((resource) =>
    resource.kind !== "bgp" ? [] : resource.spec.neighbors
      .filter(({ name }) => isWaitedFor({ node: resource.spec.node, neighbor: name, description: "", state: "Idle", reason: "" }))
      .map(({ name }) => `${resource.spec.node} ${name}`)
  )
}

const topology = (second: string, more = "") => `
name: lab
nodes: { a: { kind: router, host: h1, bgp: { as: 1${more} } }, b: { kind: router, host: h2, bgp: { as: 2 } } }
links:
  - { endpoints: ["a:one", "b:one"], cidr: [10.0.0.0/31, fd00::/127] }
  - { endpoints: ["a:two", "b:two"], cidr: [10.0.0.2/31, fd00::2/127], ${second} }`

const both = ["a 10.0.0.1", "a fd00::1", "a 10.0.0.3", "a fd00::3", "b 10.0.0.0", "b fd00::", "b 10.0.0.2", "b fd00::2"]
const first = both.filter((name) => !/[23]$/.test(name))

t.test("sessions of a lab are waited for, but not over a link that passes nothing", async (t) => {
  t.same(waited(planOf(topology("delay: 1ms"))).toSorted(), both.toSorted())
  t.same(waited(planOf(topology("loss: 99%"))).toSorted(), both.toSorted())
  for (const cut of ["down: true", "loss: 100%"]) {
    t.same(waited(planOf(topology(cut))).toSorted(), first.toSorted(), cut)
  }
})

t.test("nor by the host that has one end of it", async (t) => {
  const part = partOf(planOf(topology("down: true")), "h1", () => "10.99.0.2")
  t.same(waited(part).toSorted(), first.filter((name) => name.startsWith("a")).toSorted())
})

t.test("nor by interface", async (t) => {
  const plan = planOf(topology("down: true", ", unnumbered: true"))
  t.same(waited(plan).filter((name) => name.startsWith("a")), ["a one"])
})
