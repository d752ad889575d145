/** Neighbours that come and go. */
import t from "tap"
import { anyFamily, attributes, peerConfig, type PeerOptions, TestRib } from "./rib-harness.ts"

const options = (number: number): PeerOptions =>
  ({ name: `peer ${number}`, remoteAs: 65000 + number, address: `10.0.0.${number}`, routerId: number })

/** `count` prefixes of 24 bits. */
const many = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => `20.${i >> 8}.${i & 255}.0/24`)

t.test("a neighbour that is back before its routes are gone: they go in slices, and what it sends again stays", (t) => {
  const told: number[] = []
  const lab = new TestRib({ events: { wanted: () => {}, maxPrefix: (_peer, _family, count) => told.push(count) } })
  const from = lab.peer({ remoteAs: 65001, name: "from", families: [{ ...anyFamily, maxPrefix: 20_000 }, anyFamily] })
  const prefixes = many(20_000)
  const announce = (some: ReadonlyArray<string>, path: ReadonlyArray<number>): void => {
    for (let at = 0; at < some.length; at += 500) from.announce(some.slice(at, at + 500), attributes({ path }))
  }
  announce(prefixes, [65001, 7])
  lab.settle()
  from.down()
  t.equal(lab.rib.peerCounts(from.index, 0).received, 0, "nothing counts any more")
  from.up()
  t.equal(lab.rib.counts(0).paths, 20_000, "nothing is removed at once")
  // Some as they were, some changed, some new: as many as before, and nothing is too much.
  announce(prefixes.slice(0, 5000), [65001, 7])
  lab.rib.run(0)
  announce(prefixes.slice(10_000, 15_000), [65001, 8])
  announce(prefixes.slice(0, 10_000).map((prefix) => prefix.replace("20.", "30.")), [65001, 9])
  t.strictSame(lab.rib.peerCounts(from.index, 0), { received: 20_000, accepted: 20_000, advertised: 0 })
  let slices = 0
  while (lab.rib.counts(0).paths > 20_000) {
    lab.rib.run(0)
    slices++
  }
  t.ok(slices >= 3, `${slices} slices`)
  lab.settle()
  t.strictSame(lab.rib.peerCounts(from.index, 0), { received: 20_000, accepted: 20_000, advertised: 0 })
  t.equal(lab.fib.routes.size, 20_000)
  t.equal(lab.rib.explain("20.0.0.0/24")[0]?.attributes.asPath[0]?.asns[1], 7)
  t.equal(lab.rib.explain("20.40.0.0/24")[0]?.attributes.asPath[0]?.asns[1], 8)
  t.equal(lab.rib.explain("20.20.0.0/24").length, 0)
  t.strictSame(told, [], "no limit was passed meanwhile")
  t.end()
})

t.test("a neighbour that is removed leaves in slices, and nobody gets its number before", (t) => {
  const lab = new TestRib()
  const { rib } = lab
  const prefixes = many(20_000)
  const [gone, stays, watcher] = [lab.peer(options(1)), lab.peer(options(2)), lab.peer(options(3))]
  gone.announce(prefixes, attributes({ path: [65001] }))
  stays.announce(prefixes, attributes({ path: [65002, 7] }))
  lab.settle()
  t.strictSame(watcher.routes.get(prefixes[0]!)?.asPath[0]?.asns, [65000, 65001])

  rib.removePeer(gone.index)
  t.equal(rib.counts(0).paths, 2 * prefixes.length, "the caller does not wait for it")
  t.not(rib.addPeer(peerConfig(lab.asn, options(4))), gone.index)
  // A slice without time is the smallest that there is.
  let slices = 0
  for (; rib.counts(0).paths > prefixes.length; slices++) rib.run(0)
  t.ok(slices >= 4, `${slices} slices for 20,000 rows, of 4096 each`)
  lab.settle()
  t.equal(rib.counts(0).paths, prefixes.length)
  t.ok(prefixes.every((prefix) => watcher.routes.get(prefix)?.asPath[0]?.asns[1] === 65002), "all have gone over to the other")
  t.equal(rib.addPeer(peerConfig(lab.asn, options(5))), gone.index, "its number is free")
  t.end()
})

t.test("a neighbour that is removed while its paths wait for its restart leaves nothing", (t) => {
  const lab = new TestRib()
  const gone = lab.peer(options(1))
  gone.announce(many(5000), attributes({ path: [65001] }))
  lab.settle()
  gone.down([0])
  lab.settle()
  t.equal(lab.fib.routes.size, 5000, "kept meanwhile")
  lab.rib.removePeer(gone.index)
  lab.settle()
  t.equal(lab.rib.counts(0).paths, 0)
  t.equal(lab.fib.routes.size, 0)
  t.end()
})
