/**
 * What routers have further words for, between weft and FRR: paths that are changed on the way, aggregates and
 * default routes with policies and conditions, router ids that decide. Each does it to the other.
 */
import t from "tap"
import { FrrLab, family, neighbor, patienceMs, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, f2] = ["10.0.1.2", "10.0.2.2"]
/** weft, as FRR sees it. */
const [w1, w2] = ["10.0.1.1", "10.0.2.1"]

/** FRR with one IPv4 neighbour. `words` go after its address in the address family, `lines` as they are. */
const one = (asn: number, id: number, address: string, words: ReadonlyArray<string>, ...lines: ReadonlyArray<string>): string => {
  const own = ["activate", ...words].map((word) => `neighbor ${address} ${word}`)
  return router(asn, id, neighbor(address, 65001), family("ipv4", ...own, ...lines))
}

const routeMap = (name: string, ...sets: ReadonlyArray<string>): string => [`route-map ${name} permit 10`, ...sets, "exit"].join("\n")

t.test("changes with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "changes", 2, {}, { isPlain: true })

  await t.test("paths: excluded, prepended by their last AS, private numbers replaced, a local AS on the way out only", async (t) => {
    const path = { permit: "any", set: { prepend: [3356, 64700, 174] } }
    await lab.set(
      {
        as: 65001,
        networks: [{ prefix: "10.1.0.0/24", policy: "far" }],
        policies: { far: path, last: { permit: "any", set: { "exclude-as": 174, prepend: { "last-as": 2 }, "local-preference": "+7" } } },
        neighbors: [
          { peer: f1, as: 65002, "remove-private-as": "replace" },
          { peer: f2, as: 65003, "local-as": { as: 65009, prepend: "out" }, import: "last" }
        ]
      },
      {
        f1: one(65002, 1, w1, []),
        f2: [
          routeMap("far", "set as-path prepend 3356 174"),
          router(65003, 2, neighbor(w2, 65009),
            family("ipv4", `neighbor ${w2} activate`, `neighbor ${w2} route-map far out`, "network 10.3.0.0/24"))
        ].join("\n")
      }
    )
    await lab.up(f1, f2)
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), { aspath: { string: "65001 3356 65001 174" } })
    t.match(await lab.frrPath("f2", "10.1.0.0/24"), { aspath: { string: "65009 65001 3356 64700 174" } })
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "65003 65003 65003 3356", localPref: 107 }], "without the local AS")
    await lab.set(
      { as: 65001, networks: [{ prefix: "10.1.0.0/24", policy: "far" }], policies: { far: path },
        neighbors: [{ peer: f1, as: 65009 }, { peer: f2, as: 65003 }] },
      {
        f1: router(65002, 1, neighbor(w1, 65001, "local-as 65009 no-prepend"),
          family("ipv4", `neighbor ${w1} activate`, "network 10.2.0.0/24")),
        f2: [
          routeMap("last", "set as-path exclude 174", "set local-preference +7"),
          one(65003, 2, w2, ["route-map last in", "remove-private-AS all replace-AS"])
        ].join("\n")
      }
    )
    await lab.up(f1, f2)
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "65009 65002" }])
    t.match(await lab.frrPath("f1", "10.1.0.0/24"), { aspath: { string: "65001 3356 64700 174" } }, "nor with FRR's")
    t.match(await lab.frrPath("f2", "10.1.0.0/24"), { aspath: { string: "65001 3356 64700" } })
  })

  await t.test("default routes with a condition, aggregates with a policy", async (t) => {
    const words = (when: string): Readonly<Record<string, unknown>> => ({
      as: 65001,
      networks: ["10.1.1.0/24"],
      aggregates: { prefix: "10.1.0.0/16", "summary-only": true, policy: "colour" },
      policies: { colour: { permit: "any", set: { med: 7, community: "65001:7" } } },
      neighbors: [{ peer: f1, as: 65002, "default-originate": { policy: "colour", when } }, { peer: f2, as: 65003 }]
    })
    await lab.set(words("10.3.0.0/24"), {
      f1: one(65002, 1, w1, []),
      f2: one(65003, 2, w2, [], "network 10.3.0.0/24")
    })
    await lab.up(f1, f2)
    t.match(await lab.frrPath("f1", "0.0.0.0/0"), { aspath: { string: "65001" }, metric: 7, community: { string: "65001:7" } })
    t.match(await lab.frrPath("f1", "10.1.0.0/16"), { metric: 7, community: { string: "65001:7" }, atomicAggregate: true })
    // FRR, which takes its configuration line by line, may have had one before this.
    const session = (await lab.neighbor(f1))?.establishedCount
    await lab.frr("f2").configure("router bgp 65003\naddress-family ipv4 unicast\nno network 10.3.0.0/24")
    await lab.frrLacks("f1", "0.0.0.0/0")
    await lab.frr("f2").configure("router bgp 65003\naddress-family ipv4 unicast\nnetwork 10.3.0.0/24")
    await lab.frrPath("f1", "0.0.0.0/0")
    await lab.weft(words("10.9.0.0/24"))
    await lab.frrLacks("f1", "0.0.0.0/0")
    t.equal((await lab.neighbor(f1))?.establishedCount, session, "all in one session")
  })

  await t.test("router ids before age", async (t) => {
    const frr = { f1: one(65002, 1, w1, []), f2: one(65002, 2, w2, [], "network 10.5.0.0/24") }
    const neighbors = [{ peer: f1, as: 65002 }, { peer: f2, as: 65002 }]
    await lab.set({ as: 65001, "compare-router-id": true, neighbors }, frr)
    await lab.up(f1, f2)
    t.match(await lab.paths("10.5.0.0/24"), [{ from: f2, best: true, why: "the only path" }])
    await lab.frr("f1").configure("router bgp 65002\naddress-family ipv4 unicast\nnetwork 10.5.0.0/24")
    const both = await lab.paths("10.5.0.0/24", ([best, second]) => best?.from === f1 && second !== undefined)
    t.match(both, [{ best: true, why: "best by router ID" }, { from: f2, why: "lost to 10.0.1.2 on router ID" }], "though it came later")
  })

  await t.test("a shutdown says why", async (t) => {
    const words = (more: object): Readonly<Record<string, unknown>> => ({ as: 65001, neighbors: [{ peer: f1, as: 65002, ...more }] })
    await lab.set(words({}), { f1: one(65002, 1, w1, []) })
    await lab.up(f1)
    await lab.weft(words({ shutdown: "back on Monday" }))
    const told = async (): Promise<boolean> => (await lab.frrNeighbor("f1", w1)).lastShutdownDescription === "back on Monday"
    await until("FRR has heard why", told, patienceMs)
    t.equal((await lab.neighbor(f1))?.state, "Shutdown")
  })
})
