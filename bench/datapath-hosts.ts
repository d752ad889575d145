/**
 * How fast frames cross between two hosts: `datapath --hosts 2`.
 *
 *   bridge           node == [bridge] == [vxlan] == underlay == [vxlan] == [bridge] == node    the kernel's own: the reference
 *   link, network    node == [port.bpf.c] == [vxlan external] == underlay == ...               the fast path
 *   engine-*         node == [port.bpf.c] == TAP ~~ engine ~~ underlay ~~ ...                  what the kernel does not encapsulate
 *   ovs-userspace    Open vSwitch's user-space datapath, where it is installed (ovs.ts)
 *   fastd-null       fastd without encryption, where it is installed (fastd.ts)
 *
 * Each has namespaces, hosts and an underlay (MTU 1500; 1450 inside) of its own and stays for the whole run. As in
 * datapath.ts, every round measures all, in turns forwards and backwards.
 */
import * as Bpf from "../daemon/linux/bpf.ts"
import { Tunnels } from "../daemon/resources/tunnel.ts"
import { objectPath } from "../test/root/bpf/frames.ts"
import { attach, ipBatch, until, World } from "../test/root/harness.ts"
import { fastd, type FastdPath } from "./fastd.ts"
import { ovs, type OvsPath } from "./ovs.ts"
import * as Report from "./report.ts"
import { packets, roundTrips, tcp, type Path } from "./traffic.ts"
import * as TwoHosts from "./two-hosts.ts"

const metrics = {
  tcp: ["tcp", "Gbit/s"],
  udp: ["udp64", "packets/s"],
  p50: ["rtt-p50", "us"],
  p99: ["rtt-p99", "us"]
} as const

const reference = "bridge"
const innerMtu = 1450
const hostAddresses = ["192.0.2.1", "192.0.2.2"]
const nodeAddresses = ["10.99.0.1/24", "10.99.0.2/24"]
const vni = 42
const mac = (node: number): string => `02:00:00:00:01:0${node + 1}`

/** Two hosts with one node each, joined as `Tunnels` and the port program of a weftd do it. */
const fastPath = (world: World, name: "link" | "network"): Path => {
  const hosts = [0, 1].map((i) => world.namespace(`${name}-host${i}`))
  const nodes = [world.namespace(`${name}-a`), world.namespace(`${name}-b`)] as const
  ipBatch(hosts[0]!, [`link add u0 type veth peer name u0 netns ${hosts[1]!.name}`])
  hosts.forEach((host, i) => {
    ipBatch(host, [`addr add ${hostAddresses[i]}/24 dev u0`, "link set u0 up"])
    const fabric = world.namespace(`${name}-fabric${i}`)
    const port = world.veth(fabric, { node: nodes[i]!, name: "eth0", mac: mac(i), mtu: innerMtu })
    const program = Bpf.load(objectPath)
    attach(fabric, program.programFd, [port])
    const parts = { fabric: { ...fabric, inode: 0 }, program, underlay: { ...host, inode: 0 }, tell: console.error }
    const way = new Tunnels({ ...parts, address: hostAddresses[i]! }).add(4789, vni, hostAddresses[1 - i]!)
    if (name === "link") {
      program.setPort(way, { kind: "p2p", peer: port, mac: Bpf.noMac, tunnel: true })
      program.setPort(port, { kind: "p2p", peer: way, mac: mac(i) })
    } else {
      program.setPort(way, { kind: "network", segment: vni, mac: Bpf.noMac, tunnel: true })
      program.setPort(port, { kind: "network", segment: vni, mac: mac(i) })
    }
    program.close()
    ipBatch(nodes[i]!, [`addr add ${nodeAddresses[i]} dev eth0`])
  })
  return { name, sender: nodes[0], receiver: nodes[1], address: "10.99.0.2" }
}

export interface Options {
  readonly rounds: number
  readonly seconds: number
  /** Of `tcp`, `udp`, `rtt`. */
  readonly only: ReadonlyArray<string>
  /** Names of cases; the reference is always there. Empty: all. */
  readonly cases: ReadonlyArray<string>
}

const roundTripsPerRound = 3000

export const run = async ({ cases, only, rounds, seconds }: Options, emit: Report.Emit): Promise<void> => {
  const world = new World("bench2")
  const engines: TwoHosts.EnginePath[] = []
  const engine = async (encapsulation: "vxlan" | "geneve" | "gre"): Promise<Path> => {
    const path = await TwoHosts.engine(world, encapsulation)
    engines.push(path)
    return path
  }
  let openVswitch: OvsPath | undefined
  let fast: FastdPath | undefined
  const makers: Readonly<Record<string, () => Path | undefined | Promise<Path | undefined>>> = {
    [reference]: () => TwoHosts.bridge(world),
    link: () => fastPath(world, "link"),
    network: () => fastPath(world, "network"),
    "engine-vxlan": () => engine("vxlan"),
    "engine-geneve": () => engine("geneve"),
    "ovs-userspace": () => (openVswitch = ovs(world, { addresses: hostAddresses, mtu: innerMtu })),
    "fastd-null": async () => (fast = await fastd(world, { addresses: hostAddresses, mtu: innerMtu }))
  }
  const unknown = cases.find((name) => makers[name] === undefined)
  if (unknown !== undefined) throw new TypeError(`--case ${unknown}: there are ${Object.keys(makers).join(", ")}`)
  const samples = new Map<string, number[]>()
  const add = (path: Path, [metric]: readonly [string, string], value: number) => {
    const key = `${path.name} ${metric}`
    samples.set(key, [...(samples.get(key) ?? []), value])
  }
  try {
    const paths: Path[] = []
    for (const [name, make] of Object.entries(makers)) {
      if (name !== reference && cases.length > 0 && !cases.includes(name)) continue
      const path = await make()
      if (path === undefined) console.error(`${name}: not installed, left out`)
      else paths.push(path)
    }
    for (const { address, name, sender } of paths) {
      const answers = async () => (await world.run(sender, ["ping", "-c", "1", "-W", "1", address])).code === 0
      await until(`${name} forwards`, answers, 20_000)
    }
    for (let round = 0; round < rounds; round++) {
      console.error(`round ${round + 1} of ${rounds}`)
      const order = round % 2 === 0 ? paths : paths.toReversed()
      for (const path of only.includes("tcp") ? order : []) add(path, metrics.tcp, (await tcp(world, path, seconds)).gbps)
      for (const path of only.includes("udp") ? order : []) add(path, metrics.udp, await packets(world, path, seconds / 4))
      for (const path of only.includes("rtt") ? order : []) {
        const [p50, p99] = await roundTrips(world, path, roundTripsPerRound)
        add(path, metrics.p50, p50)
        add(path, metrics.p99, p99)
      }
    }
    for (const [metric, unit] of Object.values(metrics)) {
      for (const { name } of samples.has(`${reference} ${metric}`) ? paths : []) {
        const of = (path: string) => samples.get(`${path} ${metric}`)!
        const compared = name === reference ? undefined : { case: reference, samples: of(reference) }
        emit(Report.figure({ bench: "datapath-2-hosts", case: name, metric, unit }, of(name), compared))
      }
    }
  } finally {
    openVswitch?.close()
    fast?.close()
    for (const path of engines) for (const one of path.engines) await one.close()
    world.close()
  }
}
