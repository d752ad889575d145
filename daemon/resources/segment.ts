/**
 * Segments: what the eBPF program is told about a link or a network.
 *
 * A link is two entries that point at each other, or, when it has a profile, each at a TAP of the engine and the TAPs
 * back at them (engine-link.ts); a network is a member list and an entry for each port. Each other host that has ports of
 * the segment is one more port (tunnel-ways.ts). The program keeps no names, so what is observed are the ports of each segment that
 * we know of, by their indexes.
 *
 *   port <--> tunnel end                              a link to another host
 *   port --> TAP ~~ engine ~~> TAP --> tunnel end     with a profile, which only what is sent meets: what is received
 *   port <---------------------------- tunnel end     has been through that of the other host
 */
import { isTunnelEnd, noMac, type PortEntry } from "../linux/bpf.ts"
import * as Fabric from "../linux/fabric.ts"
import type { SegmentSpec } from "../plan/resource.ts"
import { type EngineLink, leadThrough } from "./engine-link.ts"
import { eachAsync, type Handler } from "./handler.ts"
import { KernelError } from "../linux/errors.ts"
import type { Lab } from "./lab.ts"
import * as TunnelWays from "./tunnel-ways.ts"

/** The address of the node's side, which the program needs to hand frames over as the node's own. */
const macOf = (lab: Lab, port: string): string => {
  const resource = lab.known.get(`port/${port}`)
  return resource?.kind === "port" ? resource.spec.mac : ""
}

type Entries = ReadonlyMap<number, PortEntry>

/** What is looked at once for all segments. */
interface Seen {
  readonly entries: Entries
  readonly carriers: TunnelWays.Carriers
  /** Of ports, by ifindex. */
  readonly names: ReadonlyMap<number, string>
}

/** What the engine knows a link by. */
const engineId = (lab: Lab, id: string): string => `${lab.name}/${id}`

/** The ends of a link that lead to each other. */
const joinedEnds = (lab: Lab, { ports }: SegmentSpec, entries: Entries): string[] => {
  const indexes = ports.map((port) => lab.fabricIndex(port))
  return ports.filter((name, i) => {
    const entry = indexes[i] === undefined ? undefined : entries.get(indexes[i])?.port
    return entry?.kind === "p2p" && entry.peer === indexes[1 - i] && entry.mac === macOf(lab, name)
  })
}

/** The ends of a link that lead to their TAPs and are led to by them. `programs`: at the TAPs' ingress. */
const engineEnds = (lab: Lab, { taps }: EngineLink, entries: Entries, programs: ReadonlyMap<number, number>): string[] =>
  [...taps].flatMap(([name, index]) => {
    const port = lab.fabricIndex(name)
    const out = port === undefined ? undefined : entries.get(port)?.port
    const back = entries.get(index)
    const there = out?.kind === "p2p" && out.peer === index && out.mac === macOf(lab, name)
    const alive = lab.snapshot.taps.get(index)?.up === true && programs.get(index) === lab.daemon.program.programId
    return there && alive && back?.visible === true && back.port.kind === "p2p" && back.port.peer === port ? [name] : []
  })

/**
 * A link keeps its id when its ends change: it is as it should be now, or as it was before, or neither. One that the
 * engine carries is there as long as that is so, whatever the program's entries say: so that it is put right or ended.
 */
const observeLink = (lab: Lab, id: string, spec: SegmentSpec, seen: Seen): SegmentSpec | undefined => {
  const { entries } = seen
  if (TunnelWays.isTunnelled(spec)) return observeTunnelledLink(lab, id, spec, seen)
  const { endpoints: _, profiles: __, ...wire } = spec
  const link = lab.daemon.links.get(engineId(lab, id))
  if (link !== undefined) {
    const programs = Fabric.programIds(lab.daemon.fabric.fd, [...link.taps.values()])
    return { ...wire, ports: engineEnds(lab, link, entries, programs), endpoints: link.endpoints, profiles: link.profiles }
  }
  const former = lab.previous.get(id)
  const ports = joinedEnds(lab, spec, entries)
  const before = former?.kind !== "segment" || ports.length === spec.ports.length ? [] : joinedEnds(lab, former.spec, entries)
  if (before.length > 0) return { ...wire, ports: before }
  return ports.length > 0 ? { ...wire, ports } : undefined
}

