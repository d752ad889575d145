/** Policies applied to routes: what matches, what is changed, what is denied, and that equal routes stay equal objects. */
import t from "tap"
import { describe, describePrefixList } from "../../../daemon/bgp/policy/describe.ts"
import { compilePolicies } from "../../../daemon/bgp/policy/policy.ts"
import { FamilyIndex, type PolicyResult, Source } from "../../../daemon/bgp/rib/types.ts"
import type { PolicyMatch, PolicySet, PolicySpec, PolicyTerm, PrefixListEntry } from "../../../daemon/plan/bgp.ts"
import { Origin, SegmentType } from "../../../daemon/wire/bgp/iana.ts"
import { parse as parseCommunity } from "../../../daemon/wire/bgp/communities.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import { parsePrefix } from "../../../daemon/wire/ip.ts"

const sequence = (...asns: ReadonlyArray<number>) => [{ type: SegmentType.asSequence, asns }]

const route = (fields: Partial<PathAttributes> = {}): PathAttributes => ({
  origin: Origin.igp,
  asPath: sequence(65001, 65002),
  nextHop: "192.0.2.1",
  atomicAggregate: false,
  communities: [],
  extendedCommunities: [],
  largeCommunities: [],
  clusterList: [],
  unknown: [],
  ...fields
})

const communities = (...texts: ReadonlyArray<string>): Partial<PathAttributes> => {
  const all = texts.map((text) => parseCommunity(text)!)
  return {
    communities: all.flatMap((one) => (one.kind === "standard" ? [one.value] : [])),
    extendedCommunities: all.flatMap((one) => (one.kind === "extended" ? [one.value] : [])),
    largeCommunities: all.flatMap((one) => (one.kind === "large" ? [one.value] : []))
  }
}

const permit = (match: PolicyMatch = {}, set: PolicySet = {}, more: Partial<PolicyTerm> = {}): PolicyTerm =>
  ({ action: "permit", match, set, ...more })
const deny = (match: PolicyMatch = {}): PolicyTerm => ({ action: "deny", match, set: {} })

type Lists = Readonly<Record<string, ReadonlyArray<PrefixListEntry>>>

/** Applies a policy to a route to `prefix`. */
const judge = (
  policy: PolicySpec,
  options: { readonly route?: PathAttributes; readonly prefix?: string; readonly source?: Source; readonly lists?: Lists } = {}
): PolicyResult | undefined => {
  const { prefix = "10.1.2.0/24", source = Source.peer } = options
  const compiled = compilePolicies({ policies: { policy }, prefixLists: options.lists ?? {} }).get("policy")!
  const { address, length } = parsePrefix(prefix)!
  const family = address.length === 4 ? FamilyIndex.ipv4 : FamilyIndex.ipv6
  // As the RIB keeps them: only as many octets as the length needs, with others around.
  const bytes = Uint8Array.of(0xff, ...address.subarray(0, Math.ceil(length / 8)), 0xff)
  return compiled.apply(options.route ?? route(), { family, source }, bytes, 1, length)
}

const matches = (match: PolicyMatch, options: Parameters<typeof judge>[1] = {}): boolean => judge([permit(match)], options) !== undefined

t.test("the first entry that matches decides, and none means no", async (t) => {
  t.equal(judge([]), undefined)
  t.equal(judge([deny(), permit()]), undefined)
  t.same(judge([permit({ med: 7 }), permit({}, { med: 1 }), permit({}, { med: 2 })])?.attributes.med, 1)
  t.equal(judge([permit({ med: 7 })]), undefined)
})

t.test("continue goes on with the changed route", async (t) => {
  const goesOn = { continue: true }
  t.equal(judge([permit({}, { med: 5 }, goesOn), permit({ med: 5 }, { localPref: 7 })])?.attributes.localPref, 7)
  t.equal(judge([permit({}, { med: 5 }, goesOn), deny({ med: 5 })]), undefined, "a later entry may deny")
  t.equal(judge([permit({}, { med: 5 }, goesOn), permit({ med: 6 })])?.attributes.med, 5, "nothing else matches: it is permitted")
})

