/**
 * From what a neighbour sent to what takes part in the decision: loops, the import policy, graceful shutdown.
 *
 * The result is noted with the attribute set, so that the policy is asked once for each set and not for each route, unless it looks at
 * prefixes. Neighbours without a policy that are treated alike share what is noted.
 */
import type { AttributeTable } from "./attribute-table.ts"
import { SetFlag } from "./attribute-table.ts"
import { prependTo } from "./export-rewrite.ts"
import type { FamilyTable } from "./family-table.ts"
import { withTargets } from "./route-targets.ts"
import { type PolicyResult, type RibOptions, type RibPeer, type RibSession, Source } from "./types.ts"
import { occurrences, pathAt, pathEnd } from "../../wire/bgp/block.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { UpdateScan } from "../../wire/bgp/update.ts"

export interface ImportPeer {
  readonly config: RibPeer
  readonly session: RibSession | undefined
  readonly scope: number
  readonly importClass: [number, number]
}

interface Importer {
  readonly options: RibOptions
  readonly sets: AttributeTable
}

/** Import classes are given out per attribute table: numbers of 16 bits, 0 is none. */
const classes = new WeakMap<AttributeTable, { readonly shared: Map<string, number>; next: number }>()

const classOf = ({ options, sets }: Importer, peer: ImportPeer, family: 0 | 1): number => {
  const known = peer.importClass[family]
  if (known !== 0) return known
  let given = classes.get(sets)
  if (given === undefined || given.next > 65535) {
    // All numbers are used up: what was noted under any is void.
    for (let set = 1; given !== undefined && set < sets.limit; set++) sets.forgetImport(set)
    given = { shared: new Map(), next: 1 }
    classes.set(sets, given)
  }
  const { config } = peer
  const isPlain = config.families[family]?.importPolicy === undefined
  const { allowAsIn, isExternal, localAs, localAsOnlyOut = false, localAsPrepend } = config
  const { clusterId, exportTargets = [] } = options
  const common = `${isExternal} ${localAs} ${localAsPrepend} ${localAsOnlyOut} ${allowAsIn} ${clusterId} ${exportTargets.join()}`
  const key = isPlain ? common : undefined
  const number = (key === undefined ? undefined : given.shared.get(key)) ?? given.next++
  if (key !== undefined) given.shared.set(key, number)
  peer.importClass[family] = number
  return number
}

/**
 * What import makes of a set: -1 a loop, or not the neighbour's to tell (it is not kept), 0 denied. `prefix` -1: for all prefixes (0 if
 * the policy looks at them); the result lives as long as the set. Otherwise for one prefix, and the result has a reference for the
 * caller.
 */
export const importSet = (rib: Importer, peer: ImportPeer, table: FamilyTable, set: number, prefix: number): number => {
  const { sets } = rib
  if (isLoop(rib, peer, set) || isOfAnother(rib, peer, set)) return -1
  // RFC 4271 5.1.3: this router is no next hop of what others tell it.
  if (peer.session !== undefined && sets.nextHopText(set) === peer.session.nextHopSelf[table.family]) return -1
  const policy = peer.config.families[table.family]?.importPolicy
  if (policy?.usesPrefix === true) return prefix < 0 ? 0 : evaluate(rib, peer, table, set, prefix)
  const number = classOf(rib, peer, table.family)
  let result: number
  if (sets.importClass[set] === number) result = sets.importResult[set]!
  else {
    result = evaluate(rib, peer, table, set, prefix)
    sets.noteImport(set, number, result)
    // The note keeps it.
    if (result !== 0) sets.release(result)
  }
  if (prefix >= 0 && result !== 0) sets.retain(result)
  return result
}

/**
 * Whether our AS is in the path, told from the octets: a router between two that share an AS number gets back much of what it has told.
 * What else may be wrong with such a route matters only where it would end the session; that is left to the sender.
 */
export const isPlainLoop = ({ options }: Importer, { config, session }: ImportPeer, bytes: Uint8Array, scan: UpdateScan): boolean => {
  if (!session!.context.asn4 || config.localAs !== options.asn || config.allowOwnOrigin === true) return false
  const { attributesAt, attributesEnd } = scan
  const at = pathAt(bytes, attributesAt, attributesEnd)
  return at >= 0 && pathEnd <= attributesEnd && occurrences(bytes, at, pathEnd, options.asn) > config.allowAsIn
}

