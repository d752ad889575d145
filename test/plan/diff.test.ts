import t from "tap"
import type { BgpNeighborSpec, BgpSpec } from "../../daemon/plan/bgp.ts"
import { diff, type Observed, type Step } from "../../daemon/plan/diff.ts"
import { kindOrder, rank } from "../../daemon/plan/order.ts"
import { id, type Plan, type Resource, type ResourceOf } from "../../daemon/plan/resource.ts"
import { type Random, seeded } from "../random.ts"
import { asObserved, type Model, observedOf, perform, plans } from "./plans.ts"

const planOf = (...resources: ReadonlyArray<Resource>): Plan => ({ lab: "lab", nodes: [], segments: [], resources })
const observed = (...resources: ReadonlyArray<Resource>): Observed => asObserved(observedOf(resources))
const brief = (steps: ReadonlyArray<Step>): ReadonlyArray<string> =>
  steps.map((step) => `${step.action} ${step.id}${step.implied ? " (implied)" : ""}`)

const node = (sysctls: Record<string, string> = {}): ResourceOf<"node"> => ({
  kind: "node", id: id.node("r"), spec: { node: "r", nodeKind: "router", sysctls }, dependsOn: []
})
const port = (fields: Partial<ResourceOf<"port">["spec"]> = {}): ResourceOf<"port"> => ({
  kind: "port",
  id: id.port("r", "e1"),
  spec: { node: "r", ifname: "e1", mac: "02:00:00:00:00:01", mtu: 1500, fabricName: "r.abc", state: "up", ...fields },
  dependsOn: [id.node("r")]
})
const segment = (ports: ReadonlyArray<string>): ResourceOf<"segment"> => ({
  kind: "segment",
  id: id.network("lan"),
  spec: { segmentKind: "network", name: "lan", vni: 7, ports, ageingS: 300 },
  dependsOn: [id.port("r", "e1")]
})
const address = (text = "10.0.0.1/24"): ResourceOf<"address"> => ({
  kind: "address",
  id: id.address("r", "e1", text),
  spec: { node: "r", ifname: "e1", address: text },
  dependsOn: [id.port("r", "e1")]
})
const route = (fields: Partial<ResourceOf<"route">["spec"]> = {}): ResourceOf<"route"> => {
  const via = { gateway: "10.0.0.2", ifname: "e1" }
  const spec = { node: "r", to: "0.0.0.0/0", table: 254, metric: 0, type: "unicast", via, ...fields } as const
  return { kind: "route", id: id.route("r", spec.table, spec.to, spec.metric), spec, dependsOn: [address().id] }
}
const rule = (table: number): ResourceOf<"rule"> => ({
  kind: "rule", id: id.rule("r", "ipv4", 100), spec: { node: "r", family: "ipv4", priority: 100, table }, dependsOn: [id.node("r")]
})
const exec = (argv: ReadonlyArray<string>): ResourceOf<"exec"> => ({
  kind: "exec", id: id.exec("r", 0), spec: { node: "r", index: 0, argv }, dependsOn: [id.node("r"), route().id]
})

t.test("diff creates what is missing in the order of kinds, with every attribute", async (t) => {
  const steps = diff(planOf(exec(["true"]), route(), address(), port(), node({ "net.ipv4.ip_forward": "1" })), new Map())
  t.strictSame(brief(steps), [node(), port(), address(), route(), exec([])].map((one) => `create ${one.id}`))
  t.strictSame(steps[0]!.attributes, [
    { path: "nodeKind", after: "router" },
    { path: "sysctls.net.ipv4.ip_forward", after: "1" }
  ])
  t.equal(steps[0]!.node, "r")
})

const neighbor = (name: string, shutdown: boolean): BgpNeighborSpec => ({
  name,
  remote: { kind: "address", address: name },
  remoteAs: 65002,
  vrf: "default",
  families: [{ family: "ipv4", exportPolicy: "mine" }],
  timers: { holdTimeS: 90, keepaliveS: 30, connectRetryS: 5, mraiMs: 0 },
  passive: false,
  shutdown,
  multihop: 1,
  routeReflectorClient: false,
  gracefulRestart: { enabled: true, restartTimeS: 120, longLivedStaleS: 0, notification: false },
  allowAsIn: 0,
  removePrivateAs: false,
  asOverride: false,
  sendCommunities: true
})
const bgp = (...neighbors: ReadonlyArray<BgpNeighborSpec>): ResourceOf<"bgp"> => {
  const table = { table: 254, ifnames: [], networks: [{ prefix: "10.0.0.0/8" }], aggregates: [], redistribute: [] }
  const spec: BgpSpec = {
    node: "r",
    asn: 65001,
    routerId: "10.0.0.1",
    vrfs: [{ name: "default", ...table, exportTargets: [], importTargets: [] }],
    neighbors,
    policies: {},
    prefixLists: {},
    multipath: { ebgp: 16, ibgp: 16, asPathRelax: false },
    alwaysCompareMed: false,
    gracefulShutdown: false,
    state: "running"
  }
  return { kind: "bgp", id: id.bgp("r"), spec, dependsOn: [id.node("r")] }
}

