/**
 * EVPN routes: the NLRI of AFI 25, SAFI 70. RFC 7432 7, with VNIs as RFC 8365 5.1.3 has them, IP prefixes of RFC 9136 and the
 * second label of RFC 9135.
 *
 *      Route type (1) | Length (1) | value
 *
 *      1 Ethernet A-D       RD 8, ESI 10, tag 4, label 3                                               25
 *      2 MAC/IP             RD 8, ESI 10, tag 4, 48, MAC 6, bits of IP 1, IP, label 3, label 0 or 3    33, 37, 49; + 3
 *      3 multicast          RD 8, tag 4, bits of IP 1, originator                                      17, 29
 *      4 Ethernet segment   RD 8, ESI 10, bits of IP 1, originator                                     23, 35
 *      5 IP prefix          RD 8, ESI 10, tag 4, length 1, prefix, gateway, label 3                    34, 58
 *
 * A field that does not name the route (RFC 7432 7.1 to 7.4, 7.7: the ESI and labels of type 2, the label of 1, the ESI,
 * gateway and label of 5) is not in `keyOf`: a withdrawal may have anything there.
 *
 * Unsupported: ADD-PATH; types from 6 on, which are counted and passed over (RFC 7606 5.4).
 * Deviations: labels are read as VNIs of 24 bits whatever the encapsulation says; for MPLS the label is the upper 20.
 * Ownership: values hold no views.
 */
import * as Ip from "../ip.ts"

export const afi = 25
export const safi = 70

export const RouteType = { ethernetAd: 1, macIp: 2, multicast: 3, ethernetSegment: 4, prefix: 5 } as const

const headerLength = 2
const rdLength = 8
const esiLength = 10

// ---- view ------------------------------------------------------------------------------------------------------------

export const routeType = (b: Uint8Array, at: number): number => b[at]!
/** Octets of the whole NLRI. */
export const nlriLength = (b: Uint8Array, at: number): number => headerLength + b[at + 1]!
const long = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0
/** RFC 8365 5.1.3: all 24 bits. */
export const vni = (b: Uint8Array, at: number): number => (b[at]! << 16) | (b[at + 1]! << 8) | b[at + 2]!

// ---- repr ------------------------------------------------------------------------------------------------------------

interface Named {
  /** Route distinguisher: 16 hexadecimal digits. */
  readonly rd: string
}

/** Ethernet segment identifier: 20 hexadecimal digits. */
type Esi = string
export const zeroEsi: Esi = "00".repeat(esiLength)
/** RFC 7432 8.2.1: the tag of a route per Ethernet segment. */
export const maxTag = 0xffff_ffff

export interface EthernetAd extends Named {
  readonly type: typeof RouteType.ethernetAd
  readonly esi: Esi
  readonly tag: number
  readonly label: number
}

export interface MacIp extends Named {
  readonly type: typeof RouteType.macIp
  readonly esi: Esi
  readonly tag: number
  /** Lower case, colons. */
  readonly mac: string
  /** Canonical text; absent: of the MAC address alone. */
  readonly ip?: string
  /** The VNI of the segment. */
  readonly label: number
  /** The VNI of its routing table (RFC 9135). */
  readonly label2?: number
}

export interface Multicast extends Named {
  readonly type: typeof RouteType.multicast
  readonly tag: number
  readonly originator: string
}

export interface EthernetSegment extends Named {
  readonly type: typeof RouteType.ethernetSegment
  readonly esi: Esi
  readonly originator: string
}

export interface Prefix extends Named {
  readonly type: typeof RouteType.prefix
  readonly esi: Esi
  readonly tag: number
  /** Canonical text with its length; bits behind it are zero. */
  readonly prefix: string
  /** Of the prefix's family; all zeros: none. */
  readonly gateway: string
  readonly label: number
}

export type Route = EthernetAd | MacIp | Multicast | EthernetSegment | Prefix

export type DecodeError =
  /** The NLRI is longer than what holds it: what follows it cannot be found. */
  | { readonly _tag: "Truncated" }
  | { readonly _tag: "BadLength"; readonly type: number; readonly length: number }
  | { readonly _tag: "BadMacLength"; readonly bits: number }
  | { readonly _tag: "BadIpLength"; readonly bits: number }

