/** What one host decides, with two others that are cores themselves: routes go from one to the other without BGP. */
import t from "tap"
import { Core, isRefused, type Work } from "../../daemon/evpn/core.ts"
import { Distinguishers, type LocalNetwork, networksIn, routerIdOf } from "../../daemon/evpn/network.ts"
import { comparePaths, type Path, pathOf, self } from "../../daemon/evpn/rib.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { keyOf, type Prefix, zeroEsi } from "../../daemon/wire/bgp/evpn.ts"

const macs = { a: "02:00:00:00:00:0a", b: "02:00:00:00:00:0b", guest: "02:00:00:00:77:01" }
const coreAt = (vtep: string): Core => new Core({ vtep, routerId: vtep, asn: 64_999 })

const network = (node: "a" | "b", over: Partial<LocalNetwork> = {}): LocalNetwork => ({
  lab: "lab",
  name: "lan",
  vni: 100,
  udpPort: 4789,
  vteps: [],
  ports: [{ port: `${node}:eth0`, mac: macs[node], addresses: [node === "a" ? "10.0.0.1" : "10.0.0.2"], router: node === "b" }],
  prefixes: [],
  ...over
})

/** Hands what `from` says of itself to `to`. */
const pass = (from: Core, to: Core, { changes }: Pick<Work, "changes">): void => {
  for (const { after, before, key } of changes) {
    const peer = from.identity.vtep
    if (after?.peer === self) to.rib.announce({ ...after, peer, peerId: 1 })
    else if (before?.peer === self) to.rib.withdraw(peer, key)
  }
}

const summary = ({ forget, tell }: Work) => ({ tell: tell.map(({ mac, vtep }) => `${mac} ${vtep}`), forget: forget.map(({ mac }) => mac) })

const pair = () => {
  const [one, two] = [coreAt("10.9.0.1"), coreAt("10.9.0.2")]
  one.setNetworks([network("a")], 0)
  two.setNetworks([network("b")], 0)
  const exchange = (nowMs: number): readonly [Work, Work] => {
    pass(one, two, one.take(nowMs))
    const second = two.take(nowMs)
    pass(two, one, second)
    const first = one.take(nowMs)
    pass(one, two, first)
    return [first, second]
  }
  return { one, two, exchange }
}

t.test("two hosts of one network", (t) => {
  const { exchange, one, two } = pair()
  const [first, second] = exchange(0)
  t.strictSame(summary(first), { tell: [`${macs.b} 10.9.0.2`], forget: [] })
  t.strictSame(summary(second), { tell: [`${macs.a} 10.9.0.1`], forget: [] })
  t.strictSame(first.neighbors.set, [{ segment: 100, address: "10.0.0.2", mac: macs.b, router: true }], "a router's ND extended community")
  t.strictSame([one.floods(100), two.floods(100)], [["10.9.0.2"], ["10.9.0.1"]])

  two.seen(100, new Map([[macs.guest, { fresh: true }]]), 1)
  t.strictSame(summary(exchange(1)[0]), { tell: [`${macs.guest} 10.9.0.2`], forget: [] }, "a learnt station")
  one.seen(100, new Map([[macs.guest, { fresh: true }]]), 2)
  const [, other] = exchange(2)
  t.strictSame(summary(other), { tell: [`${macs.guest} 10.9.0.1`], forget: [] }, "it moves")
  two.seen(100, new Map(), 3)
  one.seen(100, new Map(), 4)
  t.strictSame(summary(exchange(4)[1]), { tell: [], forget: [macs.guest] }, "it has aged")

  two.setNetworks([network("b", { ports: [{ ...network("b").ports[0]!, addresses: ["10.0.0.22"] }] })], 5)
  t.match(exchange(5)[0].neighbors, { set: [{ address: "10.0.0.22" }], remove: [{ address: "10.0.0.2" }] }, "another address")
  two.setNetworks([], 6)
  const [left] = exchange(6)
  t.strictSame(summary(left), { tell: [], forget: [macs.b] }, "the network has gone from the other host")
  t.match(left.neighbors.remove, [{ address: "10.0.0.22" }])
  t.strictSame([one.floods(100), two.rib.countOf(self)], [[], 0])
  one.setNetworks([], 7)
  exchange(7)
  t.equal(one.rib.size, 0)
  t.end()
})

t.test("a network that comes later finds what was announced before", (t) => {
  const [one, two] = [coreAt("10.9.0.1"), coreAt("10.9.0.2")]
  two.setNetworks([network("b")], 0)
  pass(two, one, two.take(0))
  t.strictSame(summary(one.take(0)), { tell: [], forget: [] }, "no network here")
  one.setNetworks([network("a")], 1)
  const work = one.take(1)
  t.strictSame(summary(work).tell, [`${macs.b} 10.9.0.2`])
  t.strictSame(work.floods, [100])
  one.rib.dropPeer("10.9.0.2")
  t.strictSame(summary(one.take(2)), { tell: [], forget: [macs.b] }, "a session that ends takes its routes along")
  t.end()
})