/** A link whose other end is on another host. */
const observeTunnelledLink = (lab: Lab, id: string, spec: TunnelWays.TunnelledSpec, seen: Seen): SegmentSpec | undefined => {
  const { carriers, entries } = seen
  const { endpoints: _, profiles: __, tunnel: ___, ...wire } = spec
  const ways = TunnelWays.find(lab, id, spec, carriers)
  const link = lab.daemon.links.get(engineId(lab, id))
  if (ways === undefined && link === undefined) return undefined
  const [port] = spec.ports as [string]
  const index = lab.fabricIndex(port)
  const [way = 0] = ways?.ports.values() ?? []
  const near = index === undefined ? undefined : entries.get(index)?.port
  const far = entries.get(way)?.port
  const back = way === 0 || (far?.kind === "p2p" && far.peer === index && far.tunnel === true)
  const out = near?.kind === "p2p" && near.mac === macOf(lab, port) && leadsTo(lab, link, { port, peer: near.peer, way }, entries)
  return {
    ...wire,
    ports: ways !== undefined && back && out ? spec.ports : [],
    ...(link === undefined ? profilesOf(lab, id, spec, ways) : { endpoints: link.endpoints, profiles: link.profiles }),
    ...(ways === undefined ? {} : { tunnel: ways.tunnel })
  }
}

/** The profile that the engine's tunnel has, as the segment would say it. */
const profilesOf = (
  lab: Lab,
  id: string,
  spec: SegmentSpec,
  ways: TunnelWays.Ways | undefined
): Pick<SegmentSpec, "endpoints" | "profiles"> => {
  if (ways?.profile === undefined) return {}
  const { profile, seed } = ways.profile
  const former = lab.previous.get(id)
  const named = spec.endpoints ?? (former?.kind === "segment" ? former.spec.endpoints : undefined)
  const endpoints = named ?? ([spec.ports[0]!, "the other end"] as const)
  const profiles = endpoints[0] === spec.ports[0] ? { aToB: profile, bToA: {}, seed } : { aToB: {}, bToA: profile, seed }
  return { endpoints, profiles }
}

interface WayOut {
  readonly port: string
  /** Where the port's frames go first. */
  readonly peer: number
  /** Where they must go in the end. */
  readonly way: number
}

/** Whether what leaves the port gets to the other host, through the engine if it carries the link. */
const leadsTo = (lab: Lab, link: EngineLink | undefined, { port, peer, way }: WayOut, entries: Entries): boolean => {
  if (link === undefined) return peer === way
  const programs = Fabric.programIds(lab.daemon.fabric.fd, [...link.taps.values()])
  const alive = [...link.taps.values()].every(
    (tap) => lab.snapshot.taps.get(tap)?.up === true && programs.get(tap) === lab.daemon.program.programId
  )
  const last = entries.get(farTap(link, port))?.port
  return alive && peer === link.taps.get(port) && last?.kind === "p2p" && last.peer === way
}

/** The TAP out of which comes what goes in at the one of `port`. */
const farTap = ({ taps }: EngineLink, port: string): number => [...taps].find(([name]) => name !== port)![1]

/** A member that is none of our ports. */
const nameOfOther = (lab: Lab, index: number): string => {
  const remote = lab.daemon.program.tunnelEnds().get(index)?.remote
  if (remote !== undefined) return `tunnel to ${remote}`
  return isTunnelEnd(index) ? "a tunnel that is gone" : `interface ${index}, which is gone`
}

/**
 * A network's members. A wanted one that the program has no right entry for counts as missing; one that is not wanted,
 * also an interface that is gone, counts as there: so the segment is set again.
 */
const observeNetwork = (lab: Lab, id: string, spec: SegmentSpec, { carriers, entries, names }: Seen): SegmentSpec | undefined => {
  const segment = lab.daemon.program.segments().get(spec.vni)
  if (segment === undefined) return undefined
  const { tunnel, ...plain } = spec
  const wanted = new Set(spec.ports)
  const ways = TunnelWays.isTunnelled(spec) ? TunnelWays.find(lab, id, spec, carriers) : undefined
  const leading = new Set([...(ways?.ports.values() ?? []), ...lab.daemon.foreign.indexesOf(spec.vni)])
  const ports = segment.ports.flatMap((index) => {
    if (leading.has(index)) return []
    const name = names.get(index) ?? nameOfOther(lab, index)
    const entry = entries.get(index)?.port
    const right = entry?.kind === "network" && entry.segment === spec.vni && entry.mac === macOf(lab, name)
    return right || !wanted.has(name) ? [name] : []
  })
  const observed = { ...plain, ports, ageingS: segment.ageingS }
  if (tunnel === undefined || ways === undefined) return observed
  const vteps = TunnelWays.memberVteps(lab, spec.vni, ways, new Set(segment.ports))
  return { ...observed, tunnel: { ...ways.tunnel, vteps } }
}

