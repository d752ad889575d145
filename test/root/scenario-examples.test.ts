/** The scenarios under topologies/, run as their users do: the symptom shows, the cure cures, and the lab is gone afterwards. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { checkout, needsRoot } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"

t.test("examples of scenarios", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("scenario-ex")
  t.teardown(() => weftd.close())
  const folder = join(checkout, "topologies")
  const files = readdirSync(folder).filter((name) => name.endsWith(".scenario.yaml"))
  t.ok(files.length >= 7, files.join(" "))
  for (const name of files) {
    await t.test(name, async (t) => {
      // Faster than they are written: what they check, they wait for.
      const path = join(folder, name)
      const { code, stderr, stdout } = await weftd.weft(["scenario", path, "--speed", "2x"], { timeoutMs: 300_000 })
      t.equal(code, 0, `${stdout}${stderr}`)
      t.match(stdout, /✓ passed: \d+ faults? injected and healed/)
      t.same(await weftd.client.list(), [], "the lab is gone")
    })
  }
})
