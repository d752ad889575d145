import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import type { Kind, Plan, ResourceOf } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"

const run = (content: string, lab?: string) => load({ filename: "f", content, ...(lab === undefined ? {} : { lab }) })

const planOf = (content: string, lab?: string): Plan => {
  const result = run(content, lab)
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}

const only = <K extends Kind>(plan: Plan, kind: K): ReadonlyArray<ResourceOf<K>> =>
  plan.resources.filter((resource) => resource.kind === kind) as ReadonlyArray<unknown> as ReadonlyArray<ResourceOf<K>>

const addresses = (plan: Plan): ReadonlyArray<string> =>
  only(plan, "address").map(({ spec }) => `${spec.node}:${spec.ifname} ${spec.address}`)

const routes = (plan: Plan): ReadonlyArray<string> =>
  only(plan, "route").map(({ spec: { node, to, via, nexthop, type } }) =>
    `${node} ${to} ${via?.gateway ?? nexthop ?? type} ${via?.ifname ?? ""}`.trim()
  )

const warnings = (content: string): ReadonlyArray<string> => {
  const result = run(content)
  return result.ok ? result.warnings.map((d) => `${d.path}: ${d.message}`) : ["refused"]
}

t.test("addresses are handed out in port order around those that are taken", async (t) => {
  const plan = planOf(`name: lab
nodes: { a: { kind: host }, b: { kind: host }, c: { kind: host }, d: { kind: router, loopback: 10.0.0.3 } }
networks:
  lan: { cidr: 10.0.0.0/29, ports: [a, { port: b, addresses: 10.0.0.1 }, c, d] }
`)
  t.same(addresses(plan).filter((text) => !text.includes(":lo")), [
    "a:eth0 10.0.0.2/29", "b:eth0 10.0.0.1/29", "c:eth0 10.0.0.4/29", "d:eth0 10.0.0.5/29"
  ])
})

t.test("an explicit address replaces the one of its prefix only", async (t) => {
  const plan = planOf(`name: lab
nodes: { a: { kind: host }, b: { kind: host } }
links: [{ endpoints: [{ port: a, addresses: "2001:db8::a" }, b], cidr: [10.0.0.0/30, "2001:db8::/64"] }]
`)
  t.same(addresses(plan), ["a:eth0 2001:db8::a/64", "a:eth0 10.0.0.1/30", "b:eth0 10.0.0.2/30", "b:eth0 2001:db8::1/64"])
})

t.test("two segments may use one prefix only if the topology allows it", async (t) => {
  const text = `name: lab
nodes: { a: { kind: host }, b: { kind: host } }
networks:
  one: { cidr: 10.0.0.0/24, ports: [a] }
  two: { cidr: 10.0.0.0/24, ports: [b] }
`
  t.equal(run(text).ok, false)
  t.same(addresses(planOf(`overlap: allow\n${text}`)), ["a:eth0 10.0.0.1/24", "b:eth0 10.0.0.1/24"])
})

t.test("a host's default gateway", async (t) => {
  const gateway = (host: string, network: string, more = ""): ReadonlyArray<string> =>
    routes(planOf(`name: lab
nodes: { h: { kind: host${host} }, r1: { kind: router }, r2: { kind: router } }
networks:
  lan: { cidr: [10.0.0.0/24, "2001:db8::/64"], ports: [h, r1, ${more}]${network} }
`)).filter((route) => route.startsWith("h"))
  t.same(gateway("", ""), ["h 0.0.0.0/0 10.0.0.2 eth0", "h ::/0 2001:db8::2 eth0"], "is the only router")
  t.same(gateway("", "", "r2"), [], "is not guessed among several")
  t.same(gateway("", ", gateway: r2", "r2"), ["h 0.0.0.0/0 10.0.0.1 eth0", "h ::/0 2001:db8::1 eth0"], "is the network's")
  t.same(gateway("", ", gateway: 10.0.0.9"), ["h 0.0.0.0/0 10.0.0.9 eth0"], "is the network's, by address")
  t.same(gateway("", ", gateway: none"), [], "is none where the network says so")
  t.same(gateway(", gateway: none", ", gateway: r1"), [], "is none where the host says so")
  t.same(gateway(", gateway: r2", ", gateway: r1", "r2"), ["h 0.0.0.0/0 10.0.0.3 eth0", "h ::/0 2001:db8::3 eth0"], "is its own first")
  t.same(gateway(", routes: [{ to: default, via: 10.0.0.77 }]", ""), ["h 0.0.0.0/0 10.0.0.77 eth0", "h ::/0 2001:db8::2 eth0"],
    "gives way to a default route of the same family")
})

t.test("link-local addresses are unique on their link only", async (t) => {
  const plan = planOf(`name: lab
nodes: { a: { kind: router, routes: [{ to: "::/0", via: "fe80::2", dev: eth1 }] }, b: { kind: router } }
links:
  - { endpoints: [{ port: a, addresses: "fe80::1/64" }, { port: b, addresses: "fe80::2/64" }] }
  - { endpoints: [{ port: a, addresses: "fe80::1/64" }, { port: b, addresses: "fe80::2/64" }] }
`)
  t.equal(addresses(plan).length, 4)
  t.same(routes(plan), ["a ::/0 fe80::2 eth1"])
})

