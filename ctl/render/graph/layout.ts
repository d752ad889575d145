/**
 * Places for everything of a graph. Three ideas make a network readable:
 *
 * - hosts with one port hang in a list below what they are attached to, so that forty hosts take little width;
 * - a site is laid out by itself, its border towards the other sites on top, and sites are then laid out as boxes;
 * - where groups are tiers instead (spines, leaves, hosts: hardly any edge stays inside a group), the whole graph is
 *   layered at once and the groups become bands.
 *
 * Pure and deterministic; `routes.ts` draws the edges between the places.
 */

import { layered } from "./layers.ts"
import type { Item, Placed } from "./layers.ts"
import { clusterTitle } from "./model.ts"
import type { Edge, Element, Graph } from "./model.ts"

export interface Box extends Placed {
  readonly cluster: string
}

/** One vertical line of hanging hosts. */
export interface Trunk {
  readonly parent: string
  readonly x: number
  readonly y: number
  readonly children: ReadonlyArray<string>
}

export interface Layout {
  /** Boxes are sites beside each other, or tiers above each other. */
  readonly mode: "sites" | "tiers"
  readonly places: ReadonlyMap<string, Placed>
  readonly boxes: ReadonlyArray<Box>
  readonly trunks: ReadonlyArray<Trunk>
  /** Edges that are not part of a trunk. */
  readonly edges: ReadonlyArray<Edge>
}

export const cardHeight = (element: Element): number =>
  element.shape === "network" ? 34 : 32 + 14 * Math.max(1, element.lines.length)

const textWidth = (element: Element): number =>
  Math.max(element.title.length * 7.6, ...element.lines.map((line) => line.length * 6.5))

export const cardWidth = (element: Element): number => {
  if (element.shape === "network")
    return Math.round(Math.max(150, element.title.length * 7.6 + element.lines.join(" ").length * 6.5 + 64))
  // Many lines need width to stay apart where they leave.
  const lines = element.shape === "router" ? Math.min(220, 27 * element.degree) : 0
  return Math.round(Math.max(118, lines, textWidth(element) + 56))
}

const trunkIndent = 22
const columnGap = 18
const rowGap = 10
const trunkLead = 20
const boxPadding = 24
const boxTitle = 30

/** How a part of the graph came out: sizes and places relative to its own corner. */
interface Part {
  readonly width: number
  readonly height: number
  readonly places: ReadonlyMap<string, Placed>
  readonly trunks: ReadonlyArray<Trunk>
}

export const layout = (graph: Graph): Layout => {
  const clusters = clustersOf(graph)
  const free = hangingOf(graph, () => true)
  const wires = graph.edges.filter((edge) => !free.edges.has(edge))
  const inside = wires.filter((edge) => clusterIndex(clusters, edge.a) === clusterIndex(clusters, edge.b)).length
  const named = clusters.filter(({ name }) => name !== "")
  if (named.length > 1 && inside < wires.length * 0.3) return tiers(graph, free)
  // In a site that is turned upside down a few hosts look better in a row than in a list above their router.
  const rows = new Set(
    clusters.filter(({ elements, flip }) => flip && elements.length <= 6).flatMap(({ elements }) => elements.map(({ id }) => id))
  )
  const hanging = hangingOf(graph, (host, above) => host.cluster === above.cluster && !rows.has(host.id))
  const parts = clusters.map((cluster) => partOf(cluster.elements, graph.edges, hanging, cluster.flip))
  return {
    mode: "sites",
    ...together(clusters, parts, graph.edges),
    edges: graph.edges.filter((edge) => !hanging.edges.has(edge))
  }
}

// ---- hanging hosts -------------------------------------------------------------------------------------------------

interface Hanging {
  /** Hosts below each element, in the order of the lab. */
  readonly below: ReadonlyMap<string, ReadonlyArray<Element>>
  readonly hosts: ReadonlySet<string>
  readonly edges: ReadonlySet<Edge>
}

/** @param may whether this host may hang below this element */
const hangingOf = (graph: Graph, may: (host: Element, above: Element) => boolean): Hanging => {
  const byId = new Map(graph.elements.map((element) => [element.id, element]))
  const below = new Map<string, Array<Element>>()
  const hosts = new Set<string>()
  const edges = new Set<Edge>()
  for (const edge of graph.edges) {
    for (const [child, parent] of [
      [edge.a, edge.b],
      [edge.b, edge.a]
    ] as const) {
      const element = byId.get(child)!
      const above = byId.get(parent)!
      if (element.shape !== "host" || element.degree !== 1 || above.shape === "host" || hosts.has(child) || !may(element, above))
        continue
      hosts.add(child)
      edges.add(edge)
      below.set(parent, [...(below.get(parent) ?? []), element])
      break
    }
  }
  return { below, hosts, edges }
}

