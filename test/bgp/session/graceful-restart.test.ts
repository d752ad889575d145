/** What stays of a neighbour that goes away and comes back: RFC 4724, RFC 8538, RFC 9494. */
import t from "tap"
import { Deferral, type Ending, initial, retainable, type State, transition } from "../../../daemon/bgp/session/graceful-restart.ts"
import type { Capability } from "../../../daemon/wire/bgp/capabilities.ts"
import { Family } from "../../../daemon/wire/bgp/iana.ts"
import type { Open } from "../../../daemon/wire/bgp/open.ts"

const { ipv4Unicast: v4, ipv6Unicast: v6 } = Family
const restart = (families: ReadonlyArray<number>, more: object = {}): Capability => ({
  kind: "gracefulRestart", restarting: false, notification: true, restartTimeS: 120,
  families: families.map((family) => ({ family, forwardingPreserved: true })), ...more
} as Capability)
const longLived = (family: number, staleTimeS: number, forwardingPreserved = true): Capability => ({
  kind: "longLivedGracefulRestart", families: [{ family, forwardingPreserved, staleTimeS }]
})
const open = (...capabilities: ReadonlyArray<Capability>): Open => ({ asn: 1, holdTimeS: 90, bgpIdentifier: 1, capabilities })
const lost: Ending = { _tag: "ConnectionLost" }
const notified = (code: number, subcode = 0): Ending => ({ _tag: "Notification", code, subcode })

const texts = (actions: ReadonlyArray<object>): ReadonlyArray<string> =>
  actions.map((action) => Object.values(action).join(" "))
const run = (state: State, ...events: ReadonlyArray<Parameters<typeof transition>[1]>): readonly [State, ReadonlyArray<string>] => {
  const all: string[] = []
  for (const event of events) {
    const [next, actions] = transition(state, event)
    state = next
    all.push(...texts(actions))
  }
  return [state, all]
}

t.test("retainable", (t) => {
  const both = [open(restart([v4, v6])), open(restart([v4]))] as const
  t.strictSame(retainable(...both, lost)?.families, [v4])
  t.strictSame(retainable(...both, notified(4))?.families, [v4], "the hold timer, with RFC 8538")
  t.equal(retainable(...both, notified(6, 9)), undefined, "a hard reset ends it")
  t.equal(retainable(open(restart([v4])), open(restart([v4], { notification: false })), notified(4)), undefined, "without RFC 8538")
  t.ok(retainable(open(restart([v4])), open(restart([v4], { notification: false })), lost))
  t.equal(retainable(open(), open(restart([v4])), lost), undefined, "we did not offer it")
  t.equal(retainable(open(restart([v4])), open(restart([])), lost), undefined, "the peer keeps nothing")
  t.end()
})

const retained = retainable(open(restart([v4, v6]), longLived(v4, 1)), open(restart([v4, v6]), longLived(v4, 3600)), lost)

t.test("transition: the peer comes back and renews", (t) => {
  const [state, actions] = run(
    initial, { _tag: "Down", retained }, { _tag: "EndOfRib", family: v4 }, { _tag: "Up", peerOpen: open(restart([v4, v6])) },
    { _tag: "EndOfRib", family: v4 }, { _tag: "EndOfRib", family: v6 }
  )
  t.strictSame(actions, [
    "StopTimers", "StartRestartTimer 120", "StopTimers", "StartStaleTimer 360", `Flush ${v4}`, `Flush ${v6}`, "StopTimers"
  ])
  t.equal(state.waiting.size, 0)
  t.end()
})

t.test("transition: what the new OPEN does not confirm goes at once", (t) => {
  const forgotten = restart([v4], { families: [{ family: v4, forwardingPreserved: false }] })
  t.strictSame(run(initial, { _tag: "Down", retained }, { _tag: "Up", peerOpen: open(forgotten) })[1].slice(2), [
    "StopTimers", `Flush ${v4}`, `Flush ${v6}`
  ])
  t.strictSame(run(initial, { _tag: "Down", retained }, { _tag: "Up", peerOpen: open() })[1].slice(2), [
    "StopTimers", `Flush ${v4}`, `Flush ${v6}`
  ])
  t.end()
})

t.test("transition: the peer does not come back", (t) => {
  const [state, actions] = run(initial, { _tag: "Down", retained }, { _tag: "RestartTimerExpires" })
  t.strictSame(actions.slice(2), [`LongLived ${v4}`, `StartLongLivedTimer ${v4} 3600`, `Flush ${v6}`])
  t.strictSame([...state.waiting], [[v4, "longLived"]])
  t.strictSame(run(state, { _tag: "LongLivedTimerExpires", family: v4 })[1], [`Flush ${v4}`, "StopTimers"])
  t.strictSame(run(state, { _tag: "Up", peerOpen: open(restart([v4]), longLived(v4, 60, false)) })[1], ["StopTimers", `Flush ${v4}`])
  t.strictSame(run(state, { _tag: "Up", peerOpen: open(longLived(v4, 60)) })[1], ["StopTimers", "StartStaleTimer 360"])
  t.end()
})

t.test("transition: a second end before the renewal drops what was stale before", (t) => {
  const down = { _tag: "Down", retained } as const
  const up = { _tag: "Up", peerOpen: open(restart([v4, v6])) } as const
  const [, actions] = run(initial, down, up, down)
  t.strictSame(actions.slice(4), ["StopTimers", `Flush ${v4}`, `Flush ${v6}`, "StartRestartTimer 120"])
  const [state, ended] = run(initial, down, up, { _tag: "StaleTimerExpires" })
  t.strictSame(ended.slice(4), [`Flush ${v4}`, `Flush ${v6}`])
  t.equal(state.waiting.size, 0)
  t.strictSame(run(state, { _tag: "Down", retained: undefined })[1], ["StopTimers"])
  t.end()
})

t.test("Deferral waits for each End-of-RIB that will come", (t) => {
  const deferral = new Deferral([["a", [v4, v6]], ["b", [v4]], ["c", [v4]], ["d", [v4]]])
  t.notOk(deferral.isDone(v4))
  deferral.established("a", new Set([v4]), open(restart([v4])))
  t.ok(deferral.isDone(v6), "not negotiated")
  deferral.established("b", new Set([v4]), open())
  deferral.established("c", new Set([v4]), open(restart([v4], { restarting: true })))
  deferral.forget("d")
  t.notOk(deferral.isDone(v4))
  deferral.endOfRib("a", v4)
  t.ok(deferral.isDone(v4))
  const impatient = new Deferral([["a", [v4]]])
  impatient.giveUp()
  t.ok(impatient.isDone(v4))
  t.end()
})