t.test("an address that is here is not answered for somebody else", (t) => {
  const { exchange, two } = pair()
  two.setNetworks([network("b", { ports: [{ ...network("b").ports[0]!, addresses: ["10.0.0.1"] }] })], 0)
  t.strictSame(exchange(0)[0].neighbors.set, [])
  t.end()
})

t.test("prefixes behind routers are announced, resolved, changed and withdrawn", (t) => {
  const { exchange, one, two } = pair()
  const back = { prefix: "10.2.0.0/24", gateway: "10.0.0.2" }
  const behindB = (...prefixes: ReadonlyArray<typeof back>) => two.setNetworks([network("b", { prefixes })], 0)
  const told = (changes: Work["changes"]) => changes.map(({ after, before }) => [(after ?? before)!.route.type, after !== undefined])
  behindB(back)
  exchange(0)
  const seen = { rd: "10.9.0.2:100", ...back, vni: 100, vtep: "10.9.0.2", network: "lab/lan", mac: macs.b }
  t.strictSame(one.prefixes(), [{ ...seen, at: "10.9.0.2" }], "the gateway is a station on the other host")
  t.strictSame(two.prefixes(), [{ ...seen, at: "" }], "and here where it is")
  t.strictSame([one.prefixes("lab").length, one.prefixes("other").length], [1, 0])
  const path = [...one.rib.bests()].map(([, path]) => path).find(({ route }) => route.type === 5)!
  const targets = path.communities.flatMap((one) => (one.kind === "route-target" ? [one.number] : []))
  t.strictSame(targets, [0x4000_0000 + 100], "none of the segment's")
  t.match(path.route, { label: 0, esi: zeroEsi, tag: 0 }, "RFC 9136 3.1: no label where the gateway's route says the way")
  t.notOk(isRefused(one.identity, path))

  behindB({ ...back })
  t.strictSame(two.take(1).changes, [], "the same again is no news")
  behindB({ ...back, gateway: "10.0.0.9" }, { prefix: "10.3.0.0/16", gateway: "10.0.0.2" })
  const [, work] = exchange(1)
  t.strictSame(told(work.changes), [[5, true], [5, true]])
  t.strictSame(one.prefixes().map(({ gateway, mac, prefix }) => [prefix, gateway, mac]).toSorted(), [
    ["10.2.0.0/24", "10.0.0.9", ""], ["10.3.0.0/16", "10.0.0.2", macs.b]
  ], "nobody is known to have the new gateway's address")
  behindB()
  t.strictSame(told(exchange(2)[1].changes), [[5, false], [5, false]])
  behindB(back)
  exchange(3)
  two.setNetworks([], 4)
  exchange(4)
  t.strictSame([one.prefixes(), two.rib.countOf(self)], [[], 0], "a network that goes takes them along")
  t.end()
})

t.test("routes of other encapsulations, other labels and other targets are none of ours", (t) => {
  const [one, two] = [coreAt("10.9.0.1"), coreAt("10.9.0.2")]
  one.setNetworks([network("a")], 0)
  one.take(0)
  two.setNetworks([network("b")], 0)
  const [path] = two.take(0).changes.flatMap(({ after }) => (after?.route.type === 2 ? [after] : []))
  const targets = path!.communities.filter(({ kind }) => kind === "route-target")
  const strangers: ReadonlyArray<Path> = [
    { ...path!, communities: [...targets, { kind: "encapsulation", tunnelType: 19 }] },
    { ...path!, communities: path!.communities.filter(({ kind }) => kind !== "route-target") },
    { ...path!, route: { ...path!.route, label: 101 } as Path["route"] }
  ]
  for (const stranger of strangers) {
    one.rib.announce({ ...stranger, peer: "10.9.0.2" })
    t.strictSame(summary(one.take(1)).tell, [])
  }
  const plain = path!.communities.filter((one) => one.kind === "route-target" && one.number === 100)
  one.rib.announce({ ...path!, communities: plain, peer: "10.9.0.2" })
  t.equal(one.take(2).tell.length, 1, "AS:VNI and no encapsulation will do")
  t.end()
})

const lists = { asPath: [], communities: [], extendedCommunities: [], largeCommunities: [], clusterList: [], unknown: [] }
const attributes = { ...lists, origin: 0, atomicAggregate: false }
const prefix: Prefix = { type: 5, rd: "00010a0909010064", esi: zeroEsi, tag: 0, prefix: "10.0.0.0/8", gateway: "0.0.0.0", label: 7 }
const pathFrom = (peer: string, more: Partial<Path> = {}, moreAttributes: Partial<Path["attributes"]> = {}): Path => {
  const usual = { isExternal: false, peerId: 1, route: prefix, nextHop: "10.9.0.3" }
  return pathOf({ ...usual, peer, ...more, attributes: { ...attributes, ...moreAttributes } })
}

