/**
 * The lab of the faults of routes, BGP, NAT, firewalls, ICMP and DNS:
 *
 *     pc --- office 10.1.0.0/24 --- fw ==e1== isp1 ==== net ==== srv 198.51.100.2
 *                             AS 65001 ==e2== isp2 ===='  AS 65200
 *                                     --e3-- peer      isp1, isp2: AS 65100; peer: AS 65300
 *
 * fw masquerades what leaves towards the ISPs, tells everybody its own prefix only, and nothing out there knows 10.1.0.0/24. The
 * links to net take 1300 octets, so that path MTU discovery has something to find.
 */
export const rulesLab = (name: string) => ({
  name,
  groups: { isp: { kind: "router", bgp: { as: 65100, redistribute: "connected" }, labels: { site: "provider" } } },
  nodes: {
    pc: { kind: "host", dns: { servers: "198.51.100.2", search: "corp.example" } },
    fw: {
      kind: "router",
      nat: { masquerade: ["e1", "e2"], "port-forward": [{ on: "e1", protocol: "tcp", port: 8080, to: "pc:80" }] },
      "mss-clamp": [{ out: "e3", mss: "pmtu" }],
      firewall: { forward: "drop", rules: [{ deny: "tcp/9999", name: "no-9999" }, "allow any in office"] },
      routes: [{ to: "10.9.0.0/16", via: ["isp1", "isp2"] }, { to: "10.8.0.0/16", via: "isp1" }],
      bgp: {
        as: 65001,
        networks: "192.0.2.0/24",
        export: "own",
        policies: { own: { permit: { "as-path": "^$" }, set: { community: "65001:1" } } }
      }
    },
    isp1: { group: "isp" },
    isp2: { group: "isp" },
    net: { kind: "router", bgp: { as: 65200, networks: "198.51.100.0/24" } },
    peer: { kind: "router", bgp: { as: 65300, networks: "203.0.113.0/24" } },
    srv: { kind: "host" }
  },
  networks: {
    office: { cidr: "10.1.0.0/24", gateway: "fw", ports: ["fw:office", "pc"] },
    service: { cidr: "198.51.100.0/24", gateway: "net", ports: ["net:service", { port: "srv", addresses: ["198.51.100.2"] }] }
  },
  links: [
    { endpoints: ["fw:e1", "isp1:e1"], cidr: "172.16.0.0/30" },
    { endpoints: ["fw:e2", "isp2:e1"], cidr: "172.16.0.4/30" },
    { endpoints: ["fw:e3", "peer:e1"], cidr: "172.16.0.8/30" },
    { endpoints: ["isp1:e2", "net:e1"], cidr: "172.16.1.0/30", mtu: 1300 },
    { endpoints: ["isp2:e2", "net:e2"], cidr: "172.16.1.4/30", mtu: 1300 }
  ]
})
