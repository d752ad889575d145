/**
 * Firewalls in a real daemon: what passes and what does not, by real packets of both families; what somebody else did to
 * the table is seen and mended; changes in place keep connections.
 *
 *     pc (10.1.0.2) --- office (10.1.0.0/24) --- fw --- dmz (10.2.0.0/24) --- web (10.2.0.2), db (10.2.0.3, 10.2.0.4)
 *     guest (10.3.0.2) --- guests (10.3.0.0/24) ---'
 */
import { once } from "node:events"
import t from "tap"
import { Connection, sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

const firewall = {
  forward: "drop",
  input: "drop",
  output: "reject",
  rules: [
    "allow tcp/5001,8000-8100 from office to web",
    { allow: "ping", from: ["office", "2001:db8:1::/64"], to: "dmz" },
    { allow: "ping from office to self" },
    { reject: "tcp from pc to db", name: "no-db" },
    { deny: ["udp/9", "udp/10"], from: "group:guests" },
    "allow ping from self to group:servers"
  ]
}

const topology = (name: string, more: object = {}): TopologyObject => ({
  name,
  groups: { servers: { kind: "host" }, guests: { kind: "host" } },
  nodes: {
    fw: { kind: "router", firewall: { ...firewall, ...more } },
    pc: { kind: "host" },
    guest: { group: "guests" },
    web: { group: "servers" },
    db: { group: "servers", firewall: { input: "reject", rules: ["allow tcp/5001 from any"] } }
  },
  networks: {
    office: { cidr: ["10.1.0.0/24", "2001:db8:1::/64"], gateway: "fw", ports: ["fw:office", "pc"] },
    dmz: {
      cidr: ["10.2.0.0/24", "2001:db8:2::/64"],
      gateway: "fw",
      ports: ["fw:dmz", "web", { port: "db", addresses: ["10.2.0.3", "10.2.0.4"] }]
    },
    guests: { cidr: "10.3.0.0/24", gateway: "fw", ports: ["fw:guests", "guest"] }
  }
})

/** How a TCP connect ends: `open`, `ECONNREFUSED`, `EHOSTUNREACH`, `timeout`, ... */
const connect = (address: string, port: number): ReadonlyArray<string> => [
  process.execPath,
  "-e",
  `const s = require("net").connect({ host: "${address}", port: ${port}, timeout: 1000 });` +
  `const end = (how) => { console.log(how); process.exit() };` +
  `s.on("connect", () => end("open")); s.on("timeout", () => end("timeout")); s.on("error", (e) => end(e.code))`
]

const listener = `require("net").createServer((s) => s.on("error", () => {})).listen(8001, "::", () => console.log("up"))`

/** Opens five connections one after the other, resets the first, opens one more; prints how each ended. */
const opener = `
  const open = () => new Promise((done) => {
    const s = require("net").connect({ host: "10.2.0.2", port: 8001, timeout: 700 })
    const end = (how) => (how === "open" ? s.setTimeout(0) : s.destroy(), process.stdout.write(how + " "), done(s))
    s.on("connect", () => end("open")).on("timeout", () => end("timeout")).on("error", (e) => end(e.code))
  })
  const main = async () => {
    const first = await open()
    for (let i = 0; i < 4; i++) await open()
    first.resetAndDestroy()
    await open()
    process.exit()
  }
  main()`

t.setTimeout(600_000)

t.test("a firewall", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("firewall")
  t.teardown(() => weftd.close())
  const name = weftd.name("firewall")
  const nft = (node: string, ...words: ReadonlyArray<string>): string => sh("ip", "netns", "exec", `weft.${name}.${node}`, "nft", ...words)
  const tries = async (from: string, address: string, port: number): Promise<string> =>
    (await weftd.inNode(name, from, ...connect(address, port))).stdout.trim()
  await weftd.make(topology(name))
  const established = await Connection.open(weftd, name, "pc", "web", "10.2.0.2")

  await t.test("lets through what a rule allows, with its answers, and nothing else", async (t) => {
    t.ok(await established.exchange("allowed"), "the port is open")
    t.equal(await tries("pc", "10.2.0.2", 8001), "ECONNREFUSED", "in the range: the server itself refuses")
    t.equal(await tries("pc", "10.2.0.2", 7999), "timeout", "outside of the range: the policy drops")
    t.equal(await tries("guest", "10.2.0.2", 5001), "timeout", "from elsewhere: the policy drops")
    t.ok(await weftd.pings(name, "pc", "10.2.0.2"))
    t.ok(await weftd.pings(name, "pc", "2001:db8:2::2"), "IPv6, with its neighbour discovery")
    t.notOk(await weftd.pings(name, "web", "10.1.0.2"), "not the other way around")
  })

  await t.test("says so where it rejects", async (t) => {
    t.equal(await tries("pc", "10.2.0.3", 80), "ECONNREFUSED")
    t.match(nft("fw", "list", "counter", "inet", "weft-filter", "rule-5"), /packets [1-9]/, "and counts it")
    t.match((await weftd.inNode(name, "fw", "ping", "-c", "1", "-W", "1", "10.1.0.2")).stdout, /Packet filtered|100% packet loss/)
  })

  await t.test("says in a check where it stopped packets", async (t) => {
    const suite = `checks:\n  - reachable: { from: pc, to: db, tcp: 80 }\n`
    const { code, stdout } = await weftd.weft(["check", "-"], { input: suite })
    t.equal(code, 1, stdout)
    t.match(stdout, /the firewall of fw has dropped packets: .*by rule "no-db"/)
  })

  await t.test("tells what is for itself from what is not", async (t) => {
    t.ok(await weftd.pings(name, "pc", "10.1.0.1"), "to self")
    t.notOk(await weftd.pings(name, "guest", "10.3.0.1"), "the rule is about the office")
    t.ok(await weftd.pings(name, "fw", "10.2.0.2"), "from self")
    t.ok(await weftd.pings(name, "fw", "127.0.0.1"), "what it sends to itself passes")
  })

  await t.test("of a host is about what comes to it", async (t) => {
    t.equal(await tries("web", "10.2.0.4", 5001), "ECONNREFUSED", "allowed, but nobody listens")
    t.match((await weftd.inNode(name, "web", "ping", "-c", "1", "-W", "1", "10.2.0.3")).stdout, /Packet filtered/)
  })

  await t.test("that somebody else changed is seen, and mended by a deploy", async (t) => {
    t.same(await weftd.drift(name), [])
    nft("fw", "flush", "table", "inet", "weft-filter")
    t.same(await weftd.drift(name), ['~ filter/fw state: "changed by somebody else" -> "applied"'])
    const inspected = await weftd.weft(["inspect", name])
    t.match(inspected.stdout, /filter\/fw/, "inspect shows it")
    await weftd.make(topology(name))
    t.same(await weftd.drift(name), [])
    t.equal(await tries("guest", "10.2.0.2", 5001), "timeout")
    nft("fw", "delete", "table", "inet", "weft-filter")
    t.same(await weftd.drift(name), ["+ filter/fw"])
    await weftd.make(topology(name))
    nft("fw", "insert", "rule", "inet", "weft-filter", "forward", "accept")
    t.same(await weftd.drift(name), ['~ filter/fw state: "changed by somebody else" -> "applied"'])
    await weftd.make(topology(name))
    t.ok(await established.exchange("mended"), "connections survive it")
  })

  await t.test("with a connection table of a few entries drops new connections above them", async (t) => {
    const small = topology(name, { connections: 3 })
    t.same(await weftd.plan(small), ["~ filter/fw connections:  -> 3"])
    await weftd.make(small)
    const server = weftd.startIn(name, "web", [process.execPath, "-e", listener])
    await once(server.stdout!, "data")
    const { stdout } = await weftd.inNode(name, "pc", process.execPath, "-e", opener)
    t.same(stdout.trim().split(" "), ["open", "open", "open", "timeout", "timeout", "open"], "the last one after another was closed")
    t.match(nft("fw", "list", "counter", "inet", "weft-filter", "table-full"), /packets [1-9]/, "they are counted")
    t.ok(await established.exchange("known since before"), "those that are known go on")
    await weftd.make(topology(name))
  })

  await t.test("survives the daemon", async (t) => {
    await weftd.kill()
    t.ok(await established.exchange("without a daemon"))
    await weftd.start()
    t.same(await weftd.plan(topology(name)), [], "and is known again")
  })

  await t.test("goes when the topology has none", async (t) => {
    const open = topology(name)
    const { nodes } = open as unknown as { readonly nodes: Record<string, Record<string, unknown>> }
    for (const node of ["fw", "db"]) delete nodes[node]!["firewall"]
    await weftd.make(open)
    t.equal(nft("fw", "list", "ruleset").trim(), "")
    t.ok(await weftd.pings(name, "web", "10.1.0.2"))
    await until("the connection goes on", () => established.exchange("open"))
  })
})