/** Hosts in columns of at most eight, below `parent`; places relative to the list's corner. */
const listOf = (parent: string, hosts: ReadonlyArray<Element>): Part => {
  const columns = hosts.length <= 4 ? 1 : hosts.length <= 10 ? 2 : Math.ceil(hosts.length / 6)
  const perColumn = Math.ceil(hosts.length / columns)
  const width = Math.max(...hosts.map(cardWidth))
  const height = Math.max(...hosts.map(cardHeight))
  const places = new Map<string, Placed>()
  const trunks: Array<Trunk> = []
  for (let column = 0; column < columns; column++) {
    const own = hosts.slice(column * perColumn, (column + 1) * perColumn)
    const x = column * (trunkIndent + width + columnGap)
    own.forEach(({ id }, row) => places.set(id, { x: x + trunkIndent, y: trunkLead + row * (height + rowGap), width, height }))
    trunks.push({ parent, x: x + trunkIndent / 2, y: 0, children: own.map(({ id }) => id) })
  }
  return {
    width: columns * (trunkIndent + width + columnGap) - columnGap,
    height: trunkLead + perColumn * (height + rowGap) - rowGap,
    places,
    trunks
  }
}

// ---- one part ------------------------------------------------------------------------------------------------------

/** Lays out the elements of one cluster, or of the whole graph. `flip`: the border at the bottom. */
const partOf = (elements: ReadonlyArray<Element>, allEdges: ReadonlyArray<Edge>, hanging: Hanging, flip: boolean): Part => {
  const own = new Set(elements.map(({ id }) => id))
  const core = elements.filter(({ id }) => !hanging.hosts.has(id))
  const edges = allEdges.filter(({ a, b }) => own.has(a) && own.has(b) && !hanging.hosts.has(a) && !hanging.hosts.has(b))
  const border = core.filter(({ id }) => allEdges.some(({ a, b }) => (a === id && !own.has(b)) || (b === id && !own.has(a))))
  const ranks = ranksOf(
    core,
    edges,
    border.map(({ id }) => id),
    hanging
  )
  const lists = new Map(
    [...hanging.below].filter(([parent]) => own.has(parent)).map(([parent, hosts]) => [parent, listOf(parent, hosts)])
  )

  const items: Array<Item> = []
  const pairs: Array<readonly [string, string]> = edges.map(({ a, b }) => [a, b])
  for (const element of core) {
    const list = lists.get(element.id)
    const wide = element.shape === "network" && list !== undefined ? list.width : 0
    items.push({
      id: element.id,
      width: Math.max(cardWidth(element), wide),
      height: cardHeight(element),
      rank: ranks.get(element.id)!
    })
    if (list === undefined) continue
    items.push({ id: `list/${element.id}`, width: list.width, height: list.height, rank: ranks.get(element.id)! + 1 })
    // A list pulls harder than an edge: it should hang straight.
    for (let pull = 0; pull < 4; pull++) pairs.push([element.id, `list/${element.id}`])
  }
  const depth = Math.max(0, ...items.map(({ rank }) => rank))
  const turned = flip ? items.map((item) => ({ ...item, rank: depth - item.rank })) : items
  const listsOnly = (rank: number): boolean => {
    const next = turned.filter((item) => item.rank === (flip ? rank : rank + 1))
    return next.length > 0 && next.every(({ id }) => id.startsWith("list/"))
  }
  // Many lines need height to stay apart.
  const roomFor = (rank: number): number => {
    const crossing = edges.filter(
      ({ a, b }) => Math.min(rankOf.get(a)!, rankOf.get(b)!) === rank && rankOf.get(a) !== rankOf.get(b)
    ).length
    return Math.min(110, 4 * Math.max(0, crossing - 8))
  }
  const rankOf = new Map(turned.map(({ id, rank }) => [id, rank]))
  const beside = edges.some(({ a, b }) => rankOf.get(a) === rankOf.get(b))
  const placed = layered(turned, pairs, { gapX: beside ? 116 : 34, gapY: (rank) => (listsOnly(rank) ? 14 : 92 + roomFor(rank)) })

  const places = new Map<string, Placed>()
  const trunks: Array<Trunk> = []
  for (const [id, place] of placed) {
    const list = id.startsWith("list/") ? lists.get(id.slice(5)) : undefined
    if (list === undefined) places.set(id, place)
    else merge(places, trunks, list, place.x + nudge(id, placed), place.y)
  }
  return { ...extent(places), places, trunks }
}

