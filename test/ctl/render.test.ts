import t from "tap"
import type { Change, Progress, ReachResult } from "../../ctl/messages.ts"
import { diagnosticLines } from "../../ctl/render/diagnostics.ts"
import { findingLines } from "../../ctl/render/findings.ts"
import { labLines } from "../../ctl/render/lab.ts"
import { planLines, summaryOf } from "../../ctl/render/plan.ts"
import { advance, block, display, initial } from "../../ctl/render/progress.ts"
import { matrixLines } from "../../ctl/render/reach.ts"
import { table } from "../../ctl/render/table.ts"
import { colours, plain, styleOf, visibleLength } from "../../ctl/terminal.ts"
import { change } from "./fake-daemon.ts"
import { hybrid, spineLeaf } from "./fixtures.ts"

t.test("table folds what folds and never exceeds the width", async (t) => {
  const columns = [{ title: "A" }, { title: "B", folds: true }, { title: "N", align: "right" }] as const
  const rows = [
    ["name", "one two three four five six seven", "1"],
    ["x", ["10.0.0.1/24", "2001:db8::1/64"], "22"]
  ]
  t.strictSame(table(columns, rows, { width: 30, style: plain }), [
    "A     B                      N",
    "name  one two three four     1",
    "      five six seven",
    "x     10.0.0.1/24           22",
    "      2001:db8::1/64"
  ])
  t.strictSame(
    table(columns, rows, { width: Number.POSITIVE_INFINITY, style: plain })[1],
    "name  one two three four five six seven   1"
  )
})

for (const width of [80, 100]) {
  t.test(`inspect fits ${width} columns`, async (t) => {
    for (const lab of [hybrid(), spineLeaf(4, 8, 4)]) {
      const lines = labLines(lab, { width, style: colours, routes: true, counters: true, nowMs: 0 })
      t.strictSame(
        lines.filter((line) => visibleLength(line) > width),
        []
      )
    }
  })
}

/** The hybrid lab on two hosts. */
const spread = () => {
  const lab = hybrid()
  const from = { state: "up", since: "", encapsulation: "vxlan", port: 4789, datapath: "kernel", segments: ["lan", "wan"] }
  return {
    ...lab,
    nodes: lab.nodes.map((node, i) => ({ ...node, host: i % 2 === 0 ? "h1" : "h2", state: i % 2 === 0 ? "ready" : "unknown" })),
    tunnels: [{ ...from, host: "h1", peer: "h2", local: "192.0.2.1", remote: "192.0.2.2", rttMs: 0.1234 }],
    unreachable: ['Cannot reach the weftd of host "h2": no answer within 3 s']
  }
}

t.test("inspect of a lab on several hosts says where each node is, and what is between them", async (t) => {
  const text = labLines(spread(), { width: 200, style: plain, routes: false, counters: false, nowMs: 0 }).join("\n")
  t.match(text, /on 2 hosts \(h1, h2\)/)
  t.match(text, /^hybrid +ready, not all seen /)
  const lacking = { ...spread(), nodes: spread().nodes.map((node, i) => (i === 0 ? { ...node, state: "missing" } : node)) }
  t.match(labLines(lacking, { width: 200, style: plain, routes: false, counters: false, nowMs: 0 })[0], /ready, 1 node missing /)
  t.match(text, /Cannot reach the weftd of host "h2"/)
  t.match(text, /NODE +KIND +STATE +HOST/)
  t.match(text, /office-pc2 +host +unknown +h2/)
  t.match(text, /TUNNELS\n.*\nh1 > h2 +up +0\.12 ms +vxlan 4789, kernel +192\.0\.2\.1 +lan, wan\n +192\.0\.2\.2/)
  t.notMatch(labLines(hybrid(), { width: 200, style: plain, routes: false, counters: false, nowMs: 0 }).join("\n"), /HOST|TUNNELS/)
})

