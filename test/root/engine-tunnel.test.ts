/** Tunnels of the engine, from one of ours to another: every encapsulation over both families, profiles, and what may go wrong. */
import t from "tap"
import { Engine } from "../../daemon/datapath/engine.ts"
import * as Fabric from "../../daemon/linux/fabric.ts"
import { EngineLinks } from "../../daemon/resources/engine-link.ts"
import { macOf, makeFixture } from "./bpf/frames.ts"
import { descriptorCount, ipBatch, needsRoot, until } from "./harness.ts"
import { defaultPort, Hosts, id, inner, type Tunnel, underlay } from "./tunnel-harness.ts"

const encapsulations = ["vxlan", "geneve", "gre"] as const

for (const encapsulation of encapsulations) {
  for (const family of [4, 6] as const) {
    t.test(`Engine.addTunnel carries frames in ${encapsulation} over IPv${family}`, { skip: needsRoot }, async (t) => {
      const hosts = new Hosts(`tunnel-${encapsulation}-${family}`)
      t.teardown(() => hosts.close())
      const tunnel: Tunnel = { encapsulation, family, port: defaultPort[encapsulation], vni: 0x123456 }
      // What fits into the underlay's 1500 octets.
      const mtu = family === 4 ? 1450 : 1430
      const engine = await hosts.start(hosts.a, tunnel, mtu)
      await hosts.start(hosts.b, tunnel, mtu)
      const { a, b, world } = hosts
      const ping = async (...options: string[]) =>
        (await world.run(a.node, ["ping", "-c", "1", "-W", "1", ...options, inner[1]])).code === 0
      await until("the other node answers", () => ping())
      t.ok(await ping("-M", "do", "-s", String(mtu - 28)), "a full packet")
      const server = world.start(b.node, ["iperf3", "-s", "-1", "--forceflush"])
      await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
      const client = await world.run(a.node, ["iperf3", "-c", inner[1], "-n", "40M", "-J"])
      const { end } = JSON.parse(client.stdout) as { end: { sum_received: { bytes: number; bits_per_second: number } } }
      t.ok(end.sum_received.bytes > 35e6, `${(end.sum_received.bits_per_second / 1e9).toFixed(1)} Gbit/s of TCP`)
      const stats = (await engine.allStats()).tunnels.get(id)!
      t.ok(stats.sent.packets > 28_000 && stats.sent.octets > 40e6, "counted as packets of the wire")
      t.equal(stats.sent.drops.error + stats.sent.drops.queue + stats.received.errors, 0, "nothing was lost")
    })
  }
}

t.test("Engine.addTunnel carries frames behind the most options that Geneve can have, in any profile", { skip: needsRoot }, async (t) => {
  const hosts = new Hosts("tunnel-options")
  t.teardown(() => hosts.close())
  const { a, b, world } = hosts
  const options = `0102811f${"c0".repeat(124)}0102021e${"ff".repeat(120)}`
  const tunnel: Tunnel = { encapsulation: "geneve", family: 4, port: defaultPort.geneve, vni: 9, options }
  const engine = await hosts.start(a, tunnel, 1450)
  const far = await hosts.start(b, tunnel, 1450)
  for (const profile of [{}, { delayMs: 2 }]) {
    engine.setTunnelProfile(id, profile)
    await until("the other node answers", async () => (await world.run(a.node, ["ping", "-c", "1", "-W", "1", inner[1]])).code === 0)
    const server = world.start(b.node, ["iperf3", "-s", "-1", "--forceflush"])
    await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
    const { stdout } = await world.run(a.node, ["iperf3", "-c", inner[1], "-n", "40M", "-J"])
    const { end } = JSON.parse(stdout) as { end: { sum_received: { bytes: number } } }
    t.ok(end.sum_received.bytes > 30e6, `${JSON.stringify(profile)}: ${end.sum_received.bytes} octets`)
  }
  for (const one of [engine, far]) t.equal((await one.allStats()).refusals.geneve.options, 0)
})

