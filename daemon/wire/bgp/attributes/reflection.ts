/**
 * What route reflectors add: ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 8). Errors: RFC 7606 7.9, 7.10; from an external peer
 * they are discarded, whatever is in them.
 */
import { Attribute, AttributeFlag } from "../iana.ts"
import { Severity } from "../path-attributes.ts"
import { badLength, complain, u32, type AttributeRow } from "./row.ts"

const severity: AttributeRow["severity"] = ({ isExternal }) => (isExternal ? Severity.discard : Severity.withdraw)

export const originatorId: AttributeRow = {
  type: Attribute.originatorId,
  flags: AttributeFlag.optional,
  severity,
  decode(draft, value, { isExternal }) {
    if (isExternal) return complain(Severity.discard, "ORIGINATOR_ID came from an external peer")
    if (value.end - value.at !== 4) return badLength("ORIGINATOR_ID", value)
    draft.originatorId = u32(value.bytes, value.at)
    return undefined
  },
  encode(attributes, _context, out) {
    if (attributes.originatorId !== undefined) out.u32(attributes.originatorId)
    return attributes.originatorId !== undefined
  }
}

export const clusterList: AttributeRow = {
  type: Attribute.clusterList,
  flags: AttributeFlag.optional,
  severity,
  decode(draft, value, { isExternal }) {
    if (isExternal) return complain(Severity.discard, "CLUSTER_LIST came from an external peer")
    const { at, bytes, end } = value
    if ((end - at) % 4 !== 0) return badLength("CLUSTER_LIST", value)
    draft.clusterList = Array.from({ length: (end - at) / 4 }, (_, i) => u32(bytes, at + 4 * i))
    return undefined
  },
  encode(attributes, _context, out) {
    for (const id of attributes.clusterList) out.u32(id)
    return attributes.clusterList.length > 0
  }
}
