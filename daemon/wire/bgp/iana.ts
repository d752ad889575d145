/**
 * Numbers of BGP that IANA keeps: message types, address families, path attributes, capabilities, error codes.
 *
 * Names are those of the RFCs. What is listed is what weft knows by name; a number that is missing here is still carried.
 */

/** RFC 4271 4.1, RFC 2918 3. */
export const MessageType = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const

/** Address Family Identifiers, 16 bits. */
export const Afi = { ipv4: 1, ipv6: 2, l2vpn: 25 } as const

/** Subsequent Address Family Identifiers, 8 bits. */
export const Safi = { unicast: 1, multicast: 2, evpn: 70, mplsVpn: 128 } as const

/** One number for an AFI and a SAFI: `afi * 256 + safi`. This is what "family" means everywhere in `wire/bgp` and `bgp`. */
export const familyOf = (afi: number, safi: number): number => afi * 256 + safi
export const afiOf = (family: number): number => family >>> 8
export const safiOf = (family: number): number => family & 0xff

export const Family = { ipv4Unicast: 0x0101, ipv6Unicast: 0x0201, evpn: 0x1946 } as const

const familyNames: Readonly<Record<number, string>> = {
  [Family.ipv4Unicast]: "ipv4-unicast",
  [Family.ipv6Unicast]: "ipv6-unicast",
  [Family.evpn]: "l2vpn-evpn"
}

/** `ipv4-unicast`; `afi 1 safi 2` for what weft does not speak. */
export const familyName = (family: number): string => familyNames[family] ?? `afi ${afiOf(family)} safi ${safiOf(family)}`

/** RFC 4271 4.3 and successors. */
export const Attribute = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  multiExitDisc: 4,
  localPref: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReachNlri: 14,
  mpUnreachNlri: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  pmsiTunnel: 22,
  tunnelEncapsulation: 23,
  ipv6ExtendedCommunities: 25,
  aigp: 26,
  linkState: 29,
  largeCommunities: 32,
  onlyToCustomer: 35,
  prefixSid: 40
} as const

const attributeNames: Readonly<Record<number, string>> = {
  1: "ORIGIN", 2: "AS_PATH", 3: "NEXT_HOP", 4: "MULTI_EXIT_DISC", 5: "LOCAL_PREF", 6: "ATOMIC_AGGREGATE", 7: "AGGREGATOR",
  8: "COMMUNITIES", 9: "ORIGINATOR_ID", 10: "CLUSTER_LIST", 14: "MP_REACH_NLRI", 15: "MP_UNREACH_NLRI",
  16: "EXTENDED_COMMUNITIES", 17: "AS4_PATH", 18: "AS4_AGGREGATOR", 22: "PMSI_TUNNEL", 23: "TUNNEL_ENCAPSULATION",
  25: "IPV6_EXTENDED_COMMUNITIES", 26: "AIGP", 29: "BGP-LS", 32: "LARGE_COMMUNITIES", 35: "ONLY_TO_CUSTOMER", 40: "PREFIX_SID"
}

/** `AS_PATH`, or `attribute 99`. */
export const attributeName = (type: number): string => attributeNames[type] ?? `attribute ${type}`

/** RFC 4271 4.3: the high four bits of an attribute's first octet. */
export const AttributeFlag = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const

/** RFC 4271 5.1.1. */
export const Origin = { igp: 0, egp: 1, incomplete: 2 } as const

/** RFC 4271 4.3, RFC 5065 3. */
export const SegmentType = { asSet: 1, asSequence: 2, confedSequence: 3, confedSet: 4 } as const

/** RFC 6793 9: stands for an AS number that does not fit into two octets. */
export const asTrans = 23456

export const CapabilityCode = {
  multiprotocol: 1,
  routeRefresh: 2,
  extendedNextHop: 5,
  extendedMessage: 6,
  role: 9,
  gracefulRestart: 64,
  fourOctetAs: 65,
  addPath: 69,
  enhancedRouteRefresh: 70,
  longLivedGracefulRestart: 71,
  fqdn: 73
} as const

/** RFC 9234 4.1. */
export const Role = { provider: 0, routeServer: 1, routeServerClient: 2, customer: 3, peer: 4 } as const

/** RFC 4271 4.5, RFC 7313 5, RFC 9687. */
export const ErrorCode = {
  messageHeader: 1,
  openMessage: 2,
  updateMessage: 3,
  holdTimerExpired: 4,
  finiteStateMachine: 5,
  cease: 6,
  routeRefreshMessage: 7,
  sendHoldTimerExpired: 8
} as const

/** RFC 4271 6.1. */
export const HeaderError = { connectionNotSynchronized: 1, badMessageLength: 2, badMessageType: 3 } as const

/** RFC 4271 6.2, RFC 5492 5, RFC 9234 4.2. */
export const OpenError = {
  unspecific: 0,
  unsupportedVersionNumber: 1,
  badPeerAs: 2,
  badBgpIdentifier: 3,
  unsupportedOptionalParameter: 4,
  unacceptableHoldTime: 6,
  unsupportedCapability: 7,
  roleMismatch: 11
} as const

/** RFC 4271 6.3. */
export const UpdateError = {
  malformedAttributeList: 1,
  unrecognizedWellKnownAttribute: 2,
  missingWellKnownAttribute: 3,
  attributeFlagsError: 4,
  attributeLengthError: 5,
  invalidOriginAttribute: 6,
  invalidNextHopAttribute: 8,
  optionalAttributeError: 9,
  invalidNetworkField: 10,
  malformedAsPath: 11
} as const

/** RFC 6608 3: the state says where the unexpected message came. */
export const FsmError = { unspecific: 0, openSent: 1, openConfirm: 2, established: 3 } as const

/** RFC 4486 3, RFC 8538 3, RFC 9384 3. */
export const CeaseError = {
  maximumNumberOfPrefixesReached: 1,
  administrativeShutdown: 2,
  peerDeconfigured: 3,
  administrativeReset: 4,
  connectionRejected: 5,
  otherConfigurationChange: 6,
  connectionCollisionResolution: 7,
  outOfResources: 8,
  hardReset: 9,
  bfdDown: 10
} as const

/** RFC 7313 5. */
export const RouteRefreshError = { invalidMessageLength: 1 } as const
