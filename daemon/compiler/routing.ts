/**
 * Static routes, default gateways and policy rules of one node -> kernel routes.
 *
 * In: what the person wrote (`default`, node names, several ways, or nothing at all for a host). Out: one route per
 * prefix with canonical text, each by one gateway or by a nexthop group.
 */
import type { BfdTimers } from "../plan/bgp.ts"
import type { NexthopSpec, RouteSpec, RuleSpec } from "../plan/resource.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Located, Node, Port, Route, Segment, Topology, Way } from "../topology/model.ts"
import { nameProblem } from "../topology/names.ts"
import { addressKey, type Addressing, label } from "./addressing.ts"
import { bfdTimers } from "./bfd.ts"
import { nexthopId } from "./derive.ts"

export interface CompiledRoute {
  readonly spec: RouteSpec
  /** Ports that the route leaves by: their addresses and segments must be there first. */
  readonly ports: ReadonlyArray<Port>
  readonly group?: NexthopSpec
  readonly path: Path
}

/** What the nodes of a lab share while they are compiled one by one. */
export interface RoutingContext {
  readonly topology: Topology
  readonly addressing: Addressing
  readonly reporter: Reporter
  /** Ports of each segment by node, so that a look-up does not walk a network of a thousand ports. */
  readonly portsBySegment: ReadonlyMap<Segment, ReadonlyMap<string, ReadonlyArray<Port>>>
  readonly routerPorts: ReadonlyMap<Segment, ReadonlyArray<Port>>
  /** Ports of each node, also of those that could not be read. */
  readonly portsByNode: ReadonlyMap<string, ReadonlyArray<Port>>
  readonly connected: (node: Node) => Connected
}

/** The subnets that a node is on, ready for longest-prefix matches. */
interface Connected {
  /** Longest first. */
  readonly lengths: ReadonlyArray<{ readonly family: Ip.Family; readonly length: number }>
  readonly portOfSubnet: ReadonlyMap<string, Port>
  readonly portOfAddress: ReadonlyMap<string, Port>
}

export const routingContext = (topology: Topology, addressing: Addressing, reporter: Reporter): RoutingContext => {
  const portsBySegment = new Map<Segment, Map<string, Array<Port>>>()
  const portsByNode = new Map<string, Array<Port>>()
  for (const segment of topology.segments) {
    const byNode = new Map<string, Array<Port>>()
    for (const port of segment.ports) {
      append(byNode, port.node, port)
      append(portsByNode, port.node, port)
    }
    portsBySegment.set(segment, byNode)
  }
  const routerPorts = new Map(topology.segments.map((segment) =>
    [segment, segment.ports.filter((port) => topology.nodes.get(port.node)?.role === "router")] as const
  ))
  const cache = new Map<Node, Connected>()
  const connected = (node: Node): Connected => {
    const known = cache.get(node) ?? connectedSubnets(node, addressing)
    cache.set(node, known)
    return known
  }
  return { topology, addressing, reporter, portsBySegment, routerPorts, portsByNode, connected }
}

