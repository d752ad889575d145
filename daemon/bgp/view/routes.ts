/** Tables as people look at them, in pages: paths with all that they bear, and why one won or lost. */
import type { Family } from "../../plan/bgp.ts"
import * as Ip from "../../wire/ip.ts"
import { asPathText } from "../../wire/bgp/as-path-text.ts"
import { attributeName, Origin } from "../../wire/bgp/iana.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { familyNames } from "../neighbor-spec.ts"
import type { Neighbor } from "../neighbor.ts"
import type { PathView as RibPath } from "../rib/types.ts"
import { Source } from "../rib/types.ts"
import * as Views from "../rib/views.ts"
import type { Speaker } from "../speaker.ts"
import type { Table } from "../table.ts"
import { communitiesOf } from "./communities.ts"
import type { Answer, PathView, RoutesPage, RoutesQuery, TableName } from "./view.ts"

/** Prefixes of one page, whatever is asked for. */
const longestPage = 1000

export const routesPage = (speaker: Speaker, query: RoutesQuery): Answer => {
  const nothing = (reason: string): Answer => ({ kind: "nothing", reason })
  if (query.table === "rib") {
    const table = speaker.table(query.vrf)
    if (table === undefined) {
      const names = Array.from(speaker.tables, ({ spec }) => spec.name).join(", ")
      return nothing(`Node "${query.node}" has no table "${query.vrf}" (it has: ${names})`)
    }
    return query.prefix === undefined ? pageOf(speaker, query, bestOf(table), totalOf(table, query)) : explained(speaker, table, query)
  }
  const neighbor = speaker.neighbor(query.neighbor ?? "")
  if (neighbor === undefined) {
    const names = Array.from(speaker.neighbors(), ({ spec }) => spec.name).join(", ")
    return nothing(`Node "${query.node}" has no BGP neighbor "${query.neighbor ?? ""}" (it has: ${names})`)
  }
  return query.prefix === undefined
    ? pageOf(speaker, query, readerOf(neighbor, query.table), countOf(neighbor, query))
    : exchanged(speaker, neighbor, { ...query, prefix: query.prefix, table: query.table })
}

type Reader = (family: 0 | 1, cursor: number, count: number) => { readonly paths: ReadonlyArray<RibPath>; readonly next: number }

const bestOf = ({ rib }: Table): Reader => (family, cursor, count) => rib.best(family, cursor, count)

const readerOf =
  ({ peer, table: { rib } }: Neighbor, table: Exclude<TableName, "rib">): Reader =>
  (family, cursor, count) =>
    table === "received" ? rib.received(peer, family, cursor, count) : rib.advertised(peer, family, cursor, count)

const familiesOf = ({ family }: RoutesQuery): ReadonlyArray<0 | 1> => (family === undefined ? [0, 1] : [family === "ipv4" ? 0 : 1])

const totalOf = ({ rib }: Table, query: RoutesQuery): number =>
  familiesOf(query).reduce<number>((total, family) => total + rib.counts(family).prefixes, 0)

const countOf = ({ peer, table: { rib } }: Neighbor, query: RoutesQuery): number =>
  familiesOf(query).reduce<number>((total, family) => {
    const { advertised, received } = rib.peerCounts(peer, family)
    return total + (query.table === "received" ? received : advertised)
  }, 0)

/** `next` is `FAMILY CURSOR`. */
const pageOf = (speaker: Speaker, query: RoutesQuery, read: Reader, total: number): RoutesPage => {
  const families = familiesOf(query)
  const [startFamily, startCursor] = (query.after ?? `${families[0]} 0`).split(" ").map(Number) as [0 | 1, number]
  const limit = Math.min(Math.max(query.limit, 1), longestPage)
  const paths: PathView[] = []
  let cursor = startCursor
  for (const family of families.filter((one) => one >= startFamily)) {
    const page = read(family, cursor, limit)
    paths.push(...page.paths.map((path) => pathView(speaker, path, family)))
    const later = families.find((one) => one > family)
    if (page.next !== -1) return { kind: "routes", paths, next: `${family} ${page.next}`, total }
    if (later !== undefined && paths.length > 0) return { kind: "routes", paths, next: `${later} 0`, total }
    cursor = 0
  }
  return { kind: "routes", paths, total }
}

const cannotLookUp = (prefix: string): Answer | undefined =>
  (prefix.includes("/") ? Ip.parsePrefix(prefix) : Ip.parse(prefix)) === undefined
    ? { kind: "nothing", reason: `Cannot look up "${prefix}": it is no address and no prefix` }
    : undefined

