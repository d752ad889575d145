/**
 * `weft rehearse` of a lab that spans hosts: asked of one host, flows run from the nodes of another, and so do commands, checks and faults.
 *
 *     a (h1) ---- r (h2) ---- b (h2)
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot } from "./harness.ts"

t.setTimeout(600_000)

const topology = (name: string, metric: number) => ({
  name,
  nodes: {
    a: { kind: "host", host: "h1" },
    r: { kind: "router", host: "h2", routes: [{ to: "192.0.2.0/24", type: "blackhole", metric }] },
    b: { kind: "host", host: "h2" }
  },
  networks: { left: { cidr: "10.1.0.0/24", gateway: "r", ports: ["r:left", "a"] } },
  links: [{ name: "right", endpoints: ["r:right", "b:eth0"], cidr: "10.2.0.0/24" }]
})

t.test("weft rehearse of a lab that spans hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("rehearse", { hosts: 2 })
  t.teardown(() => fleet.close())
  const folder = mkdtempSync(join(tmpdir(), "weft-fleet-rehearse-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const lab = fleet.name("rehearse")
  writeFileSync(join(folder, "one.weft.yaml"), JSON.stringify(topology(lab, 10)))
  writeFileSync(join(folder, "two.weft.yaml"), JSON.stringify(topology(lab, 20)))
  const file = join(folder, "a.rehearsal.yaml")
  writeFileSync(file, JSON.stringify({
    name: "spans", topology: "one.weft.yaml", settle: { "at-most": "20s" },
    flows: [
      { name: "there", from: "a", to: "b", spacing: "5ms" }, { name: "back", from: "b", to: "a", protocol: "icmp", spacing: "5ms" },
      { name: "near", from: "b", to: "r", spacing: "5ms", budget: "none" }
    ],
    budgets: { "max-outage": "30s" },
    steps: [
      { deploy: "two.weft.yaml" },
      { name: "look", exec: { node: "r", command: "ip route show", output: "blackhole 192\\.0\\.2\\.0/24 .*metric 20" } },
      { name: "reach", check: { reachable: { from: "a", to: "b" } } },
      { name: "cut", inject: { "link-down": "right" }, settle: "2s" },
      { name: "heal", heal: "cut" }
    ]
  }))
  const { code, stderr, stdout } = await fleet.weft(1, ["rehearse", file, "-o", "json"], { timeoutMs: 300_000 })
  const record = JSON.parse(stdout === "" ? "{}" : stdout) as RehearsalRecord
  t.equal(code, 0, `${stderr} ${record.reasons?.join(", ")}`)
  const [run] = record.runs
  for (const flow of run?.flows ?? []) {
    t.ok(flow.received > 0 && flow.error === "", `${flow.name}: ${flow.received} of ${flow.sent} ${flow.error}`)
    const ofCut = flow.outages.filter(({ step }) => step === "cut")
    t.ok(ofCut.length > 0 && ofCut.every(({ lasts }) => !lasts), `${flow.name} is out while its link is, and back then`)
  }
  t.match(run, { healed: true, destroyed: true })
})
