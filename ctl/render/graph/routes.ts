/**
 * Lines between placed elements, and labels beside them that overlap neither a card nor each other. A label that finds
 * no free spot is left out: the SVG keeps it as the line's tooltip.
 */

import type { Placed } from "./layers.ts"
import type { Layout } from "./layout.ts"
import type { Edge, Element, Graph } from "./model.ts"

export interface Point {
  readonly x: number
  readonly y: number
}

/** A cubic Bézier curve. */
export type Curve = readonly [Point, Point, Point, Point]

export interface Route {
  readonly edge: Edge
  readonly curve: Curve
  /** Leaves its site. */
  readonly between: boolean
}

export interface Label {
  readonly text: string
  readonly at: Point
  readonly anchor: "start" | "middle" | "end"
  readonly kind: "port" | "link"
}

export const labelHeight = 13
const characterWidth = { port: 6.05, link: 6.3 } as const

type Side = "top" | "bottom" | "left" | "right"

interface End {
  readonly id: string
  readonly side: Side
  /** Where the other end lies: ends of one side are ordered by it. */
  readonly towards: number
  point: Point
}

export const routesOf = (graph: Graph, layout: Layout): ReadonlyArray<Route> => {
  const elements = new Map(graph.elements.map((element) => [element.id, element]))
  const pairs = layout.edges.map((edge) => {
    const [a, b] = [layout.places.get(edge.a)!, layout.places.get(edge.b)!]
    const [sideA, sideB] = sidesOf(a, b, layout)
    const arc = sideA === "top" && sideB === "top"
    const end = (id: string, side: Side, own: Placed, other: Placed): End => ({
      id,
      side,
      towards: orderOf(side, arc, middle(own), middle(other)),
      point: { x: 0, y: 0 }
    })
    return { edge, a: end(edge.a, sideA, a, b), b: end(edge.b, sideB, b, a) }
  })
  const ends = Map.groupBy(
    pairs.flatMap(({ a, b }) => [a, b]),
    ({ id, side }) => `${side} ${id}`
  )
  for (const group of ends.values()) attach(group, layout.places.get(group[0]!.id)!, elements.get(group[0]!.id)!)
  return pairs.map(({ a, b, edge }) => ({
    edge,
    curve: curveOf(a, b),
    between: elements.get(edge.a)!.cluster !== elements.get(edge.b)!.cluster && layout.mode === "sites"
  }))
}

/** Where an end belongs among the others of its side. Arcs within a row nest: the nearest target is the outermost end. */
const orderOf = (side: Side, arc: boolean, own: Point, other: Point): number => {
  if (side === "left" || side === "right") return other.y
  if (!arc) return other.x
  return other.x < own.x ? -1e6 + (own.x - other.x) : 1e6 - (other.x - own.x)
}

const middle = ({ height, width, x, y }: Placed): Point => ({ x: x + width / 2, y: y + height / 2 })

const sidesOf = (a: Placed, b: Placed, layout: Layout): readonly [Side, Side] => {
  if (a.y + a.height + 8 < b.y) return ["bottom", "top"]
  if (b.y + b.height + 8 < a.y) return ["top", "bottom"]
  const [left, right] = a.x < b.x ? [a, b] : [b, a]
  const inBetween = [...layout.places.values()].some(
    (place) =>
      place.x >= left.x + left.width
      && place.x + place.width <= right.x
      && place.y < right.y + right.height
      && place.y + place.height > right.y
  )
  const far = right.x - left.x - left.width > 140
  if (inBetween || far) return ["top", "top"]
  return a === left ? ["right", "left"] : ["left", "right"]
}

/** Spreads the ends of one side along it; on a network's bar each end stands right below or above its other end. */
const attach = (ends: ReadonlyArray<End>, { height, width, x, y }: Placed, element: Element): void => {
  const sorted = ends.toSorted((a, b) => a.towards - b.towards)
  const across = sorted[0]!.side === "top" || sorted[0]!.side === "bottom"
  let last = Number.NEGATIVE_INFINITY
  for (const [index, end] of sorted.entries()) {
    const share = (index + 1) / (sorted.length + 1)
    if (!across) end.point = { x: end.side === "left" ? x : x + width, y: y + height * share }
    else {
      const even = x + width * share
      const straight = Math.min(x + width - 16, Math.max(x + 16, end.towards))
      const spot = element.shape === "network" ? Math.max(straight, Math.min(last + 14, x + width - 16)) : even
      last = spot
      end.point = { x: spot, y: end.side === "top" ? y : y + height }
    }
  }
}

