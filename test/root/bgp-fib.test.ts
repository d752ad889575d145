/** The forwarding side of a speaker, in a namespace, against what `ip` says of the kernel. */
import { execFileSync, spawnSync } from "node:child_process"
import t, { type Test } from "tap"
import { type FibOptions, RouteKind, type Scope } from "../../daemon/bgp/fib/api.ts"
import { type Forwarding, openForwarding } from "../../daemon/bgp/fib/forwarding.ts"
import { parsePrefix } from "../../daemon/wire/ip.ts"
import { descriptorCount, ipBatch, type Namespace, needsRoot, until, World } from "./harness.ts"

const skip = needsRoot
const main: Scope = { name: "default", table: 254, ifnames: [] }

interface Router {
  readonly world: World
  readonly node: Namespace
  readonly far: Namespace
  /** `ip -j` in the node. */
  readonly ip: (...argv: string[]) => any
}

const ipIn = (node: Namespace) => (...argv: string[]): any => {
  const output = execFileSync("ip", ["-n", node.name, "-j", ...argv], { encoding: "utf8", maxBuffer: 1 << 28 })
  return output.trim() === "" ? [] : JSON.parse(output)
}

/** A node with e1, e2 and e3, 10.0.N.1/24 and 2001:db8:N::1/64, whose other ends have .2. */
const router = (t: Test, label: string): Router => {
  const world = new World(label)
  t.teardown(() => world.close())
  const node = world.namespace("node", { ipv6: true })
  const far = world.namespace("far", { ipv6: true })
  const numbers = [1, 2, 3]
  ipBatch(far, numbers.map((n) => `link add f${n} type veth peer name e${n} netns ${node.name}`))
  for (const [namespace, letter, host] of [[far, "f", 2], [node, "e", 1]] as const) {
    ipBatch(namespace, numbers.flatMap((n) => [
      `link set ${letter}${n} up`,
      `address add 10.0.${n}.${host}/24 dev ${letter}${n}`,
      `address add 2001:db8:${n}::${host}/64 dev ${letter}${n} nodad`
    ]))
  }
  return { world, node, far, ip: ipIn(node) }
}

interface Running extends Forwarding {
  readonly reports: string[]
  /** Runs until nothing is left to do. */
  readonly settle: () => Promise<void>
}

const open = (t: Test, node: Namespace, options: Partial<FibOptions> = {}, scopes: ReadonlyArray<Scope> = [main]): Running => {
  const reports: string[] = []
  let isDue = false
  let forwarding: Forwarding | undefined
  const turn = (): void => {
    isDue = false
    if (forwarding !== undefined && forwarding.fib.run(5)) wanted()
  }
  const wanted = (): void => {
    if (isDue) return
    isDue = true
    setImmediate(turn)
  }
  forwarding = openForwarding(node.fd, scopes, { wanted, report: (text) => reports.push(text), ...options })
  const opened = forwarding
  let isOpen = true
  const close = (): void => {
    if (isOpen) opened.close()
    isOpen = false
    forwarding = undefined
  }
  t.teardown(close)
  wanted()
  const settle = (): Promise<void> => until("the FIB is idle", () => !isDue && opened.fib.isIdle)
  return { ...opened, close, reports, settle }
}

type Indexes = ReadonlyArray<number>

const set = (
  running: Running,
  prefix: string,
  winners: Indexes,
  backup: Indexes = [],
  kind: RouteKind = RouteKind.external,
  weights: Indexes = []
): void => {
  const { address, length } = parsePrefix(prefix)!
  running.fib.table(254).set(address.length === 4 ? 0 : 1, address, 0, length, winners, backup, kind, weights)
}

const unset = (running: Running, prefix: string): void => {
  const { address, length } = parsePrefix(prefix)!
  running.fib.table(254).unset(address.length === 4 ? 0 : 1, address, 0, length)
}

const bgpRoutes = ({ ip }: Router, family: "-4" | "-6" = "-4"): any[] => ip(family, "route", "show", "proto", "95")
/** The gateway by which the kernel would send to the address now. */
const wayTo = ({ node }: Router, address: string): string => {
  const { stdout } = spawnSync("ip", ["-n", node.name, "-j", "route", "get", address], { encoding: "utf8" })
  return stdout === "" ? "none" : JSON.parse(stdout)[0]?.gateway ?? "none"
}