export type Decoded<A> = { readonly ok: true; readonly value: A } | { readonly ok: false; readonly error: DecodeError }

/** What identifies the route: equal for an announcement and its withdrawal. */
export const keyOf = (route: Route): string => {
  switch (route.type) {
    case RouteType.ethernetAd:
      return `1|${route.rd}|${route.esi}|${route.tag}`
    case RouteType.macIp:
      return `2|${route.rd}|${route.tag}|${route.mac}|${route.ip ?? ""}`
    case RouteType.multicast:
      return `3|${route.rd}|${route.tag}|${route.originator}`
    case RouteType.ethernetSegment:
      return `4|${route.rd}|${route.esi}|${route.originator}`
    case RouteType.prefix:
      return `5|${route.rd}|${route.tag}|${route.prefix}`
  }
}

/**
 * Whether a prefix route must be taken as a withdrawal (RFC 9136 3.1, 3.2): two overlay indexes, or neither one nor a VNI.
 * A gateway in a route without a label is one index.
 */
export const isContradictory = ({ esi, gateway, label }: Prefix): boolean => {
  const hasGateway = !/^[0.:]+$/.test(gateway)
  const hasEsi = esi !== zeroEsi
  return (hasGateway && hasEsi) || (label === 0 && !hasGateway && !hasEsi)
}

// ---- decode ----------------------------------------------------------------------------------------------------------

const truncated: DecodeError = Object.freeze({ _tag: "Truncated" })

const hex = (b: Uint8Array, at: number, length: number): string => Buffer.from(b.buffer, b.byteOffset + at, length).toString("hex")
const ipOctets = (bits: number): number | undefined => (bits === 32 ? 4 : bits === 128 ? 16 : undefined)
const addressAt = (b: Uint8Array, at: number, length: number): string => Ip.format(b.subarray(at, at + length))
const bad = (error: DecodeError): Decoded<never> => ({ ok: false, error })
const good = (value: Route): Decoded<Route> => ({ ok: true, value })

/** The NLRI at `at`, of a known type; all of it is there. */
const decodeValue = (b: Uint8Array, at: number): Decoded<Route> => {
  const type = routeType(b, at)
  const length = b[at + 1]!
  const value = at + headerLength
  const wrong = bad({ _tag: "BadLength", type, length })
  if (length < rdLength) return wrong
  const rd = hex(b, value, rdLength)
  const body = { b, at: value + rdLength, length: length - rdLength, rd, wrong }
  switch (type) {
    case RouteType.ethernetAd:
      return decodeEthernetAd(body)
    case RouteType.macIp:
      return decodeMacIp(body)
    case RouteType.multicast:
      return decodeMulticast(body)
    case RouteType.ethernetSegment:
      return decodeEthernetSegment(body)
    default:
      return decodePrefix(body)
  }
}

/** What follows the route distinguisher. */
interface Body {
  readonly b: Uint8Array
  readonly at: number
  readonly length: number
  readonly rd: string
  readonly wrong: Decoded<never>
}

const decodeEthernetAd = ({ at, b, length, rd, wrong }: Body): Decoded<Route> =>
  length !== 17 ? wrong : good({ type: 1, rd, esi: hex(b, at, esiLength), tag: long(b, at + 10), label: vni(b, at + 14) })

const decodeMacIp = ({ at, b, length, rd, wrong }: Body): Decoded<Route> => {
  if (length < 25) return wrong
  const [macBits, ipBits] = [b[at + 14]!, b[at + 21]!]
  if (macBits !== 48) return bad({ _tag: "BadMacLength", bits: macBits })
  const octets = ipBits === 0 ? 0 : ipOctets(ipBits)
  if (octets === undefined) return bad({ _tag: "BadIpLength", bits: ipBits })
  const labels = length - 22 - octets
  if (labels !== 3 && labels !== 6) return wrong
  const label = at + 22 + octets
  return good({
    type: 2,
    rd,
    esi: hex(b, at, esiLength),
    tag: long(b, at + 10),
    mac: Ip.formatMac(b.subarray(at + 15, at + 21)),
    ...(octets === 0 ? {} : { ip: addressAt(b, at + 22, octets) }),
    label: vni(b, label),
    ...(labels === 3 ? {} : { label2: vni(b, label + 3) })
  })
}

