/** A lab over three hosts: deployed, looked at, changed and destroyed through any of their daemons. */
import t from "tap"
import { describe as lines } from "./daemon-harness.ts"
import { Fleet } from "./fleet-harness.ts"
import { needsRoot } from "./harness.ts"

const branch = (name: string, more: object = {}) => ({
  name,
  nodes: {
    pc: { kind: "host", host: "h1" },
    tv: { kind: "host", host: "h2" },
    fw: { kind: "router", host: "h2" },
    isp: { kind: "router", host: "h3" }
  },
  networks: { lan: { cidr: "10.10.0.0/24", ports: ["pc", "tv", "fw:lan"] } },
  links: [{ name: "wan", endpoints: ["fw:wan", "isp:e1"], cidr: "203.0.113.0/30" }],
  ...more
})

t.test("a lab over three hosts", { skip: needsRoot }, async (t) => {
  const fleet = await Fleet.start("lab", { hosts: 3 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("branch")

  const planned = await fleet.client(2).plan({ filename: "f", content: Buffer.from(JSON.stringify(branch(lab))) })
  t.strictSame([...new Set(planned.changes.map(({ host }) => host))], ["h1", "h2", "h3"])
  t.ok(lines(planned.changes).includes("+ node/pc"))

  const outcome = await fleet.make(branch(lab))
  t.ok(outcome.changed > 10, `${outcome.changed} changes`)
  const seen = await fleet.inspect(lab, 3)
  t.strictSame(seen.nodes.map(({ host, name, state }) => [name, host, state]), [
    ["pc", "h1", "ready"], ["tv", "h2", "ready"], ["fw", "h2", "ready"], ["isp", "h3", "ready"]
  ])
  t.strictSame([seen.lab.state, seen.drift, seen.unreachable, seen.host], ["ready", [], [], "h3"])
  t.ok(await fleet.pings(lab, "pc", "10.10.0.3"), "pc on h1 reaches fw on h2")
  t.ok(await fleet.pings(lab, "fw", "203.0.113.2"), "and fw on h2 reaches isp on h3")

  t.equal((await fleet.make(branch(lab), 2)).changed, 0, "the same again, through another host")
  t.match((await fleet.destroy(lab, 3)).changed, outcome.changed)
  t.strictSame((await fleet.client(1).list()), [])
})
