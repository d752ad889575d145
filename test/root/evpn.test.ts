/** EVPN between hosts: what one host knows of a network's stations, all know, without flooding. */
import t from "tap"
import type { EvpnNetwork, EvpnResponse, EvpnStation } from "../../ctl/messages.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

const topology = (name: string, where: Readonly<Record<string, string>> = {}) => ({
  name,
  nodes: {
    a: { kind: "host", host: where["a"] ?? "h1" },
    b: { kind: "host", host: where["b"] ?? "h2" },
    c: { kind: "router", host: where["c"] ?? "h3" }
  },
  networks: { lan: { cidr: "10.20.0.0/24", ports: ["a", "b", "c:lan"] } }
})

const evpnOf = (fleet: Fleet, host: number, lab = ""): Promise<EvpnResponse> => fleet.client(host).evpn(lab)

const networkOf = async (fleet: Fleet, host: number, lab: string): Promise<EvpnNetwork | undefined> =>
  (await evpnOf(fleet, host, lab)).networks[0]

const stationOf = async (fleet: Fleet, host: number, lab: string, mac: string): Promise<EvpnStation | undefined> =>
  (await networkOf(fleet, host, lab))?.stations.find((station) => station.mac === mac)

const settled = (fleet: Fleet, lab: string, stations: number, hosts = [1, 2, 3]): Promise<void> =>
  until(
    "every host knows every station",
    async () => {
      const counts = await Promise.all(hosts.map(async (host) => (await networkOf(fleet, host, lab))?.stations.length))
      return counts.every((count) => count === stations)
    },
    20_000
  )

/** Link-layer address of a node's interface. */
const macOf = async (fleet: Fleet, lab: string, node: string, ifname: string): Promise<string> =>
  (await fleet.inNode(lab, node, "cat", `/sys/class/net/${ifname}/address`)).stdout.trim()

t.test("three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("evpn", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("evpn")
  await fleet.make(topology(lab))

  await t.test("sessions, and ports of the plan", async (t) => {
    await settled(fleet, lab, 3)
    const view = await evpnOf(fleet, 1)
    t.strictSame(view.peers.map(({ asn, role, state }) => [role, asn, state]), [["h2", 64999, "Established"], ["h3", 64999, "Established"]])
    const [network] = view.networks
    t.strictSame(network!.floods, [fleet.address(2), fleet.address(3)])
    t.strictSame(
      network!.stations.map(({ addresses, sequence, vtep }) => [addresses, sequence, vtep]).toSorted(),
      [[["10.20.0.1"], 0, ""], [["10.20.0.2"], 0, fleet.address(2)], [["10.20.0.3"], 0, fleet.address(3)]]
    )
    const shown = await fleet.weft(1, ["evpn", lab])
    t.match(shown, { code: 0, stdout: /h2 +10\.99\.0\.2 +64999 +Established/ })
    t.match(shown.stdout, /lan: VNI \d+, RD 10\.99\.0\.1:\d+, floods to 10\.99\.0\.2, 10\.99\.0\.3/)
  })
})