t.test("several ways become one group, and the id stays when members change", async (t) => {
  const text = (ways: string): string => `name: lab
nodes: { a: { kind: router, routes: [{ to: 10.9.0.0/16, via: [${ways}] }] }, b: { kind: router }, c: { kind: router }, d: { kind: router } }
links:
  - { endpoints: [a, b], cidr: 10.0.0.0/31 }
  - { endpoints: [a, c], cidr: 10.0.0.2/31 }
  - { endpoints: [a, d], cidr: 10.0.0.4/31 }
`
  const [two, three] = ["b, c", "b, {to: c, weight: 2}, d"].map((ways) => only(planOf(text(ways)), "nexthop")[0]!)
  t.equal(two!.id, three!.id)
  t.same(three!.spec.members.map((member) => `${member.gateway} ${member.weight}`), ["10.0.0.1 1", "10.0.0.3 2", "10.0.0.5 1"])
  t.ok(two!.spec.id > 0 && two!.spec.id < 2 ** 31)
})

t.test("public addresses of NAT are answered for, and handed to nobody", async (t) => {
  const plan = planOf(`name: lab
nodes:
  fw: { kind: router, nat: { one-to-one: [{ public: 192.0.2.2, private: 10.0.0.2 }, { public: 203.0.113.1, private: 10.0.0.3 }] } }
  isp: { kind: router }
  pc: { kind: host }
networks: { lan: { cidr: 10.0.0.0/24, ports: [fw, pc] } }
links: [{ endpoints: ["isp:e1", "fw:wan"], cidr: 192.0.2.0/29 }]
`)
  t.same(addresses(plan).filter((text) => !text.includes(" 10.")), [
    "isp:e1 192.0.2.1/29", "fw:wan 192.0.2.3/29", "fw:wan 192.0.2.2/32"
  ], "203.0.113.1 is in no subnet: it must be routed here")
})

t.test("a forwarded port may name the address that the node is going to get", async (t) => {
  const plan = planOf(`name: lab
nodes:
  fw: { kind: router, nat: { port-forward: [{ address: 192.0.2.1, protocol: tcp, port: 80, to: pc }] } }
  isp: { kind: router }
  pc: { kind: host }
networks: { lan: { cidr: 10.0.0.0/24, ports: [fw, pc] } }
links: [{ endpoints: ["fw:wan", "isp:e1"], cidr: 192.0.2.0/30 }]
`)
  t.same(addresses(plan).filter((text) => text.includes("192.")), ["fw:wan 192.0.2.1/30", "isp:e1 192.0.2.2/30"])
})

t.test("derived identifiers are stable, well-formed and differ between labs", async (t) => {
  const text = `name: one
nodes: { node-with-a-long-name: { kind: host }, b: { kind: host } }
links: [{ endpoints: ["node-with-a-long-name:averylongifname", "b:x"] }]
`
  const [one, two] = [planOf(text), planOf(text, "two")]
  for (const [index, { spec }] of only(one, "port").entries()) {
    const other = only(two, "port")[index]!.spec
    t.match(spec.mac, /^02(:[0-9a-f]{2}){5}$/)
    t.match(spec.fabricName, /^[a-z0-9-]{1,4}\.[a-z2-7]{10}$/)
    t.not(spec.mac, other.mac)
    t.not(spec.fabricName, other.fabricName)
  }
  const [a, b] = [one, two].map((plan) => only(plan, "segment")[0]!.spec.vni)
  t.not(a, b)
  t.ok(a! > 0 && a! < 2 ** 24)
})

t.test("VNIs differ within a lab, even of thousands of segments", async (t) => {
  const links = Array.from({ length: 5000 }, (_, i) => `  - endpoints: ["a:p${i}", "b:p${i}"]`)
  const plan = planOf(`name: lab\nnodes: { a: { kind: router }, b: { kind: router } }\nlinks:\n${links.join("\n")}\n`)
  t.equal(new Set(only(plan, "segment").map(({ spec }) => spec.vni)).size, 5000)
})

t.test("warnings do not stop anything", async (t) => {
  t.same(warnings(`name: lab
nodes: { h: { kind: host }, r1: { kind: router, routes: [{ to: default, via: 10.0.0.99 }] }, r2: { kind: router, mtu: 9000 } }
networks: { lan: { cidr: 10.0.0.0/24, ports: [h, r1, r2] } }
`), [
    "nodes.r1.routes[0].via: no port has the address 10.0.0.99",
    'networks.lan: the ports of lan differ in MTU: h:eth0 has 1500, r2:eth0 has 9000'
  ])
})

t.test("load reports what the parser and the compiler find together", async (t) => {
  const result = run(`name: lab
nodes: { a: { kind: hots }, b: { kind: host }, c: { kind: host } }
networks: { lan: { cidr: 10.0.0.0/30, ports: [a, b, c] } }
`)
  t.same(result.ok ? [] : result.diagnostics.map((d) => d.path), ["nodes.a.kind", "networks.lan.cidr"])
})

/** A router in the middle, hosts in networks of a hundred. */
const star = (hosts: number): string => {
  const names = Array.from({ length: hosts }, (_, i) => `h${i}`)
  const networks = Array.from({ length: hosts / 100 }, (_, i) =>
    `  n${i}: { cidr: 10.${i}.0.0/16, gateway: r, ports: [r, ${names.slice(i * 100, i * 100 + 100).join(", ")}] }`
  )
  const nodes = names.map((name) => `  ${name}: { kind: host }`)
  return `name: star\nnodes:\n  r: { kind: router }\n${nodes.join("\n")}\nnetworks:\n${networks.join("\n")}\n`
}

t.test("a topology of thousands of nodes loads", async (t) => {
  // How long it takes is for bench/compile.ts.
  t.equal(planOf(star(4000)).nodes.length, 4001)
})
