/** What neighbours are sent: rewriting, reflection, add-path, packing, storms, slow neighbours, aggregates, graceful restart. */
import t from "tap"
import { Family } from "../../../daemon/wire/bgp/iana.ts"
import type { RibPeer, RibPolicy } from "../../../daemon/bgp/rib/types.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import { anyFamily, attributes, peerConfig, type PeerOptions, type TestPeer, TestRib } from "./rib-harness.ts"

const pathOf = (peer: TestPeer, prefix: string): ReadonlyArray<number> | undefined => {
  const route = peer.routes.get(prefix)
  return route?.asPath.flatMap(({ asns }) => asns)
}

/** `count` prefixes of 24 bits. */
const many = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => `${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`)

const external: PeerOptions = { remoteAs: 65001, name: "source" }
const sink: PeerOptions = { remoteAs: 65002, name: "sink", address: "10.0.0.2", routerId: 2 }

t.test("afterPolicy gives external neighbours paths as their configuration says", (t) => {
  const path = [65001, 64512, 65002, 7]
  const rows: ReadonlyArray<readonly [what: string, options: PeerOptions, expected: ReadonlyArray<number>]> = [
    ["plain", {}, [65000, ...path]],
    ["local-as, and our own behind it", { localAs: 64999, localAsPrepend: true }, [64999, 65000, ...path]],
    ["local-as alone", { localAs: 64999 }, [64999, ...path]],
    ["local-as on the way out", { localAs: 64999, localAsPrepend: true, localAsOnlyOut: true }, [64999, 65000, ...path]],
    ["remove-private-as by our own", { removePrivateAs: true, replacePrivateAs: true }, [65000, 65000, 65000, 65002, 7]],
    ["remove-private-as leaves the neighbour's own", { removePrivateAs: true }, [65000, 65002, 7]],
    ["as-override", { asOverride: true }, [65000, 65001, 64512, 65000, 7]]
  ]
  for (const [what, options, expected] of rows) {
    const lab = new TestRib()
    const to = lab.peer({ ...sink, ...options })
    lab.peer(external).announce(["10.1.0.0/16"], attributes({ path, med: 5, communities: [1] }))
    lab.settle()
    t.strictSame(pathOf(to, "10.1.0.0/16"), expected, what)
    const route = to.routes.get("10.1.0.0/16")!
    t.match(route, { nextHop: "192.0.2.1", communities: [1] })
    t.equal(route.med, undefined, "the MED of another AS stays here")
    t.equal(route.localPref, undefined)
  }
  t.end()
})

t.test("importSet takes no loops but as many as are allowed", (t) => {
  for (const [allowAsIn, expected] of [[0, 0], [1, 1]] as const) {
    const lab = new TestRib()
    const from = lab.peer({ ...external, allowAsIn })
    from.announce(["10.1.0.0/16"], attributes({ path: [65001, 65000, 7] }))
    lab.settle()
    t.equal(lab.rib.counts(0).paths, expected)
  }
  const lab = new TestRib()
  const inner = lab.peer({ name: "i" })
  inner.announce(["10.1.0.0/16"], attributes({ originatorId: 0x0a0000fe }))
  inner.announce(["10.2.0.0/16"], attributes({ originatorId: 3, clusterList: [5, 0x0a0000fe] }))
  inner.announce(["10.3.0.0/16"], attributes({ originatorId: 3, clusterList: [5] }))
  lab.settle()
  t.equal(lab.rib.counts(0).paths, 1)
  t.end()
})

