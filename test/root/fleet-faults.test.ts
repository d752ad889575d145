/** What many hosts do when a daemon, a cable or etcd goes: labs go on, nothing hangs, and everything catches up. */
import t from "tap"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

const pair = (name: string, hosts: readonly [string, string]) => ({
  name,
  nodes: { a: { kind: "host", host: hosts[0] }, b: { kind: "host", host: hosts[1] } },
  links: [{ name: "wire", endpoints: ["a:e1", "b:e1"], cidr: "10.8.0.0/30" }]
})

const statesOf = async (fleet: Fleet, via: number): Promise<Readonly<Record<string, string>>> =>
  Object.fromEntries((await fleet.client(via).list()).map(({ name, state }) => [name, state]))

const isLost = async (fleet: Fleet, host: string): Promise<boolean> =>
  (await fleet.client(1).hosts()).hosts.some(({ name, state }) => name === host && state === "lost")

/** Drains h2; `done`, or what has failed. */
const drain = async (fleet: Fleet, flags: { readonly undo?: boolean; readonly forget?: boolean }): Promise<string> => {
  const { forget = false, undo = false } = flags
  for await (const progress of fleet.client(1).drain({ host: "h2", undo, forget })) {
    if (progress.event === "done") return "done"
    if (progress.event === "failed") return progress.failed.failures.map(({ error }) => error).join("\n")
  }
  throw new Error("the stream ended without an outcome")
}

