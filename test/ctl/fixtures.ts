/** Labs as the daemon would describe them: what the fake daemon serves and what drawings are made of. */

import type { InspectResponse, Node, Port, Segment } from "../../ctl/messages.ts"

/** `node:ifname address...` for every port, in a short notation. */
interface Wire {
  readonly name: string
  readonly kind: "link" | "network"
  readonly cidrs: ReadonlyArray<string>
  readonly ports: ReadonlyArray<readonly [string, ...ReadonlyArray<string>]>
}

type Kind = "host" | "router"

/** Builds an inspection from nodes (`name: [kind, site]`) and wires; MAC addresses and names are counted up. */
export const labOf = (
  name: string,
  nodes: Readonly<Record<string, readonly [Kind, string]>>,
  wires: ReadonlyArray<Wire>,
  by: "site" | "group" = "site"
): InspectResponse => {
  let count = 0
  const portsOf = (node: string): ReadonlyArray<Port> =>
    wires.flatMap((wire) =>
      wire.ports
        .filter(([port]) => port.startsWith(`${node}:`))
        .map(([port, ...addresses]): Port => {
          count += 1
          const hex = count.toString(16).padStart(4, "0")
          return {
            name: port.slice(node.length + 1),
            mac: `02:5a:00:00:${hex.slice(0, 2)}:${hex.slice(2)}`,
            mtu: 1500,
            addresses,
            segment: wire.name,
            fabricName: `wf${hex}`,
            ifindex: 2,
            state: "up",
            counters: { fromPackets: 10, fromOctets: 980, toPackets: 9, toOctets: 882, drops: {} }
          }
        })
    )
  return {
    host: "vm1",
    lab: {
      name,
      state: "ready",
      nodes: Object.keys(nodes).length,
      segments: wires.length,
      deployedAt: "2026-01-01T00:00:00.000Z",
      filename: `${name}.weft.yaml`,
      error: "",
      hosts: ["vm1"],
      faults: 0
    },
    nodes: Object.entries(nodes).map(([node, [kind, site]]): Node => ({
      name: node,
      kind,
      group: by === "group" ? site : "",
      labels: by === "site" && site !== "" ? { site } : {},
      netns: `weft.${name}.${node}`,
      host: "vm1",
      state: "ready",
      ports: portsOf(node),
      routes: [{ to: "0.0.0.0/0", type: "unicast", metric: 0, table: 254, via: ["10.0.0.1 dev eth0"] }],
      faults: []
    })),
    segments: wires.map((wire, index): Segment => ({
      name: wire.name,
      kind: wire.kind,
      vni: 4096 + index,
      cidrs: wire.cidrs,
      ports: wire.ports.map(([port]) => port),
      labels: {},
      profile: [],
      profileLabel: "",
      faults: []
    })),
    drift: [],
    tunnels: [],
    unreachable: [],
    faults: []
  }
}

const network = (name: string, cidr: string, ...ports: ReadonlyArray<readonly [string, ...ReadonlyArray<string>]>): Wire => ({
  name,
  kind: "network",
  cidrs: [cidr],
  ports
})
const link = (
  a: readonly [string, ...ReadonlyArray<string>],
  b: readonly [string, ...ReadonlyArray<string>],
  cidr: string
): Wire => ({ name: `${a[0].split(":")[0]}-${b[0].split(":")[0]}`, kind: "link", cidrs: [cidr], ports: [a, b] })

