/** A lab that has a target for every kind of fault, and an order for each. */
import { load } from "../../daemon/compiler/load.ts"
import type { Plan } from "../../daemon/plan/resource.ts"

/**
 *     pc, tv --- lan (10.1.0.0/24) --- fw --- wan (192.0.2.0/30), alt (192.0.2.4/30) --- isp --- far (198.51.100.0/24) --- srv
 *                                 NAT, firewall, BGP                                     BGP, DNS at srv
 */
export const topology = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host", labels: { site: "office" }, dns: { servers: ["198.51.100.2"] } },
    tv: { kind: "host", labels: { site: "office" } },
    fw: {
      kind: "router",
      nat: { masquerade: "wan" },
      firewall: { forward: "drop", rules: ["allow icmp", "allow tcp/443 from pc", "allow udp/53"] },
      routes: [{ to: "203.0.113.0/24", via: "isp:wan" }],
      bgp: { as: 65001, networks: ["10.1.0.0/24"], export: "own", policies: { own: { permit: { "as-path": "^$" } } } }
    },
    isp: { kind: "router", bgp: { as: 65002, networks: ["198.51.100.0/24"] } },
    srv: { kind: "host" }
  },
  networks: {
    lan: { cidr: "10.1.0.0/24", gateway: "fw", ports: ["fw:lan", "pc", "tv"] },
    far: { cidr: "198.51.100.0/24", gateway: "isp", ports: ["isp:far", "srv"] }
  },
  links: [
    { name: "wan", endpoints: ["fw:wan", "isp:wan"], cidr: "192.0.2.0/30" },
    { name: "alt", endpoints: ["fw:alt", "isp:alt"], cidr: "192.0.2.4/30", delay: "1ms" }
  ]
})

export const nodes = ["pc", "tv", "fw", "isp", "srv"]

/** @throws Error with what is wrong with the topology */
export const planOf = (name: string): Plan => {
  const result = load({ filename: "every-kind.weft.yaml", content: JSON.stringify(topology(name)) } as Parameters<typeof load>[0])
  if (!result.ok) throw new Error(result.diagnostics.map(({ message, path }) => `${path}: ${message}`).join("\n"))
  return result.plan
}

export const recording = "time,rate,delay\n0,10mbit,5ms\n60s,5mbit,20ms\n"

/** What to inject of each kind, as words. */
export const orders: Readonly<Record<string, string>> = {
  "link-down": "link-down fw:wan",
  flap: "flap alt 3s 3s",
  "one-way": "one-way fw:wan out",
  delay: "delay alt 20ms",
  jitter: "jitter fw:wan 5ms",
  loss: "loss fw:wan 30% direction=out",
  duplicate: "duplicate alt 5%",
  corrupt: "corrupt alt 5%",
  reorder: "reorder alt 5%",
  rate: "rate fw:wan 10mbit",
  impair: "impair alt delay=3ms loss=1%",
  brownout: "brownout fw:wan trace.csv",
  mtu: "mtu alt 1200",
  partition: "partition pc rest",
  "node-crash": "node-crash srv",
  "node-restart": "node-restart tv 60s",
  "node-pause": "node-pause isp",
  "host-loss": "host-loss h1",
  "daemon-restart": "daemon-restart h1 down-for=500ms",
  blackhole: "blackhole fw 198.51.100.0/24",
  "route-missing": "route-missing fw 203.0.113.0/24",
  "route-withdraw": "route-withdraw isp",
  "route-hijack": "route-hijack fw 198.51.100.0/24",
  "route-leak": "route-leak fw isp",
  "bgp-down": "bgp-down fw",
  "bgp-reset": "bgp-reset fw how=soft",
  "bgp-med": "bgp-med fw 50",
  "bgp-prepend": "bgp-prepend isp 3",
  "nat-missing": "nat-missing fw",
  "nat-extra": "nat-extra fw wan",
  "nat-exhausted": "nat-exhausted fw 4",
  "firewall-missing": "firewall-missing fw",
  "firewall-rule": "firewall-rule fw deny tcp/443",
  "icmp-blocked": "icmp-blocked fw too-big",
  "conntrack-full": "conntrack-full fw 2",
  "dns-failure": "dns-failure pc"
}

export const files: Readonly<Record<string, string>> = { "trace.csv": recording }
