/**
 * OPEN messages: ours, made of what the topology says of a neighbour, and what both speakers can once the peer's has come.
 *
 *   ours = openFor(...)                        sent on each connection
 *   agree(ours, peer's, neighbor)              what holds for the session, or the NOTIFICATION that refuses it (RFC 4271, 6.2)
 *
 * Capabilities are those of RFC 2918, 4724, 4760, 5492, 6793, 7313, 7911, 8654, 8950 and 9494; the host name is that of
 * draft-walton-bgp-hostname-capability, as FRR sends it. What the peer offers and we do not know is ignored (RFC 5492, 3).
 */
import type { BgpNeighborSpec } from "../../plan/bgp.ts"
import type { Capability } from "../../wire/bgp/capabilities.ts"
import { makeContext, type SessionContext } from "../../wire/bgp/context.ts"
import { Afi, afiOf, CapabilityCode, ErrorCode, Family, OpenError, safiOf } from "../../wire/bgp/iana.ts"
import type { BgpError } from "../../wire/bgp/notification.ts"
import type { Open } from "../../wire/bgp/open.ts"
import type { LocalSpeaker } from "./api.ts"

/** What both can. */
export interface Agreement {
  readonly context: SessionContext
  /** The lower of both; 0: no keepalives and no hold timer. */
  readonly holdTimeS: number
  readonly keepaliveS: number
  readonly routeRefresh: boolean
  readonly enhancedRouteRefresh: boolean
}

export type Negotiated = { readonly ok: true; readonly value: Agreement } | { readonly ok: false; readonly error: BgpError }

type Kind = Capability["kind"]

/** `2.0.0.1` as an unsigned number. */
export const identifierOf = (routerId: string): number => routerId.split(".").reduce((sum, part) => sum * 256 + Number(part), 0)

export const identifierText = (identifier: number): string =>
  [24, 16, 8, 0].map((shift) => (identifier >>> shift) & 0xff).join(".")

/** All capabilities of the kind, of which there may be several. */
export const capabilitiesOf = <K extends Kind>(open: Open, kind: K): ReadonlyArray<Extract<Capability, { kind: K }>> =>
  open.capabilities.filter((capability): capability is Extract<Capability, { kind: K }> => capability.kind === kind)

const has = (open: Open, kind: Kind): boolean => open.capabilities.some((capability) => capability.kind === kind)

/** The AS that we are towards this neighbour. */
export const localAsOf = (speaker: LocalSpeaker, neighbor: BgpNeighborSpec): number => neighbor.localAs?.asn ?? speaker.asn

/** Families of a neighbour, as numbers. */
export const familiesOf = (neighbor: BgpNeighborSpec): ReadonlyArray<number> =>
  neighbor.families.map(({ family }) => (family === "ipv4" ? Family.ipv4Unicast : Family.ipv6Unicast))

const restartCapabilities = (speaker: LocalSpeaker, neighbor: BgpNeighborSpec, families: ReadonlyArray<number>): Capability[] => {
  const { enabled, notification, restartTimeS, longLivedStaleS } = neighbor.gracefulRestart
  if (!enabled) return []
  const forwardingPreserved = speaker.restarting
  const capability: Capability = {
    kind: "gracefulRestart",
    restarting: speaker.restarting,
    notification,
    restartTimeS: Math.min(restartTimeS, 4095),
    families: families.map((family) => ({ family, forwardingPreserved }))
  }
  if (longLivedStaleS === 0) return [capability]
  const entries = families.map((family) => ({ family, forwardingPreserved, staleTimeS: Math.min(longLivedStaleS, 0xffffff) }))
  return [capability, { kind: "longLivedGracefulRestart", families: entries }]
}

export interface OpenOptions {
  /** The session runs over IPv6, so that IPv4 routes may have an IPv6 next hop (RFC 8950). */
  readonly isIpv6: boolean
  /** Besides those of the neighbour. */
  readonly moreFamilies?: ReadonlyArray<number>
}

/** Our OPEN for the neighbour. */
export const openFor = (speaker: LocalSpeaker, neighbor: BgpNeighborSpec, options: OpenOptions): Open => {
  const families = [...familiesOf(neighbor), ...(options.moreFamilies ?? [])]
  const asn = localAsOf(speaker, neighbor)
  const addPaths = neighbor.families.flatMap(({ family, addPath }) =>
    addPath === undefined || (!addPath.receive && addPath.send === 0)
      ? []
      : [{ family: family === "ipv4" ? Family.ipv4Unicast : Family.ipv6Unicast, receive: addPath.receive, send: addPath.send > 0 }]
  )
  const capabilities: Capability[] = [
    ...families.map((family): Capability => ({ kind: "multiprotocol", family })),
    { kind: "routeRefresh" },
    { kind: "enhancedRouteRefresh" },
    { kind: "extendedMessage" },
    { kind: "fourOctetAs", asn }
  ]
  if (options.isIpv6 && families.includes(Family.ipv4Unicast)) {
    capabilities.push({ kind: "extendedNextHop", entries: [{ family: Family.ipv4Unicast, nextHopAfi: Afi.ipv6 }] })
  }
  if (addPaths.length > 0) capabilities.push({ kind: "addPath", families: addPaths })
  capabilities.push(...restartCapabilities(speaker, neighbor, families))
  if (speaker.hostname !== undefined) capabilities.push({ kind: "fqdn", hostname: speaker.hostname, domain: "" })
  return { asn, holdTimeS: neighbor.timers.holdTimeS, bgpIdentifier: identifierOf(speaker.routerId), capabilities }
}

