/** Faults where links and networks span hosts: cuts at both ends, networks divided between hosts, a host lost. */
import t from "tap"
import { Fleet } from "./fleet-harness.ts"
import { healAll, inject } from "./fault-harness.ts"
import { needsRoot, until } from "./harness.ts"

t.test("faults between hosts", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const fleet = await Fleet.start("fault-links", { hosts: 2 })
  t.teardown(() => fleet.close())
  const lab = fleet.name("fault-links")
  const weftd = fleet.weftd(1)
  const places = { a: "h1", b: "h2", c: "h1", d: "h2" }
  await fleet.make({
    name: lab,
    nodes: Object.fromEntries(Object.entries(places).map(([name, host]) => [name, { kind: "host", host }])),
    links: [{ name: "ab", endpoints: ["a:eth0", "b:eth0"], cidr: "10.0.0.0/30" }],
    networks: { lan: { cidr: "10.1.0.0/24", ports: Object.keys(places).map((port, i) => ({ port, addresses: [`10.1.0.${i + 1}`] })) } }
  })
  const reaches = async (from: string, to: string): Promise<boolean> =>
    (await weftd.inNode(lab, from, "ping", "-c", "1", "-W", "0.5", to)).code === 0
  const carrier = async (node: string): Promise<string> =>
    (await weftd.inNode(lab, node, "cat", "/sys/class/net/eth0/carrier")).stdout.trim()
  await until("all reach each other", async () => (await reaches("a", "10.0.0.2")) && (await reaches("a", "10.1.0.4")))

  await inject(weftd, lab, "link-down ab")
  await until("both hosts have done it", async () => (await carrier("a")) === "0" && (await carrier("b")) === "0")
  t.notOk(await reaches("a", "10.0.0.2"))
  await healAll(weftd, lab)
  await until("the link is up again", () => reaches("a", "10.0.0.2"))

  await inject(weftd, lab, "partition a,b rest")
  await until("a does not reach d", async () => !(await reaches("a", "10.1.0.4")) && !(await reaches("c", "10.1.0.2")))
  t.ok(await reaches("a", "10.0.0.2"), "a and b are in one set")
  await until("also by the network", () => reaches("a", "10.1.0.2"))
  await until("and so are c and d", () => reaches("c", "10.1.0.4"))
  await healAll(weftd, lab)
  await until("the network is whole", async () => (await reaches("a", "10.1.0.4")) && (await reaches("b", "10.1.0.3")))

  await inject(weftd, lab, "host-loss h2")
  await until("its nodes are gone", async () => (await weftd.inNode(lab, "b", "true")).code !== 0 && (await carrier("a")) === "0")
  t.ok(await reaches("a", "10.1.0.3"), "others go on")
  await healAll(weftd, lab)
  await until("all reach each other again", async () => (await reaches("a", "10.0.0.2")) && (await reaches("c", "10.1.0.2")))
  t.strictSame(await weftd.drift(lab), [])
})
