/**
 * Peers that behave badly, by real TCP in a node: streams in any pieces, rubbish, floods of connections and OPENs, peers that are slow or
 * take nothing. The right NOTIFICATION each time; the speaker and its session with p2 do not notice.
 *
 *     p1 (raw, AS 65002, many addresses) -- weft (65001) -- p2 (raw, AS 65003, well-behaved)
 */
import { readFileSync } from "node:fs"
import t, { type Test } from "tap"
import { encodeKeepalive } from "../../daemon/wire/bgp/header.ts"
import { Family, MessageType } from "../../daemon/wire/bgp/iana.ts"
import * as RouteRefresh from "../../daemon/wire/bgp/route-refresh.ts"
import { scanUpdate, UpdateScan } from "../../daemon/wire/bgp/update.ts"
import { forEachPrefix, prefixText } from "../../daemon/wire/bgp/nlri.ts"
import { makeContext } from "../../daemon/wire/bgp/context.ts"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { asPath, communities, message, nextHop, openOf, origin, RawPeer, update } from "./bgp-raw-peer.ts"
import { ipBatch, needsRoot, until } from "./harness.ts"

const [one, two] = [addressesOf(1), addressesOf(2)]
const bad = { from: one.peer, to: one.weft, asn: 65002 }
const good = { from: two.peer, to: two.weft, asn: 65003, holdTimeS: 9 }
const keepalive = encodeKeepalive()
const base = (address: string, asn = 65002) => [origin, asPath(asn), nextHop(address)]
const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))
const turn = (): Promise<void> => new Promise((next) => setImmediate(next))

const context = makeContext({ asn4: true, isExternal: true })

/** The prefixes that weft has told this peer and not withdrawn. */
const heldBy = (peer: RawPeer): ReadonlySet<string> => {
  const held = new Set<string>()
  const scan = new UpdateScan()
  for (const { octets, type } of peer.messages) {
    if (type !== MessageType.update || scanUpdate(octets, 0, octets.length, context, scan) !== undefined) continue
    const text = (bits: number, at: number): string => prefixText(Family.ipv4Unicast, octets, at, bits)
    forEachPrefix(octets, scan.withdrawnAt, scan.withdrawnEnd, false, (_, bits, at) => void held.delete(text(bits, at)))
    forEachPrefix(octets, scan.nlriAt, scan.nlriEnd, false, (_, bits, at) => void held.add(text(bits, at)))
  }
  return held
}

