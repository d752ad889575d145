/** What weft and FRR refuse each other: paths of others, short hold times, too many prefixes; and what they do not look at. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, f2, lan1, lan2] = ["10.0.1.2", "10.0.2.2", "10.0.100.2", "10.0.100.3"]
/** weft, as FRR sees it. */
const [w1, w2] = ["10.0.1.1", "10.0.2.1"]

/** FRR with one IPv4 neighbour. `words` go after its address in the address family, `lines` as they are. */
const one = (asn: number, id: number, address: string, words: ReadonlyArray<string>, ...lines: ReadonlyArray<string>): string => {
  const own = ["activate", ...words].map((word) => `neighbor ${address} ${word}`)
  return router(asn, id, neighbor(address, 65001), family("ipv4", ...own, ...lines))
}

t.test("refusals with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "refusals", 2)

  await t.test("a route server is not in its paths: taken, and refused where the first AS is enforced", async (t) => {
    const weft = (more: object) => ({ as: 65001, neighbors: [{ peer: f1, as: 65002, ...more }] })
    await lab.set(weft({}), {
      f1: router(65002, 1, neighbor(w1, 65001), neighbor(lan2, 65003), family("ipv4", `neighbor ${w1} activate`,
        `neighbor ${w1} route-server-client`, `neighbor ${lan2} activate`, `neighbor ${lan2} route-server-client`)),
      f2: router(65003, 2, neighbor(lan1, 65002), family("ipv4", `neighbor ${lan1} activate`, "network 10.3.0.0/24"))
    })
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65003", from: f1 }])
    const { establishedCount } = (await lab.neighbor(f1))!
    await lab.weft(weft({ "enforce-first-as": true }))
    t.same(await lab.paths("10.3.0.0/24", (paths) => paths.length === 0), [])
    await lab.weft(weft({ "enforce-first-as": false }))
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65003" }], "asked for again")
    t.match(await lab.neighbor(f1), { establishedCount, state: "Established" }, "all in one session")
  })

  await t.test("a long path wins where its length does not count; a short hold time is refused where there is a least", async (t) => {
    const weft = (more: object) => ({ as: 65001, neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65003 }], ...more })
    const map = (...lines: ReadonlyArray<string>): string => ["route-map as permit 10", ...lines, "exit", ""].join("\n")
    await lab.set(weft({}), {
      f1: map("set as-path prepend 65002 65002") + one(65002, 1, w1, ["route-map as out"], "network 10.9.0.0/24"),
      f2: map("set origin incomplete") + one(65003, 2, w2, ["route-map as out"], "network 10.9.0.0/24")
    })
    const winner = (from: string) =>
      lab.paths("10.9.0.0/24", (paths) => paths.length === 2 && paths.some((one) => one.best && one.from === from))
    t.match((await winner(f2)).find(({ best }) => best), { why: /AS-path length/i })
    await lab.weft(weft({ "ignore-as-path": true }))
    t.match((await winner(f1)).find(({ best }) => best), { why: /origin/i })
    await lab.weft(weft({ timers: { hold: "30s", "minimum-hold": "10s", "connect-retry": "1s" } }))
    t.match(await lab.neighbor(f1), { state: "Established" }, "what is up stays up")
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", f1])
    await until("FRR has been refused", async () => (await lab.frrNeighbor("f1", w1)).lastErrorCodeSubcode === "0206")
    t.match(await lab.neighbor(f2), { state: "Established" })
    await lab.weft(weft({}))
    await lab.up(f1)
  })

  await t.test("after a start nothing is told before all neighbors have told what they have", async (t) => {
    const frr = (id: number, address: string) => one(65001 + id, id, address, [], `network 10.${id + 1}.0.0/24`)
    const neighbors = [{ peer: f1, as: 65002 }, { peer: f2, as: 65003 }]
    const weft = { as: 65001, networks: "10.1.0.0/24", "update-delay": "60m", neighbors }
    await lab.set({ as: 65009 }, {})
    await lab.set(weft, { f1: frr(1, w1) })
    await until("FRR has told what it has", async () => {
      const told = (await lab.neighbor(f1))?.families[0]
      return told?.complete === true && told.received === 1
    })
    t.match(await lab.neighbor(f1), { state: "Established", families: [{ sent: 0 }] })
    t.equal(lab.kernel("weft", "10.2.0.0/24"), "", "nor is anything in the kernel")
    await lab.frr("f2").configure(frr(2, w2))
    await lab.frrPath("f1", "10.1.0.0/24")
    await lab.frrPath("f1", "10.3.0.0/24")
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev f1/)
  })

  await t.test("too many prefixes: warned, shut, and tried again", async (t) => {
    const networks = (net: number) => [0, 1, 2, 3].map((i) => `10.${net}.${i}.0/24`)
    const frr = (words: ReadonlyArray<string>) =>
      ({ f1: one(65002, 1, w1, words, ...networks(2).map((prefix) => `network ${prefix}`)) })
    const weft = (max: object | undefined) =>
      ({ as: 65001, networks: networks(1), neighbors: [{ peer: f1, as: 65002, ...(max === undefined ? {} : { "max-prefix": max }) }] })
    await lab.set(weft({ count: 2, action: "warn" }), frr([]))
    await lab.paths("10.2.3.0/24")
    t.match(await lab.events(), /prefix/i, "told in events")
    t.match(await lab.neighbor(f1), { state: "Established", families: [{ received: 4 }] })
    await lab.set(weft({ count: 2, action: "reset" }), frr([]))
    await until("weft has ended it", async () => /prefix/i.test((await lab.neighbor(f1))?.lastReset ?? ""))
    t.match(await lab.frrNeighbor("f1", w1), { lastErrorCodeSubcode: "0601" }, "Cease, maximum number of prefixes reached")
    t.same(await lab.paths("10.2.0.0/24", (paths) => paths.length === 0), [])
    await lab.weft(weft({ count: 3, action: "discard", threshold: 50 }))
    await lab.paths("10.2.0.0/24")
    await until("there were more", async () => /the 3 IPv4 prefixes that are allowed: no more are taken/.test(await lab.events()))
    t.match(await lab.neighbor(f1), { state: "Established", families: [{ received: 3 }] })
    await lab.weft(weft({ count: 5, action: "discard", threshold: 50 }))
    await until("it has all four", async () => (await lab.neighbor(f1))?.families[0]?.received === 4)
    await until("which is more than half", async () => /more than 50 % of the 5 that are allowed/.test(await lab.events()))
    // Allowed now: the change brings it back.
    await lab.weft(weft({ count: 10 }))
    await lab.paths("10.2.3.0/24")
    await lab.set(weft(undefined), frr(["maximum-prefix 2"]))
    await until("FRR has ended it", async () => /prefix/i.test((await lab.neighbor(f1))?.lastReset ?? ""))
    t.match((await lab.neighbor(f1))!.lastReset, /Maximum Number of Prefixes/i)
  })
})
