import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { startFakeDaemon } from "./fake-daemon.ts"
import { startResident } from "./resident.ts"
import { weft as weftAlone } from "./weft.ts"

const weft = startResident(t)

const daemon = await startFakeDaemon()
t.teardown(() => daemon.stop())
const folder = mkdtempSync(join(tmpdir(), "weft-ctl-capture-"))
t.teardown(() => rmSync(folder, { recursive: true }))

const port = { name: "hybrid/idc-db:eth0", received: 2, dropped: 0, delivered: 2 }
const ended = { message: "ended", ended: { reason: "stopped", failed: false, ports: [port] } } as const

t.test("capture asks for what the words say", async (t) => {
  daemon.answers.capture = [ended]
  const flags = ["--filter", "tcp port 80", "-c", "5", "--duration", "1.5m", "-s", "96"]
  t.match(await weft(["capture", "idc-db:eth0", "hybrid/fw:wan", ...flags], daemon), { code: 0 })
  t.strictSame(daemon.seen.at(-1), {
    method: "Capture",
    request: {
      ports: ["idc-db:eth0", "hybrid/fw:wan"],
      filter: "tcp port 80",
      count: 5,
      durationMs: 90_000,
      snaplen: 96,
      text: true,
      tunnel: false
    }
  })
  t.match(await weftAlone(["capture", "idc-db:eth0", "-w", "-", "--duration", "20ms"], daemon), { code: 0 })
  t.match(daemon.seen.at(-1), { request: { filter: "", count: 0, durationMs: 20, snaplen: 0, text: false } })
  t.match(await weft(["capture", "idc-db:eth0", "--tunnel"], daemon), { code: 0 })
  t.match(daemon.seen.at(-1), { request: { ports: ["idc-db:eth0"], tunnel: true } })
})

t.test("capture prints lines, and what became of each port on stderr", async (t) => {
  const lines = { message: "text", text: "10:00:00.000000  idc-db:eth0  out  a > b\n\u001b]0;evil\n" } as const
  daemon.answers.capture = [{ message: "text", text: "" }, lines, { ...ended, ended: { ...ended.ended, ports: [{ ...port, dropped: 7 }] } }]
  t.strictSame(await weftAlone(["capture", "idc-db:eth0"], daemon), {
    code: 0,
    stdout: "10:00:00.000000  idc-db:eth0  out  a > b\n\ufffd]0;evil\n",
    stderr:
      "Capturing on idc-db:eth0 (Ctrl-C ends it)\n"
      + "hybrid/idc-db:eth0: 2 packets captured, 7 dropped because they were not read in time\n"
  })
})

t.test("capture writes the octets as they come", async (t) => {
  const chunks = [Buffer.from([0, 255, 10, 13]), Buffer.alloc(300_000, 0xfe)]
  const file = join(folder, "a.pcapng")
  daemon.answers.capture = [...chunks.map((pcapng) => ({ message: "pcapng", pcapng }) as const), ended]
  t.match(await weft(["capture", "idc-db:eth0", "-w", file], daemon), { code: 0, stdout: "" })
  t.ok(readFileSync(file).equals(Buffer.concat(chunks)))
  const full = await weftAlone(["capture", "idc-db:eth0", "-w", "/dev/full"], daemon)
  t.match(full, { code: 1, stderr: /error: Cannot write "\/dev\/full": ENOSPC\n$/ })
})

t.test("capture that ends early exits 1 and says why", async (t) => {
  const reason = 'interface "eth0" of node "idc-db" in lab "hybrid" has gone'
  daemon.answers.capture = [{ message: "text", text: "" }, { ...ended, ended: { reason, failed: true, ports: [port] } }]
  t.match(await weft(["capture", "idc-db:eth0"], daemon), { code: 1, stderr: /2 packets captured\nerror: .*node "idc-db" .* has gone\n$/ })
  daemon.answers.capture = [{ message: "text", text: "" }]
  t.match(await weft(["capture", "idc-db:eth0"], daemon), { code: 3, stderr: /error: The daemon hung up before the capture ended/ })
})

t.test("capture refuses wrong words before it asks anybody", async (t) => {
  const wrong = async (stderr: RegExp, ...words: ReadonlyArray<string>) =>
    t.match(await weft(["capture", ...words]), { code: 2, stdout: "", stderr }, words.join(" "))
  await wrong(/No interface to capture on\n  usage: weft capture NODE:IF/)
  await wrong(/Cannot capture on "pc": NODE:IF is expected\n  Example: pc:eth0/, "pc")
  await wrong(/Cannot capture on "icmp".*\n.*--filter "icmp or arp"/, "pc:eth0", "icmp", "or", "arp")
  await wrong(/Cannot use "0" as --count/, "pc:eth0", "--count", "0")
  await wrong(/Cannot use "1e3" as --snaplen/, "pc:eth0", "--snaplen", "1e3")
  await wrong(/Cannot use "soon" as --duration: a time such as 10s/, "pc:eth0", "--duration", "soon")
})

t.test("capture completes interfaces", async (t) => {
  const { stdout } = await weft(["__complete", "capture", "idc-db:"], daemon)
  t.match(stdout, /^idc-db:eth0\t.*10\.20\.0\.10\/24\n$/)
  t.match((await weft(["__complete", "capture", "hybrid/idc-d"], daemon)).stdout, /^hybrid\/idc-db:eth0\t/)
})