t.test("importSet takes our AS as the origin of a path, however often, and an external neighbour's own routes only", (t) => {
  const taken = (more: Partial<RibPeer>, ...path: ReadonlyArray<number>): number => {
    const lab = new TestRib()
    lab.peer({ ...external, ...more }).announce(["10.1.0.0/16"], attributes({ path: [...path] }))
    lab.settle()
    return lab.rib.counts(0).paths
  }
  t.equal(taken({ allowOwnOrigin: true }, 65001, 65000), 1)
  t.equal(taken({ allowOwnOrigin: true }, 65001, 65000, 7, 65000, 65000), 1)
  t.equal(taken({ allowOwnOrigin: true }, 65001, 65000, 7), 0, "in the middle it is a loop")
  t.equal(taken({}, 7, 8), 1, "a route server is not in the path")
  t.equal(taken({ enforceFirstAs: true }, 7, 8), 0)
  t.equal(taken({ enforceFirstAs: true }, 65001, 8), 1)
  t.equal(taken({ enforceFirstAs: true, isExternal: false }, 7, 8), 1, "internal neighbours pass on what they hear")
  t.end()
})

t.test("neighbours that refuse routes with their AS are not sent such, if all of them are in one", (t) => {
  const spine = (n: number, more: PeerOptions = {}): PeerOptions =>
    ({ name: `s${n}`, address: `10.0.0.${n}`, routerId: n, remoteAs: 65010, refusesOwnAs: true, ...more })
  const told = (one: PeerOptions, other: PeerOptions): ReadonlyArray<string> => {
    const lab = new TestRib()
    const [from, to] = [lab.peer(spine(2, one)), lab.peer(spine(3, other))]
    from.announce(["10.1.0.0/16"], attributes({ path: [65010, 7] }))
    from.announce(["10.2.0.0/16"], attributes({ path: [65011, 7, 65012] }))
    lab.settle()
    // Their way of a route changes: what they cannot use is taken back.
    from.announce(["10.2.0.0/16"], attributes({ path: [65011, 7, 65010] }))
    from.announce(["10.3.0.0/16"], attributes({ path: [65012] }))
    lab.settle()
    return [...to.routes.keys()].sort()
  }
  t.strictSame(told({}, {}), ["10.3.0.0/16"])
  const all = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]
  t.strictSame(told({}, { refusesOwnAs: false }), all, "one that may take them is sent them")
  t.strictSame(told({ remoteAs: 65011 }, {}), all, "where there are several AS, groups are not divided for it")
  t.strictSame(told({}, { asOverride: true }), all, "their AS is not in the path that is sent")
  t.end()
})

t.test("Rib treats graceful shutdown on both sides", (t) => {
  const community = 0xffff_0000
  const lab = new TestRib({ gracefulShutdown: true })
  const inner = lab.peer({ name: "i", address: "10.0.0.3", routerId: 3 })
  const outer = lab.peer(sink)
  lab.peer(external).announce(["10.1.0.0/16"], attributes({ path: [65001] }))
  lab.settle()
  t.match(inner.routes.get("10.1.0.0/16"), { communities: [community], localPref: 0 })
  t.match(outer.routes.get("10.1.0.0/16"), { communities: [community] })
  const other = new TestRib()
  const told = other.peer({ name: "i", address: "10.0.0.3", routerId: 3 })
  other.peer(external).announce(["10.1.0.0/16"], attributes({ path: [65001], communities: [community] }))
  other.settle()
  t.match(told.routes.get("10.1.0.0/16"), { localPref: 0 }, "received from another AS")
  t.end()
})

t.test("RibPolicy on export sets next hops, prepends before our own AS, and looks at prefixes where it says so", (t) => {
  const exportPolicy: RibPolicy = {
    usesPrefix: true,
    apply: (given, _meta, bytes, at) =>
      bytes[at + 1] === 2 ? undefined : { attributes: { ...given, med: 9, asPath: [{ type: 2, asns: [5, 5] }] }, nextHop: "unchanged" }
  }
  const lab = new TestRib()
  const to = lab.peer({ ...sink, families: [{ ...anyFamily, exportPolicy }, undefined] })
  lab.peer(external).announce(["10.1.0.0/16", "10.2.0.0/16"], attributes({ path: [65001] }))
  lab.settle()
  t.strictSame([...to.routes.keys()], ["10.1.0.0/16"])
  t.strictSame(pathOf(to, "10.1.0.0/16"), [65000, 5, 5])
  t.match(to.routes.get("10.1.0.0/16"), { med: 9, nextHop: "10.9.9.9" })
  lab.rib.updatePeer(to.index, peerConfig(65000, sink))
  lab.settle()
  t.strictSame([...to.routes.keys()].toSorted(), ["10.1.0.0/16", "10.2.0.0/16"])
  t.strictSame(pathOf(to, "10.1.0.0/16"), [65000, 65001])
  t.end()
})

