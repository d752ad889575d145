/** The models of a link by their statistics, with fixed seeds: a failure is a change of the model, not bad luck. */

import t from "tap"
import { Codel } from "../../daemon/datapath/codel.ts"
import { JitterModel } from "../../daemon/datapath/jitter.ts"
import { LossModel } from "../../daemon/datapath/loss.ts"
import type { Jitter, Loss } from "../../daemon/datapath/profile.ts"
import { Random } from "../../daemon/wire/random.ts"
import { Red } from "../../daemon/datapath/red.ts"

const packets = 1_000_000
/** Of the normal distribution: 99 % lie within so many standard deviations. */
const z99 = 2.5758

const share = (count: number, draw: () => boolean): number => {
  let hits = 0
  for (let i = 0; i < count; i++) if (draw()) hits++
  return hits / count
}

t.test("Random is uniform in each bit, repeats with its seed, and differs with the name of the stream", async (t) => {
  const random = new Random(1, "a")
  const ones = new Array<number>(32).fill(0)
  for (let i = 0; i < 100_000; i++) {
    const word = random.next()
    for (let bit = 0; bit < 32; bit++) ones[bit]! += (word >>> bit) & 1
  }
  for (const [bit, count] of ones.entries()) t.ok(Math.abs(count - 50_000) < 4 * Math.sqrt(25_000), `bit ${bit}: ${count}`)
  const first = (seed: number, stream: string) => {
    const of = new Random(seed, stream)
    return [of.next(), of.next(), of.next()]
  }
  t.strictSame(first(7, "x"), first(7, "x"))
  t.notSame(first(7, "x"), first(7, "y"))
  t.notSame(first(7, "x"), first(8, "x"))
  t.notSame(first(7, "x"), first(7 + 2 ** 32, "x"), "seeds beyond 32 bits count")
  const unit = new Random(3, "unit")
  t.ok(share(100_000, () => unit.unit() < 1) === 1 && share(100_000, () => unit.positiveUnit() > 0) === 1)
})

t.test("LossModel loses a random share inside the 99 % binomial interval over 10^6 packets", async (t) => {
  for (const probability of [0.0001, 0.001, 0.01, 0.05, 0.2]) {
    const model = new LossModel(11, "aToB")
    model.configure({ kind: "random", probability })
    const lost = share(packets, () => model.drops(-1))
    const margin = z99 * Math.sqrt((probability * (1 - probability)) / packets)
    t.ok(Math.abs(lost - probability) <= margin, `${probability}: ${lost} within ${margin}`)
  }
})

t.test("LossModel loses in bursts as Gilbert and Elliott's model does", async (t) => {
  const loss: Loss = { kind: "gilbert-elliott", p: 0.01, r: 0.25, lossBad: 1, lossGood: 0 }
  const model = new LossModel(5, "aToB")
  model.configure(loss)
  const bursts: number[] = []
  let run = 0
  let lost = 0
  for (let i = 0; i < packets; i++) {
    if (model.drops(-1)) {
      run++
      lost++
    } else if (run > 0) {
      bursts.push(run)
      run = 0
    }
  }
  // Stationary share p / (p + r), mean burst 1 / r.
  t.ok(Math.abs(lost / packets - 0.01 / 0.26) < 0.002, `share ${lost / packets}`)
  const mean = bursts.reduce((sum, length) => sum + length, 0) / bursts.length
  t.ok(Math.abs(mean - 4) < 0.15, `mean burst ${mean}`)
})

t.test("LossModel drops the same packets for the same seed, and none without loss", async (t) => {
  const pattern = (seed: number) => {
    const model = new LossModel(seed, "bToA")
    model.configure({ kind: "random", probability: 0.3 })
    return Array.from({ length: 1000 }, () => model.drops(-1))
  }
  t.strictSame(pattern(4), pattern(4))
  t.notSame(pattern(4), pattern(5))
  const none = new LossModel(1, "aToB")
  t.equal(share(1000, () => none.drops(-1)), 0)
  t.equal(share(1000, () => none.drops(1)), 1, "a recording's loss goes first")
})

t.test("JitterModel has the mean and spread of its distribution", async (t) => {
  const count = 200_000
  const moments = (distribution: Jitter["distribution"]) => {
    const model = new JitterModel(9, "aToB")
    const samples = Float64Array.from({ length: count }, () => model.sample({ distribution, ms: 2, reorder: false }) / 1e6)
    const mean = samples.reduce((sum, value) => sum + value, 0) / count
    const deviation = Math.sqrt(samples.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count)
    return { mean, deviation, least: samples.reduce((a, b) => Math.min(a, b)), most: samples.reduce((a, b) => Math.max(a, b)) }
  }
  const uniform = moments("uniform")
  t.ok(Math.abs(uniform.mean) < 0.02 && Math.abs(uniform.deviation - 2 / Math.sqrt(3)) < 0.02, JSON.stringify(uniform))
  t.ok(uniform.least >= -2 && uniform.most <= 2)
  const normal = moments("normal")
  t.ok(Math.abs(normal.mean) < 0.02 && Math.abs(normal.deviation - 2) < 0.02, JSON.stringify(normal))
  const pareto = moments("pareto")
  // Lomax with shape 3: mean scale / 2; the median is where U is one half.
  t.ok(Math.abs(pareto.mean - 1) < 0.03 && pareto.least >= 0 && pareto.most > 20, JSON.stringify(pareto))
})

t.test("Codel holds a queue of an unresponsive sender's standing delay down, and leaves a short one alone", async (t) => {
  const codel = new Codel()
  codel.configure(1e9)
  t.equal(share(1000, () => codel.drops(0, 4e6, 100_000)), 0, "4 ms are below the target")
  // 10 ms of standing delay: one packet each millisecond.
  const drops: number[] = []
  for (let ms = 0; ms < 1000; ms++) if (codel.drops(1e9 + ms * 1e6, 10e6, 100_000)) drops.push(ms)
  t.equal(drops[0], 100, "first after one interval")
  const gaps = drops.slice(1, 6).map((at, i) => at - drops[i]!)
  // RFC 8289 5.3: interval / sqrt(count), here rounded up to the next packet.
  t.strictSame(gaps, [100, 71, 58, 50, 45], "then sooner each time")
  t.equal(codel.drops(3e9, 1e6, 100_000), false, "ends when the delay is gone")
  t.equal(share(100, () => codel.drops(4e9, 50e6, 1000)), 0, "never for less than a packet's backlog")
})

t.test("Red drops nothing below its threshold, a share between, all above", async (t) => {
  const at = (fill: number) => {
    const red = new Red(2, "aToB")
    const now = new Float64Array(1)
    // The average needs some thousand packets to follow.
    for (let i = 0; i < 5000; i++) red.drops(now, fill * 100_000, 100_000, 1e8)
    return share(50_000, () => red.drops(now, fill * 100_000, 100_000, 1e8))
  }
  t.equal(at(0.1), 0)
  const middle = at(0.3)
  // Spreading drops evenly makes the share about twice the base probability of 0.07.
  t.ok(middle > 0.07 && middle < 0.16, `in between: ${middle}`)
  t.equal(at(0.8), 1)
})
