/**
 * How the ports of a segment that are on this host reach those on others: by one port for each other host.
 *
 *   kernel   a tunnel end of the eBPF program on a VXLAN device (tunnel.ts); what is too long for the underlay and cannot be
 *            fragmented by the kernel leaves by a TAP of the engine instead
 *   engine   a TAP whose frames the engine carries (engine-tunnel.ts)
 *
 * To the program both are ports: members of a network, or the far end of a link. `segment.ts` places them.
 */
import { noMac, type Port, type TunnelEnd } from "../linux/bpf.ts"
import { KernelError } from "../linux/errors.ts"
import * as Fabric from "../linux/fabric.ts"
import type { LinkProfile } from "../plan/link-profile.ts"
import type { SegmentSpec, TunnelSpec } from "../plan/resource.ts"
import type { Lab } from "./lab.ts"

export type Datapath = "kernel" | "engine"

/** The ways of one segment as they are. */
export interface Ways {
  readonly tunnel: TunnelSpec
  readonly datapath: Datapath
  /** By underlay address of the other host, the index of the port; only those that work. */
  readonly ports: ReadonlyMap<string, number>
  /** What the engine's tunnel does to what it sends; a profile before a kernel tunnel is the business of `segment.ts`. */
  readonly profile?: { readonly profile: LinkProfile; readonly seed: number }
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

/** The profile of what leaves this host: the other direction is the other host's. */
const leaving = ({ endpoints, ports, profiles }: SegmentSpec): LinkProfile | undefined =>
  endpoints?.[0] === ports[0] ? profiles?.aToB : profiles?.bToA

const prefixOf = (lab: Lab, id: string): string => `${lab.name}/${id}@`

/** What carries tunnels on this host: UDP ports of the VXLAN devices that are whole, by ifindex. */
export type Carriers = ReadonlyMap<number, number>

/** Looks once for all segments of the lab; not at all when none of them spans hosts. */
export const carriers = (lab: Lab): Carriers => {
  const spans = [...lab.knownOf("segment")].some(({ spec }) => isTunnelled(spec))
  if (!spans) return new Map()
  return new Map([...lab.daemon.tunnels.look()].flatMap(([port, { index, whole }]) => (whole ? [[index, port] as const] : [])))
}

/** What is there for the segment; undefined: nothing. */
export const find = (lab: Lab, id: string, spec: TunnelledSpec, carried: Carriers): Ways | undefined => {
  const wanted = datapathOf(lab, spec.tunnel)
  if (spec.tunnel.vteps.length === 0 && !hasAny(lab, id, spec)) return { tunnel: spec.tunnel, datapath: wanted, ports: new Map() }
  const [kernel, engine] = [findKernel(lab, id, spec, carried), findEngine(lab, id, spec)]
  return wanted === "kernel" ? (kernel ?? engine) : (engine ?? kernel)
}

/** The kernel's tunnel ends of the segment, but those that nobody planned. */
const plannedEnds = ({ daemon: { foreign, tunnels } }: Lab, { tunnel, vni }: TunnelledSpec): ReadonlyArray<readonly [number, TunnelEnd]> =>
  [...tunnels.endsOf(vni)].filter(([, { remote }]) => tunnel.vteps.includes(remote) || !foreign.has(vni, remote))

const hasAny = (lab: Lab, id: string, spec: TunnelledSpec): boolean =>
  plannedEnds(lab, spec).length > 0 || lab.daemon.links.tunnelsOf(prefixOf(lab, id)).size > 0

/** The MTU of the segment's ports on this host: the longest packet that it may send. */
const mtuOf = (lab: Lab, { ports }: SegmentSpec): number =>
  Math.max(
    ...ports.map((port) => {
      const resource = lab.known.get(`port/${port}`)
      return resource?.kind === "port" ? resource.spec.mtu : 0
    })
  )

/** Whether what the end sends leaves by its device, or by the engine where it must. */
const leavesWell = (lab: Lab, id: string, spec: SegmentSpec, { remote, via }: TunnelEnd): boolean => {
  const { links, tunnels } = lab.daemon
  if (tunnels.carries(mtuOf(lab, spec), remote)) return via === undefined
  const sender = links.getTunnel(`${prefixOf(lab, id)}${remote}`)
  return via !== undefined && sender?.sendOnly === true && sender.tap === via && lab.snapshot.taps.get(via)?.up === true
}

const findKernel = (lab: Lab, id: string, spec: TunnelledSpec, carried: Carriers): Ways | undefined => {
  const { tunnels } = lab.daemon
  const ends = plannedEnds(lab, spec)
  if (ends.length === 0) return undefined
  const alive = ends.filter(
    ([, end]) => carried.has(end.device) && end.local === tunnels.localFor(end.remote) && leavesWell(lab, id, spec, end)
  )
  const port = alive[0] === undefined ? 0 : carried.get(alive[0][1].device)!
  const ports = new Map(alive.flatMap(([index, { device, remote }]) => (carried.get(device) === port ? [[remote, index] as const] : [])))
  const datapath = datapathOf(lab, spec.tunnel) === "kernel" ? spec.tunnel.datapath : "kernel"
  return { tunnel: { encapsulation: "vxlan", port, datapath, vteps: [...ports.keys()].toSorted() }, datapath: "kernel", ports }
}

const findEngine = (lab: Lab, id: string, spec: TunnelledSpec): Ways | undefined => {
  const { fabric, links, program, tunnels } = lab.daemon
  const found = [...links.tunnelsOf(prefixOf(lab, id)).values()].filter(({ sendOnly }) => sendOnly !== true)
  const [first] = found
  if (first === undefined) return undefined
  const programs = Fabric.programIds(fabric.fd, found.map(({ tap }) => tap))
  const { encapsulation, options, port, profile, seed } = first
  const alive = found.filter((tunnel) => {
    const { local, remote, tap, vni } = tunnel
    const isAlike = tunnel.encapsulation === encapsulation && tunnel.port === port && tunnel.options === options
    const isSame = isAlike && vni === spec.vni && local === tunnels.localFor(remote)
    return isSame && lab.snapshot.taps.get(tap)?.up === true && programs.get(tap) === program.programId
  })
  const ports = new Map(alive.map(({ remote, tap }) => [remote, tap]))
  const datapath = datapathOf(lab, spec.tunnel) === "engine" ? spec.tunnel.datapath : "engine"
  return {
    tunnel: { encapsulation, port, datapath, ...(options === undefined ? {} : { options }), vteps: [...ports.keys()].toSorted() },
    datapath: "engine",
    ports,
    ...(profile === undefined ? {} : { profile: { profile, seed } })
  }
}

/** The other hosts of a network whose ways are members as they should be. */
export const memberVteps = (lab: Lab, vni: number, ways: Ways, members: ReadonlySet<number>): ReadonlyArray<string> =>
  [...ways.ports]
    .filter(([, index]) => {
      const entry = lab.daemon.program.ports().get(index)?.port
      return entry?.kind === "network" && entry.segment === vni && entry.tunnel === true && members.has(index)
    })
    .map(([remote]) => remote)
    .toSorted()

/** Makes what is missing, and returns the port towards each other host, and who carries it. */
export const make = async (lab: Lab, id: string, spec: TunnelledSpec): Promise<Pick<Ways, "datapath" | "ports">> => {
  const { datapath, encapsulation, port, vteps } = spec.tunnel
  if (datapathOf(lab, spec.tunnel) === "kernel") {
    if (encapsulation !== "vxlan") {
      const detail = `the kernel's path carries VXLAN only: ${encapsulation} needs datapath engine`
      throw new KernelError({ operation: "tunnel segment", object: spec.name, code: "EOPNOTSUPP", detail })
    }
    try {
      const ports = new Map<string, number>()
      for (const remote of vteps) ports.set(remote, await open(lab, id, spec, remote))
      return { datapath: "kernel", ports }
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== "EOPNOTSUPP" || datapath !== "auto") throw error
    }
  }
  const ports = new Map<string, number>()
  for (const remote of vteps) ports.set(remote, await carry(lab, id, spec, { remote, profile: leaving(spec) }))
  return { datapath: "engine", ports }
}

