/** What an entry of a policy changes: `PolicySet` -> a function from a result to the next. */
import type { PolicySet } from "../../plan/bgp.ts"
import { parse as parseCommunity } from "../../wire/bgp/communities.ts"
import { Origin, SegmentType } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { PolicyResult } from "../rib/types.ts"
import { compileFits, without as withoutFitting } from "./community-match.ts"
import { defaultLocalPref } from "./match.ts"

export type Change = (result: PolicyResult) => PolicyResult

const max32 = 0xffff_ffff
/** RFC 4271 4.3: a segment's length is one octet. */
const longestSegment = 255

/** Undefined: nothing is changed. The same result gives the same object again as long as it is in use. */
export const compileChange = (set: PolicySet): Change | undefined => {
  const changes = [...attributeChanges(set), ...communityChanges(set)]
  const local: { -readonly [K in "nextHop" | "weight"]?: PolicyResult[K] } = {}
  if (set.weight !== undefined) local.weight = set.weight
  // An address is in the attributes already: nothing is to take its place.
  if (set.nextHop !== undefined) local.nextHop = isWord(set.nextHop) ? set.nextHop : "unchanged"
  if (changes.length === 0 && Object.keys(local).length === 0) return undefined
  const known = new WeakMap<PolicyResult, PolicyResult>()
  return (result) => {
    const before = known.get(result)
    if (before !== undefined) return before
    const attributes = changes.reduce((value, change) => change(value), result.attributes)
    const after = { ...result, ...local, attributes } as PolicyResult
    known.set(result, after)
    return after
  }
}

type AttributeChange = (attributes: PathAttributes) => PathAttributes

const isWord = (nextHop: string): nextHop is "self" | "peer" | "unchanged" => ["self", "peer", "unchanged"].includes(nextHop)

/** `100`, or with a change such as `+10` what is there, or else `usual`, so much more or less. */
const adjusted = (given: number | string, here: number | undefined, usual: number): number =>
  typeof given === "number" ? given : Math.min(max32, Math.max(0, (here ?? usual) + Number(given)))

const attributeChanges = ({ localPref, med, nextHop, origin, ...set }: PolicySet): ReadonlyArray<AttributeChange> => {
  const changes: Array<AttributeChange> = []
  if (localPref !== undefined) {
    changes.push((attributes) => ({ ...attributes, localPref: adjusted(localPref, attributes.localPref, defaultLocalPref) }))
  }
  if (med !== undefined) changes.push((attributes) => ({ ...attributes, med: adjusted(med, attributes.med, 0) }))
  if (origin !== undefined) changes.push((attributes) => ({ ...attributes, origin: Origin[origin] }))
  changes.push(...pathChanges(set).map((change): AttributeChange => (attributes) => ({ ...attributes, asPath: change(attributes.asPath) })))
  if (nextHop !== undefined && !isWord(nextHop)) {
    changes.push(({ linkLocalNextHop: _, ...attributes }) => ({ ...attributes, nextHop }))
  }
  return changes
}

/** First AS numbers leave, then others take their place, then come those in front. */
const pathChanges = ({ excludeAs, prepend = [], prependLast = 0, replaceAs }: PolicySet): ReadonlyArray<(path: AsPath) => AsPath> => {
  const changes: Array<(path: AsPath) => AsPath> = []
  if (excludeAs === "all") changes.push(() => [])
  else if (excludeAs !== undefined) changes.push((path) => without(path, new Set(excludeAs)))
  if (replaceAs !== undefined) {
    const { from, to } = replaceAs
    const isMeant = from === "all" ? () => true : (asn: number) => from.includes(asn)
    changes.push((path) => path.map(({ asns, type }) => ({ type, asns: asns.map((asn) => (isMeant(asn) ? to : asn)) })))
  }
  if (prepend.length > 0) changes.push((path) => prepended(path, prepend))
  if (prependLast > 0) {
    changes.push((path) => {
      const last = path[0]?.type === SegmentType.asSequence ? path[0].asns[0] : undefined
      return last === undefined ? path : prepended(path, new Array<number>(prependLast).fill(last))
    })
  }
  return changes
}

const without = (path: AsPath, excluded: ReadonlySet<number>): AsPath =>
  path.map(({ asns, type }) => ({ type, asns: asns.filter((asn) => !excluded.has(asn)) })).filter(({ asns }) => asns.length > 0)

/** RFC 4271 5.1.2: into the first segment if it is a sequence with room for them, else into one of their own. */
export const prepended = (path: AsPath, asns: ReadonlyArray<number>): AsPath => {
  const [first, ...rest] = path
  if (first?.type === SegmentType.asSequence && first.asns.length + asns.length <= longestSegment) {
    return [{ type: first.type, asns: [...asns, ...first.asns] }, ...rest]
  }
  return [{ type: SegmentType.asSequence, asns: [...asns] }, ...path]
}

/** Communities of the three sorts. */
interface Sorted {
  readonly standard: ReadonlyArray<number>
  readonly extended: ReadonlyArray<bigint>
  readonly large: ReadonlyArray<bigint>
}

const sorted = (texts: ReadonlyArray<string>): Sorted => {
  const values = texts.map((text) => {
    const value = parseCommunity(text)
    if (value === undefined) throw new Error(`Cannot compile a policy: "${text}" is no community`)
    return value
  })
  return {
    standard: values.flatMap((one) => (one.kind === "standard" ? [one.value] : [])),
    extended: values.flatMap((one) => (one.kind === "extended" ? [one.value] : [])),
    large: values.flatMap((one) => (one.kind === "large" ? [one.value] : []))
  }
}

const joined = <T>(here: ReadonlyArray<T>, more: ReadonlyArray<T>): ReadonlyArray<T> =>
  more.every((one) => here.includes(one)) ? here : [...new Set([...here, ...more])]

/** First what is removed goes, then sorts are replaced, then comes what is added. */
const communityChanges = ({ addCommunities, communities, removeCommunities }: PolicySet): ReadonlyArray<AttributeChange> => {
  const changes: Array<AttributeChange> = (removeCommunities ?? []).map((text) => {
    const fits = compileFits(text)
    return (attributes) => withoutFitting(fits, attributes)
  })
  if (communities !== undefined) {
    const { extended, large, standard } = sorted(communities)
    changes.push((attributes) => ({
      ...attributes,
      ...(standard.length === 0 ? {} : { communities: standard }),
      ...(extended.length === 0 ? {} : { extendedCommunities: extended }),
      ...(large.length === 0 ? {} : { largeCommunities: large })
    }))
  }
  if (addCommunities !== undefined) {
    const { extended, large, standard } = sorted(addCommunities)
    changes.push((attributes) => ({
      ...attributes,
      communities: joined(attributes.communities, standard),
      extendedCommunities: joined(attributes.extendedCommunities, extended),
      largeCommunities: joined(attributes.largeCommunities, large)
    }))
  }
  return changes
}
