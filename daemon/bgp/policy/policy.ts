/**
 * Policies: what a route must be like and what is changed of it, as a router's route-maps. Pure.
 *
 *     PolicySpec -> compilePolicies (once) -> RibPolicy: (attributes, meta, prefix) -> attributes | denied
 *
 * Signatures first; the bodies follow.
 */
import type { BgpSpec, PolicySpec } from "../../plan/bgp.ts"
import type { RibPolicy } from "../rib/types.ts"

export interface CompiledPolicy extends RibPolicy {
  readonly name: string
}

/** All policies of a speaker by name, ready to apply. Throws on a name that `spec` lacks: the compiler has checked them. */
export const compilePolicies = (_spec: Pick<BgpSpec, "policies" | "prefixLists">): ReadonlyMap<string, CompiledPolicy> => {
  throw new Error("not written yet")
}

/** As text that who knows route-maps reads: one line for each entry, match and set. */
export const describe = (_name: string, _policy: PolicySpec): ReadonlyArray<string> => {
  throw new Error("not written yet")
}
