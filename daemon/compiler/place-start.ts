/**
 * First divisions of vertices among parts, for `place-partition.ts` to refine: runs of the order in which things were
 * written, of walks through the nets in breadth and in depth, and parts that grow one after the other.
 */

export interface Problem {
  /** Vertices are 0 .. size - 1. */
  readonly size: number
  /** Each of at least two different vertices. */
  readonly nets: ReadonlyArray<ReadonlyArray<number>>
  /** By vertex: the part it must be in, or -1. */
  readonly fixed: Int32Array
  /** By part: how many vertices it should have, fixed ones included; adds up to `size`. */
  readonly shares: ReadonlyArray<number>
  /** By part: how far from its share it may be. */
  readonly least: ReadonlyArray<number>
  readonly most: ReadonlyArray<number>
}

/** Growing looks at every vertex for every vertex. */
const mostToGrow = 4000

type NetsOf = ReadonlyArray<ReadonlyArray<number>>

export function* starts(problem: Problem, netsOf: NetsOf): Generator<Int32Array> {
  const quotas = quotasOf(problem)
  const written = Array.from({ length: problem.size }, (_, vertex) => vertex)
  yield nearest(problem, netsOf, quotas)
  yield inRuns(problem, quotas, written)
  const wide = walk(problem, netsOf, written, "breadth")
  yield inRuns(problem, quotas, wide)
  // From the far end: the walk's last vertex lies at the edge.
  const edge = walk(problem, netsOf, wide.toReversed(), "breadth")
  yield inRuns(problem, quotas, edge)
  yield inRuns(problem, quotas, walk(problem, netsOf, written, "depth"))
  if (problem.size <= mostToGrow) yield grown(problem, netsOf, quotas, edge)
}

/** By part: how many vertices that are not fixed, in whole numbers. */
const quotasOf = ({ fixed, least, most, shares, size }: Problem): ReadonlyArray<number> => {
  const taken = shares.map((_, part) => fixed.reduce((count, one) => (one === part ? count + 1 : count), 0))
  const counts = shares.map((share, part) => Math.max(taken[part]!, Math.floor(share + 1e-9)))
  // What rounding left goes to those that lost most by it; what it gave too much is taken where most was given.
  const misses = (part: number) => shares[part]! - counts[part]!
  const order = shares.map((_, part) => part)
  for (let left = size - counts.reduce((a, b) => a + b, 0); left !== 0; left -= Math.sign(left)) {
    const sign = Math.sign(left)
    const may = (part: number) => (sign > 0 ? counts[part]! < most[part]! : counts[part]! > Math.max(least[part]!, taken[part]!))
    const able = order.filter(may)
    const part = (able.length === 0 ? order : able).reduce((a, b) => (sign * misses(b) > sign * misses(a) + 1e-9 ? b : a))
    counts[part]! += sign
  }
  return counts.map((count, part) => Math.max(0, count - taken[part]!))
}

/** Part after part takes as many as it should have, in this order. */
const inRuns = ({ fixed }: Problem, quotas: ReadonlyArray<number>, order: ReadonlyArray<number>): Int32Array => {
  const partOf = fixed.slice()
  let part = 0
  let left = quotas[0]!
  for (const vertex of order) {
    if (partOf[vertex]! >= 0) continue
    while (left === 0 && part < quotas.length - 1) left = quotas[++part]!
    partOf[vertex] = part
    left--
  }
  return partOf
}

/** All vertices, neighbours after each other; each piece that hangs together begins with its first vertex of `from`. */
const walk = ({ nets, size }: Problem, netsOf: NetsOf, from: ReadonlyArray<number>, way: "breadth" | "depth"): ReadonlyArray<number> => {
  const order: number[] = []
  const isFound = new Uint8Array(size)
  const isSeen = new Uint8Array(nets.length)
  for (const root of from) {
    const open = [root]
    for (let at = 0; way === "breadth" ? at < open.length : open.length > 0; ) {
      const vertex = way === "breadth" ? open[at++]! : open.pop()!
      if (isFound[vertex] === 1) continue
      isFound[vertex] = 1
      order.push(vertex)
      for (const net of netsOf[vertex]!) {
        if (isSeen[net] === 1) continue
        isSeen[net] = 1
        for (const other of nets[net]!) if (isFound[other] === 0) open.push(other)
      }
    }
  }
  return order
}

/** Vertex after vertex goes where most of its neighbours are: the right thing for few new ones among many that stay. */
const nearest = (problem: Problem, netsOf: NetsOf, quotas: ReadonlyArray<number>): Int32Array => {
  const { fixed, nets } = problem
  const partOf = fixed.slice()
  const left = [...quotas]
  const anchored = Array.from(fixed.keys()).filter((vertex) => fixed[vertex]! >= 0)
  for (const vertex of walk(problem, netsOf, [...anchored, ...fixed.keys()], "breadth")) {
    if (partOf[vertex]! >= 0) continue
    const near = quotas.map(() => 0)
    for (const net of netsOf[vertex]!) for (const other of nets[net]!) if (partOf[other]! >= 0) near[partOf[other]!]!++
    let part = -1
    for (let one = 0; one < quotas.length; one++) {
      if (left[one]! > 0 && (part < 0 || near[one]! > near[part]!)) part = one
    }
    partOf[vertex] = part
    left[part]!--
  }
  return partOf
}

/** Each part grows from what is fixed in it, or the first free vertex of `order`; next comes the one with most nets in, fewest out. */
const grown = (problem: Problem, netsOf: NetsOf, quotas: ReadonlyArray<number>, order: ReadonlyArray<number>): Int32Array => {
  const { fixed, nets, size } = problem
  const partOf = fixed.slice()
  const pull = new Int32Array(size)
  for (let part = 0; part < quotas.length; part++) {
    pull.fill(0)
    const isTouched = new Uint8Array(nets.length)
    const touch = (vertex: number): void => {
      for (const net of netsOf[vertex]!) {
        if (isTouched[net] === 1) continue
        isTouched[net] = 1
        for (const other of nets[net]!) pull[other]!++
      }
    }
    for (let vertex = 0; vertex < size; vertex++) if (partOf[vertex] === part) touch(vertex)
    for (let left = quotas[part]!; left > 0; left--) {
      let best = -1
      let bestWorth = -Infinity
      for (const vertex of order) {
        if (partOf[vertex]! >= 0) continue
        const worth = 2 * pull[vertex]! - netsOf[vertex]!.length
        // Nothing touches the part yet: any vertex begins it.
        if (pull[vertex]! === 0 && best >= 0) continue
        if (worth > bestWorth || pull[best]! === 0) [best, bestWorth] = [vertex, worth]
      }
      if (best < 0) break
      partOf[best] = part
      touch(best)
    }
  }
  return partOf
}
