/**
 * `npm run bench -- probe`: how exactly flows of probes measure an outage, and what they cost.
 *
 *     5 hosts === network === [gate] r === network === 5 hosts        flows from left to right, a probe each every ms
 *
 * The gate is an eBPF program at the router's ingress (native/gate.bpf.c). It is shut for a random time and keeps, by the kernel's clock,
 * when it dropped the first packet and when it let the first pass again: the truth, against which each flow's outage is held. The error of
 * a cut is that of its worst flow, and of the flow in the middle. CPU is that of the probes' threads, with all that the kernel does in
 * them: sending, forwarding by the router, answering.
 *
 *   --flows N,...   default 10,100,500
 *   --cuts N        of each (default 20; 0: only look for false loss)
 *   --minutes N     how long to look for false loss on the idle lab (default 0.2), told in a line
 *   --seed N        of the cuts' lengths (default 1)
 *   --quick         4 cuts, 3 s
 *   --check         exit status 1 when a bound is missed
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs, type ParseArgsOptionsConfig } from "node:util"
import { addon } from "../daemon/native/index.ts"
import { Flows } from "../daemon/probes/flows.ts"
import { sh, Weftd } from "../test/root/daemon-harness.ts"
import { attach, checkout, isRoot, type Namespace, until } from "../test/root/harness.ts"
import * as Report from "./report.ts"

const options = {
  flows: { type: "string", default: "10,100,500" },
  cuts: { type: "string" },
  minutes: { type: "string" },
  seed: { type: "string", default: "1" },
  quick: { type: "boolean", default: false },
  check: { type: "boolean", default: false }
} satisfies ParseArgsOptionsConfig

const thorough = { cuts: "20", minutes: "0.2" }
const quick = { cuts: "4", minutes: "0.05" }
const hostsPerSide = 5
const spacingMs = 1
const timeoutMs = 500
/** Of cuts. */
const [shortestMs, longestMs] = [20, 400]
const nsPerMs = 1e6
const nsPerTick = 1e7
/** Reads none of them. */
const noOutages = 0x7fffffff

/** What the worst flow of the worst cut may be off, in ms. */
const boundOf = (flows: number): number => (flows <= 100 ? 2 : 5)

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A generator of Park and Miller: the same cuts for the same seed. */
const chances = (seed: number) => {
  let state = seed % 2147483647 || 1
  return (): number => (state = (state * 48271) % 2147483647) / 2147483647
}

const compileGate = (): string => {
  const directory = join(checkout, ".weft/bench")
  mkdirSync(directory, { recursive: true })
  const target = join(directory, "gate.bpf.o")
  const include = `/usr/include/${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}-linux-gnu`
  const flags = ["-O2", "-g", "-target", "bpf", "-isystem", include, "-Wall", "-Werror"]
  execFileSync("clang", [...flags, "-c", join(checkout, "bench/native/gate.bpf.c"), "-o", target], { stdio: "inherit" })
  return target
}

/** The gate of one interface. */
class Gate {
  readonly #map: number
  readonly #key = new Uint8Array(4)

  constructor(node: Namespace, ifindex: number) {
    const program = addon.bpfLoad(compileGate(), "gate", [], new Int32Array())
    this.#map = addon.bpfMapOpen(addon.bpfProgramInfo(program).mapIds[0]!)
    attach(node, program, [ifindex])
    addon.close(program)
  }

  #write(shut: bigint, firstDropped: bigint): void {
    addon.bpfUpdate(this.#map, this.#key, new Uint8Array(BigUint64Array.of(shut, firstDropped, 0n, 0n).buffer), 1)
  }

