/**
 * Plans of the examples and of one topology that uses everything, as a person reviewed them. A change of the compiler
 * shows here as a change of lines: the id, the spec, and after `<-` what must exist first.
 */
import { readdirSync, readFileSync } from "node:fs"
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { rank } from "../../daemon/plan/order.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { matchesGolden } from "../topology/golden.ts"

const goldens = new URL("golden/", import.meta.url)
const examples = new URL("../../topologies/", import.meta.url)

/** Positions only where they are the subject: in the examples a new comment would move all of them. */
const print = (plan: Plan, warnings: ReadonlyArray<string>, positions: boolean): string => [
  `lab ${plan.lab}`,
  ...warnings.map((warning) => `warning ${warning}`),
  ...plan.nodes.map((node) => `node ${JSON.stringify(node)}`),
  ...plan.segments.map((segment) => `segment ${JSON.stringify(segment)}`),
  "",
  ...plan.resources.map(({ id, spec, dependsOn, source }) =>
    `${id} ${JSON.stringify(spec)} <- ${dependsOn.join(" ")}${positions ? ` @${source?.line}:${source?.column}` : ""}`
  ),
  ""
].join("\n")

for (const folder of [goldens, examples]) {
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".weft.yaml"))) {
    t.test(`load compiles ${file}`, async (t) => {
      const content = readFileSync(new URL(file, folder))
      const result = load({ filename: file, content })
      if (!result.ok) return t.fail(result.diagnostics.map(render).join("\n"))
      const text = print(result.plan, result.warnings.map(render), folder === goldens)
      matchesGolden(t, new URL(file.replace(/weft\.yaml$/, "txt"), goldens), text)

      const position = new Map(result.plan.resources.map((resource, index) => [resource.id, index]))
      t.equal(position.size, result.plan.resources.length, "ids are unique")
      for (const [index, { id, kind, dependsOn }] of result.plan.resources.entries()) {
        for (const other of dependsOn) {
          const below = result.plan.resources[position.get(other) ?? -1]?.kind
          if (below === undefined || (kind !== "exec" && rank(below) >= rank(kind))) t.fail(`${id} cannot depend on ${other}`)
          if (!((position.get(other) ?? Infinity) < index)) t.fail(`${id} depends on ${other}, which does not come before it`)
        }
      }
      const again = load({ filename: file, content })
      t.same(again, result, "the same file yields the same plan")
    })
  }
}

t.test("examples name their schema", async (t) => {
  for (const file of readdirSync(examples).filter((name) => name.endsWith(".weft.yaml"))) {
    const [first] = readFileSync(new URL(file, examples), "utf8").split("\n")
    t.equal(first, "# yaml-language-server: $schema=./weft.schema.json", file)
  }
})
