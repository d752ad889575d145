/** Attributes on their way from one external neighbour to the next: octets to octets, and decoded, the result is the same. */
import t from "tap"
import { AttributeTable } from "../../../daemon/bgp/rib/attribute-table.ts"
import { afterPolicy, beforePolicy, type ExportTarget, plainPrepend } from "../../../daemon/bgp/rib/export-rewrite.ts"
import { occurrences, pathAt, pathEnd } from "../../../daemon/wire/bgp/block.ts"
import { encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import { makeContext } from "../../../daemon/wire/bgp/context.ts"
import { Family, SegmentType } from "../../../daemon/wire/bgp/iana.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import * as Ip from "../../../daemon/wire/ip.ts"
import { type Random, seeded } from "../../random.ts"
import { attributes, TestNextHops } from "./rib-harness.ts"

const asn = 4_200_000_001
const source = { isLocal: false, isExternal: true, isClient: false, routerId: 7 }
const targetOf = (config: Partial<ExportTarget["config"]> = {}, more: Partial<ExportTarget> = {}): ExportTarget => ({
  config: {
    isExternal: true, remoteAs: 65002, localAs: asn, localAsPrepend: true, routeReflectorClient: false, removePrivateAs: false,
    asOverride: false, sendCommunities: true, ...config
  } as ExportTarget["config"],
  nextHopSelf: false, asn, clusterId: 7, gracefulShutdown: false, longLived: false, refusedAs: 0, isOnLink: undefined, ...more
})

const randomAttributes = (random: Random): PathAttributes => {
  const asns = (most: number): number[] => Array.from({ length: 1 + random.below(most) }, () => 1 + random.below(70_000))
  const path = Array.from({ length: random.below(4) }, () => ({
    type: random.below(4) === 0 ? SegmentType.asSet : SegmentType.asSequence, asns: asns(random.below(10) === 0 ? 255 : 5)
  }))
  return {
    ...attributes({ nextHop: "192.0.2.1" }),
    origin: random.below(3),
    asPath: path,
    ...(random.below(2) === 0 ? { med: random.below(1000) } : {}),
    ...(random.below(2) === 0 ? { localPref: random.below(1000) } : {}),
    atomicAggregate: random.below(2) === 0,
    communities: Array.from({ length: random.below(5) === 0 ? 100 : random.below(3) }, () => random.below(0xffff_ffff))
  }
}

t.test("a forwarded set is the set of what is decoded, changed and encoded", (t) => {
  const random = seeded(11)
  const sets = new AttributeTable(asn, new TestNextHops())
  const context = makeContext({ asn4: true, isExternal: true, extendedMessage: true, families: [Family.ipv4Unicast], extendedNextHop: [] })
  const self = "203.0.113.9"
  let [plain, wrong] = [0, 0]
  for (let i = 0; i < 3000; i++) {
    const given = randomAttributes(random)
    const target = targetOf(random.below(2) === 0 ? {} : { localAs: 65009 })
    const received = sets.intern(given)
    const forwarded = sets.internForwarded(received, plainPrepend(target)!)
    if (forwarded === 0) continue
    plain++
    const before = beforePolicy(given, source, target)
    const { attributes: after, nextHop } = afterPolicy({ attributes: before }, before, source, target)
    if (sets.intern(after, { nextHop }) !== forwarded) wrong++
    const block = sets.blockOf(forwarded, Ip.parse(self)!)
    if (block === undefined || Buffer.compare(block, encodeAttributes({ ...after, nextHop: self }, context, true)) !== 0) wrong++
  }
  t.equal(wrong, 0)
  t.equal(plain, 3000, "none of these needs more")
  t.end()
})

t.test("what must be looked at is not forwarded", (t) => {
  const sets = new AttributeTable(asn, new TestNextHops())
  const forward = (more: Partial<PathAttributes>): number => sets.internForwarded(sets.intern({ ...attributes({}), ...more }), [asn])
  t.ok(forward({}) > 0)
  t.equal(forward({ extendedCommunities: [1n << 62n] }), 0, "it may not be transitive")
  t.equal(forward({ unknown: [{ type: 99, flags: 0xc0, value: new Uint8Array(1) }] }), 0)
  t.equal(forward({ asPath: [{ type: SegmentType.confedSequence, asns: [65100] }] }), 0)
  t.equal(forward({ originatorId: 5, clusterList: [9] }), 0)
  t.end()
})

t.test("neighbors for whom more is changed get nothing forwarded", (t) => {
  t.same(plainPrepend(targetOf()), [asn])
  t.same(plainPrepend(targetOf({ localAs: 65009 })), [65009, asn])
  t.same(plainPrepend(targetOf({ localAs: 65009, localAsPrepend: false })), [65009])
  for (const config of [{ isExternal: false }, { removePrivateAs: true }, { asOverride: true }, { sendCommunities: false }]) {
    t.equal(plainPrepend(targetOf(config)), undefined)
  }
  t.equal(plainPrepend(targetOf({}, { gracefulShutdown: true })), undefined)
  t.equal(plainPrepend(targetOf({}, { isOnLink: () => false })), undefined, "the next hop may be a third party's")
  t.same(plainPrepend(targetOf({}, { isOnLink: () => true, nextHopSelf: true })), [asn])
  t.end()
})

t.test("paths are compared and searched as octets", (t) => {
  const random = seeded(12)
  const sets = new AttributeTable(asn, new TestNextHops())
  const context = makeContext({ asn4: true, isExternal: true, extendedMessage: true, families: [Family.ipv4Unicast], extendedNextHop: [] })
  let wrong = 0
  for (let i = 0; i < 1000; i++) {
    const one = randomAttributes(random)
    const other = { ...randomAttributes(random), ...(i % 2 === 0 ? { asPath: one.asPath } : {}) }
    const isSame = JSON.stringify(one.asPath) === JSON.stringify(other.asPath)
    if (sets.isSamePath(sets.intern(one), sets.intern(other)) !== isSame) wrong++
    const block = encodeAttributes(one, context, true)
    const all = one.asPath.flatMap(({ asns }) => asns)
    const sought = all[0] ?? 7
    const at = pathAt(block, 0, block.length)
    if (at < 0 || occurrences(block, at, pathEnd, sought) !== all.filter((as) => as === sought).length) wrong++
    // Cut short anywhere, it is searched to its end and no further.
    for (let end = 0; end < block.length; end += 7) pathAt(block.subarray(0, end), 0, end)
  }
  t.equal(wrong, 0)
  t.end()
})