t.test("diff shows a speaker in few words, and a change of one by the neighbour's name", async (t) => {
  const [before, after] = [bgp(neighbor("10.0.0.2", false)), bgp(neighbor("10.0.0.2", true))]
  t.strictSame(diff(planOf(before), new Map())[0]!.attributes, [
    { path: "asn", after: 65001 },
    { path: "routerId", after: "10.0.0.1" },
    { path: "vrfs.default", after: "table 254, announces 10.0.0.0/8" },
    { path: "neighbors.10.0.0.2", after: "AS 65002, ipv4, out by mine" }
  ])
  const [step] = diff(planOf(after), observed(before))
  t.match(step, { action: "update", id: "bgp/r", before: { asn: 65001 } })
  t.strictSame(step!.attributes, [{ path: "neighbors.10.0.0.2.shutdown", before: false, after: true }])
})

t.test("diff removes a speaker though its node goes, and leaves it alone when a port is made anew", async (t) => {
  t.strictSame(brief(diff(planOf(), observed(node(), bgp()))), ["remove bgp/r", "remove node/r"])
  const renamed = port({ fabricName: "r.new" })
  const depending = { ...bgp(), dependsOn: [port().id] }
  t.strictSame(brief(diff(planOf(node(), renamed, depending), observed(node(), port(), depending))), [`replace ${port().id}`])
})

t.test("diff updates in place what the kernel lets us change, attribute by attribute", async (t) => {
  const [step, ...others] = diff(planOf(node(), port({ mtu: 9000 })), observed(node(), port({ state: "down" })))
  t.equal(others.length, 0)
  t.match(step, { action: "update", id: "port/r:e1", before: { mtu: 1500 }, after: { spec: { mtu: 9000 } } })
  t.strictSame(step!.attributes, [{ path: "mtu", before: 1500, after: 9000 }, { path: "state", before: "down", after: "up" }])
  t.equal(step!.reason, "mtu, state can be changed in place")
})

t.test("diff compares sysctls one by one", async (t) => {
  const [step] = diff(planOf(node({ "net.a": "1", "net.b": "2" })), observed(node({ "net.b": "3", "net.c": "4" })))
  t.strictSame([...step!.attributes].sort((a, b) => (a.path < b.path ? -1 : 1)), [
    { path: "sysctls.net.a", after: "1" },
    { path: "sysctls.net.b", before: "3", after: "2" },
    { path: "sysctls.net.c", before: "4" }
  ])
})

t.test("diff makes anew what cannot be changed, and what stands on it", async (t) => {
  const wanted = [node(), port({ fabricName: "r.new" }), address(), route(), exec(["true"])]
  const steps = diff(planOf(...wanted), observed(node(), port(), address(), route(), exec(["true"])))
  t.strictSame(brief(steps), ["replace port/r:e1", `create ${address().id}`, `create ${route().id}`], "but runs no command again")
  t.equal(steps[0]!.reason, "fabricName cannot be changed in place")
  t.equal(steps[2]!.reason, "goes with port/r:e1, which is made anew")
})

t.test("diff runs commands again when they changed, and only then", async (t) => {
  t.strictSame(brief(diff(planOf(exec(["a", "b"])), observed(exec(["a", "b"])))), [])
  const [step] = diff(planOf(exec(["a", "c"])), observed(exec(["a", "b"])))
  t.match(step, { action: "update", reason: "the command changed: runs again" })
})

t.test("diff has no opinion on the order of a segment's ports", async (t) => {
  t.strictSame(diff(planOf(segment(["a:e1", "b:e1"])), observed(segment(["b:e1", "a:e1"]))), [])
  const [step] = diff(planOf(segment(["a:e1", "b:e1"])), observed(segment(["b:e1"])))
  t.strictSame(step!.attributes, [{ path: "ports", before: ["b:e1"], after: ["a:e1", "b:e1"] }])
})

t.test("diff tells an absent attribute from an undefined one no better than people do", async (t) => {
  const spec = { ...route().spec, nexthop: undefined } as unknown as ResourceOf<"route">["spec"]
  t.strictSame(diff(planOf(route()), asObserved(new Map([[route().id, { kind: "route", spec }]]))), [])
})

t.test("diff makes before it breaks: a route with another metric is there twice for a moment", async (t) => {
  const steps = diff(planOf(node(), route({ metric: 5 })), observed(node(), route()))
  t.strictSame(brief(steps), [`create ${route({ metric: 5 }).id}`, `remove ${route().id}`])
})

t.test("diff changes where a route leads without taking it away", async (t) => {
  const steps = diff(planOf(route({ via: { gateway: "10.0.0.3", ifname: "e1" } })), observed(route()))
  t.match(steps, [{ action: "update", attributes: [{ path: "via" }] }])
})

