/**
 * Communities as people write them -> numbers. Pure.
 *
 *     65000:1              standard (RFC 1997), and well-known ones by name: no-export, blackhole, ...
 *     65000:1:2            large (RFC 8092)
 *     rt:65000:1           extended (RFC 4360): route target; `soo:` is site of origin. The administrator is an AS number of
 *                          2 or 4 octets or an IPv4 address
 *
 * With patterns allowed, `*` may stand in place of any number: `65000:*`, `rt:*:1`.
 */

/** Parts that are `undefined` match any number. */
export type CommunityPattern =
  | { readonly kind: "standard"; readonly high: number | undefined; readonly low: number | undefined }
  | { readonly kind: "large"; readonly parts: readonly [number | undefined, number | undefined, number | undefined] }
  | {
      readonly kind: "extended"
      /** `routeTarget` or `siteOfOrigin` of `Subtype`. */
      readonly subtype: number
      /** Type of RFC 4360 and RFC 5668: 0 two-octet AS, 1 IPv4 address, 2 four-octet AS; undefined: any. */
      readonly type: number | undefined
      readonly administrator: number | undefined
      readonly assigned: number | undefined
    }

/** IANA, BGP well-known communities. */
export const wellKnown: Readonly<Record<string, number>> = {
  "graceful-shutdown": 0xffff0000,
  "accept-own": 0xffff0001,
  "llgr-stale": 0xffff0006,
  "no-llgr": 0xffff0007,
  blackhole: 0xffff029a,
  "no-export": 0xffffff01,
  "no-advertise": 0xffffff02,
  "local-as": 0xffffff03,
  "no-export-subconfed": 0xffffff03,
  "no-peer": 0xffffff04
}

/** RFC 4360 4 and 5. */
export const Subtype = { routeTarget: 2, siteOfOrigin: 3 } as const
const subtypes: Readonly<Record<string, number>> = { rt: Subtype.routeTarget, soo: Subtype.siteOfOrigin }

const max16 = 0xffff
const max32 = 0xffffffff

/** A decimal number up to `most`, or `*` as undefined; `wrong` for anything else. */
const part = (text: string, most: number): number | undefined | "wrong" => {
  if (text === "*") return undefined
  if (!/^(0|[1-9]\d{0,9})$/.test(text)) return "wrong"
  const number = Number(text)
  return number <= most ? number : "wrong"
}

const dottedQuad = (text: string): number | undefined => {
  const octets = text.split(".")
  if (octets.length !== 4 || !octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255)) return undefined
  return octets.reduce((value, octet) => value * 256 + Number(octet), 0)
}

const extended = (subtype: number, administrator: string, assigned: string): CommunityPattern | undefined => {
  const address = dottedQuad(administrator)
  const admin = address ?? part(administrator, max32)
  if (admin === "wrong") return undefined
  const type = admin === undefined ? undefined : address !== undefined ? 1 : admin > max16 ? 2 : 0
  const number = part(assigned, type === 1 || type === 2 ? max16 : max32)
  return number === "wrong" ? undefined : { kind: "extended", subtype, type, administrator: admin, assigned: number }
}

/** A community, or with `*` a pattern of them; undefined for what is neither. */
export const parsePattern = (text: string): CommunityPattern | undefined => {
  const known = Object.hasOwn(wellKnown, text) ? wellKnown[text]! : undefined
  if (known !== undefined) return { kind: "standard", high: known >>> 16, low: known & max16 }
  const parts = text.split(":")
  if (parts.length === 3 && Object.hasOwn(subtypes, parts[0]!)) return extended(subtypes[parts[0]!]!, parts[1]!, parts[2]!)
  if (parts.length === 2) {
    const [high, low] = [part(parts[0]!, max16), part(parts[1]!, max16)]
    return high === "wrong" || low === "wrong" ? undefined : { kind: "standard", high, low }
  }
  if (parts.length !== 3) return undefined
  const numbers = parts.map((one) => part(one, max32))
  if (numbers.includes("wrong")) return undefined
  return { kind: "large", parts: numbers as [number | undefined, number | undefined, number | undefined] }
}

/** A community without wildcards; undefined for what is none. */
export const parse = (text: string): CommunityPattern | undefined => (text.includes("*") ? undefined : parsePattern(text))
