/**
 * Route targets (RFC 4360 4): which tables take a route. A table's routes bear its export targets as extended communities, put on when
 * they enter the table and before a policy sees them; another table takes those that bear one of its import targets.
 */
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"

const routeTarget = 2n

/** Of any of the three types; other bits of the type say who assigns it and whether it is transitive. */
export const isRouteTarget = (community: bigint): boolean =>
  ((community >> 48n) & 0xffn) === routeTarget && ((community >> 56n) & 0x3fn) <= 2n

/** With these targets in place of others; the same object where that is what it bears, or where there are none. */
export const withTargets = (attributes: PathAttributes, targets: ReadonlyArray<bigint>): PathAttributes => {
  if (targets.length === 0) return attributes
  const borne = attributes.extendedCommunities.filter(isRouteTarget)
  if (borne.length === targets.length && borne.every((target, i) => target === targets[i])) return attributes
  const others = attributes.extendedCommunities.filter((community) => !isRouteTarget(community))
  return { ...attributes, extendedCommunities: [...others, ...targets] }
}

export const bearsOneOf = ({ extendedCommunities }: PathAttributes, targets: ReadonlySet<bigint>): boolean =>
  extendedCommunities.some((community) => targets.has(community))