t.test("Packer sends the best paths with add-path, and takes back what fell behind", (t) => {
  const lab = new TestRib()
  const options = { context: { addPathSend: [Family.ipv4Unicast] }, families: [{ ...anyFamily, addPathSend: 2 }, anyFamily] as const }
  const to = lab.peer({ ...sink, ...options })
  const from = [3, 4, 5].map((id) => lab.peer({ remoteAs: 65000 + id, name: `p${id}`, routerId: id, address: `10.0.0.${id}` }))
  const firsts = (): ReadonlyArray<number | undefined> =>
    [...to.routes.values()].map(({ asPath }) => asPath[0]!.asns[1]).toSorted()
  from[0]!.announce(["10.1.0.0/16"], attributes({ path: [65003, 1, 1, 1] }))
  from[1]!.announce(["10.1.0.0/16"], attributes({ path: [65004, 1, 1] }))
  lab.settle()
  t.strictSame(firsts(), [65003, 65004])
  from[2]!.announce(["10.1.0.0/16"], attributes({ path: [65005, 1] }))
  lab.settle()
  t.strictSame(firsts(), [65004, 65005])
  const messages = to.sizes.length
  from[0]!.announce(["10.1.0.0/16"], attributes({ path: [65003, 1, 1, 1, 1] }))
  lab.settle()
  t.equal(to.sizes.length, messages, "the third does not matter")
  from[1]!.down()
  lab.settle()
  t.strictSame(firsts(), [65003, 65005])
  for (const peer of from) if (peer !== from[1]) peer.withdraw(["10.1.0.0/16"])
  lab.settle()
  t.strictSame(firsts(), [])
  to.down()
  lab.settle()
  t.strictSame(lab.rib.counts(0), { prefixes: 0, paths: 0, pending: 0, attributeSets: 0 })
  t.end()
})

t.test("Rib keeps several paths of one neighbour by their identifiers", (t) => {
  const lab = new TestRib()
  const from = lab.peer({ ...external, context: { addPathReceive: [Family.ipv4Unicast] } })
  from.announce(["10.1.0.0/16"], attributes({ path: [65001, 1, 2] }), 7)
  from.announce(["10.1.0.0/16"], attributes({ path: [65001, 1] }), 8)
  lab.settle()
  t.strictSame(lab.rib.explain("10.1.0.0/16").map(({ isBest, pathId }) => [pathId, isBest]), [[8, true], [7, false]])
  from.withdraw(["10.1.0.0/16"], 9)
  from.withdraw(["10.1.0.0/16"], 8)
  lab.settle()
  t.strictSame(lab.rib.explain("10.1.0.0/16").map(({ isBest, pathId }) => [pathId, isBest]), [[7, true]])
  t.end()
})

for (const extendedMessage of [false, true]) {
  t.test(`Packer fills messages of ${extendedMessage ? 65535 : 4096} octets, in both families`, (t) => {
    const lab = new TestRib()
    const to = lab.peer({ ...sink, context: { extendedMessage } })
    const from = lab.peer(external)
    const prefixes = many(20_000)
    // Two sets that alternate: the fewest messages are those of two sets.
    for (const parity of [0, 1]) {
      from.announce(prefixes.filter((_, i) => i % 2 === parity), attributes({ path: [65001, parity + 1] }))
    }
    const v6 = Array.from({ length: 3000 }, (_, i) => `2001:db8:${i.toString(16)}::/48`)
    from.announce(v6, attributes({ path: [65001], nextHop: "2001:db8::9" }))
    to.rib.run(1)
    lab.settle()
    t.equal(to.routes.size, prefixes.length + v6.length)
    t.match(to.routes.get("2001:db8:5::/48"), { nextHop: "2001:db8::1" })
    const limit = extendedMessage ? 65535 : 4096
    t.ok(to.sizes.every((size) => size <= limit))
    const least = Math.ceil(10_000 * 4 / (limit - 60)) * 2 + Math.ceil(v6.length * 7 / (limit - 90))
    t.equal(to.log.filter((kind) => kind === "reach").length, least, "as few messages as there can be")
    t.equal(to.log.filter((kind) => kind === "end").length, 2)
    to.sizes.length = 0
    to.log.length = 0
    from.down()
    lab.settle()
    t.equal(to.routes.size, 0)
    t.equal(to.log.length, Math.ceil(prefixes.length * 4 / (limit - 23)) + Math.ceil(v6.length * 7 / (limit - 30)))
    t.strictSame(lab.rib.counts(0), { prefixes: 0, paths: 0, pending: 0, attributeSets: 0 })
    t.end()
  })
}