/** RFC 4271 9.1.2, RFC 4456 8: our AS more often than allowed, our router id or our cluster. */
const isLoop = ({ options, sets }: Importer, { config }: ImportPeer, set: number): boolean => {
  if (sets.ownAs[set]! > config.allowAsIn && !(config.allowOwnOrigin === true && originAs(sets.get(set)) === options.asn)) return true
  if (sets.originatorId[set] === options.routerId) return true
  if (sets.clusterLength[set]! > 0 && sets.get(set).clusterList.includes(options.clusterId)) return true
  if (config.localAs === options.asn) return false
  const own = sets.get(set).asPath.reduce((sum, { asns }) => sum + asns.filter((asn) => asn === config.localAs).length, 0)
  return own > config.allowAsIn
}

/** Where the path begins: the last of it. */
const originAs = ({ asPath }: PathAttributes): number | undefined => asPath.at(-1)?.asns.at(-1)

/** RFC 4271 6.3, RFC 7606 7.2: refused as if it were withdrawn. A route server's routes are such (RFC 7947 2.2.2.1). */
const isOfAnother = ({ sets }: Importer, { config }: ImportPeer, set: number): boolean =>
  config.enforceFirstAs === true && config.isExternal && sets.neighborAs[set] !== config.remoteAs

/** The result has a reference for the caller. */
const evaluate = (rib: Importer, peer: ImportPeer, table: FamilyTable, set: number, prefix: number): number => {
  const { sets } = rib
  const { exportTargets = [] } = rib.options
  const policy = peer.config.families[table.family]?.importPolicy
  const isShutDown = peer.config.isExternal && (sets.flags[set]! & SetFlag.gracefulShutdown) !== 0
  if (policy === undefined && !isShutDown && exportTargets.length === 0 && !hasLocalAs(rib, peer)) {
    sets.retain(set)
    return set
  }
  const received = sets.get(set)
  const targeted = withTargets(hasLocalAs(rib, peer) ? withLocalAs(received, peer) : received, exportTargets)
  const result = policy === undefined ? { attributes: targeted } : applyPolicy(peer, table, targeted, prefix)
  if (result === undefined) return 0
  const attributes = withNextHop(result, received, peer)
  // RFC 8326 4.2: least preference, for our AS too; judged by what the policy has left of the communities.
  const leaves = peer.config.isExternal && attributes.communities.includes(0xffff_0000)
  if (attributes === received && !leaves && (result.weight ?? 0) === 0) {
    sets.retain(set)
    return set
  }
  const options = { scope: peer.scope, ...(result.weight === undefined ? {} : { weight: result.weight }) }
  return sets.intern(leaves ? { ...attributes, localPref: 0 } : attributes, options)
}

/** Towards this neighbour we are another AS, through which its routes come to ours: it goes into the path, as FRR has it. */
const hasLocalAs = ({ options }: Importer, { config }: ImportPeer): boolean =>
  config.isExternal && config.localAs !== options.asn && config.localAsPrepend && config.localAsOnlyOut !== true

const withLocalAs = (received: PathAttributes, { config }: ImportPeer): PathAttributes =>
  ({ ...received, asPath: prependTo(received.asPath, [config.localAs]) })

const noOctets = new Uint8Array(16)

const applyPolicy = (peer: ImportPeer, table: FamilyTable, received: PathAttributes, prefix: number): PolicyResult | undefined => {
  const policy = peer.config.families[table.family]!.importPolicy!
  const meta = { family: table.family, source: Source.peer, peer: peer.config }
  if (prefix < 0) return policy.apply(received, meta, noOctets, 0, 0)
  table.prefixes.octetsInto(prefix, table.octets, 0)
  return policy.apply(received, meta, table.octets, 0, table.prefixes.lengthOf(prefix))
}

const withNextHop = ({ attributes, nextHop }: PolicyResult, received: PathAttributes, { session }: ImportPeer): PathAttributes => {
  const changed = nextHop === "peer" ? session?.remoteAddress : attributes.nextHop === received.nextHop ? undefined : attributes.nextHop
  if (changed === undefined) return attributes
  const { linkLocalNextHop: _linkLocal, ...rest } = attributes
  return { ...rest, nextHop: changed }
}
