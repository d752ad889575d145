/**
 * VNIs of a lab beside other labs. The compiler derives them from names, so two labs can meet on one; then the later lab
 * moves. A segment that has a VNI keeps it.
 */
import type { Plan, Resource } from "./resource.ts"

const highest = 0xffffff

/** The plan with VNIs that no other lab uses. `taken`: those of other labs; `previous`: this lab's resources so far. */
export const allocateVnis = (plan: Plan, taken: ReadonlySet<number>, previous: ReadonlyArray<Resource>): Plan => {
  const kept = new Map(previous.flatMap((resource) => (resource.kind === "segment" ? [[resource.id, resource.spec.vni] as const] : [])))
  const segments = plan.resources.filter((resource) => resource.kind === "segment")
  const staying = new Set(segments.map(({ id }) => id))
  // Those of segments that go are still in use while new ones are made.
  const used = new Set([...taken, ...[...kept].filter(([id]) => !staying.has(id)).map(([, vni]) => vni)])
  const assign = new Map<string, number>()
  // Those that have one go first, so that a new segment never takes an old one's.
  for (const { id, spec } of [...segments.filter(({ id }) => kept.has(id)), ...segments.filter(({ id }) => !kept.has(id))]) {
    let vni = kept.get(id) ?? spec.vni
    while (used.has(vni)) vni = vni >= highest ? 1 : vni + 1
    used.add(vni)
    assign.set(id, vni)
  }
  const resources = plan.resources.map((resource) =>
    resource.kind === "segment" ? { ...resource, spec: { ...resource.spec, vni: assign.get(resource.id)! } } : resource
  )
  return { ...plan, resources }
}

export const vnisOf = (resources: ReadonlyArray<Resource>): ReadonlyArray<number> =>
  resources.flatMap((resource) => (resource.kind === "segment" ? [resource.spec.vni] : []))
