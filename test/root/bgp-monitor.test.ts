/** What the routing thread knows of a namespace when more happens there than the kernel can keep for it. */
import { execFileSync } from "node:child_process"
import t from "tap"
import { Monitor } from "../../daemon/bgp/fib/monitor.ts"
import { RouteSocket } from "../../daemon/bgp/fib/route-socket.ts"
import type { Scope } from "../../daemon/bgp/fib/api.ts"
import { ipBatch, type Namespace, needsRoot, until, World } from "./harness.ts"

const main: Scope = { name: "default", table: 254, ifnames: [] }
const prefixAt = (i: number): string => `${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`
const routes = (verb: "add" | "del", from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `route ${verb} ${prefixAt(from + i)} via 10.0.0.2`)

/** More than the kernel keeps of notifications for a socket of this thread, which takes none meanwhile. */
const flood = 30_000
const base = 50_000

t.test("Monitor", { skip: needsRoot }, async (t) => {
  const world = new World("monitor")
  t.teardown(() => world.close())
  const node: Namespace = world.namespace("node", { ipv6: true })
  ipBatch(node, [
    ...["e0", "e1"].flatMap((name) => [`link add ${name} type veth peer name p${name}`, `link set ${name} up`, `link set p${name} up`]),
    "address add 10.0.0.1/24 dev e0", "address add 2001:db8::1/64 dev e0 nodad", "address add 10.1.0.1/24 dev e1",
    ...routes("add", 0, 10)
  ])
  const reports: string[] = []
  const own = new RouteSocket(node.fd)
  t.teardown(() => own.close())
  const monitor = new Monitor({ netns: node.fd, ownPorts: [own.port, own.port], report: (text) => void reports.push(text) })
  t.teardown(() => monitor.close())
  monitor.setScopes([main])
  const statics = (): string[] => Array.from(monitor.redistributable(main, "static"), ({ prefix }) => prefix)
  /** What a listener makes of what it is told: must be what there is. */
  const heard = new Set(statics())
  const connected = new Set<string>()
  monitor.listen({
    routes: (table, prefixes) => {
      for (const prefix of prefixes) {
        if (monitor.route(table, prefix) === undefined) heard.delete(prefix)
        else heard.add(prefix)
        connected.add(prefix)
      }
    }
  })
  const actual = (): string[] => {
    const text = execFileSync("ip", ["-n", node.name, "-j", "route", "show", "proto", "boot"], { encoding: "utf8", maxBuffer: 1 << 28 })
    return (JSON.parse(text) as { readonly dst: string }[]).map(({ dst }) => dst)
  }
  const agrees = async (): Promise<void> => {
    const wanted = actual().sort().join()
    await until("the monitor knows what there is", () => statics().sort().join() === wanted, 120_000)
    await until("its listeners do", () => [...heard].sort().join() === wanted, 120_000)
  }

  await t.test("reads again what it could not be told", async (t) => {
    ipBatch(node, routes("add", 10, flood))
    await agrees()
    t.ok(monitor.overflows > 0, "notifications were lost")
    t.equal(statics().length, flood + 10)
  })

  await t.test("finds out what is gone and what came in its place", async (t) => {
    const before = monitor.overflows
    ipBatch(node, [...routes("del", 5, flood), ...routes("add", flood + 1000, 20)])
    await agrees()
    t.ok(monitor.overflows > before)
    t.equal(statics().length, 30)
  })

  await t.test("is right in the end when routes come and go while it reads", async (t) => {
    const before = monitor.overflows
    ipBatch(node, routes("add", base, flood))
    for (let round = 0; round < 4; round++) {
      const from = base + round * 3000
      const { code, stderr } = await world.run(node, ["ip", "-batch", "-"], [
        ...routes("del", from, 3000), ...routes("add", from, 1500), ...routes("add", 100_000 + from, 500)
      ].join("\n"))
      t.equal(code, 0, stderr)
    }
    await agrees()
    t.ok(monitor.overflows > before)
  })

  await t.test("tells of connected networks that come and go", async (t) => {
    connected.clear()
    ipBatch(node, ["link set e1 down"])
    await until("the network went with its link", () => connected.has("10.1.0.0/24"))
    connected.clear()
    ipBatch(node, ["link set e1 up"])
    await until("it came back", () => connected.has("10.1.0.0/24"))
    ipBatch(node, ["address add 10.2.0.1/24 dev e1"])
    await until("an address brings one", () => connected.has("10.2.0.0/24"))
    const networks = Array.from(monitor.redistributable(main, "connected"), ({ prefix }) => prefix).sort()
    t.strictSame(networks, ["10.0.0.0/24", "10.1.0.0/24", "10.2.0.0/24", "2001:db8::/64"])
  })
  t.strictSame(reports, [])
})
