/**
 * MRT: recorded BGP. RFC 6396, with path identifiers of RFC 8050.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                     timestamp, seconds (32)                    |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |           type (16)           |         subtype (16)           |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                          length (32)                           |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |     microseconds (32), of BGP4MP_ET only, within the length    |
 *
 *     TABLE_DUMP_V2 (13): PEER_INDEX_TABLE 1; RIB_IPV4_UNICAST 2, RIB_IPV6_UNICAST 4; with add-path 8, 10
 *     BGP4MP (16), BGP4MP_ET (17): STATE_CHANGE 0, MESSAGE 1, MESSAGE_AS4 4, STATE_CHANGE_AS4 5, and MESSAGE*_ADDPATH 8 to 11
 *
 * Unsupported, and kept as opaque records: TABLE_DUMP (12), multicast and generic RIBs, OSPF, IS-IS.
 * Deviations: MP_REACH_NLRI of RIB entries is written as 4.3.4 has it, the next hop alone, and read in full form too, which
 * some collectors write.
 * Ownership: octets of messages and attributes are views into what was decoded.
 */
import { Attribute, AttributeFlag } from "./bgp/iana.ts"
import { OctetWriter } from "./bgp/octet-writer.ts"
import * as Ip from "./ip.ts"

export const headerLength = 12
/** Longer records are refused: nothing that is supported comes near. */
export const maxLength = 16 * 1024 * 1024

export const Type = { tableDumpV2: 13, bgp4mp: 16, bgp4mpEt: 17 } as const
export const TableSubtype = { peerIndexTable: 1, ipv4Unicast: 2, ipv6Unicast: 4, ipv4UnicastAddPath: 8, ipv6UnicastAddPath: 10 } as const
export const Bgp4mpSubtype = {
  stateChange: 0, message: 1, messageAs4: 4, stateChangeAs4: 5, messageLocal: 6, messageAs4Local: 7,
  messageAddPath: 8, messageAs4AddPath: 9, messageLocalAddPath: 10, messageAs4LocalAddPath: 11
} as const

// ---- repr -------------------------------------------------------------------------------------------------------------

export interface Peer {
  readonly bgpIdentifier: number
  readonly address: string
  readonly asn: number
}

export interface RibEntry {
  /** Index in the peer table of before. */
  readonly peerIndex: number
  /** Seconds since 1970. */
  readonly originatedS: number
  readonly pathId?: number
  /** As in an UPDATE with four-octet AS numbers; MP_REACH_NLRI as 4.3.4 has it. */
  readonly attributes: Uint8Array
}

/** The two ends of a session. */
export interface Session {
  readonly peerAsn: number
  readonly localAsn: number
  readonly interfaceIndex: number
  readonly peerAddress: string
  readonly localAddress: string
}

export type Body =
  | { readonly kind: "peerIndexTable"; readonly collectorId: number; readonly viewName: string; readonly peers: ReadonlyArray<Peer> }
  | {
    readonly kind: "rib"
    readonly family: "ipv4" | "ipv6"
    readonly addPath: boolean
    readonly sequence: number
    /** Canonical text. */
    readonly prefix: string
    readonly entries: ReadonlyArray<RibEntry>
  }
  | {
    readonly kind: "message"
    readonly session: Session
    readonly asn4: boolean
    /** Sent by the recording side. */
    readonly isLocal: boolean
    readonly addPath: boolean
    /** From its marker on. */
    readonly message: Uint8Array
  }
  | { readonly kind: "stateChange"; readonly session: Session; readonly asn4: boolean; readonly from: number; readonly to: number }
  | { readonly kind: "opaque"; readonly type: number; readonly subtype: number; readonly value: Uint8Array }

export interface MrtRecord {
  readonly timestampS: number
  /** Of BGP4MP records: written as BGP4MP_ET. */
  readonly microseconds?: number
  readonly body: Body
}

export type DecodeError =
  /** There is less than a record: feed more. */
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "TooLong"; readonly length: number }
  | { readonly _tag: "Malformed"; readonly type: number; readonly subtype: number }

/** `length`: octets of the record. */
export type Decoded =
  | { readonly ok: true; readonly value: MrtRecord; readonly length: number }
  | { readonly ok: false; readonly error: DecodeError }

// ---- decode -----------------------------------------------------------------------------------------------------------

