/**
 * Every way in which a rehearsal can be broken off: by Ctrl-C, by a client that dies, by a daemon that dies or is told to end. Afterwards
 * labs are as they should be, and the exit status says so.
 */
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { before, cut, Stage } from "./rehearse-harness.ts"

t.test("weft rehearse that is broken off", { skip: needsRoot }, async (t) => {
  const stage = await Stage.open("rehearse-ends")
  const { weftd } = stage
  t.teardown(() => stage.close())

  await t.test("Ctrl-C: faults are healed, the lab is destroyed, there is a record, exit 1", async (t) => {
    const { file, lab } = stage.write("ctrl-c", [cut, { name: "long", wait: "60s" }])
    const { child, end } = await stage.begin(file, /long wait 60s/)
    child.kill("SIGINT")
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", runs: [{ healed: true, destroyed: true, faults: [{ kind: "link-down" }] }] })
    t.match(record.runs[0]?.steps.map(({ state }) => state), ["passed", "passed", "stopped"])
    t.notOk(await stage.isThere(lab))
  })

  await t.test("Ctrl-C while it deploys: the lab is destroyed, there is a record, exit 1", async (t) => {
    const { file, lab } = stage.write("early", [cut])
    const { child, end } = await stage.begin(file, /deploying /)
    child.kill("SIGINT")
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", reasons: ["it was stopped"], runs: [{ healed: true, destroyed: true, faults: [] }] })
    t.notOk(await stage.isThere(lab))
  })

  await t.test("a client that dies: the daemon heals, and leaves a lab that was there as it was", async (t) => {
    const { file, lab } = stage.write("orphan", [cut, { name: "long", wait: "60s" }])
    await weftd.make(before(lab))
    const { child, end } = await stage.begin(file, /long wait 60s/, "--lab", lab)
    t.equal((await weftd.client.faults(lab)).length, 1)
    child.kill("SIGKILL")
    await end()
    await until("the fault is healed", async () => (await weftd.client.faults(lab)).length === 0)
    t.strictSame(await weftd.plan(before(lab)), [])
    await weftd.destroy(lab)
  })

  await t.test("a daemon that dies in the middle: it heals when it is back, the client has the lab destroyed, exit 1", async (t) => {
    const { file, lab } = stage.write("dead", [cut, { name: "long", wait: "60s" }])
    const { end } = await stage.begin(file, /long wait 60s/)
    await weftd.kill()
    await weftd.start()
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", reasons: [/the daemon went away; it is back, and lab .* is destroyed/] })
    t.match(record.runs[0]?.steps.map(({ state }) => state), ["passed", "passed", "stopped"])
    t.ok((record.runs[0]?.flows[0]?.received ?? 0) > 50, "what was seen before is in the record")
    t.notOk(await stage.isThere(lab))
  })

  await t.test("a daemon that is told to end in the middle: the rehearsal ends first", async (t) => {
    const { file, lab } = stage.write("stop", [cut, { name: "long", wait: "60s" }])
    const { end } = await stage.begin(file, /long wait 60s/)
    await weftd.stop()
    await weftd.start()
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", runs: [{ healed: true, destroyed: true }] })
    t.notOk(await stage.isThere(lab))
  })
})
