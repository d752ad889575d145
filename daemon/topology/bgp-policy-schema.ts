/** Policies and prefix lists as the file has them: each value checked, communities and AS-path expressions included. */
import { Schema } from "effect"
import * as CommunityText from "../wire/bgp/community-text.ts"
import * as Expression from "../wire/bgp/expression.ts"
import { As, FamilyWord, prefixProblem, Reference, Truth } from "./bgp-schema-parts.ts"
import { formatPrefix, parseAddress, parsePrefix, width } from "./ip.ts"
import { integer, oneOrMore, optional, text } from "./schema-parts.ts"

const communityProblem = (patterns: boolean) => (value: string): string | undefined =>
  (patterns ? CommunityText.parsePattern(value) : CommunityText.parse(value)) === undefined
    ? `expected a community such as 65000:1, 65000:1:2 (large), rt:65000:1 or no-export${patterns ? "; * stands for any number" : ""}`
    : undefined
const Community = text({ description: "a community such as 65000:1", problem: communityProblem(false) })
const CommunityPattern = text({ description: 'a community such as 65000:1 or "65000:*"', problem: communityProblem(true) })
const CommunityExpression = text({
  description: 'a community such as 65000:1 or "65000:*", or an expression such as "/^65000:1[0-9]$/"',
  problem: (value) => {
    const source = Expression.expressionIn(value)
    if (source === undefined) return communityProblem(true)(value)
    const parsed = Expression.parseForCommunity(source)
    return parsed.ok ? undefined : `the expression over communities ${parsed.message}`
  }
})
const ExactCommunities = Schema.Union([Schema.Literal("none"), oneOrMore(CommunityPattern, "a community")]).annotate({
  expected: "a community, a list of them, or none",
  description: "These are there, and no others of the same sort; none: there is none of any sort"
})

const asPathProblem = (value: string): string | undefined => {
  const parsed = Expression.parse(value)
  return parsed.ok ? undefined : `the AS-path expression ${parsed.message}`
}

const AddressText = text({
  description: "an address",
  problem: (value) => (parseAddress(value) === undefined ? "expected an IPv4 or IPv6 address" : undefined)
})

export interface ParsedListEntry {
  readonly action: "permit" | "deny"
  readonly prefix: string
  readonly ge?: number
  readonly le?: number
}

/** `10.0.0.0/8 le 24`, `deny 10.1.0.0/16`, `any`; a text: what is wrong. */
export const parseListEntry = (value: string): ReadonlyArray<ParsedListEntry> | string => {
  const words = value.trim().split(/\s+/)
  const action = words[0] === "permit" || words[0] === "deny" ? (words.shift() as "permit" | "deny") : "permit"
  if (words[0] === "any" && words.length === 1) {
    return [{ action, prefix: "0.0.0.0/0", le: 32 }, { action, prefix: "::/0", le: 128 }]
  }
  const problem = words[0] === undefined ? "there is no prefix" : prefixProblem(words[0])
  if (problem !== undefined) return problem
  const prefix = parsePrefix(words.shift()!)!
  const bounds: { ge?: number; le?: number } = {}
  while (words.length > 0) {
    const key = words.shift()!
    const number = words.shift() ?? ""
    if ((key !== "ge" && key !== "le") || bounds[key] !== undefined || !/^\d{1,3}$/.test(number)) {
      return "expected PREFIX, then le and ge with a length, such as 10.0.0.0/8 ge 16 le 24"
    }
    bounds[key] = Number(number)
  }
  const { ge = prefix.length, le = width(prefix.family) } = bounds
  if (ge < prefix.length || le < ge || le > width(prefix.family)) {
    return `lengths go from ${prefix.length} to ${width(prefix.family)}, ge not above le`
  }
  return [{ action, prefix: formatPrefix(prefix), ...bounds }]
}

const ListEntry = text({
  description: 'a prefix such as 10.0.0.0/8, "10.0.0.0/8 le 24", "deny 10.1.0.0/16 ge 24" or any',
  problem: (value) => {
    const parsed = parseListEntry(value)
    return typeof parsed === "string" ? parsed : undefined
  }
})
export const PrefixList = oneOrMore(ListEntry, 'an entry such as "10.0.0.0/8 le 24"').annotate({ identifier: "PrefixList" })

