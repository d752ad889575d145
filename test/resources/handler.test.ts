import t from "tap"
import { inParallel } from "../../daemon/resources/handler.ts"

t.test("inParallel works on so many at once, and answers in order", async (t) => {
  let running = 0
  let most = 0
  const work = async (item: number): Promise<number> => {
    most = Math.max(most, ++running)
    // Later items are done sooner.
    for (let turn = 0; turn < 20 - item; turn++) await Promise.resolve()
    running--
    return item * 10
  }
  const items = Array.from({ length: 20 }, (_, item) => item)
  t.strictSame(await inParallel(3, items, work), items.map((item) => item * 10))
  t.equal(most, 3)
  t.strictSame(await inParallel(3, [], work), [])
  await t.rejects(inParallel(3, items, () => Promise.reject(new Error("no"))), { message: "no" })
})
