/** `route`, `bgp-session`, `bgp-route` and `bfd`: what routers know. */
import { Schema } from "effect"
import { isIP } from "node:net"
import { integer, oneOrMore, optional, text } from "../../topology/schema-parts.ts"
import { formatPrefix, network, parsePrefix } from "../../topology/ip.ts"
import * as Communities from "../../wire/bgp/communities.ts"
import { routeText } from "../explain.ts"
import { kind, type Kind } from "../kind.ts"
import { type Lab, ownerOf, type PathSeen, type RouteSeen } from "../lab.ts"
import { Flag, listed, NodeName, referencesOf, Target, Word } from "../parts.ts"

const Prefix = text({
  description: "a prefix, or an address for its longest match",
  problem: (value) => {
    if (value === "default" || isIP(value) !== 0) return undefined
    const prefix = parsePrefix(value)
    if (prefix === undefined) return "expected a prefix such as 10.0.0.0/8, an address, or default"
    const whole = network(prefix)
    return whole.bits === prefix.bits ? undefined : `has host bits set: the prefix of this length is ${formatPrefix(whole)}`
  }
})
const prefixOf = (value: string): string => (value === "default" ? "0.0.0.0/0" : value)
const Words = oneOrMore(Word, "text")
const whole = (description: string) => integer(0, 0xffffffff, description)
const listOf = (value: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  value === undefined ? [] : typeof value === "string" ? [value] : value

/** Whether an address is what a word means: itself, or one of a node. */
const isMeant = (lab: Lab, address: string, word: string): boolean => address === word || (address !== "" && ownerOf(lab, address) === word)
const withOwner = (lab: Lab, address: string): string => {
  const owner = ownerOf(lab, address)
  return owner === undefined ? address : `${address} (${owner})`
}

/** As tables of routes call who made them (`bgp/fib/lookup.ts`); others have their number. */
const protocols = ["connected", "static", "bgp", "kernel", "boot", "ra", "dhcp", "bird", "zebra", "isis", "ospf", "rip"]
const Protocol = text({
  description: "connected, static, bgp, ...",
  problem: (value) => (protocols.includes(value) || /^\d{1,3}$/.test(value) ? undefined
    : `expected ${protocols.join(", ")}, or a number in quotes`)
})
const Table = text({
  description: "a number in quotes, or main, which it is unless given",
  problem: (value) => (value === "main" || value === "all" || (/^[1-9]\d{0,9}$/.test(value) && Number(value) <= 0xffffffff) ? undefined
    : "expected a number in quotes, main or all")
})

const Route = Schema.Struct({
  node: NodeName,
  to: Prefix,
  via: optional(oneOrMore(Target, "an address or a node").annotate({ description: "Next hops: all of them, and no others" })),
  dev: optional(Words),
  protocol: optional(Protocol),
  type: optional(Schema.Literals(["unicast", "blackhole", "unreachable", "prohibit"])),
  table: optional(Table),
  metric: optional(whole("The route's metric")),
  absent: optional(Flag.annotate({ description: "true: there is no such route" }))
}).annotate({ expected: "a map such as {node: fw, to: 10.0.0.0/8, via: r1}" })

const isWanted = (lab: Lab, { dev, metric, protocol, type, via }: typeof Route.Type) => (route: RouteSeen): boolean => {
  const ways = route.ways.filter(({ backup, down }) => !backup && !down)
  const hops = via === undefined ? undefined : listOf(via)
  return (hops === undefined
    || (ways.every(({ gateway }) => hops.some((word) => isMeant(lab, gateway, word)))
      && hops.every((word) => ways.some(({ gateway }) => isMeant(lab, gateway, word)))))
    && listOf(dev).every((name) => ways.some(({ ifname }) => ifname === name))
    && (protocol === undefined || route.protocol === protocol)
    && (type === undefined || route.type === type)
    && (metric === undefined || route.metric === metric)
}

const routeTitle = ({ absent, dev, metric, node, protocol, to, type, via }: typeof Route.Type): string =>
  [
    `${node} has ${absent === true ? "no route" : "a route"} to ${to}`,
    ...(via === undefined ? [] : [`via ${listOf(via).join(" and ")}`]),
    ...(dev === undefined ? [] : [`dev ${listOf(dev).join(" and ")}`]),
    ...(protocol === undefined ? [] : [`of protocol ${protocol}`]),
    ...(type === undefined ? [] : [`of type ${type}`]),
    ...(metric === undefined ? [] : [`with metric ${metric}`])
  ].join(" ")

export const route: Kind<typeof Route.Type> = kind({
  schema: Route,
  references: ({ node, via }) => [...referencesOf(["node"], node, "node"), ...referencesOf(["via"], via, "target")],
  title: routeTitle,
  stage: "free",
  run: async (spec, lab) => {
    const routes = await lab.ask(spec.node, "routes", { prefix: prefixOf(spec.to), table: spec.table ?? "main" })
    const used = routes.filter(({ selected }) => selected)
    const found = used.find(isWanted(lab, spec))
    const seen = used.length === 0 ? `no route to ${spec.to}` : used.map((one) => `${routeText(one)} (${one.protocol})`).join("; ")
    return { passed: (found === undefined) === (spec.absent === true), expected: routeTitle(spec), seen }
  }
})

const Session = Schema.Struct({
  node: NodeName,
  neighbor: optional(Word.annotate({ description: "A node, an address or a name; without it: all of them" })),
  state: optional(Schema.Literals(["established", "idle", "connect", "active", "opensent", "openconfirm", "shutdown"])),
  received: optional(whole("Prefixes that the neighbor has sent, at least"))
}).annotate({ expected: "a map such as {node: r1, neighbor: r2}" })

const sessionTitle = ({ neighbor, node, received, state = "established" }: typeof Session.Type): string => {
  const prefixes = received === undefined ? "" : ` and has received ${received} prefixes or more`
  return `BGP of ${node} with ${neighbor ?? "all its neighbors"} is ${state}${prefixes}`
}

export const bgpSession: Kind<typeof Session.Type> = kind({
  schema: Session,
  references: ({ node }) => referencesOf(["node"], node, "node"),
  title: sessionTitle,
  stage: "free",
  run: async (spec, lab) => {
    const { neighbor: word, received = 0, state = "established" } = spec
    const { neighbors } = await lab.ask(spec.node, "bgp", {})
    const meant = neighbors.filter(({ description, name, remoteAddress }) =>
      word === undefined || [name, description, remoteAddress].includes(word) || isMeant(lab, remoteAddress, word)
    )
    const expected = sessionTitle(spec)
    if (meant.length === 0) {
      const known = neighbors.map(({ description, name }) => (description === "" ? name : `${description} (${name})`))
      return { passed: false, expected, seen: `no such neighbor: it has ${listed(known)}` }
    }
    const sum = (families: (typeof neighbors)[number]["families"]): number => families.reduce((all, { received: count }) => all + count, 0)
    const wrong = meant.find((one) => one.state.toLowerCase() !== state || sum(one.families) < received)
    const { description, families, lastReset, name, state: found } = wrong ?? meant[0]!
    const who = `${description === "" ? name : `${description} (${name})`} is ${found}`
    const why = found === "Established" || lastReset === "" ? "" : `: ${lastReset}`
    return { passed: wrong === undefined, expected,
      seen: `${who}${received > 0 ? ` and has received ${sum(families)} prefixes` : ""}${why}` }
  }
})

/** What EVPN says in communities, which `weft bgp` shows and nobody writes. */
const ofEvpn = /^(encap:\w+|default-gateway|mac-mobility:\d+(:sticky)?|(router-mac|es-import):[0-9a-f]{2}(:[0-9a-f]{2}){5})$/
const Community = text({
  description: "a community such as 65000:1",
  problem: (value) => (ofEvpn.test(value) || Communities.parse(value) !== undefined ? undefined
    : "expected a community such as 65000:1, 65000:1:2, rt:65000:1 or no-export")
})

/** A community as routes show it: `local-as` has another name there. */
const shown = (text: string): string => {
  const community = ofEvpn.test(text) ? undefined : Communities.parse(text)
  switch (community?.kind) {
    case "standard":
      return Communities.formatStandard(community.value)
    case "large":
      return Communities.formatLarge(community.value)
    case "extended":
      return Communities.formatExtended(community.value)
    default:
      return text
  }
}

const asPathTerms = "an AS path such as 64500 64501"
const pathText = text({
  description: asPathTerms,
  problem: (value) => (/^[\d ,{}()]*$/.test(value) && (value.match(/\d+/g) ?? []).every((one) => Number(one) <= 0xffffffff) ? undefined
    : `expected ${asPathTerms}`)
})

const BgpRoute = Schema.Struct({
  node: NodeName,
  prefix: Prefix,
  table: optional(Schema.Literals(["rib", "received", "advertised"])),
  neighbor: optional(Word),
  "as-path": optional(Schema.Union([pathText, whole("An AS number")]).annotate({ expected: asPathTerms, description: "All of it" })),
  "as-path-has": optional(whole("The path has this AS somewhere")),
  "next-hop": optional(Target),
  communities: optional(oneOrMore(Community, "a community such as 65000:1")),
  "local-pref": optional(whole("LOCAL_PREF")),
  med: optional(whole("MULTI_EXIT_DISC")),
  origin: optional(Schema.Literals(["igp", "egp", "incomplete"])),
  paths: optional(integer(1, 4096, "How many paths are used at once, at least")),
  absent: optional(Flag.annotate({ description: "true: there is no such route" }))
}).annotate({ expected: "a map such as {node: r1, prefix: 10.0.0.0/8, as-path: 64500}" })

const bgpRouteTitle = (spec: typeof BgpRoute.Type): string => {
  const parts = (["as-path", "as-path-has", "next-hop", "communities", "local-pref", "med", "origin", "paths"] as const)
    .flatMap((key) => (spec[key] === undefined ? [] : [`${key} ${[spec[key]].flat().join(" ")}`]))
  const table = spec.table === undefined || spec.table === "rib" ? ""
    : ` ${spec.table} ${spec.neighbor === undefined ? "" : `by ${spec.neighbor} `}`.trimEnd()
  const having = parts.length === 0 ? "" : ` with ${parts.join(", ")}`
  return `BGP of ${spec.node} has ${spec.absent === true ? "no route" : "a route"}${table} to ${spec.prefix}${having}`
}

const hasPath = (lab: Lab, spec: typeof BgpRoute.Type) => (path: PathSeen): boolean =>
  (spec["as-path"] === undefined || path.asPath === String(spec["as-path"]).trim().replace(/ +/g, " "))
  && (spec["as-path-has"] === undefined || path.asPath.split(/[ ,{}()]+/).includes(String(spec["as-path-has"])))
  && (spec["next-hop"] === undefined || isMeant(lab, path.nextHop, spec["next-hop"]))
  && listOf(spec.communities).every((one) => path.communities.includes(shown(one)))
  && (spec["local-pref"] === undefined || path.localPref === spec["local-pref"])
  && (spec.med === undefined || path.med === spec.med)
  && (spec.origin === undefined || path.origin === spec.origin)

const seenPath = (lab: Lab) => ({ asPath, communities, localPref, med, nextHop }: PathSeen): string =>
  [
    `AS path ${asPath === "" ? "empty" : asPath}`,
    `next hop ${withOwner(lab, nextHop)}`,
    ...(localPref === undefined ? [] : [`local-pref ${localPref}`]),
    ...(med === undefined ? [] : [`med ${med}`]),
    ...(communities.length === 0 ? [] : [`communities ${communities.join(" ")}`])
  ].join(", ")

export const bgpRoute: Kind<typeof BgpRoute.Type> = kind({
  schema: BgpRoute,
  references: (spec) => [...referencesOf(["node"], spec.node, "node"), ...referencesOf(["next-hop"], spec["next-hop"], "target")],
  problems: (value, { path, reporter }) => {
    const { neighbor, table } = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>
    const isOfNeighbor = table === "received" || table === "advertised"
    if (isOfNeighbor && neighbor === undefined) reporter.error([...path, "table"], 'of which neighbor? Give "neighbor"')
    if (!isOfNeighbor && neighbor !== undefined) {
      reporter.error([...path, "neighbor"], 'is for "table: received" and "table: advertised"', { at: "key" })
    }
  },
  title: bgpRouteTitle,
  stage: "free",
  run: async (spec, lab) => {
    const table = spec.table ?? "rib"
    const paths = await lab.ask(spec.node, "bgp-routes", {
      prefix: prefixOf(spec.prefix), table, ...(spec.neighbor === undefined || table === "rib" ? {} : { neighbor: spec.neighbor })
    })
    const used = table === "rib" ? paths.filter(({ best, multipath }) => best || multipath) : paths
    const fitting = used.filter(hasPath(lab, spec))
    const isThere = fitting.length >= (spec.paths ?? 1)
    const seen = used.length === 0 ? `no route to ${spec.prefix}` : used.map(seenPath(lab)).join("; ")
    return { passed: isThere !== (spec.absent === true), expected: bgpRouteTitle(spec), seen }
  }
})

const Bfd = Schema.Struct({
  node: NodeName,
  peer: optional(Target.annotate({ description: "A node or an address; without it: all of them" })),
  state: optional(Schema.Literals(["up", "down", "init", "admin-down"]))
}).annotate({ expected: "a map such as {node: r1, peer: r2}" })

const bfdTitle = ({ node, peer, state = "up" }: typeof Bfd.Type): string => `BFD of ${node} with ${peer ?? "all its peers"} is ${state}`

export const bfd: Kind<typeof Bfd.Type> = kind({
  schema: Bfd,
  references: ({ node, peer }) => [...referencesOf(["node"], node, "node"), ...referencesOf(["peer"], peer, "target")],
  title: bfdTitle,
  stage: "free",
  run: async (spec, lab) => {
    const sessions = await lab.ask(spec.node, "bfd", {})
    const meant = sessions.filter(({ peer }) => spec.peer === undefined || isMeant(lab, peer, spec.peer))
    const expected = bfdTitle(spec)
    if (meant.length === 0) return { passed: false, expected,
      seen: `no such session: it has ${listed(sessions.map(({ peer }) => withOwner(lab, peer)))}` }
    const wrong = meant.filter(({ state }) => state !== (spec.state ?? "up"))
    const said = (wrong.length > 0 ? wrong : meant)
      .map(({ diagnostic, peer, state }) =>
        `${withOwner(lab, peer)} is ${state}${state === "up" || diagnostic === "" ? "" : ` (${diagnostic})`}`)
    return { passed: wrong.length === 0, expected, seen: said.join(", ") }
  }
})
