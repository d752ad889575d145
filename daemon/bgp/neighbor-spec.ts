/** What of the topology's words about a neighbour the RIB gets, and what of a change of them needs a new session. Pure. */
import type { BgpFamilySpec, BgpNeighborSpec, BgpSpec, Family } from "../plan/bgp.ts"
import { Family as WireFamily } from "../wire/bgp/iana.ts"
import type { CompiledPolicy } from "./policy/policy.ts"
import { FamilyIndex, type RibPeer, type RibPeerFamily } from "./rib/types.ts"

/** Index of a wire family among those that tables have; undefined: another family. */
export const familyIndexOf = (family: number): FamilyIndex | undefined => {
  if (family === WireFamily.ipv4Unicast) return FamilyIndex.ipv4
  return family === WireFamily.ipv6Unicast ? FamilyIndex.ipv6 : undefined
}

export const wireFamilies = [WireFamily.ipv4Unicast, WireFamily.ipv6Unicast] as const

export const wireFamilyOf = (family: Family): number => (family === "ipv4" ? WireFamily.ipv4Unicast : WireFamily.ipv6Unicast)

export const familyNames = ["ipv4", "ipv6"] as const satisfies ReadonlyArray<Family>

/** What the RIB must know of the speaker to know a neighbour. */
export interface PeerSetting {
  readonly asn: number
  readonly policies: ReadonlyMap<string, CompiledPolicy>
}

const familyPart = (family: BgpFamilySpec | undefined, { policies }: PeerSetting): RibPeerFamily | undefined => {
  if (family === undefined) return undefined
  const { addPath, defaultPolicy, defaultWhen, exportPolicy, importPolicy, maxPrefix } = family
  const policy = (name: string | undefined): CompiledPolicy | undefined => (name === undefined ? undefined : policies.get(name))
  const [taken, told, originated] = [policy(importPolicy), policy(exportPolicy), policy(defaultPolicy)]
  return {
    ...(taken === undefined ? {} : { importPolicy: taken }),
    ...(told === undefined ? {} : { exportPolicy: told }),
    ...(maxPrefix === undefined ? {} : { maxPrefix: maxPrefix.count }),
    ...(maxPrefix?.action === "discard" ? { discardsExtra: true } : {}),
    ...(maxPrefix?.thresholdPercent === undefined ? {} : { nearMaxPrefix: Math.floor(maxPrefix.count * maxPrefix.thresholdPercent / 100) }),
    defaultOriginate: family.defaultOriginate ?? false,
    ...(originated === undefined ? {} : { defaultPolicy: originated }),
    ...(defaultWhen === undefined ? {} : { defaultWhen }),
    nextHopSelf: family.nextHopSelf ?? false,
    addPathSend: addPath?.send ?? 0
  }
}

/** The neighbour as the RIB sees it. `remoteAs`: what it said, where the topology does not say. */
export const ribPeerOf = (spec: BgpNeighborSpec, setting: PeerSetting, remoteAs?: number): RibPeer => {
  const localAs = spec.localAs?.asn ?? setting.asn
  const theirs = typeof spec.remoteAs === "number" ? spec.remoteAs : (remoteAs ?? (spec.remoteAs === "internal" ? localAs : 0))
  const family = (name: Family): RibPeerFamily | undefined => familyPart(spec.families.find((one) => one.family === name), setting)
  return {
    name: spec.name,
    isExternal: theirs !== localAs,
    remoteAs: theirs,
    localAs,
    localAsPrepend: spec.localAs?.prepend ?? false,
    ...(spec.localAs?.onlyOut === true ? { localAsOnlyOut: true } : {}),
    routeReflectorClient: spec.routeReflectorClient,
    allowAsIn: spec.allowAsIn,
    ...(spec.allowOwnOrigin === true ? { allowOwnOrigin: true } : {}),
    ...(spec.enforceFirstAs === true ? { enforceFirstAs: true } : {}),
    refusesOwnAs: spec.refusesOwnAs === true,
    removePrivateAs: spec.removePrivateAs,
    ...(spec.replacePrivateAs === true ? { replacePrivateAs: true } : {}),
    asOverride: spec.asOverride,
    sendCommunities: spec.sendCommunities,
    mraiMs: spec.timers.mraiMs,
    families: [family("ipv4"), family("ipv6")]
  }
}

/** What of a neighbour can only change with a new session. */
const sessionFields = [
  "remote", "remoteAs", "localAs", "vrf", "passive", "updateSource", "multihop", "ttlSecurity", "password", "gracefulRestart"
] as const satisfies ReadonlyArray<keyof BgpNeighborSpec>

/** Whether the session has to begin anew for `after` to hold: what OPENs agree on, or how the connection is made. */
export const needsNewSession = (before: BgpNeighborSpec, after: BgpNeighborSpec): boolean =>
  sessionFields.some((field) => !same(before[field], after[field])) ||
  !same(agreed(before), agreed(after)) ||
  // A session that was made to be shut down does not start.
  (before.shutdown && !after.shutdown)

/** Whether a group of dynamic neighbours can become what `after` says while those of its members stay that fit. */
export const canMove = (before: BgpNeighborSpec, after: BgpNeighborSpec): boolean =>
  before.remote.kind === "prefix" && after.remote.kind === "prefix" && before.shutdown === after.shutdown &&
  !needsNewSession({ ...before, remote: after.remote }, after)

/** Whether routes that were refused before their place was noted may be taken now: they have to be asked for again. */
export const takesMore = (before: BgpNeighborSpec, after: BgpNeighborSpec): boolean => {
  const refusals = ({ allowAsIn, allowOwnOrigin, enforceFirstAs, families }: BgpNeighborSpec): object => ({
    allowAsIn, allowOwnOrigin, enforceFirstAs, limits: families.map(({ maxPrefix }) => (maxPrefix?.action === "discard" ? maxPrefix : {}))
  })
  return !same(refusals(before), refusals(after))
}

const agreed = ({ families }: BgpNeighborSpec): ReadonlyArray<object> =>
  families.map(({ addPath, family }) => ({ family, receives: addPath?.receive ?? false, sends: (addPath?.send ?? 0) > 0 }))

/** Plain values, in the order in which the compiler writes them. */
export const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)
