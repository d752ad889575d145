/** The topologies of docs/topology.md are topologies. */
import { readFileSync } from "node:fs"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { limits } from "../../daemon/topology/source.ts"

const text = readFileSync(new URL("../../docs/topology.md", import.meta.url), "utf8")

t.test("examples in docs/topology.md load without complaint", async (t) => {
  const examples = [...text.matchAll(/^```yaml\n([^]*?)^```$/gm)].map((match) => match[1]!)
  t.equal(examples.length, 5)
  for (const content of examples) {
    const result = load({ filename: "docs/topology.md", content })
    t.same(result.ok ? result.warnings.map(render) : result.diagnostics.map(render), [])
  }
})

t.test("docs/topology.md states the limits", async (t) => {
  t.match(text, new RegExp(`${limits.size / 1024 / 1024} MiB, ${limits.tokens.toLocaleString("en")} YAML tokens`))
  t.match(text, new RegExp(`${limits.depth} levels`))
  t.match(text, new RegExp(`aliases may add ${limits.aliasExpansion.toLocaleString("en")} values`))
})