/** Whether `holds` after a while in which this process gets no turn: what happens is the kernel's own doing. */
const withoutUs = (holds: () => boolean): boolean => {
  const end = performance.now() + 10_000
  while (performance.now() < end) if (holds()) return true
  return false
}

t.test("Fib installs, replaces and withdraws routes of both families", { skip }, async (t) => {
  const it = router(t, "fib-basic")
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const [one, two] = [hops.track("10.0.1.2"), hops.track("10.0.2.2")]
  const [six, sixTwo] = [hops.track("2001:db8:1::2"), hops.track("2001:db8:2::2")]
  t.ok(hops.isReachable(one) && hops.isReachable(six))
  set(running, "198.51.100.0/24", [one])
  set(running, "2001:db8:100::/40", [six])
  set(running, "0.0.0.0/0", [two], [], RouteKind.internal)
  set(running, "203.0.113.0/24", [], [], RouteKind.discard)
  set(running, "2001:db8:f00::/40", [], [], RouteKind.discard)
  await running.settle()
  const before = bgpRoutes(it)
  t.match(before.find(({ dst }) => dst === "198.51.100.0/24"), { metric: 20, gateway: "10.0.1.2", dev: "e1" })
  t.match(before.find(({ dst }) => dst === "default"), { metric: 200, gateway: "10.0.2.2" })
  t.match(before.find(({ dst }) => dst === "203.0.113.0/24"), { metric: 200, type: "blackhole" })
  t.match(bgpRoutes(it, "-6").find(({ dst }) => dst === "2001:db8:100::/40"), { metric: 1044, nexthops: [{ gateway: "2001:db8:1::2" }] })

  set(running, "198.51.100.0/24", [two])
  set(running, "2001:db8:100::/40", [sixTwo], [], RouteKind.internal)
  set(running, "0.0.0.0/0", [one])
  set(running, "2001:db8:f00::/40", [six], [], RouteKind.internal)
  unset(running, "203.0.113.0/24")
  await running.settle()
  const after = bgpRoutes(it)
  t.match(after.find(({ dst }) => dst === "198.51.100.0/24"), { gateway: "10.0.2.2" })
  t.equal(after.filter(({ dst }) => dst === "default").length, 1, "the route with the other metric is gone")
  t.match(after.find(({ dst }) => dst === "default"), { metric: 20, gateway: "10.0.1.2" })
  t.notOk(after.some(({ dst }) => dst === "203.0.113.0/24"))
  const v6 = bgpRoutes(it, "-6")
  t.match(v6.filter(({ dst }) => dst === "2001:db8:100::/40"), [{ metric: 1224, nexthops: [{ gateway: "2001:db8:2::2" }] }])
  const discarded = v6.filter(({ dst }) => dst === "2001:db8:f00::/40")
  t.match(discarded, [{ nexthops: [{ gateway: "2001:db8:1::2" }] }], "a discarding route was replaced")

  for (const prefix of ["198.51.100.0/24", "2001:db8:100::/40", "0.0.0.0/0", "2001:db8:f00::/40"]) unset(running, prefix)
  await running.settle()
  t.strictSame([bgpRoutes(it), bgpRoutes(it, "-6")], [[], []])
  t.strictSame(it.ip("nexthop", "show").filter((object: any) => object.protocol === "95"), [], "no nexthop object is left")
  t.strictSame(running.fib.counters, { ...running.fib.counters, routes: 0, groups: 0, pending: 0, failed: 0 })
  t.strictSame(running.reports, [])
})

t.test("Routes with equal next hops share one group; weights are kept; IPv4 goes through IPv6 gateways", { skip }, async (t) => {
  const it = router(t, "fib-ecmp")
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const [one, two, six] = [hops.track("10.0.1.2"), hops.track("10.0.2.2"), hops.track("fe80::1", "e3")]
  t.ok(hops.isReachable(six), "a link-local next hop with its interface")
  t.notOk(hops.isReachable(hops.track("fe80::1")), "but not without")
  for (let i = 0; i < 50; i++) set(running, `198.51.${i}.0/24`, [one, two])
  set(running, "203.0.113.0/24", [one, two], [], RouteKind.external, [3, 1])
  set(running, "192.0.2.0/24", [six])
  await running.settle()
  const groups = it.ip("nexthop", "show").filter(({ group }: any) => group !== undefined)
  t.equal(groups.length, 3)
  t.equal(new Set(bgpRoutes(it).filter(({ dst }) => dst.startsWith("198.51.")).map(({ nhid }) => nhid)).size, 1)
  const weighted = bgpRoutes(it).find(({ dst }) => dst === "203.0.113.0/24")
  t.strictSame(weighted.nexthops.map(({ weight }: any) => weight), [255, 85])
  t.match(bgpRoutes(it).find(({ dst }) => dst === "192.0.2.0/24"), { via: { host: "fe80::1" }, dev: "e3" })
})

