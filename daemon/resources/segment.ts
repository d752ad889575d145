/**
 * Segments: what the eBPF program is told about a link or a network.
 *
 * A link is two entries that point at each other; a network is a member list and an entry for each port. The program
 * keeps no names, so what is observed are the ports of each segment that we know of, by their interface indexes.
 */
import type { PortEntry } from "../linux/bpf.ts"
import type { SegmentSpec } from "../plan/resource.ts"
import { each, type Handler } from "./handler.ts"
import { KernelError } from "../linux/errors.ts"
import type { Lab } from "./lab.ts"

/** The address of the node's side, which the program needs to hand frames over as the node's own. */
const macOf = (lab: Lab, port: string): string => {
  const resource = lab.known.get(`port/${port}`)
  return resource?.kind === "port" ? resource.spec.mac : ""
}

type Entries = ReadonlyMap<number, PortEntry>

/** The ends of a link that lead to each other. */
const joinedEnds = (lab: Lab, { ports }: SegmentSpec, entries: Entries): string[] => {
  const indexes = ports.map((port) => lab.fabricIndex(port))
  return ports.filter((name, i) => {
    const entry = indexes[i] === undefined ? undefined : entries.get(indexes[i])?.port
    return entry?.kind === "p2p" && entry.peer === indexes[1 - i] && entry.mac === macOf(lab, name)
  })
}

/** A link keeps its id when its ends change: it is as it should be now, or as it was before, or neither. */
const observeLink = (lab: Lab, spec: SegmentSpec, former: SegmentSpec | undefined, entries: Entries): SegmentSpec | undefined => {
  const ports = joinedEnds(lab, spec, entries)
  const before = former === undefined || ports.length === spec.ports.length ? [] : joinedEnds(lab, former, entries)
  if (before.length > 0) return { ...spec, ports: before }
  return ports.length > 0 ? { ...spec, ports } : undefined
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
    const former = lab.previous.get(id)
    const found =
      spec.segmentKind === "p2p"
        ? observeLink(lab, spec, former?.kind === "segment" ? former.spec : undefined, entries)
        : observeNetwork(lab, spec, entries, names)
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

const join = (lab: Lab, spec: SegmentSpec): void => {
  const { program } = lab.daemon
  const indexes = spec.ports.map((port) => fabricIndex(lab, port))
  const macs = spec.ports.map((port) => macOf(lab, port))
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
    each(steps, (step) => {
      join(lab, step.after!.spec)
      if (step.before !== undefined) leave(lab, step.before, step.after!.spec)
    }),
  remove: (lab, steps) => each(steps, (step) => leave(lab, step.before!, undefined))
}
