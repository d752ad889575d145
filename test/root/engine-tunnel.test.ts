/** Tunnels of the engine, from one of ours to another: every encapsulation over both families. */
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { defaultPort, Hosts, id, inner, type Tunnel } from "./tunnel-harness.ts"

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
      const ping = async (...options: string[]) => (await world.run(a.node, ["ping", "-c", "1", "-W", "1", ...options, inner[1]])).code === 0
      await until("the other node answers", () => ping())
      t.ok(await ping("-M", "do", "-s", String(mtu - 28)), "a full packet")
      const server = world.start(b.node, ["iperf3", "-s", "-1", "--forceflush"])
      await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
      const client = await world.run(a.node, ["iperf3", "-c", inner[1], "-n", "40M", "-J"])
      const { end } = JSON.parse(client.stdout) as { end: { sum_received: { bytes: number; bits_per_second: number } } }
      t.ok(end.sum_received.bytes > 39e6, `${(end.sum_received.bits_per_second / 1e9).toFixed(1)} Gbit/s of TCP`)
      const stats = (await engine.allStats()).tunnels.get(id)!
      t.ok(stats.sent.packets > 28_000 && stats.sent.octets > 40e6, "counted as packets of the wire")
      t.equal(stats.sent.drops.error + stats.sent.drops.queue + stats.received.errors, 0, "nothing was lost")
    })
  }
}
