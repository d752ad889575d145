/**
 * What goes with EVPN routes: their extended communities, which `path-attributes.ts` has as numbers of 64 bits.
 *
 *      type (1) | subtype (1) | value (6)
 *
 *      03 0c  encapsulation (RFC 9012 4.1; tunnel types of RFC 8365 11)     00 00 00 00, type 2
 *      03 0d  default gateway (RFC 7432 7.8)                                reserved 6
 *      06 00  MAC mobility (RFC 7432 7.7)                                   flags 1 (1: sticky), 0, sequence 4
 *      06 01  ESI label (RFC 7432 7.5)                                      flags 1 (1: single-active), 00 00, label 3
 *      06 02  ES-import route target (RFC 7432 7.6)                         MAC 6
 *      06 03  router's MAC (RFC 9135 8.1)                                   MAC 6
 *      06 08  ARP/ND (RFC 9047 3.1)                                         flags 1 (1: router, 2: override, 4: immutable), 0 x 5
 *      00 02, 01 02, 02 02  route target (RFC 4360 4, RFC 5668)             AS and number, address and number
 *
 * The PMSI tunnel attribute of multicast routes (RFC 6514 5) is one of `path-attributes.ts`.
 * Ownership: values hold no views.
 */
import * as Ip from "../ip.ts"
import { vni } from "./evpn.ts"

const communityLength = 8

/** RFC 8365 11, RFC 8926 7 (IANA "BGP Tunnel Encapsulation Attribute Tunnel Types"). */
export const Encapsulation = { vxlan: 8, nvgre: 9, geneve: 19 } as const
/** IANA "P-Multicast Service Interface Tunnel (PMSI Tunnel) Tunnel Types". */
export const PmsiTunnelType = { none: 0, ingressReplication: 6 } as const

/** One that says something about EVPN; all others are opaque. */
export type Community =
  | { readonly kind: "encapsulation"; readonly tunnelType: number }
  | { readonly kind: "default-gateway" }
  | { readonly kind: "mac-mobility"; readonly sticky: boolean; readonly sequence: number }
  | { readonly kind: "esi-label"; readonly singleActive: boolean; readonly label: number }
  | { readonly kind: "es-import"; readonly mac: string }
  | { readonly kind: "router-mac"; readonly mac: string }
  | { readonly kind: "nd"; readonly router: boolean; readonly override: boolean; readonly immutable: boolean }
  /** `number` is that of the service in a target that was derived (RFC 8365 5.1.2.1), with what stands above it. */
  | { readonly kind: "route-target"; readonly form: "as2" | "ip" | "as4"; readonly admin: number; readonly number: number }
  | { readonly kind: "other"; readonly value: bigint }

const long = (b: Uint8Array, at: number): number => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0
const short = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!
const macAt = (b: Uint8Array, at: number): string => Ip.formatMac(b.subarray(at, at + 6))

const scratch = new Uint8Array(communityLength)
const scratchView = new DataView(scratch.buffer)

/** The community that is these 64 bits. Total: what is not known is kept. */
export const decodeCommunity = (value: bigint): Community => {
  const [b, at] = [scratch, 0]
  scratchView.setBigUint64(0, value)
  switch (short(b, at)) {
    case 0x030c:
      return { kind: "encapsulation", tunnelType: short(b, at + 6) }
    case 0x030d:
      return { kind: "default-gateway" }
    case 0x0600:
      return { kind: "mac-mobility", sticky: (b[at + 2]! & 1) !== 0, sequence: long(b, at + 4) }
    case 0x0601:
      return { kind: "esi-label", singleActive: (b[at + 2]! & 1) !== 0, label: vni(b, at + 5) }
    case 0x0602:
      return { kind: "es-import", mac: macAt(b, at + 2) }
    case 0x0603:
      return { kind: "router-mac", mac: macAt(b, at + 2) }
    case 0x0608:
      return { kind: "nd", router: (b[at + 2]! & 1) !== 0, override: (b[at + 2]! & 2) !== 0, immutable: (b[at + 2]! & 4) !== 0 }
    case 0x0002:
      return { kind: "route-target", form: "as2", admin: short(b, at + 2), number: long(b, at + 4) }
    case 0x0102:
      return { kind: "route-target", form: "ip", admin: long(b, at + 2), number: short(b, at + 6) }
    case 0x0202:
      return { kind: "route-target", form: "as4", admin: long(b, at + 2), number: short(b, at + 6) }
    default:
      return { kind: "other", value }
  }
}

