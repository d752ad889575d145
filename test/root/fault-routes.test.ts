/** Faults of routes and BGP under real traffic: the symptom that each is known by, and the cure. */
import t from "tap"
import { inject } from "./fault-harness.ts"
import { RulesLab, srv } from "./fault-rules-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.setTimeout(600_000)

t.test("faults of routes", { skip: needsRoot }, async (t) => {
  const rules = await RulesLab.start(t, "fault-routes")
  const { lab, weftd } = rules

  await rules.symptom(t, "blackhole fw 198.51.100.0/24", async (t) => {
    t.match(rules.inside("fw", "ip", "route", "show", "198.51.100.0/24"), /^blackhole 198\.51\.100\.0\/24/, "it wins over what BGP says")
    t.notOk(await rules.reaches())
  })

  await rules.symptom(t, "blackhole fw 10.8.0.0/16 type=prohibit", async (t) => {
    t.match(rules.inside("fw", "ip", "route", "show", "10.8.0.0/16"), /^prohibit 10\.8\.0\.0\/16/, "instead of the right one")
  })

  await rules.symptom(t, "route-missing pc default", async (t) => {
    t.match((await weftd.inNode(lab, "pc", "ping", "-c", "1", srv)).stderr, /Network is unreachable/)
  })

  await rules.symptom(t, "route-withdraw net 198.51.100.0/24", async (t) => {
    await until("fw has heard", () => rules.ways("198.51.100.0/24").length === 0)
    t.notOk(await rules.reaches())
  })

  await rules.symptom(t, "route-hijack peer 198.51.100.0/24 more-specific=true", async (t) => {
    await until("fw believes it", () => rules.ways("198.51.100.0/25").join() === "e3")
    t.notOk(await rules.reaches())
  })

  await rules.symptom(t, "route-leak fw peer", async (t) => {
    const told = (): string => rules.inside("peer", "ip", "route", "show", "198.51.100.0/24")
    await until("peer hears what it should not", () => told().includes("dev e1"))
    t.match(told(), /dev e1/)
  })

  await rules.symptom(t, "bgp-med isp1 100 neighbor=fw", async (t) => {
    await until("fw goes by the other", () => rules.ways("198.51.100.0/24").join() === "e2")
  })

  await rules.symptom(t, "bgp-prepend isp2 2 neighbor=fw", async (t) => {
    await until("fw goes by the other", () => rules.ways("198.51.100.0/24").join() === "e1")
    t.match((await weftd.weft(["bgp", `${lab}/fw`, "rib", "198.51.100.0/24"])).stdout, /65100 65100 65100 65200/)
  })

  await rules.symptom(t, "bgp-down fw isp1", async (t) => {
    await until("its ways are gone", () => rules.ways("198.51.100.0/24").join() === "e2")
    t.match((await weftd.weft(["bgp", `${lab}/fw`])).stdout, /172\.16\.0\.2.*(shut|idle|Idle|down)/i)
  })

  await t.test("bgp-reset fw isp1 happens once", (t) =>
    rules.restored(t, ["fw", "isp1"], async () => {
      const { faults } = await inject(weftd, lab, "bgp-reset fw isp1")
      t.match(faults, [{ kind: "bgp-reset" }])
      t.same(await weftd.client.faults(lab), [], "there is nothing to heal")
      await until("it has ended and come back", async () => (await weftd.weft(["events", lab])).stdout.includes("bgp.down"))
    }))
})