t.test("bad peers", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "bad", 2)
  await lab.weft({
    networks: ["10.1.0.0/24"],
    neighbors: [{ range: "10.0.1.0/24", as: "external", limit: 20 }, { peer: two.peer, as: 65003, passive: true }]
  })
  const calm = await RawPeer.establish(lab.namespace("p2"), good)
  const beats = setInterval(() => calm.keepalive(), 2000)
  t.teardown(() => clearInterval(beats))
  calm.send(update({ attributes: base(two.peer, 65003), nlri: ["10.9.0.0/24"] }))
  await until("weft tells its network", () => heldBy(calm).has("10.1.0.0/24"))
  const node = lab.namespace("p1")
  const dynamic = async () => (await lab.neighbors()).filter(({ name }) => name.startsWith("10.0.1.") && !name.includes("/"))
  const memory = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.weftd.pid}/status`, "utf8"))![1]) / 1024
  const descriptors = (): number => [...lab.weftd.descriptors().values()].reduce((sum, count) => sum + count, 0)

  /** A test of bad peers, all of which are gone afterwards; p2 has its first session still. */
  const test = (name: string, body: (t: Test) => Promise<void>) =>
    t.test(name, async (t) => {
      await body(t)
      t.match(await lab.neighbor(two.peer), { state: "Established", establishedCount: 1 }, "p2's session does not notice")
      t.ok(calm.isOpen)
      await told("nobody else is there", () => undefined, async () => (await dynamic()).length === 0)
    })

  await test("a session whose octets come one by one", async (t) => {
    const peer = await RawPeer.dial(node, bad)
    const stream = join(openOf(bad), keepalive, update({ attributes: base(one.peer), nlri: ["10.40.0.0/24"] }), keepalive)
    for (const octet of stream) {
      peer.send(Uint8Array.of(octet))
      await turn()
    }
    await until("p2 has the route", () => heldBy(calm).has("10.40.0.0/24"))
    t.equal(peer.notification, undefined)
    peer.close()
    await until("p2 loses the route", () => !heldBy(calm).has("10.40.0.0/24"))
  })

  await test("a stream that is split at each octet, and one that is cut there", async (t) => {
    const sent = update({ attributes: [...base(one.peer), communities([1, 2])], nlri: ["10.41.0.0/24", "10.42.0.0/16"] })
    const peer = await RawPeer.establish(node, bad)
    for (let at = 1; at < sent.length; at++) {
      peer.send(sent.subarray(0, at))
      await turn()
      peer.send(join(sent.subarray(at), update({ withdrawn: ["10.41.0.0/24"] })))
      await turn()
    }
    peer.send(update({ attributes: base(one.peer), nlri: ["10.43.0.0/24"] }))
    await until("all has been read", () => heldBy(calm).has("10.43.0.0/24"))
    t.notOk(heldBy(calm).has("10.41.0.0/24"))
    t.ok(heldBy(calm).has("10.42.0.0/16"))
    t.equal(peer.notification, undefined)
    peer.close()
    const stream = join(openOf(bad), keepalive, sent)
    for (let at = 0; at < stream.length; at++) {
      const cut = await RawPeer.dial(node, bad)
      cut.send(stream.subarray(0, at))
      cut.close()
    }
    await until("nothing is left of it", async () => (await dynamic()).length === 0 && !heldBy(calm).has("10.42.0.0/16"))
  })

  await test("what is no BGP, or not now, gets the right NOTIFICATION", async (t) => {
    const text = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: example\r\n\r\n")
    const noise = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919 + (i >> 3)) & 0xff)
    const early = update({ withdrawn: ["10.0.0.0/8"] })
    const changed = (octets: Uint8Array, at: number, ...values: ReadonlyArray<number>): Uint8Array => {
      const copy = octets.slice()
      copy.set(values, at)
      return copy
    }
    const open = openOf({ ...bad, capabilities: [{ kind: "enhancedRouteRefresh" }] })
    const opens: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
      ["HTTP", text, /^Message Header Error, Connection Not Synchronized/],
      ["noise", noise, /^Message Header Error, Connection Not Synchronized/],
      ["a length of 18", changed(keepalive, 16, 0, 18), /^Message Header Error, Bad Message Length/],
      ["a KEEPALIVE of 20 octets", join(open, message(MessageType.keepalive, [0])), /^Message Header Error, Bad Message Length/],
      ["a length of 4097", join(open, keepalive, changed(early, 16, 0x10, 0x01)), /^Message Header Error, Bad Message Length/],
      ["type 0", changed(keepalive, 18, 0), /^Message Header Error, Bad Message Type/],
      ["version 5", changed(open, 19, 5), /^OPEN Message Error, Unsupported Version Number/],
      ["AS 0", openOf({ ...bad, asn: 0 }), /^OPEN Message Error, Bad Peer AS/],
      ["our own AS", openOf({ ...bad, asn: 65001 }), /^OPEN Message Error, Bad Peer AS/],
      ["a hold time of 1 s", openOf({ ...bad, holdTimeS: 1 }), /^OPEN Message Error, Unacceptable Hold Time/],
      ["UPDATE before OPEN", early, /^Finite State Machine Error/],
      ["UPDATE before KEEPALIVE", join(open, early), /^Finite State Machine Error/],
      ["a second OPEN", join(open, keepalive, open), /^Finite State Machine Error/],
      ["a mark of a refresh of 24 octets", join(open, keepalive, message(MessageType.routeRefresh, [0, 1, 1, 1, 0])),
        /^ROUTE-REFRESH Message Error, Invalid Message Length/]
    ]
    for (const [what, octets, expected] of opens) {
      const peer = await RawPeer.dial(node, bad)
      peer.send(octets)
      await until(`${what} is answered`, () => peer.ended !== undefined)
      t.match(peer.notification, expected, what)
      peer.close()
      await until("it is forgotten", async () => (await dynamic()).length === 0)
    }
  })

  await test("refresh as RFC 7313 has it: what was not told again between the marks is gone", async (t) => {
    const peer = await RawPeer.establish(node, { ...bad, capabilities: [{ kind: "enhancedRouteRefresh" }] })
    peer.send(update({ attributes: base(one.peer), nlri: ["10.44.0.0/24", "10.45.0.0/24"] }))
    await until("p2 has both", () => heldBy(calm).has("10.44.0.0/24") && heldBy(calm).has("10.45.0.0/24"))
    const mark = (subtype: number): Uint8Array => RouteRefresh.encode({ family: Family.ipv4Unicast, subtype })
    const again = update({ attributes: base(one.peer), nlri: ["10.44.0.0/24"] })
    peer.send(join(mark(RouteRefresh.Subtype.beginning), again, mark(RouteRefresh.Subtype.end)))
    await until("p2 has one", () => !heldBy(calm).has("10.45.0.0/24"))
    t.ok(heldBy(calm).has("10.44.0.0/24"))
    const updates = peer.count(MessageType.update)
    peer.send(mark(RouteRefresh.Subtype.request))
    await until("the end is marked", () => peer.messages.filter(({ type }) => type === MessageType.routeRefresh).length === 2)
    const subtypes = peer.messages.filter(({ type }) => type === MessageType.routeRefresh).map(({ octets }) => octets[21])
    t.same(subtypes, [RouteRefresh.Subtype.beginning, RouteRefresh.Subtype.end])
    t.ok(peer.count(MessageType.update) > updates, "and routes between")
    peer.close()
  })

  await test("many connections at once from where one is allowed, and from where none is", async (t) => {
    const before = descriptors()
    const all = Array.from({ length: 300 }, () => RawPeer.start(node, bad))
    await until("all but one are ended", () => all.filter(({ isOpen }) => isOpen).length <= 2)
    t.ok(descriptors() - before < 50, `${descriptors() - before} descriptors more`)
    const strange = Array.from({ length: 100 }, () => RawPeer.start(lab.namespace("p2"), { from: "10.255.1.2", to: two.weft }))
    await until("strangers are turned away", () => strange.every(({ isOpen }) => !isOpen))
    for (const peer of [...all, ...strange]) peer.close()
    await until("nobody is left", async () => (await dynamic()).length === 0 && descriptors() <= before + 2)
  })

  await test("OPENs from more of a range than there may be", async (t) => {
    ipBatch(node, Array.from({ length: 60 }, (_, i) => `addr add 10.0.1.${100 + i}/24 dev weft`))
    const all = Array.from({ length: 60 }, (_, i) => ({ ...bad, from: `10.0.1.${100 + i}` })).map((options) => {
      const peer = RawPeer.start(node, options)
      peer.send(join(openOf(options), keepalive))
      return peer
    })
    await told("20 are let in", () => all.map(({ ended }) => ended ?? "in"), async () =>
      all.filter(({ isOpen }) => !isOpen).length === 40 && (await dynamic()).filter(({ state }) => state === "Established").length === 20)
    t.ok(all.every((peer) => peer.isOpen || peer.count(MessageType.open) === 0), "others hear no word")
    for (const peer of all) peer.close()
    await until("they are forgotten", async () => (await dynamic()).length === 0)
    const again = await RawPeer.establish(node, { ...bad, from: "10.0.1.155" })
    t.ok(again.isOpen, "and the next comes in")
    again.close()
  })

  await test("a peer that reads nothing while routes change costs bounded memory, and the others their time never", async (t) => {
    const stuck = await RawPeer.establish(node, { ...bad, from: "10.0.1.150" })
    const source = await RawPeer.establish(node, { ...bad, from: "10.0.1.151" })
    stuck.deafen()
    const alive = setInterval(() => stuck.keepalive(), 2000)
    t.teardown(() => clearInterval(alive))
    const before = memory()
    const many = Array.from({ length: 50 }, (_, i) => [65002, i] as const)
    const prefix = (i: number): string => `100.${64 + (i >> 8)}.${i & 255}.0/24`
    const networks = 3000
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < networks; i++) {
        source.send(update({ attributes: [...base("10.0.1.151"), communities(...many, [round, i])], nlri: [prefix(i)] }))
      }
      await until("weft takes it", () => source.queued === 0)
    }
    source.send(update({ attributes: base("10.0.1.151"), nlri: ["10.46.0.0/24"] }))
    await until("p2 has the last route", () => heldBy(calm).has("10.46.0.0/24"))
    t.ok(memory() - before < 250, `${before.toFixed()} MiB before, ${memory().toFixed()} after`)
    t.match((await dynamic()).find(({ name }) => name === "10.0.1.150"), { state: "Established" }, "nobody waited for it")
    clearInterval(alive)
    for (const peer of [stuck, source]) peer.close()
    await until("the routes go", () => !heldBy(calm).has("10.46.0.0/24") && !heldBy(calm).has(prefix(0)))
  })

  await test("a peer that falls silent is told so when its time is up", async (t) => {
    const silent = await RawPeer.establish(node, { ...bad, holdTimeS: 3 })
    silent.send(update({ attributes: base(one.peer), nlri: ["10.47.0.0/24"] }))
    await until("p2 has the route", () => heldBy(calm).has("10.47.0.0/24"))
    await until("it is told", () => silent.notification !== undefined)
    t.match(silent.notification, /^Hold Timer Expired/)
    await until("p2 loses the route", () => !heldBy(calm).has("10.47.0.0/24"))
    silent.close()
  })
})