t.test("Packer tells a slow neighbour what is true when it reads, and sends nothing twice", (t) => {
  const lab = new TestRib()
  const to = lab.peer(sink)
  lab.settle()
  const from = lab.peer(external)
  to.space = 5000
  to.sizes.length = 0
  const prefixes = many(10_000)
  for (let i = 1; i <= 20; i++) {
    from.announce(prefixes, attributes({ path: [65001, i] }))
    lab.settle()
  }
  from.withdraw(prefixes.slice(0, 5000))
  lab.settle()
  t.ok(to.sizes.length <= 2, "no message more than there is space for")
  to.sizes.length = 0
  for (let turns = 0; turns < 100 && to.routes.size !== 5000; turns++) {
    to.space = 10_000
    lab.rib.drained(to.index)
    lab.settle()
  }
  t.equal(to.routes.size, 5000)
  t.strictSame(pathOf(to, prefixes[9999]!), [65000, 65001, 20])
  t.ok(to.sizes.reduce((sum, size) => sum + size, 0) < 10_000 * 4 * 1.2 + 5000, "each prefix once")
  t.end()
})

t.test("Rib works in slices when a neighbour with 100 000 routes is lost, and another takes over", (t) => {
  const lab = new TestRib()
  const to = lab.peer(sink)
  const first = lab.peer(external)
  const second = lab.peer({ ...external, name: "second", address: "10.0.0.9", routerId: 9 })
  const prefixes = many(100_000)
  first.announce(prefixes, attributes({ path: [65001] }))
  second.announce(prefixes, attributes({ path: [65001, 7], nextHop: "10.9.9.8" }))
  lab.settle()
  t.equal(to.routes.size, prefixes.length)
  first.down()
  let slices = 0
  while (lab.rib.run(2)) slices++
  t.ok(slices > 3, `${slices} slices`)
  t.strictSame(pathOf(to, prefixes[0]!), [65000, 65001, 7])
  t.strictSame(pathOf(to, prefixes[99_999]!), [65000, 65001, 7])
  t.equal(lab.fib.routes.get(prefixes[50_000]!), "10.9.9.8|")
  t.equal(lab.rib.counts(0).paths, prefixes.length)
  t.end()
})

t.test("Rib.routeRefresh sends everything again, between marks where they were agreed upon", (t) => {
  const lab = new TestRib()
  const to = lab.peer({ ...sink, session: { enhancedRefresh: true } })
  const from = lab.peer(external)
  from.announce(["10.1.0.0/16", "10.2.0.0/16"], attributes({ path: [65001] }))
  lab.settle()
  to.log.length = 0
  lab.rib.routeRefresh(to.index, 0, 0)
  lab.settle()
  t.strictSame(to.log, ["refresh 1", "reach", "refresh 2"])
  // The other way: what is not announced between the neighbour's marks goes.
  lab.rib.routeRefresh(from.index, 0, 1)
  from.announce(["10.2.0.0/16"], attributes({ path: [65001] }))
  lab.rib.routeRefresh(from.index, 0, 2)
  lab.settle()
  t.strictSame([...to.routes.keys()], ["10.2.0.0/16"])
  t.end()
})

