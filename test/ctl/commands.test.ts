import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { change, startFakeDaemon } from "./fake-daemon.ts"
import { specs } from "../../ctl/commands/table.ts"
import { startResident } from "./resident.ts"
import { weft as weftAlone } from "./weft.ts"

const weft = startResident(t)

const folder = mkdtempSync(join(tmpdir(), "weft-ctl-"))
t.teardown(() => rmSync(folder, { recursive: true }))
writeFileSync(join(folder, "only.weft.yaml"), "name: hybrid\nnodes:\n  pc: { kind: host }\n")

const daemon = await startFakeDaemon()
t.teardown(() => daemon.stop())
const here = { address: daemon.address, cwd: folder }

t.test("exit codes: 0 done, 2 wrong use, 3 no daemon", async (t) => {
  t.match(await weftAlone(["list"], here), { code: 0, stdout: /^LAB .*\nhybrid +ready +15 +13 /, stderr: "" })
  t.match(await weftAlone(["lst"], here), { code: 2, stdout: "", stderr: /unknown command "lst" \(did you mean list\?\)/ })
  t.match(await weftAlone(["list"]), {
    code: 3,
    stdout: "",
    stderr: /Cannot reach the daemon at unix:\/nonexistent.*no such socket\n  Start it with: sudo bin\/weftd/
  })
  t.match(await weftAlone(["list", "--daemon", "tcp:1.2.3.4"]), { code: 2, stderr: /it is unix:PATH or HOST:PORT/ })
})

t.test("help goes to stdout and has examples", async (t) => {
  t.match(await weft(["deploy", "--help"]), { code: 0, stdout: /EXAMPLES\n/, stderr: "" })
  t.match(await weft(["help", "exec"]), { code: 0, stdout: /weft exec \[FLAGS\] NODE -- COMMAND\.\.\./ })
  const root = (await weft(["--help"])).stdout
  for (const verb of Object.keys(specs)) t.match(root, new RegExp(`^  ${verb} `, "m"), `the first page names ${verb}`)
  t.match(await weft(["--version"]), { code: 0, stdout: /^weft   0\.1\.0/ })
})

t.test("a verb without a file takes the only one in the folder", async (t) => {
  t.match(await weft(["deploy"], here), { code: 0, stdout: 'Lab "hybrid" is ready: 2 added (42 ms)' })
  t.match(daemon.seen.at(-1), { method: "Deploy", request: { rollback: false, topology: { filename: "only.weft.yaml" } } })
  t.match(await weft(["plan"], { ...here, cwd: tmpdir() }), { code: 2, stderr: /No topology file/ })
  const two = mkdtempSync(join(folder, "two-"))
  for (const name of ["a", "b"]) writeFileSync(join(two, `${name}.weft.yaml`), "")
  t.match(await weft(["plan"], { ...here, cwd: two }), { code: 2, stderr: /2 are in this folder: a\.weft\.yaml, b\.weft\.yaml/ })
  t.match(await weft(["plan", "gone.weft.yaml"], here), {
    code: 2,
    stderr: /Cannot read topology "gone.weft.yaml": no such file\n  In this folder: only.weft.yaml/
  })
})

