/**
 * Capabilities in an OPEN message. RFC 5492 4.
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |   code (8)    |  length (8)   | value  |
 *
 *     1  multiprotocol (RFC 4760 8)            AFI 16, reserved 8, SAFI 8
 *     2  route refresh (RFC 2918 2)            nothing
 *     5  extended next hop (RFC 8950 4)        each: AFI 16, SAFI 16, AFI of the next hop 16
 *     6  extended message (RFC 8654 3)         nothing
 *     9  role (RFC 9234 4.1)                   role 8
 *     64 graceful restart (RFC 4724 3, 8538 2) R 1, N 1, reserved 2, time 12; each: AFI 16, SAFI 8, F 1, reserved 7
 *     65 four-octet AS (RFC 6793 3)            AS 32
 *     69 add-path (RFC 7911 4)                 each: AFI 16, SAFI 8, 1 receive, 2 send, 3 both
 *     70 enhanced route refresh (RFC 7313 3.1) nothing
 *     71 long-lived restart (RFC 9494 3.1)     each: AFI 16, SAFI 8, F 1, reserved 7, time 24
 *     73 FQDN (draft-walton-bgp-hostname-capability 3)   length 8, host, length 8, domain
 *
 * A capability that is not known is kept as it is. One that is known and malformed is an error of the OPEN, except FQDN, which
 * is for people to read: it is kept as unknown. Those that say all by being there are taken with whatever is in them, as FRR does.
 * Ownership: values hold no views.
 */
import { afiOf, CapabilityCode, familyOf, safiOf } from "./iana.ts"
import type { OctetWriter } from "./octet-writer.ts"

export interface AddPathFamily {
  readonly family: number
  readonly receive: boolean
  readonly send: boolean
}

export interface GracefulRestartFamily {
  readonly family: number
  /** F bit: forwarding state was preserved. */
  readonly forwardingPreserved: boolean
}

export interface LongLivedFamily extends GracefulRestartFamily {
  /** 24 bits */
  readonly staleTimeS: number
}

export interface ExtendedNextHop {
  readonly family: number
  /** AFI of the next hop. */
  readonly nextHopAfi: number
}

export type Capability =
  | { readonly kind: "multiprotocol"; readonly family: number }
  | { readonly kind: "routeRefresh" }
  | { readonly kind: "enhancedRouteRefresh" }
  | { readonly kind: "extendedMessage" }
  | { readonly kind: "extendedNextHop"; readonly entries: ReadonlyArray<ExtendedNextHop> }
  | { readonly kind: "role"; readonly role: number }
  | {
    readonly kind: "gracefulRestart"
    /** R bit: the speaker has restarted (RFC 4724). */
    readonly restarting: boolean
    /** N bit: NOTIFICATIONs are restarts too (RFC 8538). */
    readonly notification: boolean
    /** 12 bits */
    readonly restartTimeS: number
    readonly families: ReadonlyArray<GracefulRestartFamily>
  }
  | { readonly kind: "longLivedGracefulRestart"; readonly families: ReadonlyArray<LongLivedFamily> }
  | { readonly kind: "fourOctetAs"; readonly asn: number }
  | { readonly kind: "addPath"; readonly families: ReadonlyArray<AddPathFamily> }
  | { readonly kind: "fqdn"; readonly hostname: string; readonly domain: string }
  | { readonly kind: "unknown"; readonly code: number; readonly value: Uint8Array }

const restarting = 0x8000
const notification = 0x4000
const forwardingPreserved = 0x80

const u16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const u32 = (b: Uint8Array, at: number): number => u16(b, at) * 65536 + u16(b, at + 2)
const familyAt = (b: Uint8Array, at: number): number => familyOf(u16(b, at), b[at + 2]!)

// ---- decode -----------------------------------------------------------------------------------------------------------

