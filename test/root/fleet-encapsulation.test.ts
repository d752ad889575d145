/** A running lab whose tunnels change: every encapsulation, by the kernel and by the engine, and connections live through it. */
import t from "tap"
import { Connection, type TopologyObject } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

/** a and b on a host each, on a network and on a wire. */
const lab = (name: string, top: Readonly<Record<string, unknown>>): TopologyObject => ({
  name,
  ...top,
  nodes: { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["a", "b"] } },
  links: [{ name: "wire", endpoints: ["a:wire", "b:wire"], cidr: "10.2.0.0/30" }]
})

const ways = [
  [{}, "vxlan", "kernel"],
  [{ datapath: "engine" }, "vxlan", "engine"],
  [{ encapsulation: "geneve" }, "geneve", "engine"],
  [{ encapsulation: "geneve", port: 7000 }, "geneve", "engine"],
  [{ encapsulation: "geneve", "geneve-options": [{ class: 0x102, type: 1, data: "c0ffee00", critical: true }] }, "geneve", "engine"],
  [{ encapsulation: "geneve", "geneve-options": [{ class: "0x0102", type: 2, critical: true }] }, "geneve", "engine"],
  [{ encapsulation: "gre" }, "gre", "engine"],
  [{ port: 5000 }, "vxlan", "kernel"]
] as const

for (const underlay of ["ipv4", "ipv6"] as const) {
  t.test(`over ${underlay}`, { skip: needsRoot }, async (t) => {
    const fleet = await Fleet.start(`encap-${underlay}`, { hosts: 2, underlay })
    t.teardown(() => fleet.close())
    const name = fleet.name(underlay)
    await fleet.make(lab(name, {}))
    const overLan = await Connection.open(fleet.weftd(1), name, "a", "b", "10.1.0.2", 5001)
    const overWire = await Connection.open(fleet.weftd(1), name, "b", "a", "10.2.0.1", 5002)
    for (const [top, encapsulation, datapath] of ways) {
      const way = JSON.stringify(top)
      await fleet.make(lab(name, top), 2)
      const { drift, tunnels } = await fleet.inspect(name)
      t.same(drift, [], way)
      t.same([...new Set(tunnels.map((tunnel) => `${tunnel.encapsulation} ${tunnel.datapath}`))], [`${encapsulation} ${datapath}`], way)
      if ("port" in top) t.ok(tunnels.every(({ port }) => port === top.port), `${way}: the port that was asked for`)
      t.ok(await overLan.exchange(`lan ${way}`), `${way}: the connection over the network goes on`)
      t.ok(await overWire.exchange(`wire ${way}`), `${way}: and that over the wire`)
      for (const size of ["56", "1472", "9000"]) {
        const { code, stdout } = await fleet.inNode(name, "a", "ping", "-c", "2", "-i", "0.2", "-W", "2", "-s", size, "10.2.0.2")
        t.equal(code, 0, `${way}: ping with ${size} octets`, { stdout })
      }
      await until("its tunnels are known to be up", async () => (await fleet.inspect(name)).tunnels.every(({ state }) => state === "up"))
    }
  })
}
