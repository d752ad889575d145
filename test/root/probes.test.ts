/** Flows of probes through the daemon: on one host, between hosts, and what it refuses. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t, { type Test } from "tap"
import type { Client } from "../../ctl/client.ts"
import { answers, outagesOf, watchFlows } from "../../ctl/flows.ts"
import type { FlowRequest, FlowSpec } from "../../ctl/flow-messages.ts"
import { sh, Weftd } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.setTimeout(600_000)

const spec = (from: string, to: string, more: Partial<FlowSpec> = {}): FlowSpec => ({
  from, to, protocol: "udp", spacingMs: 1, timeoutMs: 200, payload: 0, ipv6: false, ...more
})

/** a -- r -- b, IPv4 and IPv6. */
const topology = (name: string, hosts: Readonly<Record<string, string>> = {}) => {
  const at = (node: string) => (hosts[node] === undefined ? {} : { host: hosts[node] })
  const nodes = { a: { kind: "host", ...at("a") }, r: { kind: "router", ...at("r") }, b: { kind: "host", ...at("b") } }
  const networks = {
    left: { cidr: ["10.1.0.0/24", "fd01::/64"], gateway: "r", ports: ["r:left", "a"] },
    right: { cidr: ["10.2.0.0/24", "fd02::/64"], gateway: "r", ports: ["r:right", "b"] }
  }
  return { name, nodes, networks }
}

/** Watches flows until `isEnough`, then ends them. */
const watch = async (client: Client, request: FlowRequest, during: (watched: ReturnType<typeof watchFlows>) => Promise<void>) => {
  const watched = watchFlows(client, request)
  try {
    await during(watched)
  } finally {
    await watched.end()
  }
  return watched.states
}

const messageOf = (client: Client, request: FlowRequest): Promise<string> =>
  watch(client, request, ({ until: reported }) => reported(() => false)).then(() => "", (error: Error) => error.message)