const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const u32 = (b: Uint8Array, at: number): number => u16(b, at) * 65536 + u16(b, at + 2)

/** A place in a record that moves on as fields are taken; past the end it is broken, and gives zeros. */
class Cursor {
  readonly bytes: Uint8Array
  at: number
  readonly end: number
  isBroken = false

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  take(length: number): number {
    const at = this.at
    if (length > this.end - at) this.isBroken = true
    else this.at += length
    return at
  }

  u8(): number {
    const at = this.take(1)
    return this.isBroken ? 0 : this.bytes[at]!
  }

  u16(): number {
    const at = this.take(2)
    return this.isBroken ? 0 : u16(this.bytes, at)
  }

  u32(): number {
    const at = this.take(4)
    return this.isBroken ? 0 : u32(this.bytes, at)
  }

  octets(length: number): Uint8Array {
    const at = this.take(length)
    return this.isBroken ? new Uint8Array(0) : this.bytes.subarray(at, at + length)
  }

  address(length: number): string {
    return Ip.format(this.octets(length))
  }
}

/** RFC 6396 4.3.1. */
const readPeers = (from: Cursor): Body => {
  const collectorId = from.u32()
  const viewName = new TextDecoder().decode(from.octets(from.u16()))
  const count = from.u16()
  const peers: Array<Peer> = []
  for (let i = 0; i < count && !from.isBroken; i++) {
    const type = from.u8()
    const bgpIdentifier = from.u32()
    const address = from.address((type & 1) === 0 ? 4 : 16)
    peers.push({ bgpIdentifier, address, asn: (type & 2) === 0 ? from.u16() : from.u32() })
  }
  return { kind: "peerIndexTable", collectorId, viewName, peers }
}

/** RFC 6396 4.3.2, 4.3.4; RFC 8050 4. */
const readRib = (from: Cursor, family: "ipv4" | "ipv6", addPath: boolean): Body => {
  const sequence = from.u32()
  const bits = from.u8()
  const octets = new Uint8Array(family === "ipv4" ? 4 : 16)
  if (bits > octets.length * 8) from.isBroken = true
  else octets.set(from.octets((bits + 7) >> 3))
  if ((bits & 7) !== 0 && !from.isBroken) octets[bits >> 3]! &= 0xff00 >> (bits & 7)
  const count = from.u16()
  const entries: Array<RibEntry> = []
  for (let i = 0; i < count && !from.isBroken; i++) {
    const peerIndex = from.u16()
    const originatedS = from.u32()
    const pathId = addPath ? { pathId: from.u32() } : {}
    entries.push({ peerIndex, originatedS, ...pathId, attributes: from.octets(from.u16()) })
  }
  return { kind: "rib", family, addPath, sequence, prefix: `${Ip.format(octets)}/${bits}`, entries }
}

const isAs4 = (subtype: number): boolean =>
  subtype === Bgp4mpSubtype.messageAs4 || subtype === Bgp4mpSubtype.stateChangeAs4 || subtype === Bgp4mpSubtype.messageAs4Local ||
  subtype === Bgp4mpSubtype.messageAs4AddPath || subtype === Bgp4mpSubtype.messageAs4LocalAddPath

const isLocal = (subtype: number): boolean =>
  subtype === Bgp4mpSubtype.messageLocal || subtype === Bgp4mpSubtype.messageAs4Local || subtype >= Bgp4mpSubtype.messageLocalAddPath

const isStateChange = (subtype: number): boolean =>
  subtype === Bgp4mpSubtype.stateChange || subtype === Bgp4mpSubtype.stateChangeAs4

/** RFC 6396 4.4; RFC 8050 3. */
const readBgp4mp = (from: Cursor, subtype: number): Body => {
  const asn4 = isAs4(subtype)
  const peerAsn = asn4 ? from.u32() : from.u16()
  const localAsn = asn4 ? from.u32() : from.u16()
  const interfaceIndex = from.u16()
  const afi = from.u16()
  if (afi !== 1 && afi !== 2) from.isBroken = true
  const length = afi === 1 ? 4 : 16
  const session = { peerAsn, localAsn, interfaceIndex, peerAddress: from.address(length), localAddress: from.address(length) }
  if (isStateChange(subtype)) return { kind: "stateChange", session, asn4, from: from.u16(), to: from.u16() }
  const message = from.octets(from.end - from.at)
  return { kind: "message", session, asn4, isLocal: isLocal(subtype), addPath: subtype >= Bgp4mpSubtype.messageAddPath, message }
}

