/** What `weft check` writes: JUnit XML that a standard parser reads, TAP 14, annotations, lines for people. */
import { execFileSync } from "node:child_process"
import t from "tap"
import { junit, type Report } from "../../ctl/junit.ts"
import type { CheckResult } from "../../ctl/messages.ts"
import { annotation, codeQuality, githubNote, noteOf } from "../../ctl/render/check-annotation.ts"
import { bailOut, tapHead, tapLines } from "../../ctl/render/check-tap.ts"
import { resultLines, tallyLine } from "../../ctl/render/check.ts"
import { plain } from "../../ctl/terminal.ts"
import { junitProblems } from "./junit-schema.ts"

const result = (more: Partial<CheckResult>): CheckResult => ({
  index: 0, name: "pc reaches db", kind: "reachable", line: 4, column: 5, outcome: "passed", error: false, expected: "pc reaches db",
  seen: "it got through", where: "", details: [], attempts: 1, durationMs: 12.5, labels: [], ...more
})
const nasty = 'a <b> & "c" \u0000\u001b[31m\ud800 ]]> 100% # x\ny'
const failed = result({
  index: 2, name: nasty, outcome: "failed", seen: nasty, where: "pc > fw: fw is the last to answer", details: ["one", nasty]
})
const results = [
  failed,
  result({ index: 1, outcome: "warning", seen: "timed out" }),
  result({}),
  result({ index: 3, outcome: "failed", error: true, seen: "no such node" })
]
const report: Report = {
  program: "weft check", suite: "hy<brid", filename: "hybrid.check.yaml", lab: "hybrid", startedAt: "2026-01-02T03:04:05.678Z",
  durationMs: 1234, results
}
const unreached = [1, 4].map((index) => ({ index, name: `check ${index}`, kind: "route", line: index + 4 }))

/** Reads it with Python's parser and holds it against what Jenkins and others take. */
const reader = `
import sys, json, xml.etree.ElementTree as E
root = E.fromstring(sys.stdin.buffer.read())
assert root.tag == "testsuites"
allowed = {"testsuites": {"testsuite"}, "testsuite": {"properties", "testcase"}, "properties": {"property"}, "property": set(),
  "testcase": {"failure", "error", "skipped", "system-out"}, "failure": set(), "error": set(), "skipped": set(), "system-out": set()}
def walk(e):
  for c in e:
    assert c.tag in allowed[e.tag], (e.tag, c.tag)
    walk(c)
walk(root)
s = root.find("testsuite")
for k in ("tests", "failures", "errors"):
  assert int(root.get(k)) == int(s.get(k)), k
cases = s.findall("testcase")
assert len(cases) == int(s.get("tests"))
assert sum(c.find("failure") is not None for c in cases) == int(s.get("failures"))
assert sum(c.find("error") is not None for c in cases) == int(s.get("errors"))
assert sum(c.find("skipped") is not None for c in cases) == int(s.get("skipped"))
for c in cases: float(c.get("time")); assert c.get("name") and c.get("classname")
print(json.dumps([[c.get("name"), c.get("line"), [(k.tag, k.get("message"), k.text) for k in c]] for c in cases]))
`
const parsed = (text: string): any => JSON.parse(execFileSync("/usr/bin/python3", ["-c", reader], { input: text, encoding: "utf8" }))

t.test("junit is read by a standard parser, whatever the names are", async (t) => {
  const cases = parsed(junit(report))
  t.same(cases.map(([, , children]: any) => children.map(([tag]: any) => tag)), [[], ["skipped", "system-out"], ["failure"], ["error"]])
  t.equal(cases[2][0], 'a <b> & "c" \ufffd\ufffd[31m\ufffd ]]> 100% # x\ny')
  t.match(cases[2][2][0][2], "where:    pc > fw: fw is the last to answer")
})

t.test("junit is what the schema says", async (t) => {
  t.equal(junitProblems(junit(report)), "")
  t.equal(junitProblems(junit({ ...report, broken: { reason: nasty, missing: nasty, unreached } })), "")
  t.match(junitProblems(junit(report).replace("<testcase ", "<testcase surprise='1' ")), /surprise/, "the schema is held against it")
})

