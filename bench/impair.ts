/**
 * How exact a link's profile is: the engine between two namespaces, each with one of the link's TAPs. Everything is counted
 * where it arrives, not by the engine.
 *
 *   delay   error of the one-way delay while 200 Mbit/s cross the same link: what the kernel's stamps say, less the delay that
 *           was asked for; so it counts the time in both kernels too
 *   rate    what arrives of UDP that offers a fifth more, Ethernet headers included, as a share of the rate
 *   loss    the share lost of numbered datagrams, less the one asked for, in half widths of the 99 % binomial interval; and
 *           whether a second run with the same seed loses the same ones
 *   idle    what 1000 engine ports cost a weftd that does nothing: memory, and CPU time over ten seconds
 *
 * A figure's verdict is by the median of its rounds. With --check the exit status is 1 when one misses its bound.
 */
import { parseArgs, type ParseArgsConfig } from "node:util"
import { Engine } from "../daemon/datapath/engine.ts"
import type { LinkProfile } from "../daemon/datapath/profile.ts"
import { openTap } from "../daemon/linux/tap.ts"
import { compile, ipBatch, isRoot, type Namespace, World } from "../test/root/harness.ts"
import * as Idle from "./idle.ts"
import * as Report from "./report.ts"

const address = "10.97.0.2"
const macs = ["02:00:00:97:00:01", "02:00:00:97:00:02"]
const background = 200e6
const offered = 1.2
const z99 = 2.5758
/** What measures goes before whatever else the machine does. */
const first = ["nice", "-n", "-20"]
/** And as the engine does, where it has to keep up a rate of its own. */
const urgent = ["chrt", "--rr", "1"]

const options = {
  quick: { type: "boolean", default: false },
  check: { type: "boolean", default: false },
  rounds: { type: "string" },
  seconds: { type: "string" },
  only: { type: "string", multiple: true, default: ["delay", "rate", "loss", "idle"] },
  delays: { type: "string" },
  rates: { type: "string" },
  losses: { type: "string" },
  packets: { type: "string" },
  ports: { type: "string", default: "1000" }
} satisfies ParseArgsConfig["options"]

const thorough = {
  rounds: "3",
  seconds: "3",
  delays: "0.5,1,5,20,100,300",
  rates: "1e6,1e7,1e8,5e8,1e9,2e9",
  losses: "0.0001,0.001,0.01,0.05,0.2",
  packets: "1e6"
}
const quick = { rounds: "1", seconds: "2", delays: "0.5,20,300", rates: "1e6,1e8,1e9", losses: "0.001,0.2", packets: "1e5" }

interface Pair {
  readonly world: World
  readonly a: Namespace
  readonly b: Namespace
  readonly engine: Engine
}

/** Emits the figure with its bound; `isMet` is asked with the median. */
type Judge = (subject: Omit<Report.Subject, "bench">, samples: ReadonlyArray<number>, bound: Report.Bound) => void

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (!isRoot) throw new Error("The bench makes network namespaces: run it as root")
  const chosen = { ...(values.quick ? quick : thorough), ...values }
  const numbers = (list: string) => list.split(",").map(Number)
  const rounds = Number(chosen.rounds)
  const seconds = Number(chosen.seconds)
  const missed: string[] = []
  const judge: Judge = (subject, samples, bound) => {
    const figure = Report.judged(Report.figure({ bench: "impair", ...subject }, samples), bound)
    if (figure.verdict === "missed") missed.push(`${subject.case} ${subject.metric}`)
    emit(figure)
  }
  const wants = (what: string) => values.only.includes(what)
  for (const delayMs of wants("delay") ? numbers(chosen.delays) : []) {
    const runs = await repeat(rounds, () => delayErrors(delayMs, seconds))
    for (const [metric, share, most] of [["error-p50", 0.5, 50], ["error-p99", 0.99, 300]] as const) {
      const samples = runs.map((sorted) => sorted[Math.floor(sorted.length * share)]!)
      judge({ case: `delay ${delayMs} ms`, metric, unit: "us" }, samples, { least: -most, most })
    }
  }
  for (const rateBps of wants("rate") ? numbers(chosen.rates) : []) {
    const samples = await repeat(rounds, () => rateShare(rateBps, seconds))
    judge({ case: `rate ${rateBps / 1e6} Mbit/s`, metric: "arrived", unit: "of the rate" }, samples, { least: 0.99, most: 1.01 })
  }
  for (const probability of wants("loss") ? numbers(chosen.losses) : []) {
    const runs = await repeat(2, () => lossOf(probability, Number(chosen.packets)))
    const half = (count: number) => z99 * Math.sqrt((probability * (1 - probability)) / count)
    const errors = runs.map(({ count, lost }) => (lost / count - probability) / half(count))
    judge({ case: `loss ${probability * 100} %`, metric: "error", unit: "half widths" }, errors, { least: -1, most: 1 })
    const same = runs[0]!.digest === runs[1]!.digest ? 1 : 0
    judge({ case: `loss ${probability * 100} %`, metric: "repeats", unit: "same packets" }, [same], { least: 1, most: 1 })
  }
  if (wants("idle")) {
    const { cpuMs, growthMib } = await Idle.measure(Number(values.ports), values.quick ? 3 : 10)
    const subject = { case: `idle, ${values.ports} engine ports` }
    judge({ ...subject, metric: "memory", unit: "MiB" }, [growthMib], { least: -Infinity, most: 100 })
    judge({ ...subject, metric: "cpu", unit: "ms per s" }, [cpuMs], { least: 0, most: 10 })
  }
  console.error(missed.length === 0 ? "All bounds are met." : `Missed: ${missed.join(", ")}.`)
  if (values.check && missed.length > 0) process.exitCode = 1
}

