/** With the real handlers and a lab whose namespaces are all gone: what needs one fails, what needs none works. */
import { existsSync } from "node:fs"
import t from "tap"
import type { Step } from "../../daemon/plan/diff.ts"
import { diff } from "../../daemon/plan/diff.ts"
import { id, type Resource, type ResourceOf } from "../../daemon/plan/resource.ts"
import { apply } from "../../daemon/reconciler/apply.ts"
import { hostsPath } from "../../daemon/resources/hosts-file.ts"
import { asObserved, observedOf } from "../plan/plans.ts"
import { emptyLab } from "../resources/lab.ts"

const address = (n: number): ResourceOf<"address"> => {
  const text = `10.0.${n >> 8}.${n & 255}/32`
  const node = `n${n % 3}`
  return { kind: "address", id: id.address(node, "e1", text), spec: { node, ifname: "e1", address: text }, dependsOn: [] }
}
const route = (dependsOn: ReadonlyArray<string>): ResourceOf<"route"> => ({
  kind: "route",
  id: id.route("n0", 254, "0.0.0.0/0", 0),
  spec: { node: "n0", to: "0.0.0.0/0", table: 254, metric: 0, type: "unicast", via: { gateway: "10.0.0.9", ifname: "e1" } },
  dependsOn
})
const exec = (index: number, dependsOn: ReadonlyArray<string>): ResourceOf<"exec"> => ({
  kind: "exec", id: id.exec("n0", index), spec: { node: "n0", index, argv: ["true"] }, dependsOn
})
const hosts: ResourceOf<"hosts-file"> = { kind: "hosts-file", id: id.hostsFile(), spec: { entries: [] }, dependsOn: [] }

const stepsTo = (resources: ReadonlyArray<Resource>): ReadonlyArray<Step> =>
  diff({ lab: "unit-test-lab", nodes: [], segments: [], resources }, new Map())

t.test("apply goes on past a failure, names the cause in what depends on it, and reports each step once", async (t) => {
  const resources = [hosts, address(0), route([address(0).id]), exec(0, [route([]).id]), exec(1, [exec(0, []).id])]
  const lab = emptyLab(t.testdir(), resources)
  const reports: Array<readonly [string, string]> = []
  const failures = await apply(lab, stepsTo(resources), (step, error) => reports.push([step.id, error?.message ?? "done"]))
  t.strictSame(reports, [
    ["hosts-file", "done"],
    [address(0).id, 'Cannot open network namespace "weft.unit-test-lab.n0": ENOENT'],
    [route([]).id, `Cannot create "${route([]).id}": blocked (it needs ${address(0).id}, which failed)`],
    ["exec/n0/0", `Cannot create "exec/n0/0": blocked (it needs ${route([]).id}, which failed)`],
    ["exec/n0/1", 'Cannot create "exec/n0/1": blocked (it needs exec/n0/0, which failed)']
  ])
  t.strictSame(failures.map((failure) => [failure.id, failure.error.message]), reports.slice(1))
  t.ok(existsSync(hostsPath(lab)), "what can be there, is")
})

t.test("apply lets no command pass for done that was not run", async (t) => {
  const resources = [exec(0, []), exec(1, [exec(0, []).id])]
  const done: string[] = []
  const failures = await apply(emptyLab(t.testdir(), resources), stepsTo(resources), (step, error) => {
    if (error === undefined) done.push(step.id)
  })
  t.strictSame(done, [])
  t.strictSame(failures.map((failure) => failure.id), ["exec/n0/0", "exec/n0/1"])
})

t.test("apply keeps the order of many steps and lets others have their turn between slices", async (t) => {
  const resources = Array.from({ length: 1000 }, (_, n) => address(n))
  const steps = stepsTo(resources)
  const reported: string[] = []
  const turns = new Set<number>()
  let turn = 0
  const others = setInterval(() => turn++, 0)
  await apply(emptyLab(t.testdir(), resources), steps, (step) => {
    reported.push(step.id)
    turns.add(turn)
  })
  clearInterval(others)
  t.strictSame(reported, steps.map((step) => step.id))
  t.ok(turns.size > 1, "the daemon answers meanwhile")
})

t.test("apply asks no handler for what goes with its node, but reports it", async (t) => {
  const node: Resource = { kind: "node", id: id.node("n0"), spec: { node: "n0", nodeKind: "host", sysctls: {} }, dependsOn: [] }
  const plan = { lab: "unit-test-lab", nodes: [], segments: [], resources: [] }
  const steps = diff(plan, asObserved(observedOf([node, address(0), address(3)]))).filter((step) => step.kind !== "node")
  const reported: Array<readonly [string, boolean]> = []
  const failures = await apply(emptyLab(t.testdir(), []), steps, (step, error) => reported.push([step.id, error === undefined]))
  t.strictSame(reported, [[address(0).id, true], [address(3).id, true]])
  t.strictSame(failures, [])
})
