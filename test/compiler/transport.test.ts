/** Which host has a node and how frames cross between hosts: what is written, and what the plan says. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import type { Plan, SegmentSpec } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const planOf = (topology: object): Plan => {
  const result = load({ filename: "f", content: JSON.stringify({ name: "lab", ...topology }) })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}

const host = { kind: "host" }

t.test("compile gives nodes the host of the node, else of its group, else of its first network", async (t) => {
  const plan = planOf({
    groups: { far: { host: "h2" }, farther: { group: "far" }, near: { group: "far", host: "h1" } },
    nodes: {
      own: { ...host, group: "far", host: "h9" },
      grouped: { ...host, group: "farther" },
      nearest: { ...host, group: "near" },
      wired: host,
      second: host,
      free: host
    },
    networks: {
      lan: { ports: ["own", "grouped", "wired"], host: "h3" },
      dmz: { ports: ["second"] },
      wan: { ports: ["second"], host: "h4" }
    }
  })
  t.strictSame(plan.nodes.map(({ host, name, pinned }) => [name, host, pinned?.path]), [
    ["own", "h9", "nodes.own.host"],
    ["grouped", "h2", "groups.far.host"],
    ["nearest", "h1", "groups.near.host"],
    ["wired", "h3", "networks.lan.host"],
    ["second", undefined, undefined],
    ["free", undefined, undefined]
  ])
})

const segmentsOf = (topology: object): ReadonlyArray<SegmentSpec> =>
  planOf({ nodes: { a: host, b: host }, ...topology }).resources
    .flatMap(({ kind, spec }) => (kind === "segment" ? [spec as SegmentSpec] : []))

const link = (more: object = {}): object => ({ endpoints: ["a", "b"], ...more })

const cases: ReadonlyArray<readonly [title: string, topology: object, expected: ReadonlyArray<string>]> = [
  ["nothing for what is usual", { links: [link()], encapsulation: "vxlan", port: 4789, datapath: "auto" }, ["-"]],
  ["a port", { links: [link()], port: 8472 }, ["vxlan 8472 auto"]],
  ["Geneve's port", { links: [link(), link({ datapath: "engine" })], encapsulation: "geneve" }, ["geneve 6081 auto", "geneve 6081 engine"]],
  ["a port for Geneve", { links: [link()], encapsulation: "geneve", port: 7000 }, ["geneve 7000 auto"]],
  ["no port for GRE", { links: [link()], encapsulation: "gre" }, ["gre 0 auto"]],
  ["the engine's own port", { links: [link({ datapath: "engine" }), link()] }, ["vxlan 14789 engine", "-"]],
  ["one port where all is the engine's", { links: [link()], datapath: "engine", port: 4789 }, ["vxlan 4789 engine"]],
  ["a datapath of its own", { links: [link({ datapath: "auto" }), link()], datapath: "kernel" }, ["-", "vxlan 4789 kernel"]],
  ["networks' datapath", { networks: { lan: { ports: ["a", "b"], datapath: "engine" } } }, ["vxlan 14789 engine"]]
]

for (const [title, topology, expected] of cases) {
  t.test(`compile gives segments ${title}`, async (t) => {
    const found = segmentsOf(topology).map(({ transport }) =>
      transport === undefined ? "-" : `${transport.encapsulation} ${transport.port} ${transport.datapath}`
    )
    t.strictSame(found, expected)
  })
}

t.test("compile writes Geneve's options as they stand in its header", async (t) => {
  const optionsOf = (options: ReadonlyArray<object>): string | undefined =>
    segmentsOf({ links: [link()], encapsulation: "geneve", "geneve-options": options })[0]!.transport!.options
  t.equal(optionsOf([]), undefined)
  t.equal(optionsOf([{ class: 0x102, type: 1 }]), "01020100")
  const two = [{ class: "0x102", type: 1, data: "00C0FFEE", critical: true }, { class: 65535, type: 127 }]
  t.equal(optionsOf(two), "0102810100c0ffeeffff7f00")
  const most = [124, 120].map((length) => ({ class: 0, type: 0, data: "00".repeat(length) }))
  t.equal(optionsOf(most)!.length, 2 * 252, "as many as there is room for")
})

t.test("compile leads a plain link of the engine through it, with profiles that do nothing", async (t) => {
  const engine = { datapath: "engine", seed: 7 }
  const [forced, plain, profiled] = segmentsOf({ links: [link(engine), link(), link({ delay: "1ms", ...engine })] })
  t.strictSame(forced!.profiles, { aToB: {}, bToA: {}, seed: 7 })
  t.strictSame(forced!.endpoints, ["a:eth0", "b:eth0"])
  t.equal(plain!.profiles, undefined)
  t.strictSame(profiled!.profiles, { aToB: { delayMs: 1 }, bToA: { delayMs: 1 }, seed: 7 })
  const network = segmentsOf({ networks: { lan: { ports: ["a", "b"], datapath: "engine" } } })[0]!
  t.equal(network.profiles, undefined)
})

t.test("a link under a lab's datapath: kernel may have a profile", async (t) => {
  const [profiled] = segmentsOf({ datapath: "kernel", links: [link({ delay: "1ms" })] })
  t.strictSame(profiled!.transport, { encapsulation: "vxlan", port: 4789, datapath: "kernel" }, "the tunnel is the kernel's")
  t.strictSame(profiled!.profiles!.aToB, { delayMs: 1 }, "the delay is the engine's")
})
