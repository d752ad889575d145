import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { hostsWithNodes, onOneHost, partOf, spanning } from "../../daemon/plan/part.ts"
import type { Plan, SegmentSpec, Transport } from "../../daemon/plan/resource.ts"
import { seeded } from "../random.ts"
import { plans } from "./plans.ts"

const vteps: Readonly<Record<string, string>> = { h1: "192.0.2.1", h2: "192.0.2.2", h3: "2001:db8::3" }
const vtepOf = (host: string): string | undefined => vteps[host]

const compiled = (topology: object): Plan => {
  const result = load({ filename: "f", content: JSON.stringify({ name: "lab", ...topology }) })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.plan
}

const on = (plan: Plan, where: Readonly<Record<string, string>>): Plan => ({
  ...plan,
  nodes: plan.nodes.map((node) => ({ ...node, ...(where[node.name] === undefined ? {} : { host: where[node.name]! }) }))
})

const carried = (plan: Plan, transport: Transport): Plan => ({
  ...plan,
  resources: plan.resources.map((one) => (one.kind === "segment" ? { ...one, spec: { ...one.spec, transport } } : one))
})

const segmentsOf = (plan: Plan): Readonly<Record<string, SegmentSpec>> =>
  Object.fromEntries(plan.resources.flatMap((one) => (one.kind === "segment" ? [[one.spec.name, one.spec]] : [])))

const memberships = (plan: Plan): ReadonlyArray<string> =>
  Object.values(segmentsOf(plan)).flatMap(({ name, ports }) => ports.map((port) => `${name} ${port}`))

const branch = compiled({
  nodes: { fw: { kind: "router" }, isp: { kind: "router" }, pc: { kind: "host" }, tv: { kind: "host" } },
  networks: { lan: { cidr: "10.0.0.0/24", ports: ["pc", "tv", "fw:lan"] } },
  links: [{ name: "wan", endpoints: ["isp:e1", "fw:wan"], cidr: "203.0.113.0/30", delay: { "a-to-b": "4ms" }, seed: 7 }]
})
const spread = on(branch, { fw: "h2", isp: "h1", pc: "h1", tv: "h3" })

t.test("partOf keeps the nodes of the host and everything of theirs", async (t) => {
  const part = partOf(spread, "h1", vtepOf)
  t.strictSame(part.nodes.map(({ name }) => name), ["isp", "pc"])
  t.strictSame(new Set(part.resources.flatMap(({ spec }) => ("node" in spec ? [spec.node] : []))), new Set(["isp", "pc"]))
  t.ok(part.resources.some(({ kind }) => kind === "hosts-file"))
  t.strictSame(part.segments.map(({ name }) => name).toSorted(), ["lan", "wan"])
  const ids = new Set(part.resources.map(({ id }) => id))
  t.ok(part.resources.every(({ dependsOn }) => dependsOn.every((id) => ids.has(id))), "nothing waits for another host")
})

t.test("partOf gives a segment that spans hosts its local ports and a tunnel to the others", async (t) => {
  const usual = { encapsulation: "vxlan", port: 4789, datapath: "auto" } as const
  t.match(segmentsOf(partOf(spread, "h1", vtepOf))["lan"], {
    ports: ["pc:eth0"], tunnel: { ...usual, vteps: ["192.0.2.2", "2001:db8::3"] }
  })
  t.strictSame(segmentsOf(partOf(spread, "h3", vtepOf))["lan"]!.tunnel, { ...usual, vteps: ["192.0.2.1", "192.0.2.2"] })
  const geneve = { encapsulation: "geneve", port: 6081, datapath: "engine", options: "01020100" } as const
  const { tunnel, transport } = segmentsOf(partOf(carried(spread, geneve), "h2", vtepOf))["lan"]!
  t.strictSame([tunnel, transport], [{ ...geneve, vteps: ["192.0.2.1", "2001:db8::3"] }, undefined])
})

