/**
 * Layered drawing (Sugiyama): items with ranks become rows; the order within a row is found by barycenter sweeps, the
 * position by letting every item pull towards its neighbours while nobody overlaps. Deterministic: ties keep the order
 * of the input.
 */

export interface Item {
  readonly id: string
  readonly width: number
  readonly height: number
  /** Row, from 0 at the top. */
  readonly rank: number
}

export interface Placed {
  /** Left edge. */
  readonly x: number
  /** Upper edge. */
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Spacing {
  /** Between neighbours of a row. */
  readonly gapX: number
  /** Between a row and the next. */
  readonly gapY: (rank: number) => number
}

const orderSweeps = 12
/** Odd: the last sweep goes down, so that what hangs below something hangs straight. */
const placeSweeps = 41

/** @returns a place for every item, the whole starting at 0,0 */
export const layered = (
  items: ReadonlyArray<Item>,
  edges: ReadonlyArray<readonly [string, string]>,
  spacing: Spacing
): ReadonlyMap<string, Placed> => {
  const neighbours = neighboursOf(items, edges)
  const rows = ordered(items, neighbours)
  const centers = centered(rows, neighbours, spacing.gapX)
  const left = Math.min(...items.map(({ id, width }) => centers.get(id)! - width / 2))
  const placed = new Map<string, Placed>()
  let y = 0
  for (const [rank, row] of rows.entries()) {
    for (const { height, id, width } of row) placed.set(id, { x: centers.get(id)! - width / 2 - left, y, width, height })
    y += Math.max(0, ...row.map(({ height }) => height)) + spacing.gapY(rank)
  }
  return placed
}

type Neighbours = ReadonlyMap<string, ReadonlyArray<string>>

const neighboursOf = (items: ReadonlyArray<Item>, edges: ReadonlyArray<readonly [string, string]>): Neighbours => {
  const neighbours = new Map<string, Array<string>>(items.map(({ id }) => [id, []]))
  for (const [a, b] of edges) {
    neighbours.get(a)?.push(b)
    neighbours.get(b)?.push(a)
  }
  return neighbours
}

/** Rows from top to bottom, each ordered to keep crossings few. */
const ordered = (items: ReadonlyArray<Item>, neighbours: Neighbours): ReadonlyArray<ReadonlyArray<Item>> => {
  const depth = Math.max(0, ...items.map(({ rank }) => rank)) + 1
  const rows: Array<Array<Item>> = Array.from({ length: depth }, (_, rank) => items.filter((item) => item.rank === rank))
  const position = new Map<string, number>()
  // Positions are relative to the row's length, so that short and long rows compare.
  const number = (row: ReadonlyArray<Item>): void => row.forEach(({ id }, index) => position.set(id, (index + 0.5) / row.length))
  rows.forEach(number)
  const rankOf = new Map(items.map(({ id, rank }) => [id, rank]))
  for (let sweep = 0; sweep < orderSweeps; sweep++) {
    const down = sweep % 2 === 0
    for (let step = 0; step < depth; step++) {
      const rank = down ? step : depth - 1 - step
      const row = rows[rank]!
      const pull = new Map(
        row.map(({ id }) => {
          const beside = neighbours.get(id)!.filter((other) => (down ? rankOf.get(other)! < rank : rankOf.get(other)! > rank))
          return [id, beside.length === 0 ? position.get(id)! : mean(beside.map((other) => position.get(other)!))]
        })
      )
      row.sort((a, b) => pull.get(a.id)! - pull.get(b.id)! || position.get(a.id)! - position.get(b.id)!)
      number(row)
    }
  }
  return rows
}

/** Center of every item. */
const centered = (rows: ReadonlyArray<ReadonlyArray<Item>>, neighbours: Neighbours, gap: number): ReadonlyMap<string, number> => {
  const centers = new Map<string, number>()
  for (const row of rows) {
    const total = row.reduce((sum, { width }) => sum + width + gap, -gap)
    let x = -total / 2
    for (const { id, width } of row) {
      centers.set(id, x + width / 2)
      x += width + gap
    }
  }
  for (let sweep = 0; sweep < placeSweeps; sweep++) {
    for (const row of sweep % 2 === 0 ? rows : rows.toReversed()) {
      const wanted = row.map(({ id }) => {
        const beside = neighbours.get(id)!
        return beside.length === 0 ? centers.get(id)! : mean(beside.map((other) => centers.get(other)!))
      })
      spread(row, wanted, gap).forEach((center, index) => centers.set(row[index]!.id, center))
    }
  }
  return centers
}

/**
 * The centers nearest to the wanted ones (least squares) that keep order and gaps: pool adjacent violators.
 */
const spread = (row: ReadonlyArray<Item>, wanted: ReadonlyArray<number>, gap: number): ReadonlyArray<number> => {
  const offsets: Array<number> = [0]
  for (let index = 1; index < row.length; index++)
    offsets.push(offsets[index - 1]! + (row[index - 1]!.width + row[index]!.width) / 2 + gap)
  const pools: Array<{ sum: number; count: number }> = []
  for (const [index, want] of wanted.entries()) {
    let pool = { sum: want - offsets[index]!, count: 1 }
    while (pools.length > 0 && pools.at(-1)!.sum / pools.at(-1)!.count > pool.sum / pool.count) {
      const before = pools.pop()!
      pool = { sum: before.sum + pool.sum, count: before.count + pool.count }
    }
    pools.push(pool)
  }
  const starts = pools.flatMap(({ count, sum }) => Array.from({ length: count }, () => sum / count))
  return starts.map((start, index) => start + offsets[index]!)
}

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length
