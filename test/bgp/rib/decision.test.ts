/** The decision process: each step both ways, and independence of the order of arrival. */
import t from "tap"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import type { RibPolicy } from "../../../daemon/bgp/rib/types.ts"
import { anyFamily, attributes, type PeerOptions, TestRib } from "./rib-harness.ts"

const weight = (value: number): RibPolicy => ({ usesPrefix: false, apply: (given) => ({ attributes: given, weight: value }) })
const withWeight = (value: number) => ({ ...anyFamily, importPolicy: weight(value) })

interface Row {
  readonly step: string
  readonly winner: PathAttributes
  readonly loser: PathAttributes
  readonly winnerPeer?: PeerOptions
  readonly loserPeer?: PeerOptions
}

const external = { remoteAs: 65001 }
const base = { path: [65001, 7], nextHop: "10.9.9.1" }
const other = { path: [65001, 8], nextHop: "10.9.9.2" }

const rows: ReadonlyArray<Row> = [
  {
    step: "weight", winner: attributes(base), loser: attributes({ ...other, path: [65001] }),
    winnerPeer: { families: [withWeight(10), anyFamily] }, loserPeer: { families: [withWeight(5), anyFamily] }
  },
  {
    step: "local preference", winner: attributes({ ...base, localPref: 200 }), loser: attributes({ ...other, path: [] }),
    winnerPeer: { remoteAs: 65000 }, loserPeer: { remoteAs: 65000 }
  },
  { step: "AS-path length", winner: attributes(base), loser: attributes({ ...other, path: [65001, 8, 9], origin: 0 }) },
  { step: "origin", winner: attributes(base), loser: attributes({ ...other, origin: 2 }) },
  { step: "MED", winner: attributes({ ...base, med: 5 }), loser: attributes({ ...other, med: 6 }) },
  { step: "MED", winner: attributes(base), loser: attributes({ ...other, med: 1 }) },
  { step: "eBGP over iBGP", winner: attributes(base), loser: attributes(other), loserPeer: { remoteAs: 65000 } },
  { step: "IGP metric", winner: attributes(base), loser: attributes({ ...other, nextHop: "10.9.9.20" }) },
  {
    step: "router ID", winner: attributes(base), loser: attributes(other),
    winnerPeer: { remoteAs: 65000, routerId: 3 }, loserPeer: { remoteAs: 65000, routerId: 4 }
  },
  {
    step: "router ID", winner: attributes({ ...base, originatorId: 2 }), loser: attributes(other),
    winnerPeer: { remoteAs: 65000, routerId: 9 }, loserPeer: { remoteAs: 65000, routerId: 4 }
  },
  {
    step: "cluster list length", winner: attributes({ ...base, originatorId: 2, clusterList: [1] }),
    loser: attributes({ ...other, originatorId: 2, clusterList: [1, 2] }), winnerPeer: { remoteAs: 65000 }, loserPeer: { remoteAs: 65000 }
  },
  {
    step: "neighbor address", winner: attributes(base), loser: attributes(other),
    winnerPeer: { remoteAs: 65000, address: "10.0.0.9" }, loserPeer: { remoteAs: 65000, address: "10.0.0.10" }
  }
]

for (const { loser, loserPeer, step, winner, winnerPeer } of rows) {
  t.test(`Decision.compare on ${step}, whoever comes first`, (t) => {
    for (const isWinnerFirst of [true, false]) {
      const lab = new TestRib()
      lab.nextHops.set("10.9.9.20", { metric: 10 })
      const one = lab.peer({ ...external, ...winnerPeer, name: "winner" })
      const two = lab.peer({ ...external, address: "10.0.0.2", ...loserPeer, name: "loser" })
      const send = [() => one.announce(["10.1.0.0/16"], winner), () => two.announce(["10.1.0.0/16"], loser)]
      for (const action of isWinnerFirst ? send : send.toReversed()) {
        action()
        lab.settle()
      }
      const address = winnerPeer?.address ?? "10.0.0.1"
      t.strictSame(lab.why("10.1.0.0/16"), [`winner: best by ${step}`, `loser: lost to ${address} on ${step}`])
    }
    t.end()
  })
}

/** What a table says of the paths of two routers that differ in their ids alone, told of in this order. */
const whyInOrder = (first: "a" | "b", setting: ConstructorParameters<typeof TestRib>[0]): ReadonlyArray<string> => {
  const lab = new TestRib(setting)
  const peers = {
    a: lab.peer({ ...external, name: "a", routerId: 1 }),
    b: lab.peer({ ...external, name: "b", routerId: 2, address: "10.0.0.2" })
  }
  peers[first].announce(["10.1.0.0/16"], attributes(base))
  lab.settle()
  peers[first === "a" ? "b" : "a"].announce(["10.1.0.0/16"], attributes(other))
  return lab.why("10.1.0.0/16")
}

t.test("Decision.compare prefers the eBGP path that is best already", (t) => {
  t.match(whyInOrder("a", {})[1], /^b: lost .* on age$/)
  t.match(whyInOrder("b", {})[1], /^a: lost .* on age$/)
  t.end()
})

t.test("Decision.compare asks for the router id instead, where it is told to", (t) => {
  for (const first of ["a", "b"] as const) {
    const why = whyInOrder(first, { compareRouterId: true })
    t.strictSame(why, ["a: best by router ID", "b: lost to 10.0.0.1 on router ID"], `${first} first`)
  }
  t.end()
})

