/** What weft and FRR tell each other besides routes: capabilities, refreshes, long messages. */
import t from "tap"
import { FrrLab, family, neighbor, router } from "./bgp-frr-lab.ts"
import { missingPeers } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const [f1, w1] = ["10.0.1.2", "10.0.1.1"]
const networks = ["10.1.0.0/24"]
const patienceMs = 120_000

/** FRR in AS 65002 with weft at `address` as its only neighbour. */
const frr = (lines: ReadonlyArray<string> = [], words: ReadonlyArray<string> = [], address = w1, asn = 65001): string =>
  router(65002, 1, neighbor(address, asn, ...lines),
    family("ipv4", ...["activate", ...words].map((word) => `neighbor ${address} ${word}`), "network 10.2.0.0/24"))

t.test("messages with FRR", { skip: needsRoot || missingPeers("frr") }, async (t) => {
  const lab = await FrrLab.start(t, "messages", 1)
  const weft = (session: object = {}, more: object = {}) =>
    ({ as: 65001, networks, neighbors: [{ peer: f1, as: 65002, ...session }], ...more })
  /** Routes went both ways in the session that there is now; one from the middle of FRR's configuration may have left some. */
  const exchanged = async (): Promise<void> => {
    await lab.frrPath("f1", "10.1.0.0/24", ({ stale }) => stale !== true)
    await lab.paths("10.2.0.0/24", (paths) => paths.some(({ best, stale }) => best && !stale))
  }

  await t.test("capabilities, timers and numbers agree on both sides", async (t) => {
    await lab.set(weft({ families: ["ipv4", "ipv6"], timers: { hold: "30s", keepalive: "10s", "connect-retry": "1s" } }), {
      f1: `${frr(["timers 4 12"])}\n${family("ipv6", `neighbor ${w1} activate`)}`
    })
    await exchanged()
    const [mine, theirs] = [(await lab.neighbor(f1))!, await lab.frrNeighbor("f1", w1)]
    t.match(theirs.neighborCapabilities, {
      "4byteAs": "advertisedAndReceived", extendedMessage: "advertisedAndReceived", routeRefresh: "advertisedAndReceivedNew",
      enhancedRouteRefresh: "advertisedAndReceived", gracefulRestart: "advertisedAndReceived",
      multiprotocolExtensions: { ipv4Unicast: { advertisedAndReceived: true }, ipv6Unicast: { advertisedAndReceived: true } }
    })
    for (const name of ["4-octet AS numbers", "extended messages", "route refresh", "enhanced route refresh", "graceful restart"]) {
      t.ok(mine.capabilities.includes(name), name)
    }
    t.equal(mine.holdTimeS, 12, "the lesser of both")
    t.equal(theirs.bgpTimerHoldTimeMsecs, 12_000)
    t.equal(mine.remoteRouterId, "10.255.1.1")
    t.equal(theirs.remoteRouterId, "10.255.0.1")
    t.match(mine, { remoteAs: 65002, localAs: 65001, localAddress: w1 })
    const text = await lab.weftd.weft(["bgp", `${lab.name}/weft`, "neighbors", f1])
    t.match(text.stdout, /Established/)
  })

  await t.test("route refresh and soft resets: routes are told again, the session stays", async (t) => {
    await lab.set(weft(), { f1: frr() })
    await exchanged()
    const refreshes = async (way: "Sent" | "Recv") =>
      ((await lab.frrNeighbor("f1", w1))["messageStats"] as Record<string, number>)[`routeRefresh${way}`]!
    const { establishedCount } = (await lab.neighbor(f1))!
    const { connectionsEstablished } = await lab.frrNeighbor("f1", w1)
    const [sent, received] = [await refreshes("Sent"), await refreshes("Recv")]
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", f1, "soft-in"])
    await until("FRR is asked", async () => (await refreshes("Recv")) > received, patienceMs)
    await lab.frr("f1").ask("clear bgp ipv4 unicast * soft in")
    await until("FRR asks", async () => (await refreshes("Sent")) > sent, patienceMs)
    // A policy that changes takes effect on both sides, without a new session.
    await lab.frr("f1").configure("route-map low permit 10\nset metric 5\nexit\nrouter bgp 65002\naddress-family ipv4 unicast\n" +
      `neighbor ${w1} route-map low in`)
    await lab.frrPath("f1", "10.1.0.0/24", ({ metric }) => metric === 5)
    await lab.weft(weft({ import: "high" }, { policies: { high: [{ permit: "any", set: { "local-preference": 500 } }] } }))
    await lab.paths("10.2.0.0/24", ([path]) => path?.localPref === 500)
    t.match(await lab.neighbor(f1), { state: "Established", establishedCount })
    t.equal((await lab.frrNeighbor("f1", w1)).connectionsEstablished, connectionsEstablished)
    await lab.inKernel("weft", "10.2.0.0/24", /via/)
    await lab.inKernel("f1", "10.1.0.0/24", /via/)
  })

  await t.test("enhanced refresh: what is not told again between its marks goes (RFC 7313)", async (t) => {
    await lab.set(weft(), { f1: frr() })
    await exchanged()
    const { establishedCount } = (await lab.neighbor(f1))!
    // FRR's answer to our request is marked at both ends; nothing is lost by it, and what it has withdrawn meanwhile is.
    await lab.frr("f1").configure("router bgp 65002\naddress-family ipv4 unicast\nnetwork 10.2.1.0/24")
    await lab.paths("10.2.1.0/24")
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", f1, "soft"])
    await lab.frr("f1").configure("router bgp 65002\naddress-family ipv4 unicast\nno network 10.2.1.0/24")
    await lab.paths("10.2.1.0/24", (paths) => paths.length === 0)
    await lab.frr("f1").ask("clear bgp ipv4 unicast * soft")
    await lab.weft({ ...weft(), networks: ["10.1.1.0/24"] })
    await lab.frrPath("f1", "10.1.1.0/24")
    await lab.frrLacks("f1", "10.1.0.0/24")
    t.match(await lab.paths("10.2.0.0/24"), [{ stale: false }])
    t.match(await lab.neighbor(f1), { establishedCount, state: "Established" })
  })

  await t.test("messages of more than 4096 octets", async (t) => {
    // 300 large communities: 3600 octets, and 200 of the ordinary ones.
    const large = Array.from({ length: 300 }, (_, i) => `65001:1:${i}`)
    const plain = Array.from({ length: 250 }, (_, i) => `65001:${i}`)
    await lab.set(
      {
        as: 65001,
        networks: [{ prefix: "10.1.0.0/24", policy: "wide" }],
        policies: { wide: [{ permit: "any", set: { community: [...large, ...plain] } }] },
        neighbors: [{ peer: f1, as: 65002 }]
      },
      { f1: frr() }
    )
    const path = await lab.frrPath("f1", "10.1.0.0/24")
    t.equal(path.largeCommunity!.string.split(" ").length, 300)
    t.equal(path.community!.string.split(" ").length, 250)
    const back = Array.from({ length: 340 }, (_, i) => `65002:7:${i}`)
    await lab.frr("f1").configure([
      "route-map wide permit 10", `set large-community ${back.slice(0, 170).join(" ")}`, "on-match next", "exit",
      "route-map wide permit 20", `set large-community ${back.slice(170).join(" ")} additive`, "exit",
      "router bgp 65002", "address-family ipv4 unicast", `neighbor ${w1} route-map wide out`
    ].join("\n"))
    const { establishedCount } = (await lab.neighbor(f1))!
    const [mine] = await lab.paths("10.2.0.0/24", ([path]) => path?.communities.length === 340)
    t.equal(mine!.communities.length, 340)
    t.match(await lab.neighbor(f1), { establishedCount, state: "Established" }, "still the same session")
  })

  await t.test("without capabilities it is plain BGP-4", async (t) => {
    await lab.set(weft(), { f1: frr(["dont-capability-negotiate"]) })
    await exchanged()
    // Until the session from before has ended, its routes and its capabilities are there.
    await until("the session is one without capabilities", async () => (await lab.neighbor(f1))?.capabilities.length === 0, 120_000)
    await exchanged()
    await lab.set(weft(), { f1: frr(["strict-capability-match"]) })
    await exchanged()
  })
})