const append = <K, V>(map: Map<K, Array<V>>, key: K, value: V): void => {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

const connectedSubnets = (node: Node, addressing: Addressing): Connected => {
  const lengths = new Map<string, { readonly family: Ip.Family; readonly length: number }>()
  const portOfSubnet = new Map<string, Port>()
  const portOfAddress = new Map<string, Port>()
  for (const port of node.ports) {
    for (const { address } of addressing.ofPort(port)) {
      const { family, length } = address
      lengths.set(`${family} ${length}`, { family, length })
      portOfAddress.set(addressKey(address), port)
      const subnet = Ip.formatPrefix(Ip.network(address))
      if (!portOfSubnet.has(subnet)) portOfSubnet.set(subnet, port)
    }
  }
  return { lengths: [...lengths.values()].sort((a, b) => b.length - a.length), portOfSubnet, portOfAddress }
}

/** The port whose subnet the address is in: the longest prefix, then the first port. */
const portTowards = (address: Ip.Address, { lengths, portOfSubnet }: Connected): Port | undefined => {
  for (const { family, length } of lengths) {
    if (family !== address.family) continue
    const port = portOfSubnet.get(Ip.formatPrefix(Ip.network({ ...address, length })))
    if (port !== undefined) return port
  }
  return undefined
}

/** A way with its names resolved. */
interface Hop {
  readonly family: Ip.Family
  readonly gateway?: Ip.Address
  readonly port: Port
  readonly weight: number
  readonly bfd?: BfdTimers
}

const families: ReadonlyArray<Ip.Family> = ["ipv4", "ipv6"]
const anywhere: Readonly<Record<Ip.Family, string>> = { ipv4: "0.0.0.0/0", ipv6: "::/0" }
/** The kernel's own (RTM_NEWROUTE without RTA_PRIORITY): IP6_RT_PRIO_USER is 1024, and 0 means that too. */
const defaultMetric: Readonly<Record<Ip.Family, number>> = { ipv4: 0, ipv6: 1024 }
const mainTable = 254

/** All routes of one node in the order they must be made. Reports what cannot work and leaves it out. */
export const compileRoutes = (node: Node, context: RoutingContext): ReadonlyArray<CompiledRoute> => {
  const routes: Array<CompiledRoute> = []
  const seen = new Map<string, Path>()
  const groupIds = new Set<number>()
  const add = (to: Ip.Prefix, route: Omit<Route, "to">, hops: ReadonlyArray<Hop>, path: Path): void => {
    const compiled = emit({ node, to, route, hops, path, groupIds })
    const key = `${compiled.spec.table} ${compiled.spec.to} ${compiled.spec.metric}`
    const earlier = seen.get(key)
    if (earlier === undefined) routes.push(compiled)
    else {
      const { line } = context.reporter.locate(earlier)
      context.reporter.error(path, `${node.name} already has a route to ${compiled.spec.to} with metric ${compiled.spec.metric} ` +
        `at line ${line}: give it another metric, or list both ways in "via" to share the load`)
    }
    seen.set(key, earlier ?? path)
  }

  for (const { value: route, path } of node.routes) {
    const hops = route.ways.flatMap((way) => resolveWay(node, way, context))
    const resolved = hops.filter((hop) => hop !== undefined)
    if (resolved.length < hops.length) continue
    const ends = resolved.map((hop) => `${hop.port.ifname} ${hop.gateway === undefined ? hop.family : addressKey(hop.gateway)}`)
    if (new Set(ends).size < ends.length) {
      context.reporter.error([...path, "via"], "two of the ways lead to the same gateway: use weight to prefer one way")
      continue
    }
    for (const to of route.to) {
      const prefix = to.value === "default" ? undefined : Ip.parsePrefix(to.value)!
      for (const family of prefix === undefined ? families : [prefix.family]) {
        const ways = resolved.filter((hop) => hop.family === family)
        const target = prefix ?? Ip.parsePrefix(anywhere[family])!
        if (ways.length > 0 || route.type !== "unicast") add(target, route, ways, to.path)
      }
      if (prefix !== undefined && route.type === "unicast") refuseOtherFamily({ node, route, hops: resolved, to, prefix, context })
    }
  }
  for (const hop of defaultGateways(node, context)) {
    const own = routes.some(({ spec }) => spec.table === mainTable && spec.to === anywhere[hop.family])
    if (own) continue
    const route = { type: "unicast" as const, ways: [], table: mainTable }
    add(Ip.parsePrefix(anywhere[hop.family])!, route, [hop], hop.path)
  }
  return routes
}

/** A route to an IPv6 prefix by ways of which none, or only some, have IPv6. */
const refuseOtherFamily = (options: {
  readonly node: Node
  readonly route: Route
  readonly hops: ReadonlyArray<Hop>
  readonly to: Located<string>
  readonly prefix: Ip.Prefix
  readonly context: RoutingContext
}): void => {
  const { node, route, hops, to, prefix, context } = options
  const names = { ipv4: "IPv4", ipv6: "IPv6" }
  if (!hops.some((hop) => hop.family === prefix.family)) {
    const way = route.ways[0]!
    context.reporter.error(way.path, `${quote(way.to ?? way.dev ?? "")} gives ${node.name} no ${names[prefix.family]} way to ${to.value}`)
  }
}

const emit = (options: {
  readonly node: Node
  readonly to: Ip.Prefix
  readonly route: Omit<Route, "to">
  readonly hops: ReadonlyArray<Hop>
  readonly path: Path
  readonly groupIds: Set<number>
}): CompiledRoute => {
  const { node, route, hops, path } = options
  const to = Ip.formatPrefix(options.to)
  const given = route.metric ?? 0
  const metric = given === 0 ? defaultMetric[options.to.family] : given
  const base = { node: node.name, to, table: route.table, metric, type: route.type }
  const ports = [...new Set(hops.map((hop) => hop.port))]
  const [first] = hops
  if (first === undefined) return { spec: base, ports, path }
  if (hops.length === 1) {
    const gateway = first.gateway === undefined ? {} : { gateway: Ip.formatAddress(first.gateway) }
    return { spec: { ...base, via: { ...gateway, ifname: first.port.ifname, ...watched(first) } }, ports, path }
  }
  let attempt = 0
  let groupId = nexthopId(node.name, route.table, to, metric, attempt)
  while (options.groupIds.has(groupId)) groupId = nexthopId(node.name, route.table, to, metric, ++attempt)
  options.groupIds.add(groupId)
  const members = hops.map((hop) => {
    const way = { ifname: hop.port.ifname, weight: hop.weight, ...watched(hop) }
    if (hop.gateway !== undefined) return { gateway: Ip.formatAddress(hop.gateway), ...way }
    return hop.family === "ipv6" ? { family: hop.family, ...way } : way
  })
  return { spec: { ...base, nexthop: groupId }, ports, path, group: { node: node.name, id: groupId, members } }
}

const watched = ({ bfd }: Hop): { readonly bfd?: BfdTimers } => (bfd === undefined ? {} : { bfd })

/** Hops of one way, one per family it serves; `undefined` in the list means that it was reported. */
const resolveWay = (node: Node, way: Way, context: RoutingContext): ReadonlyArray<Hop | undefined> => {
  const { reporter } = context
  let device: Port | undefined
  if (way.dev !== undefined) {
    device = findPort(node, way.dev, way.path, reporter)
    if (device === undefined) return [undefined]
    const port = device
    if (way.to === undefined) {
      const present = families.filter((family) => context.addressing.ofPort(port).some((a) => a.address.family === family))
      return (present.length === 0 ? ["ipv4" as const] : present).map((family) => ({ family, port, weight: way.weight }))
    }
  }
  const to = way.to!
  const address = Ip.parseAddress(to)
  const hops = address === undefined
    ? resolveNodeName({ node, to, device, path: way.path, context })
    : [resolveAddress({ node, address, device, path: way.path, context })]
  const bfd = way.bfd === undefined || way.bfd.value === false ? {} : { bfd: bfdTimers(way.bfd.value) }
  return hops.map((hop) => hop && { ...hop, weight: way.weight, ...bfd })
}

interface Target {
  readonly node: Node
  readonly device: Port | undefined
  readonly path: Path
  readonly context: RoutingContext
}

const subnetsOf = (port: Port, { addressing }: RoutingContext): ReadonlyArray<Ip.Prefix> =>
  addressing.ofPort(port).map((assigned) => assigned.address)

const resolveAddress = ({ node, address, device, path, context }: Target & { readonly address: Ip.Address }): Hop | undefined => {
  const { addressing, reporter } = context
  const text = Ip.formatAddress(address)
  if (Ip.isLinkLocal(address)) {
    if (device !== undefined) return { family: address.family, gateway: address, port: device, weight: 1 }
    reporter.error(path, `the link-local gateway ${text} needs "dev": it may be on any link`)
    return undefined
  }
  const connected = context.connected(node)
  const own = connected.portOfAddress.get(addressKey(address))
  if (own !== undefined) {
    reporter.error(path, `${text} is ${label(own)} itself: a gateway is another node's address`)
    return undefined
  }
  const port = device ?? portTowards(address, connected)
  if (port !== undefined && !subnetsOf(port, context).some((subnet) => Ip.contains(subnet, address))) {
    // fib_check_nh (net/ipv4/fib_semantics.c): the kernel refuses a gateway that is not on the link.
    const subnets = subnetsOf(port, context).map((subnet) => Ip.formatPrefix(Ip.network(subnet)))
    const list = subnets.length === 0 ? "it has no address" : `it is on ${subnets.join(", ")}`
    reporter.error(path, `${label(port)} is in no subnet with the gateway ${text}: ${list}`)
    return undefined
  }
  if (port === undefined) {
    const subnets = [...connected.portOfSubnet.keys()]
    const list = subnets.length === 0 ? "it has no address" : `it is on ${subnets.slice(0, 8).join(", ")}`
    reporter.error(path, `${node.name} has no port in a subnet with the gateway ${text}: ${list}`)
    return undefined
  }
  if (!addressing.exists(address)) reporter.warning(path, `no port has the address ${text}`)
  return { family: address.family, gateway: address, port, weight: 1 }
}

/** NODE or NODE:PORT as a next hop: its address on the segment that both are on, for each family that both have. */
const resolveNodeName = ({ node, to, device, path, context }: Target & { readonly to: string }): ReadonlyArray<Hop | undefined> => {
  const { topology, reporter } = context
  const colon = to.indexOf(":")
  const name = colon < 0 ? to : to.slice(0, colon)
  const ifname = colon < 0 ? undefined : to.slice(colon + 1)
  if (!context.portsByNode.has(name) && !topology.nodes.has(name)) {
    const isName = nameProblem(name) === undefined && !to.includes("::")
    const message = isName ? `there is no node ${quote(name)}` : `${quote(to)}: expected an address, NODE or NODE:PORT`
    reporter.error(path, message, { meant: { word: name, among: topology.nodes.keys() } })
    return [undefined]
  }
  const pairs = pairsBetween(node, name, context).filter(({ port, peer }) =>
    (device === undefined || port === device) && (ifname === undefined || peer.ifname === ifname)
  )
  if (pairs.length === 0) {
    const what = ifname === undefined ? quote(name) : `the port ${quote(to)}`
    reporter.error(path, `${node.name} and ${what} share no network or link: a next hop is a neighbour`)
    return [undefined]
  }
  const hops: Array<Hop> = []
  for (const family of families) {
    const found = pairs.flatMap(({ port, peer }) => {
      const gateway = gatewayAddress(port, peer, family, context)
      return gateway === undefined ? [] : [{ port, peer, gateway }]
    })
    if (found.length > 1) {
      const choice = found.map(({ peer }) => label(peer)).join(" or ")
      reporter.error(path, `${node.name} reaches ${quote(name)} in ${found.length} ways: write ${choice}`)
      return [undefined]
    }
    for (const { port, gateway } of found) hops.push({ family, gateway, port, weight: 1 })
  }
  if (hops.length === 0) {
    reporter.error(path, `${quote(name)} has no address in a subnet of ${node.name}`)
    return [undefined]
  }
  return hops
}

/** Ports of two nodes that lie on one segment. Walks the shorter list: a hub may have thousands of ports. */
const pairsBetween = (node: Node, name: string, { portsByNode, portsBySegment }: RoutingContext) => {
  const theirs = portsByNode.get(name) ?? []
  const onSegment = (segment: Segment, owner: string): ReadonlyArray<Port> => portsBySegment.get(segment)!.get(owner) ?? []
  const pairs = theirs.length < node.ports.length
    ? theirs.flatMap((peer) => onSegment(peer.segment, node.name).map((port) => ({ port, peer })))
    : node.ports.flatMap((port) => onSegment(port.segment, name).map((peer) => ({ port, peer })))
  return pairs.filter(({ port, peer }) => port !== peer)
}

/** The neighbour's address in a subnet of our port. */
const gatewayAddress = (port: Port, peer: Port, family: Ip.Family, context: RoutingContext): Ip.Address | undefined => {
  const subnets = subnetsOf(port, context)
  return subnetsOf(peer, context).find((address) =>
    address.family === family && subnets.some((subnet) => Ip.contains(subnet, address))
  )
}

/**
 * A host's default gateways, at most one per family: its own `gateway`; else, port by port, the segment's; else the only
 * router on the segment. Routers have none.
 */
const defaultGateways = (node: Node, context: RoutingContext): ReadonlyArray<Hop & { readonly path: Path }> => {
  if (node.role !== "host" || node.gateway === "none") return []
  const chosen = new Map<Ip.Family, Hop & { readonly path: Path }>()
  const choose = (hops: ReadonlyArray<Hop | undefined>, path: Path): void => {
    for (const hop of hops) if (hop !== undefined && !chosen.has(hop.family)) chosen.set(hop.family, { ...hop, path })
  }
  if (node.gateway !== undefined) {
    for (const { value, path } of node.gateway) choose(resolveWay(node, { to: value, weight: 1, path }, context), path)
    return [...chosen.values()]
  }
  let ambiguous: Segment | undefined
  for (const port of node.ports) {
    const { segment } = port
    if (segment.gateway === "none") continue
    if (segment.gateway !== undefined) {
      for (const item of segment.gateway) choose(segmentGateway(node, port, item, context), item.path)
      continue
    }
    const routers = context.routerPorts.get(segment)!
    const [router] = routers
    if (routers.length > 1) ambiguous ??= segment
    else if (router !== undefined) choose(neighbour(port, router, context), segment.path)
  }
  if (ambiguous !== undefined && chosen.size === 0 && node.routes.length === 0) {
    context.reporter.warning(ambiguous.path, `${ambiguous.name} has several routers and no "gateway": its hosts get no default route`)
  }
  return [...chosen.values()]
}

const segmentGateway = (node: Node, port: Port, item: Located<string>, context: RoutingContext): ReadonlyArray<Hop | undefined> => {
  const address = Ip.parseAddress(item.value)
  if (address === undefined) {
    const peers = context.portsBySegment.get(port.segment)!.get(item.value)
    return peers === undefined || item.value === node.name ? [] : neighbour(port, peers[0]!, context)
  }
  const subnets = subnetsOf(port, context)
  // The gateway itself, and a host without an address of that family, have no use for it.
  if (subnets.some((subnet) => subnet.bits === address.bits) || !subnets.some((subnet) => subnet.family === address.family)) return []
  return [resolveAddress({ node, address, device: port, path: item.path, context })]
}

const neighbour = (port: Port, peer: Port, context: RoutingContext): ReadonlyArray<Hop> =>
  families.flatMap((family) => {
    const gateway = gatewayAddress(port, peer, family, context)
    return gateway === undefined ? [] : [{ family, gateway, port, weight: 1 }]
  })

/** Reports gateways of networks that are on no port of theirs, once per network rather than once per host. */
export const checkSegmentGateways = ({ topology, portsBySegment, reporter }: RoutingContext): void => {
  for (const segment of topology.segments) {
    if (segment.gateway === undefined || segment.gateway === "none") continue
    const prefixes = segment.cidrs.flatMap((cidr) => Ip.parsePrefix(cidr.value) ?? [])
    for (const { value, path } of segment.gateway) {
      const address = Ip.parseAddress(value)
      const names = portsBySegment.get(segment)!
      if (address === undefined && !names.has(value)) {
        reporter.error(path, `${quote(value)} is not on ${segment.name}`, { meant: { word: value, among: names.keys() } })
      }
      const family = prefixes.filter((prefix) => prefix.family === address?.family)
      if (address !== undefined && family.length > 0 && !family.some((prefix) => Ip.contains(prefix, address))) {
        reporter.error(path, `${value} is outside ${family.map(Ip.formatPrefix).join(" and ")}, the prefix of ${segment.name}`)
      }
    }
  }
}

/** The node's port of that name; reports it when there is none. */
export const findPort = (node: Node, ifname: string, path: Path, reporter: Reporter): Port | undefined => {
  const port = node.ports.find((candidate) => candidate.ifname === ifname)
  if (port !== undefined) return port
  const names = node.ports.map((candidate) => candidate.ifname)
  const list = names.length === 0 ? "no ports" : names.slice(0, 8).join(", ")
  reporter.error(path, `${node.name} has no port ${quote(ifname)}: it has ${list}`, { meant: { word: ifname, among: names } })
  return undefined
}

const firstRulePriority = 1000

/** Policy rules of one node. A rule that names no address applies to both families. */
export const compileRules = (node: Node, reporter: Reporter): ReadonlyArray<{ readonly spec: RuleSpec; readonly path: Path }> => {
  const rules: Array<{ spec: RuleSpec; path: Path }> = []
  const seen = new Set<string>()
  for (const [index, { value, path }] of node.rules.entries()) {
    for (const key of ["iif", "oif"] as const) {
      const ifname = value[key]
      if (ifname !== undefined && ifname !== "lo") findPort(node, ifname, [...path, key], reporter)
    }
    const prefix = value.from ?? value.to
    const priority = value.priority ?? firstRulePriority + index
    for (const family of prefix === undefined ? families : [Ip.parsePrefix(prefix)!.family]) {
      const canonical = (text: string | undefined): string | undefined => text && Ip.formatPrefix(Ip.parsePrefix(text)!)
      const { from, to, ...rest } = { ...value, from: canonical(value.from), to: canonical(value.to) }
      if (seen.has(`${family} ${priority}`)) reporter.error(path, `${node.name} has another rule with priority ${priority}`)
      seen.add(`${family} ${priority}`)
      const spec = { node: node.name, family, ...rest, priority, ...(from && { from }), ...(to && { to }) }
      rules.push({ spec, path })
    }
  }
  return rules
}
