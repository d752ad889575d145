/** The tables below the RIB: prefixes as numbers, attribute sets and their octets. */
import t from "tap"
import { AttributeTable, SetFlag } from "../../../daemon/bgp/rib/attribute-table.ts"
import { IndexQueue } from "../../../daemon/bgp/rib/columns.ts"
import { OctetArena } from "../../../daemon/bgp/rib/octet-arena.ts"
import { PrefixTable } from "../../../daemon/bgp/rib/prefix-table.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import { seeded } from "../../random.ts"
import { attributes, TestNextHops } from "./rib-harness.ts"

for (const isIpv6 of [false, true]) {
  t.test(`PrefixTable keeps what a Map keeps, while it grows and shrinks (${isIpv6 ? "IPv6" : "IPv4"})`, (t) => {
    const random = seeded(isIpv6 ? 6 : 4)
    const table = new PrefixTable(isIpv6)
    const wanted = new Map<string, number>()
    const octets = new Uint8Array(16)
    const bits = isIpv6 ? 128 : 32
    const key = (length: number): string => {
      const masked = octets.slice(0, bits / 8)
      masked.forEach((octet, i) => (masked[i] = octet & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i)))))
      return `${length} ${masked.join()}`
    }
    let wrong = 0
    // Waves: mostly insertions, then mostly removals.
    for (let i = 0; i < 60_000; i++) {
      const isFilling = i % 20_000 < 13_000
      const length = random.below(bits + 1)
      octets.set(random.octets(bits / 8))
      // Few distinct leading octets, so that prefixes come again.
      octets.fill(7, 1, bits / 8 - 1)
      octets[0] = random.below(3)
      const name = key(length)
      if (isFilling || random.below(3) === 0) {
        const index = table.insert(octets, 0, length)
        if (wanted.has(name) && wanted.get(name) !== index) wrong++
        wanted.set(name, index)
      } else {
        const index = table.find(octets, 0, length)
        if (index !== (wanted.get(name) ?? -1)) wrong++
        if (index >= 0) table.remove(index)
        wanted.delete(name)
      }
    }
    t.equal(wrong, 0)
    t.equal(table.count, wanted.size)
    t.equal(new Set(wanted.values()).size, wanted.size, "no number stands for two")
    for (const [name, index] of wanted) {
      table.octetsInto(index, octets, 0)
      if (key(table.lengthOf(index)) !== name || table.find(octets, 0, table.lengthOf(index)) !== index) wrong++
    }
    t.equal(wrong, 0)
    t.end()
  })
}

t.test("PrefixTable finds each of 200 000 prefixes, and none of those that went", (t) => {
  const table = new PrefixTable(false)
  const octets = new Uint8Array(4)
  const put = (i: number): Uint8Array => {
    new DataView(octets.buffer).setUint32(0, i * 256)
    return octets
  }
  const count = 200_000
  for (let i = 0; i < count; i++) table.insert(put(i), 0, 24)
  for (let i = 0; i < count; i += 2) table.remove(table.find(put(i), 0, 24))
  let wrong = 0
  for (let i = 0; i < count; i++) if ((table.find(put(i), 0, 24) >= 0) !== (i % 2 === 1)) wrong++
  for (let i = 0; i < count; i += 2) table.insert(put(i), 0, 24)
  for (let i = 0; i < count; i++) if (table.find(put(i), 0, 24) < 0) wrong++
  t.equal(wrong, 0)
  t.equal(table.limit, count, "numbers are used again")
  t.end()
})

t.test("AttributeTable gives back what was put in, though it keeps octets only", (t) => {
  const sets = new AttributeTable(65000, new TestNextHops())
  const all: ReadonlyArray<PathAttributes> = [
    attributes({ path: [1, 2, 3], med: 0, localPref: 5, communities: [0xffff_ff01, 7], originatorId: 9, clusterList: [1, 2] }),
    attributes({ nextHop: "2001:db8::1" }),
    attributes({ nextHop: "2001:db8::1", linkLocalNextHop: "fe80::1", largeCommunities: [1n << 90n], extendedCommunities: [5n] }),
    attributes({ path: Array.from({ length: 200 }, (_, i) => i + 70_000), aggregator: { asn: 70_000, address: "10.0.0.1" } }),
    attributes({ origin: 2, atomicAggregate: true, unknown: [{ flags: 0xe0, type: 99, value: Uint8Array.of(1, 2) }] })
  ]
  const numbers = all.map((one) => sets.intern(one))
  t.strictSame(all.map((one) => sets.intern(one)), numbers, "equal sets are one")
  numbers.forEach((set, i) => t.strictSame(sets.get(set), all[i]))
  const { nextHop: _nextHop, ...bare } = all[0]!
  const self = sets.intern(all[0]!, { nextHop: "self" })
  t.not(self, numbers[0])
  t.strictSame(sets.get(self), bare)
  t.equal(sets.flags[self]! & SetFlag.nextHopSelf, SetFlag.nextHopSelf)
  const weighty = sets.intern(all[0]!, { weight: 7 })
  t.equal(sets.weight[weighty], 7)
  t.strictSame([sets.pathLength[numbers[0]!], sets.neighborAs[numbers[0]!], sets.localPref[numbers[1]!]], [3, 1, 100])
  for (const set of [...numbers, ...numbers, self, weighty]) sets.release(set)
  t.equal(sets.count, 0)
  t.ok(sets.intern(all[3]!) < sets.limit, "numbers are used again")
  t.end()
})

t.test("OctetArena keeps strings apart, over its first growth and chunks", (t) => {
  const arena = new OctetArena()
  const random = seeded(3)
  const kept = new Map<number, { readonly length: number; readonly mark: number }>()
  let wrong = 0
  for (let i = 0; i < 20_000; i++) {
    const length = 1 + random.below(400)
    const place = arena.take(length)
    if (kept.has(place)) wrong++
    kept.set(place, { length, mark: i & 255 })
    arena.chunk(place).fill(i & 255, arena.offset(place), arena.offset(place) + length)
    if (random.below(3) > 0) continue
    const [first] = kept.keys()
    arena.give(first!, kept.get(first!)!.length)
    kept.delete(first!)
  }
  for (const [place, { length, mark }] of kept) {
    const at = arena.offset(place)
    if (arena.chunk(place).subarray(at, at + length).some((octet) => octet !== mark)) wrong++
  }
  t.equal(wrong, 0)
  t.end()
})

t.test("IndexQueue has each number once, in order of arrival", (t) => {
  const queue = new IndexQueue()
  for (let i = 0; i < 1000; i++) queue.add(i * 3)
  t.notOk(queue.add(9))
  t.equal(queue.take(), 0)
  t.ok(queue.add(0))
  const taken = Array.from({ length: 1000 }, () => queue.take())
  t.strictSame(taken, [...Array.from({ length: 999 }, (_, i) => (i + 1) * 3), 0])
  t.equal(queue.take(), -1)
  t.end()
})
