/** Labs over two hosts: links and networks on every path between them, changed while they run. */
import t from "tap"
import { HostPair, type Family } from "./host-pair.ts"
import { needsRoot, until } from "./harness.ts"

type Words = Readonly<Record<string, unknown>>

const nodes = { a: { kind: "host", host: "h1" }, b: { kind: "host", host: "h2" } }
const link = (more: Words = {}, lab: Words = {}) => ({
  ...lab,
  nodes,
  links: [{ name: "wire", endpoints: ["a:e1", "b:e1"], cidr: "10.9.0.0/24", ...more }]
})
const network = (lab: Words = {}) => ({
  ...lab,
  nodes: { a: nodes.a, b: nodes.b, c: { kind: "host", host: "h2" }, d: { kind: "host", host: "h1" } },
  networks: { lan: { cidr: "10.7.0.0/24", ports: ["a", "b", "c", "d"] } }
})

/** How frames cross, as the topology says it. */
const ways: ReadonlyArray<readonly [title: string, words: Words, underlay: Family]> = [
  ["the kernel's VXLAN over IPv4", {}, "ipv4"],
  ["the kernel's VXLAN over IPv6", {}, "ipv6"],
  ["the engine's VXLAN over IPv4", { datapath: "engine" }, "ipv4"],
  ["Geneve over IPv6", { encapsulation: "geneve" }, "ipv6"],
  ["GRE over IPv4", { encapsulation: "gre" }, "ipv4"]
]

for (const [i, [title, words, underlay]] of ways.entries()) {
  t.test(`a link and a network by ${title}`, { skip: needsRoot }, async (t) => {
    const pair = await HostPair.make(`way${i}`, { underlay })
    t.teardown(() => pair.close())
    const topology = { ...network(words), ...link(), ...words, nodes: network().nodes }
    await pair.deploy(topology)
    t.ok(await pair.ping("a", "10.9.0.2"), "the link")
    t.ok(await pair.ping("a", "10.7.0.2"), "the network")
    t.ok(await pair.ping("d", "10.7.0.3"))
    t.ok(await pair.ping("b", "10.7.0.3"), "on one host")
    t.strictSame(await pair.drift(), [])
    t.strictSame(await pair.deploy(topology), [], "the same again changes nothing")
  })
}

for (const underlay of ["ipv4", "ipv6"] as const) {
  t.test(`packets of 9001 octets cross an underlay of 1500 over ${underlay}`, { skip: needsRoot }, async (t) => {
    const pair = await HostPair.make(`jumbo${underlay}`, { underlay })
    t.teardown(() => pair.close())
    const sized = (mtu: number) => ({ ...network(), ...link({ mtu }), nodes: network().nodes })
    const crosses = (mtu: number) => pair.ping("a", "10.9.0.2", "-M", "do", "-s", String(mtu - 28))
    await pair.deploy(sized(9001))
    for (const length of [64, 1400, 1500, 4000, 9001]) t.ok(await crosses(length), `${length} octets`)
    t.notOk(await crosses(9002), "the link's own MTU holds")
    t.strictSame(await pair.drift(), [])
    t.strictSame(await pair.deploy(sized(9001)), [], "the same again changes nothing")
    await pair.deploy(sized(1400))
    t.ok(await crosses(1400))
    t.strictSame(await pair.drift(), [], "and after a change")
    t.ok(await pair.ping("a", "10.7.0.2", "-s", "1472"), "a network of the usual MTU")
  })
}

t.test("a running lab changes how its frames cross", { skip: needsRoot }, async (t) => {
  const pair = await HostPair.make("change")
  t.teardown(() => pair.close())
  const steps: ReadonlyArray<readonly [title: string, more: Words, lab: Words]> = [
    ["the kernel's VXLAN", {}, {}],
    ["with a profile", { delay: "3ms" }, {}],
    ["another profile", { delay: "5ms" }, {}],
    ["by the engine, with the profile", { delay: "5ms" }, { datapath: "engine" }],
    ["by the engine", {}, { datapath: "engine" }],
    ["Geneve", {}, { encapsulation: "geneve" }],
    ["another port", {}, { port: 5000 }],
    ["the engine on that port", {}, { port: 5000, datapath: "engine" }],
    ["and back", {}, { port: 5000 }],
    ["GRE with a profile", { delay: "3ms" }, { encapsulation: "gre" }],
    ["the kernel's VXLAN with a profile", { delay: "3ms" }, {}],
    ["without", {}, {}]
  ]
  for (const [i, [title, more, lab]] of steps.entries()) {
    const done = await pair.deploy(link(more, lab))
    if (i > 0) t.strictSame(done.map(({ action, id }) => `${action} ${id}`), Array(2).fill("update segment/link/wire"), title)
    t.ok(await pair.ping("a", "10.9.0.2"), `${title}: forwards`)
    const { stdout } = await pair.run("a", "ping", "-n", "-c", "3", "-i", "0.05", "10.9.0.2")
    const fastest = Math.min(...[...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])))
    const wanted = more["delay"] === undefined ? 0 : 2 * Number.parseInt(String(more["delay"]))
    t.ok(fastest >= wanted && fastest < wanted + 2, `${title}: ${fastest} ms`)
    t.strictSame(await pair.drift(), [], title)
    t.strictSame(await pair.deploy(link(more, lab)), [], `${title}: the same again changes nothing`)
  }
})
