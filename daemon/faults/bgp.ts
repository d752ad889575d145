/** What faults of BGP have in common: speakers and neighbours by the words that people write, and policies made stricter or laxer. */
import type { BgpFamilySpec, BgpNeighborSpec, BgpSpec, PolicySet, PolicySpec, PolicyTerm, PrefixListEntry } from "../plan/bgp.ts"
import type { Plan } from "../plan/resource.ts"
import { quote } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import { text } from "../topology/schema-parts.ts"
import { nodesProblems } from "./edits.ts"
import type { Problem } from "./kind.ts"
import { nodesOf } from "./targets.ts"

export const Neighbor = text({
  description: "a neighbour: a node, an address or an interface",
  problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
})

/** The speakers of these nodes. */
export const speakers = (plan: Plan, word: string): ReadonlyArray<BgpSpec> => {
  const nodes = new Set(nodesOf(plan, word))
  return plan.resources.flatMap((one) => (one.kind === "bgp" && nodes.has(one.spec.node) ? [one.spec] : []))
}

export const isMeant = ({ description, name, remote }: BgpNeighborSpec, word: string | undefined): boolean =>
  word === undefined || name === word || description === word || (remote.kind === "address" && remote.address === word)

interface Session {
  readonly node: string
  readonly neighbor?: string | undefined
}

/** Nodes without a speaker, and neighbours that none of them has. */
export const sessionProblems = (plan: Plan, { neighbor, node }: Session): ReadonlyArray<Problem> => {
  const unknown = nodesProblems(plan, node)
  if (unknown.length > 0) return unknown
  const specs = speakers(plan, node)
  if (specs.length === 0) {
    const candidates = plan.resources.flatMap((one) => (one.kind === "bgp" ? [one.spec.node] : []))
    return [{ path: ["node"], message: `${quote(node)} speaks no BGP in this lab`, candidates }]
  }
  const neighbors = specs.flatMap((spec) => spec.neighbors)
  if (neighbors.some((one) => isMeant(one, neighbor))) return []
  if (neighbor === undefined) return [{ path: ["node"], message: `${quote(node)} has no BGP neighbours` }]
  const candidates = [...new Set(neighbors.flatMap(({ description, name }) => [...(description === undefined ? [] : [description]), name]))]
  const list = candidates.slice(0, 8).join(", ")
  return [{ path: ["neighbor"], message: `${node} has no BGP neighbour ${quote(neighbor)}: it has ${list}`, candidates }]
}

/** `fw towards isp` */
export const sessionTitle = ({ neighbor, node }: Session): string => (neighbor === undefined ? node : `${node} towards ${neighbor}`)

export const changeNeighbors = (
  spec: BgpSpec,
  word: string | undefined,
  edit: (neighbor: BgpNeighborSpec) => BgpNeighborSpec
): BgpSpec => ({ ...spec, neighbors: spec.neighbors.map((one) => (isMeant(one, word) ? edit(one) : one)) })

export const changeFamilies = (neighbor: BgpNeighborSpec, edit: (family: BgpFamilySpec) => BgpFamilySpec): BgpNeighborSpec => ({
  ...neighbor,
  families: neighbor.families.map(edit)
})

const everything: PolicySpec = [{ action: "permit", match: {}, set: {} }]

/** A name that no policy and no list of the speaker has. Topologies cannot make one with a space. */
const freeName = (taken: Readonly<Record<string, unknown>>, wish: string): string => {
  let name = wish
  for (let attempt = 2; Object.hasOwn(taken, name); attempt++) name = `${wish} ${attempt}`
  return name
}

/** With a list that permits exactly these prefixes; the name that it got. */
export const addList = (spec: BgpSpec, prefixes: ReadonlyArray<string>): { readonly spec: BgpSpec; readonly list: string } => {
  const list = freeName(spec.prefixLists, "fault list")
  const entries = prefixes.map((prefix): PrefixListEntry => ({ action: "permit", prefix }))
  return { spec: { ...spec, prefixLists: { ...spec.prefixLists, [list]: entries } }, list }
}

