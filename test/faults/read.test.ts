/** Orders of faults as files and command lines say them: what is taken, and every error at its place. */
import t from "tap"
import { readFaults } from "../../daemon/faults/read.ts"
import { readWords } from "../../daemon/faults/read-words.ts"
import { Reporter, render } from "../../daemon/topology/diagnostic.ts"
import { readSource } from "../../daemon/topology/source.ts"
import { planOf } from "./every-kind.ts"

const plan = planOf("read")

const file = (text: string, lookUp = true): { readonly value: unknown; readonly errors: ReadonlyArray<string> } => {
  const source = readSource({ filename: "f.yaml", content: text })
  if (!source.ok) throw new Error("not YAML")
  const reporter = new Reporter("f.yaml", source.locate)
  const value = readFaults(source.value, [], reporter, lookUp ? plan : undefined)
  return { value, errors: reporter.diagnostics.map(render) }
}

t.test("files: a plain value stands for the first word, a list injects all at once", async (t) => {
  const down = { kind: "link-down", spec: { link: "fw:wan" } }
  t.strictSame(file("link-down: fw:wan"), { value: [down], errors: [] })
  t.strictSame(file("link-down: { link: fw:wan }\nfor: 30s"), { value: [{ ...down, forMs: 30_000 }], errors: [] })
  t.match(file("- link-down: fw:wan\n- { loss: { link: alt, value: 30% }, for: 500ms }"), {
    value: [down, { kind: "loss", forMs: 500 }], errors: []
  })
  t.strictSame(file("link-down: nowhere", false).errors, [], "without a lab, names are not looked up")
})

t.test("files: all errors at once, with position and suggestion", async (t) => {
  t.strictSame(file("link-down: fw:wam\nfor: 30").errors.toSorted(), [
    'f.yaml:1:12: link-down: the lab has no link "fw:wam" (did you mean "fw:wan"?)',
    'f.yaml:2:6: for: expected a time such as 500ms, 30s or 5m, not the number 30'
  ])
  t.match(file("linkdown: alt").errors, [/^f.yaml:1:1: linkdown: unknown kind of fault; .*did you mean "link-down"/])
  t.match(file("link-down: fw:wan\nfor: 5m").value, [{ forMs: 300_000 }])
  t.match(file("dwn-link: alt").errors, [/^f.yaml:1:1: dwn-link: unknown kind of fault; link-down is near; weft inject --list .*$/])
  t.match(file("bgp: alt").errors, [/unknown kind of fault; bgp-\w+, bgp-\w+ and bgp-\w+ are near;/])
  t.match(file("xyzzy: alt").errors, [/unknown kind of fault; weft inject --list shows all/])
  t.match(file("for: 3s").errors, [/names no kind of fault/])
  t.match(file("link-down: alt\nloss: { link: alt, value: 1% }").errors, [/is a second fault: "link-down" is here already, make it a list/])
  t.match(file("[]").errors, [/the list is empty/])
  t.match(file("link-down: { link: alt, carier: keep }").errors, [/unknown key.*did you mean "carrier"/])
  t.match(file("bgp-reset: fw\nfor: 3s").errors, [/bgp-reset happens once/])
  t.match(file("link-down: alt\nfor: 2000000s").errors, [/at most 24h/])
  t.match(file("link-down:").errors, [/the key "link" is missing/])
})

const words = (line: string, time = "") => {
  const result = readWords({ words: line.split(" "), for: time }, plan)
  return result.ok ? result.fault : result.diagnostics.map(({ column, message, suggestion }) => `${column}: ${message}|${suggestion ?? ""}`)
}

t.test("words: the same faults, whatever their values are in a file", async (t) => {
  t.strictSame(words("link-down fw:wan", "1.5s"), { kind: "link-down", spec: { link: "fw:wan" }, forMs: 1500 })
  t.strictSame(words("link-down link=fw:wan"), words("link-down fw:wan"))
  t.match(words("mtu alt 1200"), { kind: "mtu" }, "a number")
  t.match(words("link-down alt carrier=keep"), { spec: { link: "alt", carrier: "keep" } })
  t.match(words("partition pc,tv rest"), { kind: "partition" }, "words that have a comma, and one that has none")
})

t.test("words: all errors at once, at the word", async (t) => {
  t.strictSame(words("link-down fw:wam", "3"), [
    '11: the lab has no link "fw:wam"|fw:wan',
    '24: "3": expected a time such as 500ms, 30s or 5m|'
  ])
  t.match(words("link-dwn fw:wan"), [/^1: unknown kind of fault "link-dwn".*\|link-down$/])
  t.match(words("blackhole fw nonsense"), [/^14: "nonsense": expected a prefix such as [^"]*\|$/], "the value is quoted once")
  t.match(words("link-down alt more"), [/^15: unexpected word "more": link-down takes /])
  t.match(words("link-down alt carrier=lots"), [/^15: .*"lots"/])
  t.match(words("link-down alt colour=red"), [/^15: unknown key/])
  t.match(words("loss fw:wam 130% direction=sideways"), [/^6: .*no link "fw:wam"/, /^13: "130%"/, /^18: "sideways"/])
  t.match(words("link-down"), [/^1: the key "link" is missing/])
  t.match(words("bgp-reset fw", "3s"), [/happens once/])
  t.match(readWords({ words: [], for: "" }, plan), { ok: false })
  const hostile = ["__proto__=1", "link=", "=", "link.__proto__.x=1", "a.b.c.d=e", "constructor.x=1", "link.x=1", "\u0000",
    "constructor=1", "link=a,b,c"]
  for (const word of hostile) {
    t.match(readWords({ words: ["link-down", word], for: "" }, plan), { ok: false }, word)
  }
  t.equal(({} as Record<string, unknown>)["x"], undefined, "nothing was put where all objects look")
})
