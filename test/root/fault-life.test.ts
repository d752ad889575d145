/** A fault's life on one host: in force, seen, healed by hand, by the clock, by a lease; through restarts; gone with its lab. */
import t from "tap"
import type { Fault } from "../../ctl/fault.ts"
import { orders, topology } from "../faults/every-kind.ts"
import { toTopology, Weftd } from "./daemon-harness.ts"
import { healAll, inject } from "./fault-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.test("faults on one host", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("fault-life")
  t.teardown(() => weftd.close())
  const lab = weftd.name("fault-life")
  const file = topology(lab)
  await weftd.make(file)
  const ids = async (): Promise<ReadonlyArray<string>> => (await weftd.client.faults(lab)).map(({ id }: Fault) => id)
  const routed = (): Promise<boolean> => weftd.pings(lab, "tv", "198.51.100.2")
  await until("tv reaches srv", routed)

  await t.test("the lab and its file differ in nothing while a fault is in force; all views say so", async (t) => {
    const { faults, changed } = await inject(weftd, lab, "partition srv rest")
    t.strictSame(faults.map(({ id }) => id), ["f1"])
    t.ok(changed > 0)
    t.notOk(await routed())
    const plan = await weftd.client.plan(toTopology(file))
    t.strictSame(plan.changes, [])
    t.match(plan.notes, [/^in force.*f1 /])
    const seen = await weftd.inspect(lab)
    t.strictSame([seen.lab.state, seen.lab.faults, seen.drift], ["ready", 1, []])
    t.match(seen.faults, [{ id: "f1", kind: "partition", by: "weft inject", until: "" }])
    const marked = [...seen.nodes, ...seen.segments].filter(({ faults: ids }) => ids.includes("f1")).map(({ name }) => name)
    t.ok(marked.includes("srv") || marked.includes("far"), `marked: ${marked.join(", ")}`)
    t.match((await weftd.weft(["list"])).stdout, /FAULTS/)
    t.match((await weftd.weft(["faults"])).stdout, /f1 +\S/)
    t.match((await weftd.weft(["plan", "-"], { input: JSON.stringify(file) })), { code: 0, stderr: /note: in force/, stdout: /No changes/ })
    t.equal((await weftd.make(file)).changed, 0, "deploying the same does not heal it")
    t.strictSame(await ids(), ["f1"])
  })

  await t.test("bad orders: all errors at once, and nothing is done", async (t) => {
    t.match(await weftd.weft(["inject", "link-down", "fw:wam", "--for", "3"]), {
      code: 2, stdout: "",
      stderr: /link-down fw:wam --for 3\n +\^ +\^\n.*no link "fw:wam" \(did you mean fw:wan\?\)\n.*"3": expected a time/
    })
    t.match(await weftd.weft(["inject", "link-dwn", "fw:wan"]), { code: 2, stderr: /did you mean link-down/ })
    t.match(await weftd.weft(["inject", "link-down", "fw:wan", "--lab", "nolab"]), { code: 1, stderr: /No lab "nolab"/ })
    t.match(await weftd.weft(["heal", "f99"]), { code: 1, stderr: /No fault "f99" in lab ".*": in force: f1 / })
    t.match(await weftd.weft(["heal"]), { code: 2, stderr: /None is named/ })
    t.strictSame(await ids(), ["f1"])
  })

  await t.test("healed by hand, as a user does", async (t) => {
    t.match(await weftd.weft(["heal", `${lab}/f1`]), { code: 0, stdout: /f1 is healed/ })
    t.match(await weftd.weft(["heal", "f1"]), { code: 0, stdout: /f1: healed before/ })
    await until("tv reaches srv again", routed)
    t.strictSame([await ids(), await weftd.drift(lab), await weftd.plan(file)], [[], [], []])
    const loss = ["inject", "loss", `${lab}/fw:wan`, "value=30%", "direction=out", "--for", "1.5s"]
    t.match(await weftd.weft(loss), { code: 0, stdout: /f2 / })
    await until("its time is up", async () => (await ids()).length === 0)
    t.match((await weftd.weft(["events", lab])).stdout, /fault\.injected[\s\S]*fault\.healed[\s\S]*fault\.injected[\s\S]*fault\.expired/)
  })

  await t.test("in force through a restart and a crash of weftd; what is over heals at its start", async (t) => {
    await inject(weftd, lab, orders["route-missing"]!)
    await inject(weftd, lab, orders["link-down"]!, { for: "1s" })
    await inject(weftd, lab, orders["bgp-down"]!, { for: "600s" })
    await inject(weftd, lab, orders["mtu"]!)
    await weftd.kill()
    const downMs = performance.now()
    await until("a second has passed", () => performance.now() - downMs > 1100)
    await weftd.start()
    await until("only what lasts is in force", async () => (await ids()).length === 3)
    t.strictSame((await weftd.client.faults(lab)).map(({ kind }) => kind), ["route-missing", "bgp-down", "mtu"])
    t.strictSame(await weftd.drift(lab), [])
    await weftd.stop()
    await weftd.start()
    t.equal((await ids()).length, 3)
    t.strictSame([await weftd.drift(lab), await weftd.plan(file)], [[], []])
    await healAll(weftd, lab)
    t.strictSame([await weftd.drift(lab), await weftd.plan(file)], [[], []])
  })

  await t.test("many at once wait for their turns, beside somebody who deploys", async (t) => {
    const all = ["delay alt 20ms", "mtu alt 1200", "loss fw:wan 5%", "route-missing fw 203.0.113.0/24", "link-down alt"]
    const deploy = weftd.make(file)
    const injected = await Promise.all(all.map((words) => inject(weftd, lab, words)))
    await deploy
    const given = injected.flatMap(({ faults }) => faults.map(({ id }) => id))
    t.equal(new Set(given).size, all.length, "each has an id of its own")
    t.strictSame((await ids()).toSorted(), given.toSorted())
    await Promise.all(given.map((id) => weftd.client.heal({ lab, ids: [id], all: false })))
    t.strictSame([await ids(), await weftd.drift(lab)], [[], []])
  })

  await t.test("another version of the lab keeps its faults, without those that it has no target for", async (t) => {
    await inject(weftd, lab, "link-down alt")
    await inject(weftd, lab, "mtu fw:wan 1200")
    const outcome = await weftd.make({ ...file, links: file.links.filter(({ name }) => name !== "alt") })
    t.ok(outcome.changed > 0)
    t.strictSame((await weftd.client.faults(lab)).map(({ kind }) => kind), ["mtu"])
    await weftd.make(file)
    t.strictSame((await weftd.client.faults(lab)).map(({ kind }) => kind), ["mtu"], "what went does not come back")
    t.strictSame(await weftd.drift(lab), [])
  })

  await t.test("a fault that comes and goes keeps its times, and heals in either phase", async (t) => {
    await inject(weftd, lab, "flap alt 300ms 300ms")
    const phases = new Set<number>()
    await until("both phases were seen", async () => {
      for (const fault of await weftd.client.faults(lab)) if (fault.kind === "flap") phases.add(fault.phase)
      return phases.size === 2
    })
    await healAll(weftd, lab)
    t.strictSame([await ids(), await weftd.drift(lab), await weftd.plan(file)], [[], [], []])
  })

  await t.test("destroy takes all faults along; the lab begins anew", async (t) => {
    await inject(weftd, lab, orders["node-crash"]!)
    await inject(weftd, lab, orders["link-down"]!)
    t.equal((await weftd.weft(["destroy", lab])).code, 0)
    t.strictSame(await weftd.client.faults(""), [])
    await weftd.make(file)
    const { faults } = await inject(weftd, lab, "mtu alt 1200")
    t.strictSame(faults.map(({ id }) => id), ["f1"])
  })
})
