/**
 * Network layer reachability: prefixes of IPv4 and IPv6 unicast (RFC 4271 4.3, RFC 4760 5), with path identifiers (RFC 7911 3),
 * and the framing of families whose NLRI have a type and a length (RFC 7606 5.4; EVPN, which `evpn.ts` decodes).
 *
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |        path identifier (32), with add-path only                |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |  length (8)   |  prefix: as many octets as the length, in bits, needs
 *
 * Bits of the last octet beyond the length are of no meaning and may be anything.
 */
import * as Ip from "../ip.ts"
import { Family } from "./iana.ts"

/** A prefix length, or a type and a length in octets. */
interface Framing {
  /** The longest prefix; absent: typed. */
  readonly maxBits?: number
  /** Octets that a next hop in MP_REACH_NLRI may have; of IPv4 unicast, 16 and 32 only where RFC 8950 was agreed upon. */
  readonly nextHopLengths: ReadonlyArray<number>
}

const framings: Readonly<Record<number, Framing>> = {
  [Family.ipv4Unicast]: { maxBits: 32, nextHopLengths: [4] },
  // RFC 2545 3.
  [Family.ipv6Unicast]: { maxBits: 128, nextHopLengths: [16, 32] },
  // RFC 7432 7: IPv4 or IPv6.
  [Family.evpn]: { nextHopLengths: [4, 16] }
}

/** Whether there is a codec for the family at all. */
export const isKnownFamily = (family: number): boolean => framings[family] !== undefined

/** Whether a next hop of the family may have so many octets (RFC 4760 3, RFC 2545 3, RFC 8950 3). */
export const isNextHopLength = (family: number, length: number, extended: boolean): boolean =>
  framings[family]!.nextHopLengths.includes(length) || (extended && (length === 16 || length === 32))

const pathIdLength = 4

/** Whether the octets from `at` to `end` are prefixes and nothing else (RFC 7606 5.3). */
const arePrefixes = (b: Uint8Array, at: number, end: number, addPath: boolean, maxBits: number): boolean => {
  const before = addPath ? pathIdLength : 0
  let position = at
  while (position < end) {
    position += before
    if (position >= end) return false
    const bits = b[position]!
    if (bits > maxBits) return false
    position += 1 + ((bits + 7) >> 3)
  }
  return position === end
}

/** Whether the octets from `at` to `end` are NLRI of type (8), length (8) and value, and nothing else. */
const areTyped = (b: Uint8Array, at: number, end: number, addPath: boolean): boolean => {
  const before = addPath ? pathIdLength : 0
  let position = at
  while (position < end) {
    position += before
    if (position + 2 > end) return false
    position += 2 + b[position + 1]!
  }
  return position === end
}

/** Whether the octets from `at` to `end` are whole NLRI of a known family. What a typed one holds is not looked at. */
export const areNlri = (family: number, b: Uint8Array, at: number, end: number, addPath: boolean): boolean => {
  const maxBits = framings[family]!.maxBits
  return maxBits === undefined ? areTyped(b, at, end, addPath) : arePrefixes(b, at, end, addPath, maxBits)
}

/** `pathId` is 0 without add-path. `bits` is the prefix length; its (bits + 7) >> 3 octets begin at `octetsAt`; bits beyond are noise. */
export type PrefixVisitor = (pathId: number, bits: number, octetsAt: number) => void

/** Visits the prefixes of a range that `scanUpdate` has checked: IPv4 or IPv6 unicast. */
export const forEachPrefix = (b: Uint8Array, at: number, end: number, addPath: boolean, visit: PrefixVisitor): void => {
  let position = at
  while (position < end) {
    let pathId = 0
    if (addPath) {
      pathId = ((b[position]! << 24) | (b[position + 1]! << 16) | (b[position + 2]! << 8) | b[position + 3]!) >>> 0
      position += pathIdLength
    }
    const bits = b[position]!
    visit(pathId, bits, position + 1)
    position += 1 + ((bits + 7) >> 3)
  }
}

/** Visits typed NLRI (EVPN) of a range that `scanUpdate` has checked; each is from `nlriAt` (its type) to `nlriEnd`. */
export const forEachTyped = (
  b: Uint8Array,
  at: number,
  end: number,
  addPath: boolean,
  visit: (pathId: number, nlriAt: number, nlriEnd: number) => void
): void => {
  let position = at
  while (position < end) {
    let pathId = 0
    if (addPath) {
      pathId = ((b[position]! << 24) | (b[position + 1]! << 16) | (b[position + 2]! << 8) | b[position + 3]!) >>> 0
      position += pathIdLength
    }
    const nlriEnd = position + 2 + b[position + 1]!
    visit(pathId, position, nlriEnd)
    position = nlriEnd
  }
}

/** `10.0.0.0/8` of octets as `forEachPrefix` finds them: noise is cleared. */
export const prefixText = (family: number, b: Uint8Array, octetsAt: number, bits: number): string => {
  const octets = new Uint8Array(family === Family.ipv4Unicast ? 4 : 16)
  const length = (bits + 7) >> 3
  octets.set(b.subarray(octetsAt, octetsAt + length))
  if ((bits & 7) !== 0) octets[length - 1]! &= 0xff00 >> (bits & 7)
  return `${Ip.format(octets)}/${bits}`
}
