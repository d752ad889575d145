/**
 * What a weftd with many engine ports costs while nothing happens: a real one, two nodes and a lab of links between them, first
 * as wires of the kernel and then with a delay, so that the difference is the engine's.
 */
import { readFileSync } from "node:fs"
import { Weftd, type TopologyObject } from "../test/root/daemon-harness.ts"
import { until } from "../test/root/harness.ts"

/** The kernel's clock ticks, in which it counts CPU time (USER_HZ). */
const ticksPerSecond = 100

export interface Cost {
  /** Resident memory more than the same lab takes without profiles. */
  readonly growthMib: number
  /** Of all threads, per second. */
  readonly cpuMs: number
}

const lab = (name: string, links: number, profile: object): TopologyObject => ({
  name,
  nodes: { a: { kind: "host" }, b: { kind: "host" } },
  links: Array.from({ length: links }, (_, i) => ({ endpoints: [`a:e${i}`, `b:e${i}`], ...profile }))
})

export const measure = async (ports: number, seconds: number): Promise<Cost> => {
  const weftd = await Weftd.start("idle")
  try {
    const name = weftd.name("idle")
    // Two deploys before: what they leave to the collector is in both figures.
    await weftd.make(lab(name, ports / 2, {}))
    await weftd.make(lab(name, ports / 2, { mtu: 1400 }))
    await quiet(weftd)
    const before = residentMib(weftd.pid)
    await weftd.make(lab(name, ports / 2, { mtu: 1400, delay: "1ms" }))
    await quiet(weftd)
    const growthMib = residentMib(weftd.pid) - before
    const from = cpuTicks(weftd.pid)
    await pause(seconds)
    const cpuMs = ((cpuTicks(weftd.pid) - from) / ticksPerSecond / seconds) * 1000
    console.error(`idle: ${before.toFixed(0)} MiB without profiles`)
    return { growthMib, cpuMs }
  } finally {
    await weftd.destroyAll()
    await weftd.close()
  }
}

const pause = (seconds: number): Promise<void> => new Promise((then) => setTimeout(then, seconds * 1000))

/** Nodes still look for neighbours and routers when a deploy is done. */
const quiet = async ({ pid }: Weftd): Promise<void> => {
  let last = cpuTicks(pid)
  await until("weftd is quiet", async () => {
    await pause(2)
    const now = cpuTicks(pid)
    const spent = now - last
    last = now
    return spent <= 2
  }, 60_000).catch(() => console.error("idle: weftd does not come to rest"))
}

const residentMib = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024

const cpuTicks = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ")
  return Number(fields[11]) + Number(fields[12])
}
