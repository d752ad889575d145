/** BFD as the file says it -> times: of BGP sessions and of static routes alike. */
import type { BfdTimers } from "../plan/bgp.ts"
import type { RawBfd } from "../topology/bgp-schema.ts"
import { parseTime } from "../topology/units.ts"

/** `true` is 50 ms, three times: a neighbour is lost after 150 ms. */
export const bfdTimers = (raw: Exclude<RawBfd, boolean> | true): BfdTimers => {
  const given = raw === true ? {} : raw
  const interval = given.interval ?? "50ms"
  return {
    minTxMs: parseTime(given["min-tx"] ?? interval)!,
    minRxMs: parseTime(given["min-rx"] ?? interval)!,
    multiplier: given.multiplier ?? 3
  }
}
