/** Prefixes as octets: masks, comparison, keys. Octets beyond a prefix's length are 0 in what these functions return. */
import { format, parsePrefix } from "./ip.ts"

/** The first `length` bits of `address`; the rest is 0. */
export const masked = (address: Uint8Array, length: number): Uint8Array => {
  const result = new Uint8Array(address.length)
  const whole = length >> 3
  for (let i = 0; i < whole; i++) result[i] = address[i]!
  if ((length & 7) !== 0) result[whole] = address[whole]! & (0xff00 >> (length & 7))
  return result
}

/** `10.0.0.1/24` becomes `10.0.0.0/24`. */
export const networkOf = (text: string): string => {
  const { address, length } = parsePrefix(text)!
  return `${format(masked(address, length))}/${length}`
}

/** Whether the first `length` bits of both are equal, and both are of one family. */
export const covers = (prefix: Uint8Array, length: number, address: Uint8Array): boolean => {
  if (prefix.length !== address.length) return false
  const whole = length >> 3
  for (let i = 0; i < whole; i++) if (prefix[i] !== address[i]) return false
  const rest = 0xff00 >> (length & 7)
  return (length & 7) === 0 || (prefix[whole]! & rest & 0xff) === (address[whole]! & rest & 0xff)
}

/** fe80::/10 */
export const isLinkLocal = (address: Uint8Array): boolean =>
  address.length === 16 && address[0] === 0xfe && (address[1]! & 0xc0) === 0x80
