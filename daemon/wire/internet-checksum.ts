/**
 * The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.
 *
 * Sums are plain numbers that add up: `checksum(sum(header) + sum(payload))` where the header has an even length.
 */

/** The sum of big-endian 16-bit words; a last odd octet counts as the high half of a word. At most 2^37 octets. */
export const sum = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let total = 0
  let at = start
  for (; at + 1 < end; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!
  return at < end ? total + (bytes[at]! << 8) : total
}

/** The checksum of what `total` is the sum of. Over a message that contains its own right checksum it is 0. */
export const checksum = (total: number): number => {
  let folded = total
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000)
  return ~folded & 0xffff
}
