import t from "tap"
import { ping } from "../../daemon/linux/icmp.ts"
import { type ReachNode, type ReachOptions, type ReachResult, reach } from "../../daemon/probes/reach.ts"
import { descriptorCount, type Namespace, needsRoot, until, World } from "./harness.ts"

/**
 *     pc 10.1.0.2 ---- fw 10.1.0.1 | 203.0.113.1 ---- web 203.0.113.2
 *        2001:db8:1::2    (masquerades 10.1.0.0/24)      2001:db8:2::2
 *                                                     shut 10.9.0.1: connected to nothing
 */
const build = async (world: World) => {
  const pc = world.namespace("pc", { ipv6: true })
  const fw = world.namespace("fw", { ipv6: true })
  const web = world.namespace("web", { ipv6: true })
  const shut = world.namespace("shut")
  const ip = async (namespace: Namespace, ...commands: ReadonlyArray<string>) => {
    const { code, stderr } = await world.run(namespace, ["ip", "-batch", "-"], `${commands.join("\n")}\n`)
    if (code !== 0) throw new Error(stderr)
  }
  await ip(fw, `link add lan type veth peer name eth0 netns ${pc.name}`, `link add wan type veth peer name eth0 netns ${web.name}`)
  await ip(fw, "addr add 10.1.0.1/24 dev lan", "addr add 203.0.113.1/24 dev wan", "link set lan up", "link set wan up")
  await ip(fw, "addr add 2001:db8:1::1/64 dev lan nodad", "addr add 2001:db8:2::1/64 dev wan nodad")
  await ip(pc, "addr add 10.1.0.2/24 dev eth0", "addr add 2001:db8:1::2/64 dev eth0 nodad", "link set eth0 up")
  await ip(web, "addr add 203.0.113.2/24 dev eth0", "addr add 2001:db8:2::2/64 dev eth0 nodad", "link set eth0 up")
  await ip(pc, "route add default via 10.1.0.1", "route add ::/0 via 2001:db8:1::1")
  await ip(web, "route add ::/0 via 2001:db8:2::1")
  await ip(shut, "addr add 10.9.0.1/32 dev lo")
  await world.run(fw, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
  const rules = 'table ip nat { chain post { type nat hook postrouting priority 100; oifname "wan" ip saddr 10.1.0.0/24 masquerade; }; }'
  const { code, stderr } = await world.run(fw, ["nft", "-f", "-"], rules)
  if (code !== 0) throw new Error(stderr)
  return { pc, fw, web, shut }
}

const inputFilter = (table: string, rules: string): string =>
  `table ip ${table} { chain in { type filter hook input priority 0; ${rules}; }; }`

const collect = async (nodes: ReadonlyArray<ReachNode>, options: Partial<ReachOptions> = {}) => {
  const results = new Map<string, ReachResult>()
  for await (const result of reach(nodes, nodes, { family: "ipv4", timeoutMs: 500, ...options })) {
    results.set(`${result.from} ${result.to}`, result)
  }
  return results
}

t.test("reach", { skip: needsRoot }, async (t) => {
  const world = new World("reach")
  t.teardown(() => world.close())
  const { pc, fw, web, shut } = await build(world)
  const opened = descriptorCount()
  const nodes: ReadonlyArray<ReachNode> = [
    { name: "pc", netnsPath: pc.path, addresses: ["10.1.0.2", "2001:db8:1::2"] },
    { name: "fw", netnsPath: fw.path, addresses: ["10.1.0.1"] },
    { name: "web", netnsPath: web.path, addresses: ["203.0.113.2", "2001:db8:2::2"] }
  ]

  await t.test("reach tells who reaches whom, and how the destination saw it", async (t) => {
    const results = await collect(nodes)
    t.equal(results.size, 6)
    t.match(results.get("pc web"), { icmp: true, tcp: true, source: "10.1.0.2", seenAs: "203.0.113.1", address: "203.0.113.2", error: "" })
    t.match(results.get("pc fw"), { icmp: true, tcp: true, source: "10.1.0.2", seenAs: "10.1.0.2", error: "" })
    t.match(results.get("web pc"), { icmp: false, tcp: false, source: "", seenAs: "", error: "network is unreachable" })
    const rtt = results.get("pc web")!.icmpRttMs
    t.ok(rtt > 0 && rtt < 100, `${rtt} ms`)
  })

  await t.test("reach over IPv6 says which node has no such address", async (t) => {
    const results = await collect(nodes, { family: "ipv6" })
    t.match(results.get("pc web"), { icmp: true, tcp: true, source: "2001:db8:1::2", seenAs: "2001:db8:1::2", error: "" })
    t.match(results.get("web pc"), { icmp: true, tcp: true, seenAs: "2001:db8:2::2" })
    t.match(results.get("pc fw"), { address: "", icmp: false, tcp: false, error: "fw has no IPv6 address" })
  })

  await t.test("reach says why not", async (t) => {
    const shutNode: ReachNode = { name: "shut", netnsPath: shut.path, addresses: ["10.9.0.1"] }
    t.match(await collect([nodes[0]!, shutNode]), new Map([["pc shut", { error: /unreachable|no route to host|timed out/ }]]))
    const filter = inputFilter("f", "meta l4proto tcp reject with tcp reset; icmp type echo-request drop")
    t.equal((await world.run(web, ["nft", "-f", "-"], filter)).code, 0)
    const start = performance.now()
    const results = await collect([nodes[0]!, nodes[2]!], { timeoutMs: 200 })
    t.match(results.get("pc web"), { icmp: false, tcp: false, error: "icmp: timed out, tcp: connection refused" })
    t.ok(performance.now() - start < 15_000, "the timeout holds")
    t.equal((await world.run(web, ["nft", "delete", "table", "ip", "f"])).code, 0)
    const missing = await collect([nodes[0]!, { name: "gone", netnsPath: `${pc.path}-gone`, addresses: ["10.1.0.9"] }], { timeoutMs: 200 })
    t.match(missing.get("gone pc"), { icmp: false, tcp: false, error: "the node's namespace cannot be opened: ENOENT" })
  })

  await t.test("reach survives a lost first packet", async (t) => {
    const echo = "icmp type echo-request"
    const lossy = inputFilter("l", `${echo} limit rate over 1/hour burst 1 packets accept; ${echo} drop`)
    t.equal((await world.run(web, ["nft", "-f", "-"], lossy)).code, 0)
    const result = await ping(pc.path, "203.0.113.2", 600)
    t.match(result, { ok: true })
    t.ok(result.ok && result.rttMs < 100, "the round trip is that of the request which was answered")
    t.equal((await world.run(web, ["nft", "delete", "table", "ip", "l"])).code, 0)
  })

  await t.test("reach keeps its bound and can be stopped", async (t) => {
    const many = Array.from({ length: 12 }, (_, i) => ({ ...nodes[i % 2]!, name: `n${i}` }))
    const results = await collect(many, { parallel: 4 })
    t.equal(results.size, 132)
    t.equal([...results.values()].filter(({ icmp, tcp }) => icmp && tcp).length, 132)
    let count = 0
    for await (const result of reach(many, many, { family: "ipv4", timeoutMs: 500, parallel: 4 })) {
      if (result.error === "" && ++count === 3) break
    }
    const stop = new AbortController()
    for await (const _ of reach(many, many, { family: "ipv4", timeoutMs: 500, parallel: 4, signal: stop.signal })) {
      count++
      stop.abort()
    }
    t.ok(count < 16, `${count} results after the stop`)
  })

  await t.test("reach leaves no descriptor and no connection behind", async (t) => {
    await until("the descriptors are closed", () => descriptorCount() === opened).catch(() => undefined)
    t.equal(descriptorCount(), opened)
    for (const namespace of [pc, fw, web]) t.equal((await world.run(namespace, ["ss", "-Htan"])).stdout, "")
  })
})
