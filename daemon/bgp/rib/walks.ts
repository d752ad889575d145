/**
 * Walks over all paths of a table, for what concerns a whole neighbour or a next hop: slices end at each `yield`. A look at a row costs
 * about a nanosecond, so there are no lists of paths for each neighbour.
 */
import type { AttributeTable } from "./attribute-table.ts"
import type { FamilyTable } from "./family-table.ts"
import { importSet } from "./import-side.ts"
import { PathFlag } from "./path-pool.ts"
import type { Peer } from "./peer.ts"
import type { FibSink, RibOptions } from "./types.ts"

/** RFC 9494 2. */
const llgrStale = 0xffff_0006
const noLlgr = 0xffff_0007

/** Sets a flag of all paths of a neighbour, at once. */
export const flag = ({ pool }: FamilyTable, index: number, flag: number): void => {
  const { flags, peer, received } = pool
  for (let path = 0; path < pool.limit; path++) if (peer[path] === index && received[path] !== 0) flags[path]! |= flag
}

/**
 * Marks a neighbour's paths that have the flag (0: all) as gone, at once, and returns how many: `removeGone` takes them out. What the
 * neighbour sends meanwhile, in the same session or the next, is not among them.
 */
export const expire = ({ accepted, pool, received }: FamilyTable, index: number, flag: number): number => {
  const { chosen, flags, peer, received: sets } = pool
  let count = 0
  let taken = 0
  for (let path = 0; path < pool.limit; path++) {
    if (peer[path] !== index || sets[path] === 0 || (flags[path]! & PathFlag.gone) !== 0) continue
    if (flag !== 0 && (flags[path]! & flag) === 0) continue
    flags[path]! |= PathFlag.gone
    count++
    if (chosen[path] !== 0) taken++
  }
  received[index]! -= count
  accepted[index]! -= taken
  return count
}

/** Removes those of a neighbour's paths that are gone. */
export function* removeGone(table: FamilyTable, index: number): Generator<undefined, void> {
  const { pool } = table
  let removed = 0
  for (let path = 0; path < pool.limit; path++) {
    if ((path & 4095) === 4095 || removed === 512) {
      yield
      removed = 0
    }
    if (pool.peer[path] !== index || (pool.flags[path]! & PathFlag.gone) === 0) continue
    table.removePath(path)
    removed++
  }
}

/** What is to be done when the walks before it are through. */
export function* last(act: () => void): Generator<undefined, void> {
  act()
}

const staleOrGone = PathFlag.stale | PathFlag.gone

/** RFC 9494 4.2: marks what is stale and may be kept for long, and removes the rest of what is stale. */
export function* makeLongLived(table: FamilyTable, index: number): Generator<undefined, void> {
  const { pool, sets } = table
  for (let path = 0; path < pool.limit; path++) {
    if ((path & 255) === 255) yield
    if (pool.peer[path] !== index || pool.received[path] === 0 || (pool.flags[path]! & staleOrGone) !== PathFlag.stale) continue
    const longLived = longLivedSet(sets, pool.received[path]!, pool.chosen[path]!)
    if (longLived === 0) table.removePath(path)
    else {
      table.rechoose(path, longLived)
      sets.release(longLived)
    }
  }
}

const longLivedSet = (sets: AttributeTable, received: number, chosen: number): number => {
  if (chosen === 0 || sets.get(received).communities.includes(noLlgr)) return 0
  const attributes = sets.get(chosen)
  const { communities } = attributes
  const all = communities.includes(llgrStale) ? communities : [...communities, llgrStale]
  return sets.intern({ ...attributes, communities: all }, { weight: sets.weight[chosen]!, scope: sets.scopeOf(chosen) })
}

/** Asks the import policy anew about what a neighbour sent. */
export function* reimport(
  rib: { readonly options: RibOptions; readonly sets: AttributeTable },
  table: FamilyTable,
  peer: Peer
): Generator<undefined, void> {
  const { pool } = table
  for (let path = 0; path < pool.limit; path++) {
    if ((path & 255) === 255) yield
    if (pool.peer[path] !== peer.index || pool.received[path] === 0 || (pool.flags[path]! & PathFlag.gone) !== 0) continue
    const chosen = importSet(rib, peer, table, pool.received[path]!, pool.prefix[path]!)
    if (chosen < 0) table.removePath(path)
    else {
      table.rechoose(path, chosen)
      rib.sets.release(chosen)
    }
  }
}

/** All prefixes are to be looked at again. */
export function* redecideAll(tables: ReadonlyArray<FamilyTable>): Generator<undefined, void> {
  for (const { dirty, first, prefixes } of tables) {
    for (let prefix = 0; prefix < prefixes.limit; prefix++) {
      if ((prefix & 4095) === 4095) yield
      if (prefixes.has(prefix) && first[prefix]! >= 0) dirty.add(prefix)
    }
  }
}

/** Takes everything out of a table of the kernel, as far as it was put there before the tables moved on. */
export function* leaveAll(tables: ReadonlyArray<FamilyTable>, fib: FibSink): Generator<undefined, void> {
  for (const table of tables) {
    for (let prefix = 0; prefix < table.prefixes.limit; prefix++) {
      if ((prefix & 4095) === 4095) yield
      if (table.prefixes.has(prefix)) table.leave(prefix, fib)
    }
  }
}

/** All prefixes with a path over one of the next hops are to be looked at again. `take`: called when the walk begins. */
export function* redecide(tables: ReadonlyArray<FamilyTable>, take: () => ReadonlySet<number>): Generator<undefined, void> {
  const changed = take()
  for (const { dirty, pool, sets } of tables) {
    for (let path = 0; path < pool.limit; path++) {
      if ((path & 16383) === 16383) yield
      const set = pool.chosen[path]!
      if (set === 0) continue
      const nextHop = sets.knownNextHop(set)
      if (nextHop >= 0 && changed.has(nextHop)) dirty.add(pool.prefix[path]!)
    }
  }
}
