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
  return spec.ports.filter((name, i) => {
    const index = indexes[i]
    const port = index === undefined ? undefined : entries.get(index)?.port
    if (index === undefined || port === undefined || port.mac !== macOf(lab, name)) return false
    if (port.kind === "network") return spec.segmentKind === "network" && port.segment === spec.vni && members.has(index)
    return spec.segmentKind === "p2p" && port.peer === indexes[1 - i]
  })
}

/** The address of the node's side, which the program needs to hand frames over as the node's own. */
const macOf = (lab: Lab, port: string): string => {
  const resource = lab.known.get(`port/${port}`)
  return resource?.kind === "port" ? resource.spec.mac : ""
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
