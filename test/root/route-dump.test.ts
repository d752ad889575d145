import t from "tap"
import { dump } from "../../daemon/linux/rtnetlink.ts"
import * as Route from "../../daemon/wire/rtnetlink/route.ts"
import { ipBatch, needsRoot, World } from "./harness.ts"

t.test("dumpRoutes asks the kernel for the routes of one protocol", { skip: needsRoot }, async (t) => {
  const world = new World("routes")
  t.teardown(() => world.close())
  const namespace = world.namespace("n", { ipv6: true })
  ipBatch(namespace, [
    "route add 10.1.0.0/16 dev lo proto 94",
    "route add blackhole 10.2.0.0/16 table 1000 proto 94",
    "route add 10.3.0.0/16 dev lo proto static",
    "route add 2001:db8:1::/48 dev lo proto 94",
    "route add unreachable 2001:db8:2::/48 table 1000 proto 94",
    "route add 2001:db8:3::/48 dev lo proto boot",
    "route add 2001:db8:4::/48 dev lo proto bgp"
  ])
  const prefixes = (protocol?: number) =>
    Array.from(dump(namespace.fd, (out) => Route.dumpRoutes(out, protocol)), ({ body }) => Route.decode(body)?.to)
  const ours = ["10.1.0.0/16", "10.2.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"]
  t.strictSame(prefixes(94).sort(), ours, "of both families, of every table")
  const all = prefixes()
  const some = ["10.1.0.0/16", "10.3.0.0/16", "2001:db8:3::/48", "2001:db8:4::/48", "127.0.0.1/32"]
  for (const to of some) t.ok(all.includes(to), `${to} is among all`)
})
