/**
 * `fib`: BGP's routes into the kernel, out of it, and over to their backup, each in a namespace of its own.
 *
 * `install` hands routes to the FIB and runs it until the kernel has all; the reference is `ip -batch` with the same routes through
 * the same nexthop group, in the same run. Both begin with the routes in memory: text for ip, octets for the FIB. `carrier` is how
 * long the kernel goes on with a way whose carrier is lost, seen by route lookups without a pause; `bfd` is the call that takes a next
 * hop out; both with all routes installed.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { Scope } from "../../daemon/bgp/fib/api.ts"
import { openForwarding } from "../../daemon/bgp/fib/forwarding.ts"
import { ipBatch, type Namespace, World } from "../../test/root/harness.ts"
import { type Emit, figure } from "../report.ts"

const scope: Scope = { name: "default", table: 254, ifnames: [] }
/** What the thread gives a task at a time, ms (daemon/bgp/scheduler.ts). */
const sliceMs = 1

/** IPv4 /24s from 1.0.0.0 on: room for some 14 million. */
const prefixAt = (i: number): readonly [number, number, number, number] => [1 + (i >> 16), (i >> 8) & 255, i & 255, 0]

const namespaces = (world: World): { readonly node: Namespace; readonly far: Namespace } => {
  const node = world.namespace("node")
  const far = world.namespace("far")
  for (const n of [1, 2]) {
    ipBatch(far, [`link add f${n} type veth peer name e${n} netns ${node.name}`, `link set f${n} up`])
    ipBatch(node, [`link set e${n} up`, `address add 10.0.${n}.1/24 dev e${n}`])
  }
  return { node, far }
}

const withIp = (routes: number): number => {
  const world = new World("fib-ip")
  const directory = mkdtempSync(join(tmpdir(), "weft-bench-"))
  try {
    const { node } = namespaces(world)
    ipBatch(node, [
      "nexthop add id 1 via 10.0.1.2 dev e1",
      "nexthop add id 2 via 10.0.2.2 dev e2",
      "nexthop add id 3 group 1,255/2,1 type resilient buckets 64 idle_timer 0"
    ])
    const file = join(directory, "routes")
    const lines = Array.from({ length: routes }, (_, i) => `route add ${prefixAt(i).join(".")}/24 nhid 3 proto 95 metric 20\n`)
    writeFileSync(file, lines.join(""))
    const began = performance.now()
    execFileSync("ip", ["-n", node.name, "-batch", file])
    return performance.now() - began
  } finally {
    rmSync(directory, { recursive: true })
    world.close()
  }
}

interface Sample {
  readonly installMs: number
  readonly withdrawMs: number
  readonly carrierMs: number
  readonly bfdMs: number
  /** The longest that one slice took. */
  readonly longestMs: number
  readonly octetsPerRoute: number
}

const withFib = async (routes: number): Promise<Sample> => {
  const world = new World("fib")
  const { node, far } = namespaces(world)
  const { close, fib, nextHops } = openForwarding(node.fd, [scope], { wanted: () => undefined, report: (text) => console.error(text) })
  try {
    let longestMs = 0
    const settle = (): void => {
      for (let hasMore = true; hasMore; ) {
        const began = performance.now()
        hasMore = fib.run(sliceMs)
        longestMs = Math.max(longestMs, performance.now() - began)
      }
    }
    settle()
    const hops = nextHops.scope(scope)
    const [winners, backup] = [[hops.track("10.0.1.2")], [hops.track("10.0.2.2")]]
    const sink = fib.table(scope.table)
    const bytes = new Uint8Array(4)
    const memory = process.memoryUsage()
    let began = performance.now()
    for (let i = 0; i < routes; i++) {
      bytes.set(prefixAt(i))
      sink.set(0, bytes, 0, 24, winners, backup)
      if (!sink.hasSpace()) settle()
    }
    settle()
    const installMs = performance.now() - began
    const after = process.memoryUsage()
    const octetsPerRoute = (after.arrayBuffers + after.heapUsed - memory.arrayBuffers - memory.heapUsed) / routes

    began = performance.now()
    nextHops.down("10.0.1.2")
    const bfdMs = performance.now() - began
    nextHops.up("10.0.1.2")
    const carrierMs = carrierLoss(node, far)
    // The watch takes it in, and the interface comes back.
    await new Promise((then) => setTimeout(then, 50))

    began = performance.now()
    for (let i = 0; i < routes; i++) {
      bytes.set(prefixAt(i))
      sink.unset(0, bytes, 0, 24)
      if (!sink.hasSpace()) settle()
    }
    settle()
    return { installMs, withdrawMs: performance.now() - began, carrierMs, bfdMs, longestMs, octetsPerRoute }
  } finally {
    close()
    world.close()
  }
}

/** From before the carrier goes until a lookup, each a process of its own, finds the backup; this process has no turn meanwhile. */
const carrierLoss = (node: Namespace, far: Namespace): number => {
  const began = performance.now()
  ipBatch(far, ["link set f1 down"])
  while (performance.now() - began < 5000) {
    const { stdout } = spawnSync("ip", ["-n", node.name, "route", "get", "1.0.1.1"], { encoding: "utf8" })
    if (stdout.includes("10.0.2.2")) return performance.now() - began
  }
  throw new Error("the kernel did not go over to the backup")
}

export const run = async (argv: ReadonlyArray<string>, emit: Emit): Promise<void> => {
  const options = { routes: { type: "string", default: "1000000" }, rounds: { type: "string", default: "3" } } as const
  const { values } = parseArgs({ args: [...argv], options })
  const [routes, rounds] = [Number(values.routes), Number(values.rounds)]
  const samples: Sample[] = []
  const reference: number[] = []
  for (let round = 0; round < rounds; round++) {
    console.error(`fib: round ${round + 1} of ${rounds}, ${routes} routes`)
    samples.push(await withFib(routes))
    reference.push(withIp(routes))
  }
  const subject = (name: string, metric: string, unit: string) => ({ bench: "fib", case: `${name}-${routes}`, metric, unit })
  emit(figure(subject("ip-batch", "install", "ms"), reference))
  emit(figure(subject("weft", "install", "ms"), samples.map(({ installMs }) => installMs), { case: "ip-batch", samples: reference }))
  const times = { withdraw: "withdrawMs", "carrier-lost": "carrierMs", "bfd-down": "bfdMs", "longest-slice": "longestMs" } as const
  for (const [metric, key] of Object.entries(times)) emit(figure(subject("weft", metric, "ms"), samples.map((sample) => sample[key])))
  emit(figure(subject("weft", "memory", "octets/route"), samples.map(({ octetsPerRoute }) => octetsPerRoute)))
}