t.test("The kernel itself changes to the backup when a carrier is lost, and BFD does so with one request", { skip }, async (t) => {
  const it = router(t, "fib-pic")
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const [one, two] = [hops.track("10.0.1.2", undefined, true), hops.track("10.0.2.2", undefined, true)]
  const [six, sixTwo] = [hops.track("2001:db8:1::2"), hops.track("2001:db8:2::2")]
  const count = 20_000
  const bytes = new Uint8Array(4)
  for (let i = 0; i < count; i++) {
    bytes.set([20, i >> 8, i & 255, 0])
    running.fib.table(254).set(0, bytes, 0, 24, [one], [two])
  }
  set(running, "2001:db8:100::/40", [six], [sixTwo])
  await running.settle()
  t.equal(bgpRoutes(it).length, count)
  const [group] = it.ip("nexthop", "show").filter((object: any) => object.group?.length === 2)
  t.match(group, { type: "resilient" })
  const buckets = it.ip("nexthop", "bucket", "show", "id", String(group.id))
  t.equal(new Set(buckets.map(({ bucket }: any) => bucket.nhid)).size, 1, "the backup has no bucket while the winner is there")
  t.equal(wayTo(it, "20.1.2.3"), "10.0.1.2")

  const changes: number[] = []
  hops.onChange((index) => changes.push(index))
  const routes = (): string => bgpRoutes(it).map(({ dst, metric, nhid }) => `${dst} ${metric} ${nhid}`).join("\n")
  const before = routes()
  ipBatch(it.far, ["link set f1 down"])
  t.ok(withoutUs(() => wayTo(it, "20.1.2.3") === "10.0.2.2"), "IPv4 after the carrier was lost")
  t.ok(withoutUs(() => wayTo(it, "2001:db8:100::1") === "2001:db8:2::2"), "IPv6 after the carrier was lost")
  t.ok(routes() === before, "no route was touched, whatever their number")
  await until("next hops are told", () => changes.includes(one) && changes.includes(six))
  t.notOk(hops.isReachable(one))

  ipBatch(it.far, ["link set f1 up"])
  await until("the winner is back", () => wayTo(it, "20.1.2.3") === "10.0.1.2")
  t.equal(it.ip("nexthop", "show").find(({ id }: any) => id === group.id).group.length, 2)
  await until("IPv6, too", () => wayTo(it, "2001:db8:100::1") === "2001:db8:1::2")

  // The best of three: a busy machine may hold us up once.
  const times: Array<number> = []
  for (let i = 0; i < 3; i++) {
    const began = performance.now()
    running.nextHops.down("10.0.1.2")
    times.push(performance.now() - began)
    t.equal(wayTo(it, "20.1.2.3"), "10.0.2.2", "after BFD")
    running.nextHops.up("10.0.1.2")
    t.equal(wayTo(it, "20.1.2.3"), "10.0.1.2")
  }
  t.ok(Math.min(...times) < 50, `within ${times.map((ms) => ms.toFixed(1)).join(", ")} ms with ${count} routes`)
  const [mode] = execFileSync("ip", ["netns", "exec", it.node.name, "cat", "/proc/sys/net/ipv4/nexthop_compat_mode"], { encoding: "utf8" })
  t.equal(mode, "1", "the namespace's setting is as it was")
  t.strictSame(running.reports, [])
})

