/**
 * A lab as a graph to draw: nodes and networks are elements, links and attachments are edges, sites are clusters.
 * `layout.ts` gives every element a place, `svg.ts` draws, `text.ts` writes Mermaid and DOT.
 */

import type { InspectResponse, Node, Port, Segment } from "../../messages.ts"

export type Shape = "host" | "router" | "network"

export interface Element {
  /** `node/pc` or `network/lan`: unique, stable. */
  readonly id: string
  readonly shape: Shape
  readonly title: string
  /** Small lines under the title: addresses of a host with one port, loopbacks of a router, prefixes of a network. */
  readonly lines: ReadonlyArray<string>
  /** Site or group; empty: belongs to none. */
  readonly cluster: string
  readonly degree: number
}

export interface Edge {
  /** `link/vpn-1`, `network/lan/pc:eth0`: unique, stable. */
  readonly id: string
  readonly a: string
  readonly b: string
  /** Interface and address at each end; empty where the element itself says it. */
  readonly aLabel: string
  readonly bLabel: string
  /** Prefixes of a point-to-point link and what it does to packets. */
  readonly label: string
  /** Its ends are on different hosts: frames travel in a tunnel. */
  readonly tunnel: boolean
}

export interface Graph {
  readonly title: string
  readonly subtitle: string
  /** The host that has all nodes of a cluster, by cluster; empty where the whole lab is on one. */
  readonly homes: ReadonlyMap<string, string>
  readonly elements: ReadonlyArray<Element>
  readonly edges: ReadonlyArray<Edge>
}

/** @returns elements in the order of the lab, so that the same lab is always drawn the same way */
export const graphOf = (lab: InspectResponse): Graph => {
  const nodes = new Map(lab.nodes.map((node) => [node.name, node]))
  const ports = new Map<string, { readonly node: Node; readonly port: Port }>(
    lab.nodes.flatMap((node) => node.ports.map((port) => [`${node.name}:${port.name}`, { node, port }] as const))
  )
  const networks = lab.segments.filter((segment) => segment.kind === "network" || segment.ports.length !== 2)
  const links = lab.segments.filter((segment) => !networks.includes(segment))
  const degree = (node: Node): number => node.ports.filter(({ segment }) => segment !== "").length

  const homes = homesOf(lab.nodes)
  const hosts = new Set(lab.nodes.map(({ host }) => host))
  const hostLine = (node: Node): ReadonlyArray<string> =>
    hosts.size < 2 || homes.has(clusterOfNode(node)) ? [] : [`on ${node.host}`]

  const elements: Array<Element> = lab.nodes.map((node) => ({
    id: `node/${node.name}`,
    shape: node.kind === "router" || (node.kind === "container" && degree(node) > 1) ? "router" : "host",
    title: node.name,
    lines: [...linesOf(node), ...hostLine(node)],
    cluster: clusterOfNode(node),
    degree: degree(node)
  }))
  for (const network of networks) {
    elements.push({
      id: `network/${network.name}`,
      shape: "network",
      title: network.name,
      lines: network.cidrs,
      cluster: clusterOfNetwork(network, nodes),
      degree: network.ports.length
    })
  }

  const edges: Array<Edge> = []
  const endLabel = (name: string): string => {
    const end = ports.get(name)
    return end === undefined || degree(end.node) < 2 ? "" : portLabel(end.port)
  }
  const hostOf = (port: string): string => nodes.get(nodeOf(port))?.host ?? ""
  for (const link of links) {
    const [a = "", b = ""] = link.ports
    const tunnel = hostOf(a) !== hostOf(b)
    const labels = { aLabel: endLabel(a), bLabel: endLabel(b), label: edgeLabel(link) }
    edges.push({ id: `link/${link.name}`, a: nodeId(a), b: nodeId(b), ...labels, tunnel })
  }
  for (const network of networks) {
    const home = mostFrequent(network.ports.map(hostOf))
    for (const port of network.ports) {
      const tunnel = hostOf(port) !== home
      const id = `network/${network.name}`
      edges.push({ id: `${id}/${port}`, a: nodeId(port), b: id, aLabel: endLabel(port), bLabel: "", label: "", tunnel })
    }
  }
  const known = new Set(elements.map(({ id }) => id))
  return {
    title: lab.lab.name,
    subtitle: [
      counted(lab.nodes.length, "node"),
      counted(networks.length, "network"),
      counted(links.length, "link"),
      ...(hosts.size > 1 ? [counted(hosts.size, "host")] : [])
    ].join(" · "),
    homes,
    elements,
    edges: edges.filter(({ a, b }) => known.has(a) && known.has(b) && a !== b)
  }
}

const edgeLabel = ({ cidrs, profileLabel }: Segment): string => [...cidrs, profileLabel].filter((part) => part !== "").join(" ")

const nodeOf = (port: string): string => port.slice(0, port.indexOf(":"))
const nodeId = (port: string): string => `node/${nodeOf(port)}`

const homesOf = (nodes: ReadonlyArray<Node>): ReadonlyMap<string, string> => {
  if (new Set(nodes.map(({ host }) => host)).size < 2) return new Map()
  const clusters = [...Map.groupBy(nodes, clusterOfNode)].filter(([cluster]) => cluster !== "")
  return new Map(
    clusters.flatMap(([cluster, members]) => (members.every(({ host }) => host === members[0]!.host) ? [[cluster, members[0]!.host]] : []))
  )
}

/** The first of those that occur most often. */
const mostFrequent = (values: ReadonlyArray<string>): string | undefined =>
  [...Map.groupBy(values, (value) => value)].reduce<readonly [string | undefined, number]>(
    (best, [value, all]) => (all.length > best[1] ? [value, all.length] : best),
    [undefined, 0]
  )[0]

/** How a cluster is named in a drawing: `idc · host2` where one of several hosts has all of it. */
export const clusterTitle = ({ homes }: Graph, cluster: string): string => {
  const home = homes.get(cluster)
  return home === undefined ? cluster : `${cluster} · ${home}`
}

const clusterOfNode = (node: Node): string => node.labels["site"] ?? node.group

/** The site that most of its nodes are in; none when no site has more than half. */
const clusterOfNetwork = (network: Segment, nodes: ReadonlyMap<string, Node>): string => {
  const given = network.labels["site"]
  if (given !== undefined) return given
  const members = network.ports.flatMap((port) => nodes.get(nodeOf(port)) ?? [])
  for (const [cluster, of] of Map.groupBy(members, clusterOfNode)) if (of.length * 2 > members.length) return cluster
  // A network between two sites' hosts and routers: it is drawn where its hosts are.
  const hosts = new Set(members.filter(({ kind }) => kind === "host").map(clusterOfNode))
  return hosts.size === 1 ? [...hosts][0]! : ""
}

/** `1 link`, `2 links` */
const counted = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`

const linesOf = (node: Node): ReadonlyArray<string> => {
  const attached = node.ports.filter(({ segment }) => segment !== "")
  if (attached.length === 1) return attached[0]!.addresses.slice(0, 2)
  return node.ports.filter(({ name }) => name === "lo").flatMap(({ addresses }) => addresses.slice(0, 2))
}

/** `eth1 10.0.0.1`: the prefix length stands at the link or the network. */
const portLabel = (port: Port): string => {
  const first = port.addresses.find((address) => !address.startsWith("fe80"))
  const address = first === undefined ? "" : ` ${first.split("/")[0]}`
  return `${port.name}${address}`
}