t.test("deploy reports failures with the resource and the kernel's reason and exits 1", async (t) => {
  const failure = {
    change: change("CREATE", "address/pc:eth0/10.0.0.2/24"),
    error: 'Cannot add address 10.0.0.2/24 to "eth0" in "pc": ENODEV',
    blocked: false
  }
  const blocked = { change: change("CREATE", "route/pc/254/0.0.0.0/0/0"), error: "it needs address/pc", blocked: true }
  const before = daemon.answers.deploy
  daemon.answers.deploy = [
    { event: "planned", planned: { lab: "hybrid", diagnostics: [], creates: 1, updates: 0, replaces: 0, removes: 0 } },
    { event: "change", change: failure },
    { event: "change", change: blocked },
    {
      event: "failed",
      failed: { message: "2 of 2 changes failed", failures: [failure, blocked], rolledBack: true, invalidTopology: false }
    }
  ]
  t.match(await weft(["deploy", "--rollback"], here), {
    code: 1,
    stdout: "",
    stderr: /^failed: address\/pc:eth0\/10\.0\.0\.2\/24: Cannot add .*ENODEV\nerror: 1 failed; 1 more were not tried.*\n.*rolled back/
  })
  t.match(daemon.seen.at(-1), { request: { rollback: true } })
  const diagnostic = {
    severity: "ERROR" as const,
    filename: "only.weft.yaml",
    line: 3,
    column: 3,
    path: "nodes.pc.kind",
    message: "wrong",
    suggestion: "host"
  }
  daemon.answers.deploy = [
    { event: "planned", planned: { lab: "", diagnostics: [diagnostic], creates: 0, updates: 0, replaces: 0, removes: 0 } },
    { event: "failed", failed: { message: "invalid", failures: [], rolledBack: false, invalidTopology: true } }
  ]
  t.match(await weft(["deploy"], here), {
    code: 2,
    stderr: /only\.weft\.yaml:3:3: nodes\.pc\.kind: wrong \(did you mean host\?\)/
  })
  daemon.answers.deploy = []
  t.match(await weft(["deploy"], here), { code: 3, stderr: /without saying how it went/ })
  daemon.answers.deploy = before
})

t.test("plan --detailed-exitcode is terraform's", async (t) => {
  t.match(await weft(["plan", "--detailed-exitcode"], here), { code: 0, stdout: /No changes/ })
  daemon.answers.plan = {
    ...daemon.answers.plan,
    changes: [change("UPDATE", "port/pc:eth0", [{ path: "mtu", before: "1500", after: "9000" }], "mtu can be changed in place")]
  }
  t.match(await weft(["plan"], here), {
    code: 0,
    stdout:
      /~ port\/pc:eth0 {2}# mtu can be changed in place\n +~ mtu = 1500 → 9000\n\nPlan: 0 to add, 1 to change, 0 to remove\./
  })
  t.equal((await weft(["plan", "--detailed-exitcode"], here)).code, 2)
  t.match(JSON.parse((await weft(["plan", "-o", "json"], here)).stdout), {
    lab: "hybrid",
    exists: true,
    summary: { add: 0, change: 1, remove: 0 },
    changes: [{ action: "UPDATE" }]
  })
  daemon.answers.plan = {
    ...daemon.answers.plan,
    diagnostics: [{ severity: "ERROR", filename: "f", line: 1, column: 1, path: "", message: "bad", suggestion: "" }]
  }
  t.equal((await weft(["plan"], here)).code, 2)
  t.equal((await weft(["plan", "--detailed-exitcode"], here)).code, 1)
})

t.test("validate needs no daemon and reports every error with its position", async (t) => {
  t.match(await weft(["validate"], { cwd: folder }), { code: 0, stdout: 'only.weft.yaml: valid. Lab "hybrid": 1 nodes' })
  const bad = join(folder, "bad.yaml")
  writeFileSync(bad, "name: bad\nnodes:\n  a: { kind: hst }\n  b: { kind: host, fooo: 1 }\n")
  t.match(await weft(["validate", bad]), {
    code: 2,
    stdout: "",
    stderr: /bad\.yaml:3:\d+: nodes\.a\.kind: .*host.*\n.*bad\.yaml:4:\d+: nodes\.b\.fooo: .*\ninvalid: .* has 2 errors/
  })
  t.match(JSON.parse((await weft(["validate", bad, "-o", "json"])).stdout), {
    ok: false,
    diagnostics: [{ line: 3, severity: "error" }, { line: 4 }]
  })
  t.match(await weft(["validate", "-"], { stdin: "name: x\n\tnodes: {}\n" }), { code: 2, stderr: /<stdin>:2:/ })
  writeFileSync(bad, Buffer.alloc((4 << 20) + 1, 32))
  t.match(await weft(["validate", bad]), { code: 2, stderr: /at most 4194304/ })
})

