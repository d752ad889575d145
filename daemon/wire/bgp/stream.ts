/**
 * Messages out of a stream of octets (RFC 4271 4.1), in whatever pieces they come.
 *
 * Messages that are whole in a piece are seen where they lie. One that is cut is put together in a buffer of its own, which
 * grows to the longest message that was cut and never beyond 65535 octets. A framing error is final: where the next message
 * would begin is unknown, so nothing is taken any more.
 *
 * Ownership: `bytes` is the caller's piece or the parser's buffer; valid until the next `feed`.
 */
import { checkHeader, headerLength, messageLength, messageType } from "./header.ts"
import type { BgpError } from "./error.ts"

const nothing = new Uint8Array(0)

export class StreamParser {
  /** Set once both sides have agreed (RFC 8654): messages but OPEN and KEEPALIVE may have 65535 octets. */
  extendedMessage = false
  /** After `next` returned true: the message is `bytes` from `at` (its marker) to `end`; valid until the next `feed`. */
  bytes: Uint8Array = nothing
  at = 0
  end = 0
  /** `MessageType` */
  type = 0
  /** After a framing error: what to notify. Nothing is taken any more. */
  error: BgpError | undefined

  #chunk: Uint8Array = nothing
  #position = 0
  /** The beginning of a message that was cut. */
  #pending: Uint8Array = nothing
  #pendingLength = 0

  /** Takes a piece. All messages of the piece before must have been taken with `next`, else it throws. After an error it does nothing. */
  feed(chunk: Uint8Array): void {
    if (this.error !== undefined) return
    if (this.#position < this.#chunk.length) throw new Error("Cannot feed a BGP stream parser that has messages left")
    this.#chunk = chunk
    this.#position = 0
  }

  /** Moves to the next whole message; false: feed more, or look at `error`. */
  next(): boolean {
    if (this.error !== undefined) return false
    return this.#pendingLength > 0 ? this.#nextOfPending() : this.#nextOfChunk()
  }

  #nextOfChunk(): boolean {
    const chunk = this.#chunk
    const at = this.#position
    const left = chunk.length - at
    if (left === 0) return this.#rest()
    if (left < headerLength) return this.#keep()
    if (!this.#accepts(chunk, at)) return false
    const length = messageLength(chunk, at)
    if (left < length) return this.#keep()
    this.#position = at + length
    return this.#found(chunk, at, length)
  }

  #nextOfPending(): boolean {
    if (this.#pendingLength < headerLength && !this.#fill(headerLength)) return false
    if (!this.#accepts(this.#pending, 0)) return false
    const length = messageLength(this.#pending, 0)
    if (!this.#fill(length)) return false
    this.#pendingLength = 0
    return this.#found(this.#pending, 0, length)
  }

  #found(bytes: Uint8Array, at: number, length: number): true {
    this.bytes = bytes
    this.at = at
    this.end = at + length
    this.type = messageType(bytes, at)
    return true
  }

  #accepts(bytes: Uint8Array, at: number): boolean {
    this.error = checkHeader(bytes, at, this.extendedMessage)
    if (this.error === undefined) return true
    this.#pending = nothing
    this.#pendingLength = 0
    return this.#rest()
  }

  /** Lets go of the piece: the parser must not keep 64 KiB alive between messages. */
  #rest(): false {
    this.#chunk = nothing
    this.#position = 0
    return false
  }

  /** Keeps what is left of the piece, which is less than a message. */
  #keep(): false {
    this.#fill(this.#chunk.length - this.#position)
    return this.#rest()
  }

  /** Takes octets of the piece until `length` are pending; false: there were not enough. */
  #fill(length: number): boolean {
    if (this.#pending.length < length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#pending.length, 256))
      grown.set(this.#pending.subarray(0, this.#pendingLength))
      this.#pending = grown
    }
    const count = Math.min(length - this.#pendingLength, this.#chunk.length - this.#position)
    this.#pending.set(this.#chunk.subarray(this.#position, this.#position + count), this.#pendingLength)
    this.#pendingLength += count
    this.#position += count
    if (this.#pendingLength >= length) return true
    return this.#rest()
  }
}
