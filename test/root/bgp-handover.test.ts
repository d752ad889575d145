/** A lab goes from static routes to BGP and back while packets flow: how many are lost. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import * as Netns from "../../daemon/linux/netns.ts"
import type { FlowReport } from "../../daemon/probes/flow-report.ts"
import { Flows } from "../../daemon/probes/flows.ts"
import { Weftd } from "./daemon-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

/** From where to which node's address. */
const ways = [["pc1", "db"], ["pc1", "batch"], ["db", "batch"], ["db", "pc1"]] as const

t.test("static routes give way to BGP", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bgp-handover")
  t.teardown(() => weftd.close())
  const lab = weftd.name("hybrid")
  const example = (file: string): string =>
    readFileSync(join(checkout, "topologies", file), "utf8").replace(/^name: hybrid$/m, `name: ${lab}`)
  await weftd.make(example("hybrid-static.weft.yaml"))
  const flows = Flows.start()
  t.teardown(() => flows.close())
  const path = (node: string): string => Netns.path(Netns.nodeName(lab, node))
  const nodes = new Map((await weftd.inspect(lab)).nodes.map((node) => [node.name, node]))
  const addressOf = (node: string): string => nodes.get(node)!.ports.flatMap(({ addresses }) => addresses)[0]!.split("/")[0]!
  const responders = new Map(["pc1", "db", "batch"].map((node) => [node, flows.respond(path(node), "0.0.0.0", 0)]))
  const running = ways.map(([from, to]) => {
    const port = responders.get(to)!.port
    const options = { netnsPath: path(from), address: addressOf(to), port, spacingMs: 1, timeoutMs: 1000 }
    return { name: `${from} to ${to}`, flow: flows.add(options) }
  })
  const reports = (): ReadonlyArray<readonly [string, FlowReport]> => running.map(({ flow, name }) => [name, flows.read(flow)])
  const flowing = (): Promise<void> => {
    const before = new Map(reports().map(([name, { received }]) => [name, received]))
    const isDone = (): boolean => reports().every(([name, { received }]) => received > before.get(name)! + 1000)
    return until("each gets a thousand answers more", isDone, 120_000)
  }
  const lost = (): Readonly<Record<string, number>> =>
    Object.fromEntries(reports().map(([name, report]) => [name, report.lost + report.unreachable + report.refused]))
  const none = Object.fromEntries(running.map(({ name }) => [name, 0]))
  await flowing()
  t.strictSame(lost(), none, "before")

  await weftd.make(example("hybrid-idc-aws-office.weft.yaml"))
  await flowing()
  t.strictSame(lost(), none, "static routes to BGP")
  t.strictSame(await weftd.drift(lab), [])

  await weftd.make(example("hybrid-static.weft.yaml"))
  await flowing()
  t.strictSame(lost(), none, "BGP to static routes")
  for (const { flow } of running) flows.end(flow)
  for (const responder of responders.values()) flows.silence(responder)
})