const readTable = (from: Cursor, subtype: number): Body | undefined => {
  switch (subtype) {
    case TableSubtype.peerIndexTable:
      return readPeers(from)
    case TableSubtype.ipv4Unicast:
    case TableSubtype.ipv4UnicastAddPath:
      return readRib(from, "ipv4", subtype === TableSubtype.ipv4UnicastAddPath)
    case TableSubtype.ipv6Unicast:
    case TableSubtype.ipv6UnicastAddPath:
      return readRib(from, "ipv6", subtype === TableSubtype.ipv6UnicastAddPath)
    default:
      return undefined
  }
}

const knownSubtypes: ReadonlySet<number> = new Set(Object.values(Bgp4mpSubtype))

/** The record from `at` on. */
export const decode = (bytes: Uint8Array, at = 0): Decoded => {
  if (bytes.length - at < headerLength) return { ok: false, error: { _tag: "Truncated" } }
  const [timestampS, type, subtype, length] = [u32(bytes, at), u16(bytes, at + 4), u16(bytes, at + 6), u32(bytes, at + 8)]
  if (length > maxLength) return { ok: false, error: { _tag: "TooLong", length } }
  const end = at + headerLength + length
  if (end > bytes.length) return { ok: false, error: { _tag: "Truncated" } }
  const from = new Cursor(bytes, at + headerLength, end)
  const isBgp4mp = (type === Type.bgp4mp || type === Type.bgp4mpEt) && knownSubtypes.has(subtype)
  const microseconds = isBgp4mp && type === Type.bgp4mpEt ? { microseconds: from.u32() } : {}
  const known = isBgp4mp ? readBgp4mp(from, subtype) : type === Type.tableDumpV2 ? readTable(from, subtype) : undefined
  const body: Body = known ?? { kind: "opaque", type, subtype, value: from.octets(length) }
  // All octets are accounted for.
  if (from.isBroken || from.at !== end) return { ok: false, error: { _tag: "Malformed", type, subtype } }
  return { ok: true, value: { timestampS, ...microseconds, body }, length: headerLength + length }
}

// ---- encode -----------------------------------------------------------------------------------------------------------

/** The octets of an address that is known to be one. */
const octetsOf = (address: string): Uint8Array => {
  const octets = Ip.parse(address)
  if (octets === undefined) throw new TypeError(`Cannot encode "${address}" in an MRT record: it is no address`)
  return octets
}

const writePeers = ({ collectorId, peers, viewName }: Extract<Body, { kind: "peerIndexTable" }>, out: OctetWriter): void => {
  const name = new TextEncoder().encode(viewName)
  out.u32(collectorId)
  out.u16(name.length)
  out.octets(name)
  out.u16(peers.length)
  for (const { address, asn, bgpIdentifier } of peers) {
    const octets = octetsOf(address)
    out.u8(2 | (octets.length === 16 ? 1 : 0))
    out.u32(bgpIdentifier)
    out.octets(octets)
    out.u32(asn)
  }
}

const writeRib = ({ addPath, entries, prefix, sequence }: Extract<Body, { kind: "rib" }>, out: OctetWriter): void => {
  const parsed = Ip.parsePrefix(prefix)
  if (parsed === undefined) throw new TypeError(`Cannot encode "${prefix}" in an MRT record: it is no prefix`)
  out.u32(sequence)
  out.u8(parsed.length)
  out.octets(parsed.address.subarray(0, (parsed.length + 7) >> 3))
  out.u16(entries.length)
  for (const { attributes, originatedS, pathId, peerIndex } of entries) {
    out.u16(peerIndex)
    out.u32(originatedS)
    if (addPath) out.u32(pathId ?? 0)
    out.u16(attributes.length)
    out.octets(attributes)
  }
}

const writeSession = (session: Session, asn4: boolean, out: OctetWriter): void => {
  for (const asn of [session.peerAsn, session.localAsn]) {
    if (asn4) out.u32(asn)
    else out.u16(asn)
  }
  const [peer, local] = [octetsOf(session.peerAddress), octetsOf(session.localAddress)]
  out.u16(session.interfaceIndex)
  out.u16(peer.length === 4 ? 1 : 2)
  out.octets(peer)
  out.octets(local)
}

