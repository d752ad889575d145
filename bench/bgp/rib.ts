/**
 * How long a full table takes from the neighbour's first octet until it is in the RIB, how much memory it takes there, and how long until
 * all of it is withdrawn again: weft's RIB, and FRR's bgpd, BIRD and GoBGP, in turn, with the same octets over a veth pair.
 *
 * Nobody has a kernel to write to: FRR runs with `--no_kernel`, BIRD without its kernel protocol, GoBGP without zebra. A subject is done
 * when its process has used no CPU for a while after the sender's socket took the last octet; the time ends with the last tick (10 ms) it
 * used, so that nobody is asked while he works. That he has got all routes is asked afterwards. Memory is what the process grew by.
 *
 * `npm run bench -- bgp-rib [--prefixes 1000000] [--per-set 8] [--rounds 1] [--only weft,frr,bird,gobgp]`
 */
import type { ChildProcess } from "node:child_process"
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { missingPeers, startBird, startFrr, startGobgp } from "../../test/root/bgp-peers.ts"
import { ipBatch, type Namespace, until, World } from "../../test/root/harness.ts"
import * as Report from "../report.ts"

const subjects = ["weft", "frr", "bird", "gobgp"] as const
type Subject = (typeof subjects)[number]

interface Sample {
  readonly receiveMs: number
  readonly withdrawMs: number
  /** Of all its threads. */
  readonly receiveCpuMs: number
  readonly withdrawCpuMs: number
  readonly octetsPerRoute: number
}

interface Running {
  /** Its name in /proc. */
  readonly command: string
  /** Routes that it has. */
  count(): Promise<number>
  stop(): Promise<void>
}

const local = "10.99.0.1"
const remote = "10.99.0.2"
const quietMs = 500
const ticksPerSecond = 100
const patienceMs = 180_000

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Lines of a child's stdout, one at a time. */
const linesOf = (child: ChildProcess): AsyncIterator<string> => {
  child.stderr!.pipe(process.stderr)
  return createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
}

const nextLine = async (lines: AsyncIterator<string>, from: string): Promise<string> => {
  const { done, value } = await lines.next()
  if (done === true) throw new Error(`${from} ended`)
  return value
}

const start: Readonly<Record<Subject, (world: World, node: Namespace) => Promise<Running>>> = {
  weft: async (world, node) => {
    const child = world.start(node, [process.execPath, file("receiver.ts"), local])
    const lines = linesOf(child)
    const count = async (): Promise<number> => {
      child.stdin!.write("\n")
      return Number(await nextLine(lines, "the receiver"))
    }
    await count()
    const stop = async (): Promise<void> => void child.stdin!.end()
    return { command: "node", count, stop }
  },
  frr: async (world, node) => {
    // Nothing goes back: as for BIRD, this is about what is received.
    const silent = ` address-family ipv4 unicast\n  neighbor ${remote} route-map none out\n exit-address-family`
    const neighbor = ` neighbor ${remote} remote-as 65001\n neighbor ${remote} passive\n${silent}\nexit\nroute-map none deny 10`
    const frr = await startFrr(world, node, `router bgp 65000\n no bgp ebgp-requires-policy\n${neighbor}`, { arguments: ["--no_kernel"] })
    const count = async (): Promise<number> => {
      const { ipv4Unicast } = await frr.ask("show bgp summary json") as { ipv4Unicast: { peers: Record<string, { pfxRcd: number }> } }
      return ipv4Unicast.peers[remote]!.pfxRcd
    }
    return { command: "bgpd", count, stop: () => frr.stop(true) }
  },
  bird: async (world, node) => {
    const protocol = `local ${local} as 65000; neighbor ${remote} as 65001; passive on; ipv4 { import all; export none; };`
    const bird = await startBird(world, node, `router id ${local};\nprotocol device {}\nprotocol bgp sender { ${protocol} }`)
    const count = async (): Promise<number> => Number(/(\d+) of \d+ routes/.exec(await bird.ask("show route count") as string)?.[1] ?? 0)
    return { command: "bird", count, stop: () => bird.stop(true) }
  },
  gobgp: async (world, node) => {
    const passive = "[neighbors.transport.config]\npassive-mode = true"
    const neighbor = `[neighbors.config]\nneighbor-address = "${remote}"\npeer-as = 65001\n${passive}`
    const global = `[global.config]\nas = 65000\nrouter-id = "${local}"\nlocal-address-list = ["${local}"]`
    const gobgp = await startGobgp(world, node, `${global}\n[[neighbors]]\n${neighbor}\n`)
    const count = async (): Promise<number> => {
      const answer = await gobgp.ask("global rib summary -a ipv4") as string
      return Number(/Path: (\d+)/.exec(String(answer))?.[1] ?? 0)
    }
    return { command: "gobgpd", count, stop: () => gobgp.stop(true) }
  }
}

