/** Finding interfaces by the names that people type: `NODE:IF` where one lab has the node, `LAB/NODE:IF` always. */
import type { TunnelSpec } from "../plan/resource.ts"
import { findNode, type FoundNode, type NamedLab, type NotFound } from "./directory.ts"

export interface FoundPort extends FoundNode {
  readonly ifname: string
  /** `host`, `router` */
  readonly kind: string
  /** Interfaces that the topology gives the node. The node itself may have more. */
  readonly known: ReadonlyArray<string>
}

/** The node part is looked up (`here` as in `findNode`); whether the interface is there, only the kernel knows. */
export const findPort = (labs: ReadonlyArray<NamedLab>, name: string, here?: string): FoundPort | NotFound => {
  const colon = name.indexOf(":")
  const ifname = name.slice(colon + 1)
  if (colon < 1 || ifname === "") {
    return { error: `"${name}" names no interface: NODE:IF is expected, for example "pc:eth0"`, ambiguous: true }
  }
  const found = findNode(labs, name.slice(0, colon), here)
  if ("error" in found) return found
  const { nodes, resources } = labs.find((entry) => entry.name === found.lab)!.plan
  const known = resources.flatMap((resource) =>
    resource.kind === "port" && resource.spec.node === found.node ? [resource.spec.ifname] : []
  )
  return { ...found, ifname, kind: nodes.find((info) => info.name === found.node)?.kind ?? "node", known }
}

/** How frames of a port reach other hosts. */
export interface PortTunnel {
  readonly segment: string
  readonly vni: number
  readonly tunnel: TunnelSpec
}

/** The tunnel of a port's segment; undefined when the segment does not leave this host. @param part what this host has of the lab */
export const tunnelOf = (part: NamedLab | undefined, node: string, ifname: string): PortTunnel | undefined => {
  for (const resource of part?.plan.resources ?? []) {
    if (resource.kind !== "segment" || !resource.spec.ports.includes(`${node}:${ifname}`)) continue
    const { name, tunnel, vni } = resource.spec
    return tunnel === undefined || tunnel.vteps.length === 0 ? undefined : { segment: name, vni, tunnel }
  }
  return undefined
}