/** The parts of `width` octets of a value behind `skip` octets, or undefined where they do not come out even. */
const parts = <A>(value: Uint8Array, skip: number, width: number, read: (at: number) => A): ReadonlyArray<A> | undefined =>
  value.length < skip || (value.length - skip) % width !== 0
    ? undefined
    : Array.from({ length: (value.length - skip) / width }, (_, i) => read(skip + i * width))

const decodeGracefulRestart = (value: Uint8Array): Capability | undefined => {
  const families = parts(value, 2, 4, (at) => ({
    family: familyAt(value, at),
    forwardingPreserved: (value[at + 3]! & forwardingPreserved) !== 0
  }))
  if (families === undefined) return undefined
  const head = u16(value, 0)
  return {
    kind: "gracefulRestart",
    restarting: (head & restarting) !== 0,
    notification: (head & notification) !== 0,
    restartTimeS: head & 0xfff,
    families
  }
}

const decodeLongLived = (value: Uint8Array): Capability | undefined => {
  const families = parts(value, 0, 7, (at) => ({
    family: familyAt(value, at),
    forwardingPreserved: (value[at + 3]! & forwardingPreserved) !== 0,
    staleTimeS: u32(value, at + 3) & 0xff_ffff
  }))
  return families === undefined ? undefined : { kind: "longLivedGracefulRestart", families }
}

const decodeAddPath = (value: Uint8Array): Capability | undefined => {
  const families = parts(value, 0, 4, (at) => ({ family: familyAt(value, at), mode: value[at + 3]! }))
  if (families === undefined) return undefined
  return {
    kind: "addPath",
    families: families
      // RFC 7911 4: other values are not understood and ignored.
      .filter(({ mode }) => mode >= 1 && mode <= 3)
      .map(({ family, mode }) => ({ family, receive: (mode & 1) !== 0, send: (mode & 2) !== 0 }))
  }
}

const decodeExtendedNextHop = (value: Uint8Array): Capability | undefined => {
  const entries = parts(value, 0, 6, (at) => ({ afi: u16(value, at), safi: u16(value, at + 2), nextHopAfi: u16(value, at + 4) }))
  if (entries === undefined) return undefined
  return {
    kind: "extendedNextHop",
    entries: entries
      // The SAFI has 16 bits here and 8 elsewhere: a greater one is no family at all.
      .filter(({ safi }) => safi <= 0xff)
      .map(({ afi, nextHopAfi, safi }) => ({ family: familyOf(afi, safi), nextHopAfi }))
  }
}

/** Printable text: names end up in tables and logs. */
const nameAt = (value: Uint8Array, at: number, length: number): string =>
  new TextDecoder().decode(value.subarray(at, at + length)).replace(/[\u0000-\u001f\u007f-\u009f]/g, "?")

const decodeFqdn = (value: Uint8Array): Capability => {
  const hostLength = value[0]
  const domainLength = hostLength === undefined ? undefined : value[1 + hostLength]
  if (hostLength === undefined || domainLength === undefined || value.length !== 2 + hostLength + domainLength) {
    return { kind: "unknown", code: CapabilityCode.fqdn, value }
  }
  return { kind: "fqdn", hostname: nameAt(value, 1, hostLength), domain: nameAt(value, 2 + hostLength, domainLength) }
}

/** One capability; undefined: it is malformed. `value` is a copy that the result may keep. */
const decodeOne = (code: number, value: Uint8Array): Capability | undefined => {
  const { length } = value
  switch (code) {
    case CapabilityCode.multiprotocol:
      return length === 4 ? { kind: "multiprotocol", family: familyOf(u16(value, 0), value[3]!) } : undefined
    case CapabilityCode.routeRefresh:
      return { kind: "routeRefresh" }
    case CapabilityCode.extendedNextHop:
      return decodeExtendedNextHop(value)
    case CapabilityCode.extendedMessage:
      return { kind: "extendedMessage" }
    case CapabilityCode.role:
      return length === 1 ? { kind: "role", role: value[0]! } : undefined
    case CapabilityCode.gracefulRestart:
      return decodeGracefulRestart(value)
    case CapabilityCode.fourOctetAs:
      return length === 4 ? { kind: "fourOctetAs", asn: u32(value, 0) } : undefined
    case CapabilityCode.addPath:
      return decodeAddPath(value)
    case CapabilityCode.enhancedRouteRefresh:
      return { kind: "enhancedRouteRefresh" }
    case CapabilityCode.longLivedGracefulRestart:
      return decodeLongLived(value)
    case CapabilityCode.fqdn:
      return decodeFqdn(value)
    default:
      return { kind: "unknown", code, value }
  }
}