const station = (mac: string): Uint8Array => {
  const octets = Ip.parseMac(mac)
  if (octets === undefined) throw new TypeError(`not a MAC address: "${mac}"`)
  return octets
}

/** The 64 bits of the community. */
export const encodeCommunity = (community: Community): bigint => {
  const target = new Uint8Array(communityLength)
  const to = new DataView(target.buffer)
  switch (community.kind) {
    case "encapsulation":
      to.setUint16(0, 0x030c)
      to.setUint16(6, community.tunnelType)
      break
    case "default-gateway":
      to.setUint16(0, 0x030d)
      break
    case "mac-mobility":
      to.setUint16(0, 0x0600)
      to.setUint8(2, community.sticky ? 1 : 0)
      to.setUint32(4, community.sequence)
      break
    case "esi-label":
      to.setUint16(0, 0x0601)
      to.setUint32(4, community.label)
      to.setUint8(2, community.singleActive ? 1 : 0)
      break
    case "es-import":
    case "router-mac":
      to.setUint16(0, community.kind === "es-import" ? 0x0602 : 0x0603)
      target.set(station(community.mac), 2)
      break
    case "nd":
      to.setUint16(0, 0x0608)
      to.setUint8(2, (community.router ? 1 : 0) | (community.override ? 2 : 0) | (community.immutable ? 4 : 0))
      break
    case "route-target":
      encodeTarget(community, to)
      break
    case "other":
      return community.value
  }
  return to.getBigUint64(0)
}

const encodeTarget = ({ admin, form, number }: Extract<Community, { kind: "route-target" }>, to: DataView): void => {
  to.setUint16(0, { as2: 0x0002, ip: 0x0102, as4: 0x0202 }[form])
  if (form === "as2") {
    to.setUint16(2, admin)
    to.setUint32(4, number)
  } else {
    to.setUint32(2, admin)
    to.setUint16(6, number)
  }
}

/** RFC 8365 5.1.2.1: derived, type 1 (VXLAN), domain 0, and the VNI. It takes an AS number of two octets. */
export const derivedTarget = (asn: number, vni: number): Community => ({
  kind: "route-target", form: "as2", admin: asn, number: (0x1000_0000 | vni) >>> 0
})

/** `AS:VNI`, as many routers derive it. */
export const plainTarget = (asn: number, vni: number): Community => ({ kind: "route-target", form: "as2", admin: asn, number: vni })

const eviType = 0x40

/** RFC 8365 5.1.2.1, type 4 (EVI): for what is routed by way of stations of the VNI, and is not to be imported into the segment. */
export const routedTarget = (asn: number, vni: number): Community => ({
  kind: "route-target", form: "as2", admin: asn, number: ((eviType << 24) | vni) >>> 0
})

/** The VNI that a target of `routedTarget` is for, of whatever AS; undefined: it is none. */
export const routedVni = (community: Community): number | undefined =>
  community.kind === "route-target" && community.form === "as2" && community.number >>> 24 === eviType
    ? community.number & 0xff_ffff
    : undefined

/** The VNI that a derived target is for, in either form and of whatever AS; undefined: it is none. */
export const targetVni = (community: Community): number | undefined => {
  if (community.kind !== "route-target" || community.form !== "as2") return undefined
  const above = community.number >>> 24
  return above === 0 || above === 0x10 ? community.number & 0xff_ffff : undefined
}
