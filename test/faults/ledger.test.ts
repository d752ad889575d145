/** The book of a lab's faults: ids, ends, phases and leases, by a clock that the test sets. */
import t from "tap"
import { catchUp, heal, inject, nextDueMs, phaseAt, unknownIds, withFaults } from "../../daemon/faults/ledger.ts"
import type { Faulted, FaultOrder } from "../../daemon/plan/fault.ts"
import type { Plan } from "../../daemon/plan/resource.ts"
import { planOf } from "./every-kind.ts"

const plan = planOf("ledger")
const t0 = Date.parse("2026-01-01T00:00:00.000Z")
const down = (link: string, more: Partial<FaultOrder> = {}): FaultOrder => ({ kind: "link-down", spec: { link }, by: "test", ...more })
const flap: FaultOrder = { kind: "flap", spec: { link: "alt", "down-for": "300ms", "up-for": "700ms" }, by: "test" }

const injected = (lab: Faulted, ...orders: ReadonlyArray<FaultOrder>): Faulted => {
  const result = inject(lab, orders, t0)
  if (!result.ok) throw new Error(result.diagnostics.map(({ message }) => message).join("; "))
  return result.value.book
}
const never = (): boolean => false

t.test("ids go on, whatever was healed", async (t) => {
  const two = injected({ plan }, down("wan"), down("alt"))
  t.strictSame(two.faults?.map(({ id }) => id), ["f1", "f2"])
  const none = heal(two, () => true).book
  t.strictSame([none.base, none.faults, none.faultCount], [undefined, undefined, 2])
  t.equal(none.plan, plan)
  const third = injected(none, down("wan"))
  t.strictSame(third.faults?.map(({ id }) => id), ["f3"])
  t.strictSame(unknownIds(third, ["f1", "f3", "f4", "f0", "f01", "x"]), ["f4", "f0", "f01", "x"])
})

t.test("orders that the lab cannot follow: all that is wrong with them, and nothing is done", async (t) => {
  const result = inject({ plan }, [down("wan"), down("nowhere"), { kind: "gone", spec: {}, by: "test" }], t0)
  t.match(result, { ok: false, diagnostics: [{ message: /nowhere/ }, { message: /there is no fault "gone"/ }] })
})

t.test("what needs another fault is judged by the faults in force, and healing in any order is exact", async (t) => {
  const of = (kind: string, value: string): FaultOrder => ({ kind, spec: { link: "wan", value }, by: "test" })
  const [late, early] = [of("reorder", "5%"), of("delay", "20ms")]
  const wan = ({ plan: { resources } }: Faulted) => resources.find(({ kind, spec }) => kind === "segment" && spec.name === "wan")
  const alone = inject({ plan }, [late], t0)
  t.match(alone, { ok: false, diagnostics: [{ path: "reorder.value", message: /does nothing on a link without "delay"/ }] })
  t.equal(inject({ plan }, [late, early], t0).ok, false, "in the order of the orders")
  const both = injected({ plan }, early, late)
  t.match(wan(both), { spec: { profiles: { aToB: { delayMs: 20, reorder: 0.05 } } } })
  t.strictSame(injected(injected({ plan }, early), late).plan, both.plan, "one after the other")
  const idle = heal(both, ({ kind }) => kind === "delay").book
  t.match(wan(idle), { spec: { profiles: { aToB: { delayMs: undefined, reorder: 0.05 } } } }, "it stays, and waits")
  t.strictSame(injected(idle, early).faults?.map(({ id }) => id), ["f2", "f3"])
  for (const first of ["delay", "reorder"]) {
    const none = heal(heal(both, ({ kind }) => kind === first).book, () => true).book
    t.equal(none.plan, plan, `${first} first`)
  }
})

t.test("a fault ends at its time, and not before", async (t) => {
  const book = injected({ plan }, down("wan", { forMs: 1000 }), down("alt"))
  t.equal(nextDueMs(book, t0), t0 + 1000)
  t.equal(catchUp(book, t0 + 999, never), undefined)
  const after = catchUp(book, t0 + 1000, never)!
  t.strictSame(after.expired.map(({ fault, reason }) => [fault.id, reason]), [["f1", "its time is up"]])
  t.strictSame(after.book.faults?.map(({ id }) => id), ["f2"])
  t.equal(nextDueMs(after.book, t0 + 1000), Number.POSITIVE_INFINITY)
  t.ok(catchUp(book, t0 + 10 * 86_400_000, never), "also when nobody looked for days")
})

t.test("a lease that is over takes its faults along", async (t) => {
  const book = injected({ plan }, down("wan", { lease: "h1/a.1" }), down("alt", { lease: "h2/b.1" }))
  const after = catchUp(book, t0, (lease) => lease.startsWith("h1/"))!
  t.strictSame(after.expired.map(({ fault }) => fault.id), ["f1"])
  t.strictSame(after.book.faults?.map(({ id }) => id), ["f2"])
})

t.test("phases follow from the time since the fault began, not from how often somebody looked", async (t) => {
  const book = injected({ plan }, flap)
  const [fault] = book.faults!
  const at = (ms: number) => phaseAt(fault!, t0 + ms)
  t.strictSame([at(0), at(299), at(300), at(999), at(1000)].map(({ phase }) => phase), [0, 0, 1, 1, 0])
  t.strictSame([at(0).nextMs, at(300).nextMs, at(5_000_000_150).nextMs], [t0 + 300, t0 + 1000, t0 + 5_000_000_300])
  t.equal(phaseAt(fault!, t0 - 5000).phase, 0, "a clock that was set back")
  const up = catchUp(book, t0 + 350, never)!
  t.strictSame(up.book.faults?.map(({ phase }) => phase), [1])
  t.strictSame(up.expired, [])
  t.notSame(up.book.plan, book.plan)
  t.equal(catchUp(up.book, t0 + 999, never), undefined)
  t.strictSame(catchUp(up.book, t0 + 1000, never)!.book.plan, book.plan)
})

t.test("another version of the lab: what it has no target for goes, with the reason", async (t) => {
  const book = injected({ plan }, down("wan"), down("alt"))
  const smaller: Plan = { ...plan, resources: plan.resources.filter(({ id }) => id !== "segment/link/alt") }
  const { faults, lost } = withFaults(smaller, book.faults!, book.faultCount)
  t.strictSame(faults?.map(({ id }) => id), ["f1"])
  t.match(lost, [{ fault: { id: "f2" }, reason: /alt/ }])
})

t.test("on the way in, a crash goes through a plan of its own", async (t) => {
  const result = inject({ plan }, [{ kind: "node-crash", spec: { node: "srv" }, by: "test" }], t0)
  if (!result.ok) return t.fail(result.diagnostics.map(({ message }) => message).join("; "))
  t.ok(result.value.before)
  t.notSame(result.value.before, result.value.book.plan)
})