/** Makes the tunnel end of the kernel's path towards `remote`; returns its index. */
const open = async (lab: Lab, id: string, spec: TunnelledSpec, remote: string): Promise<number> => {
  const { tunnels } = lab.daemon
  const { port } = spec.tunnel
  if (tunnels.carries(mtuOf(lab, spec), remote)) return tunnels.add(port, spec.vni, remote)
  // The device first: without one there is no need for the engine.
  tunnels.open(port)
  return tunnels.add(port, spec.vni, remote, await carry(lab, id, spec, { remote, sendOnly: true }))
}

interface Carried {
  readonly remote: string
  readonly profile?: LinkProfile | undefined
  /** The kernel receives. */
  readonly sendOnly?: true
}

/** Has the engine carry frames to `remote`; returns the TAP. */
const carry = async (lab: Lab, id: string, spec: TunnelledSpec, { profile, remote, sendOnly }: Carried): Promise<number> => {
  const { links, tunnels } = lab.daemon
  const { encapsulation, options, port } = spec.tunnel
  const local = tunnels.localFor(remote)
  // No colon may be in an alternative name (net/core/dev.c, dev_valid_name).
  const label = `${spec.vni}@${remote.replaceAll(":", "-")}`
  const { tap } = await links.setTunnel(
    `${prefixOf(lab, id)}${remote}`,
    {
      lab: lab.name,
      label,
      encapsulation,
      port,
      vni: spec.vni,
      remote,
      ...(local === undefined ? {} : { local }),
      ...(options === undefined ? {} : { options }),
      ...(sendOnly === undefined ? {} : { sendOnly }),
      ...(profile === undefined ? {} : { profile }),
      seed: profile === undefined ? 0 : (spec.profiles?.seed ?? 0)
    },
    lab.snapshot.taps
  )
  return tap
}

