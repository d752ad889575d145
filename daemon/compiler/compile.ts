/**
 * A topology -> the plan: every namespace, port, segment, address, route, rule, NAT table, file and command of the lab.
 *
 *     addressing.ts  who has which address
 *     routing.ts     routes, nexthop groups, default gateways, rules
 *     bfd-sessions.ts  who watches whom by BFD
 *     bgp.ts         BGP speakers, their neighbours and VRFs
 *     nat.ts         NAT and MSS clamping
 *     firewall.ts    what nodes let in, through and out
 *     profile.ts     delay, loss, rate and the like of links
 *     trace.ts       recordings of links
 *     transport.ts   how frames cross from host to host
 *     sysctls.ts     what nodes are set to
 *     container.ts   what runs in container nodes
 *     derive.ts      MAC addresses, VNIs, names of host sides, ids of groups
 *
 * Pure and linear in the size of the topology. Dependencies name only what is not covered by another dependency: an
 * address stands for its port, and a port for its node.
 */
import {
  id, type NodeInfo, type Plan, type Resource, type ResourceOf, type SegmentInfo, type SegmentSpec, type Source
} from "../plan/resource.ts"
import { type Diagnostic, formatPath, inOrder, type Path, Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Container, Node, Port, Segment, Topology } from "../topology/model.ts"
import { type Addressing, assignAddresses, label } from "./addressing.ts"
import { compileBfdSessions, type WatchedHop } from "./bfd-sessions.ts"
import { compileBgp } from "./bgp.ts"
import { containerSpec, publishSpecs, refuseSharedPorts, warnOfRole } from "./container.ts"
import * as Derive from "./derive.ts"
import { compileFirewall, type Names, topologyNames } from "./firewall.ts"
import { compileNat } from "./nat.ts"
import { compileProfile } from "./profile.ts"
import { checkSegmentGateways, compileRoutes, compileRules, type RoutingContext, routingContext } from "./routing.ts"
import { defaultSysctls } from "./sysctls.ts"
import { Traces } from "./trace.ts"
import { checkTransport, isByEngine, refuseKernelProfile, transportOf } from "./transport.ts"