/** Of the segment's ports, as the program has them. */
const gatesOf = (lab: Lab, { ports }: SegmentSpec, { entries }: Seen): Pick<SegmentSpec, "gates"> => {
  const gates = ports.flatMap((port) => {
    const gate = entries.get(lab.fabricIndex(port) ?? 0)?.gate
    return gate === undefined ? [] : [[port, gate] as const]
  })
  return gates.length === 0 ? {} : { gates: Object.fromEntries(gates) }
}

/** Ports that come from another segment bring theirs along: all are set. */
const setGates = (lab: Lab, { gates = {}, ports }: SegmentSpec): void =>
  lab.daemon.program.setGates(ports.map((port) => [fabricIndex(lab, port), gates[port] ?? {}]))

function* observe(lab: Lab): Generator<readonly [string, SegmentSpec]> {
  const names = new Map(Array.from(lab.snapshot.fabricPorts, ([name, { link }]) => [link.index, name]))
  const seen: Seen = { entries: lab.daemon.program.ports(), carriers: TunnelWays.carriers(lab), names }
  for (const { id, spec } of lab.knownOf("segment")) {
    const { gates: _, ...open } = spec
    const found = spec.segmentKind === "p2p" ? observeLink(lab, id, open, seen) : observeNetwork(lab, id, open, seen)
    if (found !== undefined) yield [id, { ...found, ...gatesOf(lab, found, seen) }]
  }
}

const fabricIndex = (lab: Lab, port: string): number => {
  const index = lab.fabricIndex(port)
  if (index !== undefined) return index
  throw new KernelError({ operation: "find port", object: port, code: "ENODEV" })
}

/** Takes ports out that are in the old segment and not in the new one, unless another segment has them by now. */
const leave = (lab: Lab, before: SegmentSpec, after: SegmentSpec | undefined): void => {
  const { program } = lab.daemon
  const staying = new Set(after?.ports)
  const entries = program.ports()
  for (const port of before.ports) {
    const index = lab.fabricIndex(port)
    const entry = index === undefined ? undefined : entries.get(index)
    if (index === undefined || entry === undefined || staying.has(port)) continue
    const here = entry.port.kind === "network" ? entry.port.segment === before.vni : before.segmentKind === "p2p"
    if (here && !claimedByOther(lab, port, before)) program.removePort(index)
  }
  if (before.segmentKind === "network" && before.vni !== (after?.segmentKind === "network" ? after.vni : undefined)) {
    program.removeSegment(before.vni)
  }
}

const claimedByOther = (lab: Lab, port: string, before: SegmentSpec): boolean => {
  for (const { spec } of lab.desiredOf("segment")) if (spec.name !== before.name && spec.ports.includes(port)) return true
  return false
}

/** Joins the ports here with the ways to other hosts, and returns the indexes of the latter. */
const joinTunnelled = async (lab: Lab, id: string, spec: TunnelWays.TunnelledSpec): Promise<ReadonlySet<number>> => {
  const { program } = lab.daemon
  const ends = spec.ports.map((port) => ({ port, index: fabricIndex(lab, port), mac: macOf(lab, port) }))
  const { datapath, ports } = await TunnelWays.make(lab, id, spec)
  const ways = [...ports.values()]
  if (spec.segmentKind === "network") {
    const others = lab.daemon.foreign.indexesOf(spec.vni)
    program.setSegment(spec.vni, [...ends.map(({ index }) => index), ...ways, ...others], { ageingS: spec.ageingS })
    program.setPorts([
      ...ends.map(({ index, mac }) => [index, { kind: "network", segment: spec.vni, mac }] as const),
      ...ways.map((way) => [way, TunnelWays.portOf(spec, 0)] as const)
    ])
    return new Set([...ways, ...others])
  }
  const [{ index, mac, port }] = ends as [(typeof ends)[0]]
  const way = ways[0]
  if (way !== undefined) program.setPort(way, TunnelWays.portOf(spec, index))
  const throughEngine = spec.profiles !== undefined && datapath === "kernel" && way !== undefined
  const first = throughEngine ? await leadOut(lab, id, spec, { port, index, way }) : way
  program.setPort(index, { kind: "p2p", peer: first ?? 0, mac })
  if (!throughEngine) lab.daemon.links.release(engineId(lab, id))
  return new Set(ways)
}

