/** `weft check` of a lab that spans hosts: each node is asked by the daemon of its host, whichever daemon runs the suite. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot } from "./harness.ts"

t.setTimeout(600_000)

const topology = (name: string) => ({
  name,
  nodes: { a: { kind: "host", host: "h1" }, r: { kind: "router", host: "h2" }, b: { kind: "host", host: "h2" } },
  networks: { left: { cidr: "10.1.0.0/24", gateway: "r", ports: ["r:left", "a"] },
    right: { cidr: "10.2.0.0/24", gateway: "r", ports: ["r:right", "b"] } }
})

const checks = [
  { "all-pairs": { nodes: ["a", "b"], tcp: 80, udp: 53, icmp: true } },
  { path: { from: "a", to: "b", exactly: "r" } },
  { path: { from: "b", to: "a", exactly: "r" } },
  { source: { from: "a", to: "b", "seen-as": "own" } },
  { route: { node: "b", to: "default", via: "r" } },
  { exec: { node: "b", command: "echo there", stdout: "there" } },
  { latency: { from: "b", to: "a", for: "200ms", protocol: "udp", p50: "1s" } },
  { throughput: { from: "a", to: "b", for: "200ms", "at-least": "1kbit" } }
]

t.test("weft check of a lab that spans hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("check", { hosts: 2 })
  t.teardown(() => fleet.close())
  const folder = mkdtempSync(join(tmpdir(), "weft-fleet-check-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const lab = fleet.name("check")
  await fleet.make(topology(lab))
  const suite = join(folder, "a.check.yaml")
  writeFileSync(suite, JSON.stringify({ lab, defaults: { eventually: "10s" }, checks }))
  for (const via of [1, 2]) {
    const { code, stderr, stdout } = await fleet.weft(via, ["check", suite], { timeoutMs: 300_000 })
    t.equal(code, 0, `asked of h${via}: ${stdout}${stderr}`)
  }
  t.match(fleet.weftd(2).log, /access\.granted weft\.v1\.Peers\/Command "t\d+-check b" to .* through "h1" \(daemon/)
  writeFileSync(suite, JSON.stringify({ lab, checks: [{ reachable: { from: "b", to: "192.0.2.1" } }] }))
  const lost = await fleet.weft(1, ["check", suite])
  t.equal(lost.code, 1)
  t.match(lost.stdout, /b > r: r \(10\.2\.0\.1\) says .*unreachable; r has no route to 192\.0\.2\.1/)
})