t.test("Engine.addTunnel carries a lab's MTU that the underlay does not have, in fragments", { skip: needsRoot }, async (t) => {
  const hosts = new Hosts("tunnel-jumbo")
  t.teardown(() => hosts.close())
  const { a, b, world } = hosts
  for (const encapsulation of encapsulations) {
    const tunnel: Tunnel = { encapsulation, family: 4, port: defaultPort[encapsulation], vni: 9 }
    const engine = await hosts.start(a, tunnel, 9001)
    const far = await hosts.start(b, tunnel, 9001)
    const ping = async (size: number) =>
      (await world.run(a.node, ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", String(size), inner[1]])).code === 0
    await until("the other node answers", () => ping(56))
    t.ok(await ping(9001 - 28), encapsulation)
    const server = world.start(b.node, ["iperf3", "-s", "-1", "--forceflush"])
    await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
    t.equal((await world.run(a.node, ["iperf3", "-c", inner[1], "-n", "4M"])).code, 0, "TCP")
    t.equal((await engine.allStats()).tunnels.get(id)!.sent.drops.error, 0)
    await engine.removeTunnel(id)
    await far.removeTunnel(id)
  }
})

t.test("Engine.setTunnelProfile changes what leaves a host, and nothing else", { skip: needsRoot }, async (t) => {
  const hosts = new Hosts("tunnel-profile")
  t.teardown(() => hosts.close())
  const { a, b, world } = hosts
  const tunnel: Tunnel = { encapsulation: "geneve", family: 4, port: 6081, vni: 9 }
  const engine = await hosts.start(a, tunnel)
  await hosts.start(b, tunnel)
  const roundTrip = async (): Promise<number> => {
    const { stdout } = await world.run(a.node, ["ping", "-c", "3", "-i", "0.05", "-W", "1", inner[1]])
    return Number(/= ([\d.]+)\//.exec(stdout)?.[1] ?? Infinity)
  }
  await until("the other node answers", async () => (await roundTrip()) < 20)
  engine.setTunnelProfile(id, { delayMs: 50 })
  const delayed = await roundTrip()
  t.ok(delayed >= 50 && delayed < 90, `${delayed} ms with a delay of 50 ms one way`)
  engine.setTunnelProfile(id, { loss: { kind: "random", probability: 1 } })
  t.equal(await roundTrip(), Infinity, "all is lost")
  t.ok((await engine.allStats()).tunnels.get(id)!.sent.drops.loss >= 3, "and counted")
  engine.setTunnelProfile(id, {})
  await until("nothing is lost any more", async () => (await roundTrip()) < 20)
})

t.test("Engine.addTunnel says why it cannot", { skip: needsRoot }, async (t) => {
  const hosts = new Hosts("tunnel-refused")
  t.teardown(() => hosts.close())
  const { a } = hosts
  const tunnel: Tunnel = { encapsulation: "vxlan", family: 4, port: 4789, vni: 9 }
  ipBatch(a.underlay, ["link add vx0 type vxlan external dstport 4789", "link set vx0 up"])
  const engine = await hosts.start(a, { ...tunnel, port: 4790 })
  const before = descriptorCount()
  const other = { name: "tap1", id: "other" }
  await t.rejects(hosts.connect(engine, a, tunnel, other), /UDP port 4789.*EADDRINUSE/, "the kernel has the port")
  await t.rejects(hosts.connect(engine, a, { ...tunnel, port: 4790 }, other), /VNI 9.*EADDRINUSE/, "the same tunnel")
  t.equal(descriptorCount(), before, "no descriptor is left")
})

t.test("EngineLinks carry tunnels on when the engine dies, and leave nothing", { skip: needsRoot }, async (t) => {
  const hosts = new Hosts("tunnel-dies")
  const fixture = makeFixture("tunnel-dies-fabric", 1, { mtu: 1400 })
  const { fabric, nodes, ports, program } = fixture
  const { b } = hosts
  const engines: Engine[] = []
  const told: string[] = []
  const start = async (): Promise<Engine> => {
    const engine = await Engine.start({ underlay: hosts.a.underlay.fd })
    engines.push(engine)
    return engine
  }
  const links = new EngineLinks({ fabric: { ...fabric, inode: 0 }, program, start, tell: (message) => told.push(message) })
  t.teardown(async () => {
    await links.close()
    fixture.world.close()
    await hosts.close()
  })
  const tunnel: Tunnel = { encapsulation: "vxlan", family: 4, port: 14789, vni: 9 }
  const [local, remote] = underlay[4]
  const spec = { lab: "lab", label: "link.192-0-2-2", encapsulation: "vxlan", port: 14789, vni: 9, local, remote, seed: 1 } as const
  const taps = () => new Map(Fabric.ports(fabric.fd).taps.map((tap) => [tap.index, tap]))
  const { tap } = await links.setTunnel("t", spec, taps())
  t.ok(Fabric.ports(fabric.fd).taps[0]!.altNames.includes("weft-tap.lab.link.192-0-2-2"), "the TAP is marked")
  program.setPort(ports[0]!, { kind: "p2p", peer: tap, mac: macOf(0) })
  program.setPort(tap, { kind: "p2p", peer: ports[0]!, mac: "00:00:00:00:00:00" })
  program.setVisible(tap, true)
  ipBatch(nodes[0]!, [`addr add ${inner[0]}/24 dev eth0`])
  await hosts.start(b, tunnel, 1400)
  const pings = async (): Promise<boolean> => (await fixture.world.run(nodes[0]!, ["ping", "-c", "1", "-W", "0.3", inner[1]])).code === 0
  await until("the tunnel forwards", pings)
  for (let round = 1; round <= 3; round++) {
    await engines.at(-1)!.kill()
    const killed = performance.now()
    await until("the tunnel forwards again", pings)
    t.comment(`after ${(performance.now() - killed).toFixed(0)} ms: ${told.at(-1)}`)
    t.equal(links.getTunnel("t")!.tap, tap, "by the same TAP")
  }
  t.equal(told.length, 3, "each time it says so")
  t.ok((await links.tunnelStats())!.tunnels.get("t")!.received.packets > 0, "and counts anew")
  t.equal((await links.setTunnel("t", { ...spec, profile: { delayMs: 20 } }, taps())).tap, tap, "a profile is changed in place")
  t.not((await links.setTunnel("t", { ...spec, vni: 10 }, taps())).tap, tap, "another VNI is another tunnel")
  links.releaseTunnel("t")
  t.equal(links.getTunnel("t"), undefined, "nobody may count on it")
  await until("the TAP is gone", () => Fabric.ports(fabric.fd).taps.length === 0)
  await until("the engine has ended, for no tunnel is left", () => engines.at(-1)!.stats().then(() => false, () => true))
})