t.test("prefix lists", async (t) => {
  const entry = (prefix: string, bounds: Partial<PrefixListEntry> = {}): PrefixListEntry => ({ action: "permit", prefix, ...bounds })
  const inList = (entries: ReadonlyArray<PrefixListEntry>, prefix: string): boolean =>
    matches({ prefixLists: ["list"] }, { prefix, lists: { list: entries } })
  t.ok(inList([entry("10.0.0.0/8")], "10.0.0.0/8"))
  t.notOk(inList([entry("10.0.0.0/8")], "10.0.0.0/9"), "exactly, without bounds")
  t.ok(inList([entry("10.0.0.0/8", { le: 24 })], "10.1.2.0/24"))
  t.notOk(inList([entry("10.0.0.0/8", { le: 24 })], "10.1.2.0/25"))
  t.ok(inList([entry("10.0.0.0/8", { ge: 16 })], "10.1.2.3/32"))
  t.notOk(inList([entry("10.0.0.0/8", { ge: 16 })], "10.0.0.0/15"))
  t.ok(inList([entry("10.0.0.0/8", { ge: 16, le: 16 })], "10.200.0.0/16"))
  t.ok(inList([entry("0.0.0.0/0", { le: 32 })], "0.0.0.0/0"), "any")
  t.ok(inList([entry("10.128.0.0/9", { le: 32 })], "10.129.0.0/17"), "bits within an octet")
  t.notOk(inList([entry("10.128.0.0/9", { le: 32 })], "10.1.0.0/17"))
  t.ok(inList([entry("2001:db8:8000::/33", { le: 64 })], "2001:db8:8001::/64"))
  t.notOk(inList([entry("2001:db8:8000::/33", { le: 64 })], "2001:db8:1::/64"))
  t.notOk(inList([entry("::/0", { le: 128 })], "10.0.0.0/8"), "of the other family")
  const ordered = [entry("10.1.0.0/16", { action: "deny", le: 32 }), entry("10.0.0.0/8", { le: 32 }), entry("10.1.2.0/24")]
  t.notOk(inList(ordered, "10.1.2.0/24"), "the first that fits decides, not the longest")
  t.ok(inList(ordered, "10.2.0.0/16"))
  const lists = { a: [entry("10.0.0.0/8")], b: [entry("10.1.2.0/24")] }
  t.ok(matches({ prefixLists: ["a", "b"] }, { lists }), "any of several lists")
  t.throws(() => matches({ prefixLists: ["c"] }), /no prefix list "c"/)
})

t.test("a long prefix list agrees with walking it", async (t) => {
  const list = Array.from({ length: 500 }, (_, i): PrefixListEntry => ({
    action: i % 3 === 0 ? "deny" : "permit",
    prefix: i % 2 === 0 ? `10.${i % 16}.0.0/16` : `10.${i % 16}.${(i * 7) % 256}.0/24`,
    ge: 24,
    le: 24 + (i % 5)
  }))
  const walk = (prefix: string): boolean => {
    const [base, length] = [prefix.split("/")[0]!.split(".").map(Number), Number(prefix.split("/")[1])]
    const fits = list.find(({ ge, le, prefix: own }) => {
      const [mine, mineLength] = [own.split("/")[0]!.split("."), Number(own.split("/")[1])]
      return length >= ge! && length <= le! && mine.slice(0, mineLength / 8).every((octet, i) => Number(octet) === base[i])
    })
    return fits?.action === "permit"
  }
  const prefixes = Array.from({ length: 1000 }, (_, i) => `10.${i % 20}.${(i * 13) % 256}.0/${23 + (i % 7)}`)
  const policies = compilePolicies({ policies: { p: [permit({ prefixLists: ["list"] })] }, prefixLists: { list } })
  const wrong = prefixes.filter((prefix) => {
    const { address, length } = parsePrefix(prefix)!
    const meta = { family: FamilyIndex.ipv4, source: Source.peer }
    return (policies.get("p")!.apply(route(), meta, address, 0, length) !== undefined) !== walk(prefix)
  })
  t.same(wrong, [])
})