/** How far a list can move right so that its line falls straight from a narrower parent, without meeting its neighbour. */
const nudge = (list: string, placed: ReadonlyMap<string, Placed>): number => {
  const [parent, own] = [placed.get(list.slice(5))!, placed.get(list)!]
  const wish = parent.x + 18 - (own.x + trunkIndent / 2)
  const free = Math.min(
    ...[...placed]
      .filter(([id, { height, x, y }]) => id !== list && x > own.x && y < own.y + own.height && own.y < y + height)
      .map(([, { x }]) => x - own.x - own.width - columnGap)
  )
  return Math.max(0, Math.min(wish, free))
}

const merge = (places: Map<string, Placed>, trunks: Array<Trunk>, part: Part, x: number, y: number): void => {
  for (const [id, place] of part.places) places.set(id, { ...place, x: place.x + x, y: place.y + y })
  for (const trunk of part.trunks) trunks.push({ ...trunk, x: trunk.x + x, y: trunk.y + y })
}

const extent = (places: ReadonlyMap<string, Placed>): { readonly width: number; readonly height: number } => ({
  width: Math.max(0, ...[...places.values()].map(({ width, x }) => x + width)),
  height: Math.max(0, ...[...places.values()].map(({ height, y }) => y + height))
})

/** Row of each element: its distance from the top. The top is the border, or what is farthest from all hosts. */
const ranksOf = (
  core: ReadonlyArray<Element>,
  edges: ReadonlyArray<Edge>,
  border: ReadonlyArray<string>,
  hanging: Hanging
): ReadonlyMap<string, number> => {
  const hostLike = core.filter(({ id, shape }) => shape === "host" || hanging.below.has(id)).map(({ id }) => id)
  const depths = distances(core, edges, hostLike)
  const farthest = Math.max(0, ...depths.values())
  const top = border.length > 0 ? border : core.filter(({ id }) => depths.get(id) === farthest).map(({ id }) => id)
  const ranks = new Map(distances(core, edges, top))
  // What hangs together with nothing above starts its own tree, from its best connected element.
  for (const element of core.toSorted((a, b) => b.degree - a.degree)) {
    if (ranks.has(element.id)) continue
    for (const [id, rank] of distances(core, edges, [element.id])) if (!ranks.has(id)) ranks.set(id, rank)
  }
  return ranks
}

const distances = (
  elements: ReadonlyArray<Element>,
  edges: ReadonlyArray<Edge>,
  from: ReadonlyArray<string>
): ReadonlyMap<string, number> => {
  const known = new Set(elements.map(({ id }) => id))
  const found = new Map(from.map((id) => [id, 0]))
  const queue = [...from]
  for (const id of queue) {
    for (const { a, b } of edges) {
      const other = a === id ? b : b === id ? a : undefined
      if (other === undefined || found.has(other) || !known.has(other)) continue
      found.set(other, found.get(id)! + 1)
      queue.push(other)
    }
  }
  return found
}

// ---- sites ---------------------------------------------------------------------------------------------------------

interface Cluster {
  readonly name: string
  readonly title: string
  readonly elements: ReadonlyArray<Element>
  readonly rank: number
  readonly flip: boolean
}

/** Sites with their row: the one with the most neighbours on top. What belongs to no site forms clusters without a box. */
const clustersOf = (graph: Graph): ReadonlyArray<Cluster> => {
  const named = Map.groupBy(
    graph.elements.filter(({ cluster }) => cluster !== ""),
    ({ cluster }) => cluster
  )
  const groups: Array<{ name: string; elements: ReadonlyArray<Element> }> = [...named].map(([name, elements]) => ({
    name,
    elements
  }))
  const free = graph.elements.filter(({ cluster }) => cluster === "")
  const seen = new Set<string>()
  for (const element of free) {
    if (seen.has(element.id)) continue
    const component = [...distances(free, graph.edges, [element.id]).keys()]
    component.forEach((id) => seen.add(id))
    groups.push({ name: "", elements: free.filter(({ id }) => component.includes(id)) })
  }
  const indexOf = new Map(groups.flatMap(({ elements }, index) => elements.map(({ id }) => [id, index] as const)))
  const beside = groups.map((_, index) => {
    const all = graph.edges.flatMap(({ a, b }) => {
      const [from, to] = [indexOf.get(a)!, indexOf.get(b)!]
      return from === to ? [] : from === index ? [to] : to === index ? [from] : []
    })
    return [...new Set(all)]
  })
  const ranks = rowsOf(
    groups.map(({ elements }) => elements.length),
    beside
  )
  return groups.map(({ elements, name }, index) => ({
    name,
    title: clusterTitle(graph, name),
    elements,
    rank: ranks[index]!,
    flip: ranks[index] === 0 && beside[index]!.some((other) => ranks[other]! > 0)
  }))
}

