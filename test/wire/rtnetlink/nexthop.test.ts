import * as Rt from "netlink/dist/rt/structs.js"
import t from "tap"
import { familyOf } from "../../../daemon/wire/ip.ts"
import * as Nexthop from "../../../daemon/wire/rtnetlink/nexthop.ts"
import { captured, indexOf, mistreats } from "./captured.ts"
import { read, write } from "./oracle.ts"

interface Says {
  readonly id: number
  readonly gateway?: string
  readonly dev?: string
  readonly protocol: string
  readonly group?: ReadonlyArray<{ readonly id: number; readonly weight?: number }>
}

/** Made by `ip -6`, without a gateway that would show it. */
const deviceOnlyIpv6 = 5

t.test("Nexthop.decode agrees with iproute2", async (t) => {
  const { found, says } = captured<Says>("nexthops")
  const expected = says.map((nexthop): Nexthop.Nexthop => {
    const base = { id: nexthop.id, protocol: Number(nexthop.protocol) }
    const members = nexthop.group?.map(({ id, weight }) => ({ id, weight: weight ?? 1 }))
    if (members !== undefined) return { ...base, kind: "group", members }
    const family = nexthop.gateway === undefined ? (nexthop.id === deviceOnlyIpv6 ? "ipv6" : "ipv4") : familyOf(nexthop.gateway)
    const single = { ...base, kind: "single", family, index: indexOf.get(nexthop.dev!)! } as const
    return nexthop.gateway === undefined ? single : { ...single, gateway: nexthop.gateway }
  })
  t.strictSame(found.map(({ body }) => Nexthop.decode(body)), expected)
  t.ok(says.some(({ group }) => group?.some(({ weight }) => weight === 256)), "the capture has the largest weight")
})

t.test("Nexthop.decode reads what others write", async (t) => {
  const body = write(Rt.formatNextHopMessage, {
    kind: "nexthop",
    data: { family: 10, protocol: 94 },
    attrs: { id: 0xffffffff, oif: 70000, gateway: Buffer.from("fe800000000000000000000000000001", "hex") }
  })
  t.strictSame(Nexthop.decode(body), { id: 0xffffffff, protocol: 94, kind: "single", family: "ipv6", index: 70000, gateway: "fe80::1" })
})

t.test("Nexthop.decode survives what no kernel sends", async (t) => t.equal(mistreats("nexthops", Nexthop.decode), undefined))

t.test("addNexthop says of which family a way without a gateway is", async (t) => {
  const single = { id: 9, protocol: 94, kind: "single", index: 7 } as const
  const by = (nexthop: Nexthop.Nexthop) => read("nexthop", (out) => Nexthop.addNexthop(out, nexthop))
  t.match(by({ ...single, family: "ipv6" }), { type: 104, flags: 0x505, data: { family: 10, protocol: 94 }, attrs: { id: 9, oif: 7 } })
  t.match(by({ ...single, family: "ipv4", gateway: "10.0.0.2" }), { data: { family: 2 }, attrs: { gateway: "0a000002" } })
})

t.test("addNexthop counts weights from 0, as the kernel does", async (t) => {
  const members = [{ id: 1, weight: 1 }, { id: 0x7fffffff, weight: 256 }]
  const { data, attrs } = read("nexthop", (out) => Nexthop.addNexthop(out, { id: 10, protocol: 94, kind: "group", members }))
  t.match(data, { family: 0 })
  t.strictSame(attrs, { id: 10, group: "0100000000000000" + "ffffff7fff000000" })
})

t.test("removeNexthop names the id", async (t) => {
  t.match(read("nexthop", (out) => Nexthop.removeNexthop(out, 10)), { type: 105, attrs: { id: 10 } })
})