t.test("communities of all kinds, with wildcards", async (t) => {
  const has = (pattern: string, ...there: ReadonlyArray<string>): boolean =>
    matches({ communities: [pattern] }, { route: route(communities(...there)) })
  t.ok(has("65000:1", "65000:2", "65000:1"))
  t.notOk(has("65000:1", "65000:2"))
  t.ok(has("65000:*", "65000:2"))
  t.ok(has("*:666", "1:666"))
  t.notOk(has("*:666", "1:667"))
  t.ok(has("no-export", "no-export"))
  t.ok(has("65000:1:2", "65000:1:2"))
  t.ok(has("*:1:*", "4200000000:1:9"))
  t.notOk(has("*:1:*", "4200000000:2:9"))
  t.ok(has("rt:65000:1", "rt:65000:1"))
  t.notOk(has("rt:65000:1", "soo:65000:1"))
  t.ok(has("soo:*:1", "soo:10.0.0.1:1"))
  t.ok(has("rt:70000:*", "rt:70000:5"))
  t.notOk(has("rt:65000:1", "65000:1"))
  t.notOk(matches({ communities: ["1:1", "1:2"] }, { route: route(communities("1:1")) }), "each must be there")
})

t.test("communities by expression, any of several, and exactly these", async (t) => {
  const has = (match: PolicyMatch, ...there: ReadonlyArray<string>): boolean => matches(match, { route: route(communities(...there)) })
  t.ok(has({ communities: ["/^65000:1[0-9]$/"] }, "1:1", "65000:17"))
  t.notOk(has({ communities: ["/^65000:1[0-9]$/"] }, "65000:170", "65000:17:1"))
  t.ok(has({ communities: ["/^(no-export|blackhole)$/"] }, "blackhole"), "those with names go by them")
  t.ok(has({ communities: ["/^rt:65000:/"] }, "rt:65000:9"))
  t.ok(has({ communities: ["/^0x4300/"] }, "0x4300000000000001"), "of whatever type")
  t.notOk(has({ communities: ["/^1:1.*2:2$/"] }, "1:1", "2:2"), "each community is a text of its own")
  t.ok(has({ anyCommunity: ["1:1", "2:2:2", "/^rt:/"] }, "2:2:2"))
  t.notOk(has({ anyCommunity: ["1:1", "2:2:2"] }, "1:2", "rt:1:1"))
  t.ok(has({ exactCommunities: ["1:1", "1:2"] }, "1:2", "1:1"))
  t.notOk(has({ exactCommunities: ["1:1", "1:2"] }, "1:1"), "one is missing")
  t.notOk(has({ exactCommunities: ["1:1"] }, "1:1", "1:2"), "one is too many")
  t.ok(has({ exactCommunities: ["1:1"] }, "1:1", "1:1:1", "rt:1:1"), "of other sorts there may be any")
  t.ok(has({ exactCommunities: ["1:*", "rt:1:1"] }, "1:1", "1:2", "rt:1:1"))
  t.notOk(has({ exactCommunities: ["1:*", "rt:1:1"] }, "1:1", "rt:1:1", "rt:1:2"))
  t.ok(has({ exactCommunities: [] }))
  t.notOk(has({ exactCommunities: [] }, "1:1:1"))
})

