/** The gauge of an event loop's turns: work counts, waiting does not. */
import { setTimeout as sleep } from "node:timers/promises"
import t from "tap"
import { addon } from "../../daemon/native/index.ts"

t.test("loopGauge keeps the longest turn and leaves out what was waited", async (t) => {
  const numbers = new Float64Array(2)
  addon.loopGauge(numbers)
  await sleep(1)
  const began = performance.now()
  while (performance.now() - began < 40);
  await sleep(1)
  t.ok(numbers[0]! >= 40, `a turn of 40 ms was seen: ${numbers[0]} ms`)
  numbers.fill(0)
  const waited = performance.now()
  await sleep(500)
  await sleep(1)
  t.ok(numbers[1]! < performance.now() - waited - 100, `500 ms of waiting are no work: ${numbers[1]} ms`)
})
