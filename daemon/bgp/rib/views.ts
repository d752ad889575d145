/**
 * The table for people, in pages: what there is, why a path won or lost, what a neighbour sent and is sent.
 */
import * as Ip from "../../wire/ip.ts"
import { firstPeer, stepNames } from "./decision.ts"
import type { FamilyTable } from "./family-table.ts"
import { advertisedAttributes } from "./packer.ts"
import { PathFlag } from "./path-pool.ts"
import type { Member } from "./adj-rib-out.ts"
import type { AttributeTable } from "./attribute-table.ts"
import type { Peer } from "./peer.ts"
import { type FamilyIndex, type PathView, type RibOptions, Source, type ViewPage } from "./types.ts"

/** What is looked at. */
interface Rib {
  readonly options: RibOptions
  readonly sets: AttributeTable
  readonly peers: ReadonlyArray<Peer | undefined>
  readonly exports: { memberOf(peer: number, family: FamilyIndex): Member | undefined }
}

const sourceNames = ["", "network", "connected", "static", "aggregate", "table", "default"]

export const prefixText = (table: FamilyTable, prefix: number): string => {
  const octets = new Uint8Array(table.prefixes.words * 4)
  table.prefixes.octetsInto(prefix, octets, 0)
  return `${Ip.format(octets)}/${table.prefixes.lengthOf(prefix)}`
}

const nameOf = (rib: Rib, peer: number): string =>
  peer < firstPeer ? sourceNames[peer]! : rib.peers[peer]?.session?.remoteAddress ?? rib.peers[peer]?.config.name ?? ""

const viewOf = (rib: Rib, table: FamilyTable, path: number, reason: string, isEligible = true): PathView => {
  const { pool } = table
  const peer = pool.peer[path]!
  const prefix = pool.prefix[path]!
  const set = pool.chosen[path] === 0 ? pool.received[path]! : pool.chosen[path]!
  const flags = pool.flags[path]!
  return {
    prefix: prefixText(table, prefix),
    source: peer < firstPeer ? peer as Source : Source.peer,
    peer: rib.peers[peer]?.config.name,
    peerAddress: rib.peers[peer]?.session?.remoteAddress,
    pathId: pool.pathIdOf(path),
    attributes: rib.sets.get(set),
    weight: rib.sets.weight[set]!,
    isBest: table.best[prefix] === path,
    isMultipath: (flags & PathFlag.multipath) !== 0,
    isBackup: (flags & PathFlag.backup) !== 0,
    isStale: (flags & PathFlag.stale) !== 0,
    sinceMs: pool.since[path]! * 1000,
    isEligible,
    reason
  }
}

/** Why a path takes no part in the decision. */
const ineligible = (rib: Rib, table: FamilyTable, path: number): string => {
  const set = table.pool.chosen[path]!
  if ((table.pool.flags[path]! & PathFlag.gone) !== 0) return "it is on its way out"
  if (set === 0) return "denied by the import policy"
  const nextHop = rib.sets.nextHopOf(set)
  return nextHop >= 0 && !rib.options.nextHops.isReachable(nextHop) ? "its next hop is unreachable" : "not looked at yet"
}

/** All paths of a prefix, the best first. */
export const explain = (rib: Rib, table: FamilyTable, prefix: number): ReadonlyArray<PathView> => {
  const count = table.candidates(prefix)
  const { decision, pool } = table
  decision.current = table.best[prefix]!
  decision.rank(table.ranked, count, count)
  const ranked = [...table.ranked.subarray(0, count)]
  const [best, second] = ranked
  const views = ranked.map((path, i) => {
    if (second === undefined) return viewOf(rib, table, path, "the only path")
    if (i === 0) return viewOf(rib, table, path, `best by ${stepNames[decision.why(path, second)]}`)
    return viewOf(rib, table, path, `lost to ${nameOf(rib, pool.peer[best!]!)} on ${stepNames[decision.why(best!, path)]}`)
  })
  for (let path = table.first[prefix]!; path >= 0; path = pool.next[path]!) {
    if (!ranked.includes(path)) views.push(viewOf(rib, table, path, ineligible(rib, table, path), false))
  }
  return views
}

/** What a page shows of one prefix. */
type View = (rib: Rib, table: FamilyTable, prefix: number) => ReadonlyArray<PathView>

export const bestAndOthers: View = explain

export const receivedFrom = (peer: number): View => (rib, table, prefix) => {
  const { pool } = table
  const views: PathView[] = []
  for (let path = table.first[prefix]!; path >= 0; path = pool.next[path]!) {
    if (pool.peer[path] !== peer || (pool.flags[path]! & PathFlag.gone) !== 0) continue
    const isDenied = pool.chosen[path] === 0
    const reason = isDenied ? "denied by the import policy" : ""
    views.push({ ...viewOf(rib, table, path, reason, !isDenied), attributes: rib.sets.get(pool.received[path]!) })
  }
  return views
}

export const advertisedTo = (peer: number): View => (rib, table, prefix) => {
  const member = rib.exports.memberOf(peer, table.family)
  if (member === undefined || !member.advertised.has(prefix)) return []
  const sent = member.places === 0
    ? [{ pathId: 0, set: member.desired(prefix) }]
    : Array.from({ length: member.places }, (_, i) => (
      { pathId: member.sentId[prefix * member.places + i] ?? 0, set: member.sentSet[prefix * member.places + i] ?? 0 }
    ))
  return sent.filter(({ set }) => set !== 0).map(({ pathId, set }) => ({
    prefix: prefixText(table, prefix), source: Source.peer, peer: rib.peers[peer]?.config.name, pathId, weight: 0, reason: "",
    peerAddress: member.session.remoteAddress, attributes: advertisedAttributes(member, rib.sets, set),
    isBest: true, isMultipath: false, isBackup: false, isStale: false, isEligible: true, sinceMs: 0
  }))
}

/** What a view shows of a prefix, or of the longest match of an address that it shows something of. `word`: either, well-formed. */
export const find = (
  rib: Rib & { readonly tables: readonly [FamilyTable, FamilyTable] }, word: string, of: View
): ReadonlyArray<PathView> => {
  const prefix = Ip.parsePrefix(word.includes("/") ? word : `${word}/${word.includes(":") ? 128 : 32}`)!
  const table = rib.tables[prefix.address.length === 4 ? 0 : 1]
  for (let { length } = prefix; length >= 0; length--) {
    const found = table.prefixes.find(prefix.address, 0, length)
    const views = found < 0 ? [] : of(rib, table, found)
    if (views.length > 0 || word.includes("/")) return views
  }
  return []
}

export const page = (rib: Rib, table: FamilyTable, { count, cursor, of }: { cursor: number; count: number; of: View }): ViewPage => {
  const paths: PathView[] = []
  let shown = 0
  let prefix = cursor
  // A page looks at so many prefixes at most, even if few of them have something to show.
  const end = Math.min(table.prefixes.limit, cursor + Math.max(count, 20_000))
  for (; prefix < end && shown < count; prefix++) {
    if (!table.prefixes.has(prefix) || table.first[prefix]! < 0) continue
    const views = of(rib, table, prefix)
    if (views.length > 0) shown++
    paths.push(...views)
  }
  return { paths, next: prefix >= table.prefixes.limit ? -1 : prefix }
}
