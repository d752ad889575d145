/** A lab as people look at it: what was asked for, beside what the kernel has. */
import { type Lost, touchedBy } from "../faults/ledger.ts"
import type { Step } from "../plan/diff.ts"
import { baseOf, type Fault, type Faulted } from "../plan/fault.ts"
import { profileLabel, profileLines } from "../plan/profile-text.ts"
import type { Plan, Resource, ResourceOf, RouteSpec, SegmentInfo, SegmentSpec } from "../plan/resource.ts"
import type { LabEntry } from "../store/store.ts"
import { changeOf, type FaultInspection, type Inspection, type LabSummary, type NodeInspection, type PortInspection } from "./control.ts"
import type { LabView } from "./view.ts"

interface Parts {
  readonly entry: LabEntry
  readonly drift: ReadonlyArray<Step>
  readonly view: LabView
  readonly host: string
  readonly summary: LabSummary
}

/** An entry of this host as a row of `weft list`. */
export const summaryOf = (entry: LabEntry, options: { readonly host: string; readonly recovering: boolean }): LabSummary => ({
  name: entry.name,
  state: options.recovering ? "recovering" : entry.state,
  nodes: baseOf(entry).nodes.length,
  segments: baseOf(entry).segments.length,
  deployedAt: entry.deployedAt,
  filename: entry.filename,
  error: entry.error ?? "",
  hosts: [options.host],
  faults: entry.faults?.length ?? 0
})

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

/** `actual` undefined: there is none, or nobody could look. */
const portOf = (port: ResourceOf<"port">, node: NodeResources, segment: string, view: LabView | undefined): PortInspection => {
  const { spec } = port
  const actual = view?.ports.get(`${spec.node}:${spec.ifname}`)
  const counters = actual?.counters
  return {
    name: spec.ifname,
    mac: actual?.mac ?? spec.mac,
    mtu: actual?.mtu ?? spec.mtu,
    addresses: node.addresses.get(spec.ifname) ?? [],
    segment,
    fabricName: spec.fabricName,
    ifindex: actual?.index ?? 0,
    state: view === undefined ? "unknown" : actual === undefined ? "missing" : actual.up ? "up" : "down",
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

const loopback = (node: NodeResources): ReadonlyArray<PortInspection> => {
  const addresses = node.addresses.get("lo")
  if (addresses === undefined) return []
  return [{ name: "lo", mac: "00:00:00:00:00:00", mtu: 65536, addresses, segment: "", ifindex: 1, state: "up" }]
}

const stateOf = (node: string, view: LabView | undefined, drifted: ReadonlySet<string>): string =>
  view === undefined ? "unknown" : !view.nodes.has(node) ? "missing" : drifted.has(node) ? "drifted" : "ready"

const segmentOf = (segment: SegmentInfo, spec: SegmentSpec | undefined): object => ({
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

/** The plan's nodes. `view` undefined: as planned, with everything that only the kernel knows unknown. */
export const nodesOf = (
  plan: Plan,
  seen: { readonly view: LabView | undefined; readonly drift: ReadonlyArray<Step>; readonly host: string }
): ReadonlyArray<NodeInspection> => {
  const { drift, host, view } = seen
  const resources = sortByNode(plan)
  const segmentName = new Map(plan.segments.flatMap((segment) => segment.ports.map((port) => [port, segment.name] as const)))
  const drifted = new Set(drift.map((step) => step.node))
  return plan.nodes.map((info) => {
    const node = resources.get(info.name)!
    return {
      name: info.name,
      kind: info.kind,
      group: info.group ?? "",
      labels: info.labels,
      netns: `weft.${plan.lab}.${info.name}`,
      host: info.host ?? host,
      state: stateOf(info.name, view, drifted),
      ports: [
        ...node.ports.map((port) => portOf(port, node, segmentName.get(`${info.name}:${port.spec.ifname}`) ?? "", view)),
        ...loopback(node)
      ],
      routes: node.routes.map((route) => toRoute(route, node.groups))
    }
  })
}

export const segmentsOf = (plan: Plan): ReadonlyArray<object> => {
  const specs = plan.resources.flatMap((one) => (one.kind === "segment" ? [one.spec] : []))
  const specOf = new Map(specs.map((spec) => [`${spec.segmentKind}/${spec.name}`, spec]))
  return plan.segments.map((segment) => segmentOf(segment, specOf.get(`${segment.kind}/${segment.name}`)))
}

/** A lab, or the part of one, as this host has it. */
export const inspectionOf = ({ entry, drift, view, host, summary }: Parts): Inspection => ({
  lab: summary,
  host,
  drift: drift.map((step) => changeOf(step, host)),
  nodes: nodesOf(entry.plan, { view, drift, host }),
  segments: segmentsOf(entry.plan),
  tunnels: [],
  unreachable: [],
  faults: []
})

/** At most four of these, and how many there are besides: `a; b; c; d; and 27 more (weft faults lists them)`. */
export const someOf = (titles: ReadonlyArray<string>, separator: string): string =>
  titles.length <= 5
    ? titles.join(separator)
    : [...titles.slice(0, 4), `and ${titles.length - 4} more (weft faults lists them)`].join(separator)

/** What a person who compares a topology with a lab wants to know of its faults. */
export const faultNotes = ({ faults = [], lost }: Faulted & { readonly lost: ReadonlyArray<Lost> }): ReadonlyArray<string> => [
  ...(faults.length === 0
    ? []
    : [`in force, and part of what the lab should be: ${someOf(faults.map(({ id, title }) => `${id} ${title}`), "; ")}`]),
  ...lost.map(({ fault, reason }) => `fault ${fault.id} (${fault.title}) would go: ${reason}`)
]

/** A fault as people are shown it. `base`: what the lab's topology says. */
export const faultInspectionOf = (lab: string, base: Plan, fault: Fault): FaultInspection => ({
  ...fault,
  ...touchedBy(base, fault),
  spec: JSON.stringify(fault.spec),
  lab
})

/** The inspection with the lab's faults in it, and nodes and segments marked that they change. */
export const withFaultsShown = (inspection: Inspection, lab: Faulted): Inspection => {
  const base = baseOf(lab)
  const faults = (lab.faults ?? []).map((fault) => faultInspectionOf(inspection.lab.name, base, fault))
  if (faults.length === 0) return inspection
  const idsOf = (what: "nodes" | "segments", name: string): ReadonlyArray<string> =>
    faults.filter((fault) => fault[what].includes(name)).map(({ id }) => id)
  return {
    ...inspection,
    faults,
    nodes: inspection.nodes.map((node) => ({ ...node, faults: idsOf("nodes", node.name) })),
    segments: inspection.segments.map((segment) => ({ ...segment, faults: idsOf("segments", (segment as { name: string }).name) }))
  }
}
