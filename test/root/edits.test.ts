/**
 * Edits of a running lab: the plan says exactly what will change, the deploy does exactly that, what is not concerned
 * keeps its identity and its connections, and afterwards there is nothing left to do.
 */
import t from "tap"
import { needsRoot } from "./harness.ts"
import { Connection, describe, identities, inodeOf, sh, Weftd } from "./daemon-harness.ts"

type Nodes = Record<string, Record<string, unknown>>

/**
 *     a (10.1.0.2) --- lan (10.1.0.0/24) --- r --- up (link, 10.9.0.0/30) --- s --- far (10.2.0.0/24) --- d
 *     b (10.1.0.3) ----'                     '---- alt (link, 10.9.1.0/30) ---'
 */
const base = (name: string) => ({
  name,
  nodes: {
    a: { kind: "host" },
    b: { kind: "host" },
    r: { kind: "router", routes: [{ to: "10.2.0.0/24", via: ["s:up", "s:alt"] }] },
    s: { kind: "router", routes: [{ to: "10.1.0.0/24", via: "r:up" }] },
    d: { kind: "host" }
  } as Nodes,
  groups: {} as Record<string, Record<string, unknown>>,
  networks: {
    lan: {
      cidr: "10.1.0.0/24",
      gateway: "r",
      ports: ["r:lan", { port: "a", addresses: ["10.1.0.2"] }, { port: "b", addresses: ["10.1.0.3"] }]
    },
    far: { cidr: "10.2.0.0/24", gateway: "s", ports: ["s:far", { port: "d", addresses: ["10.2.0.2"] }] }
  } as Record<string, Record<string, unknown>>,
  links: [
    { name: "up", endpoints: ["r:up", "s:up"], cidr: "10.9.0.0/30" },
    { name: "alt", endpoints: ["r:alt", "s:alt"], cidr: "10.9.1.0/30" }
  ] as Array<Record<string, unknown>>
})

type Base = ReturnType<typeof base>

interface Edit {
  readonly what: string
  /** Changes the topology. */
  readonly edit: (topology: Base) => void
  /** The plan, line by line; `*` stands for anything. */
  readonly plan: ReadonlyArray<string>
  /** Nodes and ports that may get another identity. */
  readonly remade?: ReadonlyArray<string>
  /** Whether the kernel has it. */
  readonly check?: (lab: string, weftd: Weftd) => boolean | Promise<boolean>
  /** Whether the connection from a to d must survive. */
  readonly breaks?: true
}

const ip = (lab: string, node: string, ...words: ReadonlyArray<string>): string => sh("ip", "-n", `weft.${lab}.${node}`, ...words)
const sysctl = (lab: string, node: string, name: string): string =>
  sh("ip", "netns", "exec", `weft.${lab}.${node}`, "sysctl", "-n", name).trim()
const nft = (lab: string, node: string): string => sh("ip", "netns", "exec", `weft.${lab}.${node}`, "nft", "list", "ruleset")

