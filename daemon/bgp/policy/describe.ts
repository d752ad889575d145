/** Policies and prefix lists as text that who knows route-maps reads at once. */
import type { BgpSpec, PolicyMatch, PolicySet, PolicyTerm } from "../../plan/bgp.ts"

/** `ip prefix-list NAME seq 5 permit 10.0.0.0/8 le 24`, one line for each entry; `any` where nothing bounds it. */
export const describePrefixList = (name: string, entries: BgpSpec["prefixLists"][string]): ReadonlyArray<string> =>
  entries.map(({ action, ge, le, prefix }, index) => {
    const bounds = `${ge === undefined ? "" : ` ge ${ge}`}${le === undefined ? "" : ` le ${le}`}`
    return `${prefix.includes(":") ? "ipv6" : "ip"} prefix-list ${name} seq ${5 * (index + 1)} ${action} ${prefix}${bounds}`
  })

/** `route-map NAME permit 10`, then a line for each match and set, indented. */
export const describe = (name: string, policy: ReadonlyArray<PolicyTerm>): ReadonlyArray<string> =>
  policy.flatMap(({ action, continue: goesOn, match, set }, index) => [
    `route-map ${name} ${action} ${10 * (index + 1)}`,
    ...matchLines(match).map((line) => `  match ${line}`),
    ...setLines(set).map((line) => `  set ${line}`),
    ...(goesOn === true ? ["  continue"] : [])
  ])

const matchLines = (match: PolicyMatch): ReadonlyArray<string> => [
  ...(match.family === undefined ? [] : [`family ${match.family}`]),
  ...(match.source === undefined ? [] : [`source-protocol ${match.source}`]),
  ...(match.prefixLists === undefined ? [] : [`prefix-list ${match.prefixLists.join(" or ")}`]),
  ...(match.asPath === undefined ? [] : [`as-path ${match.asPath}`]),
  ...(match.communities ?? []).map((community) => `community ${community}`),
  ...(match.anyCommunity === undefined ? [] : [`community ${match.anyCommunity.join(" or ")}`]),
  ...(match.exactCommunities === undefined ? [] : [`community ${match.exactCommunities.join(" ") || "none"} exact-match`]),
  ...(match.nextHop === undefined ? [] : [`next-hop ${match.nextHop.join(" or ")}`]),
  ...(match.med === undefined ? [] : [`metric ${match.med}`]),
  ...(match.localPref === undefined ? [] : [`local-preference ${match.localPref}`]),
  ...(match.origin === undefined ? [] : [`origin ${match.origin}`])
]

const numbers = (asns: ReadonlyArray<number> | "all"): string => (asns === "all" ? asns : asns.join(" "))

const setLines = (set: PolicySet): ReadonlyArray<string> => [
  ...(set.localPref === undefined ? [] : [`local-preference ${set.localPref}`]),
  ...(set.med === undefined ? [] : [`metric ${set.med}`]),
  ...(set.weight === undefined ? [] : [`weight ${set.weight}`]),
  ...(set.origin === undefined ? [] : [`origin ${set.origin}`]),
  ...(set.excludeAs === undefined ? [] : [`as-path exclude ${numbers(set.excludeAs)}`]),
  ...(set.replaceAs === undefined ? [] : [`as-path replace ${numbers(set.replaceAs.from)} by ${set.replaceAs.to}`]),
  ...(set.prepend === undefined ? [] : [`as-path prepend ${set.prepend.join(" ")}`]),
  ...(set.prependLast === undefined ? [] : [`as-path prepend last-as ${set.prependLast}`]),
  ...(set.nextHop === undefined ? [] : [`next-hop ${set.nextHop}`]),
  ...(set.removeCommunities === undefined ? [] : [`community ${set.removeCommunities.join(" ")} delete`]),
  ...(set.communities === undefined ? [] : [`community ${set.communities.join(" ")}`]),
  ...(set.addCommunities === undefined ? [] : [`community ${set.addCommunities.join(" ")} additive`])
]
