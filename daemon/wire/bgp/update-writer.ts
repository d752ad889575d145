/**
 * Writing UPDATE messages (RFC 4271 4.3, RFC 4760 3, 4; RFC 7606 5.1): as full as the session allows, in place.
 *
 * MP_REACH_NLRI and MP_UNREACH_NLRI are the first attribute of their message, and a message has one form of NLRI only. A
 * message that announces is laid out so that NLRI is written where it stays; what follows MP_REACH_NLRI, the block of
 * attributes, is put behind it by `finish`.
 */
import type { SessionContext } from "./context.ts"
import { headerLength, maxMessageLength, writeHeader } from "./header.ts"
import { afiOf, Attribute, AttributeFlag, Family, MessageType, safiOf } from "./iana.ts"

const empty = new Uint8Array(0)
const mpFlags = AttributeFlag.optional | AttributeFlag.extendedLength

const putU16 = (target: Uint8Array, at: number, value: number): void => {
  target[at] = value >> 8
  target[at + 1] = value & 0xff
}

/**
 * Writes UPDATEs into a buffer, one after another. The caller gives NLRI of equal attributes; when `add*` returns false the
 * message is full (or the buffer is): `finish`, begin the next, add again. A message that takes not even its first NLRI has
 * attributes that are too long for the session (RFC 8654 4: such a route cannot be sent, and is to be withdrawn).
 */
export class UpdateWriter {
  readonly #context: SessionContext
  readonly #maxLength: number
  #target: Uint8Array = empty
  #start = 0
  #position = 0
  /** No octet of NLRI may lie here or behind. */
  #limit = 0
  #addPath = false
  /** The attribute that is being written, or 0: the NLRI or Withdrawn Routes field. */
  #attributeAt = 0
  #isReach = false
  #block: Uint8Array = empty

  constructor(context: SessionContext) {
    this.#context = context
    this.#maxLength = maxMessageLength(context)
  }

  /**
   * Begins an UPDATE that announces. `block`: `encodeAttributes`. `nextHop`: octets for MP_REACH_NLRI (4, 16 or 32), or
   * undefined for the NLRI field (IPv4 unicast; NEXT_HOP is in the block). False: it does not fit even without NLRI.
   */
  beginReach(target: Uint8Array, at: number, family: number, block: Uint8Array, nextHop: Uint8Array | undefined): boolean {
    const fixed = headerLength + 4 + block.length + (nextHop === undefined ? 0 : 9 + nextHop.length)
    if (!this.#begin(target, at, family, fixed)) return false
    this.#isReach = true
    putU16(target, at + headerLength, 0)
    let position = at + headerLength + 4
    if (nextHop === undefined) {
      putU16(target, position - 2, block.length)
      target.set(block, position)
      this.#position = position + block.length
      this.#block = empty
      return true
    }
    this.#attributeAt = position
    position = this.#writeMp(position, Attribute.mpReachNlri, family)
    target[position] = nextHop.length
    target.set(nextHop, position + 1)
    target[position + 1 + nextHop.length] = 0
    this.#position = position + 2 + nextHop.length
    this.#block = block
    this.#limit -= block.length
    return true
  }

  /** Begins an UPDATE that withdraws. False: the buffer is too short for any. */
  beginWithdraw(target: Uint8Array, at: number, family: number): boolean {
    const isField = family === Family.ipv4Unicast
    if (!this.#begin(target, at, family, headerLength + 4 + (isField ? 0 : 7))) return false
    this.#isReach = false
    this.#block = empty
    if (isField) {
      this.#position = at + headerLength + 2
      // The length of no attributes comes behind.
      this.#limit -= 2
      return true
    }
    putU16(target, at + headerLength, 0)
    this.#attributeAt = at + headerLength + 4
    this.#position = this.#writeMp(this.#attributeAt, Attribute.mpUnreachNlri, family)
    return true
  }

  #begin(target: Uint8Array, at: number, family: number, fixedLength: number): boolean {
    this.#limit = Math.min(at + this.#maxLength, target.length)
    if (at + fixedLength > this.#limit) return false
    this.#target = target
    this.#start = at
    this.#attributeAt = 0
    this.#addPath = this.#context.addPathSend(family)
    return true
  }

  #writeMp(at: number, type: number, family: number): number {
    this.#target[at] = mpFlags
    this.#target[at + 1] = type
    putU16(this.#target, at + 4, afiOf(family))
    this.#target[at + 6] = safiOf(family)
    return at + 7
  }

  #writePathId(pathId: number): void {
    putU16(this.#target, this.#position, pathId >>> 16)
    putU16(this.#target, this.#position + 2, pathId & 0xffff)
    this.#position += 4
  }

  /** Adds a prefix: `bits` of the octets from `octets[at]` on. Noise beyond `bits` is zeroed. False: the message is full. */
  addPrefix(pathId: number, bits: number, octets: Uint8Array, at: number): boolean {
    const length = (bits + 7) >> 3
    if (this.#position + (this.#addPath ? 5 : 1) + length > this.#limit) return false
    if (this.#addPath) this.#writePathId(pathId)
    const target = this.#target
    let position = this.#position
    target[position++] = bits
    for (let i = 0; i < length; i++) target[position++] = octets[at + i]!
    if ((bits & 7) !== 0) target[position - 1]! &= 0xff00 >> (bits & 7)
    this.#position = position
    return true
  }

  /** Adds an NLRI that is encoded already, without a path identifier (EVPN). False: the message is full. */
  addNlri(pathId: number, nlri: Uint8Array): boolean {
    if (this.#position + (this.#addPath ? 4 : 0) + nlri.length > this.#limit) return false
    if (this.#addPath) this.#writePathId(pathId)
    this.#target.set(nlri, this.#position)
    this.#position += nlri.length
    return true
  }

  /** Fills in the lengths; returns the end of the message. */
  finish(): number {
    const target = this.#target
    const start = this.#start
    let end = this.#position
    if (this.#attributeAt !== 0) {
      putU16(target, this.#attributeAt + 2, end - this.#attributeAt - 4)
      target.set(this.#block, end)
      end += this.#block.length
      putU16(target, start + headerLength + 2, end - start - headerLength - 4)
    } else if (!this.#isReach) {
      putU16(target, start + headerLength, end - start - headerLength - 2)
      putU16(target, end, 0)
      end += 2
    }
    writeHeader(target, start, end - start, MessageType.update)
    return end
  }
}

/** End-of-RIB of a family (RFC 4724 2): a whole message. */
export const encodeEndOfRib = (family: number): Uint8Array => {
  const message = new Uint8Array(headerLength + 4 + (family === Family.ipv4Unicast ? 0 : 6))
  writeHeader(message, 0, message.length, MessageType.update)
  if (family === Family.ipv4Unicast) return message
  message[headerLength + 3] = 6
  const value = [afiOf(family) >> 8, afiOf(family) & 0xff, safiOf(family)]
  message.set([AttributeFlag.optional, Attribute.mpUnreachNlri, value.length, ...value], headerLength + 4)
  return message
}
