/** What an entry of a policy looks at, compiled to closures: cheap questions first, all must say yes. */
import type { PolicyMatch } from "../../plan/bgp.ts"
import { asPathText } from "../../wire/bgp/as-path-text.ts"
import { parse as parseExpression } from "../../wire/bgp/expression.ts"
import { Origin } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { FamilyIndex, type PolicyMeta, Source } from "../rib/types.ts"
import { compileExact, compileFits, type Fits, isThere } from "./community-match.ts"
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
  const { anyCommunity, asPath, communities, exactCommunities, family, localPref, med, nextHop, origin, prefixLists, source } = match
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
  for (const text of communities ?? []) matchers.push(compileAny([text]))
  if (anyCommunity !== undefined) matchers.push(compileAny(anyCommunity))
  if (exactCommunities !== undefined) matchers.push(compileExact(exactCommunities))
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

/** Is a community of the route's among those that one of the patterns means? */
const compileAny = (texts: ReadonlyArray<string>): Matcher => {
  const patterns: ReadonlyArray<Fits> = texts.map(compileFits)
  return (attributes) => patterns.some((fits) => isThere(fits, attributes))
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
