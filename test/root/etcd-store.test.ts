/** The store of many hosts on real etcd: what goes well, two at once, and values that are none. */
import { createHash } from "node:crypto"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { vnisOf } from "../../daemon/plan/vni.ts"
import * as Etcd from "../../daemon/store/etcd.ts"
import type { FleetLab } from "../../daemon/store/fleet.ts"
import { Heard, isEtcdInstalled, lab, Members, needsEtcd, record, report, until } from "../store/etcd-fixture.ts"

if (!isEtcdInstalled) {
  t.plan(0, needsEtcd)
  process.exit()
}

const etcd = await Members.start(t)
/** Tests share one etcd, each with keys of its own. */
const prefixOf = (name: string): string => `/weft-test/${name}/`
const storeFor = (name: string, log: (line: string) => void = () => {}) => etcd.open(t, { prefix: prefixOf(name), log })

t.test("a lab is what was committed, and is gone when it was removed, with all that is of it", async (t) => {
  const store = await storeFor("basic")
  t.equal(await store.lab("a"), undefined)
  const first = await store.commit("a", "0", () => lab("a", [7, 8]))
  if (!first.ok) return t.fail("nobody else is there")
  t.strictSame(await store.lab("a"), { lab: lab("a", [7, 8]), revision: first.revision })
  const second = await store.commit("a", first.revision, () => lab("a", [7], { generation: 2 }))
  if (!second.ok) return t.fail("nobody else is there")
  t.not(second.revision, first.revision)
  t.match(await store.labs(), [{ lab: { name: "a", generation: 2 }, revision: second.revision }])
  await store.report("a", report("h1"))
  await store.report("a", report("h1", { state: "failed", failures: [{ id: "x", error: "y" }] }))
  await store.report("a", report("h2"))
  t.strictSame(await store.reports("a"), [report("h1", { state: "failed", failures: [{ id: "x", error: "y" }] }), report("h2")])

  t.notOk(await store.remove("a", first.revision), "another revision")
  t.ok(await store.remove("a", second.revision))
  t.ok(await store.remove("a", second.revision), "gone is gone")
  await store.report("a", report("h1"))
  t.equal(etcd.control("get", "--prefix", prefixOf("basic"), "--keys-only").trim(), "", "a late report brings nothing back")
})

t.test("of two who commit at once, one wins and the other is told who", async (t) => {
  const stores = await Promise.all([storeFor("race"), storeFor("race")])
  for (const [round, expected] of [["first", "0"], ["change", undefined]] as const) {
    const revision = expected ?? (await stores[0]!.lab("a"))!.revision
    const results = await Promise.all(
      stores.map((store, index) => store.commit("a", revision, () => lab("a", [index + 1], { deployedBy: `h${index}`, generation: 2 })))
    )
    t.equal(results.filter(({ ok }) => ok).length, 1, round)
    const winner = results.findIndex(({ ok }) => ok)
    const { revision: won } = results[winner] as { readonly revision: string }
    t.match(results[1 - winner], { ok: false, winner: { lab: { deployedBy: `h${winner}` }, revision: won } })
  }
  t.match(await stores[0].commit("none", "5", () => lab("none", [])), { ok: false, winner: undefined })
})

