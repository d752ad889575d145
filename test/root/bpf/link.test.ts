import t, { type Test } from "tap"
import { needsRoot } from "../harness.ts"
import { broadcast, connect, frame, hex, macOf, makeFixture, Wire } from "./frames.ts"

const toHost = 0
const toBroadcast = 1
const toGroup = 2
const toOther = 3

t.test("a link", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("link", 3, { mtu: 9000 })
  const { program, ports, nodes, world } = fixture
  t.teardown(() => world.close())
  connect(fixture, 0, 1)
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()

  const cases: ReadonlyArray<readonly [title: string, octets: Uint8Array, type: number]> = [
    ["a frame to the other node", frame({ to: macOf(1), from: macOf(0) }), toHost],
    ["a frame to another station", frame({ to: macOf(9), from: macOf(0) }), toOther],
    ["broadcast", frame({ to: broadcast, from: macOf(0) }), toBroadcast],
    ["STP", frame({ to: "01:80:c2:00:00:00", from: macOf(0), type: 38 }), toGroup],
    ["LACP", frame({ to: "01:80:c2:00:00:02", from: macOf(0), type: 0x8809 }), toGroup],
    ["LLDP", frame({ to: "01:80:c2:00:00:0e", from: macOf(0), type: 0x88cc }), toGroup],
    ["a VLAN tag", frame({ to: macOf(1), from: macOf(0), vlan: 0x6064 }), toHost],
    ["a VLAN tag in a broadcast", frame({ to: broadcast, from: macOf(0), vlan: 5 }), toBroadcast],
    ["a jumbo frame", frame({ to: macOf(1), from: macOf(0), length: 9014 }), toHost],
    ["a source that is a group", frame({ to: macOf(1), from: "03:00:00:00:00:01" }), toHost],
    ["a minimal frame", frame({ to: macOf(1), from: macOf(0), length: 14 }), toHost]
  ]
  for (const [title, octets, type] of cases) {
    const arrivals = await wire.exchange(0, octets, 1)
    t.strictSame(arrivals, [{ port: 1, type, frame: hex(octets) }], `${title} crosses as it is`)
  }

  const octets = cases.reduce((sum, [, bytes]) => sum + bytes.length, 0) - 2 * 4
  t.match(program.counters(ports[0]!), { from: { packets: cases.length, octets }, to: { packets: 0 } }, "counted at the source, tags apart")
  t.match(program.counters(ports[1]!), { from: { packets: 0 }, to: { packets: cases.length, octets } }, "counted at the destination")

  wire.send(2, frame({ to: broadcast, from: macOf(2) }))
  await wire.exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1)
  t.equal(program.strayCounters().drops.noPort, 1, "a frame of an interface that is no port is dropped and counted")

  program.removePort(ports[1]!)
  wire.send(0, frame({ to: macOf(1), from: macOf(0) }))
  await wire.sync()
  t.equal(program.counters(ports[0]!)?.drops.noPort, 1, "a frame to a port that is gone is dropped and counted")
  t.strictSame(wire.arrivals, [])
})

t.test("TCP over a link", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("tcp", 2)
  const { nodes, world, program, ports } = fixture
  t.teardown(() => world.close())
  connect(fixture, 0, 1)
  await transfer(t, fixture)
  const { to } = program.counters(ports[1]!)!
  t.ok(to.octets / to.packets > 3000, `super-frames cross whole: ${Math.round(to.octets / to.packets)} octets each`)
  t.equal(nodes.length, 2)
})

t.test("TCP over a network", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("tcpnet", 3)
  t.teardown(() => fixture.world.close())
  const { program, ports } = fixture
  program.setPorts(ports.map((port, i) => [port, { kind: "network", segment: 1, mac: macOf(i) }] as const))
  await transfer(t, fixture)
  t.ok(program.counters(ports[2]!)!.to.packets < 10, "known unicast reaches the one port")
})

/** Sends 64 MiB from node 0 to node 1 and compares the digests. */
const transfer = async (t: Test, { world, nodes }: ReturnType<typeof makeFixture>): Promise<void> => {
  for (const [i, node] of nodes.slice(0, 2).entries()) await world.run(node, ["ip", "addr", "add", `10.0.0.${i + 1}/24`, "dev", "eth0"])
  const ping = await world.run(nodes[0]!, ["ping", "-c3", "-i0.01", "-W2", "10.0.0.2"])
  t.match(ping.stdout, " 0% packet loss")
  const digest = 'const hash = require("node:crypto").createHash("sha256")\n'
  const receive = `${digest}require("node:net").createServer((c) => c.on("data", (d) => hash.update(d)).on("end", () => {
    console.log(hash.digest("hex")); process.exit() })).listen(5000, () => console.error("listening"))`
  const send = `${digest}const c = require("node:net").connect(5000, "10.0.0.2")
    const chunk = require("node:crypto").randomBytes(1 << 20)
    const next = (left) => { if (left === 0) { c.end(); console.log(hash.digest("hex")); return }
      chunk.writeUInt32LE(left); hash.update(chunk); c.write(Buffer.from(chunk), () => next(left - 1)) }
    next(64)`
  const receiver = world.start(nodes[1]!, [process.execPath, "-e", receive])
  let received = ""
  receiver.stdout!.on("data", (text) => (received += text))
  await new Promise((listening) => receiver.stderr!.once("data", listening))
  const ended = new Promise((end) => receiver.on("close", end))
  const sent = await world.run(nodes[0]!, [process.execPath, "-e", send])
  await ended
  t.match(received, /^[0-9a-f]{64}\n$/)
  t.equal(received, sent.stdout, "64 MiB arrive as they were sent")
}