t.test("diff replaces rules, which the kernel cannot change", async (t) => {
  t.match(diff(planOf(rule(7)), observed(rule(8))), [{ action: "replace", attributes: [{ path: "table", before: 8, after: 7 }] }])
})

t.test("diff removes in reverse, and leaves to the kernel what goes with its owner", async (t) => {
  const hosts: Resource = { kind: "hosts-file", id: id.hostsFile(), spec: { entries: [] }, dependsOn: [] }
  const all = [node(), hosts, port(), segment(["r:e1"]), address(), route(), exec(["true"])]
  t.strictSame(brief(diff(planOf(), observed(...all))), [
    "remove exec/r/0 (implied)",
    `remove ${route().id} (implied)`,
    `remove ${address().id} (implied)`,
    "remove segment/network/lan",
    "remove port/r:e1",
    "remove hosts-file",
    "remove node/r"
  ])
  t.strictSame(brief(diff(planOf(node()), observed(node(), port(), address(), route()))), [
    `remove ${route().id}`,
    `remove ${address().id} (implied)`,
    "remove port/r:e1"
  ], "where the node stays, the port takes its addresses along")
})

for (const [file, plan] of plans) {
  t.test(`diff finds nothing to do where ${file} is as it should be`, async (t) => {
    t.strictSame(diff(plan, asObserved(observedOf(plan.resources))), [])
    t.equal(diff(plan, new Map()).length, plan.resources.length)
  })
}

/** Attributes that a hand or another plan may have left different; the names fit several kinds. */
const strays: Readonly<Record<string, (spec: Record<string, unknown>) => unknown>> = {
  mtu: () => 1234,
  mac: () => "02:ff:ff:ff:ff:ff",
  fabricName: () => "stray",
  members: () => [],
  via: () => ({ ifname: "stray" }),
  table: () => 77,
  ports: ({ ports }) => (ports as string[]).slice(1),
  entries: () => [],
  masquerade: () => [],
  argv: () => ["stray"],
  sysctls: ({ sysctls }) => ({ ...(sysctls as object), "net.stray": "1" })
}

/** The plan as a kernel shows it that somebody has been at: things gone, changed, and left by an earlier plan. */
const disturbed = (plan: Plan, random: Random): Model => {
  const model = observedOf(plan.resources)
  for (const { id: one, kind, spec } of plan.resources) {
    const fate = random.below(6)
    if (fate === 0) model.delete(one)
    if (fate === 1) {
      const names = Object.keys(strays).filter((name) => name in spec)
      if (names.length === 0) continue
      const name = random.pick(names)
      const stray = strays[name]!(spec as unknown as Record<string, unknown>)
      model.set(one, { kind, spec: { ...spec, [name]: stray } as unknown as Resource["spec"] })
    }
    if (fate === 2) model.set(`${one}-former`, { kind, spec })
  }
  return model
}

t.test("the steps of diff lead from any state to the plan, in an order that works", async (t) => {
  for (const [file, plan] of plans) {
    const wanted = JSON.stringify([...observedOf(plan.resources)].sort(([a], [b]) => (a < b ? -1 : 1)))
    const depends = new Map(plan.resources.map((resource) => [resource.id, resource.dependsOn]))
    for (let seed = 1; seed <= 20; seed++) {
      const model = disturbed(plan, seeded(seed))
      const before = new Map(model)
      const steps = diff(plan, asObserved(model))
      const complain = (what: string): unknown => t.fail(`${file}, seed ${seed}: ${what}`)
      for (const step of steps) {
        if (step.action !== "remove") {
          const missing = depends.get(step.id)!.find((other) => !model.has(other))
          if (missing !== undefined) complain(`${step.action} ${step.id} comes before ${missing}`)
        }
        if (step.action === "create" && before.has(step.id) && !step.reason.startsWith("goes with")) complain(`${step.id} was there`)
        perform(step, model, plan.resources)
      }
      if (new Set(steps.map((step) => step.id)).size !== steps.length) complain("something is done twice")
      if (JSON.stringify([...model].sort(([a], [b]) => (a < b ? -1 : 1))) !== wanted) complain("does not arrive")
      if (diff(plan, asObserved(model)).length > 0) complain("never comes to rest")

      const ranks = steps.map((step) => (step.action === "remove" ? 2 * kindOrder.length - rank(step.kind) : rank(step.kind)))
      if (ranks.some((one, i) => i > 0 && one < ranks[i - 1]!)) complain("kinds are mixed")
      const removed = new Set(steps.flatMap((step) => (step.action === "remove" && !step.implied ? [step.id] : [])))
      for (const step of steps) {
        const owners = [`node/${step.node}`, `port/${step.node}:${(step.before as { ifname?: string } | undefined)?.ifname}`]
        if (step.implied && !owners.some((owner) => removed.has(owner))) complain(`nothing takes ${step.id} along`)
      }
    }
  }
  t.ok(plans.length > 3)
})
