/**
 * How many prefixes a neighbour may send (`max-prefix`): says once when there are more, and once before that if it is to be said.
 *
 * Above the limit the session ends, or nothing more happens; that is for who is told. Or what is beyond is not taken (`discardsExtra`):
 * the RIB asks `isFull` before it takes a prefix that it does not have from this neighbour. What was not taken is gone: it comes
 * when the neighbour sends it again.
 */
import type { FamilyTable } from "./family-table.ts"
import type { Peer } from "./peer.ts"
import type { RibEvents } from "./types.ts"

/** Whether no prefix more is taken from this neighbour. */
export const isFull = (peer: Peer, { family, received }: FamilyTable): boolean =>
  received[peer.index]! >= (peer.config.families[family]?.maxPrefix ?? Infinity)

/** After each UPDATE with reachable routes, and when the limit has changed. `hasDiscarded`: there was more than was taken. */
export const checkLimit = (peer: Peer, { family, received }: FamilyTable, events: RibEvents, hasDiscarded: boolean): void => {
  const config = peer.config.families[family]
  const most = config?.maxPrefix
  const wasOver = peer.isOverLimit[family]
  if (most === undefined) {
    peer.isOverLimit[family] = peer.isNearLimit[family] = false
    return
  }
  const count = received[peer.index]!
  // What is discarded is not counted: it is too much until there is room again.
  const isOver = count > most || (count === most && (hasDiscarded || (wasOver && config!.discardsExtra === true)))
  const isNear = count > (config!.nearMaxPrefix ?? Infinity)
  const wasNear = peer.isNearLimit[family]
  peer.isOverLimit[family] = isOver
  peer.isNearLimit[family] = isNear
  // Once above the limit and now only near it, by a higher limit or a few less: who was told of the one is told of the other.
  if (isOver && !wasOver) events.maxPrefix?.(peer.index, family, count)
  else if (isNear && !isOver && (!wasNear || wasOver)) events.nearMaxPrefix?.(peer.index, family, count)
}