/** At most this many sites stand side by side. */
const widestRow = 4

const rowsOf = (sizes: ReadonlyArray<number>, beside: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const ranks: Array<number | undefined> = sizes.map(() => undefined)
  const byImportance = sizes
    .map((_, index) => index)
    .toSorted((a, b) => beside[b]!.length - beside[a]!.length || sizes[a]! - sizes[b]! || a - b)
  for (const root of byImportance) {
    if (ranks[root] !== undefined) continue
    // A site without any neighbour stands in the first row.
    ranks[root] = 0
    const queue = [root]
    for (const index of queue) {
      for (const other of beside[index]!) {
        if (ranks[other] !== undefined) continue
        ranks[other] = ranks[index]! + 1
        queue.push(other)
      }
    }
  }
  const rows = Map.groupBy(sizes.keys(), (index) => ranks[index]!)
  const result = sizes.map(() => 0)
  let next = 0
  for (const rank of [...rows.keys()].toSorted((a, b) => a - b)) {
    const row = rows.get(rank)!
    const lines = Math.ceil(row.length / widestRow)
    const perLine = Math.ceil(row.length / lines)
    row.forEach((index, at) => (result[index] = next + Math.floor(at / perLine)))
    next += lines
  }
  return result
}

const clusterIndex = (clusters: ReadonlyArray<Cluster>, id: string): number =>
  clusters.findIndex(({ elements }) => elements.some((element) => element.id === id))

const together = (
  clusters: ReadonlyArray<Cluster>,
  parts: ReadonlyArray<Part>,
  edges: ReadonlyArray<Edge>
): Pick<Layout, "places" | "trunks" | "boxes"> => {
  const frame = (index: number): { side: number; top: number } =>
    clusters[index]!.name === "" ? { side: 0, top: 0 } : { side: boxPadding, top: boxTitle + 14 }
  const items = clusters.map((cluster, index): Item => {
    const { side, top } = frame(index)
    const titleWidth = cluster.title.length * 9 + 2 * boxPadding
    return {
      id: String(index),
      width: Math.max(parts[index]!.width + 2 * side, titleWidth),
      height: parts[index]!.height + side + top,
      rank: cluster.rank
    }
  })
  const pairs = edges
    .map(({ a, b }) => [String(clusterIndex(clusters, a)), String(clusterIndex(clusters, b))] as const)
    .filter(([a, b]) => a !== b)
  const placed = layered(items, pairs, { gapX: 56, gapY: () => 165 })
  const places = new Map<string, Placed>()
  const trunks: Array<Trunk> = []
  const boxes: Array<Box> = []
  for (const [index, cluster] of clusters.entries()) {
    const box = placed.get(String(index))!
    const part = parts[index]!
    merge(places, trunks, part, box.x + (box.width - part.width) / 2, box.y + frame(index).top)
    if (cluster.name !== "") boxes.push({ ...box, cluster: cluster.name })
  }
  return { places, trunks, boxes }
}

// ---- tiers ---------------------------------------------------------------------------------------------------------

/** The whole graph in layers; groups that have rows of their own become bands. */
const tiers = (graph: Graph, hanging: Hanging): Layout => {
  const { places, trunks, width } = partOf(graph.elements, graph.edges, hanging, false)
  const bands = [
    ...Map.groupBy(
      graph.elements.filter(({ cluster }) => cluster !== ""),
      ({ cluster }) => cluster
    )
  ].map(([cluster, elements]): Box => {
    const own = elements.map(({ id }) => places.get(id)!)
    const y = Math.min(...own.map((place) => place.y)) - boxTitle - 8
    const bottom = Math.max(...own.map((place) => place.y + place.height)) + 16
    return { cluster, x: -boxPadding, y, width: width + 2 * boxPadding, height: bottom - y }
  })
  const apart = bands.every((one) =>
    bands.every((other) => one === other || one.y + one.height <= other.y || other.y + other.height <= one.y)
  )
  return {
    mode: "tiers",
    places,
    trunks,
    boxes: apart ? bands : [],
    edges: graph.edges.filter((edge) => !hanging.edges.has(edge))
  }
}
