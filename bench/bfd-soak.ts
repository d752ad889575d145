/**
 * `npm run bench -- bfd-soak`: whether BFD at 3x50 ms holds while a large table is loaded and taken away again in the same daemon.
 *
 * The lab is that of `failover`, without a cut. The kernel of r2 gets `--routes` static routes, which its speaker announces and r1's
 * takes and installs; then they are removed; and so on for `--minutes`. Every session of BFD and of BGP that goes down meanwhile is a
 * false alarm. A flow between src and dst, with a probe every 5 ms, says what the traffic noticed.
 *
 *   --routes N     1000000
 *   --minutes N    10
 */
import { execFileSync } from "node:child_process"
import { parseArgs, type ParseArgsOptionsConfig } from "node:util"
import { Flows } from "../daemon/probes/flows.ts"
import { Weftd } from "../test/root/daemon-harness.ts"
import { until, World } from "../test/root/harness.ts"
import { target, topology } from "./failover.ts"
import * as Report from "./report.ts"

const options = {
  routes: { type: "string", default: "1000000" },
  minutes: { type: "string", default: "10" }
} satisfies ParseArgsOptionsConfig

const loadMs = 300_000
const prefixAt = (i: number): string => `${11 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`

/** How many routes a namespace's kernel has, without asking for each of them. */
const routesIn = (netns: string): number => {
  const text = execFileSync("ip", ["netns", "exec", netns, "cat", "/proc/net/fib_triestat"], { encoding: "utf8" })
  return Number(/Main:[^]*?Prefixes:\s+(\d+)/.exec(text)?.[1] ?? 0)
}

export const run = async (argv: ReadonlyArray<string>, emit: Report.Emit): Promise<void> => {
  const { values } = parseArgs({ args: [...argv], options })
  const [routes, minutes] = [Number(values.routes), Number(values.minutes)]
  if (!(routes >= 1 && routes <= 3_000_000) || !(minutes > 0)) throw new TypeError("--routes is 1 to 3000000, --minutes more than 0")
  const weftd = await Weftd.start("bfd-soak")
  const world = new World("bfd-soak")
  const flows = Flows.start()
  const lab = weftd.name("soak")
  const netns = (node: string): string => `weft.${lab}.${node}`
  const path = (node: string): string => `/run/netns/${netns(node)}`
  const subject = { bench: "bfd-soak", case: `3x50 ms, ${routes} routes` }
  try {
    await weftd.make(topology(lab, "bfd50"))
    const sessions = async () => {
      const answers = await Promise.all(["r1", "r2"].map((node) => weftd.client.bfd(`${lab}/${node}`)))
      return answers.flatMap((one) => one.sessions)
    }
    await until("BFD is up", async () => (await sessions()).filter(({ state }) => state === "up").length === 4, 20_000)
    const gateway = JSON.parse(execFileSync("ip", ["-n", netns("dst"), "-j", "-4", "addr", "show", "dev", "eth0"], { encoding: "utf8" }))
    const via = gateway[0].addr_info[0].local as string
    const r2 = { name: netns("r2"), path: path("r2"), fd: -1 }
    const change = async (verb: "add" | "del"): Promise<void> => {
      const lines = Array.from({ length: routes }, (_, i) => `route ${verb} ${prefixAt(i)} via ${via} proto static\n`)
      const { code, stderr } = await world.run(r2, ["ip", "-batch", "-"], lines.join(""))
      if (code !== 0) throw new Error(`ip: ${stderr.slice(0, 200)}`)
    }
    await world.run(r2, ["ip", "route", "add", `${target}/32`, "via", via, "proto", "static"])
    const responder = flows.respond(path("dst"), "0.0.0.0", 0)
    const flow = flows.add({ netnsPath: path("src"), address: target, port: responder.port, spacingMs: 5, timeoutMs: 1000 })
    await until("traffic flows", () => flows.read(flow).received > 100, 20_000)
    const before = flows.read(flow)
    const began = performance.now()
    const longestTurnMs = async (): Promise<number> => (await weftd.client.bgp(`${lab}/r1`)).longestTurnMs
    let loads = 0
    while (performance.now() - began < minutes * 60_000) {
      const at = performance.now()
      await change("add")
      await until("r1 has all routes", () => routesIn(netns("r1")) >= routes, loadMs)
      const loadedMs = performance.now() - at
      await change("del")
      await until("r1 has none of them", () => routesIn(netns("r1")) < 100, loadMs)
      loads++
      const downs = (await sessions()).reduce((sum, { downCount }) => sum + downCount, 0)
      const removedMs = performance.now() - at - loadedMs
      const times = `loaded in ${(loadedMs / 1000).toFixed(1)} s, removed in ${(removedMs / 1000).toFixed(1)} s`
      console.error(`${times}; BFD down ${downs} times; longest turn of the routing thread ${(await longestTurnMs()).toFixed(0)} ms`)
    }
    const after = flows.read(flow)
    const states = await sessions()
    const flaps = states.reduce((sum, { downCount }) => sum + downCount, 0) + states.filter(({ state }) => state !== "up").length
    let downs = 0
    for await (const { type } of weftd.client.events({ lab, follow: false, last: 0 })) if (type === "bgp.down") downs++
    const count = (metric: string, value: number, bound?: Report.Bound): void => {
      const figure = Report.figure({ ...subject, metric, unit: "" }, [value])
      emit(bound === undefined ? figure : Report.judged(figure, bound))
    }
    count("minutes", (performance.now() - began) / 60_000)
    count("loads", loads)
    count("bfd-flaps", flaps, { least: 0, most: 0 })
    count("bgp-sessions-lost", downs, { least: 0, most: 0 })
    emit(Report.figure({ ...subject, metric: "longest-turn", unit: "ms" }, [await longestTurnMs()]))
    count("probes-lost", after.sent - after.received - (before.sent - before.received))
    flows.end(flow)
    flows.silence(responder)
  } finally {
    flows.close()
    world.close()
    await weftd.destroy(lab).catch(() => {})
    await weftd.close()
  }
}