t.test("everything else that an entry may look at", async (t) => {
  t.ok(matches({ asPath: "^65001_" }))
  t.notOk(matches({ asPath: "^65002_" }))
  t.ok(matches({ asPath: "^$" }, { route: route({ asPath: [] }) }))
  t.ok(matches({ asPath: "\\{3,4\\}$" }, { route: route({ asPath: [...sequence(1), { type: SegmentType.asSet, asns: [3, 4] }] }) }))
  t.ok(matches({ nextHop: ["192.0.2.9", "192.0.2.1"] }))
  t.notOk(matches({ nextHop: ["192.0.2.9"] }))
  t.ok(matches({ med: 0 }), "no MED is 0")
  t.ok(matches({ localPref: 100 }), "no local preference is 100")
  t.ok(matches({ origin: "incomplete" }, { route: route({ origin: Origin.incomplete }) }))
  t.notOk(matches({ family: "ipv6" }))
  t.ok(matches({ family: "ipv6" }, { prefix: "2001:db8::/32" }))
  for (const [word, source] of [["bgp", Source.peer], ["network", Source.network], ["connected", Source.connected],
    ["static", Source.static], ["aggregate", Source.aggregate], ["table", Source.table]] as const) {
    t.ok(matches({ source: word }, { source }))
    t.notOk(matches({ source: word }, { source: Source.default }))
  }
  t.notOk(matches({ med: 0, localPref: 7 }), "all must match")
})

t.test("what is set", async (t) => {
  const set = (changes: PolicySet, before: Partial<PathAttributes> = {}): PathAttributes =>
    judge([permit({}, changes)], { route: route(before) })!.attributes
  t.equal(set({ localPref: 7 }).localPref, 7)
  t.equal(set({ localPref: "+10" }, { localPref: 5 }).localPref, 15)
  t.equal(set({ localPref: "-30" }).localPref, 70, "no local preference is 100")
  t.equal(set({ med: 7 }).med, 7)
  t.equal(set({ med: "+10" }, { med: 5 }).med, 15)
  t.equal(set({ med: "-10" }, { med: 5 }).med, 0)
  t.equal(set({ med: "+10" }, { med: 4294967290 }).med, 4294967295)
  t.equal(set({ med: "+10" }).med, 10)
  t.equal(set({ origin: "egp" }).origin, Origin.egp)
  t.same(set({ prepend: [1, 1, 2] }).asPath, sequence(1, 1, 2, 65001, 65002))
  t.same(set({ prepend: [1] }, { asPath: [] }).asPath, sequence(1))
  t.same(set({ prepend: [1] }, { asPath: [{ type: SegmentType.asSet, asns: [2] }] }).asPath.map(({ asns }) => asns), [[1], [2]])
  t.same(set({ prependLast: 2 }).asPath, sequence(65001, 65001, 65001, 65002))
  t.same(set({ prependLast: 2 }, { asPath: [] }).asPath, [], "there is none that could come again")
  t.same(set({ excludeAs: [65001] }).asPath, sequence(65002))
  const withSet = { asPath: [...sequence(1), { type: SegmentType.asSet, asns: [2] }] }
  t.same(set({ excludeAs: [2] }, withSet).asPath, sequence(1), "no set is empty")
  t.same(set({ excludeAs: "all", prepend: [9] }).asPath, sequence(9))
  t.same(set({ replaceAs: { from: [65002, 7], to: 9 } }).asPath, sequence(65001, 9))
  t.same(set({ replaceAs: { from: "all", to: 9 } }).asPath, sequence(9, 9))
  const long = Array.from({ length: 255 }, (_, i) => i + 1)
  t.same(set({ prepend: [9] }, { asPath: sequence(...long) }).asPath.map(({ asns }) => asns.length), [1, 255], "a segment has 255 at most")
  t.same(set({ nextHop: "192.0.2.7" }, { linkLocalNextHop: "fe80::1" }), route({ nextHop: "192.0.2.7" }))
})