export type CompileResult =
  | { readonly ok: true; readonly plan: Plan; readonly warnings: ReadonlyArray<Diagnostic> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/** Compiles a checked topology. Errors (exhausted prefixes, used addresses, unreachable gateways, ...) come all at once. */
export const compile = (topology: Topology): CompileResult => {
  const reporter = new Reporter(topology.filename, topology.locate)
  const addressing = assignAddresses(topology, reporter)
  const context = routingContext(topology, addressing, reporter)
  const builder = new Builder(context)
  for (const node of topology.nodes.values()) builder.node(node)
  checkTransport(topology, reporter)
  builder.segments()
  checkSegmentGateways(context)
  for (const node of topology.nodes.values()) builder.contents(node)
  builder.bfd()
  builder.bgp()
  builder.hostsFile()
  refuseSharedPorts(topology, reporter)
  for (const node of topology.nodes.values()) builder.files(node)
  const diagnostics = inOrder(reporter.diagnostics)
  return reporter.errors > 0 ? { ok: false, diagnostics } : { ok: true, plan: builder.plan(), warnings: diagnostics }
}

const defaultMtu = 1500
/** RFC 8200 5: below it the kernel switches IPv6 off on the interface. */
const minimumIpv6Mtu = 1280

const segmentId = (segment: Segment): string =>
  segment.kind === "p2p" ? id.link(segment.name) : id.network(segment.name)

class Builder {
  private readonly resources: Array<Resource> = []
  private readonly infos: Array<SegmentInfo> = []
  /** What a command of the node waits for. */
  private readonly readyOf = new Map<string, Array<string>>()
  private readonly watchedHops: Array<WatchedHop> = []
  private readonly context: RoutingContext
  private readonly topology: Topology
  private readonly addressing: Addressing
  private readonly traces: Traces
  private readonly names: Names

  constructor(context: RoutingContext) {
    this.context = context
    this.topology = context.topology
    this.addressing = context.addressing
    this.names = topologyNames(context)
    this.traces = new Traces(context.topology, context.reporter)
  }

  plan(): Plan {
    const nodes = Array.from(this.topology.nodes.values(), ({ name, kind, group, host, labels }): NodeInfo => ({
      name,
      kind,
      ...(group === undefined ? {} : { group }),
      ...(host === undefined ? {} : { host: host.value, pinned: { ...this.topology.locate(host.path), path: formatPath(host.path) } }),
      labels
    }))
    return { lab: this.topology.lab, nodes, segments: this.infos, resources: this.resources }
  }

  private add<R extends Resource>(resource: Omit<R, "source">, path: Path, at: "key" | "value" = "value"): void {
    const source: Source = this.topology.locate(path, at)
    this.resources.push({ ...resource, source } as Resource)
  }

  node(node: Node): void {
    const { name } = node
    const sysctls: Record<string, string> = { ...defaultSysctls(node.role) }
    for (const [key, { value, path }] of node.sysctls) {
      sysctls[key] = value
      const interfaceName = /^net\.ipv[46]\.(?:conf|neigh)\.(.+)\.[^.]+$/.exec(key)?.[1]
      if (interfaceName !== undefined && !["all", "default", "lo"].includes(interfaceName)) {
        const message = `${interfaceName} does not exist yet when sysctls are set: use "default", or exec: ["sysctl -w ${key}=..."]`
        this.context.reporter.error(path, message, { at: "key" })
      }
    }
    const spec = { node: name, nodeKind: node.role, sysctls }
    this.add<ResourceOf<"node">>({ kind: "node", id: id.node(name), spec, dependsOn: [] }, node.path, "key")
    this.readyOf.set(name, [id.node(name)])
  }

  segments(): void {
    const { lab } = this.topology
    const vnis = new Set<number>()
    for (const segment of this.topology.segments) {
      this.warnOfMtus(segment)
      this.refuseSharedMacs(segment)
      for (const port of segment.ports) this.port(port)
      let attempt = 0
      let vni = Derive.vni(lab, segment.kind, segment.name, attempt)
      while (vnis.has(vni)) vni = Derive.vni(lab, segment.kind, segment.name, ++attempt)
      vnis.add(vni)
      const ports = segment.ports.map(label)
      const { kind, name, ageingS, labels } = segment
      // The order of ports means nothing to the data path: sorted, so that reordering them in the file changes nothing.
      const wire = { segmentKind: kind, name, vni, ports: ports.toSorted(), ageingS, ...this.profiles(segment, ports) }
      const transport = transportOf(this.topology, segment)
      const spec = { ...wire, ...(transport === undefined ? {} : { transport }) }
      const dependsOn = segment.ports.map((port) => id.port(port.node, port.ifname))
      this.add<ResourceOf<"segment">>({ kind: "segment", id: segmentId(segment), spec, dependsOn }, segment.path, "key")
      const cidrs = segment.cidrs.map((cidr) => Ip.formatPrefix(Ip.parsePrefix(cidr.value)!))
      this.infos.push({ name, kind, ports, cidrs, labels })
    }
  }

  /** Directions have a meaning only where they differ from a plain wire. */
  private profiles(segment: Segment, [a, b]: ReadonlyArray<string>): Pick<SegmentSpec, "endpoints" | "profiles"> {
    const { name, profile } = segment
    if (profile === undefined) return {}
    const { reporter } = this.context
    const seed = Derive.seed(this.topology.lab, name)
    const profiles = compileProfile(profile, { defaultSeed: seed, traces: this.traces, reporter })
    if (profiles !== undefined) {
      refuseKernelProfile(segment, reporter)
      return { endpoints: [a!, b!], profiles }
    }
    // A plain wire that somebody wants carried by the engine all the same.
    if (!isByEngine(this.topology, segment)) return {}
    return { endpoints: [a!, b!], profiles: { aToB: {}, bToA: {}, seed: profile.value.seed ?? seed } }
  }

  private mtu(port: Port): number {
    return port.mtu?.value ?? port.segment.mtu?.value ?? this.topology.nodes.get(port.node)?.mtu?.value ?? defaultMtu
  }

  private warnOfMtus(segment: Segment): void {
    const [first] = segment.ports
    const other = segment.ports.find((port) => this.mtu(port) !== this.mtu(first!))
    if (first === undefined || other === undefined) return
    const text = [first, other].map((port) => `${label(port)} has ${this.mtu(port)}`).join(", ")
    this.context.reporter.warning(segment.path, `the ports of ${segment.name} differ in MTU: ${text}`)
  }

  private refuseSharedMacs(segment: Segment): void {
    const seen = new Map<string, Port>()
    for (const port of segment.ports) {
      if (port.mac === undefined) continue
      const earlier = seen.get(port.mac.value)
      if (earlier === undefined) seen.set(port.mac.value, port)
      else this.context.reporter.error(port.mac.path, `${label(earlier)} on the same segment has the MAC address ${port.mac.value}, too`)
    }
  }

  private port(port: Port): void {
    const { node, ifname } = port
    const { lab } = this.topology
    const mtu = this.mtu(port)
    const addresses = this.addressing.ofPort(port)
    if (mtu < minimumIpv6Mtu && addresses.some((assigned) => assigned.address.family === "ipv6")) {
      const path = (port.mtu ?? port.segment.mtu ?? this.topology.nodes.get(node)?.mtu)?.path ?? port.path
      this.context.reporter.error(path, `${label(port)} has an IPv6 address and MTU ${mtu}: IPv6 needs at least ${minimumIpv6Mtu}`)
    }
    const spec = {
      node,
      ifname,
      mac: port.mac?.value ?? Derive.mac(lab, node, ifname),
      mtu,
      fabricName: Derive.fabricName(lab, node, ifname),
      state: "up"
    }
    const portId = id.port(node, ifname)
    this.add<ResourceOf<"port">>({ kind: "port", id: portId, spec, dependsOn: [id.node(node)] }, port.path)
    for (const { address, path } of addresses) this.address({ node, ifname, address, path })
    // The segment covers the port; an exec waits for both the wire and the addresses.
    this.readyOf.get(node)?.push(segmentId(port.segment))
  }

  private address(options: { readonly node: string; readonly ifname: string; readonly address: Ip.Prefix; readonly path: Path }): void {
    const { node, ifname, path } = options
    const address = Ip.formatPrefix(options.address)
    const dependsOn = [ifname === "lo" ? id.node(node) : id.port(node, ifname)]
    const resourceId = id.address(node, ifname, address)
    this.add<ResourceOf<"address">>({ kind: "address", id: resourceId, spec: { node, ifname, address }, dependsOn }, path)
    this.readyOf.get(node)?.push(resourceId)
  }

  /** Loopback, NAT, routes and rules of a node. */
  contents(node: Node): void {
    const { name } = node
    const onLoopback = [...this.addressing.ofLoopback(name), ...this.addressing.ofAnycast(name)]
    for (const { address, path } of onLoopback) this.address({ node: name, ifname: "lo", address, path })
    const ready = this.readyOf.get(name)!
    const nat = compileNat(node, this.context)
    for (const { port, address, path } of nat?.publicAddresses ?? []) {
      this.address({ node: name, ifname: port.ifname, address, path })
    }
    this.routes(node)
    for (const { spec, path } of compileRules(node, this.context.reporter)) {
      const ruleId = id.rule(name, spec.family, spec.priority)
      this.add<ResourceOf<"rule">>({ kind: "rule", id: ruleId, spec, dependsOn: [id.node(name)] }, path)
      ready.push(ruleId)
    }
    if (nat !== undefined) {
      // Rules match interfaces by name: they may come later.
      this.add<ResourceOf<"nat">>({ kind: "nat", id: id.nat(name), spec: nat.spec, dependsOn: [id.node(name)] }, node.path, "key")
      ready.push(id.nat(name))
    }
    const filter = compileFirewall(node, this.names, this.context)
    if (filter !== undefined) {
      const resource = { kind: "filter" as const, id: id.filter(name), spec: filter, dependsOn: [id.node(name)] }
      this.add<ResourceOf<"filter">>(resource, node.firewall!.path, "key")
      ready.push(id.filter(name))
    }
  }

  private routes(node: Node): void {
    const ready = this.readyOf.get(node.name)!
    for (const { spec, ports, group, path } of compileRoutes(node, this.context)) {
      const below = ports.flatMap((port) => this.usable(port))
      let dependsOn = below.length === 0 ? [id.node(node.name)] : below
      const hops = group?.members ?? (spec.via === undefined ? [] : [spec.via])
      for (const hop of hops) if (hop.bfd !== undefined) this.watchedHops.push({ node, hop, path })
      if (group !== undefined) {
        const groupId = id.nexthop(group.node, group.id)
        this.add<ResourceOf<"nexthop">>({ kind: "nexthop", id: groupId, spec: group, dependsOn }, path)
        dependsOn = [groupId]
      }
      const routeId = id.route(spec.node, spec.table, spec.to, spec.metric)
      this.add<ResourceOf<"route">>({ kind: "route", id: routeId, spec, dependsOn }, path)
      ready.push(routeId)
    }
  }

  /** Sessions that watch next hops, and those that nodes name. */
  bfd(): void {
    for (const { spec, port, path } of compileBfdSessions(this.watchedHops, this.context)) {
      const bfdId = id.bfd(spec.node, spec.peer, spec.ifname)
      const dependsOn = port === undefined ? [id.node(spec.node)] : this.usable(port)
      this.add<ResourceOf<"bfd">>({ kind: "bfd", id: bfdId, spec, dependsOn }, path)
      this.readyOf.get(spec.node)?.push(bfdId)
    }
  }

  /** Speakers, and the rules and routes of their VRFs. */
  bgp(): void {
    const given = new Set(this.resources.map((resource) => resource.id))
    for (const { spec, rules, routes, path } of compileBgp(this.context)) {
      const { node } = spec
      const ready = this.readyOf.get(node)!
      const dependsOn = [...new Set(ready.filter((one) => /^(node|segment|address)\//.test(one)))]
      for (const { spec: rule, path: from } of rules) {
        const ruleId = id.rule(node, rule.family, rule.priority)
        if (given.has(ruleId)) {
          const message = `${node} has another rule with priority ${rule.priority}: give that one 1000 or more`
          this.context.reporter.error(from, message)
        }
        this.add<ResourceOf<"rule">>({ kind: "rule", id: ruleId, spec: rule, dependsOn: [id.node(node)] }, from)
        ready.push(ruleId)
      }
      for (const { spec: route, ports, path: from } of routes) {
        const routeId = id.route(node, route.table, route.to, route.metric)
        if (given.has(routeId)) continue
        given.add(routeId)
        const below = ports.length === 0 ? [id.node(node)] : ports.flatMap((port) => this.usable(port))
        this.add<ResourceOf<"route">>({ kind: "route", id: routeId, spec: route, dependsOn: below }, from)
        ready.push(routeId)
      }
      this.add<ResourceOf<"bgp">>({ kind: "bgp", id: id.bgp(node), spec, dependsOn }, path, "key")
      ready.push(id.bgp(node))
    }
  }

  /** What must exist before a route can leave by the port. */
  private usable(port: Port): ReadonlyArray<string> {
    const addresses = this.addressing.ofPort(port).map(({ address }) => id.address(port.node, port.ifname, Ip.formatPrefix(address)))
    return [...addresses, segmentId(port.segment)]
  }

  hostsFile(): void {
    const entries = Array.from(this.topology.nodes.values()).flatMap((node) => {
      const assigned = [...this.addressing.ofLoopback(node.name), ...node.ports.flatMap((port) => this.addressing.ofPort(port))]
      const names = [node.name, `${node.name}.${this.topology.lab}`]
      return assigned.map(({ address }) => ({ address: Ip.formatAddress(address), names }))
    })
    this.add<ResourceOf<"hosts-file">>({ kind: "hosts-file", id: id.hostsFile(), spec: { entries }, dependsOn: [] }, ["nodes"], "key")
  }

  /** What runs in the node starts when all of its network is there; returns the ids. */
  private container(node: Node, container: Container, ready: ReadonlyArray<string>): ReadonlyArray<string> {
    const { name } = node
    warnOfRole(node, this.context.reporter)
    const containerId = id.container(name)
    const spec = containerSpec(name, container)
    this.add<ResourceOf<"container">>({ kind: "container", id: containerId, spec, dependsOn: [...ready] }, node.path, "key")
    const assigned = [...this.addressing.ofLoopback(name), ...node.ports.flatMap((port) => this.addressing.ofPort(port))]
    const addresses = assigned.map(({ address }) => Ip.formatAddress(address))
    for (const { spec: publish, path } of publishSpecs(name, container, addresses)) {
      const publishId = id.publish(name, publish)
      this.add<ResourceOf<"publish">>({ kind: "publish", id: publishId, spec: publish, dependsOn: [containerId] }, path)
    }
    return [containerId]
  }

  /** Resolver, container and commands of a node, which come last. */
  files(node: Node): void {
    const { name, dns } = node
    const ready = [...new Set(this.readyOf.get(name)), id.hostsFile()]
    if (dns !== undefined) {
      const spec = { node: name, servers: dns.value.servers, search: dns.value.search }
      this.add<ResourceOf<"resolver">>({ kind: "resolver", id: id.resolver(name), spec, dependsOn: [id.node(name)] }, dns.path)
      ready.push(id.resolver(name))
    }
    if (node.container !== undefined) ready.push(...this.container(node, node.container, ready))
    for (const [index, { value: argv, path }] of node.exec.entries()) {
      const dependsOn = index === 0 ? ready : [id.exec(name, index - 1)]
      this.add<ResourceOf<"exec">>({ kind: "exec", id: id.exec(name, index), spec: { node: name, index, argv }, dependsOn }, path)
    }
  }
}
