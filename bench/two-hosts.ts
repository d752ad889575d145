/**
 * Two hosts on one machine: an underlay of 1500 octets between two namespaces, one node at each, MTU 1450 inside.
 *
 *     veth       node ==== node                                                              without hosts: the most there is
 *     bridge     node == [bridge] == [vxlan] == underlay == [vxlan] == [bridge] == node      the kernel's own
 *     engine-*   node == [port.bpf.c] == TAP ~~ engine ~~ underlay ~~ engine ~~ TAP == [port.bpf.c] == node
 */
import { Engine } from "../daemon/datapath/engine.ts"
import type { LinkProfile } from "../daemon/datapath/profile.ts"
import * as Bpf from "../daemon/linux/bpf.ts"
import { openTap } from "../daemon/linux/tap.ts"
import * as Ip from "../daemon/wire/ip.ts"
import { objectPath } from "../test/root/bpf/frames.ts"
import { attach, ipBatch, type Namespace, type World } from "../test/root/harness.ts"
import type { Path } from "./traffic.ts"

const receiver = "10.99.0.2"
const addresses = ["10.99.0.1/24", `${receiver}/24`]
const innerMtu = 1450
const hostAddresses = ["192.0.2.1", "192.0.2.2"]

export interface EnginePath extends Path {
  readonly engines: ReadonlyArray<Engine>
  /** Of what the sender's host sends. */
  readonly setProfile: (profile: LinkProfile) => void
}

const mac = (node: number) => `02:00:00:00:01:0${node + 1}`

/** Underlays of two hosts. */
const hosts = (world: World, name: string): ReadonlyArray<Namespace> => {
  const ends = [0, 1].map((i) => world.namespace(`${name}-host${i}`))
  ipBatch(ends[0]!, [`link add u0 type veth peer name u0 netns ${ends[1]!.name}`])
  ends.forEach((end, i) => ipBatch(end, [`addr add ${hostAddresses[i]}/24 dev u0`, "link set u0 up"]))
  return ends
}

const nodes = (world: World, name: string): readonly [Namespace, Namespace] => [
  world.namespace(`${name}-a`),
  world.namespace(`${name}-b`)
]

export const veth = (world: World): Path => {
  const [a, b] = nodes(world, "veth")
  ipBatch(a, [`link add eth0 mtu ${innerMtu} type veth peer name eth0 mtu ${innerMtu} netns ${b.name}`])
  ;[a, b].forEach((node, i) => ipBatch(node, ["link set eth0 up", `addr add ${addresses[i]} dev eth0`]))
  return { name: "veth", sender: a, receiver: b, address: receiver }
}

export const bridge = (world: World): Path => {
  const ends = nodes(world, "bridge")
  hosts(world, "bridge").forEach((host, i) => {
    const index = world.veth(host, { node: ends[i]!, name: "eth0", mac: mac(i), mtu: innerMtu })
    ipBatch(host, [
      `link add vx0 type vxlan id 42 remote ${hostAddresses[1 - i]} local ${hostAddresses[i]} dstport 4789`,
      `link add br0 type bridge`,
      ...["vx0", `p${index}`].flatMap((port) => [`link set ${port} master br0`, `link set ${port} up`]),
      "link set br0 up"
    ])
    ipBatch(ends[i]!, [`addr add ${addresses[i]} dev eth0`])
  })
  return { name: "bridge", sender: ends[0], receiver: ends[1], address: receiver }
}

export const engine = async (world: World, encapsulation: "vxlan" | "geneve" | "gre"): Promise<EnginePath> => {
  const name = `engine-${encapsulation}`
  const ends = nodes(world, name)
  const engines: Engine[] = []
  for (const [i, host] of hosts(world, name).entries()) {
    const fabric = world.namespace(`${name}-fabric${i}`)
    const port = world.veth(fabric, { node: ends[i]!, name: "eth0", mac: mac(i), mtu: innerMtu })
    const tap = openTap(fabric.fd, "tap0", { mtu: 65_521 })
    const program = Bpf.load(objectPath)
    attach(fabric, program.programFd, [port, tap.index])
    program.setPort(port, { kind: "p2p", peer: tap.index, mac: mac(i) })
    program.setPort(tap.index, { kind: "p2p", peer: port, mac: "00:00:00:00:00:00" })
    program.close()
    const engine = await Engine.start({ underlay: host.fd })
    engines.push(engine)
    await engine.addTunnel("tunnel", tap.fd, {
      encapsulation,
      port: 14789,
      vni: 42,
      remote: Ip.parse(hostAddresses[1 - i]!)!,
      local: Ip.parse(hostAddresses[i]!)!,
      profile: {},
      seed: 7
    })
    ipBatch(ends[i]!, [`addr add ${addresses[i]} dev eth0`])
  }
  const setProfile = (profile: LinkProfile) => engines[0]!.setTunnelProfile("tunnel", profile)
  return { name, sender: ends[0], receiver: ends[1], address: receiver, engines, setProfile }
}
