/** How sessions between weft and FRR end, what both say of it, and that they come back. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { sh } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, w1] = ["10.0.1.2", "10.0.1.1"]
const networks = ["10.1.0.0/24"]
const patienceMs = 120_000

/** FRR in AS 65002 with weft at `address` as its only neighbour. */
const frr = (lines: ReadonlyArray<string> = [], words: ReadonlyArray<string> = [], address = w1, asn = 65001): string =>
  router(65002, 1, neighbor(address, asn, ...lines),
    family("ipv4", ...["activate", ...words].map((word) => `neighbor ${address} ${word}`), "network 10.2.0.0/24"))

t.test("ends of sessions with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "ends", 1)
  const weft = (session: object = {}, more: object = {}) =>
    ({ as: 65001, networks, neighbors: [{ peer: f1, as: 65002, ...session }], ...more })
  /** Routes went both ways. */
  const exchanged = async (): Promise<void> => {
    await lab.frrPath("f1", "10.1.0.0/24")
    await lab.paths("10.2.0.0/24")
  }
  const frrState = async (): Promise<string> => (await lab.frrNeighbor("f1", w1)).bgpState

  await t.test("the hold timer ends what nobody answers", async (t) => {
    await lab.set(weft({ "graceful-restart": false }), { f1: frr() })
    await exchanged()
    // Everything that arrives is lost: both wait in vain.
    sh("ip", "-n", `weft.${lab.name}.f1`, "route", "add", "blackhole", "10.0.1.1/32")
    await until("weft's session ends", async () => (await lab.neighbor(f1))!.state !== "Established", patienceMs)
    t.match((await lab.neighbor(f1))!.lastReset, /hold timer/i)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    await until("FRR's, too", async () => (await frrState()) !== "Established", patienceMs)
    sh("ip", "-n", `weft.${lab.name}.f1`, "route", "del", "blackhole", "10.0.1.1/32")
    await exchanged()
  })

  await t.test("both connect at once: one session remains, again and again", async (t) => {
    await lab.set(weft(), { f1: frr() })
    await exchanged()
    for (let round = 0; round < 2; round++) {
      const before = (await lab.neighbor(f1))!.establishedCount
      await Promise.all([lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", f1]), lab.frr("f1").ask("clear bgp *")])
      await until("it is up again", async () => {
        const now = (await lab.neighbor(f1))!
        return now.state === "Established" && now.establishedCount > before && (await frrState()) === "Established"
      }, patienceMs)
      await exchanged()
    }
    const argv = ["ss", "-tnH", "state", "established", "( sport = 179 or dport = 179 )"]
    const connections = sh("ip", "netns", "exec", `weft.${lab.name}.weft`, ...argv)
    t.equal(connections.trim().split("\n").length, 1, connections)
  })

  await t.test("administrative shutdown: words arrive on both sides", async (t) => {
    await lab.set(weft(), { f1: frr() })
    await exchanged()
    await lab.frr("f1").configure(`router bgp 65002\nneighbor ${w1} shutdown message gone for lunch`)
    await until("weft is told", async () => (await lab.neighbor(f1))!.state !== "Established", patienceMs)
    t.match((await lab.neighbor(f1))!.lastReset, /Administrative Shutdown.*gone for lunch/i)
    await until("the event", async () => /bgp\.down.*gone for lunch/.test(await lab.events()), patienceMs)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    await lab.frr("f1").configure(`router bgp 65002\nno neighbor ${w1} shutdown`)
    await exchanged()
    await lab.weft(weft({ shutdown: true }))
    await until("FRR is told", async () => (await frrState()) !== "Established", patienceMs)
    t.match(await lab.frrNeighbor("f1", w1), { lastErrorCodeSubcode: "0602" }, "Cease, administrative shutdown")
    t.equal((await lab.neighbor(f1))!.state, "Shutdown")
    await lab.weft(weft())
    await exchanged()
    await lab.weft({ as: 65001, networks, neighbors: [] })
    await until("FRR is told", async () => (await lab.frrNeighbor("f1", w1))["lastErrorCodeSubcode"] === "0603", patienceMs)
  })

  await t.test("a wrong AS number is refused by either, and said", async (t) => {
    await lab.set(weft(), { f1: frr([], [], w1, 65009) })
    await until("weft knows", async () => /Bad Peer AS/i.test((await lab.neighbor(f1))!.lastReset), patienceMs)
    await lab.set({ as: 65001, networks, neighbors: [{ peer: f1, as: 65009 }] }, { f1: frr() })
    await until("FRR knows", async () => (await lab.frrNeighbor("f1", w1))["lastErrorCodeSubcode"] === "0202", patienceMs)
    t.match((await lab.neighbor(f1))!.lastReset, /Bad Peer AS|AS 65002/i)
  })
})
