/** Tunnel ends of the program, with far ends that are not weft. */
import t from "tap"
import { noMac } from "../../../daemon/linux/bpf.ts"
import { ipBatch, needsRoot, until } from "../harness.ts"
import { broadcast, frame, hex, macOf, network, Wire } from "./frames.ts"
import { far, makeTunnelFixture, near, stranger, type TunnelFixture } from "./underlay.ts"

const vni = 42
const farMac = "02:00:00:00:09:09"

/** Joins port 0 to the far end by a link. */
const link = ({ ports, program, tunnels }: TunnelFixture, remote: string): number => {
  const way = tunnels.add(4789, vni, remote)
  program.setPort(way, { kind: "p2p", peer: ports[0]!, mac: noMac, tunnel: true })
  program.setPort(ports[0]!, { kind: "p2p", peer: way, mac: macOf(0) })
  return way
}

for (const family of ["ipv4", "ipv6"] as const) {
  t.test(`a link to a VXLAN device of the kernel over ${family}`, { skip: needsRoot }, async (t) => {
    const fixture = makeTunnelFixture(`peer${family}`, 1, { mtu: 1400 })
    const { farEnd, nodes, program, world } = fixture
    t.teardown(() => world.close())
    const way = link(fixture, far[family])
    ipBatch(farEnd, [
      `link add vx0 address ${farMac} mtu 1400 type vxlan id ${vni} local ${far[family]} remote ${near[family]} dstport 4789 nolearning`,
      "link set vx0 up",
      "address add 10.9.0.2/24 dev vx0"
    ])
    ipBatch(nodes[0]!, ["address add 10.9.0.1/24 dev eth0"])
    const ping = await world.run(nodes[0]!, ["ping", "-c", "3", "-i", "0.05", "-W", "2", "-s", "1372", "-M", "do", "10.9.0.2"])
    t.equal(ping.code, 0, ping.stdout)
    const before = program.counters(way)!
    t.ok(before.to.packets >= 3 && before.from.packets >= 3, "the tunnel end counts both directions")

    const server = world.start(farEnd, ["iperf3", "-s"])
    await until("iperf3 listens", async () => (await world.run(farEnd, ["ss", "-Hltn", "sport = :5201"])).stdout !== "")
    for (const direction of [[], ["-R"]]) {
      const { code, stdout } = await world.run(nodes[0]!, ["iperf3", "-c", "10.9.0.2", "-n", "20M", ...direction])
      t.equal(code, 0, stdout)
    }
    server.kill()
    const { from, to } = program.counters(way)!
    t.ok(to.octets - before.to.octets > 15e6 && from.octets - before.from.octets > 15e6, "what it carried is counted")
    t.ok((to.octets - before.to.octets) / (to.packets - before.to.packets) > 3000, "super-frames cross as one")
  })
}

t.test("flows leave by source ports of their own", { skip: needsRoot }, async (t) => {
  const fixture = makeTunnelFixture("entropy", 1)
  const { farEnd, nodes, world } = fixture
  t.teardown(() => world.close())
  link(fixture, far.ipv4)
  ipBatch(nodes[0]!, ["address add 10.9.0.1/24 dev eth0", `neighbour add 10.9.0.2 lladdr ${farMac} dev eth0`])
  const dump = world.start(farEnd, ["tcpdump", "-nli", "u0", "-c", "64", "udp dst port 4789"])
  let seen = ""
  let ready = false
  dump.stdout!.on("data", (text: Buffer) => (seen += text.toString()))
  dump.stderr!.on("data", (text: Buffer) => (ready ||= text.includes("listening")))
  await until("tcpdump listens", () => ready)
  const send = "from socket import *\nfor i in range(64): socket(AF_INET, SOCK_DGRAM).sendto(b'x', ('10.9.0.2', 1000 + i % 16))"
  await world.run(nodes[0]!, ["/usr/bin/python3", "-c", send])
  await until("all have been seen", () => dump.exitCode !== null)
  const sources = new Set(Array.from(seen.matchAll(/IP 10\.88\.0\.1\.(\d+) > /g), ([, port]) => port))
  t.ok(sources.size > 32, `${sources.size} source ports of 64 flows`)
})

/** Makes the far end's VXLAN device, which sends from `local`; always under the same ifindex. */
const farDevice = ({ farEnd }: TunnelFixture, local: string): void =>
  ipBatch(farEnd, [
    `link add vx0 index 77 address ${farMac} type vxlan id ${vni} local ${local} remote ${near.ipv4} dstport 4789 nolearning`,
    "link set vx0 up"
  ])

