/**
 * How long a thousand routers in one daemon take until each has the route to each other one in its kernel's table.
 *
 *     pod 0                 pod 1                       pods in a ring, by their first and second spines
 *     s0.0 ---------------- s1.0 ---- ...               each leaf has a link to both spines of its pod
 *     s0.1 ---------------- s1.1 ---- ...               leaves announce as many prefixes as there are routers, and each has
 *      |  \                                              its own AS: hardly two prefixes have the same attributes
 *     l0.0 l0.1 ... l0.37
 *
 * AS numbers as RFC 7938 5.2 has them: one for the spines of a pod, one for each leaf. `--as router` gives each router its own, so that
 * ways through leaves are looked at, too (path hunting).
 *
 * The clock runs from the call of Deploy, which makes namespaces and links first, until the last kernel table is complete; tables are
 * read one after the other, each until it is. Memory is the most that the daemon was resident in (VmHWM). Sessions lost are events
 * `bgp.down` until then.
 *
 * `npm run bench -- bgp-speakers [--speakers 10,100,1000] [--as pod|router] [--patience 300] [--check]`
 */
import { execFileSync } from "node:child_process"
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs"
import { parseArgs, type ParseArgsConfig } from "node:util"
import { addon } from "../../daemon/native/index.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { protocol } from "../../daemon/bgp/fib/protocol.ts"
import { messages, Writer } from "../../daemon/wire/netlink.ts"
import { dumpEntries, newRoute, scan, type Scanned } from "../../daemon/wire/rtnetlink/route-entry.ts"
import { type TopologyObject, Weftd } from "../../test/root/daemon-harness.ts"
import * as Report from "../report.ts"

const podSize = 40
const spinesPerPod = 2
const pollMs = 100
/** Of a thousand speakers on two processors. */
const bounds = { seconds: 60, mebibytes: 1536 }

interface Lab {
  readonly topology: TopologyObject
  /** Routers with the routes that each is to have. */
  readonly needed: ReadonlyMap<string, number>
  readonly links: number
}

interface Sample {
  readonly deployS: number
  readonly convergedS: number
  readonly cpuS: number
  readonly peakMiB: number
  readonly restMiB: number
  readonly lost: number
}

/** A ring of pods with `count` routers; the last pod may be smaller, and fewer than three pods are a chain. */
const build = (name: string, count: number, asOf: "pod" | "router"): Lab => {
  const nodes: Record<string, unknown> = {}
  const needed = new Map<string, number>()
  const links: Array<{ endpoints: [string, string]; cidr: string }> = []
  const link = (a: string, b: string): void => {
    const at = links.length * 2
    links.push({ endpoints: [a, b], cidr: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}/31` })
  }
  const pods = Math.ceil(count / podSize)
  const leaves = count - pods * spinesPerPod
  let leaf = 0
  for (let made = 0; made < count; made++) {
    const pod = Math.floor(made / podSize)
    const place = made % podSize
    const isSpine = place < spinesPerPod
    const router = isSpine ? `s${pod}-${place}` : `l${pod}-${place - spinesPerPod}`
    const as = isSpine && asOf === "pod" ? 4_200_000_000 + pod : 4_200_010_000 + made
    const id = `172.${16 + (made >> 16)}.${(made >> 8) & 255}.${made & 255}`
    const networks: string[] = []
    for (let prefix = leaf; !isSpine && prefix < count; prefix += leaves) networks.push(`100.${64 + (prefix >> 8)}.${prefix & 255}.0/24`)
    if (!isSpine) leaf++
    nodes[router] = { kind: "router", bgp: { as, "router-id": id, networks } }
    needed.set(router, count - networks.length)
    if (!isSpine) for (let spine = 0; spine < spinesPerPod; spine++) link(router, `s${pod}-${spine}`)
    else if (pod > 0) link(router, `s${pod - 1}-${place}`)
  }
  if (pods > 2) for (let spine = 0; spine < spinesPerPod; spine++) link(`s${pods - 1}-${spine}`, `s0-${spine}`)
  return { topology: { name, nodes, links }, needed, links: links.length }
}

/** How many routes of BGP a namespace has. */
const routesOf = (netns: number): number => {
  const out = new Writer(64)
  dumpEntries(out, { family: 2, table: 0, protocol })
  const found: Scanned = { isV6: false, length: 0, table: 0, metric: 0, type: 0, protocol: 0, nexthop: 0, destinationAt: 0 }
  let count = 0
  for (const { type, body } of messages(addon.netlinkDump(netns, out.finish()))) {
    if (type !== newRoute) continue
    scan(body, found)
    if (found.protocol === protocol) count++
  }
  return count
}

const pause = (ms: number): Promise<void> => new Promise((then) => setTimeout(then, ms))

/** Resolves with how many nodes are complete in time. */
const converged = async ({ needed }: Lab, lab: string, until: number): Promise<number> => {
  let complete = 0
  for (const [node, count] of needed) {
    for (let has = 0; has < count; ) {
      if (performance.now() > until) {
        console.error(`${node} has ${has} of ${count} routes`)
        return complete
      }
      has = tableOf(lab, node)
      if (has < count) await pause(pollMs)
    }
    complete++
  }
  return complete
}

/** How many routes of BGP a node has; 0 while there is no such node. */
const tableOf = (lab: string, node: string): number => {
  try {
    const descriptor = openSync(Netns.path(Netns.nodeName(lab, node)), "r")
    try {
      return routesOf(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch {
    return 0
  }
}

const statusOf = (pid: number, field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024

/** CPU seconds of the busiest threads, for progress. */
const threadsOf = (pid: number): string => {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [head, tail] = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8").split(") ") as [string, string]
    const fields = tail.split(" ")
    return { name: head.slice(head.indexOf("(") + 1), seconds: (Number(fields[11]) + Number(fields[12])) / 100 }
  })
  const busiest = threads.toSorted((a, b) => b.seconds - a.seconds).slice(0, 4)
  return busiest.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)} s`).join(", ")
}

/** CPU seconds of all threads of a process. */
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) / Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }))
}

