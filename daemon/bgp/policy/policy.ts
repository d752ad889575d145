/**
 * Policies: what a route must be like and what is changed of it, as a router's route-maps. Pure.
 *
 *     PolicySpec --compilePolicies, once--> CompiledPolicy.apply(attributes, meta, prefix) -> attributes, or denied
 *
 *     prefix-list.ts  which prefixes
 *     match.ts        what else an entry looks at
 *     community-match.ts  which communities a pattern means
 *     change.ts       what it changes
 *     describe.ts     all of it as text for people
 *
 * Entries are asked in order. The first that matches decides: it denies, or it permits what its `set` makes of the route.
 * With `continue` the next entries are asked, too, about the changed route; if none of them matches, the route is permitted as
 * it is by then. What no entry matches is denied.
 *
 * The RIB keeps equal attributes once. So does this: the same attributes by the same entries give the same object, and an
 * AS-path expression sees each path once. A policy that looks at no prefix says so, and the RIB asks it once for each set of
 * attributes.
 */
import type { BgpSpec, PolicySpec } from "../../plan/bgp.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { PolicyResult, RibPolicy } from "../rib/types.ts"
import { type Change, compileChange } from "./change.ts"
import { compileMatch, type Matcher } from "./match.ts"
import { PrefixList } from "./prefix-list.ts"

export interface CompiledPolicy extends RibPolicy {
  readonly name: string
}

interface Entry {
  readonly permits: boolean
  /** Undefined: matches everything. */
  readonly matches: Matcher | undefined
  readonly change: Change | undefined
  readonly goesOn: boolean
}

/**
 * All policies of a speaker by name, ready to apply.
 *
 * @throws Error on what the topology's checks do not let through: an unknown prefix list, a malformed community or expression
 */
export const compilePolicies = (spec: Pick<BgpSpec, "policies" | "prefixLists">): ReadonlyMap<string, CompiledPolicy> => {
  const lists = new Map(Object.entries(spec.prefixLists).map(([name, entries]) => [name, new PrefixList(entries)]))
  return new Map(Object.entries(spec.policies).map(([name, policy]) => [name, compilePolicy(name, policy, lists)]))
}

const compilePolicy = (name: string, policy: PolicySpec, lists: ReadonlyMap<string, PrefixList>): CompiledPolicy => {
  const entries = policy.map(({ action, continue: goesOn = false, match, set }): Entry => ({
    permits: action === "permit",
    matches: compileMatch(match, lists),
    change: compileChange(set),
    goesOn
  }))
  const untouched = new WeakMap<PathAttributes, PolicyResult>()
  const begin = (attributes: PathAttributes): PolicyResult => {
    const known = untouched.get(attributes)
    if (known !== undefined) return known
    const result = { attributes }
    untouched.set(attributes, result)
    return result
  }
  const apply: RibPolicy["apply"] = (attributes, meta, bytes, at, length) => {
    let result: PolicyResult | undefined
    for (const entry of entries) {
      const here = result?.attributes ?? attributes
      if (entry.matches !== undefined && !entry.matches(here, meta, bytes, at, length)) continue
      if (!entry.permits) return undefined
      result ??= begin(attributes)
      if (entry.change !== undefined) result = entry.change(result)
      if (!entry.goesOn) return result
    }
    return result
  }
  return { name, usesPrefix: policy.some(({ match }) => match.prefixLists !== undefined), apply }
}
