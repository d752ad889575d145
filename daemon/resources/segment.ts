/**
 * Segments: what the eBPF program is told about a link or a network.
 *
 * A link is two entries that point at each other, or, when it has a profile, each at a TAP of the engine and the TAPs
 * back at them (engine-link.ts); a network is a member list and an entry for each port. The
 * program keeps no names, so what is observed are the ports of each segment that we know of, by their interface indexes.
 */
import type { PortEntry } from "../linux/bpf.ts"
import * as Fabric from "../linux/fabric.ts"
import type { SegmentSpec } from "../plan/resource.ts"
import { type EngineLink, leadThrough } from "./engine-link.ts"
import { eachAsync, type Handler } from "./handler.ts"
import { KernelError } from "../linux/errors.ts"
import type { Lab } from "./lab.ts"

/** The address of the node's side, which the program needs to hand frames over as the node's own. */
const macOf = (lab: Lab, port: string): string => {
  const resource = lab.known.get(`port/${port}`)
  return resource?.kind === "port" ? resource.spec.mac : ""
}

type Entries = ReadonlyMap<number, PortEntry>

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
const observeLink = (lab: Lab, id: string, spec: SegmentSpec, entries: Entries): SegmentSpec | undefined => {
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

/**
 * A network's members. A wanted one that the program has no right entry for counts as missing; one that is not wanted,
 * also an interface that is gone, counts as there: so the segment is set again.
 */
const observeNetwork = (lab: Lab, spec: SegmentSpec, entries: Entries, names: ReadonlyMap<number, string>): SegmentSpec | undefined => {
  const segment = lab.daemon.program.segments().get(spec.vni)
  if (segment === undefined) return undefined
  const wanted = new Set(spec.ports)
  const ports = segment.ports.flatMap((index) => {
    const name = names.get(index) ?? `interface ${index}, which is gone`
    const entry = entries.get(index)?.port
    const right = entry?.kind === "network" && entry.segment === spec.vni && entry.mac === macOf(lab, name)
    return right || !wanted.has(name) ? [name] : []
  })
  return { ...spec, ports, ageingS: segment.ageingS }
}

function* observe(lab: Lab): Generator<readonly [string, SegmentSpec]> {
  const entries = lab.daemon.program.ports()
  const names = new Map(Array.from(lab.snapshot.fabricPorts, ([name, { link }]) => [link.index, name]))
  for (const { id, spec } of lab.knownOf("segment")) {
    const found = spec.segmentKind === "p2p" ? observeLink(lab, id, spec, entries) : observeNetwork(lab, spec, entries, names)
    if (found !== undefined) yield [id, found]
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

const join = async (lab: Lab, id: string, spec: SegmentSpec): Promise<void> => {
  const { program } = lab.daemon
  const indexes = spec.ports.map((port) => fabricIndex(lab, port))
  const macs = spec.ports.map((port) => macOf(lab, port))
  if (spec.profiles !== undefined && spec.endpoints !== undefined) {
    const { endpoints, ports, profiles } = spec
    const link = await lab.daemon.links.set(engineId(lab, id), { lab: lab.name, ports, endpoints, profiles }, lab.snapshot.taps)
    leadThrough(program, link, ports.map((port, i) => ({ port, index: indexes[i]!, mac: macs[i]! })))
    return
  }
  if (spec.segmentKind === "p2p") {
    program.setPorts(indexes.map((index, i) => [index, { kind: "p2p", peer: indexes[1 - i]!, mac: macs[i]! }]))
    return
  }
  program.setSegment(spec.vni, indexes, { ageingS: spec.ageingS })
  program.setPorts(indexes.map((index, i) => [index, { kind: "network", segment: spec.vni, mac: macs[i]! }]))
}

export const handler: Handler<"segment"> = {
  kind: "segment",
  observe,
  converge: (lab, steps) =>
    eachAsync(steps, async ({ after, before, id }) => {
      const { spec } = after!
      await join(lab, id, spec)
      if (before !== undefined) leave(lab, before, spec)
      if (spec.profiles === undefined) lab.daemon.links.release(engineId(lab, id))
    }),
  remove: async (lab, steps) => {
    const failures = await Promise.all(
      // All of them begin before the first one ends: their TAPs go together.
      steps.map((step) =>
        eachAsync([step], async ({ before, id }) => {
          leave(lab, before!, undefined)
          await lab.daemon.links.remove(engineId(lab, id))
        })
      )
    )
    return failures.flat()
  }
}
