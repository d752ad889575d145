/** `bgp-med`, `bgp-prepend`: what a router tells its neighbours bears a wrong MED, or its own AS more often than it should. */
import { Schema } from "effect"
import type { BgpNeighborSpec, BgpSpec, PolicySet } from "../../plan/bgp.ts"
import type { Plan } from "../../plan/resource.ts"
import { integer, optional } from "../../topology/schema-parts.ts"
import { addList, addPolicy, changeFamilies, isMeant, Neighbor, sessionProblems, sessionTitle, termsOf, touched } from "../bgp.ts"
import { changeBgp, Nodes, PrefixText, prefixesOf } from "../edits.ts"
import { faultKind } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const target = {
  node: Nodes,
  neighbor: optional(Neighbor.annotate({ description: "Whom it tells: a node, an address or an interface; all neighbours unless given" })),
  prefix: optional(PrefixText.annotate({ description: "Only of routes to this prefix" }))
}

interface Target {
  readonly node: string
  readonly neighbor?: string
  readonly prefix?: string
}

/** The speaker with export policies that do `set` besides. */
const altered = (before: BgpSpec, { neighbor, prefix }: Target, set: PolicySet): BgpSpec => {
  const prefixes = prefix === undefined ? undefined : prefixesOf(prefix)
  const listed = prefixes === undefined ? { spec: before } : addList(before, prefixes)
  let { spec } = listed
  const only = prefixes !== undefined && "list" in listed ? { only: { prefixes, list: listed.list } } : {}
  const made = new Map<string, string>()
  /** The altered policy in place of this one, made once. */
  const instead = (policy: string | undefined): string => {
    const key = policy ?? ""
    const known = made.get(key)
    if (known !== undefined) return known
    const added = addPolicy(spec, touched(spec, termsOf(spec, policy), { set, ...only }))
    spec = added.spec
    made.set(key, added.name)
    return added.name
  }
  const neighbors = spec.neighbors.map((one): BgpNeighborSpec =>
    isMeant(one, neighbor) ? changeFamilies(one, (family) => ({ ...family, exportPolicy: instead(family.exportPolicy) })) : one
  )
  return { ...spec, neighbors }
}

const alter = (spec: Target, plan: Plan, set: (speaker: BgpSpec) => PolicySet): Plan =>
  changeBgp(plan, nodesOf(plan, spec.node), (speaker) => altered(speaker, spec, set(speaker)))

const of = ({ prefix }: Target): string => (prefix === undefined ? "every route" : prefix)

const MedSpec = Schema.Struct({ ...target, value: integer(0, 4_294_967_295, "The MED that routes bear") })
  .annotate({ expected: "a map with node and value" })
type MedSpec = typeof MedSpec.Type

export const bgpMed = faultKind<MedSpec>({
  summary: "A router tells its neighbours routes with a wrong MED",
  usage: "NODE VALUE [neighbor=NEIGHBOR] [prefix=PREFIX]",
  words: ["node", "value"],
  schema: MedSpec,
  check: (spec, plan) => sessionProblems(plan, spec),
  title: (spec) => `${sessionTitle(spec)} tells ${of(spec)} with MED ${spec.value}`,
  apply: (spec, plan) => alter(spec, plan, () => ({ med: spec.value }))
})

const PrependSpec = Schema.Struct({ ...target, times: integer(1, 50, "How often the router's own AS is put in front") })
  .annotate({ expected: "a map with node and times" })
type PrependSpec = typeof PrependSpec.Type

export const bgpPrepend = faultKind<PrependSpec>({
  summary: "A router puts its own AS in front of the paths that it tells, several times",
  usage: "NODE TIMES [neighbor=NEIGHBOR] [prefix=PREFIX]",
  words: ["node", "times"],
  schema: PrependSpec,
  check: (spec, plan) => sessionProblems(plan, spec),
  title: (spec) => `${sessionTitle(spec)} tells ${of(spec)} with its AS ${spec.times} times more`,
  apply: (spec, plan) => alter(spec, plan, ({ asn }) => ({ prepend: Array<number>(spec.times).fill(asn) }))
})
