import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { decide } from "../../daemon/fleet/follower.ts"
import { countsBetween, fleetSummary, hostsOf, isGone, isUnderWay, standingsOf } from "../../daemon/fleet/standing.ts"
import { partOf } from "../../daemon/plan/part.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import type { FleetLab, HostState, PartReport } from "../../daemon/store/fleet.ts"
import type { LabEntry } from "../../daemon/store/store.ts"

const planOn = (where: Readonly<Record<string, string>>): Plan => {
  const nodes = Object.fromEntries(Object.keys(where).map((name) => [name, { kind: "host" }]))
  const networks = { lan: { cidr: "10.0.0.0/24", ports: Object.keys(where) } }
  const result = load({ filename: "f", content: JSON.stringify({ name: "lab", nodes, networks }) })
  if (!result.ok) throw new Error("does not compile")
  return { ...result.plan, nodes: result.plan.nodes.map((node) => ({ ...node, host: where[node.name]! })) }
}

const lab = (more: Partial<FleetLab> = {}): FleetLab => ({
  name: "lab",
  filename: "f",
  wanted: "present",
  plan: planOn({ a: "h1", b: "h2" }),
  generation: 3,
  deployedAt: "2026-01-01T00:00:00.000Z",
  deployedBy: "h1",
  hosts: ["h1", "h2"],
  ...more
})

const host = (name: string, alive = true): HostState => ({
  name, underlay: `192.0.2.${name.slice(1)}`, endpoint: "", capacity: 1, labels: {}, instance: "i", version: "0", kernel: "6",
  alive, since: "", drained: false
})

const report = (name: string, state: PartReport["state"], more: Partial<PartReport> = {}): readonly [string, PartReport] => [
  name, { host: name, generation: 3, state, done: 2, total: 4, failures: [], at: "", ...more }
]

const brief = (standings: ReturnType<typeof standingsOf>) => standings.map((one) => `${one.host} ${one.state}`)
const vtepOf = (name: string): string | undefined => `192.0.2.${name.slice(1)}`

t.test("standingsOf counts only what was said of the present generation", async (t) => {
  const hosts = [host("h1"), host("h2")]
  const old = standingsOf(lab(), new Map([report("h1", "ready"), report("h2", "ready", { generation: 2 })]), hosts)
  t.strictSame(brief(old), ["h1 ready", "h2 waiting"])
  t.ok(isUnderWay(old))
  t.notOk(isUnderWay(standingsOf(lab(), new Map([report("h1", "ready"), report("h2", "failed")]), hosts)))
})

t.test("standingsOf calls a host lost that has not finished and is not alive", async (t) => {
  const hosts = [host("h1"), host("h2", false)]
  t.strictSame(brief(standingsOf(lab(), new Map([report("h1", "ready"), report("h2", "converging")]), hosts)), ["h1 ready", "h2 lost"])
  const finished = standingsOf(lab(), new Map([report("h2", "ready")]), hosts)
  t.strictSame(brief(finished), ["h1 waiting", "h2 ready"], "what it finished, it finished")
})

t.test("standingsOf waits for a former host that is known, and not for one that was forgotten", async (t) => {
  const moved = lab({ plan: planOn({ a: "h1", b: "h1" }) })
  t.strictSame(hostsOf(moved), ["h1", "h2"])
  const reports = new Map([report("h1", "ready")])
  t.strictSame(brief(standingsOf(moved, reports, [host("h1"), host("h2")])), ["h1 ready", "h2 waiting"])
  t.strictSame(brief(standingsOf(moved, reports, [host("h1"), host("h2", false)])), ["h1 ready", "h2 lost"])
  t.strictSame(brief(standingsOf(moved, reports, [host("h1")])), ["h1 ready", "h2 gone"])
  const hosts = [host("h1"), host("h2", false)]
  t.match(fleetSummary(moved, standingsOf(moved, reports, hosts), hosts), { state: "ready", error: "" }, "it has none of the nodes")
})

t.test("a lab is gone when every host has said so", async (t) => {
  const going = lab({ wanted: "absent", plan: { lab: "lab", nodes: [], segments: [], resources: [] } })
  const of = (...reports: ReadonlyArray<readonly [string, PartReport]>) => standingsOf(going, new Map(reports), [host("h1"), host("h2")])
  t.notOk(isGone(of(report("h1", "gone"))))
  t.notOk(isGone(of(report("h1", "gone"), report("h2", "gone", { generation: 2 }))))
  t.ok(isGone(of(report("h1", "gone"), report("h2", "gone"))))
  t.equal(fleetSummary(going, of(report("h1", "gone")), [host("h1"), host("h2")]).state, "destroying")
})

