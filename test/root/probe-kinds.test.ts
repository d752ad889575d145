/** Each kind of flow between namespaces: what it says of a path that is fine, and of what can go wrong. */
import { once } from "node:events"
import t from "tap"
import type { FlowReport } from "../../daemon/probes/flow-report.ts"
import { type FlowOptions, Flows } from "../../daemon/probes/flows.ts"
import type { Change, Protocol, Sample } from "../../daemon/probes/protocols.ts"
import { ipBatch, needsRoot, type Namespace, until, World } from "./harness.ts"

t.setTimeout(600_000)

/** A flow whose changes are kept. */
class Followed {
  readonly changes: Array<Change> = []
  readonly samples: Array<Sample> = []
  readonly #flows: Flows
  readonly #id: number

  constructor(flows: Flows, options: FlowOptions) {
    this.#flows = flows
    this.#id = flows.add(options)
  }

  read(): FlowReport {
    const report = this.#flows.read(this.#id)
    this.changes.push(...report.changes)
    this.samples.push(...report.samples)
    return report
  }

  until(what: string, holds: (report: FlowReport) => boolean, deadlineMs = 60_000): Promise<void> {
    return until(what, () => holds(this.read()), deadlineMs)
  }

  has(kind: string): boolean {
    this.read()
    return this.changes.some((change) => change.kind === kind)
  }

  end(): void {
    this.#flows.end(this.#id)
  }
}

const httpServer = `
  require("node:http").createServer((request, response) => {
    response.statusCode = request.url === "/" ? 200 : request.url === "/big" ? 201 : 404
    response.end(request.url === "/big" ? "x".repeat(100000) : request.headers.host)
  }).listen(80, "0.0.0.0", () => console.log("ready"))`

/** Answers A of whatever name: 192.0.2.1, after a line on stdin 192.0.2.2. */
const dnsServer = `
  const socket = require("node:dgram").createSocket("udp4")
  let last = 1
  process.stdin.on("data", () => last++)
  socket.on("message", (question, { address, port }) => {
    const answer = Buffer.concat([question, Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, last, 0, 4, 192, 0, 2, last])])
    answer[2] = 0x80
    answer[7] = 1
    socket.send(answer, port, address)
  })
  socket.bind(53, "0.0.0.0", () => console.log("ready"))`

