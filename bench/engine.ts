/**
 * What the packet engine costs: its parts alone, without a kernel, and traffic through it.
 *
 *   model     ns, and octets of heap, per packet that a profile is applied to
 *   stage     ns per packet of a tunnel, by what is done to it, without system calls
 *   link      a TAP to another TAP                                           }  TCP in Gbit/s and the engines' CPU seconds per GB;
 *   tunnel    a node to a node of another host (two-hosts.ts), beside        }  datagrams that arrive, per second, by their
 *             the kernel's bridge and VXLAN in the same rounds               }  size; a round trip's time
 */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs, type ParseArgsConfig } from "node:util"
import { Direction } from "../daemon/datapath/direction.ts"
import { Engine } from "../daemon/datapath/engine.ts"
import type { LinkProfile } from "../daemon/datapath/profile.ts"
import { openTap } from "../daemon/linux/tap.ts"
import { checkout, ipBatch, isRoot, World } from "../test/root/harness.ts"
import * as Report from "./report.ts"
import * as Traffic from "./traffic.ts"
import * as TwoHosts from "./two-hosts.ts"

const address = "10.96.0.2"
const packets = 1_000_000
const sizes = [64, 512, 1400]
const roundTrips = 3000
/** The kernel's clock ticks, in which it counts CPU time (USER_HZ). */
const ticksPerSecond = 100

const profiles: Readonly<Record<string, LinkProfile>> = {
  plain: {},
  delay: { delayMs: 5 },
  loss: { loss: { kind: "random", probability: 0.0001 } },
  rate: { rateBps: 1e10, delayMs: 1 }
}

interface Run {
  readonly rounds: number
  readonly seconds: number
  readonly emit: Report.Emit
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1" },
    only: { type: "string", multiple: true, default: ["model", "stage", "link", "tunnel"] }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  const settings: Run = { rounds: Number(values.rounds), seconds: Number(values.seconds), emit }
  if (!(settings.rounds >= 1) || !(settings.seconds > 0)) throw new TypeError("--rounds and --seconds take positive numbers")
  if (values.only.includes("model")) models(settings)
  if (values.only.includes("stage")) stages(settings)
  if (!values.only.includes("link") && !values.only.includes("tunnel")) return
  if (!isRoot) throw new Error("The rest of the bench makes network namespaces: run it as root")
  if (values.only.includes("link")) await links(settings)
  if (values.only.includes("tunnel")) await tunnels(settings)
}

const models = ({ emit, rounds }: Run): void => {
  for (const [name, profile] of Object.entries(profiles)) {
    model(profile)
    const samples = Array.from({ length: rounds }, () => model(profile))
    const subject = { bench: "engine", case: name }
    emit(Report.figure({ ...subject, metric: "model", unit: "ns/packet" }, samples.map(({ ns }) => ns)))
    emit(Report.figure({ ...subject, metric: "heap", unit: "octets/packet" }, samples.map(({ heap }) => heap)))
  }
}

/** A million packets in batches of 32, one every 6 us, through a direction whose packets are only numbers. */
const model = (profile: LinkProfile): { readonly ns: number; readonly heap: number } => {
  const direction = new Direction({ free: () => {}, copy: () => -1, flip: () => {} }, 7, "aToB")
  direction.configure(profile, 0)
  const out = new Int32Array(4096)
  const heap = process.memoryUsage().heapUsed
  const from = performance.now()
  for (let slot = 0, ns = 0; slot < packets; ns += 192_000) {
    for (let i = 0; i < 32; i++) direction.arrive(slot++, 1514, ns)
    direction.advance(ns)
    while (direction.take(ns, out) === out.length);
  }
  const ns = ((performance.now() - from) * 1e6) / packets
  return { ns, heap: Math.max(0, process.memoryUsage().heapUsed - heap) / packets }
}

const stages = ({ emit, rounds }: Run): void => {
  const program = join(checkout, ".weft/tools/tunnel-stages")
  const sources = ["encapsulation", "segment", "train"].map((name) => `daemon/native/src/${name}.cc`)
  const headers = readdirSync(join(checkout, "node_modules")).find((name) => name.startsWith("node-linux-"))
  // What needs Node is in sections that nothing refers to.
  const sections = ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
  const argv = ["-O3", "-std=c++20", ...sections, "-isystem", `node_modules/${headers}/include/node`, "-o", program]
  execFileSync("mkdir", ["-p", join(checkout, ".weft/tools")])
  execFileSync("g++", [...argv, "bench/native/tunnel-stages.cc", ...sources], { cwd: checkout, stdio: "inherit" })
  const samples = new Map<string, number[]>()
  for (let round = 0; round < rounds; round++) {
    for (const line of execFileSync(program, { encoding: "utf8" }).trim().split("\n")) {
      const [stage, octets, ns] = line.split(" ")
      const name = `${stage} ${octets}`
      samples.set(name, [...(samples.get(name) ?? []), Number(ns)])
    }
  }
  for (const [name, ns] of samples) emit(Report.figure({ bench: "engine", case: name, metric: "stage", unit: "ns/packet" }, ns))
}