t.test("partOf leaves to each host the direction of a link that leaves it", async (t) => {
  const aToB = segmentsOf(partOf(spread, "h1", vtepOf))["wan"]!
  t.strictSame([aToB.endpoints, aToB.profiles, aToB.ports], [
    ["isp:e1", "fw:wan"], { aToB: { delayMs: 4 }, bToA: {}, seed: 7 }, ["isp:e1"]
  ])
  const bToA = segmentsOf(partOf(spread, "h2", vtepOf))["wan"]!
  t.notOk("profiles" in bToA || "endpoints" in bToA, "that one is a plain wire")
  t.strictSame(bToA.tunnel!.vteps, ["192.0.2.1"])
})

t.test("partOf sends nothing to a host whose address is not known", async (t) => {
  t.strictSame(segmentsOf(partOf(spread, "h1", (host) => (host === "h3" ? undefined : vteps[host])))["lan"]!.tunnel!.vteps, ["192.0.2.2"])
  t.strictSame(segmentsOf(partOf(spread, "h1", () => undefined))["wan"]!.tunnel!.vteps, [], "and it is no local link for that")
})

t.test("partOf names an address once, whoever shares it", async (t) => {
  t.strictSame(segmentsOf(partOf(spread, "h1", () => "192.0.2.9"))["lan"]!.tunnel!.vteps, ["192.0.2.9"])
})

t.test("partOf makes of a segment on one host what it is without others", async (t) => {
  const together = on(branch, { fw: "h1", isp: "h1", pc: "h1", tv: "h2" })
  const wan = segmentsOf(partOf(together, "h1", vtepOf))["wan"]
  t.strictSame(wan, segmentsOf(branch)["wan"])
  const engine = { encapsulation: "vxlan", port: 14789, datapath: "engine" } as const
  t.strictSame(segmentsOf(partOf(carried(together, engine), "h1", vtepOf))["wan"], wan, "how it would cross the underlay has no meaning")
  t.notOk("wan" in segmentsOf(partOf(together, "h2", vtepOf)))
})

t.test("partOf gives a host without nodes nothing", async (t) => {
  t.strictSame(partOf(spread, "h9", vtepOf), { lab: "lab", nodes: [], segments: [], resources: [] })
})

t.test("partOf leaves a network without ports to one host", async (t) => {
  const nodes = { a: { kind: "host" }, b: { kind: "host" } }
  const bare = on(compiled({ nodes, networks: { spare: { ports: [] } } }), { a: "h1", b: "h2" })
  t.ok("spare" in segmentsOf(partOf(bare, "h1", vtepOf)))
  t.notOk("spare" in segmentsOf(partOf(bare, "h2", vtepOf)))
})

for (const [file, plan] of plans) {
  t.test(`partOf on the only host is ${file} itself`, async (t) => {
    t.strictSame(partOf(onOneHost(plan), "h1", () => undefined), onOneHost(plan))
  })

  t.test(`the parts of ${file} are the whole, wherever its nodes are`, async (t) => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = seeded(seed)
      const placed: Plan = { ...plan, nodes: plan.nodes.map((node) => ({ ...node, host: random.pick(["h1", "h2", "h3"]) })) }
      const parts = hostsWithNodes(placed).map((host) => partOf(placed, host, vtepOf))
      const of = (one: Plan): ReadonlyArray<string> =>
        one.resources.flatMap(({ id, kind }) => (kind === "segment" || kind === "hosts-file" ? [] : [id]))
      t.strictSame(parts.flatMap(of).toSorted(), of(placed).toSorted(), `seed ${seed}: every resource is on one host`)
      t.strictSame(parts.flatMap(memberships).toSorted(), memberships(placed).toSorted(), "and every port in its segment")
      for (const { segment, hosts } of spanning(placed)) {
        for (const host of hosts) {
          const expected = hosts.filter((other) => other !== host).map((other) => vteps[other]!)
          t.strictSame(segmentsOf(partOf(placed, host, vtepOf))[segment.spec.name]!.tunnel!.vteps, expected.toSorted())
        }
      }
      const tunnels = parts.flatMap((part) => Object.values(segmentsOf(part)).filter((spec) => spec.tunnel !== undefined))
      t.equal(tunnels.length, spanning(placed).reduce((sum, { hosts }) => sum + hosts.length, 0), "and nothing else has a tunnel")
    }
  })
}
