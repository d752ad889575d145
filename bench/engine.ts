/**
 * What the packet engine costs: models alone, without a kernel, and traffic between two namespaces through it.
 *
 *   model   ns, and octets of heap, per packet that a profile is applied to
 *   link    TCP in Gbit/s and the engine's CPU seconds per GB; datagrams of 64 octets that arrive, per second
 */
import { readdirSync, readFileSync } from "node:fs"
import { parseArgs, type ParseArgsConfig } from "node:util"
import { Direction } from "../daemon/datapath/direction.ts"
import { Engine } from "../daemon/datapath/engine.ts"
import type { LinkProfile } from "../daemon/datapath/profile.ts"
import { openTap } from "../daemon/linux/tap.ts"
import { compile, ipBatch, isRoot, type Namespace, World } from "../test/root/harness.ts"
import * as Report from "./report.ts"

const address = "10.96.0.2"
const packets = 1_000_000
/** The kernel's clock ticks, in which it counts CPU time (USER_HZ). */
const ticksPerSecond = 100

const cases: Readonly<Record<string, LinkProfile>> = {
  plain: {},
  delay: { delayMs: 5 },
  loss: { loss: { kind: "random", probability: 0.0001 } },
  rate: { rateBps: 1e10, delayMs: 1 }
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "1" }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  const rounds = Number(values.rounds)
  const figures = (subject: Omit<Report.Subject, "bench">, samples: ReadonlyArray<number>) =>
    emit(Report.figure({ bench: "engine", ...subject }, samples))
  for (const [name, profile] of Object.entries(cases)) {
    model(profile)
    const samples = Array.from({ length: rounds }, () => model(profile))
    figures({ case: name, metric: "model", unit: "ns/packet" }, samples.map(({ ns }) => ns))
    figures({ case: name, metric: "heap", unit: "octets/packet" }, samples.map(({ heap }) => heap))
  }
  if (!isRoot) throw new Error("The rest of the bench makes network namespaces: run it as root")
  const world = new World("engine-bench")
  const [a, b] = [world.namespace("a"), world.namespace("b")]
  const engine = await Engine.start()
  try {
    const [tapA, tapB] = [a, b].map((namespace) => openTap(namespace.fd, "tap0", { mtu: 1500 }).fd)
    ipBatch(a, ["addr add 10.96.0.1/24 dev tap0"])
    ipBatch(b, [`addr add ${address}/24 dev tap0`])
    engine.addLink("link", { tapA: tapA!, tapB: tapB!, profiles: { aToB: {}, bToA: {}, seed: 7 } })
    for (const [name, profile] of Object.entries(cases)) {
      engine.setProfiles("link", { aToB: profile, bToA: {}, seed: 7 })
      const samples: Array<Awaited<ReturnType<typeof tcp>>> = []
      const rates: number[] = []
      for (let round = 0; round < rounds; round++) {
        samples.push(await tcp(world, a, b, values.seconds))
        rates.push(await datagrams(world, a, b, values.seconds))
      }
      figures({ case: name, metric: "tcp", unit: "Gbit/s" }, samples.map(({ gbps }) => gbps))
      figures({ case: name, metric: "cpu", unit: "s/GB" }, samples.map(({ cpu }) => cpu))
      figures({ case: name, metric: "udp64", unit: "packets/s" }, rates)
    }
  } finally {
    await engine.close()
    world.close()
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

/** Seconds of CPU that the engine's thread has used. */
const engineCpu = (): number => {
  const isEngine = (task: string) => readFileSync(`/proc/self/task/${task}/comm`, "utf8").trim() === "weft-engine"
  const fields = readFileSync(`/proc/self/task/${readdirSync("/proc/self/task").find(isEngine)}/stat`, "utf8").split(" ")
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond
}

const tcp = async (world: World, a: Namespace, b: Namespace, seconds: string): Promise<{ readonly gbps: number; readonly cpu: number }> => {
  const server = world.start(b, ["iperf3", "-s", "-1", "--forceflush"])
  await new Promise<void>((listening, fail) => {
    server.stdout!.on("data", (text: Buffer) => text.includes("Server listening") && listening())
    server.on("close", () => fail(new Error("iperf3 -s ended before it listened")))
  })
  const before = engineCpu()
  const { stdout } = await world.run(a, ["iperf3", "-c", address, "-t", seconds, "-J"])
  const received = (JSON.parse(stdout) as { end: { sum_received: { bytes: number; bits_per_second: number } } }).end.sum_received
  return { gbps: received.bits_per_second / 1e9, cpu: (engineCpu() - before) / (received.bytes / 1e9) }
}

const datagrams = async (world: World, a: Namespace, b: Namespace, seconds: string): Promise<number> => {
  const { code, stdout, stderr } = await world.run(a, [compile("bench/native/traffic.cc"), "pps", a.path, b.path, address, seconds])
  if (code !== 0) throw new Error(`traffic pps: ${stderr}`)
  const [, received, elapsed] = stdout.trim().split(" ").map(Number)
  return received! / elapsed!
}
