/**
 * What people do to a lab with `ip`, `nft`, `tc` and `sysctl` behind weft's back: `inspect` shows the drift, checks notice
 * where packets do, and deploying the same file mends it, down to nothing to do.
 */
import t from "tap"
import * as Netns from "../../daemon/linux/netns.ts"
import { needsRoot, until } from "./harness.ts"
import { sh, Weftd } from "./daemon-harness.ts"

/**
 *     a (10.1.0.2) --- lan (10.1.0.0/24) --- r (AS 65001) --- up (10.9.0.0/30) --- s (AS 65002) --- far (10.2.0.0/24) --- d
 *                                              `------------- alt (10.9.1.0/30, 1 ms) ---'
 */
const topology = (name: string) => ({
  name,
  nodes: {
    a: { kind: "host" },
    d: { kind: "host" },
    r: {
      kind: "router",
      sysctls: { "net.ipv4.ip_default_ttl": "61" },
      routes: [{ to: "198.51.100.0/24", via: ["s:up", "s:alt"] }, { to: "203.0.113.0/24", via: "s:up" }],
      rules: [{ priority: 1000, from: "10.1.0.99/32", table: 100 }],
      nat: { masquerade: [{ out: "alt" }] },
      firewall: { forward: "accept", rules: ["drop tcp/9999 from any to any"] },
      bgp: { as: 65001, networks: "10.1.0.0/24" }
    },
    s: { kind: "router", bgp: { as: 65002, networks: "10.2.0.0/24" } }
  },
  networks: {
    lan: { cidr: "10.1.0.0/24", gateway: "r", ports: ["r:lan", { port: "a", addresses: ["10.1.0.2"] }] },
    far: { cidr: "10.2.0.0/24", gateway: "s", ports: ["s:far", { port: "d", addresses: ["10.2.0.2"] }] }
  },
  links: [
    { name: "up", endpoints: ["r:up", "s:up"], cidr: "10.9.0.0/30" },
    { name: "alt", endpoints: ["r:alt", "s:alt"], cidr: "10.9.1.0/30", delay: "1ms", bgp: "none" }
  ]
})

interface Tampering {
  readonly what: string
  readonly by: (tools: Tools) => unknown
  /** One line of what `inspect` shows. */
  readonly drift: RegExp
  /** Whether a gets no answer from d meanwhile. */
  readonly breaks?: true
}

interface Tools {
  /** `ip` in a node. */
  readonly ip: (node: string, ...words: ReadonlyArray<string>) => string
  /** A program in a node. */
  readonly run: (node: string, ...words: ReadonlyArray<string>) => string
  /** A program in the fabric. */
  readonly fabric: (...words: ReadonlyArray<string>) => string
  /** The fabric side of `node:ifname`. */
  readonly outside: (port: string) => string
}