t.test("Decision.compare takes no MED for the highest, where it is told to", (t) => {
  const lab = new TestRib()
  lab.peer({ ...external, name: "without" }).announce(["10.1.0.0/16"], attributes(base))
  lab.peer({ ...external, name: "with", address: "10.0.0.2" }).announce(["10.1.0.0/16"], attributes({ ...other, med: 4_000_000_000 }))
  t.equal(lab.why("10.1.0.0/16")[0], "without: best by MED")
  const setting = { clusterId: 1, multipath: { ebgp: 1, ibgp: 1, asPathRelax: false }, alwaysCompareMed: false, gracefulShutdown: false }
  lab.rib.configure({ ...setting, missingMedIsWorst: true })
  t.strictSame(lab.why("10.1.0.0/16"), ["with: best by MED", "without: lost to 10.0.0.2 on MED"])
  lab.rib.configure(setting)
  t.equal(lab.why("10.1.0.0/16")[0], "without: best by MED")
  t.end()
})

t.test("Decision.compare does not look at the length of paths, where it is told not to", (t) => {
  const lab = new TestRib()
  lab.peer({ ...external, name: "long" }).announce(["10.1.0.0/16"], attributes({ path: [65001, 1, 2, 3], origin: 0 }))
  lab.peer({ ...external, name: "short", address: "10.0.0.2" }).announce(["10.1.0.0/16"], attributes({ path: [65001, 1], origin: 2 }))
  t.equal(lab.why("10.1.0.0/16")[0], "short: best by AS-path length")
  const setting = { clusterId: 1, multipath: { ebgp: 1, ibgp: 1, asPathRelax: false }, alwaysCompareMed: false, gracefulShutdown: false }
  lab.rib.configure({ ...setting, ignoreAsPath: true })
  t.strictSame(lab.why("10.1.0.0/16"), ["long: best by origin", "short: lost to 10.0.0.1 on origin"])
  lab.rib.configure(setting)
  t.equal(lab.why("10.1.0.0/16")[0], "short: best by AS-path length")
  t.end()
})

t.test("Decision.compare prefers own routes", (t) => {
  const lab = new TestRib()
  lab.peer({ ...external, name: "a", families: [withWeight(32768), anyFamily] }).announce(["10.1.0.0/16"], attributes(base))
  lab.rib.originate("10.1.0.0/16", 1, attributes({ path: [1, 2, 3], nextHop: "0.0.0.0" }))
  t.strictSame(lab.why("10.1.0.0/16"), ["undefined: best by local origin", "a: lost to network on local origin"])
  t.end()
})

const permutations = <A>(list: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  list.length < 2 ? [list] : list.flatMap((one, i) => permutations(list.toSpliced(i, 1)).map((others) => [one, ...others]))

t.test("Decision.best compares MED within a neighbour AS only, whatever the order of arrival", (t) => {
  // The classic: without groups a beats b (router id), b beats c (MED), c beats a (IGP metric)... in a circle.
  const paths = [
    { name: "a", given: attributes({ path: [1, 7], med: 10, nextHop: "10.9.9.1" }), metric: 10 },
    { name: "b", given: attributes({ path: [2, 7], med: 10, nextHop: "10.9.9.2" }), metric: 5 },
    { name: "c", given: attributes({ path: [2, 7], med: 5, nextHop: "10.9.9.3" }), metric: 20 },
    { name: "d", given: attributes({ path: [1, 7], med: 20, nextHop: "10.9.9.4" }), metric: 1 }
  ]
  for (const order of permutations(paths)) {
    const lab = new TestRib()
    for (const { given, metric } of paths) lab.nextHops.set(given.nextHop!, { metric })
    for (const { given, name } of order) {
      const index = paths.findIndex((path) => path.name === name)
      lab.peer({ name, remoteAs: 65000, routerId: index + 1, address: `10.0.0.${index + 1}` }).announce(["10.1.0.0/16"], given)
      lab.settle()
    }
    t.match(lab.why("10.1.0.0/16")[0], /^a: /, order.map(({ name }) => name).join())
  }
  t.end()
})

t.test("FamilyTable.decide installs equal paths and the next best as backup", (t) => {
  const lab = new TestRib({ multipath: { ebgp: 2, ibgp: 1, asPathRelax: false } })
  const names = ["a", "b", "c", "d"]
  const peers = names.map((name, i) => lab.peer({ ...external, name, routerId: i + 1, address: `10.0.0.${i + 1}` }))
  const hop = (i: number): string => `10.9.9.${i + 1}`
  peers[0]!.announce(["10.1.0.0/16"], attributes({ path: [65001, 7], nextHop: hop(0) }))
  peers[1]!.announce(["10.1.0.0/16"], attributes({ path: [65001, 8], nextHop: hop(1) }))
  peers[2]!.announce(["10.1.0.0/16"], attributes({ path: [65001, 7], nextHop: hop(2) }))
  lab.settle()
  t.equal(lab.fib.routes.get("10.1.0.0/16"), "10.9.9.1,10.9.9.3|10.9.9.2", "the same AS path; the other is for when both fail")
  lab.nextHops.set(hop(0), { isReachable: false })
  lab.settle()
  t.equal(lab.fib.routes.get("10.1.0.0/16"), "10.9.9.2|10.9.9.3")
  const relaxed = new TestRib({ multipath: { ebgp: 2, ibgp: 1, asPathRelax: true } })
  for (const [i, last] of [7, 8].entries()) {
    relaxed.peer({ ...external, name: names[i]!, address: `10.0.0.${i}` })
      .announce(["10.1.0.0/16"], attributes({ path: [65001, last], nextHop: hop(i) }))
  }
  relaxed.settle()
  t.equal(relaxed.fib.routes.get("10.1.0.0/16"), "10.9.9.1,10.9.9.2|")
  t.end()
})
