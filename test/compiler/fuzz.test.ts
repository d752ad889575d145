/** Whatever a file contains, `load` answers: mutated examples never throw and every complaint has a position. */
import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"

const files = (...folders: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders.map((path) => new URL(path, import.meta.url)).flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".yaml") && !name.startsWith("spine"))
      .map((name) => readFileSync(new URL(name, folder), "latin1"))
  )

const good = files("../../topologies/", "golden/")
const bad = files("../topology/bad/")

/** Marsaglia's xorshift32: the same seed fails the same way. */
const randomFrom = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const morsels = [
  "", " ", "\n", "\t", ":", "-", "[", "]", "{", "}", "\"", "'", "&a ", "*a", "<<: *a", "? ", "!x ", "---\n", "...\n", "#", "null", "~",
  "\u0000", "\ufffd", "|\n", ">\n", "%", "0", "-1", "1e400", ".inf", "10.0.0.0/8", "::/0", "0.0.0.0/0", "default", "none", "lo",
  "__proto__", "constructor"
]

const mutate = (text: string, random: (below: number) => number): string => {
  let result = text
  for (let edits = 1 + random(3); edits > 0; edits--) {
    const at = random(result.length + 1)
    const length = random(6)
    const from = random(result.length + 1)
    const copied = result.slice(from, from + random(30))
    const piece = random(2) === 0 ? morsels[random(morsels.length)]! : copied
    result = result.slice(0, at) + piece + result.slice(at + length)
  }
  return result
}

t.test("load never throws", async (t) => {
  const cases = Number(process.env["FUZZ_CASES"] ?? 500)
  const accepted = { count: 0 }
  for (let seed = 1; seed <= cases; seed++) {
    const random = randomFrom(seed * 2654435761)
    const corpus = random(4) === 0 ? bad : good
    const content = mutate(corpus[random(corpus.length)]!, random)
    try {
      const result = load({ filename: "f", content: random(2) === 0 ? content : Buffer.from(content, "latin1") })
      if (result.ok) accepted.count++
      else if (result.diagnostics.length === 0) t.fail(`seed ${seed}: refused without a reason`)
      else if (!result.diagnostics.every((d) => d.line >= 1 && d.column >= 1)) t.fail(`seed ${seed}: a complaint without a position`)
    } catch (error) {
      t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`, { content })
    }
  }
  t.ok(accepted.count > cases / 50, `${accepted.count} of ${cases} mutants are still valid topologies`)
})
