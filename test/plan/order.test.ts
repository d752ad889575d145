import t from "tap"
import { kindOrder, rank } from "../../daemon/plan/order.ts"
import { handlers } from "../../daemon/resources/table.ts"
import { plans } from "./plans.ts"

t.test("kindOrder has every kind that has a handler, once", async (t) => {
  t.strictSame([...kindOrder].sort(), Object.keys(handlers).sort())
})

for (const [file, plan] of plans) {
  t.test(`everything in ${file} is made after what it depends on`, async (t) => {
    const byId = new Map(plan.resources.map((resource) => [resource.id, resource]))
    const wrong = plan.resources.flatMap((resource) =>
      resource.dependsOn.flatMap((id) => {
        const other = byId.get(id)
        if (other === undefined) return [`${resource.id} needs ${id}, which is not there`]
        const before = resource.kind === "exec" && other.kind === "exec" ? other.spec.index < resource.spec.index : false
        return rank(other.kind) < rank(resource.kind) || before ? [] : [`${resource.id} needs ${id}, which is not made before it`]
      })
    )
    t.strictSame(wrong, [])
  })
}
