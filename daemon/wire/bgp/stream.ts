/**
 * Messages out of a stream of octets (RFC 4271 4.1), in whatever pieces they come.
 */
import type { BgpError } from "./notification.ts"

export class StreamParser {
  /** Set once both sides have agreed (RFC 8654): messages but OPEN and KEEPALIVE may have 65535 octets. */
  extendedMessage = false
  /** After `next` returned true: the message is `bytes` from `at` (its marker) to `end`; views are valid until the next `feed`. */
  bytes: Uint8Array = new Uint8Array(0)
  at = 0
  end = 0
  /** `MessageType` */
  type = 0
  /** After a framing error: what to notify. Nothing is taken any more. */
  error: BgpError | undefined

  /** Takes a piece. All messages of the piece before must have been taken with `next`, else it throws. */
  feed(_chunk: Uint8Array): void {
    throw new Error("not there yet")
  }

  /** Moves to the next whole message; false: feed more, or look at `error`. */
  next(): boolean {
    throw new Error("not there yet")
  }
}