/** With this policy; the name that it got. */
export const addPolicy = (spec: BgpSpec, policy: PolicySpec): { readonly spec: BgpSpec; readonly name: string } => {
  const name = freeName(spec.policies, "fault policy")
  return { spec: { ...spec, policies: { ...spec.policies, [name]: policy } }, name }
}

/** The entries of a policy by name; of none, everything passes. */
export const termsOf = (spec: BgpSpec, name: string | undefined): PolicySpec =>
  name === undefined ? everything : spec.policies[name] ?? []

/** `a` after `b` has been done: prepends add up, for all else `a` counts. */
const both = (a: PolicySet, b: PolicySet): PolicySet => ({
  ...b,
  ...a,
  ...(a.prepend === undefined && b.prepend === undefined ? {} : { prepend: [...(a.prepend ?? []), ...(b.prepend ?? [])] })
})

export interface Touch {
  readonly set: PolicySet
  /** Only routes to these, and the list that permits them. */
  readonly only?: { readonly prefixes: ReadonlyArray<string>; readonly list: string }
}

/**
 * A policy that does `set` besides to what it lets through. An entry that goes on with the next is left as it is: the one that
 * decides does it.
 */
export const touched = (spec: BgpSpec, policy: PolicySpec, { only, set }: Touch): PolicySpec =>
  policy.flatMap((term): ReadonlyArray<PolicyTerm> => {
    if (term.action === "deny" || term.continue === true) return [term]
    const also = { ...term, set: both(set, term.set) }
    if (only === undefined) return [also]
    const { prefixLists } = term.match
    const isIn = (prefix: string) => (list: string): boolean => permits(spec.prefixLists[list] ?? [], prefix)
    const concerned = prefixLists === undefined || only.prefixes.some((prefix) => prefixLists.some(isIn(prefix)))
    return concerned ? [{ ...also, match: { ...term.match, prefixLists: [only.list] } }, term] : [term]
  })

/** What a prefix list says of one prefix: the first entry that fits decides. */
const permits = (entries: ReadonlyArray<PrefixListEntry>, text: string): boolean => {
  const prefix = Ip.parsePrefix(text)!
  const fits = ({ ge, le, prefix: of }: PrefixListEntry): boolean => {
    const outer = Ip.parsePrefix(of)!
    const longest = le ?? (ge === undefined ? outer.length : Ip.width(outer.family))
    return prefix.length >= (ge ?? outer.length) && prefix.length <= longest && Ip.contains(outer, prefix)
  }
  return entries.find(fits)?.action === "permit"
}

/** What these speakers originate, for suggestions: networks, aggregates, and what they redistribute. */
export const originsOf = (plan: Plan, specs: ReadonlyArray<BgpSpec>): ReadonlyArray<string> => {
  const origins = specs.flatMap((spec) => [
    ...spec.vrfs.flatMap(({ aggregates, networks }) => [...networks, ...aggregates].map(({ prefix }) => prefix)),
    ...redistributed(plan, spec),
    ...spec.neighbors.flatMap(({ families }) =>
      families.flatMap(({ defaultOriginate, family }) => (defaultOriginate === true ? [family === "ipv4" ? "0.0.0.0/0" : "::/0"] : []))
    )
  ])
  return [...new Set(origins)]
}

const redistributed = (plan: Plan, { node, vrfs }: BgpSpec): ReadonlyArray<string> => {
  const sources = new Set(vrfs.flatMap(({ redistribute }) => redistribute.map(({ source }) => source)))
  return plan.resources.flatMap((one): ReadonlyArray<string> => {
    if (one.kind === "address" && sources.has("connected") && one.spec.node === node) {
      return [Ip.formatPrefix(Ip.network(Ip.parsePrefix(one.spec.address)!))]
    }
    return one.kind === "route" && sources.has("static") && one.spec.node === node ? [one.spec.to] : []
  })
}