const decodeMulticast = ({ at, b, length, rd, wrong }: Body): Decoded<Route> => {
  if (length < 5) return wrong
  const octets = ipOctets(b[at + 4]!)
  if (octets === undefined) return bad({ _tag: "BadIpLength", bits: b[at + 4]! })
  return length !== 5 + octets ? wrong : good({ type: 3, rd, tag: long(b, at), originator: addressAt(b, at + 5, octets) })
}

const decodeEthernetSegment = ({ at, b, length, rd, wrong }: Body): Decoded<Route> => {
  if (length < 11) return wrong
  const octets = ipOctets(b[at + 10]!)
  if (octets === undefined) return bad({ _tag: "BadIpLength", bits: b[at + 10]! })
  return length !== 11 + octets ? wrong : good({ type: 4, rd, esi: hex(b, at, esiLength), originator: addressAt(b, at + 11, octets) })
}

/** RFC 9136 3.1: the length of the route, not that of the prefix, says which family it is. */
const decodePrefix = ({ at, b, length, rd, wrong }: Body): Decoded<Route> => {
  const octets = length === 26 ? 4 : length === 50 ? 16 : undefined
  if (octets === undefined) return wrong
  const bits = b[at + 14]!
  if (bits > octets * 8) return bad({ _tag: "BadIpLength", bits })
  const address = b.slice(at + 15, at + 15 + octets)
  for (let i = 0; i < octets; i++) address[i]! &= bits >= (i + 1) * 8 ? 0xff : bits <= i * 8 ? 0 : (0xff00 >> (bits - i * 8)) & 0xff
  return good({
    type: 5,
    rd,
    esi: hex(b, at, esiLength),
    tag: long(b, at + 10),
    prefix: `${Ip.format(address)}/${bits}`,
    gateway: addressAt(b, at + 15 + octets, octets),
    label: vni(b, at + 15 + 2 * octets)
  })
}

/** The route at `at`, which must end by `end`. Its type is one of those above. */
export const decode = (b: Uint8Array, at = 0, end = b.length): Decoded<Route> =>
  end - at < headerLength || end - at < nlriLength(b, at) ? bad(truncated) : decodeValue(b, at)

export interface Routes {
  readonly routes: ReadonlyArray<Route>
  /** NLRI of types that we do not know, which RFC 7606 5.4 has discarded. */
  readonly unknown: number
  /** The first NLRI that is wrong; those before it are in `routes`, and nothing behind it was read (RFC 7606 5.3). */
  readonly error?: DecodeError
}

/** All NLRI from `at` to `end`: what an MP_REACH_NLRI or MP_UNREACH_NLRI holds. */
export const decodeAll = (b: Uint8Array, at = 0, end = b.length): Routes => {
  const routes: Route[] = []
  let unknown = 0
  while (at < end) {
    if (end - at < headerLength || end - at < nlriLength(b, at)) return { routes, unknown, error: truncated }
    const type = routeType(b, at)
    if (type < 1 || type > 5) unknown += 1
    else {
      const route = decodeValue(b, at)
      if (!route.ok) return { routes, unknown, error: route.error }
      routes.push(route.value)
    }
    at += nlriLength(b, at)
  }
  return { routes, unknown }
}

// ---- encode ----------------------------------------------------------------------------------------------------------

const octetsOf = (address: string): Uint8Array => {
  const octets = Ip.parse(address)
  if (octets === undefined) throw new TypeError(`not an IP address: "${address}"`)
  return octets
}

const valueLength = (route: Route): number => {
  switch (route.type) {
    case RouteType.ethernetAd:
      return 25
    case RouteType.macIp:
      return 33 + (route.ip === undefined ? 0 : octetsOf(route.ip).length) + (route.label2 === undefined ? 0 : 3)
    case RouteType.multicast:
      return 13 + octetsOf(route.originator).length
    case RouteType.ethernetSegment:
      return 19 + octetsOf(route.originator).length
    case RouteType.prefix:
      return 26 + 2 * octetsOf(route.gateway).length
  }
}

export const encodedLength = (route: Route): number => headerLength + valueLength(route)