const repeat = async <A>(rounds: number, measure: () => Promise<A>): Promise<ReadonlyArray<A>> => {
  const results: A[] = []
  for (let round = 0; round < rounds; round++) results.push(await measure())
  return results
}

/** A new engine with one link for each measurement: nothing is left of the profile before, and its seed begins again. */
const withLink = async <A>(aToB: LinkProfile, measure: (pair: Pair) => Promise<A>): Promise<A> => {
  const world = new World("impair")
  const [a, b] = [world.namespace("a"), world.namespace("b")]
  const engine = await Engine.start()
  try {
    const [tapA, tapB] = [a, b].map((namespace) => openTap(namespace.fd, "tap0", { mtu: 1500 }).fd)
    // No ARP: every packet on the link is one of the bench.
    for (const [i, namespace] of [a, b].entries()) {
      const set = `link set tap0 address ${macs[i]}`
      ipBatch(namespace, [set, `addr add 10.97.0.${i + 1}/24 dev tap0`, `neigh replace 10.97.0.${2 - i} lladdr ${macs[1 - i]} dev tap0`])
    }
    engine.addLink("link", { tapA: tapA!, tapB: tapB!, profiles: { aToB, bToA: {}, seed: 7 } })
    return await measure({ world, a, b, engine })
  } finally {
    await engine.close()
    world.close()
  }
}

/** What a program of bench/native prints. */
const output = async ({ world, a, b }: Pair, name: string, mode: ReadonlyArray<string>, after: ReadonlyArray<number>): Promise<string> => {
  const source = `bench/native/${name}.cc`
  const argv = [...(mode[0] === "rate" ? urgent : first), compile(source), ...mode, a.path, b.path, address, ...after.map(String)]
  const { code, stdout, stderr } = await world.run(a, argv)
  if (code !== 0) throw new Error(`${source}: ${stderr}`)
  return stdout.trim()
}

/** Errors in microseconds, sorted. */
const delayErrors = (delayMs: number, seconds: number): Promise<ReadonlyArray<number>> =>
  withLink({ delayMs }, async (pair) => {
    // A daemon's engine has run for a while; this one's code has to be compiled first.
    await output(pair, "delay", [], [background, 1.5])
    const [counts, ...delays] = (await output(pair, "delay", [], [background, seconds])).split("\n")
    const [sent, received, unknown] = counts!.split(" ").map(Number)
    console.error(`${delayMs} ms: ${received} of ${sent} arrived, ${unknown} sent at an unknown time`)
    return delays.map((delay) => Number(delay) - delayMs * 1000).sort((x, y) => x - y)
  })

const rateShare = (rateBps: number, seconds: number): Promise<number> =>
  withLink({ rateBps, queue: { ms: 100, octets: 4e6 } }, async (pair) => {
    // A slow rate has few packets to count.
    const long = seconds * (rateBps < 5e6 ? 3 : 1)
    const line = await output(pair, "flow", ["rate"], [rateBps * offered, 1, long])
    const [sent, arrived, overflowed] = line.split(" ").map(Number)
    const { drops } = (await pair.engine.stats()).get("link")!.aToB
    const mbps = (bps: number) => (bps / 1e6).toFixed(3)
    console.error(`${rateBps / 1e6} Mbit/s: ${mbps(sent!)} offered, ${mbps(arrived!)} arrived; the queue dropped ${drops.queue}`)
    if (overflowed! > 0) throw new Error(`The receiver was too slow for ${rateBps / 1e6} Mbit/s: ${overflowed} datagrams were not read`)
    if (sent! < rateBps * 1.05) throw new Error(`The sender was too slow for ${rateBps / 1e6} Mbit/s: it reached ${sent! / 1e6}`)
    return arrived! / rateBps
  })

const lossOf = (probability: number, packets: number) =>
  withLink({ loss: { kind: "random", probability } }, async (pair) => {
    const [count, arrived, digest, overflowed] = (await output(pair, "flow", ["loss"], [packets])).split(" ")
    const { drops } = (await pair.engine.stats()).get("link")!.aToB
    const lost = Number(count) - Number(arrived)
    console.error(`${probability * 100} %: ${lost} of ${count}, digest ${digest}; the engine says ${drops.loss}`)
    if (lost !== drops.loss) throw new Error(`${lost - drops.loss} datagrams got lost outside of the engine, ${overflowed} at the receiver`)
    return { count: Number(count), lost, digest }
  })