t.test("communities are removed, replaced by sort and added, in this order", async (t) => {
  const texts = ["1:1", "1:2", "1:1:1", "rt:1:1"]
  const set = (changes: PolicySet) => {
    const { attributes } = judge([permit({}, changes)], { route: route(communities(...texts)) })!
    const { communities: standard, extendedCommunities, largeCommunities } = attributes
    return { communities: standard, extendedCommunities, largeCommunities }
  }
  t.same(set({ communities: ["2:2"] }), communities("2:2", "1:1:1", "rt:1:1"))
  t.same(set({ addCommunities: ["2:2", "1:1", "2:2:2"] }), communities("1:1", "1:2", "2:2", "1:1:1", "2:2:2", "rt:1:1"))
  t.same(set({ removeCommunities: ["1:*", "rt:*:*"] }), communities("1:1:1"))
  t.same(set({ removeCommunities: ["/^1:1/"] }), communities("1:2", "rt:1:1"))
  t.same(set({ removeCommunities: ["*:*:*"], addCommunities: ["3:3:3"] }), communities("1:1", "1:2", "3:3:3", "rt:1:1"))
})

t.test("weight and next hops in words are told beside the attributes", async (t) => {
  t.match(judge([permit({}, { weight: 7 })]), { weight: 7 })
  t.match(judge([permit({}, { nextHop: "self" })]), { nextHop: "self", attributes: { nextHop: "192.0.2.1" } })
  t.match(judge([permit({}, { nextHop: "192.0.2.7" })]), { nextHop: "unchanged" }, "the address stays as it is set")
})

t.test("equal attributes by the same entries stay one object", async (t) => {
  const policies = compilePolicies({
    policies: {
      plain: [permit({}, { med: 1 }, { continue: true }), permit({}, { addCommunities: ["1:1"] })],
      untouched: [permit()],
      byPrefix: [permit({ prefixLists: ["any"] }, { med: 1 })]
    },
    prefixLists: { any: [{ action: "permit", prefix: "0.0.0.0/0", le: 32 }] }
  })
  const attributes = route()
  const meta = { family: FamilyIndex.ipv4, source: Source.peer }
  const of = (name: string, octet: number) => policies.get(name)!.apply(attributes, meta, Uint8Array.of(octet), 0, 8)
  for (const name of ["plain", "byPrefix", "untouched"]) t.equal(of(name, 10), of(name, 11), name)
  t.equal(of("untouched", 10)?.attributes, attributes)
  t.same(attributes, route(), "what comes in is never changed")
  t.same(["plain", "untouched", "byPrefix"].map((name) => policies.get(name)!.usesPrefix), [false, false, true])
})

t.test("describe prints what who knows route-maps reads", async (t) => {
  const policy = [
    deny({ prefixLists: ["private", "bogons"] }),
    permit(
      { asPath: "_65000_", communities: ["65000:*"], anyCommunity: ["1:1", "/^2:/"], exactCommunities: [], family: "ipv4" },
      { localPref: 200, prepend: [1, 1], med: "+5" },
      { continue: true }
    ),
    permit({}, { communities: ["1:1"], addCommunities: ["2:2"], removeCommunities: ["*:3"], nextHop: "self", weight: 3 })
  ]
  t.same(describe("from-isp", policy), [
    "route-map from-isp deny 10",
    "  match prefix-list private or bogons",
    "route-map from-isp permit 20",
    "  match family ipv4",
    "  match as-path _65000_",
    "  match community 65000:*",
    "  match community 1:1 or /^2:/",
    "  match community none exact-match",
    "  set local-preference 200",
    "  set metric +5",
    "  set as-path prepend 1 1",
    "  continue",
    "route-map from-isp permit 30",
    "  set weight 3",
    "  set next-hop self",
    "  set community *:3 delete",
    "  set community 1:1",
    "  set community 2:2 additive"
  ])
  t.same(describePrefixList("private", [
    { action: "permit", prefix: "10.0.0.0/8", le: 24 },
    { action: "deny", prefix: "2001:db8::/32", ge: 48 }
  ]), ["ip prefix-list private seq 5 permit 10.0.0.0/8 le 24", "ipv6 prefix-list private seq 10 deny 2001:db8::/32 ge 48"])
})
