import t from "tap"
import { messages, Writer } from "../../../daemon/wire/netlink.ts"
import { IfThere, RouteBatch } from "../../../daemon/wire/rtnetlink/route-batch.ts"
import { decode, dumpEntries, scan, type Scanned } from "../../../daemon/wire/rtnetlink/route-entry.ts"
import * as Nexthop from "../../../daemon/wire/rtnetlink/nexthop-object.ts"
import { parse } from "../../../daemon/wire/ip.ts"
import { networkOf, covers, masked } from "../../../daemon/wire/prefix.ts"

const common = { protocol: 95, table: 254, metric: 20, type: 1 }

t.test("RouteBatch writes what the reader of routes reads, into octets that held something else", async (t) => {
  const batch = new RouteBatch(4096)
  batch.bytes.fill(0xa5)
  batch.add(IfThere.fail, Uint8Array.of(9, 198, 51, 100, 0), 1, 24, false, common, 0x95000001)
  batch.add(IfThere.replace, parse("2001:db8::")!, 0, 32, true, { ...common, table: 70_000, metric: 1044 }, 7)
  batch.add(IfThere.fail, Uint8Array.of(203, 0, 113, 0), 0, 24, false, { ...common, type: 6 }, 0)
  batch.remove(Uint8Array.of(0, 0, 0, 0), 0, 0, false, common)
  const written = [...messages(batch.bytes.subarray(0, batch.length))]
  const heads = written.map(({ type, flags }) => [type, flags])
  t.strictSame(heads, [[24, 0x601], [24, 0x501], [24, 0x601], [25, 1]], "no acknowledgements are asked for")
  t.match(decode(written[0]!.body), { prefix: "198.51.100.0/24", table: 254, metric: 20, protocol: 95, type: 1, scope: 0 })
  t.equal(decode(written[0]!.body)?.nexthop, 0x95000001)
  t.match(decode(written[1]!.body), { prefix: "2001:db8::/32", table: 70_000, metric: 1044, nexthop: 7 })
  t.match(decode(written[2]!.body), { prefix: "203.0.113.0/24", type: 6, nexthop: 0 })
  t.match(decode(written[3]!.body), { prefix: "0.0.0.0/0", scope: 255 })
  const found: Scanned = { isV6: false, length: 0, table: 0, metric: 0, type: 0, protocol: 0, nexthop: 0, destinationAt: 0 }
  scan(written[1]!.body, found)
  t.match(found, { isV6: true, length: 32, table: 70_000, metric: 1044, type: 1, protocol: 95, nexthop: 7 })
  while (batch.hasSpace) batch.add(IfThere.fail, parse("2001:db8::")!, 0, 32, true, { ...common, table: 70_000 }, 7)
  t.ok(batch.length <= 4096)
  t.equal([...messages(batch.bytes.subarray(0, batch.length))].length, batch.count)
})

t.test("Readers of routes and nexthops end where octets do", async (t) => {
  const batch = new RouteBatch(256)
  batch.add(IfThere.fail, parse("2001:db8::")!, 0, 32, true, { ...common, table: 70_000 }, 7)
  const { body } = [...messages(batch.bytes.subarray(0, batch.length))][0]!
  const found: Scanned = { isV6: false, length: 0, table: 0, metric: 0, type: 0, protocol: 0, nexthop: 0, destinationAt: 0 }
  for (let end = 0; end <= body.length; end++) {
    t.doesNotThrow(() => decode(body.subarray(0, end)))
    t.doesNotThrow(() => scan(body.subarray(0, end), found))
  }
})

t.test("Nexthop objects are read as they are written", async (t) => {
  const out = new Writer()
  Nexthop.addSingle(out, Nexthop.IfThere.fail, 1, 95, parse("fe80::1")!, 3)
  Nexthop.addGroup(out, Nexthop.IfThere.fail, 2, 95, [{ id: 1, weight: 255 }, { id: 9, weight: 1 }], { buckets: 64, idleS: 120 })
  Nexthop.addGroup(out, Nexthop.IfThere.replace, 4, 95, [{ id: 1, weight: 1 }], undefined)
  Nexthop.remove(out, 2)
  const written = [...messages(out.finish())]
  const [single, group, plain] = written.map(({ body }) => Nexthop.decode(body))
  t.match(single, { id: 1, protocol: 95, gateway: "fe80::1", index: 3, isBlackhole: false })
  t.ok(Nexthop.isV6(single!))
  t.match(group, { id: 2, members: [{ id: 1, weight: 255 }, { id: 9, weight: 1 }], resilient: { buckets: 64, idleS: 120 } })
  t.notOk("resilient" in plain!)
  t.equal(written[3]!.type, Nexthop.delNexthop)
})

t.test("A multipath route has all its ways", async (t) => {
  const body = Uint8Array.from([
    2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0, 8, 0, 15, 0, 254, 0, 0, 0, 8, 0, 1, 0, 198, 51, 100, 0, 44, 0, 9, 0,
    16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 10, 0, 1, 2, 24, 0, 16, 4, 3, 0, 0, 0, 8, 0, 5, 0, 10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0
  ])
  t.match(decode(body)?.ways[0], { gateway: "10.0.1.2", index: 2, weight: 1 })
  t.match(decode(body)?.ways[1], { gateway: "10.0.2.2", index: 3, weight: 5, isDown: true })
})

t.test("dumpEntries asks for a table and a protocol", async (t) => {
  const out = new Writer()
  dumpEntries(out, { family: 2, table: 100, protocol: 95 })
  const { body } = [...messages(out.finish())][0]!
  t.strictSame([...body], [2, 0, 0, 0, 0, 95, 0, 0, 0, 0, 0, 0, 8, 0, 15, 0, 100, 0, 0, 0])
})

t.test("Prefixes are masked and compared bit by bit", async (t) => {
  t.equal(networkOf("10.1.2.255/31"), "10.1.2.254/31")
  t.equal(networkOf("2001:db8:ffff::1/33"), "2001:db8:8000::/33")
  t.strictSame([...masked(Uint8Array.of(255, 255, 255, 255), 0)], [0, 0, 0, 0])
  t.ok(covers(parse("10.0.0.0")!, 8, parse("10.255.0.1")!))
  t.notOk(covers(parse("10.0.0.0")!, 9, parse("10.255.0.1")!))
  t.notOk(covers(parse("0.0.0.0")!, 0, parse("::")!), "families do not mix")
})