t.test("destroy takes a lab, a file, or --all, and never guesses", async (t) => {
  t.match(await weft(["destroy", "hybrid"], here), { code: 0, stdout: 'Lab "hybrid" is gone: 12 removed' })
  await weft(["destroy", "-f", "only.weft.yaml"], here)
  t.match(daemon.seen.at(-1), { method: "Destroy", request: { lab: "hybrid" } })
  t.match(await weft(["destroy"], { ...here, cwd: tmpdir() }), { code: 2, stderr: /Which lab\?.*\n  Deployed: hybrid/ })
  t.match(await weft(["destroy", "hybrid", "--all"], here), { code: 2 })
  t.match(JSON.parse((await weft(["destroy", "--all", "-o", "json"], here)).stdout), [{ lab: "hybrid", ok: true }])
})

t.test("inspect, list, events, doctor and version speak JSON and YAML", async (t) => {
  t.match(JSON.parse((await weft(["inspect", "hybrid", "-o", "json"], here)).stdout), {
    host: "vm1",
    nodes: [{ name: "office-pc1", ports: [{ mac: "02:5a:00:00:00:01" }] }]
  })
  t.match(JSON.parse((await weft(["inspect", "-f", "json"], here)).stdout), { lab: { name: "hybrid" } }, "as containerlab has it")
  t.match((await weft(["list", "-o", "yaml"], here)).stdout, /^- name: hybrid\n/)
  t.match(await weft(["inspect", "nope"], here), { code: 1, stderr: /there is no lab "nope"/ })
  t.match(JSON.parse((await weft(["events", "-o", "json"], here)).stdout), { type: "lab.deployed" })
  t.match(JSON.parse((await weft(["version", "-o", "json"], here)).stdout), {
    client: { version: "0.1.0" },
    daemon: { pid: 4711 }
  })
  t.match(JSON.parse((await weft(["version", "-o", "json"])).stdout), { daemon: null })
  t.match(await weft(["doctor"], here), { code: 0, stdout: /! +netem[^]*✓ +eBPF/ })
  t.match(await weft(["doctor"]), { code: 3, stderr: /What can be seen without it/, stdout: /Node +v/ })
})

t.test("hosts and drain", async (t) => {
  t.match((await weft(["hosts"], here)).stdout, /HOST +STATE +UNDERLAY[^]*vm1 +ready +192\.0\.2\.1 +2 +1 +12 +.*rack=a/)
  t.match(JSON.parse((await weft(["hosts", "-o", "json"], here)).stdout), [{ name: "vm1", nodes: 12 }])
  t.match(await weft(["drain", "vm1"], here), { code: 0, stdout: /Host "vm1" is drained: 3 changes/ })
  t.match(daemon.seen.at(-1), { method: "Drain", request: { host: "vm1", undo: false, forget: false } })
  t.match(await weft(["drain", "vm1", "--undo"], here), { code: 0, stdout: /gets nodes again/ })
  t.match(await weft(["drain", "vm1", "--undo", "--forget"], here), { code: 2 })
  t.match(await weft(["drain"], here), { code: 2, stderr: /missing argument HOST/ })
})

t.test("graph writes SVG, Mermaid and DOT", async (t) => {
  const file = join(folder, "out.svg")
  t.match(await weft(["graph", "hybrid", "-w", file], here), { code: 0, stdout: "", stderr: /Wrote/ })
  t.match(readFileSync(file, "utf8"), /^<svg /)
  t.match((await weft(["graph", "-o", "mermaid"], here)).stdout, /^flowchart TB\n/)
  t.match((await weft(["graph", "-o", "dot"], here)).stdout, /^graph "hybrid" \{\n/)
  t.match(await weft(["graph", "-w", "/nonexistent/x.svg"], here), { code: 1, stderr: /Cannot write .*ENOENT/ })
})
