/** What is remembered of a node's namespace must not be believed of the next one, which may get the same inode. */
import t from "tap"
import * as Netns from "../../daemon/linux/netns.ts"
import { id } from "../../daemon/plan/resource.ts"
import { emptyLab } from "../resources/lab.ts"
import { needsRoot } from "./harness.ts"

t.test("Lab.adopt forgets what ran in an earlier namespace of the node", { skip: needsRoot }, async (t) => {
  const record = { kind: "exec", argv: ["true"], inode: 1 } as const
  const records = new Map(["pc", "pc-2"].map((node) => [id.exec(node, 0), record]))
  const lab = emptyLab(t.testdir(), [], records)
  const name = Netns.nodeName(lab.name, "pc")
  Netns.prepare()
  t.teardown(() => {
    lab.close()
    Netns.remove(name)
  })
  Netns.create(name, "unit-test")
  lab.adopt("pc")
  t.strictSame([...lab.records.keys()], [id.exec("pc-2", 0)])
})
