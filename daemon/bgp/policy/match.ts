/** What an entry of a policy looks at, compiled to closures: cheap questions first, all must say yes. */
import type { PolicyMatch } from "../../plan/bgp.ts"
import { parse as parseExpression } from "../../wire/bgp/as-path-expression.ts"
import { asPathText } from "../../wire/bgp/as-path-text.ts"
import { type CommunityPattern, parsePattern } from "../../wire/bgp/community-text.ts"
import { Origin } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { FamilyIndex, type PolicyMeta, Source } from "../rib/types.ts"
import type { PrefixList } from "./prefix-list.ts"

export type Matcher = (attributes: PathAttributes, meta: PolicyMeta, bytes: Uint8Array, at: number, length: number) => boolean

/** RFC 4271 9.1.1 leaves the value to us where a route has none: 100, as everywhere. */
export const defaultLocalPref = 100

const sources: Readonly<Record<NonNullable<PolicyMatch["source"]>, number>> = {
  bgp: Source.peer,
  network: Source.network,
  connected: Source.connected,
  static: Source.static,
  aggregate: Source.aggregate,
  table: Source.table
}

/** Undefined: everything matches. */
export const compileMatch = (match: PolicyMatch, lists: ReadonlyMap<string, PrefixList>): Matcher | undefined => {
  const matchers: Array<Matcher> = []
  const { asPath, communities, family, localPref, med, nextHop, origin, prefixLists, source } = match
  if (family !== undefined) matchers.push((_, meta) => meta.family === FamilyIndex[family])
  if (source !== undefined) matchers.push((_, meta) => meta.source === sources[source])
  if (origin !== undefined) matchers.push((attributes) => attributes.origin === Origin[origin])
  if (med !== undefined) matchers.push((attributes) => (attributes.med ?? 0) === med)
  if (localPref !== undefined) matchers.push((attributes) => (attributes.localPref ?? defaultLocalPref) === localPref)
  if (nextHop !== undefined) {
    const addresses = new Set(nextHop)
    matchers.push(({ nextHop: here }) => here !== undefined && addresses.has(here))
  }
  if (prefixLists !== undefined) matchers.push(compileLists(prefixLists, lists))
  for (const text of communities ?? []) matchers.push(compileCommunity(text))
  if (asPath !== undefined) matchers.push(compileAsPath(asPath))
  if (matchers.length === 0) return undefined
  const [only] = matchers
  if (matchers.length === 1) return only!
  return (attributes, meta, bytes, at, length) => matchers.every((matches) => matches(attributes, meta, bytes, at, length))
}

const compileLists = (names: ReadonlyArray<string>, lists: ReadonlyMap<string, PrefixList>): Matcher => {
  const compiled = names.map((name) => {
    const list = lists.get(name)
    if (list === undefined) throw new Error(`Cannot compile a policy: there is no prefix list "${name}"`)
    return list
  })
  return (_, meta, bytes, at, length) => compiled.some((list) => list.permits(meta.family, bytes, at, length))
}

/** Is this community, or one that fits the pattern, among those of the route? */
export const compileCommunity = (text: string): Matcher => {
  const pattern = parsePattern(text)
  if (pattern === undefined) throw new Error(`Cannot compile a policy: "${text}" is no community`)
  switch (pattern.kind) {
    case "standard": {
      const fits = standardFits(pattern)
      return ({ communities }) => communities.some(fits)
    }
    case "large": {
      const fits = largeFits(pattern)
      return ({ largeCommunities }) => largeCommunities.some(fits)
    }
    case "extended": {
      const fits = extendedFits(pattern)
      return ({ extendedCommunities }) => extendedCommunities.some(fits)
    }
  }
}

type Pattern<K extends CommunityPattern["kind"]> = Extract<CommunityPattern, { readonly kind: K }>

export const standardFits = ({ high, low }: Pattern<"standard">) => (value: number): boolean =>
  (high === undefined || value >>> 16 === high) && (low === undefined || (value & 0xffff) === low)

export const largeFits = ({ parts }: Pattern<"large">) => {
  const shifts = [64n, 32n, 0n]
  return (value: bigint): boolean =>
    parts.every((part, index) => part === undefined || Number((value >> shifts[index]!) & 0xffff_ffffn) === part)
}

/** RFC 4360 2: of the type's octet the two highest bits say who may define it and whether it is transitive. */
export const extendedFits = ({ administrator, assigned, subtype, type }: Pattern<"extended">) => (value: bigint): boolean => {
  const here = Number(value >> 56n) & 0x3f
  if (here > 2 || Number((value >> 48n) & 0xffn) !== subtype) return false
  const isShort = here === 0
  const owner = Number(isShort ? (value >> 32n) & 0xffffn : (value >> 16n) & 0xffff_ffffn)
  const number = Number(isShort ? value & 0xffff_ffffn : value & 0xffffn)
  // An AS number that two octets hold may come in four.
  const isSameType = type === undefined || here === type || (type === 0 && here === 2)
  return isSameType && (administrator === undefined || owner === administrator) && (assigned === undefined || number === assigned)
}

/** Paths are kept once for all routes that have them: what an expression says of one is remembered as long as it is in use. */
const compileAsPath = (source: string): Matcher => {
  const parsed = parseExpression(source)
  if (!parsed.ok) throw new Error(`Cannot compile a policy: the AS-path expression "${source}" ${parsed.message}`)
  const known = new WeakMap<AsPath, boolean>()
  return ({ asPath }) => {
    const before = known.get(asPath)
    if (before !== undefined) return before
    const found = parsed.value.test(asPathText(asPath))
    known.set(asPath, found)
    return found
  }
}
