import t from "tap"
import { closest, formatPath, quote, render, Reporter } from "../../daemon/topology/diagnostic.ts"

t.test("render gives file, position, path, message and suggestion", async (t) => {
  const diagnostic = { severity: "error", filename: "a.weft.yaml", line: 3, column: 7, path: "nodes.pc", message: "is wrong" } as const
  t.equal(render(diagnostic), "a.weft.yaml:3:7: nodes.pc: is wrong")
  t.equal(render({ ...diagnostic, suggestion: "right" }), 'a.weft.yaml:3:7: nodes.pc: is wrong (did you mean "right"?)')
  t.equal(render({ ...diagnostic, path: "" }), "a.weft.yaml:3:7: is wrong")
})

t.test("nothing in a message reaches the terminal as a command", async (t) => {
  t.equal(quote("\u001b[31m\u202e\ud800"), '"\\u001b[31m\\u202e\ufffd"')
  t.equal(quote("x".repeat(200)).length, 67)
  t.equal(formatPath(["nodes", "a b\n", 3, "x"]), 'nodes["a b\\u000a"][3].x')
})

t.test("closest finds typing errors and no others", async (t) => {
  const words = ["gateway", "group", "labels", "loopback", "mtu", "nat"]
  t.equal(closest("gatway", words), "gateway")
  t.equal(closest("gatewya", words), "gateway", "a swap is one error")
  t.equal(closest("gruop", words), "group")
  t.equal(closest("NAT", words), "nat", "case is no difference")
  t.equal(closest("zebra", words), undefined)
  t.equal(closest("x", words), undefined)
  t.equal(closest("g".repeat(1_000_000), words), undefined)
})

t.test("Reporter reports a path once and stops at 500", async (t) => {
  const reporter = new Reporter("f", () => ({ line: 1, column: 1 }))
  reporter.error(["a"], "first")
  reporter.error(["a"], "second")
  t.same(reporter.diagnostics.map((d) => d.message), ["first"])
  for (let i = 0; i < 1000; i++) reporter.error([i], "more")
  t.equal(reporter.diagnostics.length, 500)
  t.equal(reporter.errors, 1001)
})