t.test("fleetSummary says which host has failed and why", async (t) => {
  const hosts = [host("h1"), host("h2")]
  const failed = report("h2", "failed", { failures: [{ id: "node/b", error: "Cannot make b: EEXIST" }] })
  const summaryOf = (reports: ReadonlyArray<readonly [string, PartReport]>, more: Partial<FleetLab> = {}, alive = hosts) =>
    fleetSummary(lab(more), standingsOf(lab(more), new Map(reports), alive), alive)
  t.match(summaryOf([report("h1", "ready"), failed]), { state: "failed", error: "h2: Cannot make b: EEXIST" })
  t.match(summaryOf([report("h1", "ready"), report("h2", "converging")]), { state: "changing", error: "" })
  t.match(summaryOf([], { generation: 1 }), { state: "deploying" })
  t.match(summaryOf([report("h1", "ready")], {}, [host("h1"), host("h2", false)]), { state: "failed", error: /h2 is lost/ })
  const finished = [report("h1", "ready"), report("h2", "ready")]
  t.match(summaryOf(finished), { state: "ready", error: "" })
  const leftAlone = { state: "ready", error: "host h2 lost: no word of what is there" }
  t.match(summaryOf(finished, {}, [host("h1"), host("h2", false)]), leftAlone)
})

t.test("countsBetween counts a node that moves as one that goes and one that comes", async (t) => {
  const before = planOn({ a: "h1", b: "h1" })
  const nothing: Plan = { lab: "lab", nodes: [], segments: [], resources: [] }
  t.strictSame(countsBetween(before, before, vtepOf), { creates: 0, updates: 0, replaces: 0, removes: 0 })
  t.equal(countsBetween(nothing, before, vtepOf).creates, before.resources.length)
  const moved = countsBetween(before, planOn({ a: "h1", b: "h2" }), vtepOf)
  t.equal(moved.removes, 3, "node, port and address of b")
  t.equal(moved.creates, 5, "these, and the part's own network and hosts file")
})

const entryOf = (plan: Plan, more: Partial<LabEntry> = {}): LabEntry => ({
  name: "lab", filename: "f", state: "ready", plan, former: [], deployedAt: "", generation: 3, ...more
})

t.test("decide leaves alone what is as it should be", async (t) => {
  const part = partOf(lab().plan, "h1", vtepOf)
  t.strictSame(decide("h1", lab(), entryOf(part), vtepOf), { kind: "tell", state: "ready", generation: 3 })
  t.strictSame(decide("h1", lab(), entryOf(JSON.parse(JSON.stringify(part))), vtepOf).kind, "tell", "also as the store gives it back")
})

t.test("decide converges what is new, unfinished, or leads elsewhere by now", async (t) => {
  const part = partOf(lab().plan, "h1", vtepOf)
  t.match(decide("h1", lab(), undefined, vtepOf), { kind: "converge", part })
  t.match(decide("h1", lab({ generation: 4 }), entryOf(part), vtepOf), { kind: "converge" })
  t.match(decide("h1", lab({ generation: 2 }), entryOf(part), vtepOf), { kind: "converge" }, "also what a backup brought back")
  t.match(decide("h1", lab(), entryOf(part, { state: "failed" }), vtepOf), { kind: "converge" })
  const elsewhere = (name: string): string => (name === "h2" ? "198.51.100.7" : vtepOf(name)!)
  t.match(decide("h1", lab(), entryOf(part), elsewhere), { kind: "converge" }, "the other host has another address")
})

t.test("decide removes what is not here any more, and says so when nothing is left", async (t) => {
  const part = partOf(lab().plan, "h1", vtepOf)
  const moved = lab({ plan: planOn({ a: "h2", b: "h2" }) })
  t.strictSame(decide("h1", moved, entryOf(part), vtepOf), { kind: "remove", generation: 3 })
  t.strictSame(decide("h1", moved, undefined, vtepOf), { kind: "tell", state: "gone", generation: 3 })
  t.strictSame(decide("h1", lab({ wanted: "absent" }), entryOf(part), vtepOf), { kind: "remove", generation: 3 })
  t.strictSame(decide("h9", lab(), undefined, vtepOf), { kind: "nothing" }, "who has nothing to do with it says nothing")
})

t.test("decide never removes a part for want of an entry", async (t) => {
  t.strictSame(decide("h1", undefined, entryOf(partOf(lab().plan, "h1", vtepOf)), vtepOf), { kind: "orphan" })
  t.strictSame(decide("h1", undefined, undefined, vtepOf), { kind: "nothing" })
})
