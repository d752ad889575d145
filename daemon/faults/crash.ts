/** Nodes without power: their carriers go first, then they are gone, with everything that is on them. Pure. */
import type { Plan, Resource } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { loseCarriers, neighborPorts, ownPorts, shutPorts } from "./cut.ts"
import { nodeOf } from "./targets.ts"

export interface Crash {
  readonly nodes: ReadonlySet<string>
  /** The other ends of their links keep their carriers: as when a machine behind a switch or a hypervisor dies. */
  readonly keepsCarrier: boolean
}

/** On the way in: nothing that they have to say gets out any more. */
export const silence = ({ keepsCarrier, nodes }: Crash, plan: Plan): Plan => {
  const own = ownPorts(plan, nodes)
  const cut = shutPorts(plan, own)
  return loseCarriers(cut, new Set([...own, ...(keepsCarrier ? [] : neighborPorts(plan, nodes))]))
}

/** The plan without these nodes. What people see of the lab, its nodes and segments, stays. */
export const powerOff = ({ keepsCarrier, nodes }: Crash, plan: Plan): Plan => {
  const dark = keepsCarrier ? plan : loseCarriers(plan, neighborPorts(plan, nodes))
  const gone = new Set<string>()
  const resources = dark.resources.flatMap((resource): ReadonlyArray<Resource> => {
    const left = resource.kind === "segment" ? withoutPorts(resource, nodes) : isOf(resource, nodes) ? undefined : resource
    if (left === undefined) gone.add(resource.id)
    return left === undefined ? [] : [left]
  })
  for (const { kind, spec } of dark.resources) if (kind === "port" && nodes.has(spec.node)) gone.add(id.port(spec.node, spec.ifname))
  const trimmed = resources.map((one) =>
    one.dependsOn.some((needed) => gone.has(needed)) ? { ...one, dependsOn: one.dependsOn.filter((needed) => !gone.has(needed)) } : one
  )
  return { ...dark, resources: trimmed }
}

const isOf = ({ spec }: Resource, nodes: ReadonlySet<string>): boolean => "node" in spec && nodes.has(spec.node)

/** A link with an end that is gone is no link; a network goes on with its other ports. */
const withoutPorts = (resource: Extract<Resource, { kind: "segment" }>, nodes: ReadonlySet<string>): Resource | undefined => {
  const { gates, ports, ...spec } = resource.spec
  const left = ports.filter((port) => !nodes.has(nodeOf(port)))
  if (left.length === ports.length) return resource
  if (spec.segmentKind === "p2p") return undefined
  const kept = Object.entries(gates ?? {}).filter(([port]) => left.includes(port))
  return { ...resource, spec: { ...spec, ports: left, ...(kept.length === 0 ? {} : { gates: Object.fromEntries(kept) }) } }
}