t.test("a network with two other hosts", { skip: needsRoot }, async (t) => {
  const fixture = makeTunnelFixture("horizon", 2)
  const { farEnd, nodes, program, tunnels, world } = fixture
  t.teardown(() => world.close())
  network(fixture, 7, [0, 1])
  const ways = [far.ipv4, stranger.ipv4].map((remote) => tunnels.add(4789, vni, remote))
  program.setPorts(ways.map((way) => [way, { kind: "network", segment: 7, mac: noMac, tunnel: true }] as const))
  farDevice(fixture, far.ipv4)
  // Ports of the wire: 0 and 1 the nodes, 2 the far end, which is both other hosts.
  const wire = new Wire(world, [...nodes.map((node) => ({ node, name: "eth0" })), { node: farEnd, name: "vx0" }])
  await wire.ready()
  const at = async (from: number, octets: Uint8Array, expected: number) =>
    (await wire.exchange(from, octets, expected)).map(({ port }) => port)
  const sent = (way: number): number => program.counters(ways[way]!)!.to.packets
  const where = (mac: string) => program.fdb(7).find((station) => station.mac === mac)?.ifindex

  t.strictSame(await at(0, frame({ to: broadcast, from: macOf(0) }), 3), [1, 2, 2], "a broadcast goes to the other port and to each host")
  t.strictSame([sent(0), sent(1)], [1, 1])
  t.strictSame(await at(2, frame({ to: broadcast, from: farMac }), 2), [0, 1], "what comes from a host goes to the ports here")
  t.strictSame([sent(0), sent(1)], [1, 1], "and to no other host")
  t.equal(where(farMac), ways[0], "a station behind a host is learnt")
  t.strictSame(await at(0, frame({ to: farMac, from: macOf(0) }), 1), [2], "and what is for it goes to this host alone")
  t.strictSame([sent(0), sent(1)], [2, 1])

  ipBatch(farEnd, ["link del vx0"])
  farDevice(fixture, stranger.ipv4)
  t.strictSame(await at(2, frame({ to: macOf(0), from: farMac }), 1), [0])
  t.equal(where(farMac), ways[1], "a station that moved to another host is followed")
  ipBatch(farEnd, ["link del vx0"])
  farDevice(fixture, far.ipv4)
  wire.send(2, frame({ to: farMac, from: macOf(77) }))
  await until("it has been counted", () => program.counters(ways[0]!)!.drops.splitHorizon === 1)
  t.strictSame([sent(0), sent(1)], [2, 1], "nothing goes from host to host through here")
  // The far end's device takes what bears its own address for an echo (drivers/net/vxlan: vxlan_set_mac).
  t.strictSame(await at(1, frame({ to: broadcast, from: farMac }), 1), [0])
  t.strictSame(await at(0, frame({ to: farMac, from: macOf(0) }), 1), [1], "a station that moved here is followed")

  program.removeTunnelEnds([ways[0]!])
  wire.send(2, frame({ to: broadcast, from: farMac }))
  await until("it has been refused", () => program.counters(tunnels.open(4789))!.drops.unknownVtep === 1)
  t.strictSame(await at(0, frame({ to: broadcast, from: macOf(0) }), 2), [1, 2], "a host that left is not sent to")
})

t.test("a broadcast from another host reaches each of 700 ports once", { skip: needsRoot }, async (t) => {
  const fixture = makeTunnelFixture("slices", 2)
  const { fabric, farEnd, nodes, program, tunnels, world } = fixture
  t.teardown(() => world.close())
  const crowd = world.namespace("crowd")
  const more = world.veths(fabric, Array.from({ length: 699 }, (_, i) => ({ node: crowd, name: `e${i}` })))
  network(fixture, 7, [0])
  program.setPorts(more.map((ifindex) => [ifindex, { kind: "network", segment: 7, mac: macOf(1) }] as const))
  // Another one between, so that the number of the tunnel end is not 0.
  const ways = [stranger.ipv4, far.ipv4].map((remote) => tunnels.add(4789, vni, remote))
  program.setPorts(ways.map((way) => [way, { kind: "network", segment: 7, mac: noMac, tunnel: true }] as const))
  farDevice(fixture, far.ipv4)
  const inside = more.map((_, i) => ({ node: crowd, name: `e${i}` }))
  const wire = new Wire(world, [{ node: farEnd, name: "vx0" }, { node: nodes[0]!, name: "eth0" }, ...inside])
  await wire.ready()
  for (let round = 0; round < 3; round++) {
    const arrivals = await wire.exchange(0, frame({ to: broadcast, from: farMac, payload: `round ${round}` }), 700)
    t.strictSame(arrivals.map(({ port }) => port), Array.from({ length: 700 }, (_, i) => i + 1), `round ${round}`)
  }
  const { drops, from } = program.counters(ways[1]!)!
  t.equal(from.packets, 3, "a frame counts once at its source")
  t.ok(Object.values(drops).every((count) => count === 0))
  t.equal(program.counters(ways[0]!)!.to.packets, 0, "and none goes to another host")
})

