/**
 * The packet engine between two namespaces, each of which has one of a link's TAPs as its own interface:
 *
 *     a [tap0] -- engine -- [tap0] b
 */

import { readdirSync, readFileSync } from "node:fs"
import { type Test } from "tap"
import t from "tap"
import { Engine } from "../../daemon/datapath/engine.ts"
import type { LinkProfile, LinkProfiles } from "../../daemon/datapath/profile.ts"
import { openTap } from "../../daemon/linux/tap.ts"
import { descriptorCount, ipBatch, needsRoot, type Namespace, until, World } from "./harness.ts"

const options = { skip: needsRoot }
const both = (profile: LinkProfile): LinkProfiles => ({ aToB: profile, bToA: profile, seed: 7 })

/** Two namespaces joined by an engine's link named "link". */
class Pair {
  readonly world: World
  readonly a: Namespace
  readonly b: Namespace
  engine: Engine

  static async start(t: Test, label: string, profiles: LinkProfiles): Promise<Pair> {
    const descriptors = descriptorCount()
    const pair = new Pair(label, await Engine.start())
    t.teardown(async () => {
      await pair.engine.close()
      pair.world.close()
      // The first engine loads the worker's code, for which Node keeps descriptors of its own.
      // Those of children that have just ended are closed a moment later.
      if (label !== "first") await until("no descriptor is left", () => descriptorCount() <= descriptors)
    })
    pair.connect(profiles)
    return pair
  }

  private constructor(label: string, engine: Engine) {
    this.world = new World(`engine-${label}`)
    this.a = this.world.namespace("a")
    this.b = this.world.namespace("b")
    this.engine = engine
  }

  connect(profiles: LinkProfiles): void {
    const open = (namespace: Namespace) => openTap(namespace.fd, "tap0", { mtu: 1500 }).fd
    this.engine.addLink("link", { tapA: open(this.a), tapB: open(this.b), profiles })
    const mac = (node: number) => `02:00:00:00:02:0${node}`
    for (const [i, namespace] of [this.a, this.b].entries()) {
      // Neighbours are known, so that nothing but what the test sends crosses the link.
      ipBatch(namespace, [
        `link set tap0 address ${mac(i + 1)}`,
        `addr replace 10.98.0.${i + 1}/24 dev tap0`,
        `neigh replace 10.98.0.${2 - i} lladdr ${mac(2 - i)} dev tap0 nud permanent`
      ])
    }
  }