t.test("plan says on which host something changes, where there are several", async (t) => {
  const move = { diagnostics: [], lab: "x", exists: true, notes: [], changes: [
    { ...change("REMOVE", "node/pc"), host: "h1" }, { ...change("CREATE", "node/pc"), host: "h2" }
  ] }
  t.match(planLines(move, plain).join("\n"), /node pc on h1\n +- node\/pc\n\nnode pc on h2\n +\+ node\/pc/)
})

t.test("progress of many hosts adds up what each has done", async (t) => {
  const host = (name: string, state: string, done: number): Progress => ({ event: "host", host: { host: name, state, done, total: 4 } })
  const state = [host("h2", "converging", 1), host("h1", "ready", 4), host("h2", "converging", 3)].reduce(advance, initial)
  t.match(state, { done: 7, total: 8, current: "h1 ready, h2 3/4" })
})

t.test("plan lists changes by node with each attribute, and counts a replacement twice", async (t) => {
  const changes: ReadonlyArray<Change> = [
    change("CREATE", "node/pc", [{ path: "nodeKind", before: "", after: '"host"' }]),
    change("UPDATE", "port/fw:wan", [{ path: "mtu", before: "1500", after: "1400" }], "mtu can be changed in place"),
    change("UPDATE", "nat/fw", [{ path: "ports", before: '["a","b"]', after: '["b","c"]' }]),
    change(
      "REPLACE",
      "route/fw/254/default/0",
      [{ path: "via", before: '{"gateway":"10.0.0.1","ifname":"wan"}', after: '{"ifname":"lan"}' }],
      "via cannot be changed"
    ),
    change(
      "REMOVE",
      "address/pc:eth0/10.0.0.9/24",
      [{ path: "address", before: '"10.0.0.9/24"', after: "" }],
      "not in the topology any more"
    )
  ]
  t.strictSame(planLines({ diagnostics: [], lab: "x", exists: true, changes, notes: [] }, plain), [
    'Lab "x" would change:',
    "",
    "node pc",
    "    + node/pc",
    "        + nodeKind = host",
    "    - address/pc:eth0/10.0.0.9/24  # not in the topology any more",
    "",
    "node fw",
    "    ~ port/fw:wan  # mtu can be changed in place",
    "        ~ mtu = 1500 → 1400",
    "    ~ nat/fw",
    "        ~ ports = 1 kept, - a, + c",
    "  -/+ route/fw/254/default/0  # via cannot be changed",
    "        ~ via = 10.0.0.1 dev wan → dev lan",
    "",
    "Plan: 2 to add, 2 to change, 2 to remove."
  ])
  t.strictSame(summaryOf([]), { add: 0, change: 0, remove: 0 })
})

t.test("diagnostics quote the line with a caret and keep control characters out", async (t) => {
  const file = (text: string) => ({ filename: "a.yaml", content: Buffer.from(text) })
  const diagnostic = {
    severity: "ERROR" as const,
    filename: "a.yaml",
    line: 2,
    column: 9,
    path: "nodes.a",
    message: "bad \u001b[31m",
    suggestion: "host"
  }
  t.strictSame(diagnosticLines([diagnostic, { ...diagnostic, filename: "b.trace" }], plain, file("nodes:\n  a: {k: hst}\n")), [
    "a.yaml:2:9: nodes.a: bad �[31m (did you mean host?)",
    "    2 |   a: {k: hst}",
    "      |         ^",
    "b.trace:2:9: nodes.a: bad \ufffd[31m (did you mean host?)"
  ])
  const far = diagnosticLines([{ ...diagnostic, line: 1, column: 5000 }], plain, file("x".repeat(10_000)))
  t.ok(far.every((line) => line.length < 130))
})