/** What a far end that means ill sends: scapy, a line for each packet. */
const packet = (outer: string, vxlan: string, inner: string): string => `IP(${outer})/UDP(sport=7,dport=4789)/${vxlan}/${inner}`
const from = (address: string): string => `src="${address}",dst="${near.ipv4}"`
const good = `Ether(dst="${macOf(0)}",src="${farMac}",type=0x88b5)/Raw(b"x"*46)`
const vxlanHeader = (fields: string): string => `VXLAN(${fields})`
const right = vxlanHeader(`flags=8,vni=${vni}`)

t.test("what must not come in is counted and goes nowhere", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const fixture = makeTunnelFixture("bad", 4, { mtu: 9000 })
  const { farEnd, nodes, ports, program, tunnels, world } = fixture
  t.teardown(() => world.close())
  const device = tunnels.open(4789)
  const way = link(fixture, far.ipv4)
  // Another lab with a network, whose ports and VNI must stay out of reach.
  network(fixture, 43, [1, 2])
  const member = tunnels.add(4789, 43, stranger.ipv4)
  program.setPort(member, { kind: "network", segment: 43, mac: noMac, tunnel: true })
  const wire = new Wire(world, nodes.map((node) => ({ node, name: "eth0" })))
  await wire.ready()

  const deviceErrors = async (): Promise<number> => {
    const { stdout } = await world.run(fixture.fabric, ["ip", "-j", "-s", "link", "show", "vxlan4789"])
    const [{ stats64 }] = JSON.parse(stdout) as [{ stats64: { rx: { errors: number; dropped: number } } }]
    return stats64.rx.errors + stats64.rx.dropped
  }
  const scapy = world.spawn(["nsenter", `--net=${farEnd.path}`, "--", "/usr/bin/python3", "-u", "-c", scapyLoop])
  let answered = 0
  let complaints = ""
  scapy.stdout!.on("data", (text: Buffer) => (answered += text.toString().split("\n").length - 1))
  scapy.stderr!.on("data", (text: Buffer) => (complaints += text.toString()))
  let asked = 1
  const send = async (line: string): Promise<void> => {
    scapy.stdin!.write(`${line}\n`)
    asked++
    await until(`scapy has sent ${line} ${complaints}`, () => answered >= asked)
    await wire.sync()
  }
  await until("scapy is ready", () => answered >= 1, 120_000)
  /** Sends, then one that must arrive: what would have come before it has come by then. */
  const arrivals = async (line: string): Promise<ReadonlyArray<readonly [number, string]>> => {
    await send(line)
    await send(packet(from(far.ipv4), right, good))
    await until("the good one has arrived", () => wire.arrivals.some(({ frame }) => frame === hex(frame0)))
    const found = wire.arrivals.splice(0).map(({ port, frame }) => [port, frame] as const)
    const last = found.findLastIndex(([, octets]) => octets === hex(frame0))
    return found.toSpliced(last, 1)
  }
  const frame0 = frame({ to: macOf(0), from: farMac, payload: "x".repeat(46) })

  const drops = () => {
    const at = (index: number) => program.counters(index)!.drops
    return { unknownVni: at(device).unknownVni, unknownVtep: at(device).unknownVtep, invalid: at(member).invalidSource, other: at(way) }
  }
  type Counted = "unknownVni" | "unknownVtep" | "invalid" | "device" | "nowhere"
  const group = good.replace(farMac, "03:00:00:00:00:01")
  const header = (flags: string, last: string): string => `Raw(bytes.fromhex("${flags}${vni.toString(16).padStart(6, "0")}${last}"))`
  const toDrop: ReadonlyArray<readonly [title: string, line: string, counted: Counted]> = [
    ["another sender", packet(from(stranger.ipv4), right, good), "unknownVtep"],
    ["a sender of another VNI", packet(from(far.ipv4), vxlanHeader("flags=8,vni=43"), good), "unknownVtep"],
    ["an unknown VNI", packet(from(far.ipv4), vxlanHeader("flags=8,vni=77"), good), "unknownVni"],
    ["VNI 0", packet(from(far.ipv4), vxlanHeader("flags=8,vni=0"), good), "unknownVni"],
    ["the highest VNI", packet(from(far.ipv4), vxlanHeader("flags=8,vni=0xffffff"), good), "unknownVni"],
    ["a group as source, in a network", packet(from(stranger.ipv4), vxlanHeader("flags=8,vni=43"), group), "invalid"],
    ["no VNI flag", packet(from(far.ipv4), vxlanHeader(`flags=0,vni=${vni}`), good), "nowhere"],
    ["reserved bits", packet(from(far.ipv4), header("88000000", "00"), good), "device"],
    ["reserved octets", packet(from(far.ipv4), header("08ffffff", "ff"), good), "device"],
    ["an empty datagram", `IP(${from(far.ipv4)})/UDP(sport=7,dport=4789)`, "nowhere"],
    ["half a header", packet(from(far.ipv4), 'Raw(b"\\x08\\0\\0\\0")', 'Raw(b"")'), "nowhere"],
    // The kernel drops what it cannot take apart before it knows of a device (drivers/net/vxlan: vxlan_rcv).
    ["no inner frame", packet(from(far.ipv4), right, 'Raw(b"")'), "nowhere"],
    ["an inner runt", packet(from(far.ipv4), right, 'Raw(b"\\x02\\0\\0\\0\\0\\0\\x02\\0\\0\\0\\0\\1\\x88")'), "nowhere"],
    ["a wrong UDP checksum", `IP(${from(far.ipv4)})/UDP(sport=7,dport=4789,chksum=1)/${right}/${good}`, "nowhere"]
  ]
  for (const [title, line, counted] of toDrop) {
    const [before, errors] = [drops(), await deviceErrors()]
    t.strictSame(await arrivals(line), [], `${title}: arrives nowhere`)
    const now = drops()
    t.strictSame(
      { vni: now.unknownVni - before.unknownVni, vtep: now.unknownVtep - before.unknownVtep, invalid: now.invalid - before.invalid },
      { vni: Number(counted === "unknownVni"), vtep: Number(counted === "unknownVtep"), invalid: Number(counted === "invalid") },
      `${title}: counted by reason`
    )
    if (counted === "device") t.equal(await deviceErrors(), errors + 1, `${title}: counted at the device`)
  }

  const inner = (more: string): string => packet(from(far.ipv4), right, more)
  const tagged = good.replace("type=0x88b5)", "type=0x8100)/Dot1Q(vlan=5,type=0x88b5)")
  const expected = (more: Partial<Parameters<typeof frame>[0]>) => frame({ to: macOf(0), from: farMac, payload: "x".repeat(46), ...more })
  const passed: ReadonlyArray<readonly [title: string, line: string, expected: Uint8Array]> = [
    ["with a VLAN tag", inner(tagged), expected({ vlan: 5 })],
    ["to another station", inner(good.replace(macOf(0), macOf(9))), expected({ to: macOf(9) })],
    ["broadcast", inner(good.replace(macOf(0), broadcast)), expected({ to: broadcast })],
    ["14 octets", inner(good.slice(0, good.indexOf("/"))), expected({ payload: "", length: 14 })],
    ["a jumbo frame in fragments", `fragment(${inner(good.replace("*46", "*8900"))},1400)`, expected({ payload: "x".repeat(8900) })]
  ]
  for (const [title, line, octets] of passed) t.strictSame(await arrivals(line), [[0, hex(octets)]], `${title}: arrives at its port`)
  t.strictSame(program.fdb(43), [], "nothing was learnt from what was refused")
  t.equal(program.counters(ports[1]!)!.to.packets, 0)
  // Random octets from the right sender, at the right port, with the right VNI now and then.
  const datagram = `IP(${from(far.ipv4)})/UDP(sport=7,dport=4789)/Raw(random.Random(i).randbytes(i % 200))`
  t.strictSame(await arrivals(`[${datagram} for i in range(4000)]`), [], "4000 random datagrams: nothing arrives")
})

const scapyLoop = `
import sys, random, logging
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import *
conf.verb = 0
out = L3RawSocket(iface="u0")
print("ready")
for line in sys.stdin:
    packets = eval(line)
    for one in packets if isinstance(packets, list) else [packets]:
        out.send(one)
    print("sent")
`
