/** Stations on other hosts that are told, not learnt, and requests that are answered in their place. */
import t from "tap"
import { ipBatch, needsRoot, until } from "../harness.ts"
import { addon } from "../../../daemon/native/index.ts"
import { noMac } from "../../../daemon/linux/bpf.ts"
import { broadcast, frame, macOf, makeFixture, network, Wire } from "./frames.ts"
import { far, makeTunnelFixture, stranger } from "./underlay.ts"

const segment = 7
const remoteMac = "02:00:00:00:09:09"

t.test("a station that is told", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("told", 4)
  const { nodes, ports, program, world } = fixture
  t.teardown(() => world.close())
  network(fixture, segment, [0, 1, 2])
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  const tell = () =>
    program.stations.tell([{ segment, mac: remoteMac, ifindex: ports[2]!, serial: program.ports().get(ports[2]!)!.serial }])
  tell()
  t.match(program.fdb(segment), [{ mac: remoteMac, ifindex: ports[2], told: true }])
  const seen = async (from: number, expected: number) =>
    (await wire.exchange(from, frame({ to: remoteMac, from: macOf(from) }), expected)).map(({ port }) => port)
  t.strictSame(await seen(0, 1), [2], "its frames go to one port, and nobody flooded first")

  const before = program.stations.news()
  await wire.exchange(1, frame({ to: broadcast, from: remoteMac }), 2)
  t.strictSame(await seen(0, 1), [1], "a frame of a port here moves it at once")
  t.ok(program.stations.news() > before, "user space can see that there is news")
  t.notOk(program.fdb(segment).find(({ mac }) => mac === remoteMac)!.told, "it is learnt now")
  const quiet = program.stations.news()
  await wire.exchange(1, frame({ to: broadcast, from: remoteMac }), 2)
  t.equal(program.stations.news(), quiet, "the same again is no news")
  tell()
  program.stations.forget([{ segment, mac: remoteMac }])
  t.strictSame(await seen(0, 2), [1, 2], "forgotten: flooded again")
})

t.test("a told station is not learnt from another host", { skip: needsRoot }, async (t) => {
  const fixture = makeTunnelFixture("toldfar", 1)
  const { farEnd, program, ports, tunnels, world } = fixture
  t.teardown(() => world.close())
  const vni = 42
  network(fixture, vni, [0])
  const ways = [far.ipv4, stranger.ipv4].map((remote) => tunnels.add(4789, vni, remote))
  program.setSegment(vni, [ports[0]!, ...ways])
  for (const way of ways) program.setPort(way, { kind: "network", segment: vni, mac: noMac, tunnel: true })
  const at = () => program.fdb(vni).find(({ mac }) => mac === remoteMac)?.ifindex
  program.stations.tell([{ segment: vni, mac: remoteMac, ifindex: ways[1]!, serial: program.ports().get(ways[1]!)!.serial }])
  ipBatch(farEnd, [
    `link add vx0 address ${remoteMac} type vxlan id ${vni} local ${far.ipv4} remote 10.88.0.1 dstport 4789 nolearning`,
    "link set vx0 up",
    "address add 10.9.0.2/24 dev vx0"
  ])
  const heard = () => program.counters(ways[0]!)!.from.packets
  const before = heard()
  await world.run(farEnd, ["ping", "-c", "1", "-W", "0.2", "10.9.0.1"])
  await until("the far end's frame has come", () => heard() > before)
  t.equal(at(), ways[1], "what was told holds against frames of other hosts")
  program.stations.forget([{ segment: vni, mac: remoteMac }])
  await world.run(farEnd, ["ping", "-c", "1", "-W", "0.2", "10.9.0.1"])
  await until("it is learnt as before once it is not told any more", () => at() === ways[0])
})