t.test("findings: problems first, with a command that is never folded; then what is fine", async (t) => {
  const remedy = `sysctl -w ${"x".repeat(60)}=1`
  const findings = [
    { subject: "kernel", verdict: "OK", detail: "Linux 6.1", neededFor: "everything", remedy: "" },
    { subject: "table", verdict: "WARNING", detail: "too small", neededFor: "large labs", remedy },
    { subject: "root", verdict: "MISSING", detail: "uid 1000", neededFor: "weftd", remedy: "" }
  ] as const
  t.strictSame(findingLines(findings, { width: 40, style: plain }), [
    "✗  root",
    "    uid 1000",
    "    needed for: weftd",
    "",
    "!  table",
    "    too small",
    "    needed for: large labs",
    `    what to do: ${remedy}`,
    "",
    "   FINE    FOUND",
    "✓  kernel  Linux 6.1",
    "",
    "1 fine, 1 warning, 1 missing"
  ])
})

const planned: Progress = {
  event: "planned",
  planned: { lab: "x", diagnostics: [], creates: 100, updates: 0, replaces: 0, removes: 0 }
}
const done = (index: number, error = "", blocked = false): Progress => ({
  event: "change",
  change: { change: change("CREATE", `node/n${index}`), error, blocked }
})

t.test("progress without a terminal is at most a line per second, and every failure that has its own reason", async (t) => {
  let [now, text] = [0, ""]
  const view = display({ write: (each) => (text += each) }, { verb: "Deploying", style: plain, now: () => now })
  view.feed(planned)
  for (let index = 1; index <= 50; index++) {
    now += 50
    view.feed(done(index, index === 7 ? "no room" : index === 8 ? "it needs node/n7" : "", index === 8))
  }
  view.end()
  t.strictSame(text.split("\n"), [
    "failed: node/n7: no room",
    "Deploying: 18/100 (node/n20) 1.0 s",
    "Deploying: 38/100 (node/n40) 2.0 s",
    ""
  ])
})

t.test("progress on a terminal redraws one block and leaves nothing", async (t) => {
  let [now, text] = [0, ""]
  const view = display(
    { isTTY: true, columns: 60, write: (each) => (text += each) },
    { verb: "Deploying", style: plain, now: () => now }
  )
  view.feed(planned)
  now += 100
  view.feed(done(1))
  now += 100
  view.feed(done(2))
  view.end()
  t.equal(text.split("\u001b[3A\u001b[J").length - 1, 3)
  t.ok(text.endsWith("\u001b[3A\u001b[J"))
  const lines = block(
    { total: 1000, done: 999, failed: 12, current: "x".repeat(200), byKind: new Map([["address", 500]]), hosts: new Map() },
    { verb: "Destroying demo", width: 80, style: colours, elapsedS: 1234.5 }
  )
  t.ok(
    lines.every((line) => visibleLength(line) <= 80),
    lines.join("\n")
  )
})

t.test("the reachability matrix fits, with numbers where names do not", async (t) => {
  const matrix = (count: number, width: number) => {
    const hosts = Array.from({ length: count }, (_, index) => ({ name: `some-host-${index}`, site: "office" }))
    const results = hosts.flatMap(({ name: from }) =>
      hosts.map(({ name: to }): ReachResult => ({
        from,
        to,
        address: "",
        icmp: from !== "some-host-0",
        icmpRttMs: 0.123,
        tcp: true,
        seenAs: "",
        source: "",
        error: ""
      }))
    )
    return matrixLines(hosts, results, { width, style: plain, expected: () => true })
  }
  for (const count of [2, 7, 12, 20])
    t.ok(
      matrix(count, 94).every((line) => line.length <= 94),
      `${count} hosts`
    )
  t.match(matrix(2, 80)[1], /✗✓/)
  t.match(matrix(2, 80)[2], /✓✓ 0\.12/)
})

t.test("NO_COLOR wins over a terminal", async (t) => {
  const before = { ...process.env }
  t.teardown(() => Object.assign(process.env, before))
  delete process.env["FORCE_COLOR"]
  delete process.env["NO_COLOR"]
  process.env["TERM"] = "xterm"
  t.equal(styleOf({ isTTY: true }), colours)
  t.equal(styleOf({ isTTY: false }), plain)
  process.env["NO_COLOR"] = "1"
  t.equal(styleOf({ isTTY: true }), plain)
})
