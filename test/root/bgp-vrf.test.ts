/**
 * A router with two customers that have the same addresses, and services for both: routes go from table to table by their targets, and
 * packets go with them. Changes of targets, interfaces and tables leave the other sessions alone.
 */
import t from "tap"
import { sh, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { needsRoot, until } from "./harness.ts"

type Json = Readonly<Record<string, unknown>>

const takesBoth: Json = { "export-targets": "65400:9", "import-targets": ["65400:1", "65400:2"] }
const shared: Json = { interfaces: ["svc"], ...takesBoth, redistribute: "connected" }
const customer = (number: number, interfaces: string): Json =>
  ({ interfaces: [interfaces], "export-targets": `65400:${number}`, "import-targets": "65400:9", redistribute: "connected" })

/**
 *     ce1 (AS 65001) - red  \
 *                            pe - dc (service, 10.9.0.0/24)
 *     ce2 (AS 65002) - blue /
 *
 * Both customers have 10.1.0.0/24 behind them, and a /32 of their own that the services can answer to.
 */
const topology = (name: string, vrfs: Json, pe: Json = {}): TopologyObject => ({
  name,
  overlap: "allow",
  nodes: {
    ce1: { kind: "router", loopback: "192.0.2.1/32", bgp: { as: 65001, networks: ["10.1.0.0/24", "192.0.2.1/32"] } },
    ce2: { kind: "router", loopback: "192.0.2.2/32", bgp: { as: 65002, networks: ["10.1.0.0/24", "192.0.2.2/32"] } },
    dc: { kind: "host", routes: [{ to: "default", via: "10.9.0.1" }] },
    pc1: { kind: "host" },
    pc2: { kind: "host" },
    pe: { kind: "router", bgp: { as: 65400, "router-id": "10.255.0.1", vrfs, ...pe } }
  },
  networks: {
    lan1: { cidr: "10.1.0.0/24", ports: ["ce1:lan", "pc1:eth0"] },
    lan2: { cidr: "10.1.0.0/24", ports: ["ce2:lan", "pc2:eth0"] },
    services: { cidr: "10.9.0.0/24", ports: ["pe:svc", "dc:eth0"] }
  },
  links: [
    { endpoints: ["ce1:up", "pe:red"], cidr: "172.16.0.0/30" },
    { endpoints: ["ce2:up", "pe:blue"], cidr: "172.16.0.4/30" }
  ]
})

t.test("VRFs with shared services", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("bgp-vrf")
  t.teardown(() => weftd.close())
  const lab = weftd.name("vrf")
  const table = (number: number): ReadonlyArray<string> => {
    const text = sh("ip", "-n", `weft.${lab}.pe`, "route", "show", "table", String(number), "proto", "95")
    return text.split("\n").filter((line) => /^\d/.test(line)).map((line) => line.trim().replace(/ nhid \d+/, "").replace(/ +/g, " "))
  }
  const prefixes = (number: number): ReadonlyArray<string> => table(number).map((line) => line.split(" ")[0]!).toSorted()
  const routesOf = (node: string): ReadonlyArray<string> =>
    sh("ip", "-n", `weft.${lab}.${node}`, "route", "show", "proto", "95")
      .split("\n")
      .flatMap((line) => /^[\d.]+(\/\d+)?/.exec(line)?.[0] ?? [])
  const count = async (): Promise<Readonly<Record<string, number>>> =>
    Object.fromEntries(
      (await weftd.client.bgp(`${lab}/pe`)).neighbors.map(({ description, establishedCount }) => [description, establishedCount])
    )
  const customers = { red: { ...customer(1, "red"), table: 1001 }, blue: { ...customer(2, "blue"), table: 1002 } }
  const vrfs = { ...customers, shared: { ...shared, table: 1003 } }

  await t.test("each customer has its own routes and the services'; the services have all", async (t) => {
    await weftd.make(topology(lab, vrfs))
    await until("red has the services", () => prefixes(1001).includes("10.9.0.0/24"))
    await until("all is told", () => routesOf("ce1").includes("10.9.0.0/24") && routesOf("ce2").includes("10.9.0.0/24"))
    t.strictSame(prefixes(1001), ["10.1.0.0/24", "10.9.0.0/24", "192.0.2.1"])
    t.strictSame(prefixes(1002), ["10.1.0.0/24", "10.9.0.0/24", "192.0.2.2"])
    t.match(table(1001).find((line) => line.startsWith("10.9.0.0/24")), /dev svc/, "to the interface of the other table")
    t.strictSame(prefixes(1003), ["10.1.0.0/24", "172.16.0.0/30", "172.16.0.4/30", "192.0.2.1", "192.0.2.2"])
    t.notOk(routesOf("ce1").includes("192.0.2.2"), "customers do not see each other")
    t.ok(await weftd.pings(lab, "ce1", "10.9.0.2"), "from the link, which the services know as connected")
    for (const [node, source] of [["ce1", "192.0.2.1"], ["ce2", "192.0.2.2"]] as const) {
      const { code } = await weftd.inNode(lab, node, "ping", "-c1", "-W2", "-I", source, "10.9.0.2")
      t.equal(code, 0, `${node} and the services reach each other`)
    }
    const { stdout } = await weftd.weft(["bgp", `${lab}/pe`, "rib", "10.9.0.0/24", "--vrf", "red"])
    t.match(stdout, /rt:65400:9/, "routes bear the targets of their table")
  })

  await t.test("targets change under sessions that stay", async (t) => {
    await weftd.make(topology(lab, { ...vrfs, blue: { ...vrfs.blue, "import-targets": "65400:7" } }))
    await until("blue has the services no more", () => !prefixes(1002).includes("10.9.0.0/24") && !routesOf("ce2").includes("10.9.0.0/24"))
    t.ok(prefixes(1001).includes("10.9.0.0/24"))
    await weftd.make(topology(lab, { ...vrfs, shared: { ...vrfs.shared, "export-targets": ["65400:9", "65400:7"] } }))
    await weftd.make(topology(lab, vrfs))
    await until("and has them again", () => routesOf("ce2").includes("10.9.0.0/24"))
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
  })

  await t.test("a policy says which routes bear which target", async (t) => {
    const policies = { hide: [{ permit: { prefix: "192.0.2.0/24 le 32" }, set: { "remove-community": "rt:*:*" } }, "permit"] }
    await weftd.make(topology(lab, vrfs, { policies, neighbors: [{ peer: "ce1", import: "hide" }] }))
    await until("the services lose one route", () => !prefixes(1003).includes("192.0.2.1"))
    t.ok(prefixes(1001).includes("192.0.2.1"), "its own table has it")
    t.ok(prefixes(1003).includes("192.0.2.2"))
    await weftd.make(topology(lab, vrfs))
    await until("it is back", () => prefixes(1003).includes("192.0.2.1"))
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
  })

  await t.test("tables come, go and move under sessions that stay", async (t) => {
    await weftd.make(topology(lab, { ...vrfs, red: { ...vrfs.red, table: 1011 } }))
    await until("red is in its new table", () => prefixes(1011).length === 3 && prefixes(1001).length === 0)
    t.ok(await weftd.pings(lab, "ce1", "10.9.0.2"))
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
    await weftd.make(topology(lab, customers))
    const isGone = (): boolean => prefixes(1003).length === 0 && !prefixes(1001).includes("10.9.0.0/24")
    await until("the services' table is empty, and nobody has their routes", isGone)
    await weftd.make(topology(lab, vrfs))
    await until("and is there again", () => prefixes(1003).length === 5 && routesOf("ce1").includes("10.9.0.0/24"))
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
    await weftd.make(topology(lab, { ...vrfs, shared: { ...vrfs.shared, interfaces: [] } }))
    await until("without its interface it has no services", () => !prefixes(1001).includes("10.9.0.0/24"))
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
  })

  await t.test("how a speaker decides changes under sessions that stay", async (t) => {
    await weftd.make(topology(lab, vrfs))
    const settings = { "graceful-shutdown": true, "always-compare-med": true, multipath: 2 }
    await weftd.make(topology(lab, vrfs, settings))
    await until("routes are announced as a last resort", async () => {
      const { stdout } = await weftd.weft(["bgp", `${lab}/ce1`, "rib", "10.9.0.0/24"])
      return stdout.includes("graceful-shutdown")
    })
    await weftd.make(topology(lab, vrfs))
    await until("and then as others", async () => {
      const { stdout } = await weftd.weft(["bgp", `${lab}/ce1`, "rib", "10.9.0.0/24"])
      return stdout.includes("10.9.0.0/24") && !stdout.includes("graceful-shutdown")
    })
    t.strictSame(await count(), { ce1: 1, ce2: 1 })
    t.strictSame(await weftd.drift(lab), [])
  })
})