  #read(): BigUint64Array {
    return new BigUint64Array(addon.bpfLookup(this.#map, this.#key, 1, 32).slice().buffer)
  }

  /** Shuts for a time; the length of the cut as packets saw it, in ms. */
  async cut(ms: number): Promise<number> {
    this.#write(1n, 0n)
    await pause(ms)
    this.#write(0n, this.#read()[1]!)
    await until("a packet passes", () => this.#read()[2] !== 0n)
    const [, firstDropped, firstPassed] = this.#read()
    return Number(firstPassed! - firstDropped!) / nsPerMs
  }

  close(): void {
    addon.close(this.#map)
  }
}

/** Processor time of the probes' threads, ns. */
const cpuNs = (): number => {
  const tasks = readdirSync("/proc/self/task").map((task) => `/proc/self/task/${task}`)
  const ours = tasks.filter((task) => readFileSync(`${task}/comm`, "utf8").startsWith("weft-probes"))
  return ours.reduce((sum, task) => {
    const fields = readFileSync(`${task}/stat`, "utf8").split(" ")
    return sum + (Number(fields[13]) + Number(fields[14])) * nsPerTick
  }, 0)
}

class Lab {
  readonly #weftd: Weftd
  readonly #name: string
  readonly #flows = Flows.start()
  #running: ReadonlyArray<number> = []
  #gate: Gate | undefined
  #router: number | undefined

  constructor(weftd: Weftd) {
    this.#weftd = weftd
    this.#name = weftd.name("probe")
  }

  #path(node: string): string {
    return `/run/netns/weft.${this.#name}.${node}`
  }

  async build(): Promise<void> {
    const side = (letter: string) => Array.from({ length: hostsPerSide }, (_, each) => `${letter}${each}`)
    const [left, right] = [side("l"), side("r")]
    await this.#weftd.deploy({
      name: this.#name,
      nodes: { router: { kind: "router" }, ...Object.fromEntries([...left, ...right].map((name) => [name, { kind: "host" }])) },
      networks: {
        left: { cidr: "10.1.0.0/24", gateway: "router", ports: ["router:left", ...left] },
        right: { cidr: "10.2.0.0/24", gateway: "router", ports: ["router:right", ...right] }
      }
    })
    const name = `weft.${this.#name}.router`
    this.#router = addon.netnsOpen(this.#path("router"))
    const [link] = JSON.parse(sh("ip", "-n", name, "-j", "link", "show", "dev", "left")) as ReadonlyArray<{ readonly ifindex: number }>
    this.#gate = new Gate({ name, path: this.#path("router"), fd: this.#router }, link!.ifindex)
  }

  async begin(count: number): Promise<void> {
    const targets = Array.from({ length: hostsPerSide }, (_, each) => {
      const shown = sh("ip", "-n", `weft.${this.#name}.r${each}`, "-j", "-4", "addr", "show", "dev", "eth0")
      const [{ addr_info: [address] }] = JSON.parse(shown) as readonly [{ readonly addr_info: readonly [{ readonly local: string }] }]
      return { address: address.local, responder: this.#flows.respond(this.#path(`r${each}`), address.local, 0) }
    })
    this.#running = Array.from({ length: count }, (_, each) => {
      const { address, responder: { port } } = targets[Math.floor(each / hostsPerSide) % hostsPerSide]!
      return this.#flows.add({ netnsPath: this.#path(`l${each % hostsPerSide}`), address, port, spacingMs, timeoutMs })
    })
    await until("all flows are answered", () => this.#running.every((flow) => this.#flows.read(flow).received > 100), 60_000)
  }

