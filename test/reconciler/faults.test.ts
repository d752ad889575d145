/** The control of faults over books in memory: its clock, its leases, and a lab that holds up no other. */
import t from "tap"
import type { Faulted } from "../../daemon/plan/fault.ts"
import { EventLog } from "../../daemon/observe/events.ts"
import { type FaultedLabs, Faults } from "../../daemon/reconciler/faults.ts"
import { planOf } from "../faults/every-kind.ts"
import { until } from "../root/harness.ts"

const open = () => {
  const books = new Map<string, Faulted>([["a", { plan: planOf("a") }], ["b", { plan: planOf("b") }]])
  let stuck = ""
  const labs: FaultedLabs = {
    books: async () => [...books].map(([lab, book]) => ({ lab, book })),
    resolve: async (lab) => lab,
    alter: async (lab, change) => {
      await until(`${lab} can be changed`, () => stuck !== lab)
      const alteration = change(books.get(lab)!)
      if (alteration === undefined) return undefined
      books.set(lab, alteration.book)
      return { changed: 1, failures: [], rolledBack: false }
    },
    patienceMs: () => 0,
    isHostLost: () => true
  }
  const faults = new Faults({ host: "h1", labs, events: new EventLog(), perform: async () => "done" })
  return { books, faults, hold: (lab: string) => (stuck = lab) }
}
const down = { kind: "link-down", spec: { link: "alt" }, by: "test" }

t.test("a fault ends at its time, though another lab cannot be changed", async (t) => {
  const { faults, hold } = open()
  t.teardown(() => faults.close())
  await faults.inject("a", [{ ...down, forMs: 50 }])
  hold("a")
  await faults.inject("b", [{ ...down, forMs: 100 }])
  await until("b is healed", async () => (await faults.faults("b")).length === 0)
  t.equal((await faults.faults("a")).length, 1)
  hold("")
  await until("a is healed", async () => (await faults.faults("a")).length === 0)
})

t.test("the end of a lease heals what bears it, and a restart ends all leases", async (t) => {
  const { books, faults } = open()
  t.teardown(() => faults.close())
  const [first, second] = [faults.lease(), faults.lease()]
  await faults.inject("a", [{ ...down, lease: first.id }, { kind: "mtu", spec: { link: "wan", octets: 1200 }, by: "test" }])
  await faults.inject("b", [{ ...down, lease: second.id }])
  await first.end()
  t.strictSame((await faults.faults("a")).map(({ kind }) => kind), ["mtu"])
  t.equal((await faults.faults("b")).length, 1)
  const again = open()
  t.teardown(() => again.faults.close())
  for (const [lab, book] of books) again.books.set(lab, book)
  await again.faults.start()
  t.strictSame([(await again.faults.faults("a")).length, (await again.faults.faults("b")).length], [1, 0])
})

t.test("what was never injected cannot be healed; what was healed can, again", async (t) => {
  const { faults } = open()
  t.teardown(() => faults.close())
  await faults.inject("a", [down])
  await t.rejects(faults.heal("a", { ids: ["f7"] }), { code: "not-found", message: /in force: f1 \(/ })
  t.equal((await faults.heal("a", { ids: ["f1"] })).faults.length, 1)
  t.equal((await faults.heal("a", { ids: ["f1"] })).faults.length, 0)
})