t.test("comparePaths goes by RFC 4271 9.1.2.2", (t) => {
  const as = (...asns: number[]) => [{ type: 2, asns }]
  const better: ReadonlyArray<readonly [title: string, winner: Path, loser: Path]> = [
    ["our own", pathFrom(self), pathFrom("a", {}, { localPref: 200 })],
    ["local preference", pathFrom("b", {}, { localPref: 200 }), pathFrom("a", {}, { localPref: 150 })],
    ["AS path", pathFrom("b", {}, { asPath: as(1) }), pathFrom("a", {}, { asPath: as(1, 2) })],
    ["origin", pathFrom("b"), pathFrom("a", {}, { origin: 2 })],
    ["MED of one neighbour AS", pathFrom("b", {}, { asPath: as(1), med: 5 }), pathFrom("a", {}, { asPath: as(1), med: 6 })],
    ["external", pathFrom("b", { isExternal: true }), pathFrom("a")],
    ["identifier", pathFrom("b", { peerId: 1 }), pathFrom("a", { peerId: 2 })],
    ["originator", pathFrom("b", { peerId: 9 }, { originatorId: 1 }), pathFrom("a", { peerId: 2 })],
    ["cluster list", pathFrom("b"), pathFrom("a", {}, { clusterList: [1] })],
    ["peer", pathFrom("a"), pathFrom("b")]
  ]
  for (const [title, winner, loser] of better) t.ok(comparePaths(winner, loser) < 0 && comparePaths(loser, winner) > 0, title)
  t.end()
})

t.test("isRefused: loops and contradictions", (t) => {
  const identity = { vtep: "10.9.0.1", routerId: "10.9.0.1", asn: 64_999 }
  t.notOk(isRefused(identity, pathFrom("a")))
  t.ok(isRefused(identity, pathFrom("a", { isExternal: true }, { asPath: [{ type: 2, asns: [65_001, 64_999] }] })))
  t.ok(isRefused(identity, pathFrom("a", {}, { originatorId: 0x0a09_0001 })), "ours, reflected")
  t.ok(isRefused(identity, pathFrom("a", { route: { ...prefix, label: 0 } })))
  const core = coreAt("10.9.0.1")
  core.rib.announce(pathFrom("a"))
  t.match(core.prefixes(), [{ prefix: "10.0.0.0/8", vni: 7, vtep: "10.9.0.3", rd: "10.9.9.1:100", network: "", mac: "", at: "" }])
  core.rib.withdraw("a", keyOf(prefix))
  t.strictSame(core.prefixes(), [])
  t.end()
})

t.test("networksIn, Distinguishers, routerIdOf", (t) => {
  const segment = { segmentKind: "network", name: "lan", vni: 7, ports: ["r:eth0"], ageingS: 300 }
  const resource = (kind: string, spec: object) => ({ kind, id: kind, spec, dependsOn: [] })
  const plan = {
    lab: "x",
    nodes: [],
    segments: [],
    resources: [
      resource("node", { node: "r", nodeKind: "router", sysctls: {} }),
      resource("port", { node: "r", ifname: "eth0", mac: macs.a, mtu: 1500, fabricName: "p1", state: "up" }),
      resource("address", { node: "r", ifname: "eth0", address: "10.0.0.1/24" }),
      resource("address", { node: "r", ifname: "eth0", address: "fd00::1/64" }),
      resource("segment", segment),
      resource("segment", { ...segment, segmentKind: "p2p" }),
      resource("segment", { ...segment, tunnel: { encapsulation: "geneve", port: 6081, datapath: "auto", vteps: ["10.9.0.2"] } }),
      resource("segment", { ...segment, vni: 8, tunnel: { encapsulation: "vxlan", port: 4790, datapath: "auto", vteps: ["10.9.0.2"] } })
    ]
  } as unknown as Plan
  const port = { port: "r:eth0", mac: macs.a, addresses: ["10.0.0.1", "fd00::1"], router: true }
  t.strictSame(networksIn(plan), [
    { lab: "x", name: "lan", vni: 7, udpPort: 4789, vteps: [], ports: [port], prefixes: [] },
    { lab: "x", name: "lan", vni: 8, udpPort: 4790, vteps: ["10.9.0.2"], ports: [port], prefixes: [] }
  ])
  const distinguishers = new Distinguishers("10.9.0.1")
  t.strictSame([7, 0x1_0007, 0x1_0000, 7].map((vni) => distinguishers.of(vni).slice(-4)), ["0007", "0008", "0001", "0007"])
  t.equal(routerIdOf("10.9.0.1"), "10.9.0.1")
  t.match(routerIdOf("fd99::1"), /^\d+\.\d+\.\d+\.\d+$/)
  t.not(routerIdOf("fd99::1"), routerIdOf("fd99::2"))
  t.end()
})
