/** weft and GoBGP: attributes, paths and sessions in both directions, looked at on both sides. */
import t from "tap"
import { gobgpd, neighbor } from "./bgp-gobgp.ts"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { missingPeers, type Peer, startGobgp } from "./bgp-peers.ts"
import { needsRoot } from "./harness.ts"

const [one, two] = [addressesOf(1), addressesOf(2)]

t.test("GoBGP", { skip: needsRoot || missingPeers("gobgp"), timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "gobgp", 2)
  const running = new Map<number, Peer>()
  /** Another configuration is another gobgpd. */
  const run = async (i: number, configuration: string): Promise<Peer> => {
    const before = running.get(i)
    if (before !== undefined) await lab.stop(before)
    const peer = await lab.run(`p${i}`, (world, namespace) => startGobgp(world, namespace, configuration))
    running.set(i, peer)
    return peer
  }
  const route = (peer: Peer, prefix: string, pattern: RegExp) => {
    let last = ""
    return told(`GoBGP has ${pattern} for ${prefix}`, () => last, async () => {
      const family = prefix.includes(":") ? " -a ipv6" : ""
      last = String(await peer.ask(`global rib ${prefix}${family}`).catch((error: Error) => error.message))
      return pattern.test(last)
    })
  }

  await t.test("external IPv4 and IPv6 with every attribute, and all of it through weft to another AS of four octets", async (t) => {
    const set = {
      med: 77, origin: "incomplete", prepend: { as: 65001, times: 2 },
      community: ["65001:42", "no-peer", "65001:1:2", "rt:65001:7", "soo:10.0.0.1:8"]
    }
    await lab.weft({
      networks: ["10.1.0.0/24", "2001:db8:a::/48"],
      policies: { marked: [{ permit: { source: "network" }, set }, "permit"] },
      neighbors: [
        { peer: one.peer, as: 65002, export: "marked" },
        { peer: one.peer6, as: 65002, export: "marked" },
        { peer: two.peer, as: 4200000002, families: ["ipv4", "ipv6"] }
      ]
    })
    const g1 = await run(1, gobgpd(1, 65002, neighbor({ address: one.weft }), neighbor({ address: one.weft6, families: ["ipv6-unicast"] })))
    const g2 = await run(2, gobgpd(2, 4200000002, neighbor({ address: two.weft, families: ["ipv4-unicast", "ipv6-unicast"] })))
    await lab.up(one.peer, one.peer6, two.peer)
    const words = "origin egp med 88 community 65002:42,no-peer large-community 65002:1:2 rt 65002:7 aspath 65009 aigp metric 50"
    await g1.ask(`global rib add 10.2.0.0/24 ${words}`)
    await g1.ask(`global rib add 2001:db8:b::/48 ${words} -a ipv6`)
    for (const prefix of ["10.1.0.0/24", "2001:db8:a::/48"]) {
      const seen = await route(g1, prefix, /65001/)
      t.match(seen, /65001 65001 65001 /)
      t.match(seen, /Origin: \?/)
      t.match(seen, /Med: 77/)
      t.match(seen, /Communities: 65001:42, no-peer/i)
      t.match(seen, /LargeCommunity: \[ 65001:1:2\s*\]/)
      t.match(seen, /65001:7/)
      t.match(seen, /10\.0\.0\.1:8/)
    }
    for (const [prefix, nextHop] of [["10.2.0.0/24", one.peer], ["2001:db8:b::/48", one.peer6]] as const) {
      const [path] = await lab.paths(prefix)
      t.match(path, { asPath: "65002 65009", origin: "egp", med: 88, nextHop, best: true })
      t.same([...path!.communities].sort(), ["65002:1:2", "65002:42", "no-peer", "rt:65002:7"])
      const seen = await route(g2, prefix, /65001 65002 65009/)
      t.match(seen, /65002:42/)
      t.match(seen, /65002:1:2/)
      t.notMatch(seen, /Med/, "of another AS")
    }
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev p1/)
    await lab.inKernel("weft", "2001:db8:b::/48", /via \S+ dev p1/)
    await g2.ask("global rib add 10.3.0.0/24")
    t.match(await lab.paths("10.3.0.0/24"), [{ asPath: "4200000002" }])
    t.match(await route(g1, "10.3.0.0/24", /65001/), /65001 4200000002/)
    await g1.ask("global rib del 10.2.0.0/24")
    await g1.ask("global rib del 2001:db8:b::/48 -a ipv6")
    await lab.lacks("10.2.0.0/24", "2001:db8:b::/48")
    await route(g2, "10.2.0.0/24", /not in table/i)
  })

  await t.test("refresh, asked for by either", async (t) => {
    const g1 = running.get(1)!
    await g1.ask("global rib add 10.2.0.0/24")
    await lab.paths("10.2.0.0/24")
    const state = async () => ((await g1.ask(`neighbor ${one.weft} -j`)) as any).state
    const received = async (): Promise<number> => Number((await state())?.messages?.received?.refresh ?? 0)
    const before = await received()
    t.equal((await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", one.peer, "soft-in"])).code, 0)
    await told("GoBGP is asked", () => before, async () => (await received()) > before)
    await g1.ask(`neighbor ${one.weft} softresetin`)
    await g1.ask(`neighbor ${one.weft} softresetout`)
    await route(g1, "10.1.0.0/24", /65001/)
    t.match(await lab.paths("10.2.0.0/24"), [{ best: true }])
    t.match(await lab.neighbor(one.peer), { state: "Established", establishedCount: 1 })
  })

  await t.test("a text at shutdown, both ways", async (t) => {
    const g1 = running.get(1)!
    await g1.ask(`neighbor ${one.weft} disable cables`)
    await lab.is(one.peer, ({ lastReset }) => /Administrative Shutdown/.test(lastReset))
    await lab.lacks("10.2.0.0/24")
    await g1.ask(`neighbor ${one.weft} enable`)
    await lab.up(one.peer)
    await lab.paths("10.2.0.0/24")
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", one.peer])
    await told("GoBGP logs it", () => g1.log().slice(-1500), () => /notification/i.test(g1.log()))
    await lab.up(one.peer)
    t.ok((await lab.neighbor(one.peer))!.establishedCount >= 3)
  })

  await t.test("IPv4 with IPv6 next hops", async (t) => {
    const families = ["ipv4-unicast", "ipv6-unicast"] as const
    await lab.weft({
      networks: ["10.1.0.0/24"],
      neighbors: [{ peer: one.peer6, as: 65002, families: ["ipv4", "ipv6"] }]
    })
    const g1 = await run(1, gobgpd(1, 65002, neighbor({ address: one.weft6, families })))
    await lab.up(one.peer6)
    await g1.ask(`global rib add 10.2.0.0/24 nexthop ${one.peer6}`)
    t.match(await lab.paths("10.2.0.0/24"), [{ nextHop: one.peer6, best: true }])
    await lab.inKernel("weft", "10.2.0.0/24", /via inet6 \S+ dev p1/)
    t.match(await route(g1, "10.1.0.0/24", /65001/), /2001:db8:1::1/)
  })

  await t.test("both parts of a reflector", async (t) => {
    await lab.weft(
      { networks: ["10.1.0.0/24"], clients: ["p1", "p2"], neighbors: ["p1", "p2"].map((peer) => ({ peer, "update-source": "lo" })) },
      { p1: { as: 65001 }, p2: { as: 65001 } }
    )
    const local = (i: number) => `[neighbors.transport.config]\n    local-address = "10.255.1.${i}"`
    const g1 = await run(1, gobgpd(1, 65001, neighbor({ address: "10.255.0.1", more: local(1) })))
    const g2 = await run(2, gobgpd(2, 65001, neighbor({ address: "10.255.0.1", more: local(2) })))
    await lab.up("10.255.1.1", "10.255.1.2")
    await g1.ask("global rib add 10.2.0.0/24 nexthop 10.255.1.1 local-pref 333")
    const seen = await route(g2, "10.2.0.0/24", /Originator/)
    t.match(seen, /Originator: 10\.255\.1\.1/)
    t.match(seen, /ClusterList: \[10\.255\.0\.1\]/)
    t.match(seen, /LocalPref: 333/)
    t.match(seen, /10\.255\.1\.1/)
    t.match(await lab.paths("10.2.0.0/24"), [{ localPref: 333, kind: "internal" }])

    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65001 }, { peer: two.peer, as: 65003 }] })
    const reflects = `[neighbors.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = "10.9.9.9"`
    await run(1, gobgpd(1, 65001, neighbor({ address: one.weft, more: reflects })))
    const far = await run(2, gobgpd(2, 65003, neighbor({ address: two.weft })))
    await lab.up(one.peer, two.peer)
    await running.get(1)!.ask("global rib add 10.2.0.0/24")
    await route(far, "10.2.0.0/24", /65001/)
    t.match(await lab.paths("10.2.0.0/24"), [{ kind: "internal" }])
  })

  await t.test("several paths of a prefix, both ways, and the communities that keep a route in", async (t) => {
    const perFamily = "[neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 8"
    await lab.weft({
      neighbors: [
        { peer: one.peer, as: 65002, "add-path": { receive: true, send: 8 } },
        { peer: two.peer, as: 65003, "add-path": { receive: true, send: 8 } }
      ]
    })
    const g1 = await run(1, gobgpd(1, 65002, neighbor({ address: one.weft, perFamily })))
    const g2 = await run(2, gobgpd(2, 65003, neighbor({ address: two.weft, perFamily })))
    await lab.up(one.peer, two.peer)
    await g1.ask("global rib add 10.2.0.0/24 med 1")
    await g2.ask("global rib add 10.2.0.0/24 med 2")
    await lab.paths("10.2.0.0/24", ({ length }) => length === 2)
    await g1.ask("global rib add 10.4.0.0/24 identifier 1 med 1")
    await g1.ask("global rib add 10.4.0.0/24 identifier 2 med 2")
    const paths = await lab.paths("10.4.0.0/24", ({ length }) => length === 2)
    t.same(paths.map(({ med }) => med).sort(), [1, 2])
    let last = ""
    await told("both go on", () => last, async () => {
      last = String(await g2.ask("neighbor 10.0.2.1 adj-in"))
      return last.match(/10\.4\.0\.0\/24/g)?.length === 2
    })
    await g1.ask("global rib del 10.4.0.0/24 identifier 1")
    t.match(await lab.paths("10.4.0.0/24", ({ length }) => length === 1), [{ med: 2 }])
    for (const community of ["no-export", "no-advertise"]) {
      await g1.ask(`global rib add 10.5.0.0/24 community ${community}`)
      await g1.ask("global rib add 10.6.0.0/24")
      t.match(await lab.paths("10.5.0.0/24", ([path]) => path?.communities.includes(community) === true), [{ best: true }])
      await route(g2, "10.6.0.0/24", /65002/)
      await route(g2, "10.5.0.0/24", /not in table/i)
      await g1.ask("global rib del 10.6.0.0/24")
      await lab.lacks("10.6.0.0/24")
    }
  })
})
