/** Calls that make a namespace leave the thread where it was, also when there is no descriptor left to come back by. */
import { execFileSync } from "node:child_process"
import t from "tap"
import { checkout, needsRoot } from "./harness.ts"

/** Takes all descriptors but one: it opens home, and entering it needs a second one. Prints the errors and where it is. */
const script = `
import { openSync, closeSync, readlinkSync } from "node:fs"
import { addon } from "${checkout}/daemon/native/index.ts"
const here = () => readlinkSync("/proc/self/ns/net")
const before = here()
const taken = []
try { for (;;) taken.push(openSync("/dev/null")) } catch {}
closeSync(taken.pop())
const calls = [
  () => addon.netnsAnonymous(),
  () => addon.readFilesOfNewNamespace(["/proc/sys/net/ipv4/ip_forward"]),
  () => addon.netnsCreate("/run/netns/weft-test-return", new Uint8Array())
]
const codes = calls.map((call) => { try { call(); return "" } catch (error) { return error.code } })
const after = here()
closeSync(taken.pop())
console.log(JSON.stringify({ codes, moved: before !== after }))
`

t.test("without descriptors no namespace is made, and the thread stays at home", { skip: needsRoot }, async (t) => {
  const argv = ["--input-type=module", "--disable-warning=ExperimentalWarning", "-e", script]
  const output = execFileSync("sh", ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, ...argv], { encoding: "utf8" })
  t.strictSame(JSON.parse(output), { codes: ["EMFILE", "EMFILE", "EMFILE"], moved: false })
})
