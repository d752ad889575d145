/** Route reflectors, several paths of one prefix, shared load and further tables, between weft and FRR. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, f2, f3] = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
/** weft, as FRR sees it. */
const [w1, w2, w3] = ["10.0.1.1", "10.0.2.1", "10.0.3.1"]

/** FRR with one neighbour, weft in AS 65001. */
const one = (asn: number, id: number, address: string, words: ReadonlyArray<string>, ...lines: ReadonlyArray<string>): string => {
  const own = ["activate", ...words].map((word) => `neighbor ${address} ${word}`)
  return router(asn, id, neighbor(address, 65001), family("ipv4", ...own, ...lines))
}

t.test("reflection and multiple paths with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "reflect", 3, {}, {
    isPlain: true,
    links: [
      { endpoints: ["weft:red", "f3:red"], cidr: "10.0.33.0/24" },
      { endpoints: ["f1:f2", "f2:f1"], cidr: "10.0.12.0/24" },
      { endpoints: ["f1:f3", "f3:f1"], cidr: "10.0.13.0/24" },
      { endpoints: ["f2:f3", "f3:f2"], cidr: "10.0.23.0/24" }
    ]
  })

  await t.test("weft reflects routes of FRR's", async (t) => {
    // f1 and f2 are clients, f3 is not: what it tells goes to clients only, and clients' routes to everybody.
    const client = { bgp: { as: 65001, external: true } }
    await lab.set(
      {
        as: 65001, derive: true, networks: ["10.1.0.0/24"], "cluster-id": "9.9.9.9", clients: ["f1", "f2"],
        neighbors: [{ peer: f3, as: 65001 }]
      },
      {
        f1: one(65001, 1, w1, [], "network 10.2.0.0/24"),
        f2: one(65001, 2, w2, [], "network 10.3.0.0/24"),
        f3: one(65001, 3, w3, [], "network 10.4.0.0/24")
      },
      { f1: client, f2: client }
    )
    const reflected = { clusterList: { list: ["9.9.9.9"] }, locPrf: 100 }
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { ...reflected, originatorId: "10.255.1.2", nexthops: [{ ip: f2 }] })
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { ...reflected, originatorId: "10.255.1.1" })
    t.match(await lab.frrPath("f3", "10.2.0.0/24"), { ...reflected, originatorId: "10.255.1.1" }, "clients' routes go to everybody")
    t.match(await lab.frrPath("f1", "10.4.0.0/24"), { ...reflected, originatorId: "10.255.1.3" }, "others' go to clients")
    t.equal((await lab.frrPath("f1", "10.1.0.0/24")).clusterList, undefined, "our own are not reflected")
    t.match(await lab.frrPaths("f1", "10.2.0.0/24"), [{ peer: { peerId: "0.0.0.0" } }], "and what is its own does not come back")
    t.equal((await lab.frrPaths("f1", "10.2.0.0/24")).length, 1)
    // Who is no client tells others nothing of those who are none either.
    await lab.set(
      { as: 65001, neighbors: [f1, f2, f3].map((peer) => ({ peer, as: 65001 })), networks: ["10.1.0.0/24"] },
      { f1: one(65001, 1, w1, [], "network 10.2.0.0/24"), f2: one(65001, 2, w2, [], "network 10.3.0.0/24") }
    )
    await lab.paths("10.3.0.0/24")
    await lab.frrPath("f1", "10.1.0.0/24")
    await lab.frrLacks("f1", "10.3.0.0/24")
  })

  await t.test("FRR reflects to weft, and loops are cut by originator and cluster list", async (t) => {
    // f1 reflects between weft and f2, which reflects back to weft.
    const frr = (cluster: string) => ({
      f1: router(65001, 1, ` bgp cluster-id ${cluster}`, neighbor(w1, 65001),
        family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} route-reflector-client`, "network 10.2.0.0/24")),
      f2: router(65001, 2, neighbor(w2, 65001), family("ipv4", `neighbor ${w2} activate`, "network 10.3.0.0/24"))
    })
    const client = { bgp: { as: 65001, external: true } }
    const neighbors = [{ peer: f1, as: 65001 }]
    const weft = { as: 65001, derive: true, networks: ["10.1.0.0/24"], "cluster-id": "9.9.9.9", clients: ["f2"], neighbors }
    await lab.set(weft, frr("8.8.8.8"), { f2: client })
    t.match(await lab.frrPath("f2", "10.2.0.0/24"), { originatorId: "10.255.1.1", clusterList: { list: ["9.9.9.9"] } })
    t.match(await lab.frrPath("f1", "10.3.0.0/24"), { originatorId: "10.255.1.2", clusterList: { list: ["9.9.9.9"] } })
    // FRR does not send a route back to who has told it; weft would know its own by the originator.
    t.match(await lab.paths("10.1.0.0/24"), [{ from: "network" }])
    await lab.set(weft, { ...frr("9.9.9.9"), f2: frr("").f2 }, { f2: client })
    await lab.paths("10.2.0.0/24")
    await lab.paths("10.3.0.0/24")
    await lab.frrPath("f1", "10.1.0.0/24")
    await lab.frrLacks("f1", "10.3.0.0/24")
  })

  await t.test("two reflectors in a row: the cluster list grows on its way, and a loop ends where it began", async (t) => {
    // f3 -- f1 (reflector) -- weft (client of f1): what f3 has comes with f1's cluster.
    await lab.set(
      { as: 65001, networks: ["10.1.0.0/24"], neighbors: [{ peer: f1, as: 65001 }, { peer: f2, as: 65002 }] },
      {
        f1: router(65001, 1, " bgp cluster-id 8.8.8.8", neighbor(w1, 65001), neighbor(f3, 65001), neighbor("10.0.12.2", 65001),
          family("ipv4", `neighbor ${w1} activate`, `neighbor ${w1} route-reflector-client`, "network 10.2.0.0/24",
            "neighbor 10.0.12.2 activate", "neighbor 10.0.12.2 route-reflector-client")),
        f2: router(65001, 2, neighbor("10.0.12.1", 65001), family("ipv4", "neighbor 10.0.12.1 activate", "network 10.3.0.0/24"))
      }
    )
    const [path] = await lab.paths("10.3.0.0/24", (paths) => paths.length > 0)
    t.match(path, { kind: "internal", more: ["originator 10.255.1.2", "cluster list 8.8.8.8"], nextHop: "10.0.12.2" })
  })

  await t.test("several paths of a prefix, in both directions (RFC 7911)", async (t) => {
    // f1 and f2 have the same prefix from different AS; f3 gets both from weft, and weft both from f3.
    await lab.set(
      {
        as: 65001,
        neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65003 }, { peer: f3, as: 65001, "next-hop-self": true, "add-path": true }]
      },
      {
        f1: one(65002, 1, w1, [], "network 10.5.0.0/24"),
        f2: one(65003, 2, w2, [], "network 10.5.0.0/24"),
        f3: one(65001, 3, w3, ["addpath-tx-all-paths"])
      }
    )
    const both = await lab.frrPaths("f3", "10.5.0.0/24", (paths) => paths.length === 2)
    t.same(both.map(({ aspath }) => aspath!.string).toSorted(), ["65002", "65003"])
    t.match((await lab.frrNeighbor("f3", w3)).neighborCapabilities, { addPath: { ipv4Unicast: { rxAdvertisedAndReceived: true } } })
    await lab.frr("f1").configure("router bgp 65002\naddress-family ipv4 unicast\nno network 10.5.0.0/24")
    const [left] = await lab.frrPaths("f3", "10.5.0.0/24", (paths) => paths.length === 1)
    t.equal(left!.aspath!.string, "65003", "one path is withdrawn, the other stays")
    // The other way: f3 has the paths of f1 and f2 by sessions of its own.
    await lab.set(
      { as: 65001, neighbors: [{ peer: f3, as: 65004, "add-path": { receive: true } }] },
      {
        f1: router(65002, 1, neighbor("10.0.13.2", 65004), family("ipv4", "neighbor 10.0.13.2 activate", "network 10.5.0.0/24")),
        f2: router(65003, 2, neighbor("10.0.23.2", 65004), family("ipv4", "neighbor 10.0.23.2 activate", "network 10.5.0.0/24")),
        f3: router(65004, 3, neighbor(w3, 65001), neighbor("10.0.13.1", 65002), neighbor("10.0.23.1", 65003),
          family("ipv4", ...[w3, "10.0.13.1", "10.0.23.1"].map((address) => `neighbor ${address} activate`),
            `neighbor ${w3} addpath-tx-all-paths`))
      }
    )
    const paths = await lab.paths("10.5.0.0/24", (all) => all.length === 2)
    t.same(paths.map(({ asPath }) => asPath).toSorted(), ["65004 65002", "65004 65003"])
    t.not(paths[0]!.pathId, paths[1]!.pathId)
    await lab.frr("f2").configure("router bgp 65003\naddress-family ipv4 unicast\nno network 10.5.0.0/24")
    t.match(await lab.paths("10.5.0.0/24", (all) => all.length === 1), [{ asPath: "65004 65002" }])
  })

  await t.test("equal paths share the load in the kernel, with AS paths of one length if wanted", async (t) => {
    const frr = {
      f1: one(65002, 1, w1, [], "network 10.5.0.0/24"), f2: one(65002, 2, w2, [], "network 10.5.0.0/24"),
      f3: one(65003, 3, w3, [])
    }
    const neighbors = [{ peer: f1, as: 65002 }, { peer: f2, as: 65002 }, { peer: f3, as: 65003 }]
    await lab.set({ as: 65001, neighbors, multipath: 4 }, frr)
    await lab.inKernel("weft", "10.5.0.0/24", /(?=[^]*via 10\.0\.1\.2 dev f1)(?=[^]*via 10\.0\.2\.2 dev f2)/)
    // Later: the oldest of external paths is the best.
    await lab.frr("f3").configure("router bgp 65003\naddress-family ipv4 unicast\nnetwork 10.5.0.0/24")
    await lab.inKernel("weft", "10.5.0.0/24", /dev f3/)
    const marked = async (): Promise<number> =>
      (await lab.routes({ prefix: "10.5.0.0/24" })).filter((path) => path.multipath || path.best).length
    t.equal(await marked(), 2)
    t.match(lab.kernel("weft", "10.5.0.0/24"), /dev f3 weight 1 /, "the third is a backup")
    await lab.weft({ as: 65001, neighbors, multipath: { ebgp: 4, "as-path-relax": true } })
    await lab.inKernel("weft", "10.5.0.0/24", /(?=[^]*dev f1 weight (\d+) )(?=[^]*dev f2 weight \1 )(?=[^]*dev f3 weight \1 )/)
    t.equal(await marked(), 3)
    await lab.frr("f2").configure("router bgp 65002\naddress-family ipv4 unicast\nno network 10.5.0.0/24")
    await until("one of three has gone", async () => !lab.kernel("weft", "10.5.0.0/24").includes("dev f2"))
    await lab.weft({ as: 65001, neighbors, multipath: 1 })
    await lab.inKernel("weft", "10.5.0.0/24", /(?=[^]*dev f1 weight 255)(?=[^]*dev f3 weight 1 )/)
    t.equal(await marked(), 1)
  })

  await t.test("a table of its own: FRR's routes are in the VRF, and leak where targets say so", async (t) => {
    const red = { interfaces: "red", targets: "65001:1", networks: ["10.8.0.0/24"], "import-targets": "65001:2", table: 1010 }
    await lab.set(
      {
        as: 65001, networks: ["10.1.0.0/24"], vrfs: { red, blue: { interfaces: "f2", targets: "65001:2", table: 1020 } },
        neighbors: [{ peer: f1, as: 65002 }, { peer: f2, as: 65003, vrf: "blue" }, { peer: "10.0.33.2", as: 65004, vrf: "red" }]
      },
      {
        f1: one(65002, 1, w1, [], "network 10.2.0.0/24"), f2: one(65003, 2, w2, [], "network 10.3.0.0/24"),
        f3: one(65004, 3, "10.0.33.1", [], "network 10.4.0.0/24")
      }
    )
    await lab.inKernel("weft", "10.4.0.0/24", /via 10\.0\.33\.2 dev red/, "table", "1010")
    await lab.inKernel("weft", "10.3.0.0/24", /via 10\.0\.2\.2 dev f2/, "table", "1010")
    await lab.inKernel("weft", "10.3.0.0/24", /via 10\.0\.2\.2 dev f2/, "table", "1020")
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev f1/)
    t.equal(lab.kernel("weft", "10.4.0.0/24"), "", "not in the main table")
    t.match(await lab.frrPath("f3", "10.3.0.0/24"), { aspath: { string: "65001 65003" } })
    t.match(await lab.frrPath("f3", "10.8.0.0/24"), { aspath: { string: "65001" } })
    await lab.frrLacks("f3", "10.2.0.0/24")
    await lab.frrLacks("f2", "10.4.0.0/24")
    t.match(await lab.paths("10.4.0.0/24", undefined, "red"), [{ asPath: "65004" }])
  })
})
