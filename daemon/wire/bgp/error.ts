/**
 * What is wrong with a message, in the terms of the NOTIFICATION that it deserves (RFC 4271 6): every codec here returns it.
 */

/** `ErrorCode` and subcode of `iana.ts`, and data. */
export interface BgpError {
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
}

const none = new Uint8Array(0)

export const bgpError = (code: number, subcode: number, data: Uint8Array = none): BgpError => ({ code, subcode, data })
