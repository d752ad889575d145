import t from "tap"
import type { StepOf } from "../../daemon/plan/diff.ts"
import { id } from "../../daemon/plan/resource.ts"
import { handler } from "../../daemon/resources/exec.ts"
import { emptyLab } from "./lab.ts"

const step = (node: string, index: number): StepOf<"exec"> => ({
  action: "create",
  id: id.exec(node, index),
  kind: "exec",
  node,
  after: { kind: "exec", id: id.exec(node, index), spec: { node, index, argv: ["true"] }, dependsOn: [] },
  attributes: [],
  reason: "",
  implied: false
})

t.test("a command that fails takes those after it in its node along, and no others", async (t) => {
  const lab = emptyLab(t.testdir(), [])
  const failures = await handler.converge(lab, [step("a", 0), step("b", 0), step("a", 1), step("a", 2)])
  const why = new Map(failures.map(({ error, id: one }) => [one, error.code === "blocked" ? error.detail : "failed"]))
  t.strictSame([...why].sort(), [
    ["exec/a/0", "failed"],
    ["exec/a/1", "it needs exec/a/0, which failed"],
    ["exec/a/2", "it needs exec/a/0, which failed"],
    ["exec/b/0", "failed"]
  ])
  t.equal(lab.records.size, 0, "nothing counts as having run")
})
