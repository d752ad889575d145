/** Sessions between weft and BIRD: how they are protected, found, limited and ended, what survives a restart of either, and BFD. */
import t from "tap"
import { birdOf, exportStatic, originate, session } from "./bgp-bird.ts"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { missingPeers, type Peer, startBird } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const one = addressesOf(1)
const theirs = originate("ipv4", ["10.2.0.0/24"])

t.test("sessions with BIRD", { skip: needsRoot || missingPeers("bird"), timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "birdsess", 2)
  const start = (...parts: ReadonlyArray<string>): Promise<Peer> =>
    lab.run("p1", (world, namespace) => startBird(world, namespace, birdOf(1, ...parts)))
  let bird = await start()
  const logs = (pattern: RegExp) => told(`BIRD logs ${pattern}`, () => bird.log().slice(-1500), () => pattern.test(bird.log()))
  const routes = async (): Promise<string> => String(await bird.ask("show route all").catch(() => ""))
  const sees = (pattern: RegExp) => {
    let last = ""
    return told(`BIRD sees ${pattern}`, () => last, async () => pattern.test((last = await routes())))
  }
  /** Both sides' words for one more session, which comes up and carries a route each way. */
  const agree = async (ours: object, options: string, more: object = {}, name = one.peer): Promise<void> => {
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, ...ours }] })
    await bird.configure(birdOf(1, theirs, session({ i: 1, as: 65002, options, ipv4: exportStatic, ...more })))
    await lab.up(name)
    await lab.paths("10.2.0.0/24")
    await sees(/10\.1\.0\.0\/24[^]*BGP\.as_path: 65001/)
  }

  await t.test("a password, and none without the same", async (t) => {
    await agree({ password: "secret" }, 'password "secret";')
    await bird.configure(birdOf(1, theirs, session({ i: 1, as: 65002, options: 'password "other";', ipv4: exportStatic })))
    await lab.is(one.peer, ({ state }) => state !== "Established")
    await lab.lacks("10.2.0.0/24")
    await agree({ password: "other" }, 'password "other";')
  })

  await t.test("packets from one hop away only", async (t) => {
    await agree({ "ttl-security": 1 }, "ttl security on;")
    t.match(await lab.neighbor(one.peer), { state: "Established" })
  })

  await t.test("between loopbacks over several hops", async () => {
    const loops = { local: "10.255.1.1", neighbor: "10.255.0.1" }
    const neighbors = [{ peer: "10.255.1.1", as: 65002, multihop: 3, "update-source": "10.255.0.1" }]
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors })
    await bird.configure(birdOf(1, theirs, "protocol static ways { ipv4; route 10.255.0.1/32 via 10.0.1.1; }",
      session({ i: 1, as: 65002, options: "multihop 3;", ipv4: `import all; export where proto = "own_ipv4";`, ...loops })))
    await lab.up("10.255.1.1")
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2 dev p1/)
    await lab.inKernel("p1", "10.1.0.0/24", /via 10\.0\.1\.1 dev weft/)
  })

  await t.test("either is passive", async () => {
    await agree({ passive: true }, "")
    await agree({}, "passive on;")
  })

  await t.test("weft takes whoever comes from a range, and so does BIRD", async (t) => {
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ range: "10.0.1.0/24", as: "external", limit: 2 }] })
    await bird.configure(birdOf(1, theirs, session({ i: 1, as: 65002, ipv4: exportStatic })))
    await told("weft has the session", () => undefined, async () =>
      (await lab.neighbors()).some(({ remoteAddress, state }) => remoteAddress === one.peer && state === "Established"))
    await lab.paths("10.2.0.0/24")
    await sees(/10\.1\.0\.0\/24/)
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002 }] })
    const dynamic = session({ i: 1, as: 65002, ipv4: exportStatic }).replace("neighbor 10.0.1.1 as", "neighbor range 10.0.1.0/24 as")
    await bird.configure(birdOf(1, theirs, dynamic))
    await lab.up(one.peer)
    await sees(/10\.1\.0\.0\/24/)
    t.match(String(await bird.ask("show protocols")), /dynbgp1/)
  })

  await t.test("the lesser hold time is kept by both", async (t) => {
    await agree({ timers: { hold: "30s", keepalive: "10s" } }, "")
    t.match(await lab.neighbor(one.peer), { holdTimeS: 9, keepaliveS: 3 })
    await agree({ timers: { hold: "6s", keepalive: "2s" } }, "")
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", one.peer])
    await lab.is(one.peer, ({ holdTimeS, state }) => state === "Established" && holdTimeS === 6)
    t.match(await lab.neighbor(one.peer), { holdTimeS: 6, keepaliveS: 2 })
    t.match(String(await bird.ask("show protocols all weft")), /Hold timer: +[\d.]+\/6/)
  })

  await t.test("more prefixes than weft takes, and than BIRD takes", async (t) => {
    const three = originate("ipv4", ["10.2.0.0/24", "10.2.1.0/24", "10.2.2.0/24"])
    const neighbor = { peer: one.peer, as: 65002 }
    await lab.weft({ networks: ["10.1.0.0/24", "10.1.1.0/24"], neighbors: [{ ...neighbor, "max-prefix": { count: 2, restart: 60 } }] })
    await bird.configure(birdOf(1, three, session({ i: 1, as: 65002, ipv4: exportStatic })))
    await logs(/Received: Maximum number of prefixes reached/)
    await lab.lacks("10.2.0.0/24", "10.2.1.0/24", "10.2.2.0/24")
    t.match(await lab.neighbor(one.peer), { state: /Idle/ })
    await lab.weft({ networks: ["10.1.0.0/24", "10.1.1.0/24"], neighbors: [{ peer: one.peer, as: 65002 }] })
    await bird.configure(birdOf(1, theirs, session({ i: 1, as: 65002, ipv4: `import limit 1 action disable; ${exportStatic}` })))
    await lab.is(one.peer, ({ lastReset }) => /the peer sent: Cease, Maximum Number of Prefixes Reached/.test(lastReset))
    await lab.lacks("10.2.0.0/24")
  })

  await t.test("a shutdown is told in words, both ways", async (t) => {
    await agree({}, "")
    await bird.ask('disable weft "cables are moved"')
    await lab.is(one.peer, ({ lastReset }) => /Administrative Shutdown: "cables are moved"/.test(lastReset))
    await lab.lacks("10.2.0.0/24")
    await bird.ask("enable weft")
    await lab.up(one.peer)
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, shutdown: true }] })
    await logs(/Received: Administrative shutdown/)
    t.notMatch(await routes(), /10\.1\.0\.0/)
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002 }] })
    await lab.up(one.peer)
    await lab.weftd.weft(["bgp", `${lab.name}/weft`, "reset", one.peer])
    await logs(/Received: Administrative reset/)
    await lab.up(one.peer)
  })

  await t.test("before maintenance routes are a last resort", async (t) => {
    await agree({}, "")
    await lab.weft({ networks: ["10.1.0.0/24"], "graceful-shutdown": true, neighbors: [{ peer: one.peer, as: 65002 }] })
    await sees(/10\.1\.0\.0\/24[^]*BGP\.community: \(65535,0\)/)
    await bird.configure(birdOf(1, originate("ipv4", ["10.2.0.0/24"], "bgp_community.add((65535,0)); accept;"),
      session({ i: 1, as: 65002, ipv4: exportStatic })))
    t.match(await lab.paths("10.2.0.0/24", ([path]) => path?.communities.includes("graceful-shutdown") === true), [{ localPref: 0 }])
  })

  const graceful = "graceful restart on; graceful restart time 4; long lived graceful restart on; long lived stale time 60;"

  await t.test("BIRD ends as in a crash: its routes stay, become a last resort, and are its own again", async (t) => {
    await agree({ "graceful-restart": { "restart-time": 60, "long-lived": 60 } }, graceful)
    await lab.stop(bird, true)
    await lab.paths("10.2.0.0/24", ([path]) => path?.stale === true)
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
    await lab.paths("10.2.0.0/24", ([path]) => path?.communities.includes("llgr-stale") === true)
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
    bird = await start(theirs, session({ i: 1, as: 65002, options: graceful, ipv4: exportStatic }))
    await lab.up(one.peer)
    t.match(await lab.paths("10.2.0.0/24", ([path]) => path?.stale === false), [{ best: true, communities: [] }])
  })

  await t.test("weft ends as in a crash: BIRD keeps its routes, as a last resort in the end, and has them again", async (t) => {
    const times = { "restart-time": 2, "long-lived": 60 }
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, "graceful-restart": times }] })
    await lab.up(one.peer)
    await sees(/10\.1\.0\.0\/24/)
    await lab.weftd.kill()
    await sees(/10\.1\.0\.0\/24/)
    t.match(lab.kernel("weft", "10.2.0.0/24"), /via 10\.0\.1\.2/)
    await sees(/10\.1\.0\.0\/24[^]*BGP\.community: \(65535,6\)/)
    t.match(lab.kernel("p1", "10.1.0.0/24"), /via 10\.0\.1\.1/)
    await lab.weftd.start()
    await lab.up(one.peer)
    await until("BIRD has the route itself", async () => /10\.1\.0\.0\/24/.test(await routes()) && !/65535,6/.test(await routes()))
    t.match(lab.kernel("weft", "10.2.0.0/24"), /via 10\.0\.1\.2/)
  })

  await t.test("BFD ends the session long before its hold time", async (t) => {
    const bfd = 'protocol bfd { interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }'
    const watched = { bfd: { interval: "50ms", multiplier: 3 }, "graceful-restart": false }
    await lab.weft({ networks: ["10.1.0.0/24"], neighbors: [{ peer: one.peer, as: 65002, ...watched }] })
    await bird.configure(birdOf(1, bfd, theirs, session({ i: 1, as: 65002, options: "bfd on; debug { events };", ipv4: exportStatic })))
    await lab.up(one.peer)
    await lab.is(one.peer, (neighbor) => neighbor.bfd === "up", "is watched")
    await told("BIRD's BFD is up", () => "", async () => / Up /.test(String(await bird.ask("show bfd sessions"))))
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
    const cut = "table netdev cut {\n chain way {\n type filter hook ingress device p1 priority 0; policy drop;\n }\n}\n"
    const began = performance.now()
    t.equal((await lab.world.run(lab.namespace("weft"), ["nft", "-f", "-"], cut)).code, 0)
    await lab.inKernel("weft", "10.2.0.0/24", /^$/)
    t.ok(performance.now() - began < 8500, "the hold time is 9 s")
    await logs(/weft: BFD session down/)
    t.match(await lab.neighbor(one.peer), { lastReset: /BFD/ })
    await lab.world.run(lab.namespace("weft"), ["nft", "delete", "table", "netdev", "cut"])
    await lab.up(one.peer)
    await lab.inKernel("weft", "10.2.0.0/24", /via 10\.0\.1\.2/)
  })

})
