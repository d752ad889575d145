/** Every kind of fault: it says what it is, takes its words and its file form alike, and is a pure change of the plan. */
import t from "tap"
import { applyFaults } from "../../daemon/faults/apply.ts"
import type { FaultKind } from "../../daemon/faults/kind.ts"
import { heal, inject, touchedBy, withFaults } from "../../daemon/faults/ledger.ts"
import { kindNames, kindOf } from "../../daemon/faults/kinds.ts"
import { happensOnce, type ReadFault, readFault } from "../../daemon/faults/read.ts"
import { readWords } from "../../daemon/faults/read-words.ts"
import type { Fault } from "../../daemon/plan/fault.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { Reporter } from "../../daemon/topology/diagnostic.ts"
import { files, orders, planOf } from "./every-kind.ts"

const local = planOf("kinds")
/** As a fleet has it. */
const plan: Plan = { ...local, nodes: local.nodes.map((node) => ({ ...node, host: node.name === "srv" ? "h2" : "h1" })) }

const orderOf = (kind: string): ReadFault => {
  const result = readWords({ words: (orders[kind] ?? kind).split(" "), for: "", files }, plan)
  if (result.ok) return result.fault
  throw new Error(`${kind}: ${result.diagnostics.map(({ message, path }) => `${path}: ${message}`).join("; ")}`)
}

const faultOf = (kind: string, id = "f1"): Fault => {
  const result = inject({ plan }, [{ ...orderOf(kind), by: "test" }], Date.parse("2026-01-01T00:00:00Z"))
  if (!result.ok) throw new Error(result.diagnostics.map(({ message }) => message).join("; "))
  return { ...result.value.faults[0]!, id }
}

t.strictSame(Object.keys(orders).toSorted(), [...kindNames].toSorted(), "each kind has an order in every-kind.ts")

for (const name of kindNames) {
  t.test(name, async (t) => {
    const kind = kindOf(name)! as FaultKind<unknown>
    t.match(kind.summary, /^\S.{10,}[^.]$/, "a summary without a full stop")
    t.ok(kind.apply !== undefined || kind.act !== undefined, "it does something")
    for (const word of kind.words.slice(0, -1)) t.notOk(word.endsWith("..."), "only its last word takes all that are left")
    const order = orderOf(name)
    t.strictSame(JSON.parse(JSON.stringify(order.spec)), order.spec, "its spec is plain JSON")
    const reporter = new Reporter("f.yaml", () => ({ line: 1, column: 1 }))
    t.strictSame(readFault({ [name]: order.spec }, [], reporter, plan), order, "a file says the same as words")
    t.strictSame(reporter.diagnostics, [])
    const fault = faultOf(name)
    t.notMatch(fault.title, /undefined|\n/)
    t.ok(fault.title.length > 0 && fault.title.length < 200)
    if (happensOnce(name)) return
    const frozen = JSON.stringify(plan)
    const after = applyFaults(plan, [fault]).plan
    t.equal(JSON.stringify(plan), frozen, "the base plan is as it was")
    t.notSame(after, plan, "the plan is another")
    t.strictSame(applyFaults(plan, [fault]).plan, after, "the same fault makes the same plan")
    t.equal(after.nodes, plan.nodes, "who is in the lab stays")
    t.equal(after.segments, plan.segments)
    const { nodes, segments } = touchedBy(plan, fault)
    t.ok(nodes.length + segments.length > 0, "it can be marked where it is")
    t.ok(nodes.length < plan.nodes.length, "it marks only what it changes")
    const ids = new Set(after.resources.map(({ id }) => id))
    t.equal(ids.size, after.resources.length, "ids stay unique")
    const lacking = after.resources.flatMap(({ dependsOn, id }) =>
      dependsOn.flatMap((other) => (ids.has(other) ? [] : [`${id} needs ${other}`])))
    t.strictSame(lacking, [], "what needs something else has it")
  })
}

t.test("faults overlap in any order, and healing leaves exactly what was there", async (t) => {
  const staying = kindNames.filter((name) => !happensOnce(name))
  for (const first of staying) {
    for (const second of staying) {
      const both = [faultOf(first, "f1"), faultOf(second, "f2")]
      const overlapped = withFaults(plan, both)
      t.strictSame(overlapped.lost, [])
      const left = heal(heal(overlapped, ({ id }) => id === "f1").book, ({ id }) => id === "f2").book
      if (left.plan !== plan) t.fail(`${first} and ${second}: the base plan comes back`)
      if (heal(overlapped, ({ id }) => id === "f1").book.faults?.length !== 1) t.fail(`${first}, ${second}: one stays`)
    }
  }
  t.pass(`${staying.length ** 2} pairs`)
})
