/**
 * What must be done to turn what is observed into what is desired: `(desired, observed) -> Step[]`. Pure.
 *
 * Steps come in the order in which they are applied: first everything that is made or changed, in the order of kinds,
 * then removals in reverse. Make before break: a route whose metric changes is there twice for a moment and never absent.
 */
import type { BgpSpec } from "./bgp.ts"
import { summaryOf } from "./bgp-text.ts"
import { kindOrder, rank } from "./order.ts"
import type { Kind, Plan, Resource, ResourceOf, SpecByKind } from "./resource.ts"

export type Action = "create" | "update" | "replace" | "remove"

export interface AttributeChange {
  /** `mtu`, `sysctls.net.ipv4.ip_forward` */
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

export interface StepOf<K extends Kind> {
  readonly action: Action
  readonly id: string
  readonly kind: K
  /** Empty for what belongs to no node. */
  readonly node: string
  /** What is there now; absent for `create`. */
  readonly before?: SpecByKind[K]
  /** What is wanted; absent for `remove`. */
  readonly after?: ResourceOf<K>
  readonly attributes: ReadonlyArray<AttributeChange>
  readonly reason: string
  /** The kernel removes it together with its node or interface: nothing to do for it. */
  readonly implied: boolean
}

export type Step = { readonly [K in Kind]: StepOf<K> }[Kind]

export type ObservedOf<K extends Kind> = { readonly kind: K; readonly spec: SpecByKind[K] }
export type Observed = ReadonlyMap<string, { readonly [K in Kind]: ObservedOf<K> }[Kind]>

/** Attributes that the kernel lets us change on the living object; any other difference means making it anew. */
const inPlace: { readonly [K in Kind]: ReadonlyArray<keyof SpecByKind[K]> } = {
  node: ["nodeKind", "sysctls", "paused", "loopback"],
  port: ["mac", "mtu", "state", "carrier"],
  segment: ["segmentKind", "name", "vni", "ports", "ageingS", "endpoints", "profiles", "gates", "tunnel"],
  address: [],
  bfd: ["minTxMs", "minRxMs", "multiplier", "state"],
  nexthop: ["members"],
  route: ["type", "via", "nexthop", "byHand"],
  rule: [],
  nat: ["masquerade", "oneToOne", "portForward", "mssClamp"],
  filter: ["input", "forward", "output", "stateful", "connections", "overrides", "rules", "state", "byHand"],
  bgp: [
    "asn", "routerId", "clusterId", "vrfs", "neighbors", "policies", "prefixLists",
    "multipath", "alwaysCompareMed", "missingMedIsWorst", "ignoreAsPath", "compareRouterId", "gracefulShutdown",
    "updateDelayS", "state"
  ],
  "hosts-file": ["entries"],
  resolver: ["servers", "search"],
  container: ["cpu", "memory", "waitFor", "state"],
  publish: ["port", "targets"],
  exec: ["argv"]
}

const equal = (a: unknown, b: unknown): boolean => {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const left = Object.entries(a).filter(([, value]) => value !== undefined)
  const right = b as Record<string, unknown>
  if (left.length !== Object.values(right).filter((value) => value !== undefined).length) return false
  return left.every(([key, value]) => equal(value, right[key]))
}

/** Attributes whose parts are attributes of their own. */
const deep = new Set(["sysctls", "profiles", "gates", "tunnel", "env", "files", "policies", "prefixLists", "multipath"])

/** Lists whose members have a name, so that a changed one shows by it: `neighbors.10.0.0.1.shutdown`. */
const named = new Set(["neighbors", "vrfs"])
const byName = (list: unknown): unknown =>
  Array.isArray(list) ? Object.fromEntries((list as ReadonlyArray<{ readonly name: string }>).map((one) => [one.name, one])) : list

/** Spec as flat attributes: `sysctls` and the like give one for each value in them. */
const flatten = (spec: object): ReadonlyMap<string, unknown> => {
  const flat = new Map<string, unknown>()
  const add = (path: string, value: unknown): void => {
    if (value === undefined) return
    if (typeof value !== "object" || value === null || Array.isArray(value)) flat.set(path, value)
    else for (const [key, inner] of Object.entries(value)) add(`${path}.${key}`, inner)
  }
  for (const [key, value] of Object.entries(spec)) {
    if (deep.has(key)) add(key, value)
    else if (named.has(key)) add(key, byName(value))
    else if (value !== undefined && key !== "node") flat.set(key, value)
  }
  return flat
}

const attributeChanges = (before: object | undefined, after: object | undefined): AttributeChange[] => {
  const old = before === undefined ? new Map<string, unknown>() : flatten(before)
  const now = after === undefined ? new Map<string, unknown>() : flatten(after)
  const changes: AttributeChange[] = []
  for (const path of new Set([...old.keys(), ...now.keys()])) {
    if (equal(old.get(path), now.get(path))) continue
    changes.push({
      path,
      ...(old.has(path) ? { before: old.get(path) } : {}),
      ...(now.has(path) ? { after: now.get(path) } : {})
    })
  }
  return changes
}

/** What is shown of something that is made or removed as a whole. */
const wholeOf = (kind: Kind, spec: object): object => (kind === "bgp" ? summaryOf(spec as BgpSpec) : spec)

/** The order of ports in a segment means nothing to the kernel. */
const comparable = (spec: object): object => ("ports" in spec ? { ...spec, ports: [...(spec.ports as string[])].sort() } : spec)

const nodeOf = (spec: object): string => ("node" in spec ? (spec.node as string) : "")

/** Several kinds share this code and each keeps its own types: the cast says that kind, spec and resource agree. */
const step = (fields: Omit<StepOf<Kind>, "implied"> & { implied?: boolean }): Step => ({ implied: false, ...fields }) as unknown as Step

const compare = (resource: Resource, observed: { kind: Kind; spec: object } | undefined): Step | undefined => {
  const { id, kind, spec } = resource
  const node = nodeOf(spec)
  if (observed === undefined) {
    const attributes = attributeChanges(undefined, wholeOf(kind, spec))
    return step({ action: "create", id, kind, node, after: resource, attributes, reason: "does not exist yet" })
  }
  const attributes = attributeChanges(comparable(observed.spec), comparable(spec))
  if (attributes.length === 0) return undefined
  const names = [...new Set(attributes.map((change) => change.path.split(".")[0]!))]
  const changeable: ReadonlyArray<string> = inPlace[kind]
  const fixed = names.filter((name) => !changeable.includes(name))
  const before = observed.spec as SpecByKind[Kind]
  if (fixed.length === 0) {
    const reason = kind === "exec" ? "the command changed: runs again" : `${names.join(", ")} can be changed in place`
    return step({ action: "update", id, kind, node, before, after: resource, attributes, reason })
  }
  const reason = `${fixed.join(", ")} cannot be changed in place`
  return step({ action: "replace", id, kind, node, before, after: resource, attributes, reason })
}

/** What goes with a resource that is made anew: everything that depends on it, but commands only with their node. */
const dependentsOfReplaced = (plan: Plan, steps: ReadonlyArray<Step>): Map<string, string> => {
  const because = new Map(steps.filter((one) => one.action === "replace").map((one) => [one.id, one.id]))
  const direct = new Set(because.keys())
  if (because.size === 0) return because
  for (const resource of inOrder(plan.resources)) {
    if (because.has(resource.id)) continue
    const cause = resource.dependsOn.find((id) => because.has(id))
    if (cause === undefined) continue
    if (isBoundToNode(resource) && !direct.has(`node/${nodeOf(resource.spec)}`)) {
      // A container keeps running while its interfaces are made anew; its commands have to run again in a new one.
      if (resource.kind !== "exec" || !direct.has(`container/${nodeOf(resource.spec)}`)) continue
    }
    because.set(resource.id, because.get(cause)!)
  }
  for (const id of direct) because.delete(id)
  return because
}

const isBoundToNode = ({ kind }: Resource): boolean => kind === "exec" || kind === "container" || kind === "publish" || kind === "bgp"

const inOrder = <A extends { readonly kind: Kind }>(things: ReadonlyArray<A>): ReadonlyArray<A> => {
  const byKind = new Map<Kind, A[]>(kindOrder.map((kind) => [kind, []]))
  for (const thing of things) byKind.get(thing.kind)!.push(thing)
  return [...byKind.values()].flat()
}

/** Kinds that the end of a node's namespace does not end: part of them is elsewhere, or runs in weftd. */
const outlives: ReadonlySet<Kind> = new Set<Kind>(["port", "bfd", "bgp", "container", "publish"])

/** True when the kernel drops it by itself because its node or its interface goes. */
const goesWithOwner = (kind: Kind, spec: object, removed: ReadonlySet<string>): boolean => {
  const node = nodeOf(spec)
  if (kind === "node" || kind === "segment" || kind === "hosts-file") return false
  if (removed.has(`node/${node}`)) return !outlives.has(kind)
  return kind === "address" && removed.has(`port/${node}:${(spec as { ifname: string }).ifname}`)
}

const removals = (desired: ReadonlyMap<string, Resource>, observed: Observed): Step[] => {
  const extra = [...observed].filter(([id]) => !desired.has(id))
  const removed = new Set(extra.map(([id]) => id))
  return extra
    .sort(([, a], [, b]) => rank(b.kind) - rank(a.kind))
    .map(([id, { kind, spec }]) =>
      step({
        action: "remove",
        id,
        kind,
        node: nodeOf(spec),
        before: spec,
        attributes: attributeChanges(wholeOf(kind, spec), undefined),
        reason: "not in the topology",
        implied: goesWithOwner(kind, spec, removed)
      })
    )
}

/** The steps from `observed` to `plan`; none when they agree. */
export const diff = (plan: Plan, observed: Observed): ReadonlyArray<Step> => {
  const desired = new Map(plan.resources.map((resource) => [resource.id, resource]))
  const steps = inOrder(plan.resources)
    .map((resource) => compare(resource, observed.get(resource.id)))
    .filter((one) => one !== undefined)
  const along = dependentsOfReplaced(plan, steps)
  const changed = new Set(steps.map((one) => one.id))
  for (const [id, cause] of along) {
    if (changed.has(id)) continue
    const resource = desired.get(id)!
    const reason = `goes with ${cause}, which is made anew`
    steps.push(step({ action: "create", id, kind: resource.kind, node: nodeOf(resource.spec), after: resource, attributes: [], reason }))
  }
  return [...(along.size === 0 ? steps : inOrder(steps)), ...removals(desired, observed)]
}
