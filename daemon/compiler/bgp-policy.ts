/**
 * Policies and prefix lists of one speaker: those that something uses, with every name looked up.
 */
import type { Family, PolicyMatch, PolicySet, PolicySpec, PolicyTerm, PrefixListEntry } from "../plan/bgp.ts"
import { parseListEntry, type RawChanges, type RawMatch } from "../topology/bgp-policy-schema.ts"
import { parseAs } from "../topology/bgp-schema-parts.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { Bgp } from "../topology/model.ts"

const asList = <T>(value: T | ReadonlyArray<T> | undefined): ReadonlyArray<T> =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T]

/** Collects what neighbours and networks of one speaker refer to. */
export class Policies {
  readonly policies: Record<string, PolicySpec> = {}
  readonly prefixLists: Record<string, ReadonlyArray<PrefixListEntry>> = {}
  private readonly bgp: Bgp
  private readonly node: string
  private readonly reporter: Reporter

  constructor(node: string, bgp: Bgp, reporter: Reporter) {
    this.node = node
    this.bgp = bgp
    this.reporter = reporter
  }

  /** Notes that the policy is used for routes of these families; complains if there is none of that name. */
  use(name: string, path: Path, families: ReadonlyArray<Family>): void {
    const { policies } = this.bgp
    const found = policies.get(name)
    if (found === undefined) {
      const list = policies.size === 0 ? "none" : [...policies.keys()].slice(0, 8).join(", ")
      const message = `there is no policy ${quote(name)}: ${this.node} has ${list}`
      return this.reporter.error(path, message, { meant: { word: name, among: policies.keys() } })
    }
    this.policies[name] ??= this.compile(name)
    for (const [index, term] of this.policies[name].entries()) this.refuseNextHop(term, found.value[index]!.path, families)
  }

  /** An address as next hop must be of the family, except IPv6 for IPv4 (RFC 8950). */
  private refuseNextHop({ match, set }: PolicyTerm, path: Path, families: ReadonlyArray<Family>): void {
    const address = set.nextHop === undefined ? undefined : Ip.parseAddress(set.nextHop)
    if (address?.family !== "ipv4") return
    const wrong = match.family === undefined ? families.every((family) => family === "ipv6") : match.family === "ipv6"
    if (wrong) this.reporter.error([...path, "set", "next-hop"], `an IPv6 route cannot have the IPv4 next hop ${set.nextHop}`)
  }

  private compile(name: string): PolicySpec {
    return this.bgp.policies.get(name)!.value.map(({ value, path }, index): PolicyTerm => {
      if (typeof value === "string") return { action: value, match: {}, set: {} }
      const action = value.deny === undefined ? "permit" : "deny"
      const raw = value.permit ?? value.deny ?? "any"
      const match = raw === "any" ? {} : this.match(raw, [...path, action], `${name}#${index + 1}`)
      return { action, match, set: changes(value.set ?? {}, this.bgp.as.value), ...(value.continue === true ? { continue: true } : {}) }
    })
  }

  private match(raw: RawMatch, path: Path, inline: string): PolicyMatch {
    const lists = asList(raw["prefix-list"])
    for (const list of lists) this.useList(list, [...path, "prefix-list"])
    if (raw.prefix !== undefined) this.prefixLists[inline] = entries(asList(raw.prefix))
    const all = raw.prefix === undefined ? lists : [...lists, inline]
    const exact = raw["exact-community"]
    return {
      ...(all.length === 0 ? {} : { prefixLists: all }),
      ...(raw["as-path"] === undefined ? {} : { asPath: raw["as-path"] }),
      ...(raw.community === undefined ? {} : { communities: asList(raw.community) }),
      ...(raw["any-community"] === undefined ? {} : { anyCommunity: asList(raw["any-community"]) }),
      ...(exact === undefined ? {} : { exactCommunities: exact === "none" ? [] : asList(exact) }),
      ...(raw["next-hop"] === undefined ? {} : { nextHop: asList(raw["next-hop"]).map(canonical) }),
      ...(raw.med === undefined ? {} : { med: raw.med }),
      ...(raw["local-preference"] === undefined ? {} : { localPref: raw["local-preference"] }),
      ...(raw.origin === undefined ? {} : { origin: raw.origin }),
      ...(raw.family === undefined ? {} : { family: raw.family }),
      ...(raw.source === undefined ? {} : { source: raw.source })
    }
  }

  private useList(name: string, path: Path): void {
    const { prefixLists } = this.bgp
    const found = prefixLists.get(name)
    if (found !== undefined) {
      this.prefixLists[name] ??= entries(found.value)
      return
    }
    const list = prefixLists.size === 0 ? "none" : [...prefixLists.keys()].slice(0, 8).join(", ")
    const message = `there is no prefix list ${quote(name)}: ${this.node} has ${list}`
    this.reporter.error(path, message, { meant: { word: name, among: prefixLists.keys() } })
  }
}

const canonical = (text: string): string => Ip.formatAddress(Ip.parseAddress(text)!)

const entries = (texts: ReadonlyArray<string>): ReadonlyArray<PrefixListEntry> =>
  texts.flatMap((text) => {
    const parsed = parseListEntry(text)
    return typeof parsed === "string" ? [] : parsed
  })

/** `asn`: the speaker's own. */
const changes = (raw: RawChanges, asn: number): PolicySet => {
  const { origin, med, weight, prepend } = raw
  const nextHop = raw["next-hop"]
  const excluded = raw["exclude-as"]
  const replaced = raw["replace-as"]
  return {
    ...(raw["local-preference"] === undefined ? {} : { localPref: raw["local-preference"] }),
    ...(med === undefined ? {} : { med }),
    ...(weight === undefined ? {} : { weight }),
    ...(origin === undefined ? {} : { origin }),
    ...(prepend === undefined ? {} : prepended(prepend)),
    ...(excluded === undefined ? {} : { excludeAs: asNumbers(excluded) }),
    ...(replaced === undefined ? {} : { replaceAs: replacement(replaced, asn) }),
    ...(nextHop === undefined ? {} : { nextHop: Ip.parseAddress(nextHop) === undefined ? nextHop : canonical(nextHop) }),
    ...(raw.community === undefined ? {} : { communities: asList(raw.community) }),
    ...(raw["add-community"] === undefined ? {} : { addCommunities: asList(raw["add-community"]) }),
    ...(raw["remove-community"] === undefined ? {} : { removeCommunities: asList(raw["remove-community"]) })
  }
}

const prepended = (raw: NonNullable<RawChanges["prepend"]>): Pick<PolicySet, "prepend" | "prependLast"> => {
  if (typeof raw === "object" && "last-as" in raw) return { prependLast: raw["last-as"] }
  if (typeof raw === "object" && "times" in raw) return { prepend: Array<number>(raw.times).fill(parseAs(raw.as)!) }
  return { prepend: asList(raw as number | string | ReadonlyArray<number | string>).map((one) => parseAs(one)!) }
}

const asNumbers = (raw: NonNullable<RawChanges["exclude-as"]>): ReadonlyArray<number> | "all" =>
  raw === "all" ? raw : asList(raw as number | string | ReadonlyArray<number | string>).map((one) => parseAs(one)!)

const replacement = (raw: NonNullable<RawChanges["replace-as"]>, asn: number): NonNullable<PolicySet["replaceAs"]> =>
  typeof raw === "object" && "from" in raw ? { from: asNumbers(raw.from), to: parseAs(raw.to)! } : { from: asNumbers(raw), to: asn }
