/**
 * How the ports of a segment that are on this host reach those on others: by one port for each other host.
 *
 *   kernel   a tunnel end of the eBPF program on a VXLAN device (tunnel.ts)
 *   engine   a TAP whose frames the engine carries (engine-tunnel.ts)
 *
 * To the program both are ports: members of a network, or the far end of a link. `segment.ts` places them.
 */
import { noMac, type Port, type PortEntry } from "../linux/bpf.ts"
import { KernelError } from "../linux/errors.ts"
import type { SegmentSpec, TunnelSpec } from "../plan/resource.ts"
import type { Lab } from "./lab.ts"

export type Datapath = "kernel" | "engine"

/** The ways of one segment as they are. */
export interface Ways {
  readonly tunnel: TunnelSpec
  /** By underlay address of the other host, the index of the port; only those that work. */
  readonly ports: ReadonlyMap<string, number>
}

/** A segment that spans hosts. */
export type TunnelledSpec = SegmentSpec & { readonly tunnel: TunnelSpec }

export const isTunnelled = (spec: SegmentSpec): spec is TunnelledSpec => spec.tunnel !== undefined

/** Who encapsulates. */
export const datapathOf = (lab: Lab, { datapath, encapsulation }: TunnelSpec): Datapath => {
  if (datapath !== "auto") return datapath
  return encapsulation === "vxlan" && lab.daemon.tunnels.supported ? "kernel" : "engine"
}

/** The port of a tunnel towards another host, as a member of the network, or leading to port `peer` of the link. */
export const portOf = ({ segmentKind, vni }: SegmentSpec, peer: number): Port =>
  segmentKind === "p2p"
    ? { kind: "p2p", peer, mac: noMac, tunnel: true }
    : { kind: "network", segment: vni, mac: noMac, tunnel: true }

/** What carries tunnels on this host: UDP ports of the VXLAN devices that are whole, by ifindex. */
export type Carriers = ReadonlyMap<number, number>

/** Looks once for all segments of the lab. */
export const carriers = (lab: Lab): Carriers =>
  new Map([...lab.daemon.tunnels.look()].flatMap(([port, { index, whole }]) => (whole ? [[index, port] as const] : [])))

/** What is there for the segment; undefined: nothing. */
export const find = (lab: Lab, spec: TunnelledSpec, carried: Carriers): Ways | undefined => {
  const ends = [...lab.daemon.tunnels.endsOf(spec.vni)]
  if (ends.length === 0) return spec.tunnel.vteps.length === 0 ? { tunnel: spec.tunnel, ports: new Map() } : undefined
  const alive = ends.filter(([, end]) => carried.has(end.device) && lab.daemon.tunnels.isFromHere(end))
  const port = alive[0] === undefined ? 0 : carried.get(alive[0][1].device)!
  const here = alive.filter(([, end]) => carried.get(end.device) === port)
  const ports = new Map(here.map(([index, { remote }]) => [remote, index]))
  const datapath = datapathOf(lab, spec.tunnel) === "kernel" ? spec.tunnel.datapath : "kernel"
  return { tunnel: { encapsulation: "vxlan", port, datapath, vteps: [...ports.keys()].toSorted() }, ports }
}

/** The entries of a network's ways that are as they should be. */
export const memberVteps = (
  vni: number,
  ways: Ways,
  entries: ReadonlyMap<number, PortEntry>,
  members: ReadonlySet<number>
): ReadonlyArray<string> =>
  [...ways.ports].flatMap(([remote, index]) => {
    const entry = entries.get(index)?.port
    const right = entry?.kind === "network" && entry.segment === vni && entry.tunnel === true && members.has(index)
    return right ? [remote] : []
  }).toSorted()

/** Makes what is missing, and returns the port towards each other host. */
export const make = async (lab: Lab, spec: TunnelledSpec): Promise<ReadonlyMap<string, number>> => {
  const { datapath, encapsulation, port, vteps } = spec.tunnel
  if (datapathOf(lab, spec.tunnel) === "kernel") {
    if (encapsulation !== "vxlan") {
      const detail = `the kernel's path carries VXLAN only; use \`datapath: engine\` for ${encapsulation}`
      throw new KernelError({ operation: "tunnel segment", object: spec.name, code: "EOPNOTSUPP", detail })
    }
    try {
      return new Map(vteps.map((remote) => [remote, lab.daemon.tunnels.add(port, spec.vni, remote)]))
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== "EOPNOTSUPP" || datapath !== "auto") throw error
    }
  }
  throw new KernelError({ operation: "tunnel segment", object: spec.name, code: "EOPNOTSUPP", detail: "the engine has no tunnels yet" })
}

/** Removes the ways of these VNIs but the ports in `kept`. */
export const drop = (lab: Lab, vnis: ReadonlyArray<number>, kept: ReadonlySet<number> = new Set()): void => {
  const { tunnels } = lab.daemon
  tunnels.remove(vnis.flatMap((vni) => [...tunnels.endsOf(vni).keys()].filter((index) => !kept.has(index))))
}
