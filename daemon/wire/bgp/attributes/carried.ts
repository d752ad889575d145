/**
 * Attributes that weft carries for others. It knows when they are malformed, and for the most part not what they mean:
 * PMSI_TUNNEL (RFC 6514 5), IPv6-address-specific extended communities (RFC 5701), ONLY_TO_CUSTOMER (RFC 9234), PREFIX_SID
 * (RFC 8669); and two that end here: AIGP (RFC 7311) and BGP-LS (RFC 9552).
 *
 * TUNNEL_ENCAPSULATION (RFC 9012) has no row: it is as opaque as any attribute that nobody has heard of yet.
 */
import { Attribute, AttributeFlag } from "../iana.ts"
import { Severity } from "../path-attributes.ts"
import { badLength, complain, u16, type AttributeRow, type AttributeValue, type Complaint, type Draft } from "./row.ts"

const optionalTransitive = AttributeFlag.optional | AttributeFlag.transitive

/** Keeps the value as it is. RFC 4271 5: what is passed on without being understood is marked Partial. */
export const keep = (draft: Draft, type: number, { at, bytes, end, flags }: AttributeValue): void => {
  const kept = (flags & optionalTransitive) | AttributeFlag.partial
  draft.unknown.push({ flags: kept, type, value: bytes.slice(at, end) })
}

/** An attribute that travels on untouched unless `judge` finds fault with it. */
const opaque = (type: number, severity: number, judge: (value: AttributeValue) => Complaint | undefined): AttributeRow => ({
  type,
  flags: optionalTransitive,
  severity: () => severity,
  flagsSeverity: severity,
  decode(draft, value) {
    const complaint = judge(value)
    if (complaint === undefined) keep(draft, type, value)
    return complaint
  },
  // Written from `unknown`.
  encode: () => false
})

/** RFC 7606 7.15: a multiple of 20 octets, and not none. */
export const ipv6ExtendedCommunities = opaque(Attribute.ipv6ExtendedCommunities, Severity.withdraw, (value) =>
  (value.end - value.at) % 20 === 0 ? undefined : badLength("IPV6_EXTENDED_COMMUNITIES", value))

/** RFC 9234 5: four octets. */
export const onlyToCustomer = opaque(Attribute.onlyToCustomer, Severity.withdraw, (value) =>
  value.end - value.at === 4 ? undefined : badLength("ONLY_TO_CUSTOMER", value))

/** RFC 8669 6: TLVs that are whole; a label index has seven octets (3.1). Unknown TLVs are carried. */
export const prefixSid = opaque(Attribute.prefixSid, Severity.discard, ({ at, bytes, end }) => {
  for (let position = at; position < end;) {
    const length = end - position < 3 ? end : u16(bytes, position + 1)
    if (length > end - position - 3) return complain(Severity.discard, "PREFIX_SID has a TLV that is cut")
    if (bytes[position] === 1 && length !== 7) return complain(Severity.discard, `PREFIX_SID has a label index of ${length} octets`)
    position += 3 + length
  }
  return undefined
})

/** RFC 7311 3.1: sessions are not enabled for it, so it is ignored and not passed on. */
export const aigp: AttributeRow = {
  type: Attribute.aigp,
  flags: AttributeFlag.optional,
  mayBeEmpty: true,
  flagsSeverity: Severity.discard,
  decode: () => undefined,
  encode: () => false
}

/** RFC 9552 8.2.2: malformed it is discarded; weft collects no link states, and the attribute is not transitive. */
export const linkState: AttributeRow = { ...aigp, type: Attribute.linkState }

const pmsiHeaderLength = 5

export const pmsiTunnel: AttributeRow = {
  type: Attribute.pmsiTunnel,
  flags: optionalTransitive,
  decode(draft, value) {
    const { at, bytes, end } = value
    if (end - at < pmsiHeaderLength) return badLength("PMSI_TUNNEL", value)
    draft.pmsiTunnel = {
      flags: bytes[at]!,
      tunnelType: bytes[at + 1]!,
      label: (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!,
      tunnelIdentifier: bytes.slice(at + pmsiHeaderLength, end)
    }
    return undefined
  },
  encode(attributes, _context, out) {
    const tunnel = attributes.pmsiTunnel
    if (tunnel === undefined) return false
    out.u8(tunnel.flags)
    out.u8(tunnel.tunnelType)
    out.u8(tunnel.label >>> 16)
    out.u16(tunnel.label & 0xffff)
    out.octets(tunnel.tunnelIdentifier)
    return true
  }
}
