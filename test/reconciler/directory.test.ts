import t from "tap"
import { findNode, reachableNodes } from "../../daemon/reconciler/directory.ts"
import { id, type Resource } from "../../daemon/plan/resource.ts"
import type { LabEntry } from "../../daemon/store/store.ts"

const address = (node: string, ifname: string, text: string): Resource => ({
  kind: "address", id: id.address(node, ifname, text), spec: { node, ifname, address: text }, dependsOn: []
})

const lab = (name: string, nodes: Readonly<Record<string, "host" | "router">>, resources: ReadonlyArray<Resource> = []): LabEntry => ({
  name,
  filename: `${name}.weft.yaml`,
  state: "ready",
  plan: { lab: name, nodes: Object.entries(nodes).map(([node, kind]) => ({ name: node, kind, labels: {} })), segments: [], resources },
  former: [],
  deployedAt: ""
})

const prod = lab("prod", { web: "host", db: "host", r1: "router" })
const test = lab("test", { web: "host", cache: "host" })

t.test("findNode takes NODE where one lab has it, and LAB/NODE", async (t) => {
  const db = { lab: "prod", node: "db", netnsPath: "/run/netns/weft.prod.db", etcDir: "/etc/netns/weft.prod.db" }
  t.strictSame(findNode([prod, test], "db"), db)
  t.strictSame(findNode([prod, test], "prod/db"), db)
  t.match(findNode([prod, test], "test/web"), { lab: "test", node: "web" })
})

t.test("findNode asks which of several is meant", async (t) => {
  const answer = findNode([prod, test], "web")
  t.strictSame(answer, { error: '"web" is a node of several labs: say which (prod/web, test/web)', ambiguous: true })
})

t.test("findNode says what is missing and what may have been meant", async (t) => {
  t.strictSame(findNode([], "web"), { error: 'No node "web": no lab is deployed' })
  t.strictSame(findNode([prod, test], "cahce"), { error: 'No node "cahce" in prod, test', suggestion: "cache" })
  t.strictSame(findNode([prod], "xyzzy"), { error: 'No node "xyzzy" in prod' })
  t.strictSame(findNode([prod, test], "prdo/web"), { error: 'No lab "prdo"', suggestion: "prod" })
  t.strictSame(findNode([prod, test], "test/cach"), { error: 'No node "cach" in lab "test"', suggestion: "cache" })
})

t.test("findNode makes no path of what is no name", async (t) => {
  for (const name of ["", "/", "../etc", "prod/../../etc", "prod/", "/web", "prod/web/x", "__proto__", "constructor"]) {
    t.type((findNode([prod, test], name) as { error?: string }).error, "string", name)
  }
})

t.test("reachableNodes gives addresses without lengths, hosts unless named", async (t) => {
  const resources = [
    address("web", "lo", "192.0.2.1/32"),
    address("web", "eth0", "10.0.0.1/24"),
    address("web", "eth0", "2001:db8::1/64"),
    address("r1", "e1", "10.0.0.9/24")
  ]
  const entry = lab("prod", { web: "host", idle: "host", r1: "router" }, resources)
  const web = { name: "web", netnsPath: "/run/netns/weft.prod.web", addresses: ["192.0.2.1", "10.0.0.1", "2001:db8::1"] }
  t.strictSame(reachableNodes(entry, []), [web, { name: "idle", netnsPath: "/run/netns/weft.prod.idle", addresses: [] }])
  t.match(reachableNodes(entry, ["r1", "web"]), [{ name: "r1", addresses: ["10.0.0.9"] }, { name: "web" }])
  t.strictSame(reachableNodes(entry, ["web", "wbe"]), { missing: 'No node "wbe" in lab "prod" (did you mean "web"?)' })
})

t.test("findNode and reachableNodes say which other host has a node", async (t) => {
  const nodes = prod.plan.nodes.map((node) => ({ ...node, host: node.name === "db" ? "h2" : "h1" }))
  const entry: LabEntry = { ...prod, plan: { ...prod.plan, nodes } }
  t.match(findNode([entry], "db", "h1"), { node: "db", host: "h2" })
  t.notOk("host" in findNode([entry], "web", "h1"), "not for one that is here")
  t.notOk("host" in findNode([entry], "db"), "a weftd of its own has all nodes")
  t.match(reachableNodes(entry, ["web", "db"], "h2"), [{ name: "web", host: "h1" }, { name: "db", host: undefined }])
})