  async ping(count: number): Promise<{ readonly received: number; readonly fastest: number }> {
    const { stdout } = await this.world.run(this.a, ["ping", "-q", "-c", `${count}`, "-i", "0.01", "-W", "1", "10.98.0.2"])
    const received = Number(/(\d+) received/.exec(stdout)?.[1])
    // What a busy machine adds is not the engine's.
    return { received, fastest: Number(/= ([\d.]+)\//.exec(stdout)?.[1]) }
  }

  /** A program for Node in a namespace; its standard output. */
  async node(namespace: Namespace, program: string): Promise<string> {
    const { code, stdout, stderr } = await this.world.run(namespace, [process.execPath, "-e", program])
    if (code !== 0) throw new Error(stderr)
    return stdout
  }

  async iperf(argv: ReadonlyArray<string>): Promise<{ readonly bits: number }> {
    const server = this.world.start(this.b, ["iperf3", "-s", "-1", "--forceflush"])
    await new Promise<void>((listening, fail) => {
      server.stdout!.on("data", (text: Buffer) => text.includes("Server listening") && listening())
      server.on("close", () => fail(new Error("iperf3 -s ended before it listened")))
    })
    const { stdout } = await this.world.run(this.a, ["iperf3", "-c", "10.98.0.2", "-J", ...argv])
    const result = JSON.parse(stdout) as {
      readonly error?: string
      readonly end: { readonly sum_received?: { readonly bits_per_second: number } }
    }
    if (result.error !== undefined) throw new Error(`iperf3: ${result.error}`)
    return { bits: result.end.sum_received?.bits_per_second ?? 0 }
  }

  async counters() {
    return (await this.engine.stats()).get("link")!
  }
}

t.test("Engine passes frames without a profile, and delays by direction", options, async (t) => {
  const pair = await Pair.start(t, "first", both({}))
  const plain = await pair.ping(20)
  t.equal(plain.received, 20)
  t.ok(plain.fastest < 10, `${plain.fastest} ms without a delay`)
  pair.engine.setProfiles("link", { aToB: { delayMs: 30 }, bToA: { delayMs: 10 }, seed: 7 })
  const delayed = await pair.ping(20)
  t.equal(delayed.received, 20)
  t.ok(delayed.fastest >= 40 && delayed.fastest < 50, `${delayed.fastest} ms with 40 ms of delay`)
  pair.engine.setProfiles("link", both({}))
  t.ok((await pair.ping(20)).fastest < 10, "reset")
  const { aToB, bToA } = await pair.counters()
  t.match([aToB, bToA], [{ packets: 60, queued: 0 }, { packets: 60, queued: 0 }])
  t.equal(aToB.octets, 60 * 98)
})

t.test("Engine holds TCP to the rate, which TCP can use", options, async (t) => {
  const pair = await Pair.start(t, "rate", both({}))
  for (const rate of [10e6, 300e6]) {
    pair.engine.setProfiles("link", { aToB: { rateBps: rate, queue: { ms: 30 } }, bToA: {}, seed: 7 })
    const before = (await pair.counters()).aToB
    const { bits } = await pair.iperf(["-t", "1.5", "-O", "0.5"])
    const expected = (rate * 1448) / 1514
    // How much of it TCP uses is its own affair, and the machine's; bench/impair.ts measures the rate itself.
    t.ok(bits / expected < 1.01 && bits / expected > 0.8, `${rate / 1e6} Mbit/s: ${bits / expected} of what fits`)
    const after = (await pair.counters()).aToB
    t.ok(after.packets - before.packets > 500, "counted as packets of the wire")
  }
})

t.test("Engine loses what its counter says, the same packets for the same seed", options, async (t) => {
  const pair = await Pair.start(t, "loss", both({}))
  const loss = { kind: "random", probability: 0.3 } as const
  // As many packets as a socket holds whose owner does not get round to reading.
  const count = 250
  const receiver = (port: number) => `
    const socket = require("dgram").createSocket("udp4"), got = []
    socket.on("message", (message) => {
      const n = message.readUInt32BE(0)
      if (n !== 0xffffffff) return void got.push(n)
      console.log(JSON.stringify(got)); socket.close()
    })
    socket.bind(${port}, "10.98.0.2", () => console.error("bound"))`
  const sender = (port: number) => `
    const socket = require("dgram").createSocket("udp4"), packet = Buffer.alloc(100)
    let n = 0
    const next = () => {
      for (let i = 0; i < 20 && n < ${count}; i++) { packet.writeUInt32BE(n++, 0); socket.send(Buffer.from(packet), ${port}, "10.98.0.2") }
      if (n < ${count}) return setImmediate(next)
      // The end has to arrive: some of these do.
      packet.writeUInt32BE(0xffffffff, 0)
      for (let i = 0; i < 20; i++) socket.send(Buffer.from(packet), ${port}, "10.98.0.2")
      setTimeout(() => socket.close(), 50)
    }
    next()`
  const once = async (port: number): Promise<{ readonly got: ReadonlyArray<number>; readonly lost: number }> => {
    await pair.engine.removeLink("link")
    pair.connect({ aToB: { loss }, bToA: {}, seed: 42 })
    const child = pair.world.start(pair.b, [process.execPath, "-e", receiver(port)])
    let stdout = ""
    child.stdout!.on("data", (text: Buffer) => (stdout += text))
    await new Promise((bound) => child.stderr!.once("data", bound))
    const ended = new Promise((end) => child.once("close", end))
    await pair.node(pair.a, sender(port))
    await ended
    return { got: JSON.parse(stdout) as number[], lost: (await pair.counters()).aToB.drops.loss }
  }
  const first = await once(5001)
  t.ok(first.got.length > 0.6 * count && first.got.length < 0.8 * count, `${first.got.length} of ${count} arrived`)
  // The last 20 packets are of its count too.
  t.ok(first.lost >= count - first.got.length && first.lost <= count + 20 - first.got.length, `${first.lost} were lost`)
  const second = await once(5002)
  t.strictSame(second.got, first.got, "the same packets, twice")
})

t.test("Engine delivers files octet by octet with everything on, and corrupted packets never", options, async (t) => {
  const jitter = { distribution: "normal", ms: 1, reorder: true } as const
  const profile: LinkProfile = {
    delayMs: 2, jitter, loss: { kind: "gilbert-elliott", p: 0.001, r: 0.5, lossBad: 0.5, lossGood: 0.0005 },
    duplicate: 0.01, corrupt: 0.002, reorder: 0.01, rateBps: 200e6, aqm: "codel"
  }
  const pair = await Pair.start(t, "file", both(profile))
  const octets = 6_000_000
  // Deterministic content, hashed at both ends.
  const content = `const data = Buffer.alloc(${octets}); for (let i = 0; i < data.length; i++) data[i] = (i * 31 + (i >> 9)) & 255;
    const hash = (of) => require("crypto").createHash("sha256").update(of).digest("hex");`
  const child = pair.world.start(pair.b, [process.execPath, "-e", `
    require("net").createServer((socket) => {
      const parts = []
      socket.on("data", (part) => parts.push(part)).on("end", () => {
        console.log(Buffer.concat(parts).length, require("crypto").createHash("sha256").update(Buffer.concat(parts)).digest("hex"))
        process.exit(0)
      })
    }).listen(5003, "10.98.0.2", () => console.error("listening"))`])
  let stdout = ""
  child.stdout!.on("data", (text: Buffer) => (stdout += text))
  await new Promise((listening) => child.stderr!.once("data", listening))
  const ended = new Promise((end) => child.once("close", end))
  const hash = await pair.node(pair.a, `${content} require("net").connect(5003, "10.98.0.2").end(data); console.log(hash(data))`)
  await ended
  t.equal(stdout.trim(), `${octets} ${hash.trim()}`)
  const { aToB } = await pair.counters()
  t.ok(aToB.corrupted > 0 && aToB.duplicated > 0 && aToB.reordered > 0 && aToB.drops.loss > 0, JSON.stringify(aToB))
  t.equal(aToB.drops.error, 0)
})

t.test("Engine changes a running link without breaking its TCP connections", options, async (t) => {
  const pair = await Pair.start(t, "live", both({}))
  const running = pair.iperf(["-t", "2"])
  const profiles: ReadonlyArray<LinkProfile> = [
    { delayMs: 5 }, { rateBps: 50e6 }, { rateBps: 50e6, delayMs: 20 }, { loss: { kind: "random", probability: 0.01 } },
    { jitter: { distribution: "pareto", ms: 1, reorder: true }, delayMs: 3 }, { down: true }, {}
  ]
  let done = false
  void running.finally(() => (done = true))
  for (let i = 0; !done; i++) {
    pair.engine.setProfiles("link", both(profiles[i % profiles.length]!))
    const { aToB } = await pair.counters()
    const from = performance.now()
    // Each profile stays until packets have met it, or, when it passes none, for a moment.
    await until("packets have met the profile", async () => {
      const now = (await pair.counters()).aToB
      return done || performance.now() - from > 150 || now.packets > aToB.packets + 20_000
    })
  }
  t.ok((await running).bits > 0, "iperf3 ended as it should")
  pair.engine.setProfiles("link", both({}))
  t.equal((await pair.ping(5)).received, 5)
})

/** How often the engine's thread has been run by the kernel. */
const engineSwitches = (): number => {
  const isEngine = (task: string) => readFileSync(`/proc/self/task/${task}/comm`, "utf8").trim() === "weft-engine"
  const status = readFileSync(`/proc/self/task/${readdirSync("/proc/self/task").find(isEngine)}/status`, "utf8")
  return [...status.matchAll(/ctxt_switches:\s+(\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0)
}

/** For what must not happen meanwhile. */
const pause = async (ms: number): Promise<void> => {
  const from = performance.now()
  await until(`${ms} ms are over`, () => performance.now() - from > ms)
}

t.test("Engine costs no CPU while nothing happens", options, async (t) => {
  const pair = await Pair.start(t, "idle", both({ delayMs: 10, rateBps: 1e6, loss: { kind: "random", probability: 0.5 } }))
  await pair.ping(3)
  await until("nothing is on its way", async () => (await pair.counters()).aToB.queued === 0)
  const before = engineSwitches()
  await pause(500)
  t.ok(engineSwitches() - before <= 2, `the thread ran ${engineSwitches() - before} times in 500 ms`)
})

t.test("Engine.onExit tells that the thread ended, and the TAPs work with a new one", options, async (t) => {
  const pair = await Pair.start(t, "crash", both({ delayMs: 1 }))
  t.equal((await pair.ping(3)).received, 3)
  const told = new Promise<Error>((callback) => pair.engine.onExit(callback))
  const asked = pair.engine.stats()
  asked.catch(() => {})
  await pair.engine.kill()
  t.match((await told).message, "The engine's thread has ended")
  await t.rejects(pair.engine.stats(), /has ended/)
  await t.rejects(pair.engine.stats())
  t.throws(() => pair.engine.addLink("other", { tapA: -1, tapB: -1, profiles: both({}) }), /has ended/)
  pair.engine = await Engine.start()
  pair.connect(both({}))
  t.equal((await pair.ping(3)).received, 3)
})

t.test("Engine.onFault tells that a TAP was removed, and the thread does not spin", options, async (t) => {
  const pair = await Pair.start(t, "fault", both({ delayMs: 1 }))
  const told = new Promise<readonly [string, string]>((done) => pair.engine.onFault((id, reason) => done([id, reason])))
  ipBatch(pair.a, ["link del tap0"])
  t.match(await told, ["link", /errno 77/])
  t.equal((await pair.counters()).bToA.queued, 0, "the thread goes on")
  pair.engine.addLink("wrong", { tapA: 9999, tapB: 9999, profiles: both({}) })
  await pair.engine.removeLink("link")
  pair.connect(both({}))
  t.equal((await pair.ping(3)).received, 3, "and so does the link, with a new TAP")
  const before = engineSwitches()
  await pause(200)
  t.ok(engineSwitches() - before < 5, "idle again")
})

t.test("Engine.removeLink frees the TAPs, with packets on their way", options, async (t) => {
  const pair = await Pair.start(t, "remove", both({ delayMs: 5000 }))
  await pair.world.run(pair.a, ["ping", "-c", "3", "-i", "0.01", "-W", "0.01", "10.98.0.2"])
  t.ok((await pair.counters()).aToB.queued > 0)
  t.throws(() => openTap(pair.a.fd, "tap0", { mtu: 1500 }), /EBUSY/, "in use")
  await pair.engine.removeLink("link")
  t.equal((await pair.engine.stats()).size, 0)
  pair.connect(both({}))
  t.equal((await pair.ping(3)).received, 3)
  await pair.engine.removeLink("nothing of that name")
})