const tamperings: ReadonlyArray<Tampering> = [
  { what: "an address removed", by: ({ ip }) => ip("a", "addr", "del", "10.1.0.2/24", "dev", "eth0"),
    drift: /^\+ address\/a:eth0\/10\.1\.0\.2\/24$/, breaks: true },
  { what: "an address added", by: ({ ip }) => ip("a", "addr", "add", "10.1.0.77/24", "dev", "eth0"),
    drift: /^- address\/a:eth0\/10\.1\.0\.77\/24$/ },
  { what: "an IPv6 address added", by: ({ ip }) => ip("a", "addr", "add", "2001:db8::7/64", "dev", "eth0"),
    drift: /^- address\/a:eth0\/2001:db8::7\/64$/ },
  { what: "the loopback down", by: ({ ip }) => ip("r", "link", "set", "lo", "down"), drift: /^~ node\/r loopback: "down"/ },
  { what: "a static route removed", by: ({ ip }) => ip("r", "route", "del", "203.0.113.0/24"),
    drift: /^\+ route\/r\/.*203\.0\.113\.0\/24/ },
  { what: "a static route by another way", by: ({ ip }) => ip("r", "route", "change", "203.0.113.0/24", "via", "10.9.1.2"),
    drift: /^~ route\/r\/.*203\.0\.113\.0\/24.* via: / },
  { what: "the default route removed", by: ({ ip }) => ip("a", "route", "del", "default"),
    drift: /^\+ route\/a\/.*0\.0\.0\.0\/0/, breaks: true },
  { what: "a route added", by: ({ ip }) => ip("r", "route", "add", "192.0.2.0/24", "via", "10.9.0.2"),
    drift: /^- route\/r\/.*192\.0\.2\.0\/24/ },
  { what: "a black hole", by: ({ ip }) => ip("r", "route", "add", "blackhole", "10.2.0.2/32"), drift: /^- route\/r\/.*10\.2\.0\.2\/32/,
    breaks: true },
  { what: "an IPv6 route added", by: ({ ip }) => ip("a", "route", "add", "unreachable", "2001:db8:7::/48"),
    drift: /^- route\/a\/.*2001:db8:7::\/48/ },
  { what: "all nexthops removed", by: ({ ip }) => ip("r", "nexthop", "flush"), drift: /^\+ nexthop\/r\// },
  { what: "a link down", by: ({ ip }) => ip("r", "link", "set", "dev", "alt", "down"), drift: /^~ port\/r:alt state: "down" -> "up"/ },
  { what: "the fabric's side down", by: ({ fabric, outside }) => fabric("ip", "link", "set", "dev", outside("a:eth0"), "down"),
    drift: /^~ port\/a:eth0 state: "down"/, breaks: true },
  { what: "an interface deleted", by: ({ ip }) => ip("a", "link", "del", "eth0"), drift: /^\+ port\/a:eth0$/, breaks: true },
  { what: "an interface renamed",
    by: ({ ip }) => (ip("a", "link", "set", "eth0", "down"), ip("a", "link", "set", "eth0", "name", "other0")),
    drift: /^\+ port\/a:eth0$/, breaks: true },
  { what: "another MTU", by: ({ ip }) => ip("r", "link", "set", "dev", "up", "mtu", "1400"), drift: /^~ port\/r:up mtu: 1400 -> 1500/ },
  { what: "another MAC address", by: ({ ip }) => ip("a", "link", "set", "eth0", "address", "02:00:00:00:00:07"),
    drift: /^~ port\/a:eth0 mac: / },
  { what: "no ARP", by: ({ ip }) => ip("a", "link", "set", "eth0", "arp", "off"), drift: /^~ port\/a:eth0 state: "without ARP"/ },
  { what: "a static neighbour",
    by: ({ ip }) => ip("a", "neigh", "replace", "10.1.0.1", "lladdr", "02:de:ad:00:00:01", "dev", "eth0", "nud", "permanent"),
    drift: /^~ port\/a:eth0 state: "with static neighbour 10\.1\.0\.1"/, breaks: true },
  { what: "a queue",
    by: ({ run }) => run("r", "tc", "qdisc", "add", "dev", "up", "root", "tbf", "rate", "1mbit", "burst", "32kb", "latency", "9ms"),
    drift: /^~ port\/r:up state: "with queue tbf"/ },
  { what: "the eBPF program taken off", by: ({ fabric, outside }) => fabric("tc", "filter", "del", "dev", outside("a:eth0"), "ingress"),
    drift: /^~ port\/a:eth0 state: "without its eBPF program"/, breaks: true },
  { what: "the program's qdisc removed", by: ({ fabric, outside }) => fabric("tc", "qdisc", "del", "dev", outside("r:up"), "clsact"),
    drift: /^~ port\/r:up state: "without its eBPF program"/ },
  { what: "nft flush ruleset", by: ({ run }) => run("r", "nft", "flush", "ruleset"), drift: /^\+ filter\/r$/ },
  { what: "the NAT table removed", by: ({ run }) => run("r", "nft", "delete", "table", "inet", "weft"), drift: /^\+ nat\/r$/ },
  { what: "a filter rule added",
    by: ({ run }) => run("r", "nft", "insert", "rule", "inet", "weft-filter", "forward", "ip", "daddr", "10.2.0.2", "drop"),
    drift: /^~ filter\/r state: "changed by somebody else"/, breaks: true },
  { what: "a table of one's own that drops",
    by: ({ run }) => run("r", "nft", "add table inet mine; add chain inet mine f { type filter hook forward priority 0; policy drop; }"),
    drift: /^- filter\/r\/inet\/mine/, breaks: true },
  { what: "a table of a family that weft does not use", by: ({ run }) => run("a", "nft", "add", "table", "bridge", "other"),
    drift: /^- filter\/a\/bridge\/other/ },
  { what: "a sysctl", by: ({ run }) => run("r", "sysctl", "-w", "net.ipv4.ip_default_ttl=7"),
    drift: /^~ node\/r sysctls\.net\.ipv4\.ip_default_ttl: "7" -> "61"/ },
  { what: "forwarding off", by: ({ run }) => run("r", "sysctl", "-w", "net.ipv4.ip_forward=0"),
    drift: /^~ node\/r sysctls\.net\.ipv4\.ip_forward: "0" -> "1"/, breaks: true },
  { what: "a policy rule removed", by: ({ ip }) => ip("r", "rule", "del", "priority", "1000"), drift: /^\+ rule\/r\/ipv4\/1000$/ },
  { what: "a policy rule added", by: ({ ip }) => ip("r", "rule", "add", "priority", "10", "from", "10.1.0.2", "blackhole"),
    drift: /^- rule\/r\/ipv4\/10$/, breaks: true },
  { what: "a policy rule of another protocol family", by: ({ ip }) => ip("r", "-6", "rule", "add", "priority", "11", "table", "77"),
    drift: /^- rule\/r\/ipv6\/11$/ }
]

t.test("what is done to a lab by hand is seen, and mended by the next deploy", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("by-hand")
  t.teardown(() => weftd.close())
  const lab = weftd.name("by-hand")
  await weftd.make(topology(lab))
  const answers = (): Promise<boolean> => weftd.pings(lab, "a", "10.2.0.2")
  await until("a reaches d", answers)
  const tools: Tools = {
    ip: (node, ...words) => sh("ip", "-n", Netns.nodeName(lab, node), ...words),
    run: (node, ...words) => sh("ip", "netns", "exec", Netns.nodeName(lab, node), ...words),
    fabric: (...words) => sh("ip", "netns", "exec", weftd.fabric, ...words),
    outside: (port) => fabricNames.get(port)!
  }
  const fabricNames = new Map<string, string>((await weftd.inspect(lab)).nodes.flatMap(({ name, ports }) =>
    ports.map((port) => [`${name}:${port.name}`, port.fabricName] as const)))
  const inOneTry = async (): Promise<number | null> =>
    (await weftd.inNode(lab, "a", "ping", "-c", "1", "-W", "0.3", "10.2.0.2")).code

  for (const { breaks, by, drift, what } of tamperings) {
    await t.test(what, async (t) => {
      by(tools)
      const seen = await weftd.drift(lab)
      t.ok(seen.some((line) => drift.test(line)), `inspect shows it: ${seen.join("; ")}`)
      t.same(await weftd.plan(topology(lab)), seen, "and plan says the same")
      if (breaks === true) t.not(await inOneTry(), 0, "packets notice")
      await weftd.make(topology(lab))
      t.same(await weftd.drift(lab), [], "mended")
      await until(`a reaches d after ${what}`, answers)
    })
  }

  await t.test("a route of BGP that is removed comes back by itself", async (t) => {
    const routes = (): string => tools.ip("r", "route", "show", "10.2.0.0/24")
    await until("it is there", () => routes().includes("10.9.0.2"))
    tools.ip("r", "route", "del", "10.2.0.0/24", "metric", "20")
    await until("it is there again", () => routes().includes("10.9.0.2"))
    t.same(await weftd.drift(lab), [])
  })

  await t.test("weft check and weft inspect say it to people", async (t) => {
    const suite = { checks: [{ reachable: { from: "a", to: "d", timeout: "300ms" } }] }
    tools.ip("r", "route", "add", "blackhole", "10.2.0.2/32")
    const checked = await weftd.weft(["check", "-"], { input: JSON.stringify(suite) })
    t.equal(checked.code, 1, "checks notice")
    t.match(checked.stdout, /where .*r .*blackhole/s, "and say where")
    const inspected = await weftd.weft(["inspect", lab])
    t.match(inspected.stdout + inspected.stderr, /route\/r\/254\/10\.2\.0\.2\/32/)
    t.equal((await weftd.weft(["plan", "-", "--detailed-exitcode"], { input: JSON.stringify(topology(lab)) })).code, 2)
    await weftd.make(topology(lab))
    t.equal((await weftd.weft(["check", "-"], { input: JSON.stringify(suite) })).code, 0)
  })

  await t.test("what the commands of a node make is that node's", async (t) => {
    const own = weftd.name("own")
    const made = {
      name: own,
      nodes: { r: { kind: "router", exec: ["ip route add blackhole 192.0.2.0/24"] }, h: { kind: "host" } },
      links: [{ endpoints: ["r:x", "h:eth0"], cidr: "10.0.0.0/30" }]
    }
    await weftd.make(made)
    t.same(await weftd.drift(own), [])
    t.same(await weftd.plan(made), [])
    t.match(sh("ip", "-n", Netns.nodeName(own, "r"), "route"), /blackhole 192\.0\.2\.0\/24/)
  })
})
