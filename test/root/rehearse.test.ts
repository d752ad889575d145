/**
 * `weft rehearse` with real labs: one that passes, one whose budget breaks, and every way in which one can be broken off: by
 * Ctrl-C, by a client that dies, by a daemon that dies. Afterwards labs are as they should be, and the exit status says so.
 *
 *     pc 10.1.0.1 ---- r ---- db 10.2.0.2      and, in the next version, r ---- web 10.3.0.2
 */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { environment, type Output, sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const before = (name: string): TopologyObject => ({
  name,
  nodes: { pc: { kind: "host" }, r: { kind: "router" }, db: { kind: "host" } },
  links: [{ endpoints: ["pc:eth0", "r:a"], cidr: "10.1.0.0/24" }, { endpoints: ["r:b", "db:eth0"], cidr: "10.2.0.0/24" }]
})

const after = (name: string): TopologyObject => ({
  name,
  nodes: { pc: { kind: "host" }, r: { kind: "router" }, db: { kind: "host" }, web: { kind: "host" } },
  links: [
    { endpoints: ["pc:eth0", "r:a"], cidr: "10.1.0.0/24" }, { endpoints: ["r:b", "db:eth0"], cidr: "10.2.0.0/24" },
    { endpoints: ["r:c", "web:eth0"], cidr: "10.3.0.0/24" }
  ]
})

const flows = [{ name: "orders", from: "pc", to: "db", spacing: "2ms" }]
const cut = { name: "cut", inject: { "link-down": "db:eth0" }, settle: "1s" }

t.test("weft rehearse", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("rehearse")
  const folder = mkdtempSync(join(tmpdir(), "weft-rehearse-"))
  t.teardown(async () => {
    await weftd.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Writes a rehearsal and both versions of a lab of its own. */
  const write = (label: string, steps: ReadonlyArray<object>, more: object = {}): { readonly file: string; readonly lab: string } => {
    const lab = weftd.name(label)
    writeFileSync(join(folder, "before.weft.yaml"), JSON.stringify(before(lab)))
    writeFileSync(join(folder, "after.weft.yaml"), JSON.stringify(after(lab)))
    const file = join(folder, `${label}.rehearsal.yaml`)
    writeFileSync(file, JSON.stringify({ name: label, topology: "before.weft.yaml", flows, steps, ...more }))
    return { file, lab }
  }

  const rehearse = async (file: string, ...words: ReadonlyArray<string>): Promise<Output & { readonly record: RehearsalRecord }> => {
    const output = await weftd.weft(["rehearse", file, "-o", "json", ...words], { cwd: folder })
    return { ...output, record: JSON.parse(output.stdout === "" ? "{}" : output.stdout) as RehearsalRecord }
  }

  /** Begins one and waits until it has written a line. */
  const begin = async (file: string, line: RegExp, ...words: ReadonlyArray<string>) => {
    const argv = [join(checkout, "bin/weft"), "rehearse", file, "-o", "json", ...words]
    const child: ChildProcess = spawn(argv[0]!, argv.slice(1), { stdio: "pipe", env: environment({ WEFT_DAEMON: weftd.address }) })
    let [stdout, stderr] = ["", ""]
    child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const closed = once(child, "close") as Promise<[number | null]>
    await until(`it says ${line}`, () => line.test(stderr), 30_000)
    const end = async () => {
      const [code] = await closed
      return { code, stderr, record: (stdout === "" ? undefined : JSON.parse(stdout)) as RehearsalRecord }
    }
    return { child, end }
  }

  const isThere = async (lab: string): Promise<boolean> => (await weftd.client.list()).some(({ name }) => name === lab)

  await t.test("one that passes: another version under traffic, a flow that begins with it, checks", async (t) => {
    const { file, lab } = write("pass", [
      { deploy: "after.weft.yaml" },
      { exec: { node: "pc", command: "ip route show", output: "^default via 10\\.1\\.0\\." } },
      { check: [{ reachable: { from: "pc", to: "web" } }, { unreachable: { from: "pc", to: "10.9.9.9" } }] },
      { name: "quiet", "probe-only": "1s" }
    ], { flows: [...flows, { name: "shop", from: "pc", to: "web", protocol: "icmp", spacing: "10ms" }] })
    const { code, record, stderr } = await rehearse(file)
    t.equal(code, 0, stderr)
    t.equal(record.verdict, "passed", record.reasons?.join(", "))
    const [run] = record.runs
    t.strictSame(run?.steps.map(({ state }) => state), ["passed", "passed", "passed", "passed", "passed"])
    t.match(run, { healed: true, destroyed: true, checks: [{ outcome: "passed" }, { outcome: "passed" }] })
    for (const flow of run?.flows ?? []) t.ok(flow.received > 50, `${flow.name}: ${flow.received} of ${flow.sent}`)
    t.strictSame([run?.before?.nodes.length, run?.after?.nodes.length], [3, 4])
    t.notOk(await isThere(lab))
  })

  await t.test("one whose budget breaks names flow, step and milliseconds, and rolls back", async (t) => {
    const { file, lab } = write("broken", [cut, { name: "never", wait: "60s" }],
      { budgets: { "max-outage": "200ms" }, "roll-back": [{ name: "mend", heal: "all" }, { deploy: "before.weft.yaml" }] })
    const { code, record, stderr } = await rehearse(file)
    t.equal(code, 1, stderr)
    t.match(record.reasons, [/^flow orders, step cut: out for \d+(\.\d+)? m?s, max-outage is 200ms$/])
    const [run] = record.runs
    t.strictSame(run?.steps.map(({ state }) => state), ["passed", "broken", "skipped", "passed", "passed"])
    t.match(run, { rolledBack: true, healed: true, destroyed: true })
    t.notOk(await isThere(lab))
  })

  await t.test("one that is wrong touches nothing: all that is wrong, exit 2", async (t) => {
    const { file, lab } = write("wrong", [{ deploy: "nowhere.weft.yaml" }, { inject: { "link-down": "db:eth9" } }, { waite: "1s" }])
    const { code, stderr } = await weftd.weft(["rehearse", file])
    t.equal(code, 2)
    t.match(stderr, /steps\[0\]\.deploy: cannot read it: no such file/)
    t.match(stderr, /unknown key: expected one of .*\(did you mean wait\?\)/)
    t.match(stderr, /nothing was touched/)
    t.notOk(await isThere(lab))
    const nobody = await weftd.weft(["rehearse", file, "--daemon", "unix:/nowhere/weftd.sock"])
    t.equal(nobody.code, 3)
  })

  await t.test("Ctrl-C: faults are healed, the lab is destroyed, there is a record, exit 1", async (t) => {
    const { file, lab } = write("ctrl-c", [cut, { name: "long", wait: "60s" }])
    const { child, end } = await begin(file, /long wait 60s/)
    child.kill("SIGINT")
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", runs: [{ healed: true, destroyed: true, faults: [{ kind: "link-down" }] }] })
    t.match(record.runs[0]?.steps.map(({ state }) => state), ["passed", "passed", "stopped"])
    t.notOk(await isThere(lab))
  })

  await t.test("a client that dies: the daemon heals, and leaves a lab that was there as it was", async (t) => {
    const { file, lab } = write("orphan", [cut, { name: "long", wait: "60s" }])
    await weftd.make(before(lab))
    const { child, end } = await begin(file, /long wait 60s/, "--lab", lab)
    t.equal((await weftd.client.faults(lab)).length, 1)
    child.kill("SIGKILL")
    await end()
    await until("the fault is healed", async () => (await weftd.client.faults(lab)).length === 0, 15_000)
    t.strictSame(await weftd.plan(before(lab)), [])
    await weftd.destroy(lab)
  })

  await t.test("a daemon that dies in the middle: it heals when it is back, the client has the lab destroyed, exit 1", async (t) => {
    const { file, lab } = write("dead", [cut, { name: "long", wait: "60s" }])
    const { end } = await begin(file, /long wait 60s/)
    await weftd.kill()
    await weftd.start()
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", reasons: [/the daemon went away; it is back, and lab .* is destroyed/] })
    t.match(record.runs[0]?.steps.map(({ state }) => state), ["passed", "passed", "stopped"])
    t.ok((record.runs[0]?.flows[0]?.received ?? 0) > 50, "what was seen before is in the record")
    t.notOk(await isThere(lab))
  })

  await t.test("a daemon that is told to end in the middle: the rehearsal ends first", async (t) => {
    const { file, lab } = write("stop", [cut, { name: "long", wait: "60s" }])
    const { end } = await begin(file, /long wait 60s/)
    await weftd.stop()
    await weftd.start()
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record, { verdict: "broken-off", runs: [{ healed: true, destroyed: true }] })
    t.notOk(await isThere(lab))
  })

  await t.test("an end of a flow that vanishes is said, and fails the rehearsal", async (t) => {
    const { file, lab } = write("vanish", [{ name: "long", wait: "4s" }, { name: "next", wait: "60s" }])
    const { end } = await begin(file, /long wait 4s/)
    sh("ip", "netns", "delete", Netns.nodeName(lab, "db"))
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record.reasons, [/^step long: flow orders: node db is gone$/])
    t.notOk(await isThere(lab))
  })
})

t.test("from static routes to BGP without losing a packet", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("rehearse-bgp")
  t.teardown(() => weftd.close())
  const { code, stderr, stdout } = await weftd.weft(
    ["rehearse", join(checkout, "topologies/static-to-bgp.rehearsal.yaml"), "--lab", weftd.name("bgp"), "-o", "json"], { timeoutMs: 90_000 })
  t.equal(code, 0, stderr)
  const record = JSON.parse(stdout) as RehearsalRecord
  t.strictSame(record.reasons, [])
  for (const { lost, name, sent } of record.runs[0]!.flows) t.ok(lost === 0 && sent > 0, `${name}: ${sent} sent, ${lost} lost`)
})
