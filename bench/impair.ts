/**
 * How exact a link's profile is: the engine between two namespaces, each with one of the link's TAPs.
 *
 *   delay   error of the one-way delay while 200 Mbit/s cross the same link, in microseconds: what the kernel's stamps
 *           say, less the delay that was asked for; so it counts the time in both kernels too
 *   rate    what arrives while four TCP streams want more, as a share of the rate
 *   loss    the share lost, less the one asked for, in half widths of the 99 % binomial interval
 */
import { parseArgs, type ParseArgsConfig } from "node:util"
import { Engine } from "../daemon/datapath/engine.ts"
import type { LinkProfile } from "../daemon/datapath/profile.ts"
import { openTap } from "../daemon/linux/tap.ts"
import { compile, ipBatch, isRoot, type Namespace, World } from "../test/root/harness.ts"
import * as Report from "./report.ts"

const address = "10.97.0.2"
const background = 200e6
const z99 = 2.5758
/** What measures goes before whatever else the machine does. */
const first = ["nice", "-n", "-20"]

interface Pair {
  readonly world: World
  readonly a: Namespace
  readonly b: Namespace
  readonly engine: Engine
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    only: { type: "string", multiple: true, default: ["delay", "rate", "loss"] },
    delays: { type: "string", default: "0.5,5,50,300" },
    rates: { type: "string", default: "1e6,1e7,1e8,1e9,2e9" },
    losses: { type: "string", default: "0.0001,0.01,0.2" }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (!isRoot) throw new Error("The bench makes network namespaces: run it as root")
  const rounds = Number(values.rounds)
  const seconds = Number(values.seconds)
  const numbers = (list: string) => list.split(",").map(Number)
  const world = new World("impair")
  const [a, b] = [world.namespace("a"), world.namespace("b")]
  const engine = await Engine.start()
  const pair = { world, a, b, engine }
  try {
    connect(pair)
    const repeat = async (subject: Omit<Report.Subject, "bench">, measure: () => Promise<number>): Promise<void> => {
      const samples: number[] = []
      for (let round = 0; round < rounds; round++) samples.push(await measure())
      emit(Report.figure({ bench: "impair", ...subject }, samples))
    }
    for (const delayMs of values.only.includes("delay") ? numbers(values.delays) : []) {
      const runs: ReadonlyArray<number>[] = []
      for (let round = 0; round < rounds; round++) runs.push(await delayErrors(pair, delayMs, seconds))
      for (const [metric, share] of [["error-p50", 0.5], ["error-p99", 0.99]] as const) {
        const subject = { bench: "impair", case: `delay ${delayMs} ms`, metric, unit: "us" }
        emit(Report.figure(subject, runs.map((sorted) => sorted[Math.floor(sorted.length * share)]!)))
      }
    }
    for (const rateBps of values.only.includes("rate") ? numbers(values.rates) : []) {
      const subject = { case: `rate ${rateBps / 1e6} Mbit/s`, metric: "reached", unit: "of the rate" }
      await repeat(subject, () => rateShare(pair, rateBps, seconds))
    }
    for (const probability of values.only.includes("loss") ? numbers(values.losses) : []) {
      const subject = { case: `loss ${probability * 100} %`, metric: "error", unit: "half widths of the 99 % interval" }
      await repeat(subject, () => lossError(pair, probability, seconds))
    }
  } finally {
    await engine.close()
    world.close()
  }
}

const connect = ({ a, b, engine }: Pair): void => {
  const [tapA, tapB] = [a, b].map((namespace) => openTap(namespace.fd, "tap0", { mtu: 1500 }).fd)
  ipBatch(a, ["addr add 10.97.0.1/24 dev tap0"])
  ipBatch(b, [`addr add ${address}/24 dev tap0`])
  engine.addLink("link", { tapA: tapA!, tapB: tapB!, profiles: { aToB: {}, bToA: {}, seed: 7 } })
}

/** Only this direction; the way back is a plain wire. Starts again, so that nothing is left of the profile before. */
const impair = async ({ engine, world, a }: Pair, aToB: LinkProfile): Promise<void> => {
  engine.setProfiles("link", { aToB: {}, bToA: {}, seed: 7 })
  await world.run(a, ["ping", "-q", "-c", "2", "-i", "0.1", address])
  engine.setProfiles("link", { aToB, bToA: {}, seed: 7 })
}

/** Errors in microseconds, sorted. */
const delayErrors = async (pair: Pair, delayMs: number, seconds: number): Promise<ReadonlyArray<number>> => {
  await impair(pair, { delayMs })
  const { a, b, world } = pair
  const argv = [...first, compile("bench/native/delay.cc"), a.path, b.path, address, String(background), String(seconds)]
  const { code, stdout, stderr } = await world.run(a, argv)
  if (code !== 0) throw new Error(`delay: ${stderr}`)
  const [, ...delays] = stdout.trim().split("\n")
  return delays.map((delay) => Number(delay) - delayMs * 1000).sort((x, y) => x - y)
}

/**
 * Octets that were handed to the receiver, as packets of the wire. Its interface's own counter would miss the headers of
 * packets that arrive joined to a super-frame.
 */
const received = async ({ engine }: Pair): Promise<number> => (await engine.stats()).get("link")!.aToB.octets

const rateShare = async (pair: Pair, rateBps: number, seconds: number): Promise<number> => {
  await impair(pair, { rateBps, queue: { ms: 100, octets: 4e6 } })
  const { a, b, world } = pair
  const server = world.start(b, ["iperf3", "-s", "-1", "--forceflush"])
  await new Promise<void>((listening) => server.stdout!.on("data", (text: Buffer) => text.includes("listening") && listening()))
  const ended = world.run(a, ["iperf3", "-c", address, "-P", "4", "-t", String(seconds + 2)])
  // The streams have found the rate by then.
  await new Promise((then) => setTimeout(then, 1500))
  const from = await received(pair)
  const start = performance.now()
  await new Promise((then) => setTimeout(then, seconds * 1000))
  const octets = (await received(pair)) - from
  const elapsed = (performance.now() - start) / 1000
  await ended
  return (octets * 8) / elapsed / rateBps
}

const lossError = async (pair: Pair, probability: number, seconds: number): Promise<number> => {
  await impair(pair, { loss: { kind: "random", probability } })
  const { a, b, world, engine } = pair
  const before = (await engine.stats()).get("link")!.aToB
  const argv = [compile("bench/native/traffic.cc"), "pps", a.path, b.path, address, String(seconds)]
  const { code, stderr } = await world.run(a, argv)
  if (code !== 0) throw new Error(`traffic pps: ${stderr}`)
  const after = (await engine.stats()).get("link")!.aToB
  const lost = after.drops.loss - before.drops.loss
  const all = after.packets - before.packets + lost
  console.error(`${lost} of ${all} packets`)
  return (lost / all - probability) / (z99 * Math.sqrt((probability * (1 - probability)) / all))
}
