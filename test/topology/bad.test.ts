/**
 * Wrong topologies: each file of `bad/` is refused with exactly the messages beside it, quickly, and without throwing.
 * A person reviews the messages: would you know what to do?
 */
import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { matchesGolden } from "./golden.ts"

const folder = new URL("bad/", import.meta.url)
const deadlineMs = 8000

const refusal = (filename: string, content: string | Uint8Array): { readonly text: string; readonly ms: number } => {
  // Time of this process alone: what else the machine does must not fail a topology.
  const start = process.cpuUsage()
  const result = load({ filename, content })
  const { user, system } = process.cpuUsage(start)
  const ms = (user + system) / 1000
  return { text: result.ok ? "accepted" : result.diagnostics.map((d) => `${render(d)}\n`).join(""), ms }
}

for (const file of readdirSync(folder).filter((name) => name.endsWith(".yaml"))) {
  t.test(`load refuses ${file}`, async (t) => {
    const { text, ms } = refusal(file, readFileSync(new URL(file, folder)))
    matchesGolden(t, new URL(file.replace(/yaml$/, "txt"), folder), text)
    t.match(text, /^\S+:\d+:\d+: /, "begins with a position")
    t.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/, "cannot write to a terminal")
    t.ok(ms < deadlineMs, `took ${ms.toFixed()} ms`)
  })
}

const repeat = (text: string, octets: number): string => text.repeat(Math.ceil(octets / text.length))
const mebibyte = 1024 * 1024

/** Too large to keep as files. The message is a pattern, the position exact. */
const generated: ReadonlyArray<readonly [name: string, content: () => string | Uint8Array, message: RegExp]> = [
  ["10 MB", () => repeat("# padding\n", 10 * mebibyte), /^f:1:1: the file has \d+ octets, at most 4194304 are read/],
  ["4 MB of keys", () => `nodes:\n${repeat("  k: v\n", 4 * mebibyte - 100)}`, /more than 300000 tokens/],
  ["4 MB of distinct keys", () => Array.from({ length: 300_000 }, (_, i) => `k${i}: v`).join("\n"), /tokens/],
  ["4 MB in one list", () => `a: [${repeat("1,", 4 * mebibyte - 100)}]`, /tokens/],
  ["a million brackets", () => `a: ${"[".repeat(1_000_000)}`, /^f:1:\d+: maps and lists are nested more than 32 deep/],
  ["a million dashes", () => "- ".repeat(1_000_000), /nested/],
  ["a million question marks", () => "? ".repeat(1_000_000), /nested/],
  ["a million braces in error", () => "}\n".repeat(1_000_000), /tokens|not valid YAML/],
  ["100,000 errors of syntax", () => "a: }\n".repeat(100_000), /not valid YAML|tokens/],
  ["a key of 1 MB", () => `${"x".repeat(mebibyte)}: 1\nname: lab\nnodes: {}\n`, /^f:1:1: .*unknown key|not valid YAML/],
  ["a name of 1 MB", () => `name: ${"x".repeat(mebibyte)}\nnodes: {}\n`, /^f:1:7: name: "x{64}…": the name has 1048576 octets/],
  ["20,000 unknown nodes", () => `name: lab\nnodes: {}\nnetworks:\n  lan: { ports: [${"nobody, ".repeat(20_000)}] }`, /no node "nobody"/],
  ["10,000 nodes of no kind", () => `name: lab\nnodes:\n${Array.from({ length: 10_000 }, (_, i) => `  n${i}: {}`).join("\n")}`, /no kind/],
  ["a 10,000-node name mix-up", () => {
    const nodes = Array.from({ length: 5000 }, (_, i) => `  node-${i}: { kind: host }`).join("\n")
    const ports = Array.from({ length: 5000 }, (_, i) => `nude-${i}`).join(", ")
    return `name: lab\nnodes:\n${nodes}\nnetworks:\n  lan: { ports: [${ports}] }`
  }, /no node "nude-0" \(did you mean "node-0"\?\)/],
  ["a NUL", () => "name: lab\u0000\nnodes: {}\n", /^f:1:7: name: "lab\\u0000"|^f:\d/],
  ["UTF-16", () => Buffer.from("\ufeffname: lab\n", "utf16le"), /^f:1:1: the file is not UTF-8/],
  ["octets that are no text", () => Uint8Array.from({ length: 4096 }, (_, i) => (i * 167) & 255), /^f:\d+:1: the file is not UTF-8/]
]

for (const [name, content, message] of generated) {
  t.test(`load refuses ${name}`, async (t) => {
    const { text, ms } = refusal("f", content())
    t.match(text, message)
    t.ok(text.length < 200_000, `${text.length} characters are readable`)
    t.ok(ms < deadlineMs, `took ${ms.toFixed()} ms`)
  })
}