t.test("kinds of flows", { skip: needsRoot }, async (t) => {
  const world = new World("kinds")
  const flows = Flows.start()
  t.teardown(() => {
    flows.close()
    world.close()
  })
  // Two ways from a to b: by r and by s.
  const [a, r, s, b] = [world.namespace("a"), world.namespace("r"), world.namespace("s"), world.namespace("b")]
  for (const [router, net] of [[r, 1], [s, 2]] as const) {
    ipBatch(router, [
      `link add toa type veth peer name eth${net} netns ${a.name}`, `link add tob type veth peer name eth${net} netns ${b.name}`,
      `addr add 10.0.${net}.2/24 dev toa`, `addr add 10.1.${net}.2/24 dev tob`, "link set toa up", "link set tob up"
    ])
    ipBatch(a, [`addr add 10.0.${net}.1/24 dev eth${net}`, `link set eth${net} up`])
    ipBatch(b, [`addr add 10.1.${net}.1/24 dev eth${net}`, `link set eth${net} up`])
    await world.run(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
  }
  const target = "10.9.9.9"
  ipBatch(b, ["link set lo up", `addr add ${target}/32 dev lo`, "route add 10.0.1.0/24 via 10.1.1.2", "route add 10.0.2.0/24 via 10.1.2.2"])
  ipBatch(r, [`route add ${target} via 10.1.1.1`])
  ipBatch(s, [`route add ${target} via 10.1.2.1`])
  ipBatch(a, [`route add ${target} via 10.0.1.2`])
  await until(`${target} answers`, async () => (await world.run(a, ["ping", "-c1", "-W1", target])).code === 0)

  const follow = (protocol: Protocol, more: Partial<FlowOptions> = {}): Followed =>
    new Followed(flows, { netnsPath: a.path, address: target, protocol, port: 0, spacingMs: 2, timeoutMs: 500, ...more })
  const cut = (): void => ipBatch(r, [`route replace blackhole ${target}`])
  const mend = (): void => ipBatch(r, [`route replace ${target} via 10.1.1.1`])
  const nft = async (rules: string): Promise<void> => void t.match(await world.run(r, ["nft", "-f", "-"], rules), { code: 0 })
  const started = async (namespace: Namespace, script: string) => {
    const server = world.start(namespace, [process.execPath, "-e", script])
    await once(server.stdout!, "data")
    return server
  }

  await t.test("tcp tells a stall, a reset, a refusal and a reconnect apart", async (t) => {
    const { port } = flows.respond(b.path, "0.0.0.0", 0, "tcp")
    const flow = follow("tcp", { port })
    await flow.until("data flows", ({ received }) => received > 100)
    t.match(flow.read(), { lost: 0, outageCount: 0, detail: "connected" })
    t.match(flow.changes, [{ kind: "connected" }])

    cut()
    await flow.until("it stalls", ({ outageCount }) => outageCount === 1)
    mend()
    await until("the stall is told", () => flow.has("stall"))
    const stall = flow.changes.find(({ kind }) => kind === "stall")!
    t.match(flow.changes.map(({ kind }) => kind), ["connected", "stall"], "the connection is the same")
    const { outages } = flow.read()
    t.match(outages, [{ lasts: false }])
    t.ok(Math.abs(outages[0]!.lengthMs - stall.lengthMs) < 1 && stall.lengthMs >= 50)

    await nft(`table ip t { chain c { type filter hook forward priority 0; tcp dport ${port} reject with tcp reset; }\n }`)
    await until("the reset is told, and the refusals", () => flow.has("reset") && flow.has("refused"))
    t.ok(flow.read().outages.at(-1)!.lasts && flow.read().lost > 0 && flow.read().refused > 0)
    await nft("delete table ip t")
    await until("it is connected again", () => flow.has("reconnected"))
    await flow.until("data flows again", ({ outages: all }) => !all.at(-1)!.lasts)
    t.match(flow.changes.map(({ kind }) => kind), ["connected", "stall", "reset", "refused", "reconnected"])
    t.ok(flow.changes.at(-1)!.lengthMs > 0 && flow.read().detail === "connected")
    flow.end()
  })

  await t.test("tcp survives the other end, and tells when that hangs up", async (t) => {
    const responder = flows.respond(b.path, target, 0, "tcp")
    const flow = follow("tcp", { port: responder.port })
    await flow.until("data flows", ({ received }) => received > 20)
    flows.silence(responder)
    await until("it broke", () => (flow.has("reset") || flow.has("closed")) && flow.has("refused"))
    flows.respond(b.path, target, responder.port, "tcp")
    await until("it is connected again", () => flow.has("reconnected"))
    t.equal(flow.changes.at(-1)!.kind, "reconnected")
    flow.end()
  })

  await t.test("tcp-connect counts connections, refusals and silence", async (t) => {
    const { port } = flows.respond(b.path, "0.0.0.0", 0, "tcp")
    const [fine, nobody] = [follow("tcp-connect", { port }), follow("tcp-connect", { port: 9 })]
    await fine.until("there are connections", ({ received }) => received > 20)
    await nobody.until("there are refusals", ({ lost, refused }) => refused > 20 && lost > 20)
    t.match(fine.read(), { lost: 0, refused: 0, detail: "connected" })
    t.match(nobody.read(), { received: 0, detail: "connection refused", outageCount: 1 })
    t.match(nobody.changes, [{ kind: "refused" }])
    cut()
    await fine.until("silence is loss", ({ detail, lost }) => lost > 0 && detail === "timed out")
    mend()
    await fine.until("it is over", ({ detail, outages }) => detail === "connected" && !outages.at(-1)!.lasts)
    t.match(fine.changes.map(({ kind }) => kind), ["connected", "timeout", "connected"])
    for (const flow of [fine, nobody]) flow.end()
  })

  await t.test("http looks at the status, and waits for all of the answer", async (t) => {
    const server = await started(b, httpServer)
    const port = 80
    const base = { port, spacingMs: 20, timeoutMs: 2000 }
    const [fine, big, missing, expected] = [
      follow("http", base), follow("http", { ...base, path: "/big" }), follow("http", { ...base, path: "/none" }),
      follow("http", { ...base, path: "/none", expect: "2xx,404" })
    ]
    for (const flow of [fine, big, expected]) await flow.until("it answers", ({ received }) => received > 5)
    await missing.until("the status is wrong", ({ lost, wrong }) => wrong > 5 && lost > 5)
    t.match([fine, big, missing, expected].map((flow) => flow.read().detail), ["200 OK", "201 Created", "404 Not Found", "404 Not Found"])
    t.match(fine.read(), { lost: 0, wrong: 0 })
    server.kill("SIGKILL")
    await fine.until("nobody serves any more", ({ detail, outageCount }) => outageCount === 1 && detail === "connection refused")
    // A connection that was open when it died is reset.
    t.match(fine.changes[1], { kind: "status", before: "200 OK" })
    t.match(fine.changes.at(-1), { kind: "status", after: "connection refused" })
    for (const flow of [fine, big, missing, expected]) flow.end()
  })

  await t.test("dns looks at the answer", async (t) => {
    const server = await started(b, dnsServer)
    const base = { port: 53, name: "www.example", spacingMs: 5 }
    const [any, one] = [follow("dns", base), follow("dns", { ...base, expect: "192.0.2.1" })]
    for (const flow of [any, one]) await flow.until("it answers", ({ received }) => received > 5)
    t.match(any.read(), { detail: "NOERROR 192.0.2.1", lost: 0, wrong: 0 })
    server.stdin!.write("next\n")
    await one.until("the answer is wrong", ({ outageCount, wrong }) => wrong > 0 && outageCount === 1)
    await any.until("the answer is another", ({ detail }) => detail === "NOERROR 192.0.2.2")
    t.match(any.read(), { lost: 0, wrong: 0 })
    t.match(any.changes.at(-1), { kind: "answer", before: "NOERROR 192.0.2.1", after: "NOERROR 192.0.2.2" })
    server.kill("SIGKILL")
    await any.until("nobody serves any more", ({ detail }) => detail === "connection refused")
    cut()
    const silent = follow("dns", base)
    await silent.until("nothing comes back", ({ detail, outageCount }) => outageCount === 1 && detail === "timed out")
    mend()
    for (const flow of [any, one, silent]) flow.end()
    t.throws(() => follow("dns", { name: "" }), /no domain name/)
  })

  await t.test("traceroute tells when the path is another one, path-mtu what fits", async (t) => {
    const { port } = flows.respond(b.path, "0.0.0.0", 0)
    const path = follow("traceroute", { port, spacingMs: 500, timeoutMs: 1500 })
    const mtu = follow("path-mtu", { port, spacingMs: 500, timeoutMs: 3000 })
    await path.until("the path is known", ({ detail }) => detail === `10.0.1.2 ${target}`)
    await mtu.until("the MTU is known", ({ detail }) => detail === "1500")
    ipBatch(r, ["link set tob mtu 1400"])
    await mtu.until("the MTU is less", ({ detail }) => detail === "1400")
    t.match(mtu.changes.at(-1), { kind: "mtu", before: "1500", after: "1400" })
    t.same(new Set(mtu.samples.map(({ value }) => value)), new Set([1500, 1400]))
    ipBatch(a, [`route replace ${target} via 10.0.2.2`])
    await path.until("the path is another one", ({ detail }) => detail === `10.0.2.2 ${target}`)
    t.match(path.changes.at(-1), { kind: "path", before: `10.0.1.2 ${target}`, after: `10.0.2.2 ${target}` })
    t.match(path.read(), { lost: 0, outageCount: 0 }, "nothing was lost on the way")
    ipBatch(s, [`route replace unreachable ${target}`])
    await path.until("nobody gets there", ({ outageCount, unreachable }) => outageCount === 1 && unreachable > 0)
    t.match(path.read().detail, /^no route to host, no further than 10\.0\.2\.2/)
    ipBatch(a, [`route replace ${target} via 10.0.1.2`])
    ipBatch(r, ["link set tob mtu 1500"])
    await path.until("it is over", ({ outages }) => !outages[0]!.lasts)
    for (const flow of [path, mtu]) flow.end()
  })

  await t.test("throughput is sampled, held back, and cut", async (t) => {
    const { port } = flows.respond(b.path, "0.0.0.0", 0, "throughput")
    const flow = follow("throughput", { port, spacingMs: 100, rate: 16e6 })
    await flow.until("there are samples", ({ received }) => received >= 8)
    const values = flow.samples.map(({ value }) => value).toSorted((x, y) => x - y)
    const middle = values[values.length >> 1]!
    t.ok(middle > 1e6 && middle < 32e6, `${(middle / 1e6).toFixed(1)} of 16 Mbit/s`)
    cut()
    await flow.until("nothing gets through", ({ lost, outageCount }) => lost > 2 && outageCount >= 1)
    mend()
    await flow.until("it is over", ({ outages }) => !outages.at(-1)!.lasts)
    t.match(flow.changes[0], { kind: "connected" })
    flow.end()
  })
})