/** Each starts from where the one before has arrived. */
const edits: ReadonlyArray<Edit> = [
  {
    what: "an address of a host",
    edit: ({ networks }) =>
      void (networks["lan"]!["ports"] = ["r:lan", { port: "a", addresses: ["10.1.0.2"] }, { port: "b", addresses: ["10.1.0.9"] }]),
    plan: ["~ hosts-file entries: *", "+ address/b:eth0/10.1.0.9/24", "- address/b:eth0/10.1.0.3/24"],
    check: (lab, weftd) => weftd.pings(lab, "a", "10.1.0.9")
  },
  {
    what: "two hosts swap their addresses",
    edit: ({ networks }) =>
      void (networks["lan"]!["ports"] = ["r:lan", { port: "a", addresses: ["10.1.0.9"] }, { port: "b", addresses: ["10.1.0.2"] }]),
    plan: [
      "~ hosts-file entries: *",
      "+ address/a:eth0/10.1.0.9/24",
      "+ address/b:eth0/10.1.0.2/24",
      "- address/a:eth0/10.1.0.2/24",
      "- address/b:eth0/10.1.0.9/24"
    ],
    check: (lab, weftd) => weftd.pings(lab, "a", "10.1.0.2"),
    breaks: true
  },
  {
    what: "and back",
    edit: ({ networks }) =>
      void (networks["lan"]!["ports"] = ["r:lan", { port: "a", addresses: ["10.1.0.2"] }, { port: "b", addresses: ["10.1.0.3"] }]),
    plan: [
      "~ hosts-file entries: *",
      "+ address/a:eth0/10.1.0.2/24",
      "+ address/b:eth0/10.1.0.3/24",
      "- address/a:eth0/10.1.0.9/24",
      "- address/b:eth0/10.1.0.2/24"
    ],
    breaks: true
  },
  {
    what: "the weight of an ECMP member",
    edit: ({ nodes }) => void (nodes["r"]!["routes"] = [{ to: "10.2.0.0/24", via: ["s:up", { to: "s:alt", weight: 3 }] }]),
    plan: ["~ nexthop/r/* members: *"],
    check: (lab) =>
      /weight 3/.test(ip(lab, "r", "route", "show", "10.2.0.0/24")) || /group \d+,\d+\/\d+,3|group \d+,3/.test(ip(lab, "r", "nexthop"))
  },
  {
    what: "an ECMP member less: the group becomes a plain route",
    edit: ({ nodes }) => void (nodes["r"]!["routes"] = [{ to: "10.2.0.0/24", via: "s:up" }]),
    plan: ["~ route/r/254/10.2.0.0/24/0 *", "- nexthop/r/*"],
    check: (lab) => ip(lab, "r", "nexthop").trim() === "" && ip(lab, "r", "route").includes("via 10.9.0.2")
  },
  {
    what: "a route's metric",
    edit: ({ nodes }) => void (nodes["r"]!["routes"] = [{ to: "10.2.0.0/24", via: "s:up", metric: 50 }]),
    plan: ["+ route/r/254/10.2.0.0/24/50", "- route/r/254/10.2.0.0/24/0"],
    check: (lab) => /metric 50/.test(ip(lab, "r", "route"))
  },
  {
    what: "a route's way",
    edit: ({ nodes }) => void (nodes["r"]!["routes"] = [{ to: "10.2.0.0/24", via: "s:alt", metric: 50 }]),
    plan: ["~ route/r/254/10.2.0.0/24/50 via: *"],
    check: (lab) => ip(lab, "r", "route").includes("via 10.9.1.2")
  },
  {
    what: "a blackhole beside it, and an ECMP member more",
    edit: ({ nodes }) =>
      void (nodes["r"]!["routes"] = [
        { to: "10.2.0.0/24", via: ["s:alt", "s:up"], metric: 50 },
        { to: "10.66.0.0/16", type: "blackhole" }
      ]),
    plan: ["+ nexthop/r/*", "~ route/r/254/10.2.0.0/24/50 *", "+ route/r/254/10.66.0.0/16/0"],
    check: (lab) => ip(lab, "r", "route").includes("blackhole 10.66.0.0/16")
  },
  {
    what: "the blackhole becomes unreachable",
    edit: ({ nodes }) =>
      void (nodes["r"]!["routes"] = [
        { to: "10.2.0.0/24", via: ["s:alt", "s:up"], metric: 50 },
        { to: "10.66.0.0/16", type: "unreachable" }
      ]),
    plan: ['~ route/r/254/10.66.0.0/16/0 type: "blackhole" -> "unreachable"'],
    check: (lab) => ip(lab, "r", "route").includes("unreachable 10.66.0.0/16")
  },
  {
    what: "the MTU of a link",
    edit: ({ links }) => void (links[1]!["mtu"] = 1400),
    plan: ["~ port/r:alt mtu: 1500 -> 1400", "~ port/s:alt mtu: 1500 -> 1400"],
    check: (lab) => ip(lab, "r", "link", "show", "alt").includes("mtu 1400")
  },
  {
    what: "and back up",
    edit: ({ links }) => void (links[1]!["mtu"] = 9000),
    plan: ["~ port/r:alt mtu: 1400 -> 9000", "~ port/s:alt mtu: 1400 -> 9000"],
    check: (lab) => ip(lab, "s", "link", "show", "alt").includes("mtu 9000")
  },
  {
    what: "a NAT rule",
    edit: ({ nodes }) => void (nodes["s"]!["nat"] = { masquerade: { out: "far", except: "10.2.0.0/24" } }),
    plan: ["+ nat/s"],
    check: (lab) => nft(lab, "s").includes("masquerade")
  },
  {
    what: "another NAT rule, and an MSS",
    edit: ({ nodes }) => {
      nodes["s"]!["nat"] = {
        masquerade: { out: "far", except: "10.2.0.0/24" },
        "port-forward": [{ on: "up", protocol: "tcp", port: 81, to: "d:80" }]
      }
      nodes["s"]!["mss-clamp"] = 1300
    },
    plan: ["~ nat/s portForward: *, mssClamp: *"],
    check: (lab) => /dnat .*10\.2\.0\.2:80/.test(nft(lab, "s")) && nft(lab, "s").includes("1300")
  },
  {
    what: "no NAT any more",
    edit: ({ nodes }) => {
      delete nodes["s"]!["nat"]
      delete nodes["s"]!["mss-clamp"]
    },
    plan: ["- nat/s"],
    check: (lab) => !nft(lab, "s").includes("weft")
  },
  {
    what: "a sysctl more",
    edit: ({ nodes }) => void (nodes["a"]!["sysctls"] = { "net.ipv4.ip_default_ttl": 33, "net.ipv4.tcp_ecn": 1 }),
    plan: ["~ node/a sysctls.net.ipv4.ip_default_ttl: *, sysctls.net.ipv4.tcp_ecn: *"],
    check: (lab) => sysctl(lab, "a", "net.ipv4.ip_default_ttl") === "33"
  },
  {
    what: "another value of it",
    edit: ({ nodes }) => void (nodes["a"]!["sysctls"] = { "net.ipv4.ip_default_ttl": 34, "net.ipv4.tcp_ecn": 1 }),
    plan: ['~ node/a sysctls.net.ipv4.ip_default_ttl: "33" -> "34"'],
    check: (lab) => sysctl(lab, "a", "net.ipv4.ip_default_ttl") === "34"
  },
  {
    what: "a sysctl less: the kernel's own value",
    edit: ({ nodes }) => void (nodes["a"]!["sysctls"] = { "net.ipv4.tcp_ecn": 1 }),
    plan: ['~ node/a sysctls.net.ipv4.ip_default_ttl: "34" -> '],
    check: (lab) => sysctl(lab, "a", "net.ipv4.ip_default_ttl") === "64"
  },
  {
    what: "a router's own default",
    edit: ({ nodes }) => void (nodes["r"]!["sysctls"] = { "net.ipv4.fib_multipath_hash_policy": 0 }),
    plan: ['~ node/r sysctls.net.ipv4.fib_multipath_hash_policy: "1" -> "0"'],
    check: (lab) => sysctl(lab, "r", "net.ipv4.fib_multipath_hash_policy") === "0"
  },
  {
    what: "name servers",
    edit: ({ nodes }) => void (nodes["a"]!["dns"] = { servers: "10.1.0.53", search: "corp.example" }),
    plan: ["+ resolver/a"],
    check: (lab) => sh("ip", "netns", "exec", `weft.${lab}.a`, "cat", "/etc/resolv.conf") === "search corp.example\nnameserver 10.1.0.53\n"
  },
  {
    what: "another name server",
    edit: ({ nodes }) => void (nodes["a"]!["dns"] = { servers: ["10.1.0.54"], search: "corp.example" }),
    plan: ['~ resolver/a servers: ["10.1.0.53"] -> ["10.1.0.54"]']
  },
  { what: "no name server", edit: ({ nodes }) => void delete nodes["a"]!["dns"], plan: ["- resolver/a"] },
  { what: "labels only", edit: ({ nodes }) => void (nodes["a"]!["labels"] = { site: "here" }), plan: [] },
  {
    what: "a command",
    edit: ({ nodes }) => void (nodes["b"]!["exec"] = ["sysctl -qw net.ipv4.ip_default_ttl=21"]),
    plan: ["+ exec/b/0"],
    check: (lab) => sysctl(lab, "b", "net.ipv4.ip_default_ttl") === "21"
  },
  {
    what: "another command",
    edit: ({ nodes }) => void (nodes["b"]!["exec"] = ["sysctl -qw net.ipv4.ip_default_ttl=22"]),
    plan: ["~ exec/b/0 argv: *"],
    check: (lab) => sysctl(lab, "b", "net.ipv4.ip_default_ttl") === "22"
  },
  { what: "no command", edit: ({ nodes }) => void delete nodes["b"]!["exec"], plan: ["- exec/b/0"] },
  {
    what: "a group's default",
    edit: ({ groups, nodes }) => {
      groups["office"] = { sysctls: { "net.ipv4.ip_default_ttl": 77 } }
      nodes["a"]!["group"] = "office"
      nodes["d"]!["group"] = "office"
    },
    plan: ["~ node/a sysctls.net.ipv4.ip_default_ttl: *", "~ node/d sysctls.net.ipv4.ip_default_ttl: *"],
    check: (lab) => sysctl(lab, "d", "net.ipv4.ip_default_ttl") === "77"
  },
  {
    what: "a node more",
    edit: ({ networks, nodes }) => {
      nodes["n"] = { kind: "host" }
      networks["lan"]!["ports"] = [...(networks["lan"]!["ports"] as unknown[]), "n"]
    },
    plan: [
      "+ node/n",
      "~ hosts-file entries: *",
      "+ port/n:eth0",
      '~ segment/network/lan ports: ["a:eth0","b:eth0","r:lan"] -> ["a:eth0","b:eth0","n:eth0","r:lan"]',
      "+ address/n:eth0/10.1.0.4/24",
      "+ route/n/254/0.0.0.0/0/0"
    ],
    remade: ["n", "n:eth0"],
    check: (lab, weftd) => weftd.pings(lab, "n", "10.2.0.2")
  },
  {
    what: "its port moves to another network",
    edit: ({ networks }) => {
      networks["lan"]!["ports"] = (networks["lan"]!["ports"] as unknown[]).filter((port) => port !== "n")
      networks["far"]!["ports"] = [...(networks["far"]!["ports"] as unknown[]), "n"]
    },
    plan: [
      "~ hosts-file entries: *",
      '~ segment/network/lan ports: ["a:eth0","b:eth0","n:eth0","r:lan"] -> ["a:eth0","b:eth0","r:lan"]',
      '~ segment/network/far ports: ["d:eth0","s:far"] -> ["d:eth0","n:eth0","s:far"]',
      "+ address/n:eth0/10.2.0.3/24",
      "~ route/n/254/0.0.0.0/0/0 via: *",
      "- address/n:eth0/10.1.0.4/24"
    ],
    check: async (lab, weftd) => (await weftd.pings(lab, "n", "10.2.0.2")) && (await weftd.pings(lab, "n", "10.1.0.2"))
  },
  {
    what: "another gateway",
    edit: ({ nodes }) => void (nodes["n"]!["gateway"] = "10.2.0.2"),
    plan: ['~ route/n/254/0.0.0.0/0/0 via: {"gateway":"10.2.0.1","ifname":"eth0"} -> {"gateway":"10.2.0.2","ifname":"eth0"}'],
    check: (lab) => ip(lab, "n", "route").includes("default via 10.2.0.2")
  },
  {
    what: "the node goes",
    edit: ({ networks, nodes }) => {
      delete nodes["n"]
      networks["far"]!["ports"] = (networks["far"]!["ports"] as unknown[]).filter((port) => port !== "n")
    },
    plan: [
      "~ hosts-file entries: *",
      '~ segment/network/far ports: ["d:eth0","n:eth0","s:far"] -> ["d:eth0","s:far"]',
      "- route/n/254/0.0.0.0/0/0",
      "- address/n:eth0/10.2.0.3/24",
      "- port/n:eth0",
      "- node/n"
    ]
  },
  {
    what: "a link becomes a network",
    edit: ({ links, networks }) => {
      links.pop()
      networks["alt"] = { cidr: "10.9.1.0/30", mtu: 9000, ports: ["r:alt", "s:alt"] }
    },
    plan: ["~ hosts-file entries: *", "+ segment/network/alt", "- segment/link/alt"],
    check: (lab, weftd) => weftd.pings(lab, "r", "10.9.1.2")
  },
  {
    what: "and a link again",
    edit: ({ links, networks }) => {
      links.push({ name: "alt", endpoints: ["r:alt", "s:alt"], cidr: "10.9.1.0/30", mtu: 9000 })
      delete networks["alt"]
    },
    plan: ["~ hosts-file entries: *", "+ segment/link/alt", "- segment/network/alt"],
    check: (lab, weftd) => weftd.pings(lab, "r", "10.9.1.2")
  },
  {
    what: "a MAC address",
    edit: ({ nodes }) => void (nodes["b"]!["ports"] = { eth0: { mac: "02:00:00:00:00:0b" } }),
    plan: ['~ port/b:eth0 mac: * -> "02:00:00:00:00:0b"', "~ segment/network/lan ports: *"],
    check: (lab, weftd) => weftd.pings(lab, "b", "10.1.0.1")
  },
  {
    what: "the ageing of a network",
    edit: ({ networks }) => void (networks["lan"]!["ageing"] = "60s"),
    plan: ["~ segment/network/lan ageingS: 300 -> 60"]
  },
  {
    what: "a router turns into a host",
    edit: ({ nodes }) => void (nodes["b"]!["kind"] = "router"),
    plan: ["~ node/b *", "- route/b/254/0.0.0.0/0/0"],
    check: (lab) => sysctl(lab, "b", "net.ipv4.ip_forward") === "1"
  },
  {
    what: "policy rules and a table of their own",
    edit: ({ nodes }) => {
      nodes["s"]!["rules"] = [{ iif: "up", table: 100 }]
      nodes["s"]!["routes"] = [
        { to: "10.1.0.0/24", via: "r:up" },
        { to: "10.66.0.0/16", type: "prohibit", table: 100 }
      ]
    },
    plan: ["+ route/s/100/10.66.0.0/16/0", "+ rule/s/ipv4/1000", "+ rule/s/ipv6/1000"],
    check: (lab) => /1000:\s+from all iif up lookup 100/.test(ip(lab, "s", "rule"))
  },
  {
    what: "another rule",
    edit: ({ nodes }) => void (nodes["s"]!["rules"] = [{ from: "10.66.0.0/16", table: 100 }]),
    plan: ["-/+ rule/s/ipv4/1000 *", "- rule/s/ipv6/1000"],
    check: (lab) => /1000:\s+from 10.66.0.0\/16 lookup 100/.test(ip(lab, "s", "rule")) && !ip(lab, "s", "rule").includes("iif")
  },
  {
    what: "no rules",
    edit: ({ nodes }) => {
      delete nodes["s"]!["rules"]
      nodes["s"]!["routes"] = [{ to: "10.1.0.0/24", via: "r:up" }]
    },
    plan: ["- rule/s/ipv4/1000", "- route/s/100/10.66.0.0/16/0"],
    check: (lab) => !ip(lab, "s", "rule").includes("1000:")
  },
  {
    what: "loopback addresses",
    edit: ({ nodes }) => void (nodes["s"]!["loopback"] = ["10.255.0.1", "2001:db8:ff::1"]),
    plan: ["~ hosts-file entries: *", "+ address/s:lo/10.255.0.1/32", "+ address/s:lo/2001:db8:ff::1/128"],
    check: (lab) => ip(lab, "s", "address", "show", "lo").includes("2001:db8:ff::1/128")
  },
  {
    what: "another one instead",
    edit: ({ nodes }) => void (nodes["s"]!["loopback"] = "10.255.0.2"),
    plan: ["~ hosts-file entries: *", "+ address/s:lo/10.255.0.2/32", "- address/s:lo/*", "- address/s:lo/*"],
    check: (lab) => !ip(lab, "s", "address", "show", "lo").includes("10.255.0.1")
  },
  {
    what: "IPv6 beside IPv4, with ECMP",
    edit: ({ links, networks, nodes }) => {
      networks["lan"]!["cidr"] = ["10.1.0.0/24", "2001:db8:1::/64"]
      networks["far"]!["cidr"] = ["10.2.0.0/24", "2001:db8:2::/64"]
      for (const [i, link] of links.entries()) link["cidr"] = [link["cidr"] as string, `2001:db8:9:${i}::/64`]
      nodes["s"]!["routes"] = [
        { to: "10.1.0.0/24", via: "r:up" },
        { to: "2001:db8:1::/64", via: ["r:up", "r:alt"] }
      ]
      nodes["r"]!["routes"] = [...(nodes["r"]!["routes"] as unknown[]), { to: "2001:db8:2::/64", via: ["s:up", "s:alt"] }]
    },
    plan: [
      "~ hosts-file entries: *",
      ...Array.from({ length: 9 }, () => "+ address/*/2001:db8:*"),
      "+ nexthop/r/*",
      "+ nexthop/s/*",
      "+ route/r/254/2001:db8:2::/64/1024",
      "+ route/s/254/2001:db8:1::/64/1024",
      "+ route/a/254/::/0/1024",
      "+ route/d/254/::/0/1024"
    ],
    check: (lab, weftd) => weftd.pings(lab, "a", "2001:db8:2::2")
  },
  {
    what: "an IPv6 route by one way, another as a blackhole, a third by metric",
    edit: ({ nodes }) =>
      void (nodes["r"]!["routes"] = [
        ...(nodes["r"]!["routes"] as unknown[]).slice(0, -1),
        { to: "2001:db8:2::/64", via: "s:alt" },
        { to: "2001:db8:66::/48", type: "blackhole" },
        { to: "2001:db8:67::/48", via: "s:up", metric: 7 }
      ]),
    plan: [
      "~ route/r/254/2001:db8:2::/64/1024 *",
      "+ route/r/254/2001:db8:66::/48/1024",
      "+ route/r/254/2001:db8:67::/48/7",
      "- nexthop/r/*"
    ],
    check: (lab, weftd) => weftd.pings(lab, "a", "2001:db8:2::2")
  },
  {
    what: "the blackhole leads somewhere, the metric is another",
    edit: ({ nodes }) =>
      void (nodes["r"]!["routes"] = [
        ...(nodes["r"]!["routes"] as unknown[]).slice(0, -2),
        { to: "2001:db8:66::/48", via: ["s:up", "s:alt"] },
        { to: "2001:db8:67::/48", via: "s:up", metric: 8 }
      ]),
    plan: [
      "+ nexthop/r/*",
      "~ route/r/254/2001:db8:66::/48/1024 *",
      "+ route/r/254/2001:db8:67::/48/8",
      "- route/r/254/2001:db8:67::/48/7"
    ],
    check: (lab) => !ip(lab, "r", "-6", "route").includes("metric 7")
  },
  {
    what: "another IPv6 address of a host",
    edit: ({ networks }) =>
      void (networks["lan"]!["ports"] = [
        "r:lan",
        { port: "a", addresses: ["10.1.0.2", "2001:db8:1::77"] },
        { port: "b", addresses: ["10.1.0.3"] }
      ]),
    plan: [
      "~ hosts-file entries: *",
      "+ address/a:eth0/2001:db8:1::77/64",
      "+ address/b:eth0/2001:db8:1::2/64",
      "- address/a:eth0/2001:db8:1::2/64",
      "- address/b:eth0/2001:db8:1::3/64"
    ],
    check: (lab, weftd) => weftd.pings(lab, "d", "2001:db8:1::77")
  },
  {
    what: "an MTU too small for IPv6, on a link that has none any more",
    edit: ({ links, nodes }) => {
      links[1]!["cidr"] = "10.9.1.0/30"
      links[1]!["mtu"] = 1000
      nodes["r"]!["routes"] = [
        { to: "10.2.0.0/24", via: ["s:alt", "s:up"], metric: 50 },
        { to: "10.66.0.0/16", type: "unreachable" },
        { to: "2001:db8:2::/64", via: "s:up" }
      ]
      nodes["s"]!["routes"] = [
        { to: "10.1.0.0/24", via: "r:up" },
        { to: "2001:db8:1::/64", via: "r:up" }
      ]
    },
    plan: [
      "~ hosts-file entries: *",
      "~ port/r:alt mtu: 9000 -> 1000",
      "~ port/s:alt mtu: 9000 -> 1000",
      "~ route/r/254/2001:db8:2::/64/1024 *",
      "~ route/s/254/2001:db8:1::/64/1024 *",
      ...Array.from({ length: 2 }, () => "- route/r/254/2001:*"),
      ...Array.from({ length: 2 }, () => "- nexthop/*"),
      ...Array.from({ length: 2 }, () => "- address/*:alt/2001:*")
    ],
    check: (lab, weftd) => weftd.pings(lab, "a", "2001:db8:2::2")
  },
  {
    what: "a subnet gets other numbers",
    edit: ({ networks, nodes }) => {
      networks["far"] = { cidr: "10.3.0.0/24", gateway: "s", ports: ["s:far", "d"] }
      nodes["r"]!["routes"] = [{ to: "10.3.0.0/24", via: "s:up" }]
    },
    plan: [
      "~ hosts-file entries: *",
      "+ address/s:far/10.3.0.1/24",
      "+ address/d:eth0/10.3.0.2/24",
      "+ route/r/254/10.3.0.0/24/0",
      "~ route/d/254/0.0.0.0/0/0 via: *",
      "- route/r/254/10.66.0.0/16/0",
      "- route/r/254/10.2.0.0/24/50",
      "- route/r/254/2001:db8:2::/64/1024",
      "- route/d/254/::/0/1024",
      "- nexthop/r/*",
      ...Array.from({ length: 4 }, () => "- address/*")
    ],
    check: (lab, weftd) => weftd.pings(lab, "a", "10.3.0.2"),
    breaks: true
  }
]

