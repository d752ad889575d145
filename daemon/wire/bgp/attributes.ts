/**
 * The table of path attributes: one row for each type that weft knows, one file for each family of them.
 */
import type { SessionContext } from "./context.ts"
import type { PathAttributes } from "./path-attributes.ts"

/**
 * All attributes but MP_REACH_NLRI and MP_UNREACH_NLRI, in order of their types, as the peer of `context` reads them
 * (AS4_PATH and AS4_AGGREGATOR to those who need them). `withNextHop`: NEXT_HOP too, for NLRI in the NLRI field.
 */
export const encodeAttributes = (_attributes: PathAttributes, _context: SessionContext, _withNextHop: boolean): Uint8Array => {
  throw new Error("not there yet")
}
