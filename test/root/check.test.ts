/**
 * `weft check` in real labs: every kind of check passes where it should and fails with a message that says why, also when
 * somebody broke the lab by hand behind weft's back.
 *
 *     pc 10.1.0.2 ---- fw (BGP 65001, masquerades on wan) ==== r (BGP 65002) ---- db 10.2.0.2
 *                       \---- wan ---- www 198.51.100.2       two links, one with BFD
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { environment, type Output, sh, Weftd } from "./daemon-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

interface Result {
  readonly name: string
  readonly kind: string
  readonly outcome: string
  readonly error: boolean
  readonly expected: string
  readonly seen: string
  readonly where: string
  readonly attempts: number
}

interface Run extends Output {
  readonly results: ReadonlyArray<Result>
}

const topologyOf = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host", labels: { site: "left" } },
    fw: {
      kind: "router",
      nat: { masquerade: "wan" },
      routes: [{ to: "198.51.100.0/24", via: "www" }],
      bgp: { as: 65001, networks: "10.1.0.0/24", bfd: { interval: "50ms", multiplier: 3 } }
    },
    r: { kind: "router", bgp: { as: 65002, networks: "10.2.0.0/24", bfd: { interval: "50ms", multiplier: 3 } } },
    db: { kind: "host", labels: { site: "right" } },
    www: { kind: "host", gateway: "none" }
  },
  networks: {
    left: { cidr: "10.1.0.0/24", gateway: "fw", ports: ["fw:lan", "pc"] },
    right: { cidr: "10.2.0.0/24", gateway: "r", ports: ["r:lan", "db"] }
  },
  links: [
    { endpoints: ["fw:r1", "r:fw1"], cidr: "172.16.0.0/30", mtu: 1400 },
    { endpoints: ["fw:r2", "r:fw2"], cidr: "172.16.0.4/30", mtu: 1400 },
    { endpoints: ["fw:wan", "www:eth0"], cidr: "198.51.100.0/24" }
  ]
})

const good = [
  { "bgp-session": { node: "fw" } },
  { bfd: { node: "fw", peer: "r" } },
  { "bgp-route": { node: "fw", prefix: "10.2.0.0/24", "as-path": 65002, "next-hop": "r", paths: 2 } },
  { "bgp-route": { node: "fw", prefix: "10.77.0.0/16", absent: true } },
  { "bgp-route": { node: "fw", prefix: "10.77.0.0/16", table: "received", neighbor: "172.16.0.2", absent: true } },
  { route: { node: "fw", to: "10.2.0.0/24", protocol: "bgp", via: "r", dev: ["r1", "r2"] } },
  { route: { node: "fw", to: "192.0.2.0/24", absent: true } },
  { reachable: { from: "pc", to: "db" } },
  { reachable: { from: { labels: { site: "left" } }, to: { labels: { site: "right" } }, tcp: 5432, udp: 53 } },
  { unreachable: { from: "db", to: "www" } },
  { "all-pairs": { nodes: ["pc", "db"], tcp: 80 } },
  { path: { from: "pc", to: "db", exactly: ["fw", "r"] } },
  { path: { from: "pc", to: "db", exactly: ["pc", "fw", "r", "db"] } },
  { path: { from: "pc", to: "db", through: ["fw:lan", "r:lan"], avoids: ["www", "fw:wan"] } },
  { source: { from: "pc", to: "www", "seen-as": "fw:wan" } },
  { source: { from: "pc", to: "db", "seen-as": "own" } },
  { ecmp: { from: "pc", to: "db", through: ["r:fw1", "r:fw2"] } },
  { ecmp: { from: "pc", to: "db", through: ["fw:r1", "fw:r2"] } },
  { mtu: { from: "pc", to: "db", is: 1400 } },
  { latency: { from: "pc", to: "db", for: "200ms", p50: "100ms", loss: "5%" } },
  { latency: { from: "pc", to: "db", for: "200ms", p50: "100ms", protocol: "udp" } },
  { throughput: { from: "pc", to: "db", for: "300ms", "at-least": "1mbit" } },
  { exec: { node: "pc", command: "echo hello", stdout: "hello" } },
  { exec: { node: "pc", command: ["sh", "-c", "exit 3"], exit: 3 } }
]

/** What must fail, and what it must say. */
const wrong: ReadonlyArray<readonly [check: object, seen: RegExp, where?: RegExp]> = [
  [{ "bgp-session": { node: "fw", neighbor: "www" } }, /no such neighbor: it has r \(172\.16\.0\.2\), r \(172\.16\.0\.6\)/],
  [{ "bgp-session": { node: "fw", state: "idle" } }, /is Established/],
  [{ "bgp-route": { node: "fw", prefix: "10.2.0.0/24", "as-path": 65009 } }, /AS path 65002, next hop 172\.16\.0\.2 \(r\)/],
  [{ "bgp-route": { node: "fw", prefix: "10.77.0.0/16" } }, /no route to 10\.77\.0\.0\/16/],
  [{ "bgp-route": { node: "fw", prefix: "10.2.0.0/24", absent: true } }, /AS path 65002/],
  [{ bfd: { node: "fw", state: "down" } }, /172\.16\.0\.2 \(r\) is up/],
  [{ route: { node: "fw", to: "10.2.0.0/24", via: "www" } },
    /10\.2\.0\.0\/24 via 172\.16\.0\.\d dev r\d and via 172\.16\.0\.\d dev r\d \(bgp\)/],
  [{ route: { node: "db", to: "10.9.0.0/16" } }, /no route to 10\.9\.0\.0\/16/],
  [{ reachable: { from: "pc", to: "192.0.2.1" } }, /unreachable|no route|timed out/, /fw .*fw has no route to 192\.0\.2\.1/],
  [{ reachable: { from: "pc", to: "db", tcp: 5432, listener: "none" } }, /connection refused/,
    /a traceroute by UDP gets there \(pc > fw > r > db\)/],
  [{ unreachable: { from: "pc", to: "db" } }, /it got through/, /its way: pc > fw > r > db/],
  [{ path: { from: "pc", to: "db", exactly: ["r"] } }, /pc > fw > r > db/],
  [{ source: { from: "pc", to: "www", "seen-as": "own" } }, /seen as fw \(198\.51\.100\.1\)/],
  [{ source: { from: "pc", to: "db", "seen-as": "fw:r1" } }, /seen as its own address 10\.1\.0\.2/],
  [{ ecmp: { from: "pc", to: "www", flows: 8 } }, /100%/],
  [{ mtu: { from: "pc", to: "db", is: 1500 } }, /1400 octets, says fw/],
  [{ latency: { from: "pc", to: "db", for: "100ms", min: "50ms" } }, /min 0\.\d+ ms.*loss/],
  [{ throughput: { from: "pc", to: "db", for: "200ms", "at-most": "1kbit" } }, /bit over 0\.\d s/],
  [{ exec: { node: "pc", command: "ls /nonexistent" } }, /exit code 2, and it prints .*No such file/],
  [{ exec: { node: "pc", command: "sleep 20", timeout: "200ms" } }, /did not end within 200 ms/],
  [{ http: { from: "pc", to: "db" } }, /connection refused/],
  [{ dns: { from: "pc", server: "db", name: "a.example" } }, /connection refused/],
  [{ reachable: { from: "pc", to: "db" }, not: true }, /it got through/]
]