t.test("flows of one daemon", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("probes")
  t.teardown(() => weftd.close())
  const lab = weftd.name("probes")
  await weftd.deploy(topology(lab))
  const { client } = weftd

  await t.test("count what comes back, by UDP and ICMP, IPv4 and IPv6, to nodes and addresses", async (t) => {
    const flows = [
      spec("a", "b"), spec("a", "b", { protocol: "icmp" }),
      spec("a", "b", { ipv6: true }), spec("a", "b", { ipv6: true, protocol: "icmp" }),
      spec("b", "10.1.0.2"), spec("b", "10.1.0.1", { protocol: "icmp" }), spec("a", "r", { spacingMs: 5, payload: 1000 })
    ]
    const states = await watch(client, { lab, flows, reportMs: 50 }, ({ until: reported }) =>
      reported((all) => all.every(({ report }) => (report?.received ?? 0) >= 200)))
    for (const [place, { outages, report }] of states.entries()) {
      t.match(report, { error: "", lost: 0, duplicates: 0, refused: 0, unreachable: 0, outageCount: 0 }, `flow ${place + 1}`)
      t.ok(report!.sent >= report!.received && report!.latency!.min > 0)
      t.same(outages, [])
    }
    t.same(states.map(({ report }) => report!.address.includes(":")), [false, false, true, true, false, false, false])
  })

  await t.test("tell of a cut once it is over, as long as it was, and once", async (t) => {
    const states = await watch(client, { lab, flows: [spec("a", "b")], reportMs: 20 }, async (watched) => {
      const reading = watched.until(([state]) => outagesOf(state!).filter(({ lasts }) => !lasts).length === 2 && answers(state!))
      for (const round of [0, 1]) {
        await until("it answers", () => answers(watched.states[0]!) && outagesOf(watched.states[0]!).length === round)
        sh("ip", "-n", `weft.${lab}.r`, "route", "add", "blackhole", "10.2.0.2/32")
        await until("it is seen", () => watched.states[0]!.lasting !== undefined)
        sh("ip", "-n", `weft.${lab}.r`, "route", "del", "blackhole", "10.2.0.2/32")
        await until("it is over", () => watched.states[0]!.outages.length === round + 1)
      }
      await reading
    })
    const [{ outages, report } = { outages: [], report: undefined }] = states
    t.equal(outages.length, 2)
    t.equal(report!.outageCount, 2)
    t.equal(outages.reduce((sum, { lost }) => sum + lost, 0), report!.lost)
    t.ok(outages.every(({ lengthMs, lost }) => lengthMs >= 200 && lost > 0), "none is over before its first probe is given up")
    t.ok(outages[0]!.startMs + outages[0]!.lengthMs <= outages[1]!.startMs)
  })

  await t.test("are refused, or say what is wrong with them", async (t) => {
    const refused = async (flow: FlowSpec, message: RegExp | string, reportMs = 20): Promise<void> => {
      t.match(await messageOf(client, { lab, flows: [flow], reportMs }), message)
    }
    await refused(spec("a", "nobody"), 'No node "nobody"')
    await refused(spec("a", "b", { protocol: "sctp" }), "none of udp, icmp, tcp,")
    await refused(spec("a", "b", { spacingMs: 0.01 }), "not between 0.1 and 60000")
    await refused(spec("a", "b", { payload: 9000 }), "not between 24 and 1400")
    await refused(spec("a", "b"), "20 ms at least", 1)
    t.match(await messageOf(client, { lab, flows: [], reportMs: 0 }), "No flows")
    t.match(await messageOf(client, { lab: "nolab", flows: [spec("a", "b")], reportMs: 0 }), 'No lab "nolab"')
    const states = await watch(client, { lab, flows: [spec("a", "10.9.9.9"), spec("a", "b")], reportMs: 20 }, ({ until: reported }) =>
      reported(([, good]) => answers(good!)))
    t.match(states[0]?.report?.error, "no node of the lab has it", "a flow that cannot begin does not stop the others")
  })

  await t.test("weft probe", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "weft-probes-"))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const fine = await weftd.weft(["probe", "a", "b", "-d", "300ms"])
    t.match(fine, { code: 0, stdout: /^\d+ sent, \d+ answered, none lost\nround trip: /, stderr: "a to b (10.2.0.2), UDP every 1 ms\n" })
    const json = await weftd.weft(["probe", `${lab}/a`, "b", "--icmp", "-n", "2", "-d", "200ms", "-o", "json"])
    t.equal(json.code, 0)
    t.match(JSON.parse(json.stdout), { flows: [{ from: "a", to: "b", protocol: "icmp", lost: 0, outages: [] }, { outages: [] }] })
    const lossy = await weftd.weft(["probe", "a", "10.2.0.99", "--icmp", "-d", "400ms", "--timeout", "100ms"])
    t.equal(lossy.code, 1)
    t.match(lossy.stdout, /OUTAGE AT +LENGTH +LOST\n[\d:.]+ +[\d.]+ m?s and on +\d+\n\n\d+ sent, 0 answered, \d+ lost \(/)
    const typo = await weftd.weft(["probe", "a", "bb"])
    t.match(typo, { code: 2, stderr: /No node "bb" in lab .* \(did you mean "?b"?\?\)/ })
    t.match(await weftd.weft(["probe", "nowhere", "b"]), { code: 2, stderr: /No node "nowhere" in lab .*\n {2}Nodes: a, / })
    t.match(await weftd.weft(["probe", "a", "b", "--udp", "--icmp"]), { code: 2, stderr: /exclude each other/ })
    t.match(await weftd.weft(["probe", "a", "b", "--spacing", "often"]), { code: 2, stderr: /"often" as --spacing/ })
  })

  await t.test("end with their lab", async (t) => {
    let error = ""
    await watch(client, { lab, flows: [spec("a", "b")], reportMs: 20 }, async (watched) => {
      await watched.until(([state]) => answers(state!))
      await weftd.destroy(lab)
      await watched.until(([state]) => (error = state?.report?.error ?? "") !== "")
    })
    t.equal(error, "node a is gone")
  })
})

t.test("flows between hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("probes", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("probes")
  await fleet.make(topology(lab, { a: "h2", r: "h1", b: "h3" }))
  const flows = [spec("a", "b"), spec("b", "a"), spec("r", "b"), spec("a", "b", { protocol: "icmp" }), spec("a", "b", { ipv6: true })]
  const pass = async (t: Test, via: number): Promise<void> => {
    const states = await watch(fleet.client(via), { lab, flows, reportMs: 50 }, ({ until: reported }) =>
      reported((all) => all.every((state) => (state.report?.error ?? "") !== "" || (state.report?.received ?? 0) >= 100)))
    t.same(states.map(({ report }) => report?.error), flows.map(() => ""), `asked of h${via}`)
    t.same(states.map(({ report }) => report?.address), ["10.2.0.2", "10.1.0.2", "10.2.0.2", "10.2.0.2", "fd02::2"])
  }
  for (const via of [1, 2, 3]) await pass(t, via)
  t.match(fleet.weftd(3).log, /access\.granted weft\.v1\.Peers\/Respond "t\d+-probes b" to "h[12]" \(daemon/)
  t.match(fleet.weftd(2).log, /access\.granted weft\.v1\.Probes\/Flow "t\d+-probes a b/)
})
