import { execFileSync } from "node:child_process"
import t from "tap"
import type { NatSpec } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/resources/nat.ts"
import { matchesGolden } from "../topology/golden.ts"

const empty: NatSpec = { node: "fw", masquerade: [], oneToOne: [], portForward: [], mssClamp: [] }

/** Every rule in every form. */
const full: NatSpec = {
  node: "fw",
  masquerade: [
    { out: "wan", exceptTo: [] },
    { out: "wan", from: "10.10.0.0/24", exceptTo: ["10.20.0.0/16"] },
    { out: "wan", from: "10.10.0.5", exceptTo: ["10.20.0.0/16", "192.0.2.1", "2001:db8::/32"] },
    { out: "wan", from: "2001:db8:1::/64", exceptTo: ["10.0.0.0/8", "2001:db8::/32"] }
  ],
  oneToOne: [
    { public: "203.0.113.10", private: "10.10.0.10" },
    { public: "2001:db8::10", private: "fd00::10", on: "wan" }
  ],
  portForward: [
    { protocol: "tcp", port: 443, to: "10.10.0.20", toPort: 8443 },
    { on: "wan", address: "203.0.113.1", protocol: "udp", port: 53, to: "10.10.0.53", toPort: 53 },
    { on: "wan", address: "2001:db8::1", protocol: "tcp", port: 22, to: "fd00::22", toPort: 22 }
  ],
  mssClamp: [{ mss: "pmtu" }, { out: "wan", mss: 1360 }]
}

for (const [name, spec] of Object.entries({ empty, full })) {
  t.test(`render of ${name} rules is what a person has reviewed`, async (t) => {
    const lines = render(spec).map((command) => `${JSON.stringify(command)}\n`).join("")
    matchesGolden(t, new URL(`golden/nat-${name}.jsonl`, import.meta.url), lines)
  })
}

t.test("nft accepts what render makes", async (t) => {
  const folder = t.testdir({ "rules.json": JSON.stringify({ nftables: render(full) }) })
  const argv = ["--user", "--map-root-user", "--net", "nft", "--check", "--json", "--file", `${folder}/rules.json`]
  try {
    t.equal(execFileSync("unshare", argv, { encoding: "utf8", stdio: "pipe" }), "")
  } catch (error) {
    const said = (error as { stderr?: string }).stderr ?? String(error)
    // A machine may forbid user namespaces, or have no nft yet; the tests that need root apply rules for real.
    if (/unshare: |unshare failed|ENOENT/.test(said)) t.comment(said)
    else t.fail(said)
  }
})
