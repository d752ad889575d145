/**
 * What becomes of a route's attributes on the way to a neighbour: whether it goes there at all, reflection, what external and internal
 * neighbours may see, the AS path, the next hop. Pure: one call for each attribute set and group of neighbours.
 *
 *      RFC 1997, 8326, 9494   well-known communities
 *      RFC 4456 8             reflection: ORIGINATOR_ID, CLUSTER_LIST
 *      RFC 4271 5.1           NEXT_HOP, MULTI_EXIT_DISC, LOCAL_PREF, AS_PATH
 *      RFC 4271 5, 4360 6     what is not transitive stays here
 */
import { AttributeFlag, SegmentType } from "../../wire/bgp/iana.ts"
import type { AsPath, PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { defaultLocalPref, SetFlag } from "./attribute-table.ts"
import type { PolicyResult, RibPeer } from "./types.ts"

/** Where the route comes from, as far as it matters here. */
export interface ExportSource {
  readonly isLocal: boolean
  readonly isExternal: boolean
  /** From a client of ours. */
  readonly isClient: boolean
  readonly routerId: number
}

/** What members of an export group have in common. */
export interface ExportTarget {
  readonly config: RibPeer
  readonly nextHopSelf: boolean
  readonly asn: number
  readonly clusterId: number
  readonly gracefulShutdown: boolean
  readonly longLived: boolean
  /** Routes with this AS in the path are of no use to these neighbours; 0: none is known. */
  readonly refusedAs: number
  /** Whether an address is on the link to these neighbours; they may then be sent there (RFC 4271 5.1.3). */
  readonly isOnLink: ((address: string) => boolean) | undefined
}

export interface Exported {
  readonly attributes: PathAttributes
  /** Undefined: that of the attributes. */
  readonly nextHop: "self" | "peer" | undefined
}

const gracefulShutdownCommunity = 0xffff_0000

/** Whether routes with these well-known communities may go there, from a neighbour of this kind: what needs no attribute decoded. */
export const mayExport = (flags: number, source: ExportSource, { config, longLived }: ExportTarget): boolean => {
  if ((flags & SetFlag.noAdvertise) !== 0) return false
  if (config.isExternal && (flags & (SetFlag.noExport | SetFlag.noExportSubconfed)) !== 0) return false
  // RFC 9494 4.6: only to neighbours that know what it means.
  if ((flags & SetFlag.llgrStale) !== 0 && !longLived) return false
  // RFC 4456 6: from a client to all, from others to clients only.
  return config.isExternal || source.isLocal || source.isExternal || source.isClient || config.routeReflectorClient
}

/**
 * The AS numbers that go before the path of every route, where that is all that happens to it but what
 * `AttributeTable.internForwarded` leaves out: no policy, no third party's next hop, nothing to be taken out of it.
 * Undefined: look at each.
 */
export const plainPrepend = ({ asn, config, gracefulShutdown, isOnLink, nextHopSelf }: ExportTarget): ReadonlyArray<number> | undefined => {
  const isPlain = config.isExternal && !gracefulShutdown && !config.removePrivateAs && !config.asOverride && config.sendCommunities
  if (!isPlain || (isOnLink !== undefined && !nextHopSelf)) return undefined
  return config.localAs !== asn && config.localAsPrepend ? [config.localAs, asn] : [config.localAs]
}

/** The attributes as the export policy sees them. */
export const beforePolicy = (attributes: PathAttributes, source: ExportSource, target: ExportTarget): PathAttributes => {
  const { localPref, med, originatorId, clusterList, ...rest } = attributes
  const unknown = attributes.unknown.filter(({ flags }) => (flags & AttributeFlag.transitive) !== 0)
  if (target.config.isExternal) {
    // RFC 4271 5.1.4: the MED of one neighbour AS is none of another's business.
    const kept = source.isLocal && med !== undefined ? { med } : {}
    const extendedCommunities = attributes.extendedCommunities.filter((community) => (community & (1n << 62n)) === 0n)
    return { ...rest, ...kept, clusterList: [], unknown, extendedCommunities }
  }
  const preferred = { ...rest, ...(med === undefined ? {} : { med }), localPref: localPref ?? defaultLocalPref, unknown }
  if (source.isLocal || source.isExternal) return { ...preferred, clusterList: [] }
  return { ...preferred, originatorId: originatorId ?? source.routerId, clusterList: [target.clusterId, ...clusterList] }
}

/** What the neighbour gets of what the policy made. `before`: what the policy was given. */
export const afterPolicy = (result: PolicyResult, before: PathAttributes, source: ExportSource, target: ExportTarget): Exported => {
  const { config } = target
  const nextHop = nextHopFor(result, before, source, target)
  let attributes = result.attributes
  if (target.gracefulShutdown) {
    const communities = attributes.communities.includes(gracefulShutdownCommunity)
      ? attributes.communities
      : [...attributes.communities, gracefulShutdownCommunity]
    attributes = config.isExternal ? { ...attributes, communities } : { ...attributes, communities, localPref: 0 }
  }
  if (config.isExternal) {
    const { localPref: _localPref, ...rest } = attributes
    attributes = { ...rest, asPath: externalPath(attributes.asPath, target) }
  }
  if (!config.sendCommunities) attributes = { ...attributes, communities: [], extendedCommunities: [], largeCommunities: [] }
  if (nextHop === undefined) return { attributes, nextHop }
  const { linkLocalNextHop: _linkLocal, nextHop: _nextHop, ...rest } = attributes
  return { attributes: rest, nextHop }
}

const nextHopFor = (result: PolicyResult, before: PathAttributes, source: ExportSource, target: ExportTarget): Exported["nextHop"] => {
  if (result.nextHop === "self" || result.nextHop === "peer") return result.nextHop
  const { nextHop } = result.attributes
  // A link-local address is good on its link only.
  if (nextHop === undefined || nextHop === "0.0.0.0" || nextHop === "::" || /^fe[89ab]/i.test(nextHop)) return "self"
  if (result.nextHop === "unchanged" || nextHop !== before.nextHop) return undefined
  if (target.config.isExternal) return target.isOnLink?.(nextHop) === true && !target.nextHopSelf ? undefined : "self"
  // RFC 4456 10: a reflector leaves the next hop alone.
  return target.nextHopSelf && (source.isLocal || source.isExternal) ? "self" : undefined
}

/** RFC 6996: for use within an organization. */
export const isPrivateAs = (asn: number): boolean => (asn >= 64512 && asn <= 65534) || (asn >= 4_200_000_000 && asn <= 4_294_967_294)

const externalPath = (asPath: AsPath, { asn, config }: ExportTarget): AsPath => {
  let path = asPath
  if (config.removePrivateAs) path = withoutPrivate(path, config)
  if (config.asOverride) path = mapPath(path, (asns) => asns.map((as) => (as === config.remoteAs ? config.localAs : as)))
  // RFC 5065 4: confederations do not leave.
  path = path.filter(({ type }) => type === SegmentType.asSequence || type === SegmentType.asSet)
  return prependTo(path, config.localAs !== asn && config.localAsPrepend ? [config.localAs, asn] : [config.localAs])
}

const withoutPrivate = (path: AsPath, { localAs, remoteAs, replacePrivateAs }: RibPeer): AsPath => {
  const isMeant = (as: number): boolean => isPrivateAs(as) && as !== remoteAs
  return mapPath(path, (asns) =>
    replacePrivateAs === true ? asns.map((as) => (isMeant(as) ? localAs : as)) : asns.filter((as) => !isMeant(as)))
}

const mapPath = (path: AsPath, change: (asns: ReadonlyArray<number>) => ReadonlyArray<number>): AsPath =>
  path.map(({ asns, type }) => ({ type, asns: change(asns) })).filter(({ asns }) => asns.length > 0)

/** RFC 4271 5.1.2 b: into the first segment, or into one of its own where that is a set or full. */
export const prependTo = (path: AsPath, asns: ReadonlyArray<number>): AsPath => {
  const [first, ...others] = path
  if (first !== undefined && first.type === SegmentType.asSequence && first.asns.length + asns.length <= 255) {
    return [{ type: first.type, asns: [...asns, ...first.asns] }, ...others]
  }
  return [{ type: SegmentType.asSequence, asns }, ...path]
}
