/**
 * How fast frames cross: a link and a network of weft, beside a plain veth pair and a Linux bridge.
 *
 *   veth      node ==== node                          what a wire between two namespaces can do at best
 *   bridge    node ==== [bridge] ==== node
 *   link      node ==== [port.bpf.c] ==== node
 *   network   node ==== [port.bpf.c] ==== node        as a learning switch
 *
 * Each has two namespaces of its own and stays for the whole run. Every round measures all four, in turns forwards and
 * backwards, so that whatever else the machine does meets all of them. What can be compared: figures of one run. Both
 * ends, and all the forwarding between them, share the machine's CPUs. Two hosts: datapath-hosts.ts.
 */
import { parseArgs, type ParseArgsConfig } from "node:util"
import * as Bpf from "../daemon/linux/bpf.ts"
import { attach, ipBatch, isRoot, World } from "../test/root/harness.ts"
import { objectPath } from "../test/root/bpf/frames.ts"
import * as Hosts from "./datapath-hosts.ts"
import * as Report from "./report.ts"
import { packets, roundTrips, tcp, type Path } from "./traffic.ts"

interface Metric {
  readonly name: string
  readonly unit: string
}

const metrics = {
  tcp: { name: "tcp", unit: "Gbit/s" },
  udp: { name: "udp64", unit: "packets/s" },
  p50: { name: "rtt-p50", unit: "us" },
  p99: { name: "rtt-p99", unit: "us" }
} as const satisfies Record<string, Metric>

/** What each case is compared with. */
const references: Readonly<Record<string, string>> = { link: "veth", network: "bridge" }

const address = "10.99.0.2"
const roundTripCount = 3000

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    hosts: { type: "string", default: "1" },
    rounds: { type: "string", default: "15" },
    seconds: { type: "string", default: "1" },
    only: { type: "string", multiple: true, default: ["tcp", "udp", "rtt"] },
    case: { type: "string", multiple: true, default: [] }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (values.hosts !== "1" && values.hosts !== "2") throw new TypeError(`--hosts ${values.hosts}: one host can be measured, or two`)
  if (!isRoot) throw new Error("The bench makes network namespaces: run it as root")
  const rounds = Number(values.rounds)
  const seconds = Number(values.seconds)
  if (!(rounds >= 1) || !(seconds > 0)) throw new TypeError("--rounds and --seconds take positive numbers")
  if (values.hosts === "2") return Hosts.run({ rounds, seconds, only: values.only, cases: values.case }, emit)

  const world = new World("bench")
  try {
    const paths = build(world)
    const samples = new Map<string, number[]>()
    const add = (path: Path, metric: Metric, value: number) => {
      const key = `${path.name} ${metric.name}`
      samples.set(key, [...(samples.get(key) ?? []), value])
    }
    for (let round = 0; round < rounds; round++) {
      console.error(`round ${round + 1} of ${rounds}`)
      const order = round % 2 === 0 ? paths : paths.toReversed()
      const measures = (what: string) => values.only.includes(what)
      if (measures("tcp")) for (const path of order) add(path, metrics.tcp, (await tcp(world, path, seconds)).gbps)
      if (measures("udp")) for (const path of order) add(path, metrics.udp, await packets(world, path, seconds / 4))
      for (const path of measures("rtt") ? order : []) {
        const [p50, p99] = await roundTrips(world, path, roundTripCount)
        add(path, metrics.p50, p50)
        add(path, metrics.p99, p99)
      }
    }
    for (const metric of Object.values(metrics)) {
      for (const path of samples.has(`veth ${metric.name}`) ? paths : []) {
        const reference = references[path.name]
        const subject = { bench: "datapath", case: path.name, metric: metric.name, unit: metric.unit }
        const of = (name: string) => samples.get(`${name} ${metric.name}`)!
        emit(Report.figure(subject, of(path.name), reference === undefined ? undefined : { case: reference, samples: of(reference) }))
      }
    }
  } finally {
    world.close()
  }
}

/** Makes the four paths. The fabric is a namespace, as it is the daemon's. */
export const build = (world: World): ReadonlyArray<Path> => {
  const fabric = world.namespace("fabric")
  const mac = (node: number) => `02:00:00:00:01:0${node}`
  const program = Bpf.load(objectPath)
  const make = (name: string, join: (ports: readonly [number, number]) => void): Path => {
    const sender = world.namespace(`${name}-a`)
    const receiver = world.namespace(`${name}-b`)
    const ports = world.veths(fabric, [
      { node: sender, name: "eth0", mac: mac(1) },
      { node: receiver, name: "eth0", mac: mac(2) }
    ])
    join([ports[0]!, ports[1]!])
    return { name, sender, receiver, address }
  }
  const plain = (): Path => {
    const sender = world.namespace("veth-a")
    const receiver = world.namespace("veth-b")
    ipBatch(sender, [`link add eth0 type veth peer name eth0 netns ${receiver.name}`, "link set eth0 up"])
    ipBatch(receiver, ["link set eth0 up"])
    return { name: "veth", sender, receiver, address }
  }
  const paths = [
    plain(),
    make("link", ([a, b]) => {
      attach(fabric, program.programFd, [a, b])
      program.setPort(a, { kind: "p2p", peer: b, mac: mac(1) })
      program.setPort(b, { kind: "p2p", peer: a, mac: mac(2) })
    }),
    make("bridge", (ports) => {
      ipBatch(fabric, ["link add br0 type bridge", "link set br0 up", ...ports.map((port) => `link set p${port} master br0`)])
    }),
    make("network", ([a, b]) => {
      attach(fabric, program.programFd, [a, b])
      program.setPort(a, { kind: "network", segment: 1, mac: mac(1) })
      program.setPort(b, { kind: "network", segment: 1, mac: mac(2) })
    })
  ]
  program.close()
  for (const { sender, receiver } of paths) {
    ipBatch(sender, ["addr add 10.99.0.1/24 dev eth0"])
    ipBatch(receiver, [`addr add ${address}/24 dev eth0`])
  }
  return paths
}