/** Seconds of CPU that the engines' threads have used. */
const engineCpu = (): number => {
  let ticks = 0
  for (const task of readdirSync("/proc/self/task")) {
    if (readFileSync(`/proc/self/task/${task}/comm`, "utf8").trim() !== "weft-engine") continue
    const fields = readFileSync(`/proc/self/task/${task}/stat`, "utf8").split(" ")
    ticks += Number(fields[13]) + Number(fields[14])
  }
  return ticks / ticksPerSecond
}

type Samples = ReadonlyMap<string, readonly [unit: string, value: number]>

/** Everything that is measured of a path once, by metric. */
const measure = async (world: World, { isEngine, path, trips = roundTrips }: Case, seconds: number): Promise<Samples> => {
  const found = new Map<string, readonly [unit: string, value: number]>()
  const before = engineCpu()
  const { gbps, octets } = await Traffic.tcp(world, path, seconds)
  found.set("tcp", ["Gbit/s", gbps])
  if (isEngine) found.set("cpu", ["s/GB", (engineCpu() - before) / (octets / 1e9)])
  for (const size of sizes) found.set(`udp${size}`, ["packets/s", await Traffic.packets(world, path, seconds / 2, size)])
  const [p50, p99] = await Traffic.roundTrips(world, path, trips)
  found.set("rtt-p50", ["us", p50])
  found.set("rtt-p99", ["us", p99])
  return found
}

interface Case {
  readonly name: string
  readonly path: Traffic.Path
  readonly isEngine: boolean
  readonly prepare?: () => void
  /** Round trips that are measured; fewer where each takes long. */
  readonly trips?: number
}

/** Each round measures all cases, forwards and backwards in turns. `reference`: what the others are compared with. */
const compare = async (world: World, { emit, rounds, seconds }: Run, cases: ReadonlyArray<Case>, reference?: string): Promise<void> => {
  const samples = new Map<string, Map<string, number[]>>()
  const units = new Map<string, string>()
  for (let round = 0; round < rounds; round++) {
    console.error(`round ${round + 1} of ${rounds}`)
    for (const subject of round % 2 === 0 ? cases : cases.toReversed()) {
      const { name, prepare } = subject
      prepare?.()
      const own = samples.get(name) ?? new Map<string, number[]>()
      samples.set(name, own)
      for (const [metric, [unit, value]] of await measure(world, subject, seconds)) {
        units.set(metric, unit)
        own.set(metric, [...(own.get(metric) ?? []), value])
      }
    }
  }
  for (const [name, own] of samples) {
    for (const [metric, values] of own) {
      const other = reference === undefined || name === reference ? undefined : samples.get(reference)!.get(metric)
      const subject = { bench: "engine", case: name, metric, unit: units.get(metric)! }
      emit(Report.figure(subject, values, other === undefined ? undefined : { case: reference!, samples: other }))
    }
  }
}

const links = async (settings: Run): Promise<void> => {
  const world = new World("engine-link")
  const engine = await Engine.start()
  try {
    const [a, b] = [world.namespace("a"), world.namespace("b")]
    const [tapA, tapB] = [a, b].map((namespace) => openTap(namespace.fd, "tap0", { mtu: 1500 }).fd)
    ipBatch(a, ["addr add 10.96.0.1/24 dev tap0"])
    ipBatch(b, [`addr add ${address}/24 dev tap0`])
    engine.addLink("link", { tapA: tapA!, tapB: tapB!, profiles: { aToB: {}, bToA: {}, seed: 7 } })
    const path = { name: "link", sender: a, receiver: b, address }
    const cases = Object.entries(profiles).map(([name, profile]): Case => {
      const prepare = () => engine.setProfiles("link", { aToB: profile, bToA: {}, seed: 7 })
      return { name: `link ${name}`, path, isEngine: true, prepare, trips: profile.delayMs === undefined ? roundTrips : 200 }
    })
    await compare(world, settings, cases)
  } finally {
    await engine.close()
    world.close()
  }
}

const tunnels = async (settings: Run): Promise<void> => {
  const world = new World("engine-tunnel")
  const engines: Engine[] = []
  try {
    const bridge = TwoHosts.bridge(world)
    const cases: Case[] = [{ name: bridge.name, path: bridge, isEngine: false }]
    for (const encapsulation of ["vxlan", "geneve", "gre"] as const) {
      const path = await TwoHosts.engine(world, encapsulation)
      engines.push(...path.engines)
      cases.push({ name: path.name, path, isEngine: true })
    }
    await compare(world, settings, cases, bridge.name)
  } finally {
    for (const engine of engines) await engine.close()
    world.close()
  }
}
