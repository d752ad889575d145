/**
 * IPv4 and IPv6 addresses and prefixes as numbers. Pure; parsing is strict (RFC 4291 2.2, no octal, no `10.1`),
 * formatting is canonical (RFC 5952).
 */

export type Family = "ipv4" | "ipv6"

export interface Address {
  readonly family: Family
  readonly bits: bigint
}

/** An address with a prefix length. Of a network, the host bits are zero; of an interface, they are the host. */
export interface Prefix extends Address {
  readonly length: number
}

export const width = (family: Family): number => (family === "ipv4" ? 32 : 128)

const parseIpv4 = (text: string): bigint | undefined => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  let value = 0
  for (let i = 1; i <= 4; i++) {
    const part = match[i]!
    // A leading zero means octal to some programs and decimal to others.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith("0"))) return undefined
    value = value * 256 + Number(part)
  }
  return BigInt(value)
}

const parseIpv6 = (text: string): bigint | undefined => {
  if (text.length > 45 || !text.includes(":")) return undefined
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const groups = (half: string, isLast: boolean): Array<string> | undefined => {
    if (half === "") return []
    const parts = half.split(":")
    const last = parts.at(-1)!
    if (isLast && last.includes(".")) {
      const tail = parseIpv4(last)
      if (tail === undefined) return undefined
      parts.splice(-1, 1, (tail >> 16n).toString(16), (tail & 0xffffn).toString(16))
    }
    return parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part)) ? parts : undefined
  }
  const head = groups(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? groups(halves[1]!, true) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const all = [...head, ...Array<string>(missing).fill("0"), ...tail]
  return BigInt(`0x${all.map((group) => group.padStart(4, "0")).join("")}`)
}

/** `10.0.0.1`, `2001:db8::1`; `undefined` when `text` is no address. */
export const parseAddress = (text: string): Address | undefined => {
  const ipv4 = parseIpv4(text)
  if (ipv4 !== undefined) return { family: "ipv4", bits: ipv4 }
  const ipv6 = parseIpv6(text)
  return ipv6 === undefined ? undefined : { family: "ipv6", bits: ipv6 }
}

/** `10.0.0.1/24` with the host bits kept; `undefined` when `text` is not an address with a length. */
export const parsePrefix = (text: string): Prefix | undefined => {
  const match = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  const address = parseAddress(match[1]!)
  const length = Number(match[2])
  return address === undefined || length > width(address.family) ? undefined : { ...address, length }
}

export const formatAddress = (address: Address): string => {
  if (address.family === "ipv4") {
    const value = Number(address.bits)
    return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
  }
  const hex = address.bits.toString(16).padStart(32, "0")
  const groups = Array.from({ length: 8 }, (_, i) => Number.parseInt(hex.slice(i * 4, i * 4 + 4), 16))
  // RFC 5952 4.2: the longest run of at least two zero groups becomes `::`, the first of equals.
  let start = -1
  let length = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > length) [start, length] = [i, end - i]
    i = Math.max(i, end - 1)
  }
  const text = (part: ReadonlyArray<number>): string => part.map((group) => group.toString(16)).join(":")
  return start < 0 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`
}

export const formatPrefix = (prefix: Prefix): string => `${formatAddress(prefix)}/${prefix.length}`

const hostBits = (prefix: Prefix): bigint => BigInt(width(prefix.family) - prefix.length)

/** The same prefix with its host bits zero. */
export const network = (prefix: Prefix): Prefix => {
  const bits = hostBits(prefix)
  return { family: prefix.family, bits: (prefix.bits >> bits) << bits, length: prefix.length }
}

/** The highest address of the prefix: for IPv4 the broadcast address. */
export const lastBits = (prefix: Prefix): bigint => network(prefix).bits | ((1n << hostBits(prefix)) - 1n)

export const contains = (prefix: Prefix, address: Address): boolean => {
  const bits = hostBits(prefix)
  return prefix.family === address.family && prefix.bits >> bits === address.bits >> bits
}

/**
 * First and last address that a node may have. IPv4 leaves out network and broadcast address (not in /31, RFC 3021);
 * IPv6 leaves out the subnet-router anycast address (RFC 4291 2.6.1; not in /127, RFC 6164).
 */
export const usable = (prefix: Prefix): { readonly first: bigint; readonly last: bigint } => {
  const first = network(prefix).bits
  const last = lastBits(prefix)
  if (hostBits(prefix) < 2n) return { first, last }
  return prefix.family === "ipv4" ? { first: first + 1n, last: last - 1n } : { first: first + 1n, last }
}

/** Why an interface cannot have this address, or `undefined`. */
export const unusableReason = (address: Address): string | undefined => {
  const top = Number(address.bits >> BigInt(width(address.family) - 8))
  if (address.bits === 0n) return "is the unspecified address"
  if (address.family === "ipv4") {
    if (top >= 224 && top < 240) return "is a multicast address"
    if (top === 0) return 'is in 0.0.0.0/8, which means "this network"'
    if (address.bits === 0xffffffffn) return "is the broadcast address"
    return top === 127 ? "is a loopback address, which every node has already" : undefined
  }
  if (address.bits === 1n) return "is the loopback address, which every node has already"
  return top === 255 ? "is a multicast address" : undefined
}

export const isLinkLocal = (address: Address): boolean =>
  address.family === "ipv6" && address.bits >> 118n === 0xfe80n >> 6n

/** The prefix length that means one single address. */
export const hostLength = width
