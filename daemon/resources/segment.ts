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

/** The ports of `spec` whose entries in the program are as `spec` wants them. */
const attached = (lab: Lab, spec: SegmentSpec, entries: ReadonlyMap<number, PortEntry>, members: ReadonlySet<number>): string[] => {
  const indexes = spec.ports.map((port) => lab.fabricIndex(port))
  return spec.ports.filter((_, i) => {
    const index = indexes[i]
    const entry = index === undefined ? undefined : entries.get(index)
    if (index === undefined || entry === undefined) return false
    if (spec.segmentKind === "network") return entry.kind === "network" && entry.segment === spec.vni && members.has(index)
    return entry.kind === "p2p" && entry.peer === indexes[1 - i]
  })
}

function* observe(lab: Lab): Generator<readonly [string, SegmentSpec]> {
  const { program } = lab.daemon
  const entries = program.ports()
  const segments = program.segments()
  for (const resource of lab.knownOf("segment")) {
    const former = lab.previous.get(resource.id)
    const { spec } = resource
    // What it was before tells what is in the program now; a port that has left shows as one too many.
    const last = former?.kind === "segment" ? former.spec : spec
    const segment = segments.get(last.vni)
    const ports = attached(lab, last, entries, new Set(segment?.ports ?? []))
    const there = last.segmentKind === "network" ? segment !== undefined : ports.length > 0
    if (there) yield [resource.id, { ...last, ports, ageingS: segment?.ageingS ?? last.ageingS }]
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
    const here = entry.kind === "network" ? entry.segment === before.vni : before.segmentKind === "p2p"
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
  if (spec.segmentKind === "p2p") {
    const [a, b] = indexes as [number, number]
    program.setPort(a, { kind: "p2p", peer: b })
    program.setPort(b, { kind: "p2p", peer: a })
    return
  }
  program.setSegment(spec.vni, indexes, { ageingS: spec.ageingS })
  for (const index of indexes) program.setPort(index, { kind: "network", segment: spec.vni })
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