t.test("Routes that the kernel flushes with their last next hop come back with it", { skip }, async (t) => {
  const it = router(t, "fib-flush")
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const [one, six] = [hops.track("10.0.1.2"), hops.track("2001:db8:1::2")]
  for (let i = 0; i < 500; i++) set(running, `20.0.${i >> 8}.${i & 255}/32`, [one])
  set(running, "2001:db8:100::/40", [six])
  await running.settle()
  for (const [down, up] of [
    [["far", "link set f1 down"], ["far", "link set f1 up"]],
    [["node", "link set e1 down"], ["node", "link set e1 up"]]
  ] as const) {
    ipBatch(it[down[0]], [down[1]])
    t.ok(withoutUs(() => bgpRoutes(it).length === 0), `gone after ${down[1]}`)
    await until("that is known", () => !hops.isReachable(one))
    // An interface that is set down loses its IPv6 addresses.
    ipBatch(it[up[0]], [up[1], ...(up[0] === "node" ? ["address add 2001:db8:1::1/64 dev e1 nodad"] : [])])
    await until("they are back", () => bgpRoutes(it).length === 500 && bgpRoutes(it, "-6").length === 1)
    await running.settle()
  }
  // Down and up again before anybody looks.
  ipBatch(it.far, ["link set f1 down", "link set f1 up"])
  await until("they are back", () => bgpRoutes(it).length === 500)
  await running.settle()
  for (let i = 0; i < 500; i++) unset(running, `20.0.${i >> 8}.${i & 255}/32`)
  unset(running, "2001:db8:100::/40")
  await running.settle()
  t.strictSame(it.ip("nexthop", "show").filter((object: any) => object.protocol === "95"), [])
  t.strictSame(running.reports, [])
})

t.test("Next hops are found through static routes and BGP's own, never in a circle", { skip }, async (t) => {
  const it = router(t, "fib-recursive")
  ipBatch(it.node, [
    "route add 192.0.2.1/32 via 10.0.1.2",
    "nexthop add id 7 via 10.0.2.2 dev e2",
    "route add 192.0.2.2/32 nhid 7 proto 94"
  ])
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const [one, two, far, own, direct] = [
    hops.track("192.0.2.1"),
    hops.track("192.0.2.2"),
    hops.track("192.0.2.77"),
    hops.track("10.0.1.1"),
    hops.track("192.0.2.1", undefined, true)
  ]
  t.strictSame([one, two, far, own, direct].map((index) => hops.isReachable(index)), [true, true, false, false, false])
  set(running, "198.51.100.0/24", [one])
  // Its next hop is reached by a BGP route, which is reached by a static one.
  set(running, "192.0.2.64/26", [two])
  set(running, "203.0.113.0/24", [far])
  await running.settle()
  t.ok(hops.isReachable(far), running.nextHops.describe(far))
  t.strictSame(["198.51.100.1", "203.0.113.1"].map((address) => wayTo(it, address)), ["10.0.1.2", "10.0.2.2"])

  // A better route to the far one through itself: a circle.
  set(running, "192.0.2.77/32", [far])
  await running.settle()
  t.notOk(hops.isReachable(far), running.nextHops.describe(far))
  unset(running, "192.0.2.77/32")
  await running.settle()
  t.ok(hops.isReachable(far))

  // Another way for a static route: the group changes, the routes do not.
  ipBatch(it.node, ["route replace 192.0.2.1/32 via 10.0.3.2"])
  await until("the other way is taken", () => wayTo(it, "198.51.100.1") === "10.0.3.2")
  // The kernel says nothing of a static route that goes with its nexthop object.
  ipBatch(it.far, ["link set f2 down"])
  await until("both are lost", () => !hops.isReachable(two) && !hops.isReachable(far))
  ipBatch(it.node, ["route del 192.0.2.1/32"])
  await until("the static route's loss is known", () => !hops.isReachable(one))
  await running.settle()
  t.strictSame(bgpRoutes(it), [])
})

