/** `weft rehearse` with real labs: what passes, what breaks, what is wrong, what vanishes. */
import { join } from "node:path"
import t from "tap"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import * as Netns from "../../daemon/linux/netns.ts"
import { sh, Weftd } from "./daemon-harness.ts"
import { checkout, needsRoot } from "./harness.ts"
import { cut, flows, Stage } from "./rehearse-harness.ts"

t.test("weft rehearse", { skip: needsRoot }, async (t) => {
  const stage = await Stage.open("rehearse")
  const { weftd } = stage
  t.teardown(() => stage.close())

  await t.test("one that passes: another version under traffic, a flow that begins with it, checks", async (t) => {
    const { file, lab } = stage.write("pass", [
      { deploy: "after.weft.yaml" },
      { exec: { node: "pc", command: "ip route show", output: "^default via 10\\.1\\.0\\." } },
      { check: [{ reachable: { from: "pc", to: "web" } }, { unreachable: { from: "pc", to: "10.9.9.9" } }] },
      { name: "quiet", "probe-only": "1s" }
    ], { flows: [...flows, { name: "shop", from: "pc", to: "web", protocol: "icmp", spacing: "10ms" }] })
    const { code, record, stderr } = await stage.rehearse(file)
    t.equal(code, 0, stderr)
    t.equal(record.verdict, "passed", record.reasons?.join(", "))
    const [run] = record.runs
    t.strictSame(run?.steps.map(({ state }) => state), ["passed", "passed", "passed", "passed", "passed"])
    t.match(run, { healed: true, destroyed: true, checks: [{ outcome: "passed" }, { outcome: "passed" }] })
    for (const flow of run?.flows ?? []) t.ok(flow.received > 50, `${flow.name}: ${flow.received} of ${flow.sent}`)
    t.strictSame([run?.before?.nodes.length, run?.after?.nodes.length], [3, 4])
    t.notOk(await stage.isThere(lab))
  })

  await t.test("one whose budget breaks names flow, step and milliseconds, and rolls back", async (t) => {
    const { file, lab } = stage.write("broken", [cut, { name: "never", wait: "60s" }],
      { budgets: { "max-outage": "200ms" }, "roll-back": [{ name: "mend", heal: "all" }, { deploy: "before.weft.yaml" }] })
    const { code, record, stderr } = await stage.rehearse(file)
    t.equal(code, 1, stderr)
    t.match(record.reasons, [/^flow orders, step cut: out for \d+(\.\d+)? m?s, max-outage is 200ms$/])
    const [run] = record.runs
    t.strictSame(run?.steps.map(({ state }) => state), ["passed", "broken", "skipped", "passed", "passed"])
    t.match(run, { rolledBack: true, healed: true, destroyed: true })
    t.notOk(await stage.isThere(lab))
  })

  await t.test("one that is wrong touches nothing: all that is wrong, exit 2", async (t) => {
    const { file, lab } = stage.write("wrong", [{ deploy: "nowhere.weft.yaml" }, { inject: { "link-down": "db:eth9" } }, { waite: "1s" }])
    const { code, stderr } = await weftd.weft(["rehearse", file])
    t.equal(code, 2)
    t.match(stderr, /steps\[0\]\.deploy: cannot read it: no such file/)
    t.match(stderr, /unknown key: expected one of .*\(did you mean wait\?\)/)
    t.match(stderr, /nothing was touched/)
    t.notOk(await stage.isThere(lab))
    const nobody = await weftd.weft(["rehearse", file, "--daemon", "unix:/nowhere/weftd.sock"])
    t.equal(nobody.code, 3)
  })

  await t.test("an end of a flow that vanishes is said, and fails the rehearsal", async (t) => {
    const { file, lab } = stage.write("vanish", [{ name: "long", wait: "4s" }, { name: "next", wait: "60s" }])
    const { end } = await stage.begin(file, /long wait 4s/)
    sh("ip", "netns", "delete", Netns.nodeName(lab, "db"))
    const { code, record, stderr } = await end()
    t.equal(code, 1, stderr)
    t.match(record.reasons, [/^step long: flow orders: node db is gone$/])
    t.notOk(await stage.isThere(lab))
  })
})

t.test("from static routes to BGP without losing a packet", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("rehearse-bgp")
  t.teardown(() => weftd.close())
  const file = join(checkout, "topologies/static-to-bgp.rehearsal.yaml")
  const { code, stderr, stdout } = await weftd.weft(
    ["rehearse", file, "--lab", weftd.name("bgp"), "-o", "json"], { timeoutMs: 300_000 })
  t.equal(code, 0, stderr)
  const record = JSON.parse(stdout) as RehearsalRecord
  t.strictSame(record.reasons, [])
  for (const { lost, name, sent } of record.runs[0]!.flows) t.ok(lost === 0 && sent > 0, `${name}: ${sent} sent, ${lost} lost`)
})
