/** AS paths and next hops as operators bend them, between weft and FRR: whatever both can do, each does it to the other. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot } from "./harness.ts"

const [f1, f2, lan1, lan2] = ["10.0.1.2", "10.0.2.2", "10.0.100.2", "10.0.100.3"]
/** weft, as FRR sees it. */
const [w1, w2, wlan] = ["10.0.1.1", "10.0.2.1", "10.0.100.1"]

/** FRR with one IPv4 neighbour. `words` go after its address in the address family, `lines` as they are. */
const one = (asn: number, id: number, address: string, words: ReadonlyArray<string>, ...lines: ReadonlyArray<string>): string => {
  const own = ["activate", ...words].map((word) => `neighbor ${address} ${word}`)
  return router(asn, id, neighbor(address, 65001), family("ipv4", ...own, ...lines))
}

t.test("paths and next hops with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "paths", 2)

  await t.test("AS numbers of four octets, and AS_TRANS to a speaker of two", async (t) => {
    const old = "dont-capability-negotiate"
    const big = 4_200_000_001
    await lab.set(
      { as: big, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 4_200_000_002 }, { peer: f2, as: 65003 }] },
      {
        f1: router(4_200_000_002, 1, neighbor(w1, big), family("ipv4", `neighbor ${w1} activate`, "network 10.2.0.0/24")),
        f2: ["route-map big permit 10", "set as-path prepend 4200000009", "exit", router(65003, 2, neighbor(w2, big, old),
          family("ipv4", `neighbor ${w2} activate`, `neighbor ${w2} route-map big out`, "network 10.3.0.0/24"))].join("\n")
      }
    )
    await lab.up(f1, f2)
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), { aspath: { string: `${big}` } })
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { aspath: { string: `${big} 65003 4200000009` } })
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "4200000002" }])
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65003 4200000009" }], "put together from AS_PATH and AS4_PATH")
    // FRR takes no AS4_PATH of somebody who would have spoken four octets.
    t.match(await lab.frrPath("f2", "10.1.0.0/24"), { aspath: { string: "23456" } })
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { aspath: { string: "23456 23456" } })
    t.same((await lab.neighbor(f2))!.capabilities, [], "nothing was negotiated")
  })

  await t.test("next-hop-self, and a third party on a shared network", async (t) => {
    const external = [{ peer: lan1, as: 65002 }, { peer: lan2, as: 65003 }]
    const frr = {
      f1: one(65002, 1, wlan, [], "network 10.2.0.0/24"),
      f2: one(65003, 2, wlan, [], "network 10.3.0.0/24")
    }
    await lab.set({ as: 65001, neighbors: external }, frr)
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { nexthops: [{ ip: lan1 }] }, "who is on the same network is told directly")
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { nexthops: [{ ip: lan2 }] })
    await lab.inKernel("f1", "10.3.0.0/24", /via 10\.0\.100\.3 dev lan/)
    await lab.weft({ as: 65001, neighbors: [external[0]!, { ...external[1]!, "next-hop-self": true }] })
    await lab.frrPath("f2", "10.2.0.0/24", ({ nexthops }) => nexthops?.[0]?.ip === wlan)
    // FRR gives the third party's next hop, too: weft's kernel then goes there directly.
    await lab.set(
      { as: 65001, neighbors: [{ peer: lan1, as: 65002 }] },
      {
        f1: router(65002, 1, neighbor(wlan, 65001), neighbor(lan2, 65003),
          family("ipv4", `neighbor ${wlan} activate`, `neighbor ${lan2} activate`)),
        f2: router(65003, 2, neighbor(lan1, 65002), family("ipv4", `neighbor ${lan1} activate`, "network 10.3.0.0/24"))
      }
    )
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65002 65003", nextHop: lan2 }])
    await lab.inKernel("weft", "10.3.0.0/24", /via 10\.0\.100\.3 dev lan/)
  })

  await t.test("our own AS in the path: refused, allowed, overridden", async (t) => {
    // Both FRRs have the same AS: each finds itself in the path of the other's routes.
    const frr = { f1: one(65002, 1, w1, [], "network 10.2.0.0/24"), f2: one(65002, 2, w2, ["allowas-in 1"], "network 10.3.0.0/24") }
    const neighbors = [{ peer: f1, as: 65002 }, { peer: f2, as: 65002 }]
    await lab.set({ as: 65001, networks: ["10.1.0.0/24"], neighbors }, frr)
    await lab.frrPath("f1", "10.1.0.0/24")
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { aspath: { string: "65001 65002" } }, "FRR allows it")
    await lab.frrLacks("f1", "10.3.0.0/24")
    await lab.weft({ as: 65001, networks: ["10.1.0.0/24"], neighbors: [{ ...neighbors[0]!, "as-override": true }, neighbors[1]!] })
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { aspath: { string: "65001 65001" } }, "weft overrides it")
    // The other way: weft is between two sites of AS 65001's own and FRR's provider.
    const map = "route-map loop permit 10\nset as-path prepend 65001\nexit\n"
    await lab.set(
      { as: 65001, neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65003, "allow-as-in": 1 }] },
      {
        f1: map + one(65002, 1, w1, ["route-map loop out"], "network 10.2.0.0/24"),
        f2: map + one(65003, 2, w2, ["route-map loop out"], "network 10.3.0.0/24")
      }
    )
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65003 65001", best: true }])
    t.same(await lab.paths("10.2.0.0/24", () => true), [], "and refuses loops otherwise")
    // Where the path begins: 65002 65001, or elsewhere: 65002 65001 65009.
    const far = "ip prefix-list far permit 10.2.1.0/24\nroute-map loop permit 5\nmatch ip address prefix-list far\n" +
      "set as-path prepend 65001 65009\nexit\n"
    await lab.set(
      { as: 65001, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 65002, "allow-as-in": "origin" }, { peer: f2, as: 65002 }] },
      {
        f1: far + map + one(65002, 1, w1, ["route-map loop out"], "network 10.2.0.0/24", "network 10.2.1.0/24", "network 10.2.2.0/24"),
        f2: one(65002, 2, w2, ["allowas-in origin"])
      }
    )
    t.match(await lab.paths("10.2.2.0/24"), [{ asPath: "65002 65001", best: true }])
    t.same(await lab.paths("10.2.1.0/24", () => true), [], "in the middle it is a loop")
    await lab.weft({ as: 65001, neighbors: [{ peer: f1, as: 65002, "allow-as-in": true }, { peer: f2, as: 65002 }] })
    t.match(await lab.paths("10.2.1.0/24"), [{ asPath: "65002 65001 65009" }], "asked for again, it is taken")
    await lab.set(
      { as: 65001, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 65002 }] },
      { f1: router(65002, 1, neighbor(w1, 65001), neighbor(lan2, 65001),
          family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} as-override`, `neighbor ${lan2} activate`)),
        f2: router(65001, 2, neighbor(lan1, 65002), family("ipv4", `neighbor ${lan1} activate`, "network 10.3.0.0/24")) }
    )
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65002 65002" }], "FRR overrides it for us")
  })

  await t.test("private AS numbers removed, and another AS towards a neighbor", async (t) => {
    const frr = (asn: number, words: ReadonlyArray<string>) => ({
      f1: router(64512, 1, neighbor(w1, asn), family("ipv4", `neighbor ${w1} activate`, "network 10.2.0.0/24")),
      f2: router(3000, 2, neighbor(w2, 2000), family("ipv4", `neighbor ${w2} activate`, ...words.map((word) => `neighbor ${w2} ${word}`),
        "network 10.3.0.0/24"))
    })
    await lab.set(
      { as: 2000, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 64512 }, { peer: f2, as: 3000, "remove-private-as": true }] },
      frr(2000, [])
    )
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { aspath: { string: "2000" } })
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { aspath: { string: "2000 3000" } })
    const local = (prepend: boolean) => ({
      as: 2000,
      networks: ["10.1.0.0/24"],
      neighbors: [{ peer: f1, as: 64512, "local-as": { as: 4000, prepend } }, { peer: f2, as: 3000 }]
    })
    await lab.set(local(true), frr(4000, []))
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), { aspath: { string: "4000 2000" } })
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "4000 64512" }], "inwards it is put in front, too")
    await lab.frrPath("f2", "10.2.0.0/24", ({ aspath }) => aspath!.string === "2000 4000 64512")
    await lab.weft(local(false))
    await lab.frrPath("f1", "10.1.0.0/24", ({ aspath }) => aspath!.string === "4000")
    await lab.frrPath("f2", "10.2.0.0/24", ({ aspath }) => aspath!.string === "2000 64512")
    // And FRR towards weft.
    await lab.set(
      { as: 2000, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 5000 }, { peer: f2, as: 3000 }] },
      {
        f1: router(64512, 1, neighbor(w1, 2000, "local-as 5000 no-prepend replace-as"), family("ipv4", `neighbor ${w1} activate`,
          "network 10.2.0.0/24")),
        f2: router(3000, 2, neighbor(w2, 2000), neighbor(lan1, 64512), family("ipv4", `neighbor ${w2} activate`,
          `neighbor ${w2} remove-private-AS`, "network 10.3.0.0/24"))
      }
    )
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "5000" }])
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "3000" }])
    // Without `no-prepend` FRR does inwards as weft does.
    await lab.frr("f1").configure(`router bgp 64512\nno neighbor ${w1} local-as\nneighbor ${w1} local-as 5000`)
    await lab.frrPath("f1", "10.1.0.0/24", ({ aspath }) => aspath!.string === "5000 2000")
  })

  await t.test("default routes, aggregates with sets, and only the summary", async (t) => {
    await lab.set(
      {
        as: 65001,
        networks: ["10.1.0.0/24", "10.1.1.0/24"],
        aggregates: [{ prefix: "10.1.0.0/16", "summary-only": true }, { prefix: "10.2.0.0/15", "as-set": true }],
        neighbors: [{ peer: f1, as: 65002, "default-originate": true }, { peer: f2, as: 65003 }]
      },
      {
        f1: ["ip prefix-list far permit 10.3.0.0/24", "route-map far permit 10", "match ip address prefix-list far",
          "set as-path prepend 65009", "exit", "route-map far permit 20", "exit",
          one(65002, 1, w1, ["route-map far out"], "network 10.2.0.0/24", "network 10.3.0.0/24")].join("\n"),
        f2: one(65003, 2, w2, ["default-originate"], "network 10.4.0.0/24", "aggregate-address 10.4.0.0/16 summary-only")
      }
    )
    t.match(await lab.frrPath("f1", "0.0.0.0/0"), { aspath: { string: "65001" }, valid: true })
    t.match(await lab.frrPath("f2", "10.1.0.0/16"),
      { aspath: { string: "65001" }, aggregatorAs: 65001, aggregatorId: "10.255.0.1", atomicAggregate: true })
    await lab.frrLacks("f2", "10.1.0.0/24")
    const withSet = await lab.frrPath("f2", "10.2.0.0/15", ({ aspath }) => aspath!.string.includes("{"))
    t.equal(withSet.aspath!.string, "65001 65002 {65009}", "what all have in common is a sequence still")
    await lab.inKernel("weft", "10.1.0.0/16", /^blackhole/)
    t.match(await lab.paths("0.0.0.0/0"), [{ asPath: "65003", nextHop: f2 }])
    t.match(await lab.paths("10.4.0.0/16"), [{ asPath: "65003", more: ["atomic-aggregate", "aggregated by AS 65003 10.255.1.2"] }])
    t.same(await lab.paths("10.4.0.0/24", () => true), [], "FRR suppresses it")
    await lab.frr("f1").configure("router bgp 65002\naddress-family ipv4 unicast\nno network 10.3.0.0/24")
    await lab.frrPath("f2", "10.2.0.0/15", ({ aspath }) => !aspath!.string.includes("65009"))
  })

  await t.test("graceful shutdown: announced as a last resort, and taken as one", async (t) => {
    const neighbors = [{ peer: f1, as: 65002 }, { peer: f2, as: 65001, "next-hop-self": true }]
    const base = { as: 65001, networks: ["10.1.0.0/24"], neighbors }
    await lab.set(base, { f1: one(65002, 1, w1, [], "network 10.2.0.0/24"), f2: one(65001, 2, w2, []) })
    await lab.frrPath("f1", "10.1.0.0/24", ({ community }) => community === undefined)
    const { establishedCount } = (await lab.neighbor(f1))!
    await lab.weft({ ...base, "graceful-shutdown": true })
    t.match(await lab.frrPath("f1", "10.1.0.0/24", ({ community }) => community?.string === "graceful-shutdown"), { locPrf: 0 })
    await lab.weft(base)
    await lab.frrPath("f1", "10.1.0.0/24", ({ community }) => community === undefined)
    await lab.frr("f1").configure("router bgp 65002\nbgp graceful-shutdown")
    const [path] = await lab.paths("10.2.0.0/24", ([path]) => path?.communities.includes("graceful-shutdown") ?? false)
    t.equal(path!.localPref, 0)
    t.equal((await lab.neighbor(f1))!.establishedCount, establishedCount, "all in one session")
    await lab.frr("f1").configure("router bgp 65002\nno bgp graceful-shutdown")
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.length === 0)
  })
})
