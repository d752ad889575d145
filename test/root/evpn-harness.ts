/** What tests of EVPN share: a lab with one network over three hosts, and what a host says that it knows of it. */
import type { EvpnNetwork, EvpnResponse, EvpnStation } from "../../ctl/messages.ts"
import type { Fleet } from "./fleet-harness.ts"
import { until } from "./harness.ts"

export const topology = (name: string, where: Readonly<Record<string, string>> = {}) => ({
  name,
  nodes: {
    a: { kind: "host", host: where["a"] ?? "h1" },
    b: { kind: "host", host: where["b"] ?? "h2" },
    c: { kind: "router", host: where["c"] ?? "h3" }
  },
  networks: { lan: { cidr: "10.20.0.0/24", ports: ["a", "b", "c:lan"] } }
})

export const evpnOf = (fleet: Fleet, host: number, lab = ""): Promise<EvpnResponse> => fleet.client(host).evpn(lab)

export const networkOf = async (fleet: Fleet, host: number, lab: string): Promise<EvpnNetwork | undefined> =>
  (await evpnOf(fleet, host, lab)).networks[0]

export const stationOf = async (fleet: Fleet, host: number, lab: string, mac: string): Promise<EvpnStation | undefined> =>
  (await networkOf(fleet, host, lab))?.stations.find((station) => station.mac === mac)

export const settled = (fleet: Fleet, lab: string, stations: number, hosts = [1, 2, 3]): Promise<void> =>
  until(
    "every host knows every station",
    async () => {
      const counts = await Promise.all(hosts.map(async (host) => (await networkOf(fleet, host, lab))?.stations.length))
      return counts.every((count) => count === stations)
    },
    120_000
  )

/** Link-layer address of a node's interface. */
export const macOf = async (fleet: Fleet, lab: string, node: string, ifname: string): Promise<string> =>
  JSON.parse((await fleet.inNode(lab, node, "ip", "-j", "link", "show", ifname)).stdout)[0].address