const Match = Schema.Struct({
  "prefix-list": optional(oneOrMore(Reference("a prefix list"), "the name of a prefix list", "Any of these lists permits the prefix")),
  prefix: optional(PrefixList),
  "as-path": optional(text({ description: 'an expression over the AS path such as "^65000_"', problem: asPathProblem })),
  community: optional(oneOrMore(CommunityExpression, "a community", "Each of them is there")),
  "any-community": optional(oneOrMore(CommunityExpression, "a community", "One of them is there, at least")),
  "exact-community": optional(ExactCommunities),
  "next-hop": optional(oneOrMore(AddressText, "an address", "The next hop is one of these")),
  med: optional(integer(0, 4294967295, "Exactly this")),
  "local-preference": optional(integer(0, 4294967295, "Exactly this")),
  origin: optional(Schema.Literals(["igp", "egp", "incomplete"])),
  family: optional(FamilyWord),
  source: optional(Schema.Literals(["bgp", "connected", "static", "aggregate", "network", "table"])
    .annotate({ description: "Where the route comes from" }))
})
const MatchOrAny = Schema.Union([Schema.Literal("any"), Match]).annotate({
  identifier: "BgpMatch",
  expected: '"any", or a map with prefix-list, as-path, community, ...',
  description: "All that are given must match"
})

const PrependOne = As
const Prepend = Schema.Union([
  PrependOne,
  Schema.Array(PrependOne),
  Schema.Struct({ as: As, times: integer(1, 64, "How often") }),
  Schema.Struct({ "last-as": integer(1, 64, "How often the AS that is leftmost already comes again") })
]).annotate({ expected: "an AS number, a list of them, {as, times} or {last-as}", description: "Put in front of the AS path" })

const SetNextHop = text({
  description: "an address, self, peer or unchanged",
  problem: (value) => ["self", "peer", "unchanged"].includes(value) || parseAddress(value) !== undefined
    ? undefined
    : "expected an address, self, peer or unchanged"
})

const Adjusted = (description: string) => Schema.Union([
  integer(0, 4294967295, description),
  text({
    description: 'a change such as "+10"',
    problem: (value) => (/^[+-]\d{1,10}$/.test(value) ? undefined : 'expected a number, or a change such as "+10"')
  })
]).annotate({ expected: 'a number, or a change such as "+10"' })

const AsList = Schema.Union([Schema.Literal("all"), As, Schema.Array(As)]).annotate({ expected: 'an AS number, a list of them, or "all"' })
const ReplaceAs = Schema.Union([AsList, Schema.Struct({ from: AsList, to: As })]).annotate({
  expected: 'an AS number, a list of them, "all", or {from, to}',
  description: "These AS numbers of the path become ours, or the one given"
})

const Changes = Schema.Struct({
  "local-preference": optional(Adjusted("The higher wins, 100 is usual")),
  med: optional(Adjusted("This value")),
  weight: optional(integer(0, 65535, "The higher wins, before all else; never leaves this router")),
  origin: optional(Schema.Literals(["igp", "egp", "incomplete"])),
  prepend: optional(Prepend),
  "exclude-as": optional(AsList.annotate({ description: "These AS numbers leave the path" })),
  "replace-as": optional(ReplaceAs),
  "next-hop": optional(SetNextHop),
  community: optional(oneOrMore(Community, "a community", "Instead of what is there of the same sort")),
  "add-community": optional(oneOrMore(Community, "a community")),
  "remove-community": optional(oneOrMore(CommunityExpression, 'a community, a pattern such as "65000:*" or "/^65000:1/"'))
}).annotate({ identifier: "BgpSet", expected: "a map with local-preference, med, prepend, community, ..." })

const Term = Schema.Union([
  Schema.Literals(["permit", "deny"]),
  Schema.Struct({
    permit: optional(MatchOrAny),
    deny: optional(MatchOrAny),
    set: optional(Changes),
    continue: optional(Truth("Go on with the next entry after this one"))
  })
]).annotate({ expected: "permit, deny, {permit: MATCH, set: {...}} or {deny: MATCH}" })

export const Policy = Schema.Union([Term, Schema.Array(Term)]).annotate({
  identifier: "BgpPolicy",
  expected: "a list of entries such as {permit: {prefix-list: mine}, set: {med: 10}}",
  description: "Entries in order, as of a route-map: the first that matches decides; what none matches is denied"
})

export type RawPolicy = typeof Policy.Type
export type RawTerm = typeof Term.Type
export type RawMatch = typeof Match.Type
export type RawChanges = typeof Changes.Type
