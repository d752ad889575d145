/** Messages for tests, built by hand from octets: nothing here uses the codecs that it tests. */
import { makeContext, type SessionContext } from "../../../daemon/wire/bgp/context.ts"
import { Family } from "../../../daemon/wire/bgp/iana.ts"

export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"))
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const octets16 = (value: number): string => value.toString(16).padStart(4, "0")

/** A whole message of hexadecimal digits behind the header. */
export const message = (type: number, body: string): Uint8Array => {
  const digits = body.replace(/\s/g, "")
  return hex("ff".repeat(16) + octets16(19 + digits.length / 2) + type.toString(16).padStart(2, "0") + digits)
}

export interface UpdateParts {
  readonly withdrawn?: string
  readonly attributes?: string
  readonly nlri?: string
}

export const update = ({ attributes = "", nlri = "", withdrawn = "" }: UpdateParts): Uint8Array => {
  const [w, a, n] = [withdrawn, attributes, nlri].map((text) => text.replace(/\s/g, "")) as [string, string, string]
  return message(2, octets16(w.length / 2) + w + octets16(a.length / 2) + a + n)
}

/** One attribute of flags, type and value; with a length of two octets where it is long. */
export const attribute = (flags: number, type: number, value: string): string => {
  const digits = value.replace(/\s/g, "")
  const length = digits.length / 2
  const isLong = length > 255 || (flags & 0x10) !== 0
  const head = [isLong ? flags | 0x10 : flags, type].map((octet) => octet.toString(16).padStart(2, "0")).join("")
  return head + (isLong ? octets16(length) : length.toString(16).padStart(2, "0")) + digits
}

const everything = {
  asn4: true,
  families: [Family.ipv4Unicast, Family.ipv6Unicast, Family.evpn]
}
export const external: SessionContext = makeContext({ ...everything, isExternal: true })
export const internal: SessionContext = makeContext({ ...everything, isExternal: false })
/** An external peer with AS numbers of two octets. */
export const old: SessionContext = makeContext({ ...everything, asn4: false, isExternal: true })
export const addPath: SessionContext = makeContext({
  ...everything, extendedMessage: true, isExternal: true,
  addPathReceive: everything.families, addPathSend: everything.families, extendedNextHop: [Family.ipv4Unicast]
})

/** ORIGIN, AS_PATH of AS 65001, NEXT_HOP 192.0.2.1. */
export const origin = attribute(0x40, 1, "00")
export const asPath = attribute(0x40, 2, "0201 0000fde9")
export const nextHop = attribute(0x40, 3, "c0000201")
export const mandatory = origin + asPath + nextHop
/** 10.1.0.0/16 */
export const nlri = "100a01"
