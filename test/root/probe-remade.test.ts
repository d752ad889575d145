/** Flows through the daemon whose nodes come and go, at ports that the user names, and to services of the nodes. */
import { once } from "node:events"
import { spawn } from "node:child_process"
import t from "tap"
import { answers, type FlowState, watchFlows } from "../../ctl/flows.ts"
import type { FlowSpec } from "../../ctl/flow-messages.ts"
import { sh, Weftd } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.setTimeout(600_000)

const spec = (from: string, to: string, more: Partial<FlowSpec> = {}): FlowSpec => ({
  from, to, protocol: "udp", spacingMs: 2, timeoutMs: 200, payload: 0, ipv6: false, ...more
})

const topology = (name: string, hosts: Readonly<Record<string, string>> = {}) => {
  const at = (node: string) => (hosts[node] === undefined ? {} : { host: hosts[node] })
  const nodes = { a: { kind: "host", ...at("a") }, r: { kind: "router", ...at("r") }, b: { kind: "host", ...at("b") } }
  const networks = {
    left: { cidr: ["10.1.0.0/24"], gateway: "r", ports: ["r:left", "a"] },
    right: { cidr: ["10.2.0.0/24"], gateway: "r", ports: ["r:right", "b"] }
  }
  return { name, nodes, networks }
}

const httpServer = `
  require("node:http").createServer((_, response) => response.end("fine")).listen(8080, "0.0.0.0", () => console.log("ready"))`

const kindsOf = ({ changes }: FlowState): ReadonlyArray<string> => changes.map(({ kind }) => kind)

t.test("flows of nodes that are made anew go on", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("remade")
  t.teardown(() => weftd.close())
  const lab = weftd.name("remade")
  await weftd.deploy(topology(lab))
  const flows = [
    spec("a", "b"), spec("a", "b", { protocol: "icmp" }), spec("a", "b", { protocol: "tcp" }),
    spec("a", "b", { protocol: "tcp-connect" }), spec("r", "b"), spec("a", "b", { port: 5353 })
  ]
  const watched = watchFlows(weftd.client, { lab, flows, reportMs: 20 })
  await watched.until((states) => states.every(answers))
  for (const [gone, own] of [["b", []], ["a", [0, 1, 2, 3, 5]]] as const) {
    const before = watched.states.map(({ report }) => report!.received)
    sh("ip", "netns", "del", `weft.${lab}.${gone}`)
    await watched.until((states) => states.every((state, place) => (gone === "a" && place === 4) || !answers(state)))
    if (gone === "a") t.equal(watched.states[0]!.report!.detail, "node a is gone")
    await weftd.deploy(topology(lab))
    await watched.until((states) => states.every((state, place) => answers(state) && state.report!.received > before[place]!))
    for (const place of own) {
      const [first, second] = kindsOf(watched.states[place]!).filter((kind) => kind === "gone" || kind === "back")
      t.same([first, second], ["gone", "back"], `flow ${place + 1}`)
    }
  }
  t.same(watched.states.map(({ report }) => report!.error), flows.map(() => ""))
  t.ok(watched.states.every(({ outages }, place) => outages.length >= (place === 4 ? 1 : 2)), "each time was an outage")
  t.equal(watched.states[5]!.report!.port, 5353)
  await watched.end()

  await t.test("and services of nodes are what they are", async (t) => {
    const server = spawn("ip", ["netns", "exec", `weft.${lab}.b`, process.execPath, "-e", httpServer], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    t.teardown(() => server.kill("SIGKILL"))
    await once(server.stdout, "data")
    const asked = [
      spec("a", "b", { protocol: "http", port: 8080, spacingMs: 20 }), spec("a", "b", { protocol: "tcp-connect", port: 8080 }),
      spec("a", "b", { protocol: "tcp", port: 8080 }), spec("a", "b", { protocol: "traceroute", spacingMs: 500 }),
      spec("a", "b", { protocol: "path-mtu", spacingMs: 500, timeoutMs: 1000 }),
      spec("a", "b", { protocol: "throughput", spacingMs: 100, rate: 8e6 })
    ]
    const served = watchFlows(weftd.client, { lab, flows: asked, reportMs: 50 })
    await served.until((states) => states.every((state, place) => place === 2 || (state.report?.received ?? 0) >= 3))
    const details = served.states.map(({ report }) => report!.detail)
    t.match(details, ["200 OK", "connected", "", "10.1.0.1 10.2.0.2", "1500", /bit\/s$/])
    t.match(served.states[2]!.report!.error, /port 8080 of node b is taken by a program there: tcp probes need/)
    t.ok(served.states[5]!.samples.length >= 3 && served.states[4]!.samples[0]!.value === 1500)
    await served.end()
  })

  await t.test("and weft probe shows it", async (t) => {
    const fine = await weftd.weft(["probe", "a", "b", "-p", "tcp", "--port", "7000", "-d", "300ms"])
    t.match(fine, { code: 0, stdout: /^now: connected\n\d+ sent, \d+ answered, none lost\n/ })
    t.equal(fine.stderr, "a to b (10.2.0.2), TCP to port 7000 every 1 ms\n")
    const path = await weftd.weft(["probe", "a", "b", "-p", "traceroute", "-d", "100ms", "-o", "json"])
    t.match(JSON.parse(path.stdout), { flows: [{ protocol: "traceroute", detail: "10.1.0.1 10.2.0.2", changes: [{ kind: "path" }] }] })
    t.match(await weftd.weft(["probe", "a", "b", "-p", "dns", "-d", "1s"]), { code: 2, stderr: /dns needs the name to ask for/ })
    t.match(await weftd.weft(["probe", "a", "b", "-p", "http", "--port", "80000"]), { code: 2, stderr: /"80000" as --port/ })
    const refused = await weftd.weft(["probe", "a", "b", "-p", "tcp-connect", "--port", "9", "-d", "200ms", "--expect", "1"])
    t.match(refused, { code: 2, stderr: /nothing can be expected of tcp-connect/ })
  })
})

t.test("flows of all kinds between hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("remade", { hosts: 2 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("remade")
  await fleet.make(topology(lab, { a: "h1", r: "h1", b: "h2" }))
  const flows = [
    spec("a", "b", { protocol: "tcp" }), spec("a", "b", { protocol: "tcp-connect" }), spec("a", "b", { port: 4000 }),
    spec("b", "a", { protocol: "throughput", spacingMs: 100, rate: 8e6 }), spec("b", "a", { protocol: "traceroute", spacingMs: 500 })
  ]
  for (const via of [1, 2]) {
    const watched = watchFlows(fleet.client(via), { lab, flows, reportMs: 50 })
    await watched.until((states) => states.every(({ report }) => report !== undefined && (report.error !== "" || report.received >= 2)))
    t.same(watched.states.map(({ report }) => report!.error), flows.map(() => ""), `asked of h${via}`)
    t.equal(watched.states[2]!.report!.port, 4000)
    await watched.end()
    // The far half shuts its port once it has heard of the end.
    await until("the port is free", () => !sh("ip", "netns", "exec", `weft.${lab}.b`, "ss", "-Hlnu").includes(":4000"))
  }
})
