/**
 * weft and ExaBGP; and what a peer that says odd things, with the test's own client in p1, makes weft tell ExaBGP in p2.
 *
 *     p1 (raw, AS 65002) -- weft (65001) -- p2 (ExaBGP, AS 65003)
 */
import { readFileSync } from "node:fs"
import t from "tap"
import { addressesOf, PeerLab, told } from "./bgp-peer-lab.ts"
import { missingPeers, type Peer, startExabgp } from "./bgp-peers.ts"
import { asPath, attribute, communities, nextHop, origin, RawPeer, update } from "./bgp-raw-peer.ts"
import { needsRoot, until } from "./harness.ts"

const [one, two] = [addressesOf(1), addressesOf(2)]
const raw = { from: one.peer, to: one.weft, asn: 65002 }
const base = [origin, asPath(65002), nextHop(one.peer)]

interface Event {
  readonly type: string
  readonly neighbor?: { readonly state?: string; readonly message?: { readonly update?: Update }; readonly notification?: unknown }
}
interface Update {
  readonly attribute?: Readonly<Record<string, unknown>>
  readonly announce?: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<{ readonly nlri: string }>>>>>
  readonly withdraw?: Readonly<Record<string, ReadonlyArray<{ readonly nlri: string }>>>
}
type Seen = Readonly<Record<string, unknown>> & { readonly nextHop: string }

/** What ExaBGP holds of weft's by now: prefix and what came with it. */
const heldBy = async (exabgp: Peer): Promise<ReadonlyMap<string, Seen>> => {
  const held = new Map<string, Seen>()
  for (const { neighbor, type } of (await exabgp.ask("events")) as ReadonlyArray<Event>) {
    if (type === "state" && neighbor?.state !== "up") held.clear()
    const { announce = {}, attribute = {}, withdraw = {} } = neighbor?.message?.update ?? {}
    for (const list of Object.values(withdraw)) for (const { nlri } of list) held.delete(nlri)
    for (const byNextHop of Object.values(announce)) {
      for (const [hop, list] of Object.entries(byNextHop)) {
        if (Array.isArray(list)) for (const { nlri } of list) held.set(nlri, { ...attribute, nextHop: hop })
      }
    }
  }
  return held
}

