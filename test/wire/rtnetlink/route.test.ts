import * as Rt from "netlink/dist/rt/structs.js"
import t from "tap"
import { familyOf } from "../../../daemon/wire/ip.ts"
import * as Route from "../../../daemon/wire/rtnetlink/route.ts"
import { captured, indexOf, mistreats } from "./captured.ts"
import { read, write } from "./oracle.ts"

interface Says {
  readonly type: string
  readonly dst: string
  readonly gateway?: string
  readonly dev?: string
  readonly nhid?: number
  readonly table: string
  readonly protocol: string
  readonly metric?: number
}

t.test("Route.decode agrees with iproute2", async (t) => {
  const { found, says } = captured<Says>("routes")
  let six = false
  const expected = says.map((route): Route.Route => {
    // iproute2 was asked for IPv4 first; "default" does not tell the family, its neighbours do.
    six ||= familyOf(route.dst) === "ipv6"
    const to = route.dst === "default" ? (six ? "::/0" : "0.0.0.0/0") : route.dst
    return {
      to: to.includes("/") ? to : `${to}/${six ? 128 : 32}`,
      table: Number(route.table),
      metric: route.metric ?? 0,
      type: Number(route.type),
      protocol: Number(route.protocol),
      ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
      ...(route.dev === undefined || route.nhid !== undefined ? {} : { index: indexOf.get(route.dev)! }),
      ...(route.nhid === undefined ? {} : { nexthop: route.nhid })
    }
  })
  t.strictSame(found.map(({ body }) => Route.decode(body)), expected)
  t.ok(expected.some(({ table }) => table > 255) && expected.some(({ metric }) => metric === 0xffffffff), "the capture has extremes")
})

t.test("Route.decode passes over what is no entry of a table of IPv4 or IPv6", async (t) => {
  const made = (family: number, cloned: boolean): Uint8Array =>
    write(Rt.formatRouteMessage, { kind: "route", data: { family, dstLen: 0, flags: cloned ? { cloned } : {} }, attrs: { table: 254 } })
  t.equal(Route.decode(made(128, false)), undefined, "multicast routing")
  t.equal(Route.decode(made(10, true)), undefined, "cached")
  t.match(Route.decode(made(10, false)), { to: "::/0", table: 254 })
})

t.test("Route.decode survives what no kernel sends", async (t) => t.equal(mistreats("routes", Route.decode), undefined))

const base = { table: 254, metric: 0, type: Route.RouteType.unicast, protocol: 94 }

t.test("addRoute says what iproute2 says", async (t) => {
  const add = (route: Partial<Route.Route> & { to: string }) => read("route", (out) => Route.addRoute(out, { ...base, ...route }))
  const gateway = add({ to: "10.2.0.0/16", gateway: "10.0.0.3", index: 7, table: 1000, metric: 50 })
  t.strictSame([gateway.type, gateway.flags], [24, 0x1 | 0x4 | 0x400 | 0x100])
  const header = { family: 2, dstLen: 16, table: 0, protocol: 94, scope: "UNIVERSE", type: "UNICAST" }
  t.match(gateway.data, header, "a large table is an attribute")
  t.match(gateway.attrs, { dst: "0a020000", table: 1000, priority: 50, gateway: "0a000003", oif: 7 })

  t.match(add({ to: "10.1.0.0/16", index: 7 }).data, { scope: "LINK" }, "on the link: the kernel refuses a wider scope")
  t.match(add({ to: "2001:db8::/32", index: 7 }).data, { family: 10, scope: "UNIVERSE" }, "IPv6 has no such thing")
  t.strictSame(add({ to: "0.0.0.0/0", nexthop: 0x7fffffff }).attrs, { table: 254, nhId: "ffffff7f" })
  const hole = add({ to: "10.3.0.0/16", type: Route.RouteType.blackhole })
  t.match(hole.data, { type: "BLACKHOLE", scope: "UNIVERSE" })
  t.strictSame(hole.attrs, { dst: "0a030000", table: 254 })
})

t.test("removeRoute names destination, table, metric and protocol", async (t) => {
  const { type, data, attrs } = read("route", (out) => Route.removeRoute(out, { ...base, to: "2001:db8::/48", metric: 1024, table: 7 }))
  t.equal(type, 25)
  t.match(data, { family: 10, dstLen: 48, protocol: 94, table: 7 })
  t.match(attrs, { priority: 1024, table: 7 })
})
