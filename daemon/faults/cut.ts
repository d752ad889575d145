/** What cuts have in common: closing the gates of ports, and taking carriers away. `(plan, ports) -> plan`, pure. */
import type { Gate, NexthopMember, Plan, Resource, SegmentSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { endpointsOf, isAToB, type LinkQuestion, find, nodeOf, type Target } from "./targets.ts"

const joined = (a: Gate = {}, b: Gate = {}): Gate => {
  const mtus = [a.mtu, b.mtu].filter((mtu) => mtu !== undefined)
  return { ...a, ...b, ...(mtus.length === 0 ? {} : { mtu: Math.min(...mtus) }) }
}

/** The segments with these gates closed, beside what other faults have closed. Ports that no segment has are passed over. */
export const closeGates = (plan: Plan, gates: ReadonlyMap<string, Gate>): Plan => ({
  ...plan,
  resources: plan.resources.map((resource) => {
    if (resource.kind !== "segment") return resource
    const here = resource.spec.ports.filter((port) => gates.has(port))
    if (here.length === 0) return resource
    const closed = here.map((port) => [port, joined(resource.spec.gates?.[port], gates.get(port))] as const)
    return { ...resource, spec: { ...resource.spec, gates: { ...resource.spec.gates, ...Object.fromEntries(closed) } } }
  })
})

const shut: Gate = { mute: true, deaf: true }

/** Nothing passes these ports. */
export const shutPorts = (plan: Plan, ports: Iterable<string>): Plan => closeGates(plan, new Map(Array.from(ports, (port) => [port, shut])))

/** The ports of a target: both ends of a link; of a network, the one that was named. */
export const portsOf = ({ near, segment: { spec } }: Target): ReadonlyArray<string> =>
  spec.segmentKind === "p2p" ? spec.ports : near === undefined ? [] : [near]

/** Gates that keep frames from going one way, or both: at the end that they leave and at the one that they reach. */
export const cutWay = (plan: Plan, { direction = "both", link }: LinkQuestion): Plan => {
  const target = find(plan, link)
  if (target === undefined) return plan
  if (direction === "both") return shutPorts(plan, portsOf(target))
  const { near, segment: { spec } } = target
  if (spec.segmentKind === "network") return closeGates(plan, new Map([[near!, direction === "out" ? { mute: true } : { deaf: true }]]))
  const [a, b] = endpointsOf(plan, spec)
  const [from, to] = isAToB(direction, near, a) ? [a, b] : [b, a]
  return closeGates(plan, new Map([[from, { mute: true }], [to, { deaf: true }]]))
}

/**
 * The interfaces of these ports lose their carrier, and what the kernel takes away then is not wanted either: nexthop objects on
 * them, and routes by groups that have no other (net/ipv4/nexthop.c, nexthop_flush_dev). Static routes without a group stay.
 */
export const loseCarriers = (plan: Plan, ports: ReadonlySet<string>): Plan => {
  const isLost = (node: string, { ifname }: NexthopMember): boolean => ports.has(`${node}:${ifname}`)
  const empty = new Set<string>()
  const resources = plan.resources.flatMap((resource): ReadonlyArray<Resource> => {
    if (resource.kind === "port" && ports.has(`${resource.spec.node}:${resource.spec.ifname}`)) {
      return [{ ...resource, spec: { ...resource.spec, carrier: "lost" } }]
    }
    if (resource.kind !== "nexthop") return [resource]
    const members = resource.spec.members.filter((member) => !isLost(resource.spec.node, member))
    if (members.length === resource.spec.members.length) return [resource]
    if (members.length > 0) return [{ ...resource, spec: { ...resource.spec, members } }]
    empty.add(resource.id)
    return []
  })
  return withoutDependents({ ...plan, resources }, empty)
}

/** Routes go with their group; nothing else depends on one. */
const withoutDependents = (plan: Plan, gone: ReadonlySet<string>): Plan =>
  gone.size === 0
    ? plan
    : {
        ...plan,
        resources: plan.resources.filter(
          ({ kind, spec }) => kind !== "route" || spec.nexthop === undefined || !gone.has(id.nexthop(spec.node, spec.nexthop))
        )
      }

/** The port at the other end of each link of these nodes, where that is of none of them. */
export const neighborPorts = (plan: Plan, nodes: ReadonlySet<string>): ReadonlySet<string> => {
  const isMine = (port: string): boolean => nodes.has(nodeOf(port))
  const beside = ({ ports, segmentKind }: SegmentSpec): ReadonlyArray<string> =>
    segmentKind === "p2p" && ports.some(isMine) ? ports.filter((port) => !isMine(port)) : []
  return new Set(plan.resources.flatMap((resource) => (resource.kind === "segment" ? beside(resource.spec) : [])))
}

/** The ports of these nodes. */
export const ownPorts = (plan: Plan, nodes: ReadonlySet<string>): ReadonlySet<string> =>
  new Set(plan.resources.flatMap(({ kind, spec }) => (kind === "port" && nodes.has(spec.node) ? [`${spec.node}:${spec.ifname}`] : [])))