t.test("faults of three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("faults", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("pair")
  await fleet.make(pair(lab, ["h1", "h2"]))
  t.ok(await fleet.pings(lab, "a", "10.8.0.2"))

  await t.test("a daemon is killed and comes back", async (t) => {
    await fleet.kill(2)
    t.ok(await fleet.pings(lab, "a", "10.8.0.2"), "its part goes on")
    const seen = await fleet.inspect(lab, 1)
    t.strictSame(seen.nodes.map(({ name, state }) => [name, state]), [["a", "ready"], ["b", "unknown"]])
    t.match(seen.unreachable, [/host "h2" at 10\.99\.0\.2:7443/])
    t.match(await fleet.weft(1, ["exec", "b", "--", "true"]), { code: 3, stderr: /^error: Cannot reach the weftd of host "h2"/ })
    await fleet.restart(2)
    await until("h2 is back", async () => (await fleet.inspect(lab, 1)).nodes.every(({ state }) => state === "ready"))
    t.strictSame(await statesOf(fleet, 3), { [lab]: "ready" })
  })

  await t.test("the underlay between two hosts is cut", async (t) => {
    fleet.part(1, 2)
    await until("inspect shows it", async () => (await fleet.inspect(lab, 3)).tunnels.every(({ state }) => state === "down"), 120_000)
    fleet.join(1, 2)
    await until("it comes back by itself", () => fleet.pings(lab, "a", "10.8.0.2"), 120_000)
    await until("inspect shows that", async () => (await fleet.inspect(lab, 3)).tunnels.every(({ state }) => state === "up"), 120_000)
    const events = await Array.fromAsync(fleet.client(3).events({ lab: "", follow: false, last: 0 }))
    t.ok(events.some(({ host, subject, type }) => type === "tunnel.down" && host === "h1" && subject === "h2"))
    t.ok(events.some(({ host, subject, type }) => type === "tunnel.up" && host === "h2" && subject === "h1"))
  })

  await t.test("etcd stops", async (t) => {
    await until("h2 has etcd", async () => (await fleet.client(2).hosts()).error === "")
    const logged = fleet.weftd(2).log.length
    await fleet.stopEtcd()
    await until("it is noticed", async () => (await fleet.client(1).hosts()).error.includes("etcd cannot be reached since"), 120_000)
    t.match((await fleet.weft(2, ["list"])).stderr, /etcd cannot be reached since/)
    const startedMs = performance.now()
    t.match(await fleet.deploy(pair(fleet.name("late"), ["h1", "h2"])).catch(String), /Cannot reach etcd since/)
    t.match(await fleet.destroy(lab).catch(String), /Cannot reach etcd since/)
    t.ok(performance.now() - startedMs < 60_000, "and fails fast")
    t.ok(await fleet.pings(lab, "a", "10.8.0.2"))
    t.match(await fleet.weft(1, ["exec", "b", "--", "hostname"]), { code: 0, stdout: "b\n" })
    t.match((await fleet.inspect(lab, 3)).nodes, [{ state: "ready" }, { state: "ready" }])

    await fleet.kill(1)
    await fleet.weftd(1).start()
    t.match((await fleet.inspect(lab, 1)).nodes, [{ name: "a", state: "ready" }], "a daemon that starts now knows its own part")
    t.equal(fleet.weftd(2).log.slice(logged).match(/etcd\.lost/g)?.length, 1, "it is said once")
    fleet.startEtcd()
    await fleet.etcdReady()
    await fleet.complete()
    t.match((await fleet.inspect(lab, 1)).nodes, [{ state: "ready" }, { state: "ready" }])
    t.equal((await fleet.make(pair(lab, ["h1", "h2"]))).changed, 0)
  })

  await t.test("etcd stops in the middle of a deploy", async (t) => {
    const many = fleet.name("many")
    const names = Array.from({ length: 30 }, (_, i) => `n${i}`)
    const topology = {
      name: many,
      nodes: Object.fromEntries(names.map((name, i) => [name, { kind: "host", host: `h${(i % 3) + 1}` }])),
      networks: { net: { cidr: "10.7.0.0/24", ports: names } }
    }
    const deploying = fleet.deploy(topology, { via: 3 }).catch((error: unknown) => String(error))
    await until("it is committed", async () => (await fleet.client(1).list()).some(({ name }) => name === many)).catch(() => {})
    await fleet.stopEtcd(1, "SIGKILL")
    await new Promise((resolve) => setTimeout(resolve, 8000))
    fleet.startEtcd()
    await fleet.etcdReady()
    const outcome = await deploying
    t.match(outcome, { failures: [], message: "" }, "it ends, and is done")
    await until("everybody knows", async () => (await statesOf(fleet, 2))[many] === "ready", 120_000)
    t.match((await fleet.inspect(many, 1)).drift, [])
    await fleet.destroy(many, 2)
  })

  await t.test("a host is gone while its lab is destroyed", async (t) => {
    await fleet.kill(2)
    await until("its lease is over", () => isLost(fleet, "h2"), 120_000)
    const { message } = await fleet.destroy(lab)
    t.match(message, /h2 is lost and could not confirm: it removes its part when it comes back/)
    t.strictSame(await statesOf(fleet, 3), { [lab]: "destroying" })
    await fleet.restart(2)
    await until("it has cleaned up", async () => (await fleet.client(3).list()).length === 0, 120_000)
  })

  await t.test("a host is forgotten, and comes back all the same", async (t) => {
    await fleet.make(pair(lab, ["h1", "h2"]))
    t.match(await drain(fleet, { forget: true }).catch(String), /Cannot forget host "h2": it is alive/)
    await fleet.kill(2)
    await until("its lease is over", () => isLost(fleet, "h2"), 120_000)
    const reasons = (await drain(fleet, { forget: true })).split("\n")
    t.match(reasons, [/its topology wants "b" on h2/, `cannot forget h2: ${lab} still has nodes there`])
    t.equal((await fleet.destroy(lab)).changed, -1)
    t.equal(await drain(fleet, { forget: true }), "done")
    await until("the lab is gone", async () => (await fleet.client(3).list()).length === 0)
    await fleet.restart(2)
    await until("h2 says what it has", async () => (await statesOf(fleet, 2))[lab] === "orphaned", 120_000)
    t.match((await fleet.client(2).list())[0]!.error, /etcd does not know it: deploy it again, or weft destroy/)
    t.equal((await fleet.destroy(lab, 2)).message, "")
    await fleet.complete()
  })

  await t.test("a lab changes while one of its hosts is away", async (t) => {
    await fleet.make(pair(lab, ["h1", "h2"]))
    await fleet.kill(2)
    await until("its lease is over", () => isLost(fleet, "h2"), 120_000)
    const outcome = await fleet.deploy(pair(lab, ["h1", "h2"]))
    t.match(outcome.message, /error/, "a pin to a lost host is an error of the topology")
    t.match(await drain(fleet, {}), /its topology wants "b" on h2/)
    t.equal(await drain(fleet, { undo: true }), "done")
    await fleet.restart(2)
    await fleet.complete()
    t.equal((await fleet.make(pair(lab, ["h1", "h2"]))).changed, 0)
  })

  await t.test("a failed deploy goes back", async (t) => {
    const wrong = { ...pair(lab, ["h1", "h2"]) } as Record<string, unknown>
    wrong["nodes"] = { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2", exec: ["false"] } }
    const outcome = await fleet.deploy(wrong as never, { via: 3, rollback: true })
    t.match(outcome, { rolledBack: true, message: /h2: .*false/ })
    t.strictSame(await statesOf(fleet, 1), { [lab]: "ready" })
    t.ok(await fleet.pings(lab, "a", "10.8.0.2"))
  })

  await t.test("etcd has lost its data", async (t) => {
    await fleet.etcdctl("del", "--prefix", "/weft/v1/labs/")
    await fleet.etcdctl("del", "--prefix", "/weft/v1/reports/")
    await fleet.etcdctl("del", "--prefix", "/weft/v1/vnis/")
    await until("it is said", async () => (await statesOf(fleet, 1))[lab] === "orphaned", 120_000)
    t.ok(await fleet.pings(lab, "a", "10.8.0.2"), "and nothing is removed for that")
    await fleet.make(pair(lab, ["h1", "h2"]), 3)
    t.strictSame(await statesOf(fleet, 2), { [lab]: "ready" }, "deploying it again adopts it")
    await fleet.etcdctl("del", "--prefix", "/weft/v1/labs/")
    await until("it is said again", async () => (await statesOf(fleet, 2))[lab] === "orphaned", 120_000)
    const elsewhere = new RegExp(`No lab "${lab}" .*it is on h1, h2: weft destroy ${lab} .*host h1`)
    t.match(await fleet.weft(3, ["destroy", lab]), { code: 1, stderr: elsewhere })
    t.equal((await fleet.destroy(lab, 2)).message, "")
    for (const via of [1, 2, 3]) await until(`host ${via} knows`, async () => (await fleet.client(via).list()).length === 0)
  })
})
