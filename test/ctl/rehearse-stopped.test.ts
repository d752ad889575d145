/** `weft rehearse` that is ended before it has begun: there are reports all the same. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import { until } from "../root/harness.ts"
import { startFakeDaemon } from "./fake-daemon.ts"
import { weft } from "./weft.ts"

t.test("Ctrl-C while nobody has answered yet: reports that say so, exit 1", async (t) => {
  const daemon = await startFakeDaemon()
  t.teardown(() => daemon.stop())
  const cwd = t.testdir({ "a.rehearsal.yaml": "topology: x.weft.yaml\nflows: [{ from: a, to: b }]\nsteps: [{ wait: 1s }]\n" })
  const words = ["rehearse", "a.rehearsal.yaml", "-o", "json", "--junit", "a.xml", "--html", "a.html"]
  const output = await weft(words, {
    address: daemon.address, cwd, stdin: "",
    started: (child) => void until("it asks", () => daemon.seen.some(({ method }) => method === "Run")).then(() => child.kill("SIGINT"))
  })
  t.equal(output.code, 1, output.stderr)
  const why = "it was stopped before it began: nothing was touched"
  const record = JSON.parse(output.stdout) as RehearsalRecord
  t.match(record, { verdict: "broken-off", reasons: [why], runs: [{ verdict: "broken-off", steps: [] }] })
  t.match(readFileSync(join(cwd, "a.xml"), "utf8"), why)
  t.match(readFileSync(join(cwd, "a.html"), "utf8"), why)
})
