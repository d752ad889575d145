import t from "tap"
import { Mirror } from "../../daemon/fleet/mirror.ts"
import { type Patience, settle } from "../../daemon/fleet/settling.ts"
import type { FleetLab, PartReport } from "../../daemon/store/fleet.ts"
import { MemoryStore } from "./memory-store.ts"

const nodes = ["h1", "h2"].map((host) => ({ name: `on-${host}`, kind: "host" as const, host, labels: {} }))
const whole = (generation: number, more: Partial<FleetLab> = {}): FleetLab => ({
  name: "lab",
  filename: "f",
  wanted: "present",
  plan: { lab: "lab", nodes, segments: [], resources: [] },
  generation,
  deployedAt: "2026-01-01T00:00:00.000Z",
  deployedBy: "h2",
  hosts: ["h1", "h2"],
  ...more
})
const report = (host: string, state: PartReport["state"], more: Partial<PartReport> = {}): PartReport => ({
  host, generation: 1, state, done: 1, total: 3, failures: [], at: "", ...more
})

const soon: Patience = { lostMs: 300, silentMs: 600, awayMs: 300 }

const setUp = async (lab = whole(1)) => {
  const store = new MemoryStore()
  store.setHost("h1")
  store.setHost("h2")
  const mirror = new Mirror(store)
  await store.commit("lab", "0", () => lab)
  const told: string[] = []
  const wait = (patience = soon) =>
    settle({
      mirror, name: "lab", generation: lab.generation, wanted: lab.wanted, patience,
      tell: ({ done, host, state }) => void told.push(`${host} ${state} ${done}`)
    })
  return { store, mirror, told, wait }
}

t.test("settle ends when every host has reported, and tells how far each is", async (t) => {
  const { store, told, wait } = await setUp()
  const waiting = wait({ lostMs: 60_000, silentMs: 60_000, awayMs: 60_000 })
  await store.report("lab", report("h1", "converging"))
  await store.report("lab", report("h1", "ready", { done: 3 }))
  await store.report("lab", report("h2", "ready", { done: 4 }))
  t.strictSame(await waiting, { changed: 7, failures: [], unconfirmed: [] })
  t.strictSame(told.slice(-4), ["h2 waiting 0", "h1 converging 1", "h1 ready 3", "h2 ready 4"])
})

t.test("settle names the host of each failure", async (t) => {
  const { store, wait } = await setUp()
  await store.report("lab", report("h1", "ready"))
  await store.report("lab", report("h2", "failed", { failures: [{ id: "node/b", error: "EEXIST" }] }))
  t.match(await wait(), { failures: [{ id: "node/b", host: "h2", error: "h2: EEXIST" }] })
})

t.test("settle does not wait for ever for a host that is lost, or for one that is silent", async (t) => {
  const { store, wait } = await setUp()
  await store.report("lab", report("h1", "ready"))
  store.setHost("h2", { alive: false })
  t.match((await wait()).failures, [{ host: "h2", error: /h2 is lost: its part of the lab is made when it comes back/ }])
  store.setHost("h2", { alive: true })
  t.match((await wait()).failures, [{ host: "h2", error: /h2: alive, but it says nothing/ }])
})

t.test("settle waits for a host that goes on reporting", async (t) => {
  const { store, wait } = await setUp()
  await store.report("lab", report("h1", "ready"))
  const waiting = wait()
  for (let done = 0; done < 6; done++) {
    await new Promise((resolve) => setTimeout(resolve, 250))
    await store.report("lab", report("h2", "converging", { done }))
  }
  await store.report("lab", report("h2", "ready"))
  t.strictSame((await waiting).failures, [], "after more than its patience with silence")
})

t.test("settle says what a lost host means for a lab that goes", async (t) => {
  const { store, wait } = await setUp(whole(1, { wanted: "absent", plan: { lab: "lab", nodes: [], segments: [], resources: [] } }))
  await store.report("lab", report("h1", "gone"))
  store.setHost("h2", { alive: false })
  t.match((await wait()).failures, [{ error: /h2 is lost and could not confirm.*weft drain h2 --forget/ }])
  await store.report("lab", report("h2", "gone"))
  t.strictSame((await wait()).failures, [])
})

t.test("settle does not take a former host that is lost for a failure of the lab", async (t) => {
  const onOne = { lab: "lab", nodes: nodes.slice(0, 1), segments: [], resources: [] }
  const { store, wait } = await setUp(whole(1, { plan: onOne }))
  await store.report("lab", report("h1", "ready"))
  store.setHost("h2", { alive: false })
  t.strictSame(await wait(), { changed: 1, failures: [], unconfirmed: ["h2"] })
})

t.test("settle ends when the lab was changed by somebody else", async (t) => {
  const { store, wait } = await setUp()
  const waiting = wait({ lostMs: 60_000, silentMs: 60_000, awayMs: 60_000 })
  await store.commit("lab", "1", () => whole(2))
  t.match((await waiting).failures, [{ error: /changed again by host h2/ }])
})

t.test("settle goes on where it was when the shared state comes back in time, and ends when it does not", async (t) => {
  const { store, wait } = await setUp()
  store.setAway("no route")
  const waiting = wait({ lostMs: 60_000, silentMs: 60_000, awayMs: 60_000 })
  store.setAway("")
  await store.report("lab", report("h1", "ready"))
  await store.report("lab", report("h2", "ready"))
  t.strictSame((await waiting).failures, [])
  store.setAway("no route")
  t.match((await wait()).failures, [{ error: /etcd cannot be reached since .* \(no route\): the change is committed and goes on/ }])
})