t.test("junit has one error for a run that broke off, and skips what was not come to", async (t) => {
  const some = [result({}), result({ index: 2 })]
  const cases = parsed(junit({ ...report, results: some, broken: { reason: "interrupted", missing: "2 checks were not run", unreached } }))
  t.match(cases, [
    ["pc reaches db", "4", []], ["check 1", "5", [["skipped", "not done: interrupted"]]], ["pc reaches db", "4", []],
    ["check 4", "8", [["skipped", "not done: interrupted"]]],
    ["the suite runs to its end", null, [["error", "2 checks were not run: interrupted"]]]
  ])
  const end = parsed(junit({ ...report, results: [], broken: { reason: "the daemon went away", missing: "", unreached: [] } }))
  t.match(end, [["the suite runs to its end", null, [["error", "the daemon went away"]]]])
})

t.test("tapLines are TAP 14", async (t) => {
  const text = [...tapHead(4), ...results.flatMap((one, index) => tapLines(one, index + 1, "f.check.yaml"))]
  t.equal(text[0], "TAP version 14")
  t.equal(text[1], "1..4")
  t.ok(text.includes(`not ok 2 - pc reaches db # ${"TO"}DO warning`))
  t.ok(text.includes("ok 3 - pc reaches db"))
  t.ok(text.some((line) => line.startsWith('not ok 1 - a <b> & "c" ') && line.includes("100% \\# x y")), "no directive by accident")
  const { parse } = await import("yaml")
  const from = text.indexOf("  ---")
  const block = parse(text.slice(from + 1, text.indexOf("  ...")).map((line) => line.slice(2)).join("\n"))
  t.match(block, { seen: nasty.toWellFormed() === nasty ? nasty : block.seen, at: "f.check.yaml:4:5" })
  t.equal(bailOut("the daemon\nwent # away"), "Bail out! the daemon went \\# away")
})

t.test("annotation is one line with the suite's place", async (t) => {
  t.equal(annotation(result({}), "f"), undefined)
  const line = annotation(failed, "a,b:c.yaml")!
  t.match(line, /^::error file=a%2Cb%3Ac\.yaml,line=4,col=5,title=.*::expected: pc reaches db%0Aseen: /)
  t.notMatch(line, /\n/)
  t.match(annotation(results[1]!, "f"), /^::warning /)
})

t.test("codeQuality is what GitLab reads", async (t) => {
  const notes = results.flatMap((one) => noteOf(one, "./dir/f.check.yaml") ?? [])
  const report = JSON.parse(codeQuality([...notes, notes[0]!]))
  t.equal(report.length, 4)
  t.equal(new Set(report.map(({ fingerprint }: any) => fingerprint)).size, 4, "two of the same are two")
  t.same(JSON.parse(codeQuality(notes)), report.slice(0, 3), "the same in every run")
  t.match(report[0], { severity: "major", check_name: "weft", location: { path: "dir/f.check.yaml", lines: { begin: 4 } } })
  t.match(report[1], { severity: "minor", description: "pc reaches db: expected: pc reaches db; seen: timed out" })
  t.equal(codeQuality([]), "[]\n")
  t.equal(githubNote({ level: "error", file: "f", line: 0, title: "t", message: "m\nn" }), "::error file=f,title=t::m%0An")
})

t.test("resultLines and tallyLine are for people", async (t) => {
  t.same(resultLines(result({}), "f", plain), ["✓ pc reaches db (13 ms)"])
  const lines = resultLines(failed, "f.check.yaml", plain)
  t.match(lines.join("\n"), /✗ a <b>[\s\S]*expected pc reaches db[\s\S]*where[\s\S]*at {7}f\.check\.yaml:4:5/)
  t.notMatch(lines.join("\n"), /\u001b/)
  t.equal(tallyLine({ passed: 2, failed: 1, warnings: 1, durationMs: 1500 }, plain), "2 passed, 1 failed, 1 warning in 1.5 s")
})
