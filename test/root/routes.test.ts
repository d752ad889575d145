/** `weft routes` against the real thing: a lab with static routes and a nexthop group, routes of BGP and of others in a node. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { Weftd } from "./daemon-harness.ts"
import { ipBatch, needsRoot } from "./harness.ts"

t.test("weft routes", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("routes")
  t.teardown(() => weftd.close())
  const name = weftd.name("routes")
  const netns = `weft.${name}.r`
  await weftd.make({
    name,
    nodes: {
      r: { kind: "router", routes: [{ to: "10.9.0.0/16", via: ["10.0.1.2", "10.0.2.2"] }, { to: "10.8.0.0/16", via: "10.0.1.2" }] },
      a: { kind: "router" },
      b: { kind: "router" }
    },
    links: [
      { endpoints: ["r:e1", "a:e1"], cidr: "10.0.1.0/24" },
      { endpoints: ["r:e2", "b:e1"], cidr: "10.0.2.0/24" }
    ]
  })
  const routes = async (...words: string[]): Promise<string> => {
    const { code, stderr, stdout } = await weftd.weft(["routes", `${name}/r`, ...words])
    if (code !== 0) throw new Error(stderr)
    return stdout
  }
  const inNode = { name: netns, path: `/run/netns/${netns}`, fd: -1 }
  ipBatch(inNode, [
    "nexthop add id 2499805184 via 10.0.1.2 dev e1 proto 95",
    "nexthop add id 2499805185 via 10.0.2.2 dev e2 proto 95",
    "nexthop add id 2499805186 group 2499805184,255/2499805185,1 type resilient buckets 64 idle_timer 0 proto 95",
    "route add 198.51.100.0/24 nhid 2499805186 proto 95 metric 20",
    "route add 10.8.0.0/16 nhid 2499805186 proto 95 metric 20",
    "route add blackhole 203.0.113.0/24 proto 95 metric 200",
    "route add 192.0.2.0/24 via 10.0.2.2 table 100 proto 95 metric 20"
  ])

  await t.test("shows the main table as routers do", async (t) => {
    const lines = (await routes("--family", "ipv4")).split("\n")
    for (const line of [
      "IPv4, table main",
      "C>* 10.0.1.0/24 [0] is directly connected, e1",
      "S>* 10.8.0.0/16 [0] via 10.0.1.2, e1",
      "B   10.8.0.0/16 [20] via 10.0.1.2, e1",
      "S>* 10.9.0.0/16 [0] via 10.0.1.2, e1",
      "                    via 10.0.2.2, e2",
      "B>* 198.51.100.0/24 [20] via 10.0.1.2, e1",
      "                         via 10.0.2.2, e2, backup",
      "B>* 203.0.113.0/24 [200] blackhole"
    ]) t.ok(lines.includes(line), line)
    t.notOk(lines.some((line) => line.includes("192.0.2.0/24")), "not another table")
  })

  await t.test("finds prefixes, longest matches, tables and protocols", async (t) => {
    const json = async (...words: string[]) => JSON.parse(await routes("-o", "json", ...words))
    const ways = [{ backup: false }, { backup: true }]
    t.match(await json("198.51.100.7"), [{ prefix: "198.51.100.0/24", protocol: "bgp", nexthopId: 2499805186, ways }])
    t.match((await json("10.8.0.0/16")).map(({ protocol, selected }: any) => [protocol, selected]), [["static", true], ["bgp", false]])
    t.same(await json("198.51.100.0/25"), [])
    t.match(await json("--table", "100"), [{ prefix: "192.0.2.0/24", table: 100 }])
    t.equal((await json("--table", "all", "--protocol", "bgp")).length, 4)
    t.equal((await json("-n", "2")).length, 2)
    t.match(await routes("198.51.100.0/24", "-o", "yaml"), /^ +prefix: 198\.51\.100\.0\/24$/m)
    t.equal((await routes("172.16.0.0/12")).trim(), "No routes")
    for (const [words, message] of [
      [["--table", "x"], /Unknown table "x"/],
      [["nonsense"], /Cannot look up "nonsense"/],
      [["-n", "-1"], /Cannot use "-1"/]
    ] as const) {
      const { code, stderr } = await weftd.weft(["routes", `${name}/r`, ...words])
      t.not(code, 0)
      t.match(stderr, message)
    }
    t.match((await weftd.weft(["routes", `${name}/rr`])).stderr, /did you mean/)
  })

  await t.test("routes and nexthops of BGP are no drift, and change nothing for deploys", async (t) => {
    t.same(await weftd.drift(name), [])
    const inspected = JSON.stringify(await weftd.inspect(name))
    t.notMatch(inspected, /198\.51\.100\.0/)
  })

  await t.test("a long table comes whole, and a deploy does not read it", async (t) => {
    const file = join(weftd.directory, "many")
    const count = 20_000
    const lines = Array.from({ length: count }, (_, i) => `route add 20.${i >> 8}.${i & 255}.0/24 nhid 2499805186 proto 95 metric 20\n`)
    writeFileSync(file, lines.join(""))
    execFileSync("ip", ["-n", netns, "-batch", file])
    const began = performance.now()
    t.equal(JSON.parse(await routes("-o", "json", "--protocol", "bgp")).length, count + 3)
    const tookMs = performance.now() - began
    const planned = performance.now()
    t.same(await weftd.drift(name), [])
    t.ok(performance.now() - planned < tookMs, "reading the lab takes less than reading the table")
  })
  await weftd.destroy(name)
})
