/** The scenarios under topologies/ that are about chance and maintenance, run as their users do; the lab is gone afterwards. */
import { join } from "node:path"
import t from "tap"
import { checkout, needsRoot } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"

t.test("examples of scenarios", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("scenario-ex")
  t.teardown(() => weftd.close())
  for (const name of ["bad-day", "spine-maintenance"]) {
    await t.test(name, async (t) => {
      // Faster than they are written: what they check, they wait for.
      const path = join(checkout, "topologies", `${name}.scenario.yaml`)
      const { code, stderr, stdout } = await weftd.weft(["scenario", path, "--speed", "2x"], { timeoutMs: 120_000 })
      t.equal(code, 0, `${stdout}${stderr}`)
      t.match(stdout, /✓ passed: \d+ faults? injected and healed/)
      t.same(await weftd.client.list(), [], "the lab is gone")
    })
  }
})
