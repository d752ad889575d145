/** The way of a port's last frame is remembered (bpf/lib/recent.h), and only for as long as nothing changes. */
import t from "tap"
import * as Layout from "../../../daemon/linux/bpf-layout.ts"
import { addon } from "../../../daemon/native/index.ts"
import { needsRoot, until } from "../harness.ts"
import { broadcast, frame, macOf, makeFixture, network, Wire } from "./frames.ts"

const segment = 7

t.test("the way of the last frame", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("recent", 4)
  const { nodes, ports, program, world } = fixture
  t.teardown(() => world.close())
  network(fixture, segment, [0, 1, 2])
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  const guest = macOf(77)
  const isAt = (port: number) => wire.exchange(port, frame({ to: broadcast, from: guest }), 2)
  /** The ports that a frame from port 0 to the guest arrives at. */
  const reached = async (expected: number) =>
    (await wire.exchange(0, frame({ to: guest, from: macOf(0) }), expected)).map(({ port }) => port)
  /** So that the next frame is remembered: the first may fall into the end of a tick. */
  const travel = async (to: number) => {
    for (let i = 0; i < 3; i++) t.strictSame(await reached(1), [to], `to port ${to}`)
  }

  await isAt(1)
  await travel(1)
  const key = Layout.encodeStationKey(segment, guest)
  await until("a frame goes where the last one went, though nobody knows the station", async () => {
    await isAt(1)
    await reached(1)
    addon.bpfDelete(program.maps.fdb, key, 1)
    wire.send(0, frame({ to: guest, from: macOf(0) }))
    await wire.sync()
    await until("it has arrived", () => wire.arrivals.length > 0)
    await wire.sync()
    return wire.arrivals.splice(0).length === 1
  })

  for (let round = 0; round < 5; round++) {
    for (const port of [2, 1]) {
      await isAt(port)
      await travel(port)
    }
  }
  t.pass("a station that moves to and fro is followed at once")

  await wire.exchange(0, frame({ to: guest, from: macOf(78) }), 1)
  t.ok(program.fdb(segment).some(({ mac }) => mac === macOf(78)), "another station behind the port is learnt")

  const { serial } = program.ports().get(ports[2]!)!
  await travel(1)
  program.stations.tell([{ segment, mac: guest, ifindex: ports[2]!, serial }])
  await travel(2)
  program.stations.forget([{ segment, mac: guest }])
  t.strictSame(await reached(2), [1, 2], "told elsewhere, forgotten")

  await isAt(1)
  await travel(1)
  program.setGates([[ports[1]!, { deaf: true }]])
  const before = program.counters(ports[1]!)!.drops.cut
  wire.send(0, frame({ to: guest, from: macOf(0) }))
  await wire.sync()
  t.equal(program.counters(ports[1]!)!.drops.cut, before + 1, "a gate closes at once")
  program.setGates([[ports[1]!, {}]])
  await travel(1)

  program.removePort(ports[1]!)
  t.strictSame(await reached(1), [2], "the port is gone: flooded to those that are left")
  program.setPort(ports[1]!, { kind: "network", segment: 8, mac: macOf(1) })
  t.strictSame(await reached(1), [2], "it is in another network")
  program.setPort(ports[1]!, { kind: "network", segment, mac: macOf(1) })
  await isAt(1)
  await travel(1)
  program.setPort(ports[0]!, { kind: "network", segment: 8, mac: macOf(0) })
  program.setPort(ports[3]!, { kind: "network", segment: 8, mac: macOf(3) })
  t.strictSame(await reached(1), [3], "the sender is in another network")
  await wire.exchange(3, frame({ to: broadcast, from: macOf(3) }), 1)
  for (let i = 0; i < 3; i++) await wire.exchange(0, frame({ to: macOf(3), from: macOf(0) }), 1)
  program.removeSegment(8)
  wire.send(0, frame({ to: macOf(3), from: macOf(0) }))
  await wire.sync()
  t.equal(program.counters(ports[0]!)!.drops.noSegment, 1, "the network is gone: the next frame is dropped")
  t.strictSame(wire.arrivals, [])
})

t.test("what a port may no longer teach is counted each time", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("taught", 2)
  const { nodes, ports, program, world } = fixture
  t.teardown(() => world.close())
  network(fixture, segment, [0, 1])
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  await wire.exchange(1, frame({ to: broadcast, from: macOf(1) }), 1)
  for (let i = 0; i < 1024; i++) wire.send(0, frame({ to: macOf(1), from: macOf(i + 0x100) }))
  for (let i = 0; i < 10; i++) wire.send(0, frame({ to: macOf(1), from: macOf(0x9999) }))
  await wire.sync()
  await until("all have arrived", () => wire.arrivals.length === 1034)
  t.equal(program.counters(ports[0]!)!.unlearnt, 10)
})