/** Appends the capabilities between `at` and `end`. False: one is cut, or malformed. */
export const decodeInto = (bytes: Uint8Array, at: number, end: number, capabilities: Array<Capability>): boolean => {
  for (let position = at; position < end;) {
    if (end - position < 2) return false
    const next = position + 2 + bytes[position + 1]!
    if (next > end) return false
    const capability = decodeOne(bytes[position]!, bytes.slice(position + 2, next))
    if (capability === undefined) return false
    capabilities.push(capability)
    position = next
  }
  return true
}

// ---- encode -----------------------------------------------------------------------------------------------------------

const codeOf = (capability: Capability): number => (capability.kind === "unknown" ? capability.code : CapabilityCode[capability.kind])

const writeFamily = (out: OctetWriter, family: number): void => {
  out.u16(afiOf(family))
  out.u8(safiOf(family))
}

/** UTF-8 of at most `most` octets, never cut within a character. */
const nameOctets = (name: string, most: number): Uint8Array => {
  const octets = new Uint8Array(most)
  return octets.subarray(0, new TextEncoder().encodeInto(name, octets).written)
}

const writeValue = (capability: Capability, out: OctetWriter): void => {
  switch (capability.kind) {
    case "multiprotocol":
      out.u16(afiOf(capability.family))
      out.u16(safiOf(capability.family))
      return
    case "routeRefresh":
    case "enhancedRouteRefresh":
    case "extendedMessage":
      return
    case "extendedNextHop":
      for (const { family, nextHopAfi } of capability.entries) {
        out.u16(afiOf(family))
        out.u16(safiOf(family))
        out.u16(nextHopAfi)
      }
      return
    case "role":
      out.u8(capability.role)
      return
    case "gracefulRestart":
      out.u16((capability.restarting ? restarting : 0) | (capability.notification ? notification : 0) | (capability.restartTimeS & 0xfff))
      for (const one of capability.families) {
        writeFamily(out, one.family)
        out.u8(one.forwardingPreserved ? forwardingPreserved : 0)
      }
      return
    case "longLivedGracefulRestart":
      for (const one of capability.families) {
        writeFamily(out, one.family)
        out.u32((one.forwardingPreserved ? 0x8000_0000 : 0) + (one.staleTimeS & 0xff_ffff))
      }
      return
    case "fourOctetAs":
      out.u32(capability.asn)
      return
    case "addPath":
      for (const { family, receive, send } of capability.families) {
        writeFamily(out, family)
        out.u8((receive ? 1 : 0) | (send ? 2 : 0))
      }
      return
    case "fqdn":
      // A value has 255 octets at most: two lengths and both names.
      for (const octets of [nameOctets(capability.hostname, 126), nameOctets(capability.domain, 126)]) {
        out.u8(octets.length)
        out.octets(octets)
      }
      return
    case "unknown":
      out.octets(capability.value)
      return
    default:
      capability satisfies never
  }
}

/** Writes one capability: code, length, value. */
export const encodeCapability = (capability: Capability, out: OctetWriter): void => {
  out.u8(codeOf(capability))
  const lengthAt = out.length
  out.u8(0)
  writeValue(capability, out)
  const length = out.length - lengthAt - 1
  if (length > 255) throw new RangeError(`Cannot encode a capability of ${length} octets: 255 is the most`)
  out.patchU8(lengthAt, length)
}
