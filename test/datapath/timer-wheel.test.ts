import t from "tap"
import { TimerWheel } from "../../daemon/datapath/timer-wheel.ts"
import { seeded } from "../random.ts"

const expireAll = (wheel: TimerWheel, nowNs: number): number[] => {
  const keys = new Int32Array(1024)
  return [...keys.slice(0, wheel.expire(nowNs, keys))]
}

t.test("TimerWheel fires nothing early, to the nanosecond", async (t) => {
  const wheel = new TimerWheel(0)
  t.equal(wheel.next(), Infinity)
  wheel.set(3, 1_000_001)
  t.equal(wheel.next(), 1_000_001)
  t.strictSame(expireAll(wheel, 1_000_000), [])
  t.strictSame(expireAll(wheel, 1_000_001), [3])
  t.equal(wheel.next(), Infinity)
})

t.test("TimerWheel takes a deadline in the past, replaces, clears", async (t) => {
  const wheel = new TimerWheel(1e12)
  wheel.set(0, 5)
  wheel.set(1, 1e12 + 100)
  wheel.set(1, 1e12 + 50_000)
  wheel.set(2, 1e12 + 1)
  wheel.clear(2)
  wheel.clear(77)
  t.equal(wheel.next(), 5)
  t.strictSame(expireAll(wheel, 1e12 + 49_999), [0])
  wheel.set(1, Infinity)
  t.strictSame(expireAll(wheel, 1e13), [])
})

t.test("TimerWheel returns no more keys than fit, and the others next time", async (t) => {
  const wheel = new TimerWheel(0)
  for (let key = 0; key < 10; key++) wheel.set(key, 1000)
  const keys = new Int32Array(4)
  t.equal(wheel.expire(1e9, keys), 4)
  t.equal(wheel.expire(1e9, keys), 4)
  t.equal(wheel.expire(1e9, keys), 2)
})

t.test("TimerWheel agrees with a sorted list over random times up to days, and random steps", async (t) => {
  const random = seeded(1)
  const wheel = new TimerWheel(123_456_789)
  const model = new Map<number, number>()
  const spans = [10_000, 1e6, 3e9, 1e12, 2e14]
  let now = 123_456_789
  for (let round = 0; round < 20_000; round++) {
    const key = random.below(300)
    switch (random.below(4)) {
      case 0:
      case 1: {
        const deadline = now + random.below(1e9) * 1e-9 * random.pick(spans)
        wheel.set(key, deadline)
        model.set(key, deadline)
        break
      }
      case 2:
        wheel.clear(key)
        model.delete(key)
        break
      default: {
        now += random.below(1e9) * 1e-9 * random.pick(spans) * 0.1
        const due = [...model].filter(([, deadline]) => deadline <= now).map(([of]) => of)
        for (const of of due) model.delete(of)
        const fired = expireAll(wheel, now).sort((a, b) => a - b)
        if (fired.join() !== due.sort((a, b) => a - b).join()) t.fail(`round ${round}: fired ${fired}, due ${due}`)
      }
    }
    const next = Math.min(...model.values())
    if (wheel.next() !== next) {
      t.equal(wheel.next(), next, `next in round ${round}`)
      break
    }
  }
  t.pass("20000 rounds")
})
