/**
 * The rehearsals under topologies/, run as their users do. How long an outage is depends on how busy the machine is that runs
 * these tests, so a budget may break here without failing the test: it is told. Actions, checks and roll-back may not fail, and
 * every flow must be answered again in the end.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import { checkout, needsRoot } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"

const folder = join(checkout, "topologies")
/** Its budget cannot be kept. */
const mustBreak = "broken-budget.rehearsal.yaml"

t.test("examples of rehearsals", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("rehearse-ex")
  t.teardown(() => weftd.close())
  const html = join(weftd.directory, "report.html")
  const run = async (name: string) => {
    const words = ["rehearse", join(folder, name), "-o", "json", "--html", html]
    const { code, stderr, stdout } = await weftd.weft(words, { timeoutMs: 300_000 })
    t.same(await weftd.client.list(), [], "the lab is gone")
    return { code, stderr, record: JSON.parse(stdout) as RehearsalRecord }
  }

  for (const name of readdirSync(folder).filter((file) => file.endsWith(".rehearsal.yaml") && file !== mustBreak)) {
    await t.test(name, async (t) => {
      const { code, record: { reasons, runs: [run1] }, stderr } = await run(name)
      const broken = run1!.steps.filter(({ state }) => state === "broken")
      t.equal(code, broken.length === 0 ? 0 : 1, stderr)
      for (const reason of reasons) t.comment(reason)
      t.same(run1!.steps.filter(({ state }) => state === "failed" || state === "stopped"), [])
      const out = run1!.flows.filter(({ error, outages }) => error !== "" || outages.some(({ lasts }) => lasts))
      t.same(out, [], "all flows are whole again")
      t.same([run1!.healed, run1!.destroyed], [true, true])
    })
  }

  await t.test(mustBreak, async (t) => {
    const { code, record, stderr } = await run(mustBreak)
    t.equal(code, 1, stderr)
    t.match(record.reasons.join("\n"), /office to db.*tunnel lost for two seconds.* \d+ ms/, "flow, step and milliseconds are named")
    const [run1] = record.runs
    const outage = run1!.flows.find(({ name }) => name === "office to db")!.outages[0]!
    t.ok(outage.lengthMs > 1900, `two seconds, or more: ${outage.lengthMs} ms`)
    t.equal(run1!.steps.find(({ name }) => name === "never reached")!.state, "skipped")
    t.ok(run1!.rolledBack)
    const page = readFileSync(html, "utf8")
    for (const word of ["office to db", "tunnel lost for two seconds", "<svg"]) t.ok(page.includes(word), word)
  })
})