t.test("ExaBGP", { skip: needsRoot || missingPeers("exabgp"), timeout: 600_000 }, async (t) => {
  const lab = await PeerLab.start(t, "exabgp", 2)
  const set = { med: 77, "add-community": ["65001:42", "65001:1:2", "rt:65001:7"] }
  await lab.weft({
    networks: ["10.1.0.0/24", "2001:db8:a::/48"],
    neighbors: [
      { range: "10.0.1.0/24", as: "external" },
      { peer: two.peer, as: 65003, families: ["ipv4", "ipv6"], export: "marked" }
    ],
    policies: { marked: [{ permit: { source: "network" }, set }, "permit"] }
  })
  const exabgp = await lab.run("p2", (world, namespace) => startExabgp(world, namespace, `neighbor ${two.weft} {
    router-id 10.255.1.2; local-address ${two.peer}; local-as 65003; peer-as 65001; hold-time 30;
    capability { route-refresh enable; asn4 enable; extended-message disable; }
    family { ipv4 unicast; ipv6 unicast; }
  }`))
  await lab.up(two.peer)
  const sees = async (what: string, holds: (held: ReadonlyMap<string, Seen>) => boolean): Promise<ReadonlyMap<string, Seen>> => {
    let held: ReadonlyMap<string, Seen> = new Map()
    await told(`ExaBGP has ${what}`, () => [...held], async () => holds((held = await heldBy(exabgp))))
    return held
  }
  const dial = () => RawPeer.establish(lab.namespace("p1"), raw)

  await t.test("attributes in both directions, and unknown ones", async (t) => {
    const held = await sees("our networks", (seen) => seen.has("10.1.0.0/24") && seen.has("2001:db8:a::/48"))
    for (const prefix of ["10.1.0.0/24", "2001:db8:a::/48"]) {
      t.match(held.get(prefix), {
        origin: "igp", "as-path": [65001], med: 77, community: [[65001, 42]], "large-community": [[65001, 1, 2]],
        "extended-community": [{ string: "target:65001:7" }]
      })
    }
    t.equal(held.get("10.1.0.0/24")!.nextHop, two.weft)
    const words = "origin egp med 88 as-path [ 65003 65009 ] community [ 65003:42 no-export ] large-community [ 65003:1:2 ] " +
      "extended-community [ target:65003:7 origin:65003:8 ] attribute [ 0x63 0xc0 0x0102030405 ] attribute [ 0x64 0x80 0x01 ]"
    await exabgp.ask(`announce route 10.3.0.0/24 next-hop ${two.peer} ${words}`)
    await exabgp.ask(`announce route 2001:db8:c::/48 next-hop ${two.peer6} ${words}`)
    for (const [prefix, hop] of [["10.3.0.0/24", two.peer], ["2001:db8:c::/48", two.peer6]] as const) {
      const [path] = await lab.paths(prefix)
      t.match(path, { asPath: "65003 65009", origin: "egp", med: 88, nextHop: hop, best: true })
      t.same([...path!.communities].sort(), ["65003:1:2", "65003:42", "no-export", "rt:65003:7", "soo:65003:8"])
    }
    await lab.inKernel("weft", "2001:db8:c::/48", /dev p2/)
    await exabgp.ask(`withdraw route 10.3.0.0/24 next-hop ${two.peer}`)
    await exabgp.ask(`withdraw route 2001:db8:c::/48 next-hop ${two.peer6}`)
    await lab.lacks("10.3.0.0/24", "2001:db8:c::/48")
  })

  await t.test("ExaBGP asks for a refresh", async (t) => {
    const before = ((await exabgp.ask("events")) as ReadonlyArray<Event>).length
    await exabgp.ask("announce route-refresh ipv4 unicast")
    await told("it is all told again", () => before, async () => {
      const later = ((await exabgp.ask("events")) as ReadonlyArray<Event>).slice(before)
      return later.some(({ neighbor }) => JSON.stringify(neighbor?.message?.update?.announce ?? {}).includes("10.1.0.0/24"))
    })
    t.match(await lab.neighbor(two.peer), { state: "Established", establishedCount: 1 })
  })

  await t.test("malformed attributes do no more harm than RFC 7606 has it", async (t) => {
    const mark = (i: number) => communities([65002, i])
    /** Each in place of, or beside, what is right: `gone`: the route counts as withdrawn; `there`: it is taken with what is right. */
    const cases: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<number>>, "gone" | "there"]> = [
      ["nothing wrong", base, "there"],
      ["ORIGIN 3", [attribute(0x40, 1, [3]), ...base.slice(1)], "gone"],
      ["ORIGIN of two octets", [attribute(0x40, 1, [0, 0]), ...base.slice(1)], "gone"],
      ["ORIGIN that is optional", [attribute(0xc0, 1, [0]), ...base.slice(1)], "gone"],
      ["no ORIGIN", base.slice(1), "gone"],
      ["ORIGIN twice", [...base, attribute(0x40, 1, [2])], "there"],
      ["no AS_PATH", [origin, base[2]!], "gone"],
      ["AS_PATH with a segment 9", [origin, attribute(0x40, 2, [9, 1, 0, 0, 0xfd, 0xea]), base[2]!], "gone"],
      ["AS_PATH beyond its end", [origin, attribute(0x40, 2, [2, 2, 0, 0, 0xfd, 0xea]), base[2]!], "gone"],
      ["AS_PATH with an empty segment", [origin, attribute(0x40, 2, [2, 0]), base[2]!], "gone"],
      ["AS_PATH with AS 0", [origin, asPath(65002, 0), base[2]!], "gone"],
      ["AS_PATH with our own AS", [origin, asPath(65002, 65001), base[2]!], "gone"],
      ["AS_PATH with AS 23456", [origin, asPath(65002, 23456), base[2]!], "there"],
      ["AS4_PATH in a session of four octets", [...base, attribute(0xc0, 17, [2, 1, 0, 0, 0xff, 0xff])], "there"],
      ["no NEXT_HOP", base.slice(0, 2), "gone"],
      ["NEXT_HOP of five octets", [...base.slice(0, 2), attribute(0x40, 3, [10, 0, 1, 2, 0])], "gone"],
      ["MED of three octets", [...base, attribute(0x80, 4, [0, 0, 1])], "gone"],
      ["LOCAL_PREF from outside", [...base, attribute(0x40, 5, [0, 0, 1])], "there"],
      ["ATOMIC_AGGREGATE of one octet", [...base, attribute(0x40, 6, [1])], "there"],
      ["AGGREGATOR of six octets", [...base, attribute(0xc0, 7, [0xfd, 0xea, 1, 1, 1, 1])], "there"],
      ["COMMUNITIES of five octets", [...base, attribute(0xc0, 8, [0, 1, 0, 2, 0])], "gone"],
      ["ORIGINATOR_ID from outside", [...base, attribute(0x80, 9, [1, 2])], "there"],
      ["CLUSTER_LIST from outside", [...base, attribute(0x80, 10, [1, 2, 3])], "there"],
      ["extended communities of seven octets", [...base, attribute(0xc0, 16, [0, 2, 0, 0, 0, 0, 1])], "gone"],
      ["large communities of eleven octets", [...base, attribute(0xc0, 32, new Array(11).fill(1))], "gone"],
      ["an attribute that is longer than the list", [...base, attribute(0xc0, 99, [1, 2], 9)], "gone"],
      ["the beginning of an attribute", [...base, [0xc0]], "gone"]
    ]
    const prefix = (i: number): string => `10.20.${i}.0/24`
    const peer = await dial()
    peer.send(update({ attributes: base, nlri: cases.map((_, i) => prefix(i)) }))
    await sees("all routes", (held) => cases.every((_, i) => held.has(prefix(i))))
    cases.forEach(([what, attributes], i) => {
      // What has communities of its own, or ends in the middle, is not marked.
      const isOpen = /COMMUNITIES|longer|beginning/.test(what)
      peer.send(update({ attributes: isOpen ? attributes : [...attributes, mark(i)], nlri: [prefix(i)] }))
    })
    peer.send(update({ attributes: base, nlri: ["10.21.0.0/24"] }))
    const held = await sees("the last route", (seen) => seen.has("10.21.0.0/24"))
    cases.forEach(([what, , outcome], i) => {
      const seen = held.get(prefix(i))
      if (outcome === "gone") t.equal(seen, undefined, `${what}: withdrawn`)
      else t.match(seen, { community: [[65002, i]], origin: "igp", "as-path": [65001, 65002] }, `${what}: taken`)
    })
    for (const name of ["atomic-aggregate", "aggregator", "originator-id", "cluster-list", "local-preference"]) {
      t.notOk([...held].some(([key, seen]) => key.startsWith("10.20.") && name in seen), `${name} went nowhere`)
    }
    t.same(held.get(prefix(12))!["as-path"], [65001, 65002, 23456])
    t.same(held.get(prefix(13))!["as-path"], [65001, 65002], "AS4_PATH is of no meaning here")
    t.ok(peer.isOpen)
    t.equal(peer.notification, undefined, "and the session stays")
    peer.close()
    await sees("none of it", (seen) => !seen.has(prefix(0)))
  })

  await t.test("attributes that nobody knows travel on untouched, Partial; and none that are not transitive", async (t) => {
    const peer = await dial()
    const long = attribute(0xc0, 98, new Array(300).fill(7))
    const unknown = [attribute(0xc0, 99, [1, 2, 3]), attribute(0xe0, 100, []), attribute(0x80, 101, [9]), long]
    peer.send(update({ attributes: [...base, ...unknown], nlri: ["10.22.0.0/24"] }))
    const seen = (await sees("the route", (held) => held.has("10.22.0.0/24"))).get("10.22.0.0/24")!
    t.match(seen["attribute-0x63-0xE0"], /^0x010203$/i)
    t.ok(Object.keys(seen).some((name) => /^attribute-0x64-0xE0/i.test(name)))
    t.ok(Object.keys(seen).some((name) => /^attribute-0x62-0x[EF]0/i.test(name)))
    t.notOk(Object.keys(seen).some((name) => /^attribute-0x65/i.test(name)))
    peer.close()
  })

  await t.test("what cannot be read ends the session with the right NOTIFICATION", async (t) => {
    const reach = (...value: ReadonlyArray<number>) => attribute(0x80, 14, value)
    const good = reach(0, 1, 1, 4, 10, 0, 1, 2, 0, 24, 10, 30, 0)
    const cases: ReadonlyArray<readonly [string, Uint8Array, RegExp]> = [
      ["NLRI of 33 bits", update({ attributes: base, rawNlri: [33, 10, 0, 0, 0, 0] }), /^UPDATE Message Error, Invalid Network Field/],
      ["NLRI beyond the end", update({ attributes: base, rawNlri: [24, 10] }), /^UPDATE Message Error, Invalid Network Field/],
      ["attributes beyond the end", (() => {
        const octets = update({ attributes: base, nlri: ["10.30.0.0/24"] })
        octets[22] = 200
        return octets
      })(), /^UPDATE Message Error, Malformed Attribute List/],
      ["MP_REACH_NLRI twice", update({ attributes: [good, good, origin, asPath(65002)] }),
        /^UPDATE Message Error, Malformed Attribute List/],
      ["a next hop of three octets", update({ attributes: [reach(0, 1, 1, 3, 10, 0, 1, 0, 24, 10, 30, 0), origin, asPath(65002)] }),
        /^UPDATE Message Error, Optional Attribute Error/],
      ["a well-known attribute that nobody knows", update({ attributes: [...base, attribute(0x40, 200, [1])], nlri: ["10.30.0.0/24"] }),
        /^UPDATE Message Error, Unrecognized Well-known Attribute/]
    ]
    for (const [what, octets, expected] of cases) {
      const peer = await dial()
      peer.send(octets)
      await until(`${what} is answered`, () => peer.notification !== undefined || peer.ended !== undefined)
      t.match(peer.notification, expected, what)
      peer.close()
    }
    t.match(await lab.neighbor(two.peer), { state: "Established", establishedCount: 1 }, "the other session does not notice")
  })

  await t.test("messages of 4096 octets, in and out, and a route that does not fit any more", async (t) => {
    const peer = await dial()
    const many = (count: number) => communities(...Array.from({ length: count }, (_, i) => [65002, i] as const))
    const fits = update({ attributes: [...base, many(1005)], nlri: ["10.23.0.0/24"] })
    const most = update({ attributes: [...base, many(1011)], nlri: ["10.24.0.0/24"] })
    t.ok(most.length > 4090 && most.length <= 4096, `${most.length} octets`)
    peer.send(fits)
    peer.send(most)
    const seen = (await sees("the route", (held) => held.has("10.23.0.0/24"))).get("10.23.0.0/24")!
    t.equal((seen["community"] as ReadonlyArray<unknown>).length, 1005)
    t.match(await lab.paths("10.24.0.0/24"), [{ best: true }])
    peer.send(update({ attributes: base, nlri: ["10.25.0.0/24"] }))
    const held = await sees("the next route", (all) => all.has("10.25.0.0/24"))
    t.notOk(held.has("10.24.0.0/24"), "with our own AS in front it has too many octets for this session")
    peer.close()
  })

  await t.test("20 000 changes, one by one", async (t) => {
    const memory = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${lab.weftd.pid}/status`, "utf8"))![1]) / 1024
    const peer = await dial()
    const prefix = (i: number): string => `100.${64 + (i >> 8)}.${i & 255}.0/24`
    const [networks, rounds] = [2000, 5]
    const before = memory()
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < networks; i++) {
        peer.send(update({ attributes: [...base, communities([round, i])], nlri: [prefix(i)] }))
        peer.send(update({ withdrawn: [prefix((i + networks / 2) % networks)] }))
      }
      await until("weft takes it", () => peer.queued === 0)
    }
    peer.send(update({ attributes: base, nlri: ["10.26.0.0/24"] }))
    const held = await sees("the last route", (all) => all.has("10.26.0.0/24"))
    // The last word on a prefix of the first half is its withdrawal, 1000 steps after; on one of the second its announcement.
    const expected = Array.from({ length: networks / 2 }, (_, i) => prefix(i + networks / 2))
    t.same([...held.keys()].filter((key) => key.startsWith("100.")).sort(), expected.toSorted())
    t.ok(expected.every((key, i) => JSON.stringify(held.get(key)!["community"]) === JSON.stringify([[rounds - 1, i + networks / 2]])))
    t.equal((await lab.neighbors()).find(({ remoteAddress }) => remoteAddress === one.peer)!.families[0]!.accepted, networks / 2 + 1)
    t.ok(memory() - before < 150, `${before.toFixed()} MiB before, ${memory().toFixed()} after`)
    t.ok(peer.isOpen)
    peer.close()
    await sees("none", (all) => !all.has(expected[0]!) && !all.has(expected.at(-1)!))
    t.match(await lab.neighbor(two.peer), { state: "Established", establishedCount: 1 })
  })
})
