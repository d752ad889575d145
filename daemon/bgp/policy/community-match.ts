/**
 * What of a route's communities a pattern means, as closures over their numbers.
 *
 *     65000:1, 65000:1:2, rt:65000:1, no-export     that one; `*` for any number
 *     /^65000:1[0-9]$/                              those, of any sort, in whose text the expression is found
 *
 * An expression is a finite automaton (`wire/bgp/expression.ts`) over the text of one community, as views show it: at most 32
 * characters each, so what a route costs is bounded by the number of its communities.
 */
import { formatExtended, formatLarge, formatStandard } from "../../wire/bgp/communities.ts"
import { type CommunityPattern, parsePattern } from "../../wire/bgp/community-text.ts"
import { expressionIn, parseForCommunity } from "../../wire/bgp/expression.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"

/** Which communities fit, by sort; absent: none of that sort. */
export interface Fits {
  readonly standard?: (value: number) => boolean
  readonly extended?: (value: bigint) => boolean
  readonly large?: (value: bigint) => boolean
}

type Communities = Pick<PathAttributes, "communities" | "extendedCommunities" | "largeCommunities">

/** @throws Error on what the topology's checks do not let through */
export const compileFits = (text: string): Fits => {
  const source = expressionIn(text)
  if (source !== undefined) return expressionFits(source)
  const pattern = parsePattern(text)
  if (pattern === undefined) throw new Error(`Cannot compile a policy: "${text}" is no community`)
  switch (pattern.kind) {
    case "standard":
      return { standard: standardFits(pattern) }
    case "large":
      return { large: largeFits(pattern) }
    case "extended":
      return { extended: extendedFits(pattern) }
  }
}

/** Is there one that fits? */
export const isThere = ({ extended, large, standard }: Fits, route: Communities): boolean =>
  (standard !== undefined && route.communities.some(standard)) ||
  (extended !== undefined && route.extendedCommunities.some(extended)) ||
  (large !== undefined && route.largeCommunities.some(large))

/** Those that do not fit. */
export const without = <T extends Communities>({ extended, large, standard }: Fits, route: T): T => ({
  ...route,
  ...(standard === undefined ? {} : { communities: route.communities.filter((one) => !standard(one)) }),
  ...(extended === undefined ? {} : { extendedCommunities: route.extendedCommunities.filter((one) => !extended(one)) }),
  ...(large === undefined ? {} : { largeCommunities: route.largeCommunities.filter((one) => !large(one)) })
})

/**
 * Are they exactly those that the patterns mean: each pattern is fitted, and nothing else is there of the sorts that the patterns are
 * of? Without patterns: are there none at all?
 */
export const compileExact = (texts: ReadonlyArray<string>): ((route: Communities) => boolean) => {
  const all = texts.map(compileFits)
  if (all.length === 0) {
    return (route) => route.communities.length + route.extendedCommunities.length + route.largeCommunities.length === 0
  }
  const standard = all.flatMap((fits) => fits.standard ?? [])
  const extended = all.flatMap((fits) => fits.extended ?? [])
  const large = all.flatMap((fits) => fits.large ?? [])
  const hasNothingElse = <T>(tests: ReadonlyArray<(value: T) => boolean>, values: ReadonlyArray<T>): boolean =>
    tests.length === 0 || values.every((value) => tests.some((test) => test(value)))
  return (route) =>
    hasNothingElse(standard, route.communities) && hasNothingElse(extended, route.extendedCommunities) &&
    hasNothingElse(large, route.largeCommunities) && all.every((fits) => isThere(fits, route))
}

const expressionFits = (source: string): Fits => {
  const parsed = parseForCommunity(source)
  if (!parsed.ok) throw new Error(`Cannot compile a policy: the expression "${source}" ${parsed.message}`)
  const { test } = parsed.value
  return {
    standard: remembered((value) => test(formatStandard(value))),
    extended: remembered((value) => test(formatExtended(value))),
    large: remembered((value) => test(formatLarge(value)))
  }
}

const mostRemembered = 4096

/** Most communities come again and again. */
const remembered = <T>(test: (value: T) => boolean): ((value: T) => boolean) => {
  const known = new Map<T, boolean>()
  return (value) => {
    const before = known.get(value)
    if (before !== undefined) return before
    if (known.size >= mostRemembered) known.clear()
    const found = test(value)
    known.set(value, found)
    return found
  }
}

type Pattern<K extends CommunityPattern["kind"]> = Extract<CommunityPattern, { readonly kind: K }>

const standardFits = ({ high, low }: Pattern<"standard">) => (value: number): boolean =>
  (high === undefined || value >>> 16 === high) && (low === undefined || (value & 0xffff) === low)

const largeFits = ({ parts }: Pattern<"large">) => {
  const shifts = [64n, 32n, 0n]
  return (value: bigint): boolean =>
    parts.every((part, index) => part === undefined || Number((value >> shifts[index]!) & 0xffff_ffffn) === part)
}

/** RFC 4360 2: of the type's octet the two highest bits say who may define it and whether it is transitive. */
const extendedFits = ({ administrator, assigned, subtype, type }: Pattern<"extended">) => (value: bigint): boolean => {
  const here = Number(value >> 56n) & 0x3f
  if (here > 2 || Number((value >> 48n) & 0xffn) !== subtype) return false
  const isShort = here === 0
  const owner = Number(isShort ? (value >> 32n) & 0xffffn : (value >> 16n) & 0xffff_ffffn)
  const number = Number(isShort ? value & 0xffff_ffffn : value & 0xffffn)
  // An AS number that two octets hold may come in four.
  const isSameType = type === undefined || here === type || (type === 0 && here === 2)
  return isSameType && (administrator === undefined || owner === administrator) && (assigned === undefined || number === assigned)
}
