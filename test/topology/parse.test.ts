import t from "tap"
import { parseTopology } from "../../daemon/topology/parse.ts"
import type { Topology } from "../../daemon/topology/model.ts"

const parse = (content: string, lab?: string) =>
  parseTopology({ filename: "f", content, ...(lab === undefined ? {} : { lab }) })

const accepted = (content: string, lab?: string): Topology => {
  const result = parse(content, lab)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.topology
}

t.test("parseTopology reads bytes, text and a byte order mark alike", async (t) => {
  const text = "name: lab\nnodes: { a: { kind: host } }\n"
  for (const content of [text, `\ufeff${text}`, Buffer.from(text), Buffer.from(`\ufeff${text}`), text.replaceAll("\n", "\r\n")]) {
    const result = parseTopology({ filename: "f", content })
    t.equal(result.ok && result.topology.nodes.has("a"), true)
  }
})

t.test("the lab's name can be given from outside", async (t) => {
  const text = "name: lab\nnodes: {}\n"
  t.equal(accepted(text).lab, "lab")
  t.equal(accepted(text, "other").lab, "other")
  for (const lab of ["", "../x", "fabric", "A"]) t.equal(parse(text, lab).ok, false, lab)
})

t.test("values keep the position they were written at", async (t) => {
  const { nodes, segments, locate } = accepted(`name: lab
groups:
  g: { mtu: 1400 }
nodes:
  a: { kind: host, group: g }
  b: { kind: router }
links:
  - endpoints: [a, "b:wan"]
    cidr: 10.0.0.0/30
`)
  const a = nodes.get("a")!
  t.same(a.mtu, { value: 1400, path: ["groups", "g", "mtu"] }, "of the group")
  t.same(locate(a.mtu!.path), { line: 3, column: 13 })
  t.same(locate(a.mtu!.path, "key"), { line: 3, column: 8 })
  t.same(locate(segments[0]!.cidrs[0]!.path), { line: 9, column: 11 })
  t.same(locate(["nodes", "a", "no", "such", "path"]), locate(["nodes", "a"]), "nearest ancestor")
})

t.test("settings come from defaults, kind, groups and the node, the nearest winning", async (t) => {
  const { nodes } = accepted(`name: lab
defaults:
  { mtu: 1200, sysctls: { net.a: 1, net.b: 1 }, labels: { a: 1, b: 1, c: 1, d: 1 }, exec: [one], kind: host,
    host: { mtu: 1300, labels: { b: 2 } } }
groups:
  base: { labels: { c: 3 }, exec: [two], dns: { servers: 192.0.2.1, search: a.example } }
  sub: { group: base, labels: { d: 4 }, dns: { servers: [192.0.2.2] } }
nodes:
  n: { group: sub, exec: [three], sysctls: { net.b: true } }
  r: { kind: router }
`)
  const n = nodes.get("n")!
  t.equal(n.kind, "host")
  t.equal(n.mtu?.value, 1300)
  t.equal(nodes.get("r")!.mtu?.value, 1200)
  t.same(n.labels, { a: "1", b: "2", c: "3", d: "4" })
  t.same(n.exec.map((command) => command.value), [["one"], ["two"], ["three"]], "lists are joined")
  t.same([...n.sysctls].map(([name, { value }]) => `${name}=${value}`), ["net.a=1", "net.b=1"])
  t.same(n.dns?.value, { servers: ["192.0.2.2"], search: ["a.example"] }, "each part of dns by itself")
})

t.test("a port without a name gets the lowest free ethN", async (t) => {
  const { nodes } = accepted(`name: lab
nodes: { a: { kind: host }, b: { kind: host } }
links:
  - endpoints: [a, b]
  - endpoints: ["a:eth1", "b:up"]
networks:
  one: { ports: [a] }
  two: { ports: [a, b] }
`)
  const names = (node: string): ReadonlyArray<string> => nodes.get(node)!.ports.map((port) => `${port.segment.name}=${port.ifname}`)
  t.same(names("a"), ["one=eth0", "two=eth2", "a:eth3--b:eth1=eth3", "a:eth1--b:up=eth1"], "explicit, then networks, then links")
  t.same(names("b"), ["two=eth0", "a:eth3--b:eth1=eth1", "a:eth1--b:up=up"])
})

t.test("YAML anchors work, and share nothing but values", async (t) => {
  const { nodes } = accepted(`name: lab
nodes:
  a: &node { kind: host, labels: &l { x: 1 } }
  b: *node
  c: { kind: router, labels: *l }
`)
  const labels = { x: "1" }
  t.same([...nodes.values()].map((node) => [node.kind, node.labels]), [["host", labels], ["host", labels], ["router", labels]])
})

t.test("names of JavaScript are names like others", async (t) => {
  const { nodes } = accepted(`name: lab
nodes:
  constructor: { kind: host, labels: { toString: x, constructor: y } }
networks:
  valueof: { ports: [constructor] }
`)
  t.same(nodes.get("constructor")!.labels, { toString: "x", constructor: "y" })
})

t.test("independent errors come together, consequences do not", async (t) => {
  const result = parse(`name: lab
nodes:
  a: { kind: hots }
  b: { kind: host, group: nobody }
networks:
  lan: { ports: [a, b, "a:eth7", cc] }
`)
  t.same(result.ok ? [] : result.diagnostics.map((d) => `${d.line} ${d.path}`), [
    "3 nodes.a.kind", "4 nodes.b.group", "6 networks.lan.ports[3]"
  ], "nothing about the ports of a and b")
})