t.test("Connected and static routes are there to be redistributed, by table", { skip }, async (t) => {
  const it = router(t, "fib-redistribute")
  const blue: Scope = { name: "blue", table: 100, ifnames: ["e3"] }
  ipBatch(it.node, [
    "route add 192.0.2.0/24 via 10.0.1.2 proto 94",
    "route add blackhole 203.0.113.0/24",
    "route add 198.51.100.0/24 via 10.0.3.2 table 100"
  ])
  const { monitor, nextHops } = open(t, it.node, {}, [main, blue])
  const prefixes = (scope: Scope, source: "connected" | "static") =>
    Array.from(monitor.redistributable(scope, source), ({ prefix }) => prefix).sort()
  t.strictSame(prefixes(main, "connected"), ["10.0.1.0/24", "10.0.2.0/24", "2001:db8:1::/64", "2001:db8:2::/64"])
  t.strictSame(prefixes(blue, "connected"), ["10.0.3.0/24", "2001:db8:3::/64"])
  t.strictSame(prefixes(main, "static"), ["192.0.2.0/24", "203.0.113.0/24"])
  t.strictSame(prefixes(blue, "static"), ["198.51.100.0/24"])
  t.notOk(nextHops.scope(main).isReachable(nextHops.scope(main).track("10.0.3.2")), "an interface of another table leads nowhere")
  t.ok(nextHops.scope(blue).isReachable(nextHops.scope(blue).track("10.0.3.2")))
  const heard = new Set<string>()
  monitor.listen({ routes: (table, changed) => changed.forEach((prefix) => heard.add(`${table} ${prefix}`)) })
  ipBatch(it.node, [
    "route add 10.99.0.0/16 via 10.0.1.2 proto bird",
    "route add 192.0.2.128/25 via 10.0.1.2 proto 94",
    "route del 198.51.100.0/24 table 100"
  ])
  const changed = ["100 198.51.100.0/24", "254 192.0.2.128/25"]
  await until("both are told", () => changed.every((route) => heard.has(route)))
  // Of its connected networks IPv6 may tell once more, when it hears late of a carrier.
  t.strictSame([...heard].filter((route) => !route.startsWith("254 2001:db8:")).sort(), changed, "and another daemon's is not")
  ipBatch(it.node, ["link set e1 down"])
  await until("the network is gone", () => !prefixes(main, "connected").includes("10.0.1.0/24"))
  t.strictSame(prefixes(main, "static"), ["203.0.113.0/24"], "and the routes through it")
})

