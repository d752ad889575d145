import t from "tap"
import { histogramLength, percentiles } from "../../daemon/probes/latency.ts"

t.test("percentiles of nothing are 0", async (t) => t.same(percentiles(new Uint32Array(histogramLength), [0.5, 0.99]), [0, 0]))

t.test("percentiles are the upper edge of the step that holds them", async (t) => {
  const histogram = new Uint32Array(histogramLength)
  // 32 steps for each doubling from 1 us on: step 32 begins at 2 us, step 320 at 1024 us.
  histogram[32] = 98
  histogram[320] = 2
  const [p50, p98, p99, p100] = percentiles(histogram, [0.5, 0.98, 0.99, 1])
  t.ok(p50! > 0.002 && p50! < 0.002 * 1.03)
  t.equal(p98, p50)
  t.ok(p99! > 1.024 && p99! < 1.024 * 1.03)
  t.equal(p100, p99)
})