t.test("VNIs never collide, however many labs are committed at once", async (t) => {
  const stores = await Promise.all(Array.from({ length: 5 }, () => storeFor("vnis")))
  let calls = 0
  /** Everybody wants the same ones. */
  const choose = (name: string) => (taken: ReadonlySet<number>): FleetLab => {
    calls += 1
    const vnis: Array<number> = []
    for (let vni = 100; vnis.length < 3; vni++) if (!taken.has(vni)) vnis.push(vni)
    return lab(name, vnis)
  }
  const names = Array.from({ length: 50 }, (_, index) => `lab${index}`)
  const results = await Promise.all(names.map((name, index) => stores[index % 5]!.commit(name, "0", choose(name))))
  t.ok(results.every(({ ok }) => ok))
  const all = (await stores[0]!.labs()).flatMap(({ lab }) => vnisOf(lab.plan.resources))
  t.equal(all.length, 150)
  t.equal(new Set(all).size, 150)
  t.ok(calls > 50, "some had to choose again")
  t.comment(`${calls} choices for 50 labs`)

  const there = await stores[0]!.lab("lab0")
  const going = await stores[0]!.commit("lab0", there!.revision, () => lab("lab0", [], { wanted: "absent", generation: 2 }))
  t.ok(going.ok)
  const own = vnisOf(there!.lab.plan.resources)
  await stores[1]!.commit("late", "0", (taken) => {
    t.ok(own.every((vni) => taken.has(vni)), "one that goes still has them")
    return lab("late", [])
  })
  const theft = stores[1]!.commit("thief", "0", () => lab("thief", own))
  await t.rejects(theft, { message: /^Cannot commit lab "thief": VNI \d+ is another lab's/ })
})

t.test("a host has its name while it lives, and takes it back when it comes back", async (t) => {
  const [one, other, reader] = await Promise.all([storeFor("hosts"), storeFor("hosts"), storeFor("hosts")])
  const heard = new Heard(t, reader)
  await one.register(record("h1", { labels: { rack: "r1" } }))
  t.match(await reader.hosts(), [{ ...record("h1", { labels: { rack: "r1" } }), alive: true, drained: false, since: /^\d{4}-/ }])
  await t.rejects(other.register(record("h1", { underlay: "198.51.100.9" })), {
    name: "NameTaken",
    message: /^Cannot register host "h1": a living host has that name \(underlay 192\.0\.2\.2, instance h1\)/
  })
  await other.register(record("h1"))
  t.pass("the same underlay and instance is the same host, started again")
  await one.close()
  t.match(await reader.hosts(), [{ alive: true }], "the end of the former one is not the end of the new one")
  await t.rejects(reader.forgetHost("h1"), { message: /is alive/ })
  await other.close()
  t.match(await reader.hosts(), [{ alive: false }])
  await until("all are told", () => heard.hosts[0]?.alive === false)

  await reader.setDrained("h1", true)
  await reader.setDrained("h1", true)
  await until("drained is told", () => heard.hosts[0]?.drained === true)
  await reader.setDrained("h1", false)
  t.match(await reader.hosts(), [{ drained: false }])
  await t.rejects(reader.setDrained("nobody", true), { message: 'Cannot drain host "nobody": there is no such host' })
  await reader.forgetHost("h1")
  await until("forgotten is told", () => heard.hosts.length === 0)
})

t.test("two living hosts do not have one underlay address, and whoever loses its name is told", async (t) => {
  const [one, other] = await Promise.all([storeFor("underlay"), storeFor("underlay")])
  const told: Array<readonly [boolean, string]> = []
  await one.register(record("h1"), (registered, reason) => told.push([registered, reason]))
  await t.rejects(other.register(record("h9", { underlay: record("h1").underlay })), {
    name: "NameTaken",
    message: /^Cannot register host "h9": the living host "h1" \(instance h1\) has the underlay address 192\.0\.2\.2\. Choose another/
  })
  t.match(await other.hosts(), [{ name: "h1", alive: true }], "nothing is written of the one that was refused")
  const thief = { token: "another", underlay: "198.51.100.1", instance: "x", host: "h1" }
  const key = `${prefixOf("underlay")}alive/h1`
  for (const id of etcd.control("lease", "list").match(/^[0-9a-f]{10,}$/gm)!) etcd.control("lease", "revoke", id)
  etcd.control("put", key, JSON.stringify(thief))
  await until("the loss is told", () => told.length === 2, 120_000)
  t.match(told[1], [false, /a living host has that name \(underlay 198\.51\.100\.1, instance x\)/])
  etcd.control("del", key)
  await until("it has its name again", () => told.length === 3, 120_000)
  t.strictSame(told.map(([registered]) => registered), [true, false, true])
})

t.test("a lost lease is granted again", async (t) => {
  const store = await storeFor("lease")
  await store.register(record("h1"))
  const before = (await store.hosts())[0]!
  for (const id of etcd.control("lease", "list").match(/^[0-9a-f]{10,}$/gm)!) etcd.control("lease", "revoke", id)
  t.match(await store.hosts(), [{ alive: false }])
  await until("it is registered again", async () => (await store.hosts())[0]!.alive)
  t.not((await store.hosts())[0]!.since, before.since)
})

t.test("a watch tells what is there, then every change in order, and what has gone", async (t) => {
  const [store, reader] = await Promise.all([storeFor("watch"), storeFor("watch")])
  let revision = "0"
  const step = async (generation: number): Promise<void> => {
    const result = await store.commit("a", revision, () => lab("a", [5], { generation }))
    if (result.ok) revision = result.revision
  }
  await step(1)
  await store.report("a", report("h1"))
  const heard = new Heard(t, reader)
  await until("it is connected", () => heard.connections.length > 0)
  t.strictSame([heard.labs.get("a")?.lab.generation, heard.reports.get("a/h1")?.state, heard.connections], [1, "ready", ["connected"]])
  for (let generation = 2; generation <= 40; generation++) await step(generation)
  await until("all is told", () => heard.generations.length === 40)
  t.strictSame(heard.generations, Array.from({ length: 40 }, (_, index) => index + 1))
  await store.remove("a", revision)
  await until("its end is told", () => !heard.labs.has("a"))
})

t.test("values that are none are named, and the others are read", async (t) => {
  const lines: Array<string> = []
  const store = await storeFor("damaged", (line) => lines.push(line))
  const prefix = prefixOf("damaged")
  await store.commit("good", "0", () => lab("good", [9]))
  await store.register(record("h1"))
  const put = (key: string, value: string): string => etcd.control("put", prefix + key, value)
  put("labs/plain", "hello")
  put("hosts/h2", "{}")
  put("hosts/h3", JSON.stringify({ ...record("h4"), since: "" }))
  put("vnis/plain", "[-1]")
  put("reports/good/h1", JSON.stringify({ ...report("h1"), state: "odd" }))
  put("reports/good/h9", JSON.stringify(report("h9")))
  put("odd/key/with/many", "x")
  t.match(await store.labs(), [{ lab: { name: "good" } }])
  await t.rejects(store.lab("plain"), {
    message: `Cannot use the value of key "${prefix}labs/plain" in etcd: it is not gzipped, or damaged (incorrect header check). `
      + `Remove it with: etcdctl del ${prefix}labs/plain`
  })
  t.strictSame((await store.hosts()).map(({ name }) => name), ["h1"])
  t.strictSame((await store.reports("good")).map(({ host }) => host), ["h9"])
  t.ok((await store.commit("more", "0", (taken) => lab("more", [taken.has(9) ? 10 : 9]))).ok)
  t.strictSame(vnisOf((await store.lab("more"))!.lab.plan.resources), [10])
  const heard = new Heard(t, store)
  await until("it is connected", () => heard.connections.length > 0)
  t.strictSame([...heard.labs.keys()].toSorted(), ["good", "more"])
  t.ok(lines.some((line) => line.startsWith(`fleet.damaged Cannot use the value of key "${prefix}hosts/h3" in etcd: it is of host "h4"`)))
})

t.test("a lab of a thousand nodes fits, and one that is too large is refused in plain words", async (t) => {
  const store = await storeFor("large")
  const name = (index: number): string => `r${index % 1000}`
  const nodes = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [name(index), { kind: "router" }]))
  const links = Array.from({ length: 1000 }, (_, index) => ({ endpoints: [`${name(index)}:a`, `${name(index + 1)}:b`] }))
  const compiled = load({ filename: "ring.weft.yaml", content: JSON.stringify({ name: "ring", nodes, links }) })
  if (!compiled.ok) return t.fail("the ring compiles")
  t.ok((await store.commit("ring", "0", () => lab("ring", [], { plan: compiled.plan }))).ok)
  // What is undefined in a plan is not there afterwards.
  t.strictSame((await store.lab("ring"))!.lab.plan, JSON.parse(JSON.stringify(compiled.plan)))
  const noise = Array.from({ length: 60_000 }, (_, index) => createHash("sha256").update(String(index)).digest("base64")).join("")
  await t.rejects(store.commit("huge", "0", () => lab("huge", [], { filename: noise })), {
    message: /^Cannot commit lab "huge": etcd at http:\/\/127\.0\.0\.1:\d+ refused: .*Start etcd with a higher --max-request-bytes/
  })
})

t.test("open refuses what is no address", async (t) => {
  const log = (): void => {}
  await t.rejects(Etcd.open({ endpoints: ["10.0.0.1:2379"], log }), { message: /^Bad address of etcd "10\.0\.0\.1:2379"/ })
  await t.rejects(Etcd.open({ endpoints: ["https://127.0.0.1:2379"], log }), { message: /TLS needs certificates/ })
})
