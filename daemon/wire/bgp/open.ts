/**
 * OPEN messages (RFC 4271 4.2), with extended optional parameters (RFC 9072).
 */
import type { Capability } from "./capabilities.ts"
import type { BgpError } from "./error.ts"

export interface Open {
  /** The four-octet number if that capability is there, else the two-octet field (which may be AS_TRANS). */
  readonly asn: number
  /** 0, or 3..65535 */
  readonly holdTimeS: number
  /** 32 bits, not 0 */
  readonly bgpIdentifier: number
  /** In the order of the message; one after another, whatever parameters they came in. */
  readonly capabilities: ReadonlyArray<Capability>
}

export type DecodedOpen = { readonly ok: true; readonly value: Open } | { readonly ok: false; readonly error: BgpError }

/** The message from its marker at `at` to `end`. */
export const decode = (_bytes: Uint8Array, _at: number, _end: number): DecodedOpen => {
  throw new Error("not there yet")
}

/** The whole message, marker and all. */
export const encode = (_open: Open): Uint8Array => {
  throw new Error("not there yet")
}