t.test("Rib keeps stale routes over a restart, and sweeps what does not come back", (t) => {
  const lab = new TestRib()
  const to = lab.peer(sink)
  const from = lab.peer(external)
  from.announce(["10.1.0.0/16", "10.2.0.0/16"], attributes({ path: [65001] }))
  lab.settle()
  from.down([0])
  lab.settle()
  t.equal(to.routes.size, 2)
  t.ok(lab.rib.explain("10.1.0.0/16")[0]!.isStale)
  from.up()
  from.announce(["10.1.0.0/16"], attributes({ path: [65001] }))
  from.endOfRib()
  lab.settle()
  t.strictSame([...to.routes.keys()], ["10.1.0.0/16"])
  t.notOk(lab.rib.explain("10.1.0.0/16")[0]!.isStale)
  t.end()
})

t.test("Rib.makeLongLived keeps stale routes with least preference, and drops what must not be kept", (t) => {
  const lab = new TestRib()
  const [knows, doesNot] = [true, false].map((longLived, i) =>
    lab.peer({ ...sink, name: `to${i}`, address: `10.0.0.${i + 2}`, session: { longLived } }))
  const from = lab.peer(external)
  from.announce(["10.1.0.0/16"], attributes({ path: [65001] }))
  from.announce(["10.2.0.0/16"], attributes({ path: [65001], communities: [0xffff_0007] }))
  lab.settle()
  from.down([0])
  lab.rib.makeLongLived(from.index, 0)
  lab.settle()
  t.strictSame([...knows!.routes.keys()], ["10.1.0.0/16"])
  t.match(knows!.routes.get("10.1.0.0/16"), { communities: [0xffff_0006] })
  t.equal(doesNot!.routes.size, 0)
  const other = lab.peer({ ...external, name: "other", address: "10.0.0.7" })
  other.announce(["10.1.0.0/16"], attributes({ path: [65001, 1, 2, 3] }))
  t.match(lab.why("10.1.0.0/16"), [/^other: best by long-lived staleness/, /^source: lost to 10.0.0.7 on long-lived/])
  t.end()
})

