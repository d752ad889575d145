/** scripts/with-weftd.sh: a weftd for one command, whose exit status is the result; nothing of it is left. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { checkout, needsRoot } from "./harness.ts"

t.test("with-weftd.sh", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-with-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const log = join(folder, "weftd.log")
  const run = (...words: ReadonlyArray<string>) =>
    spawnSync(join(checkout, "scripts/with-weftd.sh"), words, { encoding: "utf8", env: { ...process.env, WEFTD_LOG: log, TMPDIR: folder } })

  await t.test("the command finds its weftd, and says how it ends", async (t) => {
    const { status, stdout } = run("sh", "-c", `echo "$WEFT_DAEMON"; ${join(checkout, "bin/weft")} version; exit 7`)
    t.equal(status, 7)
    t.match(stdout, /^unix:\/run\/weft\/ci-\d+\/weftd\.sock\nweft [\s\S]*weftd .*instance ci-/)
    t.match(readFileSync(log, "utf8"), /weftd ready on/)
    const socket = stdout.split("\n")[0]!.slice("unix:".length)
    t.notOk(existsSync(socket), "it serves no more")
  })

  await t.test("without a command", async (t) => t.match(run(), { status: 2, stderr: /usage/ }))
})
