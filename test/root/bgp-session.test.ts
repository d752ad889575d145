/** BGP sessions over real TCP in namespaces: between two of ours, and with those of FRR, BIRD, GoBGP and ExaBGP. */
import { readdirSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { DynamicSessions } from "../../daemon/bgp/session/dynamic.ts"
import { Transport } from "../../daemon/bgp/session/transport.ts"
import { Family } from "../../daemon/wire/bgp/iana.ts"
import { listen, neighborOf, pair, speakerOf, startSession, untilUp } from "./bgp-session-harness.ts"
import { missingPeers, type Peer, startBird, startExabgp, startFrr, startGobgp } from "./bgp-peers.ts"
import { needsRoot, until } from "./harness.ts"

const one = speakerOf(65001, "1.1.1.1", { hostname: "one" })
const two = speakerOf(65002, "2.2.2.2")
const to = (address: string, remoteAs: number | "external" | "internal", more: object = {}) =>
  neighborOf({ remote: { kind: "address", address }, remoteAs, ...more })

/** An UPDATE of `length` octets: withdrawn routes, which is what can be made of nothing. */
const updateOf = (withdrawn: number): Uint8Array => {
  const length = 23 + 4 * withdrawn
  const message = new Uint8Array(length).fill(0xff, 0, 16)
  message[16] = length >> 8
  message[17] = length & 0xff
  message[18] = 2
  message[19] = (4 * withdrawn) >> 8
  message[20] = (4 * withdrawn) & 0xff
  for (let i = 0; i < withdrawn; i++) message.set([24, 10, i >> 8, i & 0xff], 21 + 4 * i)
  return message
}

/** Sockets that this process has. */
const sockets = (): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`)
      return target.startsWith("socket:") ? [target] : []
    } catch {
      return []
    }
  })

t.test("sessions of ours", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const before = sockets()
  const [world, left, right] = pair("bgps")
  const a = new Transport(left.fd)
  const b = new Transport(right.fd)
  t.teardown(() => {
    a.close()
    b.close()
    world.close()
    const left = sockets().filter((name) => !before.includes(name))
    if (left.length > 0) throw new Error(`Left behind: ${left.join(" ")}`)
  })

  await t.test("come up when both connect at once, and carry messages both ways", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", 65002))
    const y = startSession(b, two, to("10.0.0.1", "external"))
    await untilUp("the session", [x.session, y.session])
    t.match(y.session.status(), { remoteAs: 65001, remoteId: "1.1.1.1", remoteHostname: "one", holdTimeS: 90, keepaliveS: 30 })
    t.ok(y.session.context!.asn4 && y.session.context!.isExternal && y.session.context!.families.has(Family.ipv4Unicast))
    x.session.send(updateOf(3))
    y.session.send(updateOf(900))
    await until("both messages are there", () => x.heard.updates.length === 1 && y.heard.updates.length === 1)
    t.strictSame([x.heard.updates[0], y.heard.updates[0]], [updateOf(900), updateOf(3)])
    const expected = { sent: { update: 1, open: Number }, received: { update: 1 }, remotePort: Number, localAddress: "10.0.0.1" }
    t.match(x.session.status(), expected)
    x.session.close()
    await until("the other has heard", () => y.heard.downs.length === 1)
    t.match(y.heard.downs[0], { kind: "notification-received", text: "the peer sent: Cease, Peer De-configured" })
    y.session.close()
  })

  await t.test("tell a text at shutdown, and start again", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", 65002))
    const y = startSession(b, two, to("10.0.0.1", 65001), { idleHoldS: 0.05 })
    await untilUp("the session", [x.session, y.session])
    x.session.shutdown("maintenance until noon")
    await until("the other has heard", () => y.heard.downs.length === 1)
    t.match(y.session.status().lastReceived, { text: 'Cease, Administrative Shutdown: "maintenance until noon"' })
    t.match(x.session.status().lastSent, { text: 'Cease, Administrative Shutdown: "maintenance until noon"' })
    x.session.start()
    await untilUp("the session again", [x.session, y.session])
    y.session.reset("administrative", 0)
    await until("it is down", () => x.heard.downs.length === 2)
    await untilUp("the session for the third time", [x.session, y.session])
    x.session.bfd("down")
    t.match(x.heard.downs[2], { kind: "bfd" })
    await until("the other has heard", () => y.heard.downs.at(-1)?.text === "the peer sent: Cease, BFD Down")
    x.session.bfd("up")
    await untilUp("the session after BFD", [x.session, y.session])
    x.session.close()
    y.session.close()
  })

  await t.test("say which OPEN is refused, and why", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", 65009), { idleHoldS: 30 })
    const y = startSession(b, two, to("10.0.0.1", 65001), { idleHoldS: 30 })
    await until("the OPEN is refused", () => y.session.status().lastReceived !== undefined)
    t.equal(y.session.status().lastReceived!.text, "OPEN Message Error, Bad Peer AS")
    t.match(x.session.status().lastError, /OPEN Message Error, Bad Peer AS/)
    x.session.close()
    y.session.close()
  })

  const kinds: ReadonlyArray<readonly [string, object, object, string, string]> = [
    ["over IPv6", {}, {}, "2001:db8::1", "2001:db8::2"],
    ["with MD5", { password: "secret" }, { password: "secret" }, "10.0.0.1", "10.0.0.2"],
    ["with MD5 over IPv6", { password: "secret" }, { password: "secret" }, "2001:db8::1", "2001:db8::2"],
    ["with GTSM", { ttlSecurity: 1 }, { ttlSecurity: 1 }, "10.0.0.1", "10.0.0.2"],
    ["with GTSM over IPv6", { ttlSecurity: 1 }, { ttlSecurity: 1 }, "2001:db8::1", "2001:db8::2"],
    ["to a passive one", { passive: true }, {}, "10.0.0.1", "10.0.0.2"],
    ["between loopbacks", { multihop: 5, updateSource: "192.0.2.1" }, { multihop: 5, updateSource: "192.0.2.2" }, "192.0.2.1", "192.0.2.2"]
  ]
  for (const [name, ofOne, ofTwo, first, second] of kinds) {
    await t.test(`come up ${name}`, async (t) => {
      const x = startSession(a, one, to(second, 65002, ofOne))
      const y = startSession(b, two, to(first, 65001, ofTwo))
      await untilUp("the session", [x.session, y.session])
      t.equal(y.heard.downs.length, 0)
      x.session.close()
      y.session.close()
    })
  }

  await t.test("do not come up with another password, nor through GTSM from too far away", async (t) => {
    for (const [ofOne, ofTwo] of [[{ password: "secret" }, { password: "wrong" }], [{ ttlSecurity: 1 }, { multihop: 200 }]]) {
      const x = startSession(a, one, to("10.0.0.2", 65002, ofOne))
      const y = startSession(b, two, to("10.0.0.1", 65001, ofTwo))
      const end = performance.now() + 1500
      await until("some time has passed", () => performance.now() > end)
      t.notOk(x.heard.established || y.heard.established)
      x.session.close()
      y.session.close()
    }
  })

  await t.test("come up for peers out of a prefix, up to the limit, and are forgotten", async (t) => {
    const [callbacks, heard] = listen()
    const created: string[] = []
    const group = new DynamicSessions({
      transport: a,
      speaker: one,
      neighbor: neighborOf({ remote: { kind: "prefix", prefix: "10.0.0.0/24", limit: 1 }, remoteAs: "external", password: "secret" }),
      callbacks,
      created: (session) => created.push(session.neighbor.name)
    })
    group.start()
    const y = startSession(b, two, to("10.0.0.1", 65001, { password: "secret" }), { idleHoldS: 30 })
    await untilUp("the session", [y.session])
    await until("ours is up", () => heard.established === 1)
    t.strictSame(created, ["10.0.0.2"])
    y.session.close()
    await until("it is forgotten", () => group.sessions.length === 0)
    t.equal(heard.downs.length, 1)
    group.close()
  })

  await t.test("find each other on an interface", async (t) => {
    const x = startSession(a, one, neighborOf({ remote: { kind: "interface", ifname: "eth0" }, remoteAs: "external" }))
    const y = startSession(b, two, neighborOf({ remote: { kind: "interface", ifname: "eth0" }, remoteAs: "external" }))
    await untilUp("the session", [x.session, y.session])
    t.match(x.session.remoteAddress, /^fe80::/)
    t.ok(x.session.context!.extendedNextHop(Family.ipv4Unicast))
    x.session.close()
    y.session.close()
  })

  await t.test("keep what they send bounded, and cut a peer that does not read", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", 65002), { sendHoldS: 2 })
    let isStuck = true
    const y = startSession(b, two, to("10.0.0.1", 65001), { on: { update: () => (isStuck ? false : undefined) }, idleHoldS: 30 })
    await untilUp("the session", [x.session, y.session])
    const message = updateOf(900)
    let sent = 0
    const fill = (): void => {
      for (; x.session.hasRoom(); sent++) x.session.send(message)
    }
    fill()
    await until("the send hold time is over", () => {
      fill()
      return x.heard.downs.length === 1
    })
    t.equal(x.heard.downs[0]!.kind, "send-hold-timer")
    t.match(x.session.status().lastSent, { text: "Send Hold Timer Expired" })
    t.ok(sent > 60, `${sent} messages`)
    isStuck = false
    x.session.close()
    y.session.close()
  })

  await t.test("lose nothing when the reader pauses and goes on", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", 65002))
    let count = 0
    const y = startSession(b, two, to("10.0.0.1", 65001), {
      on: {
        update: (session) => {
          if (++count % 1000 !== 0) return undefined
          setImmediate(() => session.resume())
          return false
        }
      }
    })
    await untilUp("the session", [x.session, y.session])
    const message = updateOf(20)
    let sent = 0
    await until("all is there", () => {
      for (; sent < 50_000 && x.session.hasRoom(); sent++) x.session.send(message)
      return count === 50_000
    })
    t.ok(x.heard.rooms > 0, "room was told of")
    t.equal(y.session.status().received.update, 50_000)
    x.session.close()
    y.session.close()
  })

  await t.test("expire when nothing is heard for the hold time", async (t) => {
    const timers = { holdTimeS: 3, keepaliveS: 1, connectRetryS: 5, mraiMs: 0 }
    const x = startSession(a, one, to("10.0.0.2", 65002, { timers }))
    const y = startSession(b, two, to("10.0.0.1", 65001, { timers }), { idleHoldS: 30 })
    await untilUp("the session", [x.session, y.session])
    await world.run(left, ["ip", "link", "set", "eth0", "down"])
    await until("both have given up", () => x.heard.downs.length === 1 && y.heard.downs.length === 1)
    t.match([x.heard.downs[0]!.kind, y.heard.downs[0]!.kind], ["hold-timer", "hold-timer"])
    await world.run(left, ["ip", "link", "set", "eth0", "up"])
    x.session.close()
    y.session.close()
  })
})

/** What a peer says of the session with 10.0.0.1 in its own words, when it is up. */
const frrUp = async (frr: Peer, neighbor: string): Promise<boolean> => {
  const summary = (await frr.ask("show bgp summary json")) as any
  return Object.values(summary).some((family: any) => family.peers?.[neighbor]?.state === "Established")
}

t.test("two processes that connect to each other at once agree on one connection", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const [world, left, right] = pair("bgpc")
  const a = new Transport(left.fd)
  const other = world.spawn([process.execPath, join(import.meta.dirname, "bgp-session-other.ts"), right.path])
  const ended = new Promise((done) => other.once("close", done))
  t.teardown(async () => {
    a.close()
    other.stdin!.end()
    await ended
    world.close()
  })
  for (const id of ["1.1.1.1", "3.3.3.3"]) {
    const x = startSession(a, speakerOf(65001, id), to("10.0.0.2", 65002), { idleHoldS: 0.002, idleHoldMaxS: 0.002 })
    await untilUp("the session", [x.session])
    const cycles = 25
    for (let i = 0; i < cycles; i++) {
      x.session.reset("hard", 0.002 + (i % 5) * 0.0005)
      await untilUp("the session again", [x.session])
      // A verdict that differs comes within a round trip.
      const settled = performance.now() + 30
      await until("it has settled", () => performance.now() > settled)
    }
    t.equal(x.heard.downs.length, cycles, "no end but those that were asked for")
    x.session.close()
  }
})

t.test("sessions with FRR", { skip: needsRoot || missingPeers("frr"), timeout: 600_000 }, async (t) => {
  const [world, left, right] = pair("bgpf")
  const a = new Transport(left.fd)
  t.teardown(() => {
    a.close()
    world.close()
  })
  const frr = await startFrr(world, right, `
router bgp 4200000002
 bgp router-id 2.2.2.2
 no bgp ebgp-requires-policy
 timers bgp 3 9
 neighbor 10.0.0.1 remote-as 65001
 neighbor 10.0.0.1 timers connect 1
 neighbor 10.0.0.1 capability extended-nexthop
`)
  const asn = 4200000002

  await t.test("come up with a 4-octet AS, and hear why FRR ends them", async (t) => {
    const x = startSession(a, one, to("10.0.0.2", asn), { idleHoldS: 0.2 })
    await untilUp("the session", [x.session])
    t.match(x.session.status(), { remoteAs: asn, remoteId: "2.2.2.2", holdTimeS: 9, keepaliveS: 3 })
    t.ok(x.session.context!.asn4)
    await frr.configure(`router bgp ${asn}\n neighbor 10.0.0.1 shutdown message tea time`)
    await until("it is down", () => x.heard.downs.length === 1)
    t.match(x.session.status().lastReceived, { text: 'Cease, Administrative Shutdown: "tea time"' })
    await frr.configure(`router bgp ${asn}\n no neighbor 10.0.0.1 shutdown`)
    await untilUp("the session again", [x.session])
    x.session.shutdown("gone fishing")
    await until("FRR has heard", async () => /Administrative Shutdown/.test(String(await frr.ask("show bgp neighbors 10.0.0.1"))))
    x.session.close()
  })

  await t.test("come up with MD5, GTSM, as passive ones and over IPv6", async (t) => {
    const kinds: ReadonlyArray<readonly [string, object, string]> = [
      ["password secret", { password: "secret" }, "no neighbor 10.0.0.1 password"],
      ["ttl-security hops 1", { ttlSecurity: 1 }, "no neighbor 10.0.0.1 ttl-security hops 1"],
      ["passive", {}, "no neighbor 10.0.0.1 passive"],
      ["description none", { passive: true }, "no neighbor 10.0.0.1 description"]
    ]
    for (const [line, more, undo] of kinds) {
      await frr.configure(`router bgp ${asn}\n neighbor 10.0.0.1 ${line}`)
      const x = startSession(a, one, to("10.0.0.2", asn, more), { idleHoldS: 0.2 })
      await untilUp(`the session, ${line}`, [x.session])
      t.ok(await frrUp(frr, "10.0.0.1"), line)
      x.session.close()
      await frr.configure(`router bgp ${asn}\n ${undo}`)
    }
    await frr.configure(`router bgp ${asn}\n neighbor 2001:db8::1 remote-as 65001\n neighbor 2001:db8::1 timers connect 1`)
    const x = startSession(a, one, to("2001:db8::2", asn), { idleHoldS: 0.2 })
    await untilUp("the session over IPv6", [x.session])
    t.ok(await frrUp(frr, "2001:db8::1"))
    x.session.close()
  })

  await t.test("come up within an AS, over several hops", async (t) => {
    const lines = [`remote-as ${asn}`, "update-source 192.0.2.2", "timers connect 1"].map((line) => ` neighbor 192.0.2.1 ${line}`)
    await frr.configure(`router bgp ${asn}\n${lines.join("\n")}`)
    const x = startSession(a, speakerOf(asn, "1.1.1.1"), to("192.0.2.2", "internal", { updateSource: "192.0.2.1" }), { idleHoldS: 0.2 })
    await untilUp("the session", [x.session])
    t.notOk(x.session.context!.isExternal)
    x.session.close()
  })

  await t.test("find FRR on an interface, and FRR finds us", async (t) => {
    await frr.configure(`router bgp ${asn}\n neighbor eth0 interface remote-as external\n neighbor eth0 timers connect 1`)
    const x = startSession(a, one, neighborOf({ remote: { kind: "interface", ifname: "eth0" }, remoteAs: "external" }), { idleHoldS: 0.2 })
    await untilUp("the session", [x.session])
    t.ok(await frrUp(frr, "eth0"))
    t.ok(x.session.context!.extendedNextHop(Family.ipv4Unicast))
    x.session.close()
    await frr.configure(`router bgp ${asn}\n no neighbor eth0 interface`)
  })

  await t.test("keep FRR's routes when it crashes, and renew them when it is back", async (t) => {
    await frr.configure(`router bgp ${asn}\n bgp graceful-restart\n neighbor 10.0.0.1 timers connect 1`)
    const gracefulRestart = { enabled: true, restartTimeS: 60, longLivedStaleS: 0, notification: true }
    const x = startSession(a, one, to("10.0.0.2", asn, { gracefulRestart }), { idleHoldS: 0.2 })
    await untilUp("the session", [x.session])
    await until("its End-of-RIB", () => x.heard.updates.some(({ length }) => length === 23))
    await frr.stop(true)
    await until("it is down", () => x.heard.downs.length === 1)
    t.match(x.heard.downs[0], { kind: "connection-lost", retain: [Family.ipv4Unicast] })
    t.strictSame(x.session.status().staleFamilies, [[Family.ipv4Unicast, "stale"]])
    x.session.close()
  })
})

t.test("sessions with BIRD", { skip: needsRoot || missingPeers("bird"), timeout: 600_000 }, async (t) => {
  const [world, left, right] = pair("bgpb")
  const a = new Transport(left.fd)
  t.teardown(() => {
    a.close()
    world.close()
  })
  const configuration = (line: string): string => `
    router id 2.2.2.2;
    protocol device {}
    protocol bgp peer { local 10.0.0.2 as 4200000002; neighbor 10.0.0.1 as 65001; connect delay time 1; error wait time 1, 2; ${line}
      ipv4 { import all; export all; add paths on; extended next hop on; }; }`
  const bird = await startBird(world, right, configuration(""))
  const birdUp = async (): Promise<boolean> => /Established/.test(String(await bird.ask("show protocols")))
  const kinds: ReadonlyArray<readonly [string, object]> = [
    ["", {}],
    ['password "secret";', { password: "secret" }],
    ["ttl security on;", { ttlSecurity: 1 }],
    ["passive on;", {}],
    ["hold time 30;", { passive: true }],
    ["enable extended messages on;", { families: [{ family: "ipv4", addPath: { receive: true, send: 4 } }] }]
  ]
  for (const [line, more] of kinds) {
    await bird.configure(configuration(line))
    const x = startSession(a, one, to("10.0.0.2", 4200000002, more), { idleHoldS: 0.2 })
    await untilUp(`the session, ${line}`, [x.session])
    await until("BIRD says so", birdUp)
    t.equal(x.session.context!.addPathReceive(Family.ipv4Unicast), line.includes("extended messages"))
    t.equal(x.session.context!.extendedMessage, line.includes("extended messages"))
    x.session.close()
    t.pass(line)
  }
  const x = startSession(a, one, to("10.0.0.2", 4200000002), { idleHoldS: 0.2 })
  await untilUp("the session", [x.session])
  await bird.ask("disable peer")
  await until("it is down", () => x.heard.downs.length === 1)
  t.match(x.heard.downs[0]!.text, /the peer sent: Cease, Administrative Shutdown/)
  x.session.close()
  await bird.stop()
})

t.test("sessions with GoBGP and ExaBGP", { skip: needsRoot || missingPeers("gobgp", "exabgp"), timeout: 600_000 }, async (t) => {
  const [world, left, right] = pair("bgpg")
  const a = new Transport(left.fd)
  t.teardown(() => {
    a.close()
    world.close()
  })
  const gobgp = await startGobgp(world, right, `
    [global.config]
      as = 4200000002
      router-id = "2.2.2.2"
    [[neighbors]]
      [neighbors.config]
        neighbor-address = "10.0.0.1"
        peer-as = 65001
        auth-password = "secret"
      [neighbors.timers.config]
        connect-retry = 1
        hold-time = 9
        keepalive-interval = 3
  `)
  const x = startSession(a, one, to("10.0.0.2", 4200000002, { password: "secret" }), { idleHoldS: 0.2 })
  await untilUp("the session with GoBGP", [x.session], 120_000)
  t.match(x.session.status(), { remoteAs: 4200000002, holdTimeS: 9 })
  await gobgp.ask("neighbor 10.0.0.1 shutdown --reason lunch").catch(() => gobgp.ask("neighbor 10.0.0.1 shutdown"))
  await until("it is down", () => x.heard.downs.length === 1)
  t.match(x.heard.downs[0]!.text, /the peer sent: Cease, Administrative Shutdown/)
  x.session.close()
  await gobgp.stop()

  const y = startSession(a, one, to("10.0.0.2", 65002), { idleHoldS: 0.2 })
  const exabgp = await startExabgp(world, right, `neighbor 10.0.0.1 {
    router-id 2.2.2.2; local-address 10.0.0.2; local-as 65002; peer-as 65001; hold-time 30; family { ipv4 unicast; }
  }`)
  await untilUp("the session with ExaBGP", [y.session], 120_000)
  await exabgp.ask("announce route 198.51.100.0/24 next-hop 10.0.0.2")
  await until("the route is there", () => y.heard.updates.some(({ length }) => length > 23))
  // ExaBGP 4.2 fails on the text of a shutdown (RFC 9003), so there is none.
  y.session.shutdown("")
  await until("ExaBGP has heard", async () => /"down"/.test(JSON.stringify(await exabgp.ask("events"))))
  t.match(JSON.stringify(await exabgp.ask("events")), /notification received \(6,2\)/)
  y.session.close()
  await exabgp.stop()
})