t.test("requests are answered in place of a station elsewhere", { skip: needsRoot }, async (t) => {
  const fixture = makeFixture("answers", 3)
  const { nodes, ports, program, world } = fixture
  t.teardown(() => world.close())
  network(fixture, segment, [0, 1, 2])
  const asker = nodes[0]!
  ipBatch(asker, ["address add 10.9.0.1/24 dev eth0"])
  program.stations.tell([{ segment, mac: remoteMac, ifindex: ports[2]!, serial: program.ports().get(ports[2]!)!.serial }])
  program.stations.setNeighbors([
    { segment, address: "10.9.0.9", mac: remoteMac, router: false },
    { segment, address: "fd09::9", mac: remoteMac, router: true }
  ])
  const slots = [program.ports().get(ports[0]!)!.slot]
  const neighbor = async (address: string) => (await world.run(asker, ["ip", "neighbour", "show", address])).stdout

  const before = { packets: program.counters(ports[1]!)!.to.packets, answered: program.stations.answered(slots) }
  await world.run(asker, ["ping", "-c", "1", "-W", "0.2", "10.9.0.9"])
  t.match(await neighbor("10.9.0.9"), `lladdr ${remoteMac} REACHABLE`, "ARP")
  t.equal(program.stations.answered(slots), before.answered + 1, "counted")
  t.equal(program.counters(ports[1]!)!.to.packets, before.packets, "nobody else hears of it")
  const ipv6 = ["all", "eth0"].map((scope) => `/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`)
  addon.writeFiles(asker.fd, ipv6, ["0", "0"])
  ipBatch(asker, ["address add fd09::1/64 dev eth0 nodad"])
  await world.run(asker, ["ping", "-6", "-c", "1", "-W", "0.2", "fd09::9"])
  const known = new RegExp(`lladdr ${remoteMac} router REACHABLE`)
  t.match(await neighbor("fd09::9"), known, "neighbour discovery, of a router; its checksum is right")
  t.equal(program.stations.answered(slots), before.answered + 2)

  const told = { segment, address: "10.9.0.7", mac: remoteMac, router: false }
  program.stations.setNeighbors([told])
  ipBatch(nodes[1]!, ["address add 10.9.0.7/24 dev eth0"])
  await world.run(nodes[1]!, ["ping", "-c", "1", "-W", "0.2", "10.9.0.77"])
  program.stations.renewNeighbors([told])
  const asked = await world.run(asker, ["ping", "-c", "1", "-W", "1", "10.9.0.7"])
  t.equal(asked.code, 0, "whoever has taken an address over is asked himself")
  t.match(await neighbor("10.9.0.7"), `lladdr ${macOf(1)} `)

  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()
  // Who has 10.9.0.9? Tell 10.9.0.1
  const arp = `0001080006040001${macOf(0).replaceAll(":", "")}0a0900010000000000000a090009`
  const request = (tag: string) => Buffer.from(`ffffffffffff${macOf(0).replaceAll(":", "")}${tag}0806${arp}`, "hex")
  const answered = program.stations.answered(slots)
  wire.send(0, request("8100000c"))
  await wire.sync()
  t.equal(program.stations.answered(slots), answered, "nor is what bears a tag answered")
  wire.send(0, request(""))
  await wire.sync()
  t.equal(program.stations.answered(slots), answered + 1, "which is without one")

  await world.run(asker, ["ping", "-c", "1", "-W", "0.2", "10.9.0.8"])
  t.ok(program.counters(ports[1]!)!.to.packets > before.packets, "who is not known is asked for as before")
  program.stations.removeNeighbors([{ segment, address: "10.9.0.9" }])
  await world.run(asker, ["ip", "neighbour", "flush", "all"])
  await world.run(asker, ["ping", "-c", "1", "-W", "0.2", "10.9.0.9"])
  t.notMatch(await neighbor("10.9.0.9"), "REACHABLE", "and so is who is known no more")
  program.stations.clearNeighbors()
  await world.run(asker, ["ip", "neighbour", "flush", "all"])
  await world.run(asker, ["ping", "-6", "-c", "1", "-W", "0.2", "fd09::9"])
  t.notMatch(await neighbor("fd09::9"), "REACHABLE")
  t.equal(program.stations.answered(slots), answered + 1)
})