const curveOf = ({ point: from, side: fromSide }: End, { point: to, side: toSide }: End): Curve => {
  if (fromSide === "left" || fromSide === "right") {
    const reach = (to.x - from.x) / 2
    return [from, { x: from.x + reach, y: from.y }, { x: to.x - reach, y: to.y }, to]
  }
  if (fromSide === toSide) {
    const lift = 62 + Math.abs(to.x - from.x) * 0.11
    const y = Math.min(from.y, to.y) - lift
    return [from, { x: from.x, y }, { x: to.x, y }, to]
  }
  const reach = (to.y - from.y) / 2
  return [from, { x: from.x, y: from.y + reach }, { x: to.x, y: to.y - reach }, to]
}

export const pointAt = ([a, b, c, d]: Curve, t: number): Point => {
  const u = 1 - t
  const mix = (p: number, q: number, r: number, s: number): number =>
    u * u * u * p + 3 * u * u * t * q + 3 * u * t * t * r + t * t * t * s
  return { x: mix(a.x, b.x, c.x, d.x), y: mix(a.y, b.y, c.y, d.y) }
}

// ---- labels --------------------------------------------------------------------------------------------------------

const samples = 24

/** A label that hides more foreign lines than this is worth less than the lines. */
const mostCrossed = 1

/** Where a label may stand around a point of its line, best first. */
const around = [
  { anchor: "start", dx: 7, dy: 0 },
  { anchor: "end", dx: -7, dy: 0 },
  { anchor: "middle", dx: 0, dy: 0 },
  { anchor: "middle", dx: 0, dy: -10 },
  { anchor: "middle", dx: 0, dy: 11 }
] as const

const spots = {
  a: [0.14, 0.2, 0.26, 0.08, 0.32, 0.38, 0.44],
  b: [0.86, 0.8, 0.74, 0.92, 0.68, 0.62, 0.56],
  middle: [0.5, 0.46, 0.54, 0.42, 0.58, 0.36, 0.64]
} as const

/** Labels of all routes that find room; ends first, since they tell more. */
export const labelsOf = (routes: ReadonlyArray<Route>, layout: Layout): ReadonlyArray<Label> => {
  const titles = layout.boxes.map(({ cluster, x, y }): Placed => ({ x: x + 10, y, width: cluster.length * 10 + 24, height: 30 }))
  const taken: Array<Placed> = [...[...layout.places.values()].map((place) => grown(place, 3)), ...titles]
  const lines = routes.map(({ curve }) => Array.from({ length: samples + 1 }, (_, index) => pointAt(curve, index / samples)))
  const labels: Array<Label> = []
  const place = (text: string, kind: Label["kind"], own: number, ts: ReadonlyArray<number>): void => {
    if (text === "") return
    let best: { readonly label: Label; readonly area: Placed; readonly cost: number } | undefined
    for (const [at, t] of ts.entries()) {
      const point = pointAt(routes[own]!.curve, t)
      for (const [aside, { anchor, dx, dy }] of around.entries()) {
        const label: Label = { text, kind, anchor, at: { x: point.x + dx, y: point.y + dy } }
        const area = areaOf(label)
        if (taken.some((other) => overlap(area, other))) continue
        const crossed = lines.filter((line, index) => index !== own && line.some((each) => within(each, area))).length
        if (crossed > mostCrossed) continue
        const onItself = lines[own]!.some((each) => within(each, area)) ? (kind === "link" ? 1.5 : 7) : 0
        const cost = at + 4 * crossed + onItself + 0.3 * aside
        if (best === undefined || cost < best.cost) best = { label, area, cost }
      }
    }
    if (best === undefined) return
    labels.push(best.label)
    taken.push(grown(best.area, 1.5))
  }
  routes.forEach(({ edge }, index) => {
    place(edge.aLabel, "port", index, spots.a)
    place(edge.bLabel, "port", index, spots.b)
  })
  routes.forEach(({ edge }, index) => place(edge.label, "link", index, spots.middle))
  return labels
}

/** The rectangle that a label covers. */
export const areaOf = ({ anchor, at, kind, text }: Label): Placed => {
  const width = text.length * characterWidth[kind] + 2
  return {
    x: at.x - (anchor === "start" ? 0 : anchor === "end" ? width : width / 2),
    y: at.y - labelHeight / 2,
    width,
    height: labelHeight
  }
}

const grown = ({ height, width, x, y }: Placed, by: number): Placed => ({
  x: x - by,
  y: y - by,
  width: width + 2 * by,
  height: height + 2 * by
})

export const overlap = (a: Placed, b: Placed): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height

const within = ({ x, y }: Point, area: Placed): boolean =>
  x >= area.x && x <= area.x + area.width && y >= area.y && y <= area.y + area.height
