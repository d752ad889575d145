/** The nodes of a plan as checks see them. */
import type { Plan } from "../plan/resource.ts"
import type { LabNode } from "./lab.ts"

export const nodesOf = (plan: Plan): ReadonlyMap<string, LabNode> => {
  const addresses = new Map<string, Array<LabNode["addresses"][number]>>()
  const forwarding = new Set<string>()
  const segments = new Map(plan.resources.flatMap((one) =>
    one.kind === "segment" ? one.spec.ports.map((port) => [port, one.spec.name] as const) : []))
  for (const { kind, spec } of plan.resources) {
    if (kind === "address") {
      const of = addresses.get(spec.node) ?? []
      addresses.set(spec.node, of)
      const segment = segments.get(`${spec.node}:${spec.ifname}`)
      of.push({ ifname: spec.ifname, address: spec.address.split("/")[0]!, ...(segment === undefined ? {} : { segment }) })
    }
    if (kind === "node" && spec.nodeKind === "router") forwarding.add(spec.node)
  }
  return new Map(plan.nodes.map(({ group = "", kind, labels, name }) => {
    const forwards = kind === "router" || forwarding.has(name)
    return [name, { name, kind, forwards, group, labels, addresses: addresses.get(name) ?? [] }]
  }))
}
