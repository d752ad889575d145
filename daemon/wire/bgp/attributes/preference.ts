/**
 * The attributes of RFC 4271 5.1 that are one value each: ORIGIN, NEXT_HOP, MULTI_EXIT_DISC, LOCAL_PREF, ATOMIC_AGGREGATE.
 * Errors: RFC 7606 7.1, 7.3 to 7.6; RFC 4271 6.3.
 */
import { Attribute, AttributeFlag, Origin, UpdateError } from "../iana.ts"
import { Severity } from "../path-attributes.ts"
import { isHostAddress } from "./next-hop.ts"
import { badLength, complain, dottedQuad, quadOctets, u32, type AttributeRow } from "./row.ts"

export const origin: AttributeRow = {
  type: Attribute.origin,
  flags: AttributeFlag.transitive,
  decode(draft, value) {
    if (value.end - value.at !== 1) return badLength("ORIGIN", value)
    const read = value.bytes[value.at]!
    if (read > Origin.incomplete) return complain(Severity.withdraw, `ORIGIN is ${read}`, UpdateError.invalidOriginAttribute)
    draft.origin = read
    return undefined
  },
  encode(attributes, _context, out) {
    out.u8(attributes.origin)
    return true
  }
}

export const nextHop: AttributeRow = {
  type: Attribute.nextHop,
  flags: AttributeFlag.transitive,
  decode(draft, value) {
    const { at, bytes, end } = value
    if (end - at !== 4) return badLength("NEXT_HOP", value)
    if (!isHostAddress(bytes, at)) {
      return complain(Severity.withdraw, `NEXT_HOP is ${dottedQuad(bytes, at)}`, UpdateError.invalidNextHopAttribute)
    }
    draft.nextHop = dottedQuad(bytes, at)
    return undefined
  },
  encode(attributes, _context, out) {
    if (attributes.nextHop === undefined) return false
    out.octets(quadOctets(attributes.nextHop))
    return true
  }
}

export const multiExitDisc: AttributeRow = {
  type: Attribute.multiExitDisc,
  flags: AttributeFlag.optional,
  decode(draft, value) {
    if (value.end - value.at !== 4) return badLength("MULTI_EXIT_DISC", value)
    draft.med = u32(value.bytes, value.at)
    return undefined
  },
  encode({ med }, _context, out) {
    if (med !== undefined) out.u32(med)
    return med !== undefined
  }
}

/** RFC 7606 7.5: from an external peer it is discarded, whatever is in it. */
export const localPref: AttributeRow = {
  type: Attribute.localPref,
  flags: AttributeFlag.transitive,
  severity: ({ isExternal }) => (isExternal ? Severity.discard : Severity.withdraw),
  decode(draft, value, { isExternal }) {
    if (isExternal) return complain(Severity.discard, "LOCAL_PREF came from an external peer")
    if (value.end - value.at !== 4) return badLength("LOCAL_PREF", value)
    draft.localPref = u32(value.bytes, value.at)
    return undefined
  },
  encode(attributes, _context, out) {
    if (attributes.localPref !== undefined) out.u32(attributes.localPref)
    return attributes.localPref !== undefined
  }
}

export const atomicAggregate: AttributeRow = {
  type: Attribute.atomicAggregate,
  flags: AttributeFlag.transitive,
  mayBeEmpty: true,
  decode(draft, value) {
    if (value.end !== value.at) return badLength("ATOMIC_AGGREGATE", value, Severity.discard)
    draft.atomicAggregate = true
    return undefined
  },
  encode: (attributes) => attributes.atomicAggregate
}
