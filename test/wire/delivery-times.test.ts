/** The text of a recording's times. */
import t from "tap"
import * as DeliveryTimes from "../../daemon/wire/delivery-times.ts"
import { seeded } from "../random.ts"

t.test("DeliveryTimes.encode writes gaps and runs", async (t) => {
  t.equal(DeliveryTimes.encode([1, 1, 3, 50]), "102(47)")
  t.equal(DeliveryTimes.encode(Array.from({ length: 1000 }, (_, i) => i + 1)), "1*999;")
  t.equal(DeliveryTimes.encode([0, 0, 0, 0, 35]), "0000z")
  t.equal(DeliveryTimes.encode([]), "")
})

t.test("DeliveryTimes.decode reads what encode wrote", async (t) => {
  for (let seed = 1; seed <= 100; seed++) {
    const { below, pick } = seeded(seed)
    let time = 0
    const times = Array.from({ length: below(500) }, () => (time += pick([0, 0, 1, 1, 1, below(40), below(5000)])))
    t.strictSame([...DeliveryTimes.decode(DeliveryTimes.encode(times))!], times, `seed ${seed}`)
  }
})

t.test("DeliveryTimes.decode refuses every other text", async (t) => {
  const malformed = ["A", "1 ", "-1", "(", "(1", "()", "1*", "1*5", "1*;", "*5;"]
  const excessive = ["1*99999999;", "0*4194304;", "(1000000001)", "(99999)*99999;"]
  for (const text of [...malformed, ...excessive]) {
    t.equal(DeliveryTimes.decode(text), undefined, text)
  }
  t.equal(DeliveryTimes.decode("0*4194303;")!.length, DeliveryTimes.mostDeliveries)
  const whole = "102(47)1*999;"
  for (let end = 0; end <= whole.length; end++) t.doesNotThrow(() => DeliveryTimes.decode(whole.slice(0, end)))
})