/** Has the engine carry what leaves the link's port for another host; returns the TAP to which the port is to lead. */
const leadOut = async (
  lab: Lab,
  id: string,
  { endpoints, profiles }: SegmentSpec,
  { index, port, way }: { readonly port: string; readonly index: number; readonly way: number }
): Promise<number> => {
  const { links, program } = lab.daemon
  const spec = { lab: lab.name, ports: endpoints!, endpoints: endpoints!, profiles: profiles! }
  const link = await links.set(engineId(lab, id), spec, lab.snapshot.taps)
  const [near, far] = [link.taps.get(port)!, farTap(link, port)]
  program.setPorts([[near, { kind: "p2p", peer: index, mac: noMac }], [far, { kind: "p2p", peer: way, mac: noMac }]])
  for (const tap of [near, far]) program.setVisible(tap, true)
  return near
}

/** Joins ports that are all here; returns the indexes of tunnel ends that nobody planned. */
const join = async (lab: Lab, id: string, spec: SegmentSpec): Promise<ReadonlySet<number>> => {
  const { program } = lab.daemon
  const indexes = spec.ports.map((port) => fabricIndex(lab, port))
  const macs = spec.ports.map((port) => macOf(lab, port))
  if (spec.profiles !== undefined && spec.endpoints !== undefined) {
    const { endpoints, ports, profiles } = spec
    const link = await lab.daemon.links.set(engineId(lab, id), { lab: lab.name, ports, endpoints, profiles }, lab.snapshot.taps)
    leadThrough(program, link, ports.map((port, i) => ({ port, index: indexes[i]!, mac: macs[i]! })))
    return new Set()
  }
  if (spec.segmentKind === "p2p") {
    program.setPorts(indexes.map((index, i) => [index, { kind: "p2p", peer: indexes[1 - i]!, mac: macs[i]! }]))
    return new Set()
  }
  const others = lab.daemon.foreign.indexesOf(spec.vni)
  program.setSegment(spec.vni, [...indexes, ...others], { ageingS: spec.ageingS })
  program.setPorts(indexes.map((index, i) => [index, { kind: "network", segment: spec.vni, mac: macs[i]! }]))
  return new Set(others)
}

/** The VNIs under which something of the segment may be in the kernel. */
const vnisOf = (lab: Lab, id: string, before: SegmentSpec | undefined, after: SegmentSpec | undefined): ReadonlyArray<number> => {
  const former = lab.previous.get(id)
  const vnis = new Set([before?.vni, after?.vni, former?.kind === "segment" ? former.spec.vni : undefined])
  if (vnis.size > 1) for (const other of lab.desiredOf("segment")) if (other.id !== id) vnis.delete(other.spec.vni)
  return [...vnis].filter((vni) => vni !== undefined)
}

export const handler: Handler<"segment"> = {
  kind: "segment",
  observe,
  converge: async (lab, steps) => {
    for (const { after, id } of steps) if (TunnelWays.isTunnelled(after!.spec)) await TunnelWays.vacate(lab, id, after!.spec)
    return eachAsync(steps, async ({ after, before, id }) => {
      const { spec } = after!
      // Closed before the ways change, where the port is there already; opened after.
      if (spec.gates !== undefined) setGates(lab, spec)
      const kept = await (TunnelWays.isTunnelled(spec) ? joinTunnelled(lab, id, spec) : join(lab, id, spec))
      setGates(lab, spec)
      if (before !== undefined) leave(lab, before, spec)
      await TunnelWays.drop(lab, id, vnisOf(lab, id, before, spec), { at: "leisure", kept })
      if (spec.profiles === undefined) lab.daemon.links.release(engineId(lab, id))
    })
  },
  remove: async (lab, steps) => {
    const failures = await Promise.all(
      // All of them begin before the first one ends: their TAPs go together.
      steps.map((step) =>
        eachAsync([step], async ({ before, id }) => {
          leave(lab, before!, undefined)
          await TunnelWays.drop(lab, id, vnisOf(lab, id, before, undefined), { at: "once" })
          await lab.daemon.links.remove(engineId(lab, id))
        })
      )
    )
    return failures.flat()
  }
}
