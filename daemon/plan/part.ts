/**
 * The part of a lab's plan that one host makes: `(plan, host, underlay addresses) -> Plan`. Pure.
 *
 *     whole lab                            part of h1                        part of h2
 *     pc (h1) --lan-- fw (h2)              pc --lan-- tunnel to h2           fw --lan-- tunnel to h1
 *
 * A part is a plan like any other, so a host treats it as a lab of its own. A segment whose ports are all on one host is
 * there what it would be without other hosts; one that spans hosts keeps the local ports and says by `tunnel` where the
 * others are. A weftd of its own cuts the same way, with every node here.
 */
import type { LinkProfile } from "./link-profile.ts"
import type { Plan, Resource, ResourceOf, SegmentSpec, Transport, TunnelSpec } from "./resource.ts"

/** IANA: the port of VXLAN (RFC 7348 8). */
const usualTransport: Transport = { encapsulation: "vxlan", port: 4789, datapath: "auto" }

/** How a segment crosses the underlay, where it does. */
export const transportOf = (spec: SegmentSpec): Transport => spec.transport ?? usualTransport

/** The host of each node; a node without one is on `here`. */
const hostsOf = (plan: Plan, here: string): ReadonlyMap<string, string> =>
  new Map(plan.nodes.map(({ name, host }) => [name, host ?? here]))

/** `pc:eth0` -> `pc` */
const nodeOf = (port: string): string => port.slice(0, port.indexOf(":"))

/**
 * What `host` has to make of the lab. Empty when it has none of the nodes.
 *
 * @param vtepOf underlay address of a host, canonical text; undefined: not known, so nothing is sent there
 */
export const partOf = (plan: Plan, host: string, vtepOf: (host: string) => string | undefined): Plan => {
  const hosts = hostsOf(plan, host)
  const isHere = (node: string): boolean => hosts.get(node) === host
  const isPortHere = (port: string): boolean => isHere(nodeOf(port))
  // A network without ports is with the first node: somebody has to show it.
  const hasPortHere = (ports: ReadonlyArray<string>): boolean => (ports.length === 0 ? isHere(plan.nodes[0]!.name) : ports.some(isPortHere))
  const nodes = plan.nodes.filter(({ name }) => isHere(name))
  if (nodes.length === 0) return { lab: plan.lab, nodes: [], segments: [], resources: [] }
  const kept = plan.resources.flatMap((resource): ReadonlyArray<Resource> => {
    if (resource.kind === "segment") {
      if (!hasPortHere(resource.spec.ports)) return []
      return [{ ...resource, spec: segmentOf(resource.spec, { host, hosts, isPortHere, vtepOf }) }]
    }
    return "node" in resource.spec && !isHere(resource.spec.node) ? [] : [resource]
  })
  const ids = new Set(kept.map(({ id }) => id))
  return {
    lab: plan.lab,
    nodes,
    segments: plan.segments.filter(({ ports }) => hasPortHere(ports)),
    resources: kept.map((resource) => onlyOn(resource, ids))
  }
}

/** What a segment depends on may be elsewhere. */
const onlyOn = (resource: Resource, ids: ReadonlySet<string>): Resource =>
  resource.dependsOn.every((id) => ids.has(id)) ? resource : { ...resource, dependsOn: resource.dependsOn.filter((id) => ids.has(id)) }

interface Cut {
  readonly host: string
  readonly hosts: ReadonlyMap<string, string>
  readonly isPortHere: (port: string) => boolean
  readonly vtepOf: (host: string) => string | undefined
}

/** The segment as this host has it. */
const segmentOf = (whole: SegmentSpec, { host, hosts, isPortHere, vtepOf }: Cut): SegmentSpec => {
  const { transport: _, ...spec } = whole
  const ports = spec.ports.filter(isPortHere)
  if (ports.length === spec.ports.length) return spec
  const others = new Set(spec.ports.map((port) => hosts.get(nodeOf(port)) ?? host))
  others.delete(host)
  const vteps = new Set([...others].flatMap((other) => vtepOf(other) ?? []))
  const tunnel: TunnelSpec = { ...transportOf(whole), vteps: [...vteps].toSorted() }
  const { endpoints, gates, profiles, ...rest } = spec
  return { ...rest, ports, ...leaving(endpoints, profiles, isPortHere), ...gatesOf(gates, isPortHere), tunnel }
}

/** Each host has the gates of its own ports. */
const gatesOf = (gates: SegmentSpec["gates"], isPortHere: (port: string) => boolean): Pick<SegmentSpec, "gates"> => {
  const here = Object.entries(gates ?? {}).filter(([port]) => isPortHere(port))
  return here.length === 0 ? {} : { gates: Object.fromEntries(here) }
}

const isPlain = (profile: LinkProfile): boolean => Object.keys(profile).length === 0

/** Of a link's profiles the direction that leaves this host: whoever sends applies it, so nothing is done twice. */
const leaving = (
  endpoints: SegmentSpec["endpoints"],
  profiles: SegmentSpec["profiles"],
  isPortHere: (port: string) => boolean
): Pick<SegmentSpec, "endpoints" | "profiles"> => {
  if (endpoints === undefined || profiles === undefined) return {}
  const aIsHere = isPortHere(endpoints[0])
  const { aToB, bToA, seed } = profiles
  if (isPlain(aIsHere ? aToB : bToA)) return {}
  return { endpoints, profiles: aIsHere ? { aToB, bToA: {}, seed } : { aToB: {}, bToA, seed } }
}

/** The plan with all nodes on the host that makes it, whatever the topology asks: what a weftd of its own deploys. */
export const onOneHost = (plan: Plan): Plan => ({
  ...plan,
  nodes: plan.nodes.map((node) => {
    const { host: _, pinned: __, ...rest } = node
    return rest
  })
})

/** Hosts that have nodes of the plan, sorted, each once. */
export const hostsWithNodes = (plan: Plan): ReadonlyArray<string> =>
  [...new Set(plan.nodes.flatMap(({ host }) => (host === undefined ? [] : [host])))].toSorted()

/** Segments whose ports are on several hosts, and which. Segments on one host are left out. */
export const spanning = (plan: Plan): ReadonlyArray<{ readonly segment: ResourceOf<"segment">; readonly hosts: ReadonlyArray<string> }> => {
  const hosts = hostsOf(plan, "")
  return plan.resources.flatMap((resource) => {
    if (resource.kind !== "segment") return []
    const on = [...new Set(resource.spec.ports.map((port) => hosts.get(nodeOf(port)) ?? ""))].toSorted()
    return on.length > 1 ? [{ segment: resource, hosts: on }] : []
  })
}
