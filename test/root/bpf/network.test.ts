import t from "tap"
import { needsRoot, until } from "../harness.ts"
import { broadcast, frame, hex, macOf, makeFixture, network, Wire } from "./frames.ts"

const toHost = 0
const toBroadcast = 1
const toOther = 3

t.test("a network of five ports", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("net", 6)
  const { program, ports, nodes, world } = fixture
  t.teardown(() => world.close())
  network(fixture, 7, [0, 1, 2, 3, 4])
  network(fixture, 8, [5])
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  const stations = () => Object.fromEntries(program.fdb(7).map(({ mac, ifindex }) => [mac, ports.indexOf(ifindex)]))
  const exchange = async (from: number, octets: Uint8Array, expected: number) =>
    (await wire.exchange(from, octets, expected)).map(({ port, type, frame }) => ({ port, type, same: frame === hex(octets) }))
  const at = (port: number, type: number) => ({ port, type, same: true })

  t.strictSame(
    await exchange(0, frame({ to: macOf(1), from: macOf(0) }), 4),
    [at(1, toHost), at(2, toOther), at(3, toOther), at(4, toOther)],
    "an unknown destination: to all others, in its own segment only"
  )
  t.strictSame(stations(), { [macOf(0)]: 0 }, "the source is learnt")
  t.strictSame(await exchange(1, frame({ to: macOf(0), from: macOf(1) }), 1), [at(0, toHost)], "a known destination: to its port")
  t.strictSame(await exchange(0, frame({ to: macOf(1), from: macOf(0), vlan: 12 }), 1), [at(1, toHost)], "a tag crosses")
  t.strictSame(
    await exchange(2, frame({ to: broadcast, from: macOf(2), vlan: 13 }), 4),
    [at(0, toBroadcast), at(1, toBroadcast), at(3, toBroadcast), at(4, toBroadcast)],
    "broadcast, tagged: to all others"
  )

  const guest = macOf(77)
  await exchange(3, frame({ to: broadcast, from: guest }), 4)
  t.strictSame(await exchange(0, frame({ to: guest, from: macOf(0) }), 1), [at(3, toOther)], "a station behind a node is reached")
  await exchange(4, frame({ to: broadcast, from: guest }), 4)
  t.strictSame(await exchange(0, frame({ to: guest, from: macOf(0) }), 1), [at(4, toOther)], "a station that moved is followed")

  const dropped: ReadonlyArray<readonly [title: string, reason: "hairpin" | "linkLocal" | "invalidSource", octets: Uint8Array]> = [
    ["to a station of its own port", "hairpin", frame({ to: guest, from: macOf(4) })],
    ["STP", "linkLocal", frame({ to: "01:80:c2:00:00:00", from: macOf(4), type: 38 })],
    ["LLDP", "linkLocal", frame({ to: "01:80:c2:00:00:0e", from: macOf(4), type: 0x88cc })],
    ["from a group", "invalidSource", frame({ to: macOf(0), from: "03:00:00:00:00:01" })],
    ["from zero", "invalidSource", frame({ to: macOf(0), from: "00:00:00:00:00:00" })]
  ]
  for (const [title, reason, octets] of dropped) {
    const before = program.counters(ports[4]!)!.drops[reason]
    wire.send(4, octets)
    t.strictSame(await exchange(4, frame({ to: macOf(0), from: macOf(4) }), 1), [at(0, toHost)], `${title}: only the next one arrives`)
    t.equal(program.counters(ports[4]!)!.drops[reason], before + 1, `${title}: counted as ${reason}`)
  }
  t.notOk("03:00:00:00:00:01" in stations(), "a group is never learnt")

  t.strictSame(
    (await exchange(4, frame({ to: "01:80:c2:00:00:10", from: macOf(4) }), 4)).map(({ port }) => port),
    [0, 1, 2, 3],
    "the address after the link-local ones is flooded"
  )

  program.removePort(ports[1]!)
  await exchange(0, frame({ to: macOf(1), from: macOf(0) }), 3)
  t.pass("what was learnt about a port that is gone is void")
  program.setPort(ports[1]!, { kind: "network", segment: 7, mac: macOf(1) })
  t.strictSame(
    (await exchange(0, frame({ to: macOf(1), from: macOf(0) }), 4)).map(({ port }) => port),
    [1, 2, 3, 4],
    "also when a new port has its ifindex"
  )

  await exchange(4, frame({ to: broadcast, from: macOf(90) }), 4)
  program.removePort(ports[4]!)
  program.setPort(ports[4]!, { kind: "network", segment: 7, mac: macOf(4) })
  t.strictSame(
    (await exchange(4, frame({ to: macOf(90), from: macOf(4) }), 4)).map(({ port }) => port),
    [0, 1, 2, 3],
    "and when that one looks for a station that was behind the old one"
  )

  network(fixture, 8, [5, 1])
  t.strictSame((await exchange(5, frame({ to: broadcast, from: macOf(5) }), 1)).map(({ port }) => port), [1], "a port can change networks")
  t.strictSame((await exchange(0, frame({ to: broadcast, from: macOf(0) }), 3)).map(({ port }) => port), [2, 3, 4])

  program.removeSegment(7)
  wire.send(0, frame({ to: broadcast, from: macOf(0) }))
  await wire.sync()
  t.equal(program.counters(ports[0]!)!.drops.noSegment, 1, "a network that is gone forwards nothing")
  t.strictSame(wire.arrivals, [])
})