const messageSubtype = ({ addPath, asn4, isLocal: isOurs }: Extract<Body, { kind: "message" }>): number => {
  const [plain, local] = asn4
    ? [Bgp4mpSubtype.messageAs4, Bgp4mpSubtype.messageAs4Local]
    : [Bgp4mpSubtype.message, Bgp4mpSubtype.messageLocal]
  const [marked, markedLocal] = asn4
    ? [Bgp4mpSubtype.messageAs4AddPath, Bgp4mpSubtype.messageAs4LocalAddPath]
    : [Bgp4mpSubtype.messageAddPath, Bgp4mpSubtype.messageLocalAddPath]
  return addPath ? (isOurs ? markedLocal : marked) : isOurs ? local : plain
}

/** Type and subtype of a body. */
const typeOf = (body: Body): readonly [type: number, subtype: number] => {
  switch (body.kind) {
    case "peerIndexTable":
      return [Type.tableDumpV2, TableSubtype.peerIndexTable]
    case "rib":
      return [Type.tableDumpV2, (body.family === "ipv4" ? TableSubtype.ipv4Unicast : TableSubtype.ipv6Unicast) + (body.addPath ? 6 : 0)]
    case "message":
      return [Type.bgp4mp, messageSubtype(body)]
    case "stateChange":
      return [Type.bgp4mp, body.asn4 ? Bgp4mpSubtype.stateChangeAs4 : Bgp4mpSubtype.stateChange]
    case "opaque":
      return [body.type, body.subtype]
  }
}

const writeBody = (body: Body, out: OctetWriter): void => {
  switch (body.kind) {
    case "peerIndexTable":
      return writePeers(body, out)
    case "rib":
      return writeRib(body, out)
    case "message":
      writeSession(body.session, body.asn4, out)
      return out.octets(body.message)
    case "stateChange":
      writeSession(body.session, body.asn4, out)
      out.u16(body.from)
      return out.u16(body.to)
    case "opaque":
      return out.octets(body.value)
  }
}

/** Appends a record. `microseconds` makes it one of BGP4MP_ET. */
export const encodeInto = ({ body, microseconds, timestampS }: MrtRecord, out: OctetWriter): void => {
  const [type, subtype] = typeOf(body)
  const isExtended = microseconds !== undefined && type === Type.bgp4mp
  out.u32(timestampS)
  out.u16(isExtended ? Type.bgp4mpEt : type)
  out.u16(subtype)
  const lengthAt = out.length
  out.u32(0)
  if (isExtended) out.u32(microseconds)
  writeBody(body, out)
  out.patchU32(lengthAt, out.length - lengthAt - 4)
}

export const encode = (record: MrtRecord): Uint8Array => {
  const out = new OctetWriter()
  encodeInto(record, out)
  return out.finish()
}

/** MP_REACH_NLRI of a RIB entry: length of the next hop and the next hop alone (RFC 6396 4.3.4). */
export const abbreviatedMpReach = (nextHop: Uint8Array): Uint8Array =>
  Uint8Array.of(AttributeFlag.optional, Attribute.mpReachNlri, nextHop.length + 1, nextHop.length, ...nextHop)

/** The next hop in MP_REACH_NLRI of a RIB entry, in either form, as octets; undefined where there is none. */
export const mpNextHopOf = (attributes: Uint8Array): Uint8Array | undefined => {
  for (let at = 0; at + 3 <= attributes.length;) {
    const isLong = (attributes[at]! & AttributeFlag.extendedLength) !== 0
    if (isLong && at + 4 > attributes.length) return undefined
    const from = at + (isLong ? 4 : 3)
    const end = from + (isLong ? u16(attributes, at + 2) : attributes[at + 2]!)
    if (end > attributes.length) return undefined
    if (attributes[at + 1] === Attribute.mpReachNlri && from < end) {
      // In full form an AFI comes first, whose first octet is 0.
      const lengthAt = attributes[from] === 0 ? from + 3 : from
      const nextHop = attributes.subarray(lengthAt + 1, Math.min(end, lengthAt + 1 + (attributes[lengthAt] ?? 0)))
      return lengthAt < end && nextHop.length === attributes[lengthAt] ? nextHop : undefined
    }
    at = end
  }
  return undefined
}