t.test("Aggregates stand as long as there is a contributor, and hide them when asked to", (t) => {
  const lab = new TestRib()
  const to = lab.peer(sink)
  const from = lab.peer(external)
  lab.rib.setAggregates([{ prefix: "10.0.0.0/8", summaryOnly: true, asSet: false }])
  lab.settle()
  t.equal(to.routes.size, 0)
  from.announce(["10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/8"], attributes({ path: [65001, 7] }))
  lab.settle()
  t.strictSame([...to.routes.keys()].toSorted(), ["10.0.0.0/8", "11.0.0.0/8"])
  t.match(to.routes.get("10.0.0.0/8"), { atomicAggregate: true, aggregator: { asn: 65000, address: "10.0.0.254" } })
  lab.rib.setAggregates([{ prefix: "10.0.0.0/8", summaryOnly: false, asSet: true }])
  lab.settle()
  t.strictSame([...to.routes.keys()].toSorted(), ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/8"])
  t.strictSame(to.routes.get("10.0.0.0/8")!.asPath, [{ type: 2, asns: [65000, 65001, 7] }], "all paths are the same: so is this one")
  // What is decided starts another round of gathering.
  const settle = (): void => [1, 2].forEach(() => lab.settle())
  from.announce(["10.3.0.0/16"], attributes({ path: [65001, 9, 8, 7] }))
  settle()
  const mixed = [{ type: 2, asns: [65000, 65001] }, { type: 1, asns: [7, 8, 9] }]
  t.strictSame(to.routes.get("10.0.0.0/8")!.asPath, mixed, "what they begin with is a sequence, the rest a set")
  lab.rib.originate("10.4.0.0/16", 1, attributes({ nextHop: "0.0.0.0" }))
  settle()
  t.strictSame(to.routes.get("10.0.0.0/8")!.asPath, [{ type: 2, asns: [65000] }, { type: 1, asns: [7, 8, 9, 65001] }])
  lab.rib.withdraw("10.4.0.0/16", 1)
  from.withdraw(["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"])
  lab.settle()
  t.strictSame([...to.routes.keys()], ["11.0.0.0/8"])
  t.end()
})

t.test("Rib originates a default route towards a neighbour, and local routes with this router as next hop", (t) => {
  const lab = new TestRib()
  const to = lab.peer({ ...sink, families: [{ ...anyFamily, defaultOriginate: true }, anyFamily] })
  lab.rib.originate("10.5.0.0/16", 1, attributes({ nextHop: "0.0.0.0", med: 3 }))
  lab.settle()
  t.match(to.routes.get("0.0.0.0/0"), { nextHop: "192.0.2.1" })
  t.match(to.routes.get("10.5.0.0/16"), { nextHop: "192.0.2.1", med: 3 })
  t.equal(lab.fib.routes.size, 0, "the kernel has local routes already")
  lab.rib.withdraw("10.5.0.0/16", 1)
  lab.settle()
  t.strictSame([...to.routes.keys()], ["0.0.0.0/0"])
  t.end()
})

t.test("Rib puts a local AS into what comes in, unless it is for the way out", (t) => {
  for (const [more, expected] of [[{}, [64999, 65001]], [{ localAsOnlyOut: true }, [65001]]] as const) {
    const lab = new TestRib()
    lab.peer({ ...external, localAs: 64999, localAsPrepend: true, ...more }).announce(["10.1.0.0/16"], attributes({ path: [65001] }))
    lab.settle()
    t.strictSame(lab.rib.explain("10.1.0.0/16")[0]?.attributes.asPath.flatMap(({ asns }) => asns), expected)
  }
  t.end()
})

t.test("Rib originates a default route while there is a route to one of some prefixes, changed by its own policy", (t) => {
  const colour: RibPolicy = { usesPrefix: false, apply: (given) => ({ attributes: { ...given, med: 7, communities: [5] } }) }
  const family = { ...anyFamily, defaultOriginate: true, defaultPolicy: colour, defaultWhen: ["10.1.0.0/16", "10.2.0.0/16"] }
  for (const places of [0, 2]) {
    const lab = new TestRib()
    const to = lab.peer({ ...sink, families: [{ ...family, addPathSend: places }, anyFamily] })
    const from = lab.peer(external)
    const has = (): boolean => {
      lab.settle()
      return to.routes.has("0.0.0.0/0")
    }
    from.announce(["10.0.0.0/8", "10.1.1.0/24"], attributes({ path: [65001] }))
    t.equal(has(), false, "neither is there")
    from.announce(["10.2.0.0/16"], attributes({ path: [65001] }))
    t.equal(has(), true)
    t.match(to.routes.get("0.0.0.0/0"), { med: 7, communities: [5], nextHop: "192.0.2.1" })
    from.announce(["10.1.0.0/16"], attributes({ path: [65001] }))
    from.withdraw(["10.2.0.0/16"])
    t.equal(has(), true, "the other is there")
    from.withdraw(["10.1.0.0/16"])
    t.equal(has(), false)
    from.announce(["0.0.0.0/0"], attributes({ path: [65001, 9] }))
    t.equal(has(), true, "that of the table is sent, then")
    t.strictSame(pathOf(to, "0.0.0.0/0"), [65000, 65001, 9])
    t.equal(lab.rib.counts(0).prefixes, 3, "what is only kept does not count")
  }
  t.end()
})

t.test("Rib has aggregates with every sort of community, as their policy makes them", (t) => {
  const lab = new TestRib()
  // What is decided starts another round of gathering.
  const settle = (): void => [1, 2].forEach(() => lab.settle())
  const to = lab.peer(sink)
  const from = lab.peer(external)
  const bearing = (more: Partial<PathAttributes>): PathAttributes => ({ ...attributes({ path: [65001] }), ...more })
  from.announce(["10.1.0.0/16"], bearing({ communities: [9], largeCommunities: [3n], extendedCommunities: [0x0002_0001_0000_0001n] }))
  from.announce(["10.2.0.0/16"], bearing({ communities: [8], largeCommunities: [2n] }))
  const spec = { prefix: "10.0.0.0/8", summaryOnly: false, asSet: true }
  lab.rib.setAggregates([spec])
  settle()
  t.match(to.routes.get("10.0.0.0/8"), { communities: [8, 9], largeCommunities: [2n, 3n], extendedCommunities: [0x0002_0001_0000_0001n] })
  lab.rib.setAggregates([{ ...spec, change: (given) => ({ ...given, med: 4, communities: [] }) }])
  settle()
  t.match(to.routes.get("10.0.0.0/8"), { communities: [], largeCommunities: [2n, 3n], med: 4 }, "another policy changes it in place")
  lab.rib.setAggregates([{ ...spec, change: () => undefined }])
  settle()
  t.strictSame([...to.routes.keys()].toSorted(), ["10.1.0.0/16", "10.2.0.0/16"], "refused")
  lab.rib.setAggregates([{ ...spec, asSet: false }])
  settle()
  t.match(to.routes.get("10.0.0.0/8"), { communities: [], atomicAggregate: true })
  t.end()
})

t.test("Rib sends all that is due before it waits for the advertisement interval", (t) => {
  const lab = new TestRib()
  const from = lab.peer(external)
  const prefixes = many(70_000)
  from.announce(prefixes, attributes({ path: [65001] }))
  lab.settle()
  const to = lab.peer({ ...sink, mraiMs: 3_600_000 })
  lab.settle()
  t.equal(to.routes.size, prefixes.length, "more than a batch")
  from.withdraw(prefixes.slice(0, 1))
  lab.settle()
  t.equal(to.routes.size, prefixes.length, "the next change waits")
  t.end()
})

const target = 0x0002_fde8_0000_0001n
const otherTarget = 0x0002_fde8_0000_0002n

t.test("Rib.importFrom takes best paths that bear its targets over and lets them go", (t) => {
  const red = new TestRib()
  const blue = new TestRib()
  const from = red.peer(external)
  const to = blue.peer(sink)
  const bearing = (...extendedCommunities: bigint[]): PathAttributes => ({ ...attributes({ path: [65001] }), extendedCommunities })
  from.announce(["10.1.0.0/16", "10.2.0.0/16"], bearing(target))
  from.announce(["10.3.0.0/16"], bearing())
  red.settle()
  let targets = new Set([target])
  const imported = blue.rib.importFrom(red.rib, () => targets)
  const settle = (): void => {
    red.settle()
    blue.settle()
  }
  settle()
  t.strictSame([...to.routes.keys()].toSorted(), ["10.1.0.0/16", "10.2.0.0/16"])
  from.announce(["10.1.0.0/16"], bearing(otherTarget))
  settle()
  t.strictSame([...to.routes.keys()], ["10.2.0.0/16"])
  targets = new Set([otherTarget])
  imported.again()
  settle()
  t.strictSame([...to.routes.keys()], ["10.1.0.0/16"])
  imported.stop()
  settle()
  t.equal(to.routes.size, 0)
  t.end()
})

t.test("Rib counts prefixes and tells once when there are too many", (t) => {
  const told: number[] = []
  const lab = new TestRib({ events: { wanted: () => {}, maxPrefix: (_peer, _family, count) => told.push(count) } })
  const from = lab.peer({ ...external, families: [{ ...anyFamily, maxPrefix: 2 }, anyFamily] })
  from.announce(["10.1.0.0/16", "10.2.0.0/16"], attributes({ path: [65001] }))
  t.strictSame(told, [])
  from.announce(["10.3.0.0/16"], attributes({ path: [65001] }))
  from.announce(["10.4.0.0/16"], attributes({ path: [65001] }))
  t.strictSame(told, [3])
  t.strictSame(lab.rib.peerCounts(from.index, 0), { received: 4, accepted: 4, advertised: 0 })
  t.end()
})

t.test("Rib tells once above the share of the limit, and takes no more than the limit where it is told to", (t) => {
  const told: string[] = []
  const lab = new TestRib({ events: {
    wanted: () => {},
    maxPrefix: (_peer, _family, count) => told.push(`over ${count}`),
    nearMaxPrefix: (_peer, _family, count) => told.push(`near ${count}`)
  } })
  const from = lab.peer({ ...external, families: [{ ...anyFamily, maxPrefix: 3, nearMaxPrefix: 1, discardsExtra: true }, anyFamily] })
  const announce = (...prefixes: ReadonlyArray<string>): void => {
    from.announce(prefixes, attributes({ path: [65001] }))
    lab.settle()
  }
  announce("10.1.0.0/16")
  t.strictSame(told, [])
  announce("10.2.0.0/16", "10.3.0.0/16")
  t.strictSame(told, ["near 3"], "as many as are allowed")
  announce("10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16")
  announce("10.4.0.0/16")
  announce("10.3.0.0/16")
  announce("10.4.0.0/16")
  t.strictSame(told, ["near 3", "over 3"])
  t.equal(lab.rib.counts(0).paths, 3)
  from.withdraw(["10.1.0.0/16"])
  announce("10.4.0.0/16")
  t.equal(lab.rib.explain("10.4.0.0/16").length, 1, "there is room again")
  t.strictSame(told, ["near 3", "over 3"], "for one")
  t.equal(lab.rib.explain("10.5.0.0/16").length, 0)
  t.end()
})

t.test("Rib tells of too many prefixes in each session, and when the limit becomes lower", (t) => {
  const told: number[] = []
  const lab = new TestRib({ events: { wanted: () => {}, maxPrefix: (_peer, _family, count) => told.push(count) } })
  const config = { ...external, families: [{ ...anyFamily, maxPrefix: 2 }, anyFamily] } as const
  const from = lab.peer(config)
  const announceThree = (): void => from.announce(["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"], attributes({ path: [65001] }))
  announceThree()
  t.strictSame(told, [3])
  from.down()
  lab.settle()
  from.up()
  announceThree()
  t.strictSame(told, [3, 3], "the next session, with all of them in one message")
  lab.rib.updatePeer(from.index, peerConfig(65000, { ...config, families: [{ ...anyFamily, maxPrefix: 3 }, anyFamily] }))
  t.strictSame(told, [3, 3])
  lab.rib.updatePeer(from.index, peerConfig(65000, { ...config, families: [{ ...anyFamily, maxPrefix: 1 }, anyFamily] }))
  t.strictSame(told, [3, 3, 3], "a lower limit, while nothing comes")
  t.end()
})

t.test("Rib.hold lets nothing out before it ends", (t) => {
  const lab = new TestRib()
  lab.rib.hold(true)
  const to = lab.peer(sink)
  lab.peer(external).announce(["10.1.0.0/16"], attributes({ path: [65001] }))
  lab.settle()
  t.strictSame([to.log, lab.fib.changes], [[], 0])
  lab.rib.hold(false)
  lab.settle()
  t.strictSame(to.log, ["reach", "end", "end"])
  t.end()
})

t.test("Rib pages through what a neighbour sent and is sent", (t) => {
  const lab = new TestRib()
  const to = lab.peer(sink)
  const from = lab.peer(external)
  from.announce(many(25), attributes({ path: [65001] }))
  lab.settle()
  for (const page of [
    (cursor: number) => lab.rib.best(0, cursor, 10),
    (cursor: number) => lab.rib.received(from.index, 0, cursor, 10),
    (cursor: number) => lab.rib.advertised(to.index, 0, cursor, 10)
  ]) {
    const seen: string[] = []
    for (let cursor = 0; cursor >= 0;) {
      const { next, paths } = page(cursor)
      t.ok(paths.length <= 10)
      seen.push(...paths.map(({ prefix }) => prefix))
      cursor = next
    }
    t.strictSame(seen, many(25))
  }
  t.match(lab.rib.lookup("20.0.3.77")[0], { prefix: "20.0.3.0/24", isBest: true })
  t.end()
})