t.test("weft check", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("check")
  t.teardown(() => weftd.close())
  const lab = weftd.name("check")
  await weftd.make(topologyOf(lab))
  const suite = join(weftd.directory, "a.check.yaml")
  const check = async (checks: ReadonlyArray<object>, more: object = {}, ...words: ReadonlyArray<string>): Promise<Run> => {
    writeFileSync(suite, JSON.stringify({ lab, ...more, checks }))
    const output = await weftd.weft(["check", suite, "-o", "json", ...words])
    const results = output.stdout === "" ? [] : JSON.parse(output.stdout).results
    return { ...output, results }
  }
  const inNode = (node: string, ...argv: ReadonlyArray<string>): string => sh("ip", "netns", "exec", `weft.${lab}.${node}`, ...argv)

  await t.test("every kind passes", async (t) => {
    const { code, results } = await check(good, { defaults: { eventually: "20s" } })
    t.same(results.filter(({ outcome }) => outcome !== "passed").map(({ name, seen, where }) => `${name}: ${seen} ${where}`), [])
    t.equal(results.length, good.length)
    t.equal(code, 0)
  })

  await t.test("every kind fails with what was seen, and where it stopped", async (t) => {
    const { code, results } = await check(wrong.map(([one]) => one))
    t.equal(code, 1)
    for (const [index, [one, seen, where]] of wrong.entries()) {
      const result = results[index]!
      t.equal(result.outcome, "failed", JSON.stringify(one))
      t.match(result.seen, seen)
      if (where !== undefined) t.match(result.where, where)
    }
  })

  await t.test("http and dns see what servers answer", async (t) => {
    const script = `
import http.server, socket, threading
class H(http.server.BaseHTTPRequestHandler):
  def do_GET(s): s.send_response(200 if s.path == "/ok" else 404); s.end_headers(); s.wfile.write(b"hello from db")
  def log_message(s, *a): pass
def dns():
  u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 53))
  while True:
    q, who = u.recvfrom(512)
    name = q[12:q.index(0, 12)]
    known = name == b"\\x01a\\x07example"
    head = q[:2] + (b"\\x81\\x80" if known else b"\\x81\\x83") + b"\\0\\1" + (b"\\0\\1" if known else b"\\0\\0") + b"\\0\\0\\0\\0"
    u.sendto(head + q[12:] + (b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\x0a\\2\\0\\2" if known else b""), who)
threading.Thread(target=dns, daemon=True).start()
http.server.HTTPServer(("0.0.0.0", 80), H).serve_forever()
`
    const server = spawn("ip", ["netns", "exec", `weft.${lab}.db`, "/usr/bin/python3", "-c", script], { stdio: "ignore" })
    try {
      const { results } = await check([
        { http: { from: "pc", to: "db", path: "/ok", contains: "hello" }, eventually: "20s" },
        { http: { from: "pc", to: "db", path: "/no", status: 404 }, eventually: "20s" },
        { dns: { from: "pc", server: "db", name: "a.example", answer: "10.2.0.2" }, eventually: "20s" },
        { dns: { from: "pc", server: "db", name: "b.example", rcode: "NXDOMAIN" }, eventually: "20s" },
        { reachable: { from: "pc", to: "db", tcp: 80 }, eventually: "20s" }
      ])
      t.same(results.map(({ outcome, seen }) => `${outcome} ${seen}`).filter((line) => !line.startsWith("passed")), [])
      const wrongAnswers = await check([
        { http: { from: "pc", to: "db", path: "/no" } },
        { http: { from: "pc", to: "db", path: "/ok", contains: "bye" } },
        { dns: { from: "pc", server: "db", name: "a.example", answer: "10.2.0.9" } },
        { dns: { from: "pc", server: "db", name: "b.example" } }
      ])
      t.match(wrongAnswers.results.map(({ seen }) => seen),
        [/status 404/, /status 200 and a body that begins "hello/, /the answer 10\.2\.0\.2/, /NXDOMAIN/])
    } finally {
      const ended = once(server, "exit")
      server.kill("SIGKILL")
      await ended
    }
  })

  await t.test("faults made by hand are noticed, and where", async (t) => {
    const reach = [{ reachable: { from: "pc", to: "db" } }]
    const first = async (checks: ReadonlyArray<object>): Promise<Result> => (await check(checks)).results[0]!

    inNode("r", "ip", "route", "add", "blackhole", "10.2.0.0/25")
    const discarded = await first(reach)
    t.match(discarded, { outcome: "failed", seen: "timed out" })
    t.match(discarded.where,
      /pc > fw: fw \(10\.1\.0\.1\) is the last to answer.*so r is next, and r discards it by its route 10\.2\.0\.0\/25 blackhole/)
    inNode("r", "ip", "route", "del", "blackhole", "10.2.0.0/25")

    inNode("db", "ip", "link", "set", "eth0", "down")
    t.match((await first(reach)).where, /pc > fw > r/)
    inNode("db", "ip", "link", "set", "eth0", "up")
    inNode("db", "ip", "route", "add", "default", "via", "10.2.0.1")

    inNode("r", "nft", "add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f tcp dport 5432 drop")
    t.match(await first([{ reachable: { from: "pc", to: "db", tcp: 5432 } }]), { outcome: "failed", seen: "timed out" })
    t.match(await first([{ reachable: { from: "pc", to: "db", tcp: 5433 } }]), { outcome: "passed" })
    inNode("r", "nft", "delete table ip t")

    inNode("fw", "nft",
      "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o icmp type destination-unreachable drop")
    const hole = await first([{ mtu: { from: "pc", to: "db", is: 1400 } }])
    t.match(hole.seen, /larger ones than 1400 vanish, and nobody says that they are too big \(a black hole\)/)
    inNode("fw", "nft", "delete table ip t")

    inNode("fw", "ip", "link", "set", "r2", "down")
    t.equal((await first([{ ecmp: { from: "pc", to: "db" }, eventually: "500ms" }])).outcome, "failed")
    t.match(await first([{ "bgp-session": { node: "fw", neighbor: "172.16.0.6" }, not: true, eventually: "10s" }]), { outcome: "passed" })
    t.match(await first([{ reachable: { from: "pc", to: "db" }, eventually: "10s" }]), { outcome: "passed" })
    inNode("fw", "ip", "link", "set", "r2", "up")

    const tables = inNode("fw", "nft", "list", "tables")
    const table = /table (\w+ \S+)/.exec(tables)?.[1]
    t.ok(table !== undefined, "it has NAT")
    inNode("fw", "nft", `delete table ${table}`)
    t.equal((await first([{ source: { from: "pc", to: "www", "seen-as": "fw:wan" } }])).outcome, "failed", "NAT is gone")
    await weftd.deploy(topologyOf(lab))
    t.match(await first([{ source: { from: "pc", to: "www", "seen-as": "fw:wan" } }]), { outcome: "passed" })
  })

  await t.test("what goes where: exit codes, labels, severity, JUnit, TAP, annotations", async (t) => {
    const bad = { reachable: { from: "db", to: "www", timeout: "200ms" } }
    t.match(await check([{ ...bad, severity: "warning" }]), { code: 0, results: [{ outcome: "warning" }] })
    t.match(await check([{ ...bad, labels: "slow" }, { ...good[5], labels: "smoke" }], {}, "--only", "smoke"), { code: 0, results: [{}] })
    const none = await check([bad], {}, "--only", "smok")
    t.equal(none.code, 2)
    t.match(none.stderr, /No check has the label smok: no check has labels/)
    const invalid = await check([{ reachable: { from: "pcc", to: "db" } }, { exec: { node: "pc" } }])
    t.equal(invalid.code, 2)
    t.match(invalid.stderr,
      /a\.check\.yaml:1:\d+: .*no node "pcc" \(did you mean pc\?\)[\s\S]*the key "command" is missing[\s\S]*2 errors; nothing was touched/)
    t.equal((await weftd.weft(["check", join(weftd.directory, "none.yaml")])).code, 2)
    t.equal((await weftd.weft(["check", suite, "--daemon", "unix:/nonexistent"])).code, 3)

    const xml = join(weftd.directory, "report.xml")
    writeFileSync(suite, JSON.stringify({ lab, checks: [good[5], bad] }))
    const tap = await weftd.weft(["check", suite, "--tap", "--junit", xml], { env: { GITHUB_ACTIONS: "true" } } as never)
    t.equal(tap.code, 1)
    t.match(tap.stdout, /^TAP version 14\n1\.\.2\n(ok|not ok) 1 - /)
    const count = "import sys,xml.etree.ElementTree as E;s=E.parse(sys.argv[1]).getroot();print(s.get('tests'),s.get('failures'))"
    t.equal(execFileSync("/usr/bin/python3", ["-c", count, xml], { encoding: "utf8" }).trim(), "2 1")
  })
  await weftd.destroy(lab)

  await t.test("a suite with a topology has its lab deployed and destroyed, also on Ctrl-C", async (t) => {
    const own = weftd.name("own")
    const lan = { cidr: "10.1.0.0/24", ports: ["fw:lan", "pc"] }
    const [topology, report] = [join(weftd.directory, "own.weft.yaml"), join(weftd.directory, "own.xml")]
    writeFileSync(topology, JSON.stringify({ name: own, nodes: { pc: { kind: "host" }, fw: { kind: "router" } }, networks: { lan } }))
    writeFileSync(suite, JSON.stringify({ topology: "own.weft.yaml", checks: [{ reachable: { from: "pc", to: "fw" } }] }))
    const isThere = (): boolean => existsSync(`/run/netns/weft.${own}.pc`)
    const done = await weftd.weft(["check", suite])
    t.equal(done.code, 0, done.stderr)
    t.match(done.stdout, /1 passed/)
    t.notOk(isThere())
    t.equal((await weftd.weft(["check", suite, "--keep"])).code, 0)
    t.ok(isThere(), "--keep")
    t.match((await weftd.weft(["check", suite])).stderr, /is deployed already: it is checked as it is, and stays/)
    t.ok(isThere())
    await weftd.destroy(own)

    writeFileSync(suite, JSON.stringify({ topology: "own.weft.yaml", checks: [{ reachable: { from: "pc", to: "fw" }, always: "600s" }] }))
    const env = environment({ WEFT_DAEMON: weftd.address })
    const child = spawn(join(checkout, "bin/weft"), ["check", suite, "--junit", report], { env, stdio: ["ignore", "ignore", "pipe"] })
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const ended = once(child, "exit")
    await until("the lab is deployed", () => stderr.includes("is deployed"), 120_000).finally(() => child.kill("SIGINT"))
    t.same(await ended, [130, null])
    t.notOk(isThere(), "nothing is left")
    const written = readFileSync(report, "utf8")
    t.match(written, /<error message="1 check was not run: interrupted"/)
    t.match(written, /<testcase name="pc reaches fw by ICMP"[^>]*>\s*<skipped message="not done: interrupted"/)
  })
})