  end(): void {
    for (const flow of this.#running) this.#flows.end(flow)
    this.#running = []
  }

  /** Sums over all flows, and the longest time in which one could not send. */
  total(): { readonly sent: number; readonly lost: number; readonly unsent: number; readonly blindMs: number } {
    const reports = this.#running.map((flow) => this.#flows.read(flow, noOutages))
    const sum = (of: "sent" | "lost" | "unsent"): number => reports.reduce((all, report) => all + report[of], 0)
    return { sent: sum("sent"), lost: sum("lost"), unsent: sum("unsent"), blindMs: Math.max(...reports.map(({ blindMs }) => blindMs)) }
  }

  /** Errors of all flows about one cut, ms, in order of size. */
  async cut(ms: number): Promise<ReadonlyArray<number>> {
    const before = this.#running.map((flow) => this.#flows.read(flow).outageCount)
    const trueMs = await this.#gate!.cut(ms)
    await pause(timeoutMs + 200)
    await until("all outages are over", () =>
      this.#running.every((flow, place) => this.#flows.read(flow, before[place]).outages.every(({ lasts }) => !lasts)), 20_000)
    const lengthOf = (flow: number, place: number): number =>
      this.#flows.read(flow, before[place]).outages.reduce((sum, { lengthMs }) => sum + lengthMs, 0)
    return this.#running.map((flow, place) => Math.abs(lengthOf(flow, place) - trueMs)).toSorted((a, b) => a - b)
  }

  close(): void {
    this.#flows.close()
    this.#gate?.close()
    if (this.#router !== undefined) addon.close(this.#router)
  }
}

interface Measured {
  readonly worst: ReadonlyArray<number>
  readonly middle: ReadonlyArray<number>
  readonly idle: { readonly lost: number; readonly unsentShare: number; readonly spacingMs: number; readonly blindMs: number }
  readonly cpu: { readonly processors: number; readonly usPerProbe: number }
}

const measure = async (lab: Lab, count: number, order: { readonly cuts: number; readonly minutes: number; readonly seed: number }) => {
  await lab.begin(count)
  const [before, cpuBefore, began] = [lab.total(), cpuNs(), performance.now()]
  await pause(order.minutes * 60_000)
  const [after, cpu, seconds] = [lab.total(), cpuNs() - cpuBefore, (performance.now() - began) / 1000]
  const sent = after.sent - before.sent
  const unsent = after.unsent - before.unsent
  const lost = after.lost - before.lost
  const shareUnsent = `${((100 * unsent) / (sent + unsent)).toFixed(2)} % could not be sent in time`
  console.error(`${count} flows, idle for ${order.minutes} min: ${sent} probes, ${lost === 0 ? "none" : lost} lost; ${shareUnsent}`)
  const chance = chances(order.seed)
  const errors: Array<ReadonlyArray<number>> = []
  for (let cut = 0; cut < order.cuts; cut++) {
    const ms = shortestMs + (longestMs - shortestMs) * chance()
    errors.push(await lab.cut(ms))
    console.error(`${count} flows, cut of ${ms.toFixed(0)} ms: worst flow off by ${errors.at(-1)!.at(-1)!.toFixed(2)} ms`)
  }
  lab.end()
  const measured: Measured = {
    worst: errors.map((of) => of.at(-1)!),
    middle: errors.map((of) => of[of.length >> 1]!),
    idle: {
      lost,
      unsentShare: unsent / (sent + unsent),
      spacingMs: (seconds * 1000 * count) / sent,
      blindMs: after.blindMs
    },
    cpu: { processors: cpu / 1e9 / seconds, usPerProbe: cpu / 1000 / sent }
  }
  return measured
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (!isRoot) throw new Error("The bench makes network namespaces: run it as root")
  const chosen = { ...(values.quick ? quick : thorough), ...values }
  const counts = values.flows.split(",").map(Number)
  const order = { cuts: Number(chosen.cuts), minutes: Number(chosen.minutes), seed: Number(values.seed) }
  const isBad = counts.some((count) => !(count >= 1)) || !(order.cuts >= 0) || !(order.minutes > 0)
  if (isBad) throw new TypeError("bad option: see bench/probe.ts")
  const missed: Array<string> = []
  const weftd = await Weftd.start("benchprobe")
  const lab = new Lab(weftd)
  try {
    await lab.build()
    for (const count of counts) {
      const { cpu, idle, middle, worst } = await measure(lab, count, order)
      const figure = (metric: string, unit: string, samples: ReadonlyArray<number>, most?: number): void => {
        const plain = Report.figure({ bench: "probe", case: `${count} flows every ${spacingMs} ms`, metric, unit }, samples)
        // All cuts count, not the median of them.
        const isMet = most === undefined || plain.max <= most
        if (!isMet) missed.push(`${metric} of ${count} flows`)
        emit({ ...plain, ...(most === undefined ? {} : { bound: `max <= ${most}`, verdict: isMet ? "ok" : "missed" }) })
      }
      if (order.cuts > 0) figure("error of the worst flow", "ms", worst, boundOf(count))
      if (order.cuts > 0) figure("error of the middle flow", "ms", middle)
      figure(`false loss in ${order.minutes} min`, "probes", [idle.lost], 0)
      figure("spacing in fact", "ms", [idle.spacingMs])
      figure("not sent in time", "of all", [idle.unsentShare])
      figure("longest time blind", "ms", [idle.blindMs])
      figure("cpu", "processors", [cpu.processors])
      figure("cpu per probe", "us", [cpu.usPerProbe])
      figure("cpu per flow", "% of a processor", [(cpu.processors / count) * 100])
    }
  } finally {
    lab.close()
    await weftd.close()
  }
  console.error(missed.length === 0 ? "All bounds are met." : `Missed: ${missed.join(", ")}.`)
  if (values.check && missed.length > 0) process.exitCode = 1
}