/** Writes field after field. */
class Writer {
  readonly target: Uint8Array
  at: number

  constructor(target: Uint8Array, at: number) {
    this.target = target
    this.at = at
  }

  octet(value: number): this {
    this.target[this.at++] = value
    return this
  }

  octets(value: Uint8Array): this {
    this.target.set(value, this.at)
    this.at += value.length
    return this
  }

  hex(value: string, length: number): this {
    const octets = Buffer.from(value, "hex")
    if (octets.length !== length) throw new TypeError(`not ${length} octets: "${value}"`)
    return this.octets(octets)
  }

  label(value: number): this {
    if (value < 0 || value > 0xff_ffff) throw new RangeError(`no VNI: ${value}`)
    return this.octet(value >>> 16).octet((value >>> 8) & 0xff).octet(value & 0xff)
  }

  long(value: number): this {
    return this.octet(value >>> 24).octet((value >>> 16) & 0xff).octet((value >>> 8) & 0xff).octet(value & 0xff)
  }

  /** Bits, then the address. */
  address(value: string): this {
    const octets = octetsOf(value)
    return this.octet(octets.length * 8).octets(octets)
  }
}

/** Writes the route; returns the position behind it. */
export const encodeInto = (route: Route, target: Uint8Array, at: number): number => {
  const out = new Writer(target, at).octet(route.type).octet(valueLength(route)).hex(route.rd, rdLength)
  switch (route.type) {
    case RouteType.ethernetAd:
      return out.hex(route.esi, esiLength).long(route.tag).label(route.label).at
    case RouteType.macIp:
      return encodeMacIp(route, out)
    case RouteType.multicast:
      return out.long(route.tag).address(route.originator).at
    case RouteType.ethernetSegment:
      return out.hex(route.esi, esiLength).address(route.originator).at
    case RouteType.prefix:
      return encodePrefix(route, out)
  }
}

const encodeMacIp = ({ esi, ip, label, label2, mac, tag }: MacIp, out: Writer): number => {
  const station = Ip.parseMac(mac)
  if (station === undefined) throw new TypeError(`not a MAC address: "${mac}"`)
  out.hex(esi, esiLength).long(tag).octet(48).octets(station)
  if (ip === undefined) out.octet(0)
  else out.address(ip)
  out.label(label)
  return label2 === undefined ? out.at : out.label(label2).at
}

const encodePrefix = ({ esi, gateway, label, prefix, tag }: Prefix, out: Writer): number => {
  const parsed = Ip.parsePrefix(prefix)
  const via = octetsOf(gateway)
  if (parsed === undefined || parsed.address.length !== via.length) throw new TypeError(`no prefix of the gateway's family: "${prefix}"`)
  return out.hex(esi, esiLength).long(tag).octet(parsed.length).octets(parsed.address).octets(via).label(label).at
}

/** The routes' NLRI, one after the other. */
export const encodeAll = (routes: ReadonlyArray<Route>): Uint8Array => {
  const target = new Uint8Array(routes.reduce((length, route) => length + encodedLength(route), 0))
  routes.reduce((at, route) => encodeInto(route, target, at), 0)
  return target
}

// ---- route distinguishers --------------------------------------------------------------------------------------------

/** RFC 4364 4.2, type 1: an IPv4 address and a number. */
export const rdOf = (address: string, number: number): string => {
  const octets = octetsOf(address)
  if (octets.length !== 4 || number < 0 || number > 0xffff) throw new RangeError(`no route distinguisher: ${address}:${number}`)
  return `0001${Buffer.from(octets).toString("hex")}${number.toString(16).padStart(4, "0")}`
}

/** As people read it: `192.0.2.1:7`, `65000:7`; hexadecimal for a type that is none of RFC 4364's. */
export const formatRd = (rd: string): string => {
  const octets = Buffer.from(rd, "hex")
  switch (octets.readUInt16BE(0)) {
    case 0:
      return `${octets.readUInt16BE(2)}:${octets.readUInt32BE(4)}`
    case 1:
      return `${Ip.format(octets.subarray(2, 6))}:${octets.readUInt16BE(6)}`
    case 2:
      return `${octets.readUInt32BE(2)}:${octets.readUInt16BE(6)}`
    default:
      return rd
  }
}
