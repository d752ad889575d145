/** Routes between weft and BIRD: every attribute and form of UPDATE, in both directions and looked at on both sides. */
import t from "tap"
import { birdOf, exportStatic, originate, session } from "./bgp-bird.ts"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { missingPeers, type Peer, startBird } from "./bgp-peers.ts"
import { needsRoot } from "./harness.ts"

const [one, two] = [addressesOf(1), addressesOf(2)]

/** All that BIRD says of its routes to the prefix, as soon as it matches. */
const birdRoute = async (bird: Peer, prefix: string, pattern: RegExp, words = ""): Promise<string> => {
  let last = ""
  return told(`BIRD has ${pattern} for ${prefix}`, () => last, async () => {
    last = String(await bird.ask(`show route for ${prefix} all${words}`).catch((error: Error) => error.message))
    return pattern.test(last)
  })
}

t.test("routes with BIRD", { skip: needsRoot || missingPeers("bird"), timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "bird", 2)
  const b1 = await lab.run("p1", (world, namespace) => startBird(world, namespace, birdOf(1)))
  const b2 = await lab.run("p2", (world, namespace) => startBird(world, namespace, birdOf(2)))

  await t.test("external IPv4 and IPv6, an AS of four octets, every attribute and sort of community", async (t) => {
    const set = {
      med: 77, origin: "incomplete", prepend: { as: 65001, times: 2 },
      community: ["65001:42", "no-peer", "65001:1:2", "rt:65001:7", "soo:10.0.0.1:8"]
    }
    await lab.weft({
      networks: ["10.1.0.0/24", "2001:db8:a::/48"],
      policies: { marked: [{ permit: "any", set }] },
      neighbors: [
        { peer: one.peer, as: 4200000001, export: "marked" },
        { peer: one.peer6, as: 4200000001, export: "marked" },
        { peer: two.peer, as: 65001, "next-hop-self": true }
      ]
    })
    // MED goes to other AS only where the filter on the way out sets it.
    const out = `import all; export filter { if source != RTS_STATIC then reject; bgp_path.prepend(65009); bgp_med = 88; accept; };`
    const filter = `bgp_origin = ORIGIN_EGP; bgp_community.add((65002,42));
      bgp_large_community.add((65002,1,2)); bgp_ext_community.add((rt,65002,7)); bgp_ext_community.add((ro,10.0.0.2,8)); accept;`
    await b1.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"], filter), originate("ipv6", ["2001:db8:b::/48"], filter),
      session({ i: 1, as: 4200000001, ipv4: out }), session({ i: 1, as: 4200000001, name: "weft6", ipv6: out })))
    await b2.configure(birdOf(2, session({ i: 2, as: 65001, ipv4: exportStatic })))
    await lab.up(one.peer, one.peer6, two.peer)
    for (const [prefix, nextHop] of [["10.1.0.0/24", one.weft], ["2001:db8:a::/48", one.weft6]] as const) {
      const seen = await birdRoute(b1, prefix, /BGP\.as_path/)
      t.match(seen, /BGP\.origin: Incomplete/)
      t.match(seen, /BGP\.as_path: 65001 65001 65001\n/)
      t.match(seen, new RegExp(`BGP\\.next_hop: ${nextHop}`))
      t.match(seen, /BGP\.med: 77/)
      t.match(seen, /BGP\.community: \(65001,42\) \(65535,65284\)/)
      t.match(seen, /BGP\.large_community: \(65001, 1, 2\)/)
      t.match(seen, /BGP\.ext_community: \(rt, 65001, 7\) \(ro, 10\.0\.0\.1, 8\)/)
    }
    for (const [prefix, nextHop] of [["10.2.0.0/24", one.peer], ["2001:db8:b::/48", one.peer6]] as const) {
      const [path] = await lab.paths(prefix)
      t.match(path, { asPath: "4200000001 65009", origin: "egp", med: 88, nextHop, from: nextHop, kind: "external", best: true })
      t.same([...path!.communities].sort(), ["65002:1:2", "65002:42", "rt:65002:7", "soo:10.0.0.2:8"])
    }
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev p1/)
    await lab.inKernel("weft", "2001:db8:b::/48", /via \S+ dev p1/)
    await lab.inKernel("p1", "10.1.0.0/24", /via 10\.0\.1\.1 dev weft proto bird/)
    await lab.inKernel("p1", "2001:db8:a::/48", /via \S+ dev weft proto bird/)
    const within = await birdRoute(b2, "10.2.0.0/24", /BGP\.as_path/)
    t.match(within, /BGP\.as_path: 4200000001 65009\n/, "over an internal session nothing is lost")
    t.match(within, /BGP\.local_pref: 100/)
    t.match(within, /BGP\.med: 88/)
    t.match(within, /BGP\.next_hop: 10\.0\.2\.1/)
    t.match(within, /BGP\.community: \(65002,42\)[^]*BGP\.large_community: \(65002, 1, 2\)|BGP\.ext_community: \(rt, 65002, 7\)/)
  })

  await t.test("a speaker of two octets has 23456 in paths, and the whole path beside them", async (t) => {
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002 }, { peer: two.peer, as: 4200000002 }] })
    const filter = "bgp_path.prepend(4200000005); accept;"
    await b1.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"], filter),
      session({ i: 1, as: 65002, options: "enable as4 off;", ipv4: exportStatic })))
    await b2.configure(birdOf(2, originate("ipv4", ["10.3.0.0/24"]), session({ i: 2, as: 4200000002, ipv4: exportStatic })))
    await lab.up(one.peer, two.peer)
    t.match(await birdRoute(b1, "10.3.0.0/24", /BGP\.as_path/), /BGP\.as_path: 65001 4200000002\n/)
    t.match(await lab.paths("10.2.0.0/24"), [{ asPath: "65002 4200000005" }])
    t.match(await birdRoute(b2, "10.2.0.0/24", /BGP\.as_path/), /BGP\.as_path: 65001 65002 4200000005\n/)
  })

  await t.test("IPv4 with IPv6 next hops", async (t) => {
    await lab.weft({
      networks: ["10.1.0.0/24", "2001:db8:a::/48"],
      neighbors: [{ peer: one.peer6, as: 65002, families: ["ipv4", "ipv6"] }]
    })
    const channel = `extended next hop; ${exportStatic}`
    await b2.configure(birdOf(2))
    await b1.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"]), originate("ipv6", ["2001:db8:b::/48"]),
      session({ i: 1, as: 65002, local: one.peer6, neighbor: one.weft6, ipv4: channel, ipv6: exportStatic })))
    await lab.up(one.peer6)
    t.match(await birdRoute(b1, "10.1.0.0/24", /BGP\.as_path/), /BGP\.next_hop: 2001:db8:1::1/)
    t.match(await lab.paths("10.2.0.0/24"), [{ nextHop: one.peer6, best: true }])
    await lab.inKernel("weft", "10.2.0.0/24", /via inet6 \S+ dev p1/)
    await lab.inKernel("p1", "10.1.0.0/24", /via inet6 \S+ dev weft/)
    t.match(await lab.paths("2001:db8:b::/48"), [{ best: true }])
  })

  await t.test("local preference between internal neighbours, and the reflector's part", async (t) => {
    await lab.weft(
      { networks: ["10.1.0.0/24"], clients: ["p1", "p2"], neighbors: ["p1", "p2"].map((peer) => ({ peer, "update-source": "lo" })) },
      { p1: { as: 65001 }, p2: { as: 65001 } }
    )
    const loops = (i: number) => ({ local: `10.255.1.${i}`, neighbor: "10.255.0.1", options: "multihop;" })
    const gateway = "gateway recursive; igp table master4;"
    await b1.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"], "bgp_local_pref = 333; accept;"),
      "protocol static ways { ipv4; route 10.255.0.1/32 via 10.0.1.1; }",
      session({ i: 1, as: 65001, ...loops(1), ipv4: `${gateway} import all; export where proto = "own_ipv4";` })))
    await b2.configure(birdOf(2, "protocol static ways { ipv4; route 10.255.0.1/32 via 10.0.2.1; route 10.255.1.1/32 via 10.0.2.1; }",
      session({ i: 2, as: 65001, ...loops(2), ipv4: `${gateway} import all; export none;` })))
    const seen = await birdRoute(b2, "10.2.0.0/24", /BGP\.originator_id/)
    t.match(seen, /BGP\.originator_id: 10\.255\.1\.1/)
    t.match(seen, /BGP\.cluster_list: 10\.255\.0\.1/)
    t.match(seen, /BGP\.local_pref: 333/)
    t.match(seen, /BGP\.next_hop: 10\.255\.1\.1/, "a reflector leaves the next hop")
    t.match(await lab.paths("10.2.0.0/24"), [{ localPref: 333, kind: "internal" }])
    t.match(await birdRoute(b1, "10.1.0.0/24", /BGP\.as_path/), /BGP\.as_path: *\n/)
  })

  await t.test("the part of a reflector's client, with a loop that is noticed", async (t) => {
    // p1 reflects what weft tells back to weft's other address, as a second client.
    const six = { local: one.peer6, neighbor: one.weft6 }
    await lab.weft({
      networks: ["10.1.0.0/24"],
      neighbors: [{ peer: one.peer, as: 65001 }, { peer: one.peer6, as: 65001, families: ["ipv4"] }, { peer: two.peer, as: 65002 }]
    })
    const channel = "import all; export all; extended next hop;"
    const reflects = "rr client; rr cluster id 10.9.9.9;"
    await b2.configure(birdOf(2, originate("ipv4", ["10.3.0.0/24"]), session({ i: 2, as: 65002, ipv4: exportStatic })))
    await b1.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"]),
      session({ i: 1, as: 65001, options: reflects, ipv4: "import all; export where source ~ [ RTS_STATIC, RTS_BGP ]; next hop self;" }),
      session({ i: 1, as: 65001, name: "again", options: reflects, ...six, ipv4: channel })))
    await lab.up(one.peer, one.peer6, two.peer)
    await birdRoute(b1, "10.1.0.0/24", /BGP\.as_path/)
    t.match(await birdRoute(b2, "10.2.0.0/24", /BGP\.as_path/), /BGP\.as_path: 65001\n/)
    const own = await lab.routes({ prefix: "10.1.0.0/24" })
    t.equal(own.length, 1, "our own ORIGINATOR_ID is not taken back")
    t.match(await lab.paths("10.2.0.0/24", ({ length }) => length === 2), [{ kind: "internal" }, { kind: "internal" }])
  })

  await t.test("several paths of a prefix, both ways", async (t) => {
    await lab.weft({
      neighbors: [
        { peer: one.peer, as: 65002, "add-path": { receive: true, send: 8 } },
        { peer: two.peer, as: 65003, "add-path": { receive: true, send: 8 } }
      ]
    })
    const channel = "add paths on; import all; export where source = RTS_STATIC;"
    const pathsOf = (med: number) => originate("ipv4", ["10.2.0.0/24"], `bgp_med = ${med}; preference = ${100 + med}; accept;`, `own${med}`)
    const withPaths = (...meds: ReadonlyArray<number>) =>
      birdOf(1, ...meds.map(pathsOf), session({ i: 1, as: 65002, ipv4: channel }))
    await b1.configure(withPaths(1, 2, 3))
    await b2.configure(birdOf(2, session({ i: 2, as: 65003, ipv4: channel })))
    await lab.up(one.peer, two.peer)
    const paths = await lab.paths("10.2.0.0/24", ({ length }) => length === 3)
    t.same(paths.map(({ med }) => med).sort(), [1, 2, 3])
    t.equal(new Set(paths.map(({ pathId }) => pathId)).size, 3)
    const seen = await birdRoute(b2, "10.2.0.0/24", /med: 1[^]*med: 2[^]*med: 3|(BGP\.as_path[^]*){3}/)
    t.equal(seen.match(/BGP\.as_path: 65001 65002/g)?.length, 3)
    await b1.configure(withPaths(1, 3))
    const left = await lab.paths("10.2.0.0/24", ({ length }) => length === 2)
    t.same(left.map(({ med }) => med).sort(), [1, 3])
    await told("BIRD has lost the path", () => "", async () =>
      String(await b2.ask("show route for 10.2.0.0/24 all")).match(/BGP\.as_path/g)?.length === 2)
  })

  await t.test("messages beyond 4096 octets, and none to whoever does not take them", async (t) => {
    const large = Array.from({ length: 500 }, (_, i) => `bgp_large_community.add((65002,1,${i}));`).join(" ")
    const own = birdOf(1, originate("ipv4", ["10.2.0.0/24"], `${large} accept;`), originate("ipv4", ["10.3.0.0/24"], "accept;", "small"),
      session({ i: 1, as: 65002, options: "enable extended messages on;", ipv4: exportStatic }))
    await lab.weft({ neighbors: [{ peer: one.peer, as: 65002 }, { peer: two.peer, as: 65003 }] })
    await b1.configure(own)
    const other = (isExtended: boolean) =>
      birdOf(2, session({ i: 2, as: 65003, options: isExtended ? "enable extended messages on;" : "", ipv4: exportStatic }))
    await b2.configure(other(true))
    await lab.up(one.peer, two.peer)
    t.equal((await lab.paths("10.2.0.0/24"))[0]!.communities.length, 500)
    t.equal((await birdRoute(b2, "10.2.0.0/24", /BGP\.large_community/)).match(/\(65002, 1, \d+\)/g)?.length, 500)
    await b2.configure(other(false))
    await birdRoute(b2, "10.3.0.0/24", /BGP\.as_path/)
    await lab.up(two.peer)
    t.notMatch(String(await b2.ask("show route").catch(() => "")), /10\.2\.0\.0/)
  })

  await t.test("refresh, asked for by either, with its beginning and end told", async (t) => {
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002 }] })
    await b2.configure(birdOf(2))
    const external = session({ i: 1, as: 65002, ipv4: exportStatic })
    await b1.configure(birdOf(1, "debug protocols all;", originate("ipv4", ["10.2.0.0/24"]), external))
    await lab.up(one.peer)
    await birdRoute(b1, "10.1.0.0/24", /BGP\.as_path/)
    const ofLog = (pattern: RegExp) => told(`BIRD logs ${pattern}`, () => b1.log().slice(-1500), () => pattern.test(b1.log()))
    await b1.ask("reload in weft")
    await ofLog(/Sending ROUTE-REFRESH[^]*Got BEGIN-OF-RR[^]*Got END-OF-RR/)
    t.equal((await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", one.peer, "soft-in"])).code, 0)
    await ofLog(/Got ROUTE-REFRESH[^]*Sending BEGIN-OF-RR[^]*Sending END-OF-RR/)
    t.match(await lab.paths("10.2.0.0/24"), [{ best: true }])
    t.match(await birdRoute(b1, "10.1.0.0/24", /BGP\.as_path/), /65001/)
    t.equal((await lab.neighbor(one.peer))!.state, "Established")
  })
})
