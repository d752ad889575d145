import t from "tap"
import type { Step } from "../../daemon/plan/diff.ts"
import { handOver } from "../../daemon/plan/handover.ts"

const steps = (...words: ReadonlyArray<string>): ReadonlyArray<Step> =>
  words.map((word) => {
    const [action, kind] = word.split(" ")
    return { action, kind, id: word, node: "r", attributes: [], reason: "", implied: false } as unknown as Step
  })

type Split = readonly [now: ReadonlyArray<string>, later: ReadonlyArray<string>]

const split = (...words: ReadonlyArray<string>): Split => {
  const { later, now } = handOver(steps(...words), { isPart: false })
  return [now.map(({ id }) => id), later.map(({ id }) => id)]
}

t.test("handOver removes last where a speaker starts or changes", (t) => {
  const all = split("create port", "create bgp", "remove route", "remove port")
  t.strictSame(all, [["create port", "create bgp"], ["remove route", "remove port"]])
  t.strictSame(split("update bgp", "remove route"), [["update bgp"], ["remove route"]])
  t.end()
})

t.test("handOver changes nothing where none does", (t) => {
  t.strictSame(split("create route", "remove bgp", "remove route"), [["create route", "remove bgp", "remove route"], []])
  t.strictSame(split("update route", "remove port"), [["update route", "remove port"], []])
  t.end()
})

t.test("handOver does not keep nodes that may be on another host by now", (t) => {
  const [bgp, route, ...gone] = steps("update bgp", "remove route", "remove node", "remove port", "remove bgp")
  const moved = gone.map((step) => ({ ...step, node: "moved" }))
  const all = [bgp!, route!, ...moved]
  t.strictSame(handOver(all, { isPart: true }), { now: [bgp, ...moved], later: [route] })
  t.strictSame(handOver(all, { isPart: false }), { now: [bgp], later: [route, ...moved] })
  t.end()
})
