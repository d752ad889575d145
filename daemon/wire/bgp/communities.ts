/**
 * Communities as text: standard (RFC 1997, `65000:1`, `no-export`), extended (RFC 4360, RFC 5668, `rt:65000:1`) and large
 * (RFC 8092, `65000:1:2`), and back. `community-text.ts` reads what people write in topologies, with patterns; this writes.
 *
 * Extended communities without a form of their own are `0x` and 16 hexadecimal digits. A target with a four-octet type and an
 * AS number that two octets would hold bears an `L`: `rt:65000L:1`, so that every text stands for one value.
 */
import * as CommunityText from "./community-text.ts"
import * as EvpnAttributes from "./evpn-attributes.ts"

export type Community =
  | { readonly kind: "standard"; readonly value: number }
  | { readonly kind: "extended"; readonly value: bigint }
  | { readonly kind: "large"; readonly value: bigint }

const max16 = 0xffff
const max32 = 0xffff_ffff

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(CommunityText.wellKnown)
    .filter(([name]) => name !== "local-as")
    .map(([name, value]) => [value, name])
)

/** `65000:1`, or the name of a well-known one. */
export const formatStandard = (value: number): string => names.get(value) ?? `${value >>> 16}:${value & max16}`

/** `65000:1:2` */
export const formatLarge = (value: bigint): string => `${value >> 64n}:${(value >> 32n) & 0xffff_ffffn}:${value & 0xffff_ffffn}`

const prefixes: Readonly<Record<number, string>> = {
  [CommunityText.Subtype.routeTarget]: "rt",
  [CommunityText.Subtype.siteOfOrigin]: "soo"
}

const quad = (value: number): string => `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`

/** `rt:` and `soo:` of the types 0 to 2: AS and number, address and number, four-octet AS and number. */
const formatAdministered = (value: bigint): string | undefined => {
  const type = Number(value >> 56n)
  const prefix = prefixes[Number((value >> 48n) & 0xffn)]
  if (prefix === undefined || type > 2) return undefined
  if (type === 0) return `${prefix}:${(value >> 32n) & 0xffffn}:${value & 0xffff_ffffn}`
  const administrator = Number((value >> 16n) & 0xffff_ffffn)
  const assigned = value & 0xffffn
  if (type === 1) return `${prefix}:${quad(administrator)}:${assigned}`
  return `${prefix}:${administrator}${administrator > max16 ? "" : "L"}:${assigned}`
}

const tunnelNames: Readonly<Record<number, string>> = { 8: "vxlan", 9: "nvgre", 19: "geneve" }

const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, "0")}`

/** Those of EVPN, for people to read; they are not read back. */
const formatEvpn = (value: bigint): string | undefined => {
  const community = EvpnAttributes.decodeCommunity(value)
  switch (community.kind) {
    case "encapsulation":
      return `encap:${tunnelNames[community.tunnelType] ?? community.tunnelType}`
    case "default-gateway":
      return "default-gateway"
    case "mac-mobility":
      return `mac-mobility:${community.sequence}${community.sticky ? ":sticky" : ""}`
    case "router-mac":
      return `router-mac:${community.mac}`
    case "es-import":
      return `es-import:${community.mac}`
    default:
      return undefined
  }
}

/** `rt:65000:1`, `soo:192.0.2.1:7`; others as EVPN names them, or in hexadecimal. */
export const formatExtended = (value: bigint): string => formatAdministered(value) ?? formatEvpn(value) ?? hex(value)

const extendedOf = (type: number, subtype: number, administrator: number, assigned: number): bigint =>
  (BigInt(type) << 56n) | (BigInt(subtype) << 48n) |
  (type === 0
    ? (BigInt(administrator) << 32n) | BigInt(assigned)
    : (BigInt(administrator) << 16n) | BigInt(assigned))

/** A target with an `L`: four octets of AS number whatever it is. */
const parseLong = (text: string): Community | undefined => {
  const match = /^(rt|soo):(\d{1,10})L:(\d{1,5})$/.exec(text)
  if (match === null || Number(match[2]) > max32 || Number(match[3]) > max16) return undefined
  const subtype = match[1] === "rt" ? CommunityText.Subtype.routeTarget : CommunityText.Subtype.siteOfOrigin
  return { kind: "extended", value: extendedOf(2, subtype, Number(match[2]), Number(match[3])) }
}

/** A community of any kind, or undefined for what is none. */
export const parse = (text: string): Community | undefined => {
  if (/^0x[0-9a-f]{16}$/i.test(text)) return { kind: "extended", value: BigInt(text) }
  const read = CommunityText.parse(text)
  if (read === undefined) return parseLong(text)
  switch (read.kind) {
    case "standard":
      return { kind: "standard", value: read.high! * 65536 + read.low! }
    case "large":
      return { kind: "large", value: read.parts.reduce((value, part) => (value << 32n) | BigInt(part!), 0n) }
    case "extended":
      return { kind: "extended", value: extendedOf(read.type!, read.subtype, read.administrator!, read.assigned!) }
  }
}
