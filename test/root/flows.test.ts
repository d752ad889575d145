/** Flows of probes between namespaces: what they count when nothing happens, and what they see of a cut. */
import t from "tap"
import type { FlowReport } from "../../daemon/probes/flow-report.ts"
import { Flows } from "../../daemon/probes/flows.ts"
import { descriptorCount, ipBatch, needsRoot, until, World } from "./harness.ts"

t.test("flows", { skip: needsRoot }, async (t) => {
  const world = new World("flows")
  const flows = Flows.start()
  t.teardown(() => world.close())
  const [a, router, b] = [world.namespace("a"), world.namespace("r"), world.namespace("b")]
  const settings = [
    "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0", "net.ipv6.conf.default.accept_dad=0"
  ]
  for (const namespace of [a, router, b]) await world.run(namespace, ["sysctl", "-qw", ...settings])
  ipBatch(router, [`link add ra type veth peer name eth0 netns ${a.name}`, `link add rb type veth peer name eth0 netns ${b.name}`])
  ipBatch(a, ["addr add 10.0.1.1/24 dev eth0", "addr add fd01::1/64 dev eth0 nodad", "link set eth0 up"])
  ipBatch(b, ["addr add 10.0.2.1/24 dev eth0", "addr add fd02::1/64 dev eth0 nodad", "link set eth0 up"])
  ipBatch(router, [
    "addr add 10.0.1.2/24 dev ra", "addr add 10.0.2.2/24 dev rb", "addr add fd01::2/64 dev ra nodad", "addr add fd02::2/64 dev rb nodad",
    "link set ra up", "link set rb up"
  ])
  ipBatch(a, ["route add default via 10.0.1.2", "route add default via fd01::2"])
  ipBatch(b, ["route add default via 10.0.2.2", "route add default via fd02::2"])
  const forward = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
  for (const setting of forward) await world.run(router, ["sysctl", "-qw", setting])
  for (const address of ["10.0.2.1", "fd02::1"]) {
    await until(`${address} answers`, async () => (await world.run(a, ["ping", "-c1", "-W1", address])).code === 0)
  }
  const before = descriptorCount()
  const v4 = flows.respond(b.path, "0.0.0.0", 0)
  const v6 = flows.respond(b.path, "::", 0)
  const base = { netnsPath: a.path, spacingMs: 1, timeoutMs: 200 }

  await t.test("nothing is lost on a quiet path, by UDP and ICMP, IPv4 and IPv6", async (t) => {
    const all = [
      { ...base, address: "10.0.2.1", port: v4.port }, { ...base, address: "fd02::1", port: v6.port },
      { ...base, address: "10.0.2.1", port: 0 }, { ...base, address: "fd02::1", port: 0 }
    ].map((options) => flows.add(options))
    const slowest: Array<number> = all.map(() => 0)
    const read = (flow: number): FlowReport => {
      const report = flows.read(flow)
      const place = all.indexOf(flow)
      slowest[place] = Math.max(slowest[place]!, report.slowest?.latencyMs ?? 0)
      return report
    }
    await until("each has sent a thousand", () => all.map(read).every(({ received }) => received >= 1000))
    for (const [place, flow] of all.entries()) {
      const report = read(flow)
      t.equal(slowest[place], report.latency.max, "the slowest of all is the slowest between two readings")
      await until("it tells when that was", () => Math.abs((read(flow).slowest?.atMs ?? 0) - Date.now()) < 60_000)
      // The first may wait for the neighbour's address, none is lost.
      t.match(report, { lost: 0, duplicates: 0, reordered: 0, late: 0, refused: 0, unreachable: 0, outages: [], outageCount: 0 })
      t.ok(report.latency.min > 0 && report.latency.min <= report.latency.p50 * 1.03 && report.latency.p50 <= report.latency.p99)
      flows.end(flow)
    }
    t.throws(() => flows.read(all[0]!), /no flow/)
  })

  await t.test("a cut is one outage as long as the cut, whatever its reason", async (t) => {
    const flow = flows.add({ ...base, address: "10.0.2.1", port: v4.port })
    await until("it runs", () => flows.read(flow).received > 100)
    const cut = async (down: string, up: string): Promise<void> => {
      const { outageCount } = flows.read(flow)
      ipBatch(router, [down])
      const start = performance.timeOrigin + performance.now()
      await until("it is seen", () => flows.read(flow).outageCount > outageCount)
      t.ok(flows.read(flow).outages.at(-1)!.lasts)
      const end = performance.timeOrigin + performance.now()
      ipBatch(router, [up])
      await until("it is over", () => !flows.read(flow).outages.at(-1)!.lasts)
      const outage = flows.read(flow).outages.at(-1)!
      t.ok(outage.lost > 0)
      t.ok(outage.startMs <= start + 2 && outage.startMs + outage.lengthMs >= end - 2, "it covers the cut")
      t.equal(flows.read(flow).outageCount, outageCount + 1, "it is one")
    }
    await cut("route add blackhole 10.0.2.1/32", "route del blackhole 10.0.2.1/32")
    await cut("route add unreachable 10.0.2.1/32", "route del unreachable 10.0.2.1/32")
    const report = flows.read(flow)
    t.ok(report.unreachable > 0, "the router said so")
    t.ok(report.sent >= report.received + report.lost)
    flows.end(flow)
  })

  await t.test("a source without a route, and a destination that nobody listens on", async (t) => {
    const lost = flows.add({ ...base, address: "10.0.2.1", port: 9 })
    await until("refusals are counted", () => flows.read(lost).refused > 0 && flows.read(lost).lost > 0)
    flows.end(lost)
    ipBatch(a, ["route del default via 10.0.1.2"])
    const nowhere = flows.add({ ...base, address: "10.0.2.1", port: v4.port })
    await until("it is lost", () => flows.read(nowhere).lost > 0)
    t.ok(flows.read(nowhere).unreachable > 0)
    ipBatch(a, ["route add default via 10.0.1.2"])
    await until("it finds its way", () => flows.read(nowhere).received > 0 && !flows.read(nowhere).outages[0]!.lasts)
    flows.end(nowhere)
  })

  await t.test("six hundred at once, and none of them lost", async (t) => {
    const echo = flows.respond(b.path, "0.0.0.0", 0, "tcp")
    const many = Array.from({ length: 600 }, (_, each) => {
      const of = ([["udp", v4.port], ["icmp", 0], ["tcp", echo.port]] as const)[each % 3]!
      return flows.add({ ...base, address: "10.0.2.1", protocol: of[0], port: of[1], spacingMs: 100, timeoutMs: 5000 })
    })
    await until("each is answered", () => many.every((flow) => flows.read(flow).received >= 3), 120_000)
    t.same(many.filter((flow) => flows.read(flow).lost > 0), [])
    for (const flow of many) flows.end(flow)
    flows.silence(echo)
  })

  await t.test("more than one thread can send are all answered, by whichever thread, once, and see the end of a cut", async (t) => {
    const each = 20
    const own = flows.respond(b.path, "0.0.0.0", 0)
    const ends = [own, v6].map(({ port }) => port)
    const many = Array.from({ length: 4 * each }, (_, place) => {
      const [address, port] = ([["10.0.2.1", ends[0]], ["fd02::1", ends[1]], ["10.0.2.1", 0], ["fd02::1", 0]] as const)[place % 4]!
      return flows.add({ ...base, address, port: port!, timeoutMs: 5000 })
    })
    const answered = (more: number): Promise<void> => {
      const before = many.map((flow) => flows.read(flow).received)
      return until("each is answered", () => many.every((flow, place) => flows.read(flow).received >= before[place]! + more), 30_000)
    }
    await answered(100)
    t.same(many.filter((flow) => flows.read(flow).lost + flows.read(flow).duplicates > 0), [], "none is lost, none comes twice")
    ipBatch(router, ["link set rb down"])
    await until("each waits", () => many.every((flow) => flows.read(flow).pendingMs > 50))
    ipBatch(router, ["link set rb up", "addr replace fd02::2/64 dev rb nodad"])
    await answered(100)
    for (const flow of many) flows.end(flow)
    t.throws(() => flows.respond(b.path, "0.0.0.0", own.port), { code: "EADDRINUSE" }, "its threads share the port, others do not")
    flows.silence(own)
    const again = flows.respond(b.path, "0.0.0.0", own.port)
    t.equal(again.port, own.port, "it is free when the responder has ended")
    flows.silence(again)
  })

  await t.test("bad input is refused and leaves nothing", async (t) => {
    t.throws(() => flows.add({ ...base, address: "here", port: 1 }), /no address/)
    t.throws(() => flows.add({ ...base, netnsPath: "/run/netns/weft-test-none", address: "10.0.2.1", port: 1 }), { code: "ENOENT" })
    t.throws(() => flows.add({ ...base, address: "10.0.2.1", port: 1, source: "192.0.2.1" }), { code: "EADDRNOTAVAIL" })
    t.throws(() => flows.respond(b.path, "0.0.0.0", v4.port), { code: "EADDRINUSE" })
  })

  await t.test("all ends at once, and more than once", async (t) => {
    flows.add({ ...base, address: "10.0.2.1", port: 0 })
    flows.close()
    flows.close()
    t.equal(descriptorCount(), before, "only what the thread itself needs is left, and goes with its handle")
  })
})