t.test("a station that is silent is forgotten after the segment's time", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("age", 3)
  const { program, nodes, world } = fixture
  t.teardown(() => world.close())
  network(fixture, 7, [0, 1, 2], 1)
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  await wire.exchange(1, frame({ to: broadcast, from: macOf(1) }), 2)
  const probe = frame({ to: macOf(1), from: macOf(0) })
  t.equal((await wire.exchange(0, probe, 1)).length, 1, "known at first")
  await until("the station has aged", () => !program.fdb().some(({ mac }) => mac === macOf(1)))
  t.equal((await wire.exchange(0, probe, 2)).length, 2, "flooded when it has aged")
})

t.test("one port cannot fill the table", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("fill", 2)
  const { program, ports, nodes, world } = fixture
  t.teardown(() => world.close())
  network(fixture, 7, [0, 1])
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  for (let i = 0; i < 1100; i++) wire.send(0, frame({ to: broadcast, from: macOf(i + 0x100) }))
  await wire.sync()
  await until("all have arrived", () => wire.arrivals.length === 1100)
  t.equal(program.fdb(7).length, 1024)
  t.equal(program.counters(ports[0]!)!.unlearnt, 1100 - 1024, "counted")
})

for (const count of [300, 700]) {
  t.test(`a broadcast reaches each of ${count} ports once`, { skip: needsRoot }, async (t) => {
    const fixture = makeFixture(`wide${count}`, 2)
    const { program, nodes, world, fabric } = fixture
    t.teardown(() => world.close())
    const crowd = world.namespace("crowd")
    const more = world.veths(fabric, Array.from({ length: count - 1 }, (_, i) => ({ node: crowd, name: `e${i}` })))
    network(fixture, 7, [0])
    program.setPorts(more.map((ifindex) => [ifindex, { kind: "network", segment: 7, mac: macOf(1) }] as const))
    const wire = new Wire(world, [{ node: nodes[0]!, name: "eth0" }, ...more.map((_, i) => ({ node: crowd, name: `e${i}` }))])
    await wire.ready()
    for (let round = 0; round < 3; round++) {
      const arrivals = await wire.exchange(0, frame({ to: broadcast, from: macOf(0), payload: `round ${round}` }), count - 1)
      t.strictSame(arrivals.map(({ port }) => port), more.map((_, i) => i + 1), `round ${round}`)
    }
    t.equal(program.counters(fixture.ports[0]!)!.from.packets, 3, "a frame counts once at its source")
  })
}
