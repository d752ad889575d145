/**
 * Next hops: which octets may be one (RFC 4271 6.3, RFC 2545 3), and their text.
 */
import * as Ip from "../../ip.ts"

/** No host has the others: network 0, loopback, and all from 224.0.0.0 on. */
export const isHostAddress = (b: Uint8Array, at: number): boolean => b[at] !== 0 && b[at] !== 127 && b[at]! < 224

/** Neither `::`, `::1` nor multicast. */
export const isIpv6HostAddress = (b: Uint8Array, at: number): boolean => {
  if (b[at] === 0xff) return false
  for (let i = at; i < at + 15; i++) if (b[i] !== 0) return true
  return b[at + 15]! > 1
}

/** fe80::/10 */
export const isLinkLocal = (b: Uint8Array, at: number): boolean => b[at] === 0xfe && (b[at + 1]! & 0xc0) === 0x80

/** The text of 4 or 16 octets. */
export const formatAddress = (b: Uint8Array, at: number, length: number): string => Ip.format(b.subarray(at, at + length))
