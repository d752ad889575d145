/** Which prefixes a plan has behind the routers of a network. */
import t from "tap"
import { prefixesIn } from "../../daemon/evpn/prefixes.ts"
import type { Plan, Resource } from "../../daemon/plan/resource.ts"

const resource = (kind: string, spec: object) => ({ kind, id: kind, spec, dependsOn: [] }) as unknown as Resource
const node = (name: string, nodeKind = "router") => resource("node", { node: name, nodeKind, sysctls: {} })
const port = (name: string, over: object = {}) => {
  const [node, ifname] = name.split(":")
  return resource("port", { node, ifname, mac: "02:00:00:00:00:01", mtu: 1500, fabricName: name, state: "up", ...over })
}
const address = (name: string, address: string) => {
  const [node, ifname] = name.split(":")
  return resource("address", { node, ifname, address })
}
const route = (to: string, over: object) => resource("route", { node: "r", to, table: 254, metric: 0, type: "unicast", ...over })
const rule = (over: object) => resource("rule", { node: "r", family: "ipv4", priority: 500, table: 1001, ...over })

const r = [
  node("r"), port("r:lan"), port("r:back"), address("r:lan", "10.1.0.1/24"), address("r:lan", "fd01::1/64"),
  address("r:back", "10.2.7.9/20"), address("r:back", "fd02::1/64"), address("r:back", "fe80::1/64"), address("r:lo", "127.0.0.2/8")
]
const subnets = [{ prefix: "10.2.0.0/20", gateway: "10.1.0.1" }, { prefix: "fd02::/64", gateway: "fd01::1" }]

const planOf = (...resources: ReadonlyArray<Resource>): Plan => ({ lab: "x", nodes: [], segments: [], resources })
const behind = (resources: ReadonlyArray<Resource>, ports: ReadonlyArray<string> = ["r:lan"]) => prefixesIn(planOf(...resources))(ports)
const listed = (resources: ReadonlyArray<Resource>, ports?: ReadonlyArray<string>) =>
  behind(resources, ports).map(({ gateway, prefix }) => `${prefix} ${gateway}`)

t.test("subnets of the router's other interfaces", (t) => {
  t.strictSame(behind(r), subnets, "of each family by its own gateway; nothing that means nothing to others")
  t.strictSame(behind(r, ["r:back"]), [{ prefix: "10.1.0.0/24", gateway: "10.2.7.9" }, { prefix: "fd01::/64", gateway: "fd02::1" }])
  t.strictSame(behind(r, ["r:lan", "r:back"]), [], "both are ports of the network")
  t.strictSame(listed([...r, address("r:lo", "10.255.0.1/32")])[1], "10.255.0.1/32 10.1.0.1", "a loopback address")
  t.strictSame(behind([...r, address("r:back", "10.1.0.77/24")]), subnets, "the network's own subnet is not behind it")
  t.strictSame(behind([node("r", "host"), ...r.slice(1)]), [], "a host does not forward")
  t.strictSame(behind(r.slice(1)), [], "a node that has crashed is not in the plan")
  t.strictSame(behind(r, ["elsewhere:lan"]), [])
  t.end()
})

t.test("prefix lengths that are no whole octets", (t) => {
  for (const [of, prefix] of [["10.2.255.255/9", "10.0.0.0/9"], ["10.2.3.255/31", "10.2.3.254/31"], ["10.2.3.255/25", "10.2.3.128/25"]]) {
    t.strictSame(behind([node("r"), address("r:lan", "192.0.2.1/24"), address("r:back", of!)])[0]?.prefix, prefix)
  }
  t.end()
})

t.test("interfaces that are down", (t) => {
  const others = (ifname: string) => r.filter(({ kind, spec }) => kind !== "port" || spec.ifname !== ifname)
  const withPort = (ifname: string, over: object) => behind([...others(ifname), port(`r:${ifname}`, over)])
  for (const ifname of ["lan", "back"]) {
    for (const over of [{ carrier: "lost" }, { state: "down" }]) {
      t.strictSame(withPort(ifname, over), [], `${ifname} ${JSON.stringify(over)}`)
    }
  }
  t.end()
})

t.test("static routes", (t) => {
  const beyond = (...resources: ReadonlyArray<Resource>) => listed([...r, ...resources]).filter((line) => /^(10\.9|0\.0|fd09)/.test(line))
  const via = { gateway: "10.2.0.2", ifname: "back" }
  t.strictSame(beyond(route("10.9.0.0/16", { via }), route("0.0.0.0/0", { via })), ["0.0.0.0/0 10.1.0.1", "10.9.0.0/16 10.1.0.1"])
  t.strictSame(beyond(route("fd09::/48", { via: { gateway: "fd02::2", ifname: "back" } })), ["fd09::/48 fd01::1"])
  t.strictSame(beyond(route("10.9.0.0/16", { via: { gateway: "10.1.0.7", ifname: "lan" } })), [], "back to the network")
  t.strictSame(beyond(route("10.9.0.0/16", { via, table: 100 })), [], "of another table")
  t.strictSame(beyond(route("10.9.0.0/16", { type: "blackhole" })), [])
  const group = (...ways: ReadonlyArray<string>) =>
    resource("nexthop", { node: "r", id: 5, members: ways.map((ifname) => ({ gateway: "10.2.0.2", ifname, weight: 1 })) })
  t.strictSame(beyond(route("10.9.0.0/16", { nexthop: 5 }), group("back", "third")), ["10.9.0.0/16 10.1.0.1"])
  t.strictSame(beyond(route("10.9.0.0/16", { nexthop: 5 }), group("back", "lan")), [], "some of it would come back")
  t.strictSame(beyond(route("10.9.0.0/16", { nexthop: 5 }), group()), [], "a group without members leads nowhere")
  t.end()
})

t.test("a VRF has what is in its own table", (t) => {
  const inside = [...r, route("10.8.0.0/16", { via: { gateway: "10.2.0.2", ifname: "back" }, table: 1001 })]
  const ofLan = rule({ iif: "lan" })
  t.strictSame(listed([...inside, ofLan]), ["10.8.0.0/16 10.1.0.1", "fd02::/64 fd01::1"], "back is not in it; IPv6 has no rule")
  t.strictSame(listed([...inside, ofLan, rule({ iif: "back" })])[1], "10.8.0.0/16 10.1.0.1")
  t.strictSame(behind([...inside, rule({ iif: "back" })]), subnets.slice(1), "nor is the VRF's in the main table")
  t.strictSame(behind([...r, rule({ iif: "lan", to: "10.77.0.0/16" })]), subnets, "a rule for some packets is no VRF")
  t.end()
})

t.test("a prefix behind two routers has one gateway: the better one", (t) => {
  const q = [node("q"), port("q:lan"), address("q:lan", "10.1.0.2/24")]
  const ports = ["r:lan", "q:lan"]
  const ofBack = (resources: ReadonlyArray<Resource>) => behind(resources, ports).find(({ prefix }) => prefix === "10.2.0.0/20")?.gateway
  t.equal(ofBack([...r, ...q, address("q:back", "10.2.0.2/20")]), "10.1.0.2", "both are connected: the port's name")
  const far = { via: { gateway: "10.3.0.1", ifname: "far" } }
  const ofQ = resource("route", { ...route("10.2.0.0/20", far).spec, node: "q" })
  t.equal(ofBack([...r, ...q, ofQ]), "10.1.0.1", "connected is better than a route")
  t.end()
})
