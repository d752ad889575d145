/** The copies of the ports' entries, which the program reads: always the same as the entries, never changed in place. */
import t from "tap"
import * as Bpf from "../../../daemon/linux/bpf.ts"
import * as Layout from "../../../daemon/linux/bpf-layout.ts"
import { addon } from "../../../daemon/native/index.ts"
import { attach, ipBatch, needsRoot } from "../harness.ts"
import { frame, macOf, makeFixture, objectPath, Wire } from "./frames.ts"
import { look } from "./maps.ts"

const inNetwork = (number: number, segment: number): Bpf.Port => ({ kind: "network", segment, mac: macOf(number) })

t.test("copies follow the entries", { skip: needsRoot }, async (t) => {
  const program = Bpf.load(objectPath)
  const agree = (title: string, of = program) => {
    const { copies, entries, places } = look(of)
    t.strictSame(copies, entries, title)
    t.equal(new Set(places).size, places.length, `${title}: one place each`)
    t.notOk(places.includes(0), `${title}: all have one`)
  }
  const many = Array.from({ length: 3000 }, (_, i) => i + 1)
  program.setPorts(many.map((index) => [index, inNetwork(index, index % 7)]))
  agree("made")
  // More often than there are places.
  for (let round = 0; round < 15; round++) program.setPorts(many.map((index) => [index, inNetwork(index, (index + round) % 7)]))
  agree("changed")
  const end = program.addTunnelEnd({ device: 1, vni: 5, remote: "192.0.2.1" })
  program.setPort(end, { kind: "p2p", peer: 2, mac: Bpf.noMac, tunnel: true })
  program.setPort(2, { kind: "p2p", peer: end, mac: macOf(2) })
  agree("a tunnel end")
  program.removePorts(many.slice(1000))
  agree("removed")
  program.setGates([[5, { deaf: true }]])
  program.setVisible(6, true)
  agree("gate and capture")

  const other = Bpf.adopt(program.programId)!
  agree("opened twice", other)
  program.close()
  // What a daemon leaves that dies after it has written the entry.
  const dead = Layout.encodePort({ port: inNetwork(9, 99), visible: false, slot: 9, serial: 9 }, undefined)
  addon.bpfUpdate(other.maps.ports, Layout.keys32(9), dead, 1)
  addon.bpfUpdate(other.maps.ports, Layout.keys32(2500), dead, 1)
  t.not(look(other).copies.get(9), look(other).entries.get(9), "left behind")
  const mended = Bpf.adopt(other.programId)!
  agree("adopted", mended)
  mended.setPort(9, inNetwork(9, 3))
  agree("and changed", mended)
  mended.close()
  other.close()
})

t.test("a port whose ifindex is too large for a copy forwards", { skip: needsRoot }, async (t) => {
  const { fabric, nodes, ports, program, world } = makeFixture("far", 2)
  t.teardown(() => world.close())
  const far = 1_234_567
  const node = world.namespace("far")
  ipBatch(fabric, [`link add far index ${far} type veth peer name eth0 address ${macOf(9)} netns ${node.name}`, "link set far up"])
  ipBatch(node, ["link set eth0 up"])
  attach(fabric, program.programFd, [far])
  program.setPorts([[ports[0]!, inNetwork(0, 4)], [ports[1]!, inNetwork(1, 4)], [far, inNetwork(9, 4)]])
  t.strictSame(look(program).far, [far])
  const wire = new Wire(world, [...nodes, node].map((of) => ({ node: of, name: "eth0" })))
  await wire.ready()
  await wire.exchange(0, frame({ to: macOf(9), from: macOf(0) }), 2)
  await wire.exchange(2, frame({ to: macOf(0), from: macOf(9) }), 1)
  for (let i = 0; i < 3; i++) {
    t.strictSame((await wire.exchange(0, frame({ to: macOf(9), from: macOf(0) }), 1)).map(({ port }) => port), [2])
    t.strictSame((await wire.exchange(2, frame({ to: macOf(0), from: macOf(9) }), 1)).map(({ port }) => port), [0])
  }
})
