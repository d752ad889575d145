/**
 * IPv4 and IPv6 addresses and prefixes as numbers to reckon with. Pure. Text is read and written by `wire/ip.ts`: strict in
 * what it accepts, canonical (RFC 5952) in what it prints.
 */
import * as Octets from "../wire/ip.ts"

export type Family = Octets.Family

export interface Address {
  readonly family: Family
  readonly bits: bigint
}

/** An address with a prefix length. Of a network, the host bits are zero; of an interface, they are the host. */
export interface Prefix extends Address {
  readonly length: number
}

export const width = (family: Family): number => (family === "ipv4" ? 32 : 128)

const hexDigits = (family: Family): number => width(family) / 4

const fromOctets = (octets: Uint8Array): Address => ({
  family: octets.length === 4 ? "ipv4" : "ipv6",
  bits: BigInt(`0x${Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("")}`)
})

const toOctets = ({ bits, family }: Address): Uint8Array => {
  const hex = bits.toString(16).padStart(hexDigits(family), "0")
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
}

/** `10.0.0.1`, `2001:db8::1`; `undefined` when `text` is no address. */
export const parseAddress = (text: string): Address | undefined => {
  const octets = Octets.parse(text)
  return octets === undefined ? undefined : fromOctets(octets)
}

/** `10.0.0.1/24` with the host bits kept; `undefined` when `text` is not an address with a length. */
export const parsePrefix = (text: string): Prefix | undefined => {
  const prefix = Octets.parsePrefix(text)
  return prefix === undefined ? undefined : { ...fromOctets(prefix.address), length: prefix.length }
}

export const formatAddress = (address: Address): string => Octets.format(toOctets(address))

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
