/**
 * NOTIFICATION messages and the errors that lead to them (RFC 4271 4.5).
 */

/** What a NOTIFICATION says: `ErrorCode` and subcode of `iana.ts`, and data. */
export interface BgpError {
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
}