/** The process of that name in the namespace. */
const pidOf = (node: Namespace, command: string): number => {
  const inode = `net:[${statSync(node.path).ino}]`
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const isThere = readlinkSync(`/proc/${name}/ns/net`) === inode
      if (isThere && readlinkSync(`/proc/${name}/exe`).split("/").at(-1)!.startsWith(command)) return Number(name)
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`no ${command} runs in ${node.name}`)
}

const residentOctets = (pid: number): number => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024

const cpuTicks = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ")
  return Number(fields[11]) + Number(fields[12])
}

interface Timed {
  readonly sender: ChildProcess
  readonly lines: AsyncIterator<string>
  readonly pid: number
  readonly running: Running
}

/** Has the sender write, and waits until the subject rests with so many routes: ms from the beginning to the last CPU that it used. */
const timed = async ({ lines, pid, running, sender }: Timed, what: string, routes: number): Promise<number> => {
  let isWritten = false
  const began = performance.now()
  sender.stdin!.write(`${what}\n`)
  const written = nextLine(lines, "the sender").then(() => void (isWritten = true))
  let last = cpuTicks(pid)
  let lastAt = began
  await until(`the subject has ${routes} routes after "${what}"`, async () => {
    const ticks = cpuTicks(pid)
    const now = performance.now()
    if (ticks > last) {
      last = ticks
      lastAt = now
    }
    // On a busy machine a pause need not be the end.
    return isWritten && now - lastAt > quietMs && await running.count() === routes
  }, patienceMs)
  await written
  return lastAt - began
}

const measure = async (subject: Subject, prefixes: number, perSet: number): Promise<Sample> => {
  const world = new World("bgp-rib")
  try {
    const node = world.namespace("subject")
    const other = world.namespace("sender")
    ipBatch(node, [`link add eth0 type veth peer name eth0 netns ${other.name}`, `addr add ${local}/30 dev eth0`, "link set eth0 up"])
    ipBatch(other, [`addr add ${remote}/30 dev eth0`, "link set eth0 up"])
    const running = await start[subject](world, node)
    const pid = pidOf(node, running.command)
    const options = { address: local, localAddress: remote, asn: 65001, prefixes, perSet }
    const sender = world.start(other, [process.execPath, file("sender.ts"), JSON.stringify(options)])
    const lines = linesOf(sender)
    const [, messages, sets] = (await nextLine(lines, "the sender")).split(" ")
    const before = residentOctets(pid)
    const cpuBefore = cpuTicks(pid)
    const parts = { sender, lines, pid, running }
    const receiveMs = await timed(parts, "announce", prefixes)
    const octetsPerRoute = (residentOctets(pid) - before) / prefixes
    const receiveCpuMs = (cpuTicks(pid) - cpuBefore) * 1000 / ticksPerSecond
    const cpuBetween = cpuTicks(pid)
    const withdrawMs = await timed(parts, "withdraw", 0)
    const withdrawCpuMs = (cpuTicks(pid) - cpuBetween) * 1000 / ticksPerSecond
    console.error(`bgp-rib ${subject}: ${messages} UPDATEs, ${sets} attribute sets`)
    sender.kill()
    await running.stop()
    return { receiveMs, withdrawMs, receiveCpuMs, withdrawCpuMs, octetsPerRoute }
  } finally {
    world.close()
  }
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      prefixes: { type: "string", default: "1000000" }, "per-set": { type: "string", default: "8" },
      rounds: { type: "string", default: "1" }, only: { type: "string", default: subjects.join() }
    }
  })
  const prefixes = Number(values.prefixes)
  const chosen = subjects.filter((subject) => values.only.split(",").includes(subject))
  const missing = missingPeers(...chosen.filter((subject) => subject !== "weft"))
  if (missing !== false) throw new Error(missing)
  const samples = new Map<Subject, Sample[]>(chosen.map((subject) => [subject, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const subject of chosen) samples.get(subject)!.push(await measure(subject, prefixes, Number(values["per-set"])))
  }
  const metrics = [
    ["receiveMs", "receive", "ms"], ["receiveCpuMs", "receive-cpu", "ms"], ["withdrawMs", "withdraw", "ms"],
    ["withdrawCpuMs", "withdraw-cpu", "ms"], ["octetsPerRoute", "memory", "octets/route"]
  ] as const
  for (const [key, metric, unit] of metrics) {
    for (const subject of chosen) {
      const of = (one: Subject): ReadonlyArray<number> => samples.get(one)!.map((sample) => sample[key])
      const subjectOf = { bench: "bgp-rib", case: subject, metric, unit }
      emit(Report.figure(subjectOf, of(subject)))
      if (subject !== "weft") continue
      // Required: no slower than FRR, within 1.5 of BIRD, no more memory than FRR.
      for (const reference of chosen.filter((one) => one !== "weft")) {
        emit(Report.figure({ ...subjectOf, case: `weft-${reference}` }, of("weft"), { case: reference, samples: of(reference) }))
      }
    }
  }
}