const measure = async (count: number, asOf: "pod" | "router", patienceMs: number): Promise<Sample> => {
  const weftd = await Weftd.start("speakers")
  const counted = { lost: 0, isOver: false }
  try {
    const name = weftd.name("speakers")
    const lab = build(name, count, asOf)
    console.error(`bgp-speakers: ${count} speakers, ${lab.links} links`)
    const cpuBefore = cpuOf(weftd.pid)
    const events = weftd.client.events({ lab: name, follow: true, last: 0 })
    const listening = (async () => {
      for await (const event of events) {
        if (event.type !== "bgp.down") continue
        counted.lost++
        if (!counted.isOver) console.error(`lost: ${event.message}`)
      }
    })().catch(() => undefined)
    const began = performance.now()
    let deployS = 0
    const deploying = weftd.deploy(lab.topology).then(({ changed, message }) => {
      if (changed < 0) throw new Error(`the lab cannot be deployed: ${message}`)
      deployS = (performance.now() - began) / 1000
      console.error(`deployed after ${deployS.toFixed(1)} s`)
    })
    const until = began + patienceMs
    const converging = converged(lab, name, until).then((complete) => ({ complete, at: performance.now(), lost: counted.lost }))
    const [{ at, complete, lost }] = await Promise.all([converging, deploying])
    const convergedS = (at - began) / 1000
    const cpuS = cpuOf(weftd.pid) - cpuBefore
    if (complete < count) {
      const cost = `${lost} sessions lost, ${cpuS.toFixed(0)} CPU s, ${statusOf(weftd.pid, "VmHWM").toFixed(0)} MiB`
      throw new Error(`${complete} of ${count} routers have all routes after ${convergedS.toFixed(0)} s: ${cost}`)
    }
    console.error(`converged after ${convergedS.toFixed(1)} s; CPU by thread: ${threadsOf(weftd.pid)}`)
    await pause(2000)
    counted.isOver = true
    const sample = { deployS, convergedS, cpuS, peakMiB: statusOf(weftd.pid, "VmHWM"), restMiB: statusOf(weftd.pid, "VmRSS"), lost }
    void listening
    return sample
  } finally {
    await weftd.close()
  }
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const options = {
    speakers: { type: "string", default: "10,100,1000" },
    as: { type: "string", default: "pod" },
    patience: { type: "string", default: "300" },
    check: { type: "boolean", default: false }
  } satisfies ParseArgsConfig["options"]
  const { values } = parseArgs({ args: [...argv], options, strict: true })
  if (process.getuid?.() !== 0) throw new Error("The bench makes network namespaces: run it as root")
  const counts = values.speakers.split(",").map(Number)
  if (counts.some((count) => !(count >= 4 && count <= 10_000))) throw new TypeError("--speakers takes numbers from 4 to 10000")
  if (values.as !== "pod" && values.as !== "router") throw new TypeError("--as takes pod or router")
  for (const count of counts) {
    const sample = await measure(count, values.as, Number(values.patience) * 1000)
    const say = (metric: string, unit: string, value: number, most?: number): void => {
      const figure = Report.figure({ bench: "bgp-speakers", case: `${count}-as-${values.as}`, metric, unit }, [value])
      if (most === undefined || count > 1000) return emit(figure)
      const isKept = value <= most
      if (!isKept && values.check) process.exitCode = 1
      emit({ ...figure, bound: `<= ${most}`, verdict: isKept ? "ok" : "missed" })
    }
    say("deploy", "s", sample.deployS)
    say("converged", "s", sample.convergedS, bounds.seconds)
    say("cpu", "s", sample.cpuS)
    say("peak", "MiB", sample.peakMiB, bounds.mebibytes)
    say("rest", "MiB", sample.restMiB)
    say("lost", "sessions", sample.lost, 0)
  }
}
