/** Small changes of plans that many faults are made of. `(plan, ...) -> plan`, pure; what is not there is passed over. */
import { Schema } from "effect"
import type { BgpSpec } from "../plan/bgp.ts"
import { type FilterRule, type FilterSpec, openFilter } from "../plan/filter.ts"
import type { Kind, Plan, Resource, ResourceOf, SpecByKind } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { quote } from "../topology/diagnostic.ts"
import { network, parsePrefix, formatPrefix } from "../topology/ip.ts"
import { text } from "../topology/schema-parts.ts"
import type { Problem } from "./kind.ts"
import { nodesOf, nodeWords } from "./targets.ts"

/** A node, or several: what every fault of nodes takes. */
export const Nodes = text({
  description: "a node, group:G, label:L=V or host:H",
  problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
})

export const nodesProblems = (plan: Plan, word: string): ReadonlyArray<Problem> =>
  nodesOf(plan, word).length > 0
    ? []
    : [{ path: ["node"], message: `the lab has no node ${quote(word)}`, candidates: nodeWords(plan) }]

/** The resource of this kind and id, if the plan has it. */
export const resourceOf = <K extends Kind>(plan: Plan, kind: K, resource: string): ResourceOf<K> | undefined =>
  plan.resources.find((one) => one.kind === kind && one.id === resource) as ResourceOf<K> | undefined

/** With the specs of this kind changed, where `edit` gives another; `undefined`: the resource goes. */
export const change = <K extends Kind>(
  plan: Plan,
  kind: K,
  edit: (spec: SpecByKind[K], resource: ResourceOf<K>) => SpecByKind[K] | undefined
): Plan => {
  const gone = new Set<string>()
  const resources = plan.resources.flatMap((resource): ReadonlyArray<Resource> => {
    if (resource.kind !== kind) return [resource]
    const spec = edit(resource.spec as SpecByKind[K], resource as unknown as ResourceOf<K>)
    if (spec === resource.spec) return [resource]
    if (spec !== undefined) return [{ ...resource, spec } as Resource]
    gone.add(resource.id)
    return []
  })
  return { ...plan, resources: forgetting(resources, gone) }
}

/** Nothing depends on what is gone. */
const forgetting = (resources: ReadonlyArray<Resource>, gone: ReadonlySet<string>): ReadonlyArray<Resource> =>
  gone.size === 0
    ? resources
    : resources.map((one) =>
      one.dependsOn.some((needed) => gone.has(needed)) ? { ...one, dependsOn: one.dependsOn.filter((needed) => !gone.has(needed)) } : one
    )

/** The resource of this id is as `resource` says, whether or not there was one. Only where its node is there. */
export const put = <K extends Kind>(plan: Plan, resource: ResourceOf<K>): Plan => {
  const { node } = resource.spec as unknown as { readonly node: string }
  if (!plan.resources.some((one) => one.id === id.node(node))) return plan
  const at = plan.resources.findIndex((one) => one.id === resource.id)
  if (at < 0) return { ...plan, resources: [...plan.resources, resource as unknown as Resource] }
  return { ...plan, resources: plan.resources.with(at, { ...plan.resources[at], ...resource } as unknown as Resource) }
}

/** A node's filter changed; one that lets everything pass where it has none. */
export const changeFilter = (plan: Plan, node: string, edit: (spec: FilterSpec) => FilterSpec): Plan => {
  const before = resourceOf(plan, "filter", id.filter(node))
  const spec = edit(before?.spec ?? openFilter(node))
  return put(plan, { ...before, kind: "filter", id: id.filter(node), spec, dependsOn: before?.dependsOn ?? [id.node(node)] })
}

/** Rules before all others of the nodes; those of the fault that came last are the first. */
export const override = (plan: Plan, nodes: ReadonlyArray<string>, rules: ReadonlyArray<FilterRule>): Plan =>
  nodes.reduce((so, node) => changeFilter(so, node, (spec) => ({ ...spec, overrides: [...rules, ...spec.overrides] })), plan)

export const changeBgp = (plan: Plan, nodes: ReadonlyArray<string>, edit: (spec: BgpSpec) => BgpSpec): Plan =>
  change(plan, "bgp", (spec) => (nodes.includes(spec.node) ? edit(spec) : spec))

/** A text, or its words as a command line has them. */
export const line = (description: string, problem: (value: string) => string | undefined) =>
  Schema.Union([
    text({ description, problem }),
    Schema.Array(Schema.String).check(Schema.makeFilter((words: ReadonlyArray<string>) => problem(words.join(" "))))
  ]).annotate({ expected: description })

export const joined = (value: string | ReadonlyArray<string>): string => (typeof value === "string" ? value : value.join(" "))

const problemOfPrefix = (value: string): string | undefined => {
  if (value === "default") return undefined
  const prefix = parsePrefix(value)
  if (prefix === undefined) return `expected a prefix such as 10.0.0.0/24, or default`
  const whole = network(prefix)
  return whole.bits === prefix.bits ? undefined : `host bits are set: the prefix of this length is ${formatPrefix(whole)}`
}

export const PrefixText = text({ description: "a prefix such as 10.0.0.0/24, or default", problem: problemOfPrefix })

/** Canonical; `default` is one for each family. */
export const prefixesOf = (word: string): ReadonlyArray<string> =>
  word === "default" ? ["0.0.0.0/0", "::/0"] : [formatPrefix(parsePrefix(word)!)]