/** Office, IDC and VPC behind the internet, with private links between the sites: three sites and 15 nodes. */
export const hybrid = (): InspectResponse =>
  labOf(
    "hybrid",
    {
      "office-pc1": ["host", "office"],
      "office-pc2": ["host", "office"],
      "office-fw": ["router", "office"],
      "idc-r1": ["router", "idc"],
      "idc-r2": ["router", "idc"],
      "idc-db": ["host", "idc"],
      "idc-app": ["host", "idc"],
      "idc-backup": ["host", "idc"],
      "aws-vgw": ["router", "aws"],
      "aws-router": ["router", "aws"],
      "aws-web": ["host", "aws"],
      "aws-api": ["host", "aws"],
      "aws-cache": ["host", "aws"],
      internet: ["router", "internet"],
      www: ["host", "internet"]
    },
    [
      network(
        "office-lan",
        "10.10.0.0/24",
        ["office-fw:lan", "10.10.0.1/24"],
        ["office-pc1:eth0", "10.10.0.10/24"],
        ["office-pc2:eth0", "10.10.0.11/24"]
      ),
      network(
        "idc-data",
        "10.20.0.0/24",
        ["idc-r1:data", "10.20.0.2/24"],
        ["idc-r2:data", "10.20.0.3/24"],
        ["idc-db:eth0", "10.20.0.10/24"],
        ["idc-app:eth0", "10.20.0.11/24"],
        ["idc-backup:eth0", "10.20.0.12/24"]
      ),
      network("vpc-public", "10.30.1.0/24", ["aws-router:pub", "10.30.1.1/24"], ["aws-web:eth0", "10.30.1.10/24"]),
      network(
        "vpc-private",
        "10.30.2.0/24",
        ["aws-router:priv", "10.30.2.1/24"],
        ["aws-api:eth0", "10.30.2.10/24"],
        ["aws-cache:eth0", "10.30.2.11/24"]
      ),
      link(["aws-vgw:vpc", "169.254.9.1/30"], ["aws-router:vgw", "169.254.9.2/30"], "169.254.9.0/30"),
      link(["office-fw:wan", "203.0.113.2/30"], ["internet:office", "203.0.113.1/30"], "203.0.113.0/30"),
      link(["idc-r1:wan", "203.0.113.6/30"], ["internet:idc", "203.0.113.5/30"], "203.0.113.4/30"),
      link(["aws-router:igw", "203.0.113.10/30"], ["internet:aws", "203.0.113.9/30"], "203.0.113.8/30"),
      link(["internet:dc", "198.51.100.1/24"], ["www:eth0", "198.51.100.10/24"], "198.51.100.0/24"),
      link(["office-fw:mpls", "172.16.0.1/30"], ["idc-r2:mpls", "172.16.0.2/30"], "172.16.0.0/30"),
      link(["idc-r1:dx", "172.16.1.1/30"], ["aws-vgw:dx1", "172.16.1.2/30"], "172.16.1.0/30"),
      link(["idc-r2:dx", "172.16.1.5/30"], ["aws-vgw:dx2", "172.16.1.6/30"], "172.16.1.4/30"),
      link(["idc-r1:peer", "172.16.2.1/30"], ["idc-r2:peer", "172.16.2.2/30"], "172.16.2.0/30")
    ]
  )

/** A fabric of spines and leaves with hosts below every leaf. */
export const spineLeaf = (
  spines: number,
  leaves: number,
  hostsPerLeaf: number,
  by: "site" | "group" = "group"
): InspectResponse => {
  const nodes: Record<string, readonly [Kind, string]> = {}
  const wires: Array<Wire> = []
  for (let s = 1; s <= spines; s++) nodes[`spine${s}`] = ["router", by === "group" ? "spine" : "dc1"]
  for (let l = 1; l <= leaves; l++) {
    nodes[`leaf${l}`] = ["router", by === "group" ? "leaf" : "dc1"]
    for (let s = 1; s <= spines; s++) {
      wires.push(
        link(
          [`leaf${l}:up${s}`, `10.1.${l}.${4 * s + 1}/31`],
          [`spine${s}:d${l}`, `10.1.${l}.${4 * s}/31`],
          `10.1.${l}.${4 * s}/31`
        )
      )
    }
    const ports: Array<readonly [string, ...ReadonlyArray<string>]> = [
      [`leaf${l}:hosts`, `10.2.${l}.1/24`, `2001:db8:${l}::1/64`]
    ]
    for (let h = 1; h <= hostsPerLeaf; h++) {
      nodes[`h${l}-${h}`] = ["host", by === "group" ? "host" : "dc1"]
      ports.push([`h${l}-${h}:eth0`, `10.2.${l}.${10 + h}/24`, `2001:db8:${l}::${10 + h}/64`])
    }
    wires.push(network(`rack${l}`, `10.2.${l}.0/24`, ...ports))
  }
  return labOf("spine-leaf", nodes, wires, by)
}

/** Three tiers without any site or group. */
export const threeTier = (): InspectResponse =>
  labOf(
    "three-tier",
    {
      fw: ["router", ""],
      lb: ["router", ""],
      user: ["host", ""],
      web1: ["host", ""],
      web2: ["host", ""],
      app: ["host", ""],
      db: ["host", ""]
    },
    [
      link(["user:eth0", "198.51.100.2/30"], ["fw:out", "198.51.100.1/30"], "198.51.100.0/30"),
      network("dmz", "10.0.1.0/24", ["fw:dmz", "10.0.1.1/24"], ["lb:dmz", "10.0.1.2/24"]),
      network("web", "10.0.2.0/24", ["lb:web", "10.0.2.1/24"], ["web1:eth0", "10.0.2.10/24"], ["web2:eth0", "10.0.2.11/24"]),
      network(
        "data",
        "10.0.3.0/24",
        ["app:eth0", "10.0.3.20/24"],
        ["db:eth0", "10.0.3.30/24"],
        ["web1:eth1", "10.0.3.10/24"],
        ["web2:eth1", "10.0.3.11/24"]
      )
    ]
  )
