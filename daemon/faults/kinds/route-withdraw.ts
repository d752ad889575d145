/** `route-withdraw`: a speaker does not originate a prefix any more, wherever it came from; or none at all. */
import { Schema } from "effect"
import type { BgpSpec, BgpVrfSpec } from "../../plan/bgp.ts"
import type { Plan } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import { optional } from "../../topology/schema-parts.ts"
import { addList, addPolicy, changeFamilies, originsOf, sessionProblems, speakers, termsOf } from "../bgp.ts"
import { changeBgp, Nodes, PrefixText, prefixesOf } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  prefix: optional(PrefixText.annotate({ description: "The prefix that is withdrawn; all that the node originates unless given" }))
}).annotate({ expected: "a node, or a map with node and prefix" })
type Spec = typeof Spec.Type

const problems = ({ node, prefix }: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = sessionProblems(plan, { node })
  if (wrong.length > 0) return wrong
  const origins = originsOf(plan, speakers(plan, node))
  if (origins.length === 0) return [{ path: ["node"], message: `${quote(node)} originates nothing` }]
  if (prefix === undefined || prefixesOf(prefix).some((one) => origins.includes(one))) return []
  const list = `${origins.slice(0, 8).join(", ")}${origins.length > 8 ? ", ..." : ""}`
  return [{ path: ["prefix"], message: `${node} does not originate ${prefix}: it originates ${list}`, candidates: origins }]
}

const silent = (spec: BgpSpec): BgpSpec => ({
  ...spec,
  vrfs: spec.vrfs.map((vrf) => ({ ...vrf, networks: [], aggregates: [], redistribute: [] })),
  neighbors: spec.neighbors.map((neighbor) => changeFamilies(neighbor, ({ defaultOriginate: _, ...family }) => family))
})

/** Redistribution goes on but for these prefixes: a policy in front of its own denies them. */
const withoutPrefixes = (before: BgpSpec, prefixes: ReadonlyArray<string>): BgpSpec => {
  const isGone = ({ prefix }: { readonly prefix: string }): boolean => prefixes.includes(prefix)
  const added = addList(before, prefixes)
  let { spec } = added
  const vrfs = spec.vrfs.map((vrf): BgpVrfSpec => ({
    ...vrf,
    networks: vrf.networks.filter((one) => !isGone(one)),
    aggregates: vrf.aggregates.filter((one) => !isGone(one)),
    redistribute: vrf.redistribute.map((one) => {
      const deny = { action: "deny" as const, match: { prefixLists: [added.list] }, set: {} }
      const made = addPolicy(spec, [deny, ...termsOf(spec, one.policy)])
      spec = made.spec
      return { ...one, policy: made.name }
    })
  }))
  const neighbors = spec.neighbors.map((neighbor) =>
    changeFamilies(neighbor, ({ defaultOriginate, ...family }) => {
      const isKept = defaultOriginate !== undefined && !isGone({ prefix: family.family === "ipv4" ? "0.0.0.0/0" : "::/0" })
      return isKept ? { ...family, defaultOriginate } : family
    })
  )
  return { ...spec, vrfs, neighbors }
}

export const routeWithdraw = faultKind<Spec>({
  summary: "A speaker of BGP withdraws a prefix that it originates, or all of them",
  usage: "NODE [PREFIX]",
  words: ["node", "prefix"],
  schema: Spec,
  check: problems,
  title: ({ node, prefix }) => `${node} withdraws ${prefix ?? "all that it originates"}`,
  apply: ({ node, prefix }, plan) =>
    changeBgp(plan, nodesOf(plan, node), (spec) => (prefix === undefined ? silent(spec) : withoutPrefixes(spec, prefixesOf(prefix))))
})