/** One prefix, or the longest match of an address, of what a neighbour sent or is sent. */
const exchanged = (
  speaker: Speaker,
  { peer, spec, table: { rib } }: Neighbor,
  { node, prefix, table }: { readonly node: string; readonly prefix: string; readonly table: Exclude<TableName, "rib"> }
): Answer => {
  const wrong = cannotLookUp(prefix)
  if (wrong !== undefined) return wrong
  const found = Views.find(rib, prefix, table === "received" ? Views.receivedFrom(peer) : Views.advertisedTo(peer))
  const family = prefix.includes(":") ? 1 : 0
  if (found.length > 0) return { kind: "routes", paths: found.map((path) => pathView(speaker, path, family)), total: 1 }
  const what = table === "received" ? "got no route" : "tells no route"
  return { kind: "nothing", reason: `Node "${node}" ${what} to ${prefix} ${table === "received" ? "from" : "to"} ${spec.name}` }
}

/** All paths of one prefix, or of the longest match of an address. */
const explained = (speaker: Speaker, { rib }: Table, query: RoutesQuery): Answer => {
  const prefix = query.prefix!
  const wrong = cannotLookUp(prefix)
  if (wrong !== undefined) return wrong
  const found = prefix.includes("/") ? rib.explain(prefix) : rib.lookup(prefix)
  const family = prefix.includes(":") ? 1 : 0
  if (found.length === 0) return { kind: "nothing", reason: `Node "${query.node}" has no route to ${prefix}` }
  return { kind: "routes", paths: found.map((path) => pathView(speaker, path, family)), total: 1 }
}

const kindOf = (path: RibPath, speaker: Speaker): string => {
  if (path.source !== Source.peer) return "local"
  const spec = speaker.neighbor(path.peer ?? "")?.spec
  return spec?.remoteAs === "internal" || spec?.remoteAs === (spec?.localAs?.asn ?? speaker.spec.asn) ? "internal" : "external"
}

const sourceNames: Readonly<Record<number, string>> = {
  [Source.network]: "network",
  [Source.connected]: "connected",
  [Source.static]: "static",
  [Source.aggregate]: "aggregate",
  [Source.table]: "another table",
  [Source.default]: "default-originate"
}

const originNames = { [Origin.igp]: "igp", [Origin.egp]: "egp", [Origin.incomplete]: "incomplete" } as const

const pathView = (speaker: Speaker, path: RibPath, family: 0 | 1): PathView => {
  const { attributes } = path
  return {
    prefix: path.prefix,
    family: familyNames[family] as Family,
    best: path.isBest,
    multipath: path.isMultipath,
    valid: path.isEligible,
    stale: path.isStale,
    kind: kindOf(path, speaker),
    from: path.peer ?? sourceNames[path.source] ?? "",
    nextHop: attributes.nextHop ?? (path.source === Source.peer ? "" : family === 0 ? "0.0.0.0" : "::"),
    ...(attributes.med === undefined ? {} : { med: attributes.med }),
    ...(attributes.localPref === undefined ? {} : { localPref: attributes.localPref }),
    weight: path.weight,
    asPath: asPathText(attributes.asPath),
    origin: originNames[attributes.origin as 0 | 1 | 2] ?? "incomplete",
    communities: communitiesOf(attributes),
    pathId: path.pathId,
    sinceMs: path.sinceMs,
    why: path.reason,
    more: moreOf(attributes)
  }
}

const dotted = (number: number): string => [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join(".")

const moreOf = (attributes: PathAttributes): ReadonlyArray<string> => {
  const { aggregator, atomicAggregate, clusterList, linkLocalNextHop, originatorId, unknown } = attributes
  return [
    ...(linkLocalNextHop === undefined ? [] : [`next hop ${linkLocalNextHop} too`]),
    ...(atomicAggregate ? ["atomic-aggregate"] : []),
    ...(aggregator === undefined ? [] : [`aggregated by AS ${aggregator.asn} ${aggregator.address}`]),
    ...(originatorId === undefined ? [] : [`originator ${dotted(originatorId)}`]),
    ...(clusterList.length === 0 ? [] : [`cluster list ${clusterList.map(dotted).join(" ")}`]),
    ...unknown.map(({ type, value }) => `${attributeName(type)} (${value.length} octets)`)
  ]
}
