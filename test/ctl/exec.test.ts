import { createHash, randomBytes } from "node:crypto"
import t from "tap"
import { startFakeDaemon } from "./fake-daemon.ts"
import { startResident } from "./resident.ts"
import { weft } from "./weft.ts"

const daemon = await startFakeDaemon()
t.teardown(() => daemon.stop())

t.test("exec passes exit codes on, also that of a signal", async (t) => {
  t.match(await weft(["exec", "idc-db", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], daemon), {
    code: 7,
    stdout: "out\n",
    stderr: "err\n"
  })
  t.equal((await weft(["exec", "hybrid/idc-db", "--", "sh", "-c", "kill -9 $$"], daemon)).code, 137)
})

t.test("exec of an unknown node exits 1 and suggests one", async (t) => {
  const resident = startResident(t)
  t.match(await resident(["exec", "idc-dbb", "--", "true"], daemon), {
    code: 1,
    stdout: "",
    stderr: /there is no node "idc-dbb" \(did you mean idc-db\?\)/
  })
  t.match(await resident(["exec", "idc-db"], daemon), { code: 2, stderr: /No command for node "idc-db"/ })
  t.match(await resident(["exec", "idc-db", "ls", "-l"], daemon), { code: 2, stderr: /Put -- before the command/ })
  t.match(await resident(["exec", "-e", "novalue", "idc-db", "--", "true"], daemon), { code: 2, stderr: /K=V is expected/ })
})

t.test("exec carries every octet of standard input and output", async (t) => {
  const octets = randomBytes(9_000_000)
  const wanted = createHash("sha256").update(octets).digest("hex")
  t.match(await weft(["exec", "idc-db", "--", "sha256sum"], { ...daemon, stdin: octets }), { code: 0, stdout: `${wanted}  -\n` })
  const numbers = await weft(["exec", "idc-db", "--", "seq", "400000"], daemon)
  t.equal(numbers.stdout, `${Array.from({ length: 400_000 }, (_, index) => index + 1).join("\n")}\n`)
})

t.test("exec passes signals on and lets the command decide", async (t) => {
  const result = await weft(
    ["exec", "idc-db", "--", "sh", "-c", "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"],
    {
      ...daemon,
      started: (child) => child.stdout?.once("data", () => child.kill("SIGTERM"))
    }
  )
  t.match(result, { code: 5, stdout: "ready\ncaught\n" })
})

t.test("exec ends quietly when nobody reads its output any more", async (t) => {
  const result = await weft(["exec", "idc-db", "--", "yes"], {
    ...daemon,
    started: (child) => child.stdout?.once("data", () => child.stdout?.destroy())
  })
  t.match(result, { code: 141, stderr: "" })
})