const matches = (line: string, pattern: string): boolean =>
  new RegExp(
    `^${pattern
      .split("*")
      .map((text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`
  ).test(line)

t.test("edits", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("edits")
  t.teardown(() => weftd.close())
  const lab = weftd.name("edits")
  const topology = base(lab)
  await weftd.make(topology)
  let connection = await Connection.open(weftd, lab, "a", "d", "10.2.0.2")
  let port = 6000

  for (const { breaks, check, edit, plan, remade = [], what } of edits) {
    await t.test(what, async (t) => {
      const before = identities(await weftd.inspect(lab))
      edit(topology)
      const planned = await weftd.plan(topology)
      const asExpected =
        planned.length === plan.length && [...planned].sort().every((line) => plan.some((pattern) => matches(line, pattern)))
      t.ok(asExpected, "the plan says exactly that", { planned, expected: plan })
      const outcome = await weftd.make(topology)
      t.same(
        describe(outcome.steps.map((step) => step.change)).map((line) => line.split(" ")[1]),
        planned.map((line) => line.split(" ")[1]),
        "the deploy does what the plan said"
      )
      t.same(await weftd.plan(topology), [], "then there is nothing to do")
      if (check !== undefined) t.ok(await check(lab, weftd), "the kernel has it")
      const after = identities(await weftd.inspect(lab))
      for (const [name, identity] of Object.entries(before)) {
        if (after[name] !== undefined && !remade.includes(name)) t.equal(after[name], identity, `${name} is still the same`)
      }
      if (breaks !== true) t.ok(await connection.exchange(what), "the connection from a to d lives on")
      else if (what !== edits.at(-1)!.what) connection = await Connection.open(weftd, lab, "a", "d", "10.2.0.2", port++)
    })
  }

  t.test("back to the beginning in one step", async (t) => {
    const inode = inodeOf(lab, "a")
    const start = base(lab)
    await weftd.make(start)
    t.same(await weftd.plan(start), [])
    t.equal(inodeOf(lab, "a"), inode)
    t.equal(sysctl(lab, "a", "net.ipv4.ip_default_ttl"), "64")
    t.equal(sysctl(lab, "a", "net.ipv4.tcp_ecn"), "2")
    t.ok(await weftd.pings(lab, "a", "10.2.0.2"))
  })

  t.test("weft plan tells by its exit code", async (t) => {
    const input = JSON.stringify(base(lab))
    t.equal((await weftd.weft(["plan", "-", "--detailed-exitcode"], { input })).code, 0)
    const changed = await weftd.weft(["plan", "-", "--detailed-exitcode"], { input: input.replace('"a":{', '"a":{"mtu":1300,') })
    t.equal(changed.code, 2)
    t.match(changed.stdout, /1300/)
  })
})
