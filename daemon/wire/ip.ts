/**
 * IPv4 and IPv6 addresses, prefixes and MAC addresses as text and as octets: the only parser of them that there is.
 *
 * Parsing is strict (RFC 4291 2.2; no octal, no `10.1`). IPv6 text follows RFC 5952 4, so equal addresses have equal text.
 * Unsupported: zone identifiers (`fe80::1%eth0`, RFC 4007 11). Deviation: IPv4-mapped addresses are printed in
 * hexadecimal too, where RFC 5952 5 recommends `::ffff:192.0.2.1`.
 */

export type Family = "ipv4" | "ipv6"

/** The longest text of an IPv6 address: six groups and a dotted quad. */
const maxTextLength = 45

const parse4 = (text: string): Uint8Array | undefined => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const bytes = new Uint8Array(4)
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1]!
    // A leading zero is octal to some readers and decimal to others: refuse it.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith("0"))) return undefined
    bytes[i] = Number(part)
  }
  return bytes
}

/** The groups of one side of a `::`. `isLast`: the text ends here, so a dotted quad may. */
const groupsOf = (text: string, isLast: boolean): number[] | undefined => {
  if (text === "") return []
  const groups: number[] = []
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const tail = isLast && index === parts.length - 1 ? parse4(part) : undefined
      if (tail === undefined) return undefined
      groups.push((tail[0]! << 8) | tail[1]!, (tail[2]! << 8) | tail[3]!)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(parseInt(part, 16))
    else return undefined
  }
  return groups
}

const parse6 = (text: string): Uint8Array | undefined => {
  if (text.length > maxTextLength) return undefined
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const head = groupsOf(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? groupsOf(halves[1]!, true) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail]
  const bytes = new Uint8Array(16)
  groups.forEach((group, i) => {
    bytes[2 * i] = group >> 8
    bytes[2 * i + 1] = group & 0xff
  })
  return bytes
}

/** 4 or 16 octets, or undefined when `text` is no address. */
export const parse = (text: string): Uint8Array | undefined => (text.includes(":") ? parse6(text) : parse4(text))

const format6 = (bytes: Uint8Array): string => {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!)
  // RFC 5952 4.2: the longest run of at least two zero groups becomes `::`, the first of equals.
  let best = { start: -1, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const hex = (from: number, to: number): string => groups.slice(from, to).map((group) => group.toString(16)).join(":")
  if (best.start < 0) return hex(0, 8)
  return `${hex(0, best.start)}::${hex(best.start + best.length, 8)}`
}

/** Text of 4 or 16 octets; empty for any other number, which is no address. */
export const format = (bytes: Uint8Array): string =>
  bytes.length === 4 ? bytes.join(".") : bytes.length === 16 ? format6(bytes) : ""

export const familyOf = (text: string): Family => (text.includes(":") ? "ipv6" : "ipv4")

/** `10.0.0.1/24` as octets and prefix length; undefined when it is no such thing. Host bits are kept. */
export const parsePrefix = (text: string): { readonly address: Uint8Array; readonly length: number } | undefined => {
  const slash = text.indexOf("/")
  const address = slash < 0 ? undefined : parse(text.slice(0, slash))
  const suffix = text.slice(slash + 1)
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > address.length * 8) return undefined
  return { address, length: Number(suffix) }
}

/** Six octets of `02:5a:...`, or undefined. */
export const parseMac = (text: string): Uint8Array | undefined =>
  /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text) ? Uint8Array.from(text.split(":"), (part) => parseInt(part, 16)) : undefined

export const formatMac = (bytes: Uint8Array): string => Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join(":")