const refuse = (subcode: number, data: ReadonlyArray<number> = []): Negotiated => ({
  ok: false,
  error: { code: ErrorCode.openMessage, subcode, data: Uint8Array.from(data) }
})

/** RFC 4760, 8: a neighbour that announces no family speaks IPv4 unicast. */
const announced = (open: Open): ReadonlyArray<number> => {
  const families = capabilitiesOf(open, "multiprotocol").map(({ family }) => family)
  return families.length === 0 ? [Family.ipv4Unicast] : families
}

const isExpectedAs = (neighbor: BgpNeighborSpec, localAs: number, asn: number): boolean => {
  if (asn === 0) return false
  if (neighbor.remoteAs === "external") return asn !== localAs
  return asn === (neighbor.remoteAs === "internal" ? localAs : neighbor.remoteAs)
}

const addPathOf = (open: Open, direction: "receive" | "send"): ReadonlyArray<number> =>
  capabilitiesOf(open, "addPath").flatMap(({ families }) => families.filter((entry) => entry[direction]).map(({ family }) => family))

const extendedNextHopOf = (open: Open): ReadonlyArray<number> =>
  capabilitiesOf(open, "extendedNextHop").flatMap(({ entries }) =>
    entries.filter(({ nextHopAfi }) => nextHopAfi === Afi.ipv6).map(({ family }) => family)
  )

const both = (one: ReadonlyArray<number>, other: ReadonlyArray<number>): ReadonlyArray<number> =>
  one.filter((family) => other.includes(family))

/** What holds for a session between our OPEN and the peer's, or why there is none. */
export const agree = (ours: Open, theirs: Open, neighbor: BgpNeighborSpec): Negotiated => {
  // RFC 7607: AS 0 is nobody's. RFC 4271, 6.2: an AS that is not expected.
  if (!isExpectedAs(neighbor, ours.asn, theirs.asn)) return refuse(OpenError.badPeerAs)
  const isExternal = theirs.asn !== ours.asn
  // RFC 6286, 2.2: not zero, and not ours within one AS.
  if (theirs.bgpIdentifier === 0 || (!isExternal && theirs.bgpIdentifier === ours.bgpIdentifier)) {
    return refuse(OpenError.badBgpIdentifier)
  }
  const isTooShort = theirs.holdTimeS < (neighbor.timers.minimumHoldS ?? 0)
  if (theirs.holdTimeS === 1 || theirs.holdTimeS === 2 || isTooShort) return refuse(OpenError.unacceptableHoldTime)
  const families = both(announced(ours), announced(theirs))
  if (families.length === 0) {
    // RFC 5492, 5: the data are the capabilities that we need.
    const octetsOf = (family: number): number[] => [
      CapabilityCode.multiprotocol, 4, afiOf(family) >>> 8, afiOf(family) & 0xff, 0, safiOf(family)
    ]
    return refuse(OpenError.unsupportedCapability, announced(ours).flatMap(octetsOf))
  }
  const holdTimeS = Math.min(ours.holdTimeS, theirs.holdTimeS)
  const keepaliveS = holdTimeS === 0 ? 0 : Math.max(1, Math.min(neighbor.timers.keepaliveS, Math.floor(holdTimeS / 3)))
  const context = makeContext({
    asn4: has(ours, "fourOctetAs") && has(theirs, "fourOctetAs"),
    extendedMessage: has(ours, "extendedMessage") && has(theirs, "extendedMessage"),
    isExternal,
    families,
    // RFC 7911, 4: what one wants to receive and the other wants to send.
    addPathReceive: both(addPathOf(ours, "receive"), addPathOf(theirs, "send")),
    addPathSend: both(addPathOf(ours, "send"), addPathOf(theirs, "receive")),
    extendedNextHop: both(extendedNextHopOf(ours), extendedNextHopOf(theirs))
  })
  const routeRefresh = has(theirs, "routeRefresh")
  const enhancedRouteRefresh = routeRefresh && has(theirs, "enhancedRouteRefresh")
  return { ok: true, value: { context, holdTimeS, keepaliveS, routeRefresh, enhancedRouteRefresh } }
}

const names: Readonly<Partial<Record<Kind, string>>> = {
  routeRefresh: "route refresh",
  enhancedRouteRefresh: "enhanced route refresh",
  extendedMessage: "extended messages",
  extendedNextHop: "IPv6 next hops for IPv4",
  role: "role",
  gracefulRestart: "graceful restart",
  longLivedGracefulRestart: "long-lived graceful restart",
  fourOctetAs: "4-octet AS numbers",
  addPath: "additional paths",
  fqdn: "host name"
}

const nameOf = (capability: Capability, familyName: (family: number) => string): string => {
  if (capability.kind === "multiprotocol") return familyName(capability.family)
  return capability.kind === "unknown" ? `capability ${capability.code}` : (names[capability.kind] ?? capability.kind)
}

/** Both sides' capabilities for people, each with who announced it. */
export const compareCapabilities = (
  ours: Open,
  theirs: Open | undefined,
  familyName: (family: number) => string
): ReadonlyArray<{ readonly name: string; readonly advertised: boolean; readonly received: boolean }> => {
  const mine = new Set(ours.capabilities.map((capability) => nameOf(capability, familyName)))
  const other = new Set(theirs?.capabilities.map((capability) => nameOf(capability, familyName)))
  return [...new Set([...mine, ...other])].map((name) => ({ name, advertised: mine.has(name), received: other.has(name) }))
}
