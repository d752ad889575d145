/** Who may change a lab when: deploys refuse each other, faults wait, deploys wait for faults. */
import t from "tap"
import { Turns } from "../../daemon/reconciler/turns.ts"

const settled = async (turn: Promise<unknown>): Promise<boolean> => {
  let done = false
  void turn.then(() => (done = true), () => (done = true))
  await new Promise((resolve) => setImmediate(resolve))
  return done
}

t.test("a second deploy is refused, another lab is not", async (t) => {
  const turns = new Turns()
  const end = await turns.take("a", "deploy")
  await t.rejects(turns.take("a", "deploy"), { code: "busy", message: /"a" is being changed/ })
  const other = await turns.take("b", "deploy")
  t.equal(turns.size, 2)
  end()
  other()
  t.equal(turns.size, 0)
})

t.test("faults wait for each other and for a deploy, in their order", async (t) => {
  const turns = new Turns()
  const end = await turns.take("a", "deploy")
  const [first, second] = [turns.take("a", "faults", 60_000), turns.take("a", "faults", 60_000)]
  t.notOk(await settled(first))
  end()
  const endFirst = await first
  t.notOk(await settled(second))
  endFirst()
  ;(await second)()
  t.notOk(turns.has("a"))
})

t.test("a deploy waits for faults; another deploy behind it is refused", async (t) => {
  const turns = new Turns()
  const end = await turns.take("a", "faults")
  const deploy = turns.take("a", "deploy")
  t.notOk(await settled(deploy))
  await t.rejects(turns.take("a", "deploy"), { code: "busy" })
  end()
  ;(await deploy)()
  t.equal(turns.size, 0)
})

t.test("faults do not wait for ever for somebody who deploys, and leave the line", async (t) => {
  const turns = new Turns()
  const end = await turns.take("a", "deploy")
  await t.rejects(turns.take("a", "faults", 5), { code: "busy" })
  end()
  t.equal(turns.size, 0)
})
