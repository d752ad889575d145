/** The clock of a speaker that is paused: no timer fires, and afterwards each has as long to go as before. */
import t from "tap"
import { PausableClock } from "../../daemon/bgp/session/pausable-clock.ts"
import { until } from "../root/harness.ts"

t.test("PausableClock stands still, and its timers with it", async (t) => {
  const clock = new PausableClock()
  const fired: string[] = []
  clock.setTimeout(() => fired.push("soon"), 20)
  const cleared = clock.setTimeout(() => fired.push("cleared"), 20)
  clock.pause()
  const stood = clock.now()
  clock.setTimeout(() => fired.push("later"), 1)
  clock.clearTimeout(cleared)
  const began = performance.now()
  await until("it would have fired", () => performance.now() - began > 60)
  t.strictSame(fired, [])
  t.equal(clock.now(), stood)
  const before = performance.now()
  clock.resume()
  const made = clock.now() - stood
  t.ok(made <= performance.now() - before + 1, "what was lost is not made up for")
  await until("they fire", () => fired.length === 2)
  t.strictSame(fired, ["later", "soon"])
})

t.test("PausableClock pauses and resumes once", async (t) => {
  const clock = new PausableClock()
  clock.resume()
  clock.pause()
  clock.pause()
  const at = clock.now()
  clock.resume()
  clock.resume()
  t.ok(clock.now() >= at)
})