t.test("Routes of others are never touched; ours stand aside meanwhile, and come back when removed", { skip }, async (t) => {
  const it = router(t, "fib-foreign")
  ipBatch(it.node, ["route add 198.51.100.0/24 via 10.0.3.2 metric 20 proto bird", "route add 203.0.113.0/24 via 10.0.3.2 proto 94"])
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const one = hops.track("10.0.1.2")
  for (const prefix of ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"]) set(running, prefix, [one])
  await running.settle()
  const metrics = () => it.ip("route", "show", "198.51.100.0/24", "proto", "95").map(({ metric }: any) => metric)
  t.strictSame(metrics(), [21], "where their place is taken, ours stand behind")
  t.equal(wayTo(it, "198.51.100.1"), "10.0.3.2")
  t.equal(wayTo(it, "203.0.113.1"), "10.0.3.2", "the static route is preferred by its metric")
  t.strictSame([running.fib.counters.failed, running.reports], [0, []])

  ipBatch(it.node, ["route del 198.51.100.0/24 metric 20"])
  t.equal(wayTo(it, "198.51.100.1"), "10.0.1.2", "ours is there at once")
  await until("it takes its place", () => metrics().join() === "20")
  ipBatch(it.node, ["route add 198.51.100.0/24 via 10.0.3.2 metric 10 proto bird", "route del 198.51.100.0/24 metric 10"])
  t.strictSame(metrics(), [20])
  ipBatch(it.node, ["route del 192.0.2.0/24"])
  await until("it is put back", () => wayTo(it, "192.0.2.1") === "10.0.1.2")
  const [{ id }] = it.ip("nexthop", "show").filter((object: any) => object.group !== undefined)
  ipBatch(it.node, [`nexthop del id ${id}`])
  await until("the group is made again, with its routes", () => wayTo(it, "192.0.2.1") === "10.0.1.2" && bgpRoutes(it).length === 3)

  for (const prefix of ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"]) unset(running, prefix)
  await running.settle()
  t.strictSame(bgpRoutes(it), [])
  t.equal(wayTo(it, "203.0.113.1"), "10.0.3.2")
})

t.test("An address that is down in one table is not down in another", { skip }, async (t) => {
  const it = router(t, "fib-scopes")
  const blue: Scope = { name: "blue", table: 100, ifnames: ["e3"] }
  ipBatch(it.node, ["address add 10.0.1.1/24 dev e3"])
  const { nextHops } = open(t, it.node, {}, [main, blue])
  const indexes = [main, blue].map((scope) => nextHops.scope(scope).track("10.0.1.2"))
  const reachable = () => indexes.map((index) => nextHops.isReachable(index))
  t.strictSame(reachable(), [true, true])
  nextHops.down("10.0.1.2", undefined, "default")
  t.strictSame(reachable(), [false, true])
  nextHops.up("10.0.1.2", undefined, "default")
  nextHops.down("10.0.1.2", "e3")
  t.strictSame(reachable(), [true, false])
  nextHops.down("10.0.1.2")
  nextHops.up("10.0.1.2", "e3")
  t.strictSame(reachable(), [false, false])
  nextHops.up("10.0.1.2")
  t.strictSame(reachable(), [true, true])
})

t.test("What the kernel refuses is told once, keeps nothing else waiting and is tried again", { skip }, async (t) => {
  const it = router(t, "fib-refused")
  let runs = 0
  const running = open(t, it.node)
  const hops = running.nextHops.scope(main)
  const run = running.fib.run.bind(running.fib)
  running.fib.run = (budgetMs) => {
    runs++
    return run(budgetMs)
  }
  // The kernel has no IPv6 routes through IPv4 gateways.
  for (let i = 0; i < 300; i++) set(running, `2001:db8:f00:${i.toString(16)}::/64`, [hops.track("10.0.1.2")])
  set(running, "2001:db8:100::/40", [hops.track("2001:db8:1::2")])
  await running.settle()
  t.equal(bgpRoutes(it, "-6").length, 1)
  t.equal(running.fib.counters.failed, 300)
  t.match(running.reports, [/^cannot write the route 2001:db8:f00::\/64 in table 254: EINVAL/])
  t.ok(runs < 250, `${runs} turns`)
  for (let i = 0; i < 300; i++) unset(running, `2001:db8:f00:${i.toString(16)}::/64`)
  await running.settle()
  t.equal(running.fib.counters.failed, 0)
})

t.test("A successor takes over routes and groups, and sweeps what it does not confirm", { skip }, async (t) => {
  const it = router(t, "fib-adopt")
  const descriptors = descriptorCount()
  const first = open(t, it.node)
  const track = (running: Running) => {
    const hops = running.nextHops.scope(main)
    return ["10.0.1.2", "10.0.2.2", "10.0.3.2"].map((address) => hops.track(address)) as [number, number, number]
  }
  const fill = (running: Running, [one, two, three]: [number, number, number], from: number): void => {
    for (let i = from; i < 2000; i++) set(running, `20.0.${i >> 8}.${i & 255}/32`, [one], [two])
    set(running, "0.0.0.0/0", [two, one])
    if (from === 0) set(running, "198.51.100.0/24", [three])
    set(running, "203.0.113.0/24", [], [], RouteKind.discard)
  }
  fill(first, track(first), 0)
  await first.settle()
  first.close()
  t.equal(descriptorCount(), descriptors, "every descriptor is closed")
  t.equal(bgpRoutes(it).length, 2003, "everything stays")
  const before = new Map(bgpRoutes(it).map(({ dst, nhid }) => [dst, nhid]))

  const second = open(t, it.node)
  await second.settle()
  t.equal(bgpRoutes(it).length, 2003, "and still does")
  fill(second, track(second), 1000)
  await second.settle()
  t.equal(second.fib.counters.written, 0, "nothing needs to be written again")
  second.fib.sweep()
  await second.settle()
  const after = new Map(bgpRoutes(it).map(({ dst, nhid }) => [dst, nhid]))
  t.equal(after.size, 1002, "what was not confirmed is gone")
  t.equal(after.get("20.0.5.5"), before.get("20.0.5.5"), "in the group of the predecessor")
  t.equal(it.ip("nexthop", "show").filter(({ group }: any) => group !== undefined).length, 2)
  ipBatch(it.far, ["link set f1 down"])
  t.ok(withoutUs(() => wayTo(it, "20.0.5.5") === "10.0.2.2"), "which still has its backup")
  await until("known", () => !second.nextHops.isReachable(0))

  second.fib.flush()
  await second.settle()
  t.strictSame([bgpRoutes(it), it.ip("nexthop", "show")], [[], []], "flush leaves nothing")
  t.strictSame([...first.reports, ...second.reports], [])
})