/** Ends tunnels of the other kind on the UDP port that the segment is to have from now on: two cannot have it. */
export const vacate = async (lab: Lab, id: string, spec: TunnelledSpec): Promise<void> => {
  const { links, tunnels } = lab.daemon
  const { port } = spec.tunnel
  if (datapathOf(lab, spec.tunnel) === "engine") {
    const ends = [...tunnels.endsOf(spec.vni)]
    const device = ends.length === 0 ? undefined : tunnels.look().get(port)?.index
    tunnels.remove(ends.flatMap(([index, end]) => (end.device === device ? [index] : [])))
    return
  }
  for (const [tunnel, { encapsulation, port: used, sendOnly }] of links.tunnelsOf(prefixOf(lab, id))) {
    if (encapsulation !== "gre" && used === port && sendOnly !== true) await links.removeTunnel(tunnel)
  }
}

/** Removes the segment's ways: those with these VNIs but the ports in `kept`. `at`: what is on its way is lost, or arrives. */
export const drop = async (
  lab: Lab,
  id: string,
  vnis: ReadonlyArray<number>,
  { at, kept = new Set() }: { readonly at: "once" | "leisure"; readonly kept?: ReadonlySet<number> }
): Promise<void> => {
  const { links, program, tunnels } = lab.daemon
  tunnels.remove(vnis.flatMap((vni) => [...tunnels.endsOf(vni).keys()].filter((index) => !kept.has(index))))
  const senders = new Set(Array.from(kept, (index) => program.tunnelEnds().get(index)?.via))
  for (const [tunnel, { tap }] of links.tunnelsOf(prefixOf(lab, id))) {
    if (kept.has(tap) || senders.has(tap)) continue
    if (at === "once") await links.removeTunnel(tunnel)
    else links.releaseTunnel(tunnel)
  }
}
