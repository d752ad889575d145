/** A lab as `Inspect` shows it: what was asked for, beside what the kernel has. */
import type { Step } from "../plan/diff.ts"
import { profileLabel, profileLines } from "../plan/profile-text.ts"
import type { Plan, Resource, ResourceOf, RouteSpec, SegmentInfo, SegmentSpec } from "../plan/resource.ts"
import type { LabView } from "../reconciler/view.ts"
import type { LabEntry } from "../store/store.ts"

interface Parts {
  readonly entry: LabEntry
  readonly drift: ReadonlyArray<Step>
  readonly view: LabView
  readonly host: string
  readonly summary: object
  readonly toChange: (step: Step) => object
}

/** A plan's resources of one node, by kind, in one pass. */
interface NodeResources {
  readonly ports: ResourceOf<"port">[]
  readonly addresses: Map<string, string[]>
  readonly routes: RouteSpec[]
  readonly groups: Map<number, ReadonlyArray<string>>
}

const sortByNode = (plan: Plan): Map<string, NodeResources> => {
  const nodes = new Map<string, NodeResources>()
  for (const { name } of plan.nodes) nodes.set(name, { ports: [], addresses: new Map(), routes: [], groups: new Map() })
  for (const resource of plan.resources) {
    const node = "node" in resource.spec ? nodes.get(resource.spec.node) : undefined
    if (node !== undefined) put(node, resource)
  }
  return nodes
}

const put = (node: NodeResources, resource: Resource): void => {
  if (resource.kind === "port") node.ports.push(resource)
  else if (resource.kind === "route") node.routes.push(resource.spec)
  else if (resource.kind === "address") {
    const list = node.addresses.get(resource.spec.ifname)
    if (list === undefined) node.addresses.set(resource.spec.ifname, [resource.spec.address])
    else list.push(resource.spec.address)
  } else if (resource.kind === "nexthop") {
    const ways = resource.spec.members.map((member) => `${way(member)} weight ${member.weight}`)
    node.groups.set(resource.spec.id, ways)
  }
}

const way = ({ gateway, ifname }: { gateway?: string; ifname: string }): string =>
  gateway === undefined ? `dev ${ifname}` : `${gateway} dev ${ifname}`

const toRoute = (route: RouteSpec, groups: NodeResources["groups"]): object => ({
  to: route.to,
  type: route.type,
  metric: route.metric,
  table: route.table,
  via: route.via !== undefined ? [way(route.via)] : route.nexthop !== undefined ? groups.get(route.nexthop) ?? [] : []
})

const toPort = (port: ResourceOf<"port">, node: NodeResources, segment: string, view: LabView): object => {
  const { spec } = port
  const actual = view.ports.get(`${spec.node}:${spec.ifname}`)
  const counters = actual?.counters
  return {
    name: spec.ifname,
    mac: actual?.mac ?? spec.mac,
    mtu: actual?.mtu ?? spec.mtu,
    addresses: node.addresses.get(spec.ifname) ?? [],
    segment,
    fabricName: spec.fabricName,
    ifindex: actual?.index ?? 0,
    state: actual === undefined ? "missing" : actual.up ? "up" : "down",
    ...(counters === undefined
      ? {}
      : {
          counters: {
            fromPackets: counters.from.packets,
            fromOctets: counters.from.octets,
            toPackets: counters.to.packets,
            toOctets: counters.to.octets,
            drops: Object.fromEntries(Object.entries(counters.drops).filter(([, count]) => count > 0))
          }
        })
  }
}

const loopback = (node: NodeResources): object[] => {
  const addresses = node.addresses.get("lo")
  if (addresses === undefined) return []
  return [{ name: "lo", mac: "00:00:00:00:00:00", mtu: 65536, addresses, segment: "", ifindex: 1, state: "up" }]
}

const stateOf = (node: string, view: LabView, drifted: ReadonlySet<string>): string =>
  !view.nodes.has(node) ? "missing" : drifted.has(node) ? "drifted" : "ready"

const toSegment = (segment: SegmentInfo, spec: SegmentSpec | undefined): object => ({
  name: segment.name,
  kind: segment.kind === "p2p" ? "link" : "network",
  vni: spec?.vni ?? 0,
  ports: segment.ports,
  cidrs: segment.cidrs,
  labels: segment.labels,
  ...(spec?.profiles === undefined || spec.endpoints === undefined
    ? {}
    : { profile: profileLines(spec.endpoints, spec.profiles), profileLabel: profileLabel(spec.profiles) })
})

/** An `InspectResponse`. */
export const toInspect = ({ entry, drift, view, host, summary, toChange }: Parts): object => {
  const { plan } = entry
  const resources = sortByNode(plan)
  const segmentOf = new Map(plan.segments.flatMap((segment) => segment.ports.map((port) => [port, segment.name] as const)))
  const specs = plan.resources.flatMap((one) => (one.kind === "segment" ? [one.spec] : []))
  const specOf = new Map(specs.map((spec) => [`${spec.segmentKind}/${spec.name}`, spec]))
  const drifted = new Set(drift.map((step) => step.node))
  return {
    lab: summary,
    host,
    drift: drift.map(toChange),
    nodes: plan.nodes.map((info) => {
      const node = resources.get(info.name)!
      return {
        name: info.name,
        kind: info.kind,
        group: info.group ?? "",
        labels: info.labels,
        netns: `weft.${entry.name}.${info.name}`,
        host,
        state: stateOf(info.name, view, drifted),
        ports: [
          ...node.ports.map((port) => toPort(port, node, segmentOf.get(`${info.name}:${port.spec.ifname}`) ?? "", view)),
          ...loopback(node)
        ],
        routes: node.routes.map((route) => toRoute(route, node.groups))
      }
    }),
    segments: plan.segments.map((segment) => toSegment(segment, specOf.get(`${segment.kind}/${segment.name}`)))
  }
}
