/** Chance that a failing test can repeat: the same seed gives the same numbers (mulberry32). */

export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number
  octets(count: number): Uint8Array
  pick<A>(list: ReadonlyArray<A>): A
}

export const seeded = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const below = (limit: number): number => next() % limit
  return {
    below,
    octets: (count) => Uint8Array.from({ length: count }, () => below(256)),
    pick: (list) => list[below(list.length)]!
  }
}
