/** Two versions of a lab: what is new, gone or different, as marks for drawings and as words for the table behind them. Pure. */

import type { InspectResponse, Node, Port, Route, Segment } from "../../messages.ts"
import type { Graph } from "./model.ts"
import { graphOf } from "./model.ts"
import type { Mark } from "./svg.ts"

export interface LabChange {
  readonly mark: Mark
  /** `node fw2`, `network lan`, `link vpn-1` */
  readonly what: string
  /** What is different about it; empty for what is new or gone. */
  readonly details: ReadonlyArray<string>
}

export interface LabComparison {
  readonly changes: ReadonlyArray<LabChange>
  readonly before: Graph
  readonly after: Graph
  /** By ids of elements and edges: `removed` and `changed` for the drawing of before, `added` and `changed` for that of after. */
  readonly marksBefore: ReadonlyMap<string, Mark>
  readonly marksAfter: ReadonlyMap<string, Mark>
}

export const compareLabs = (before: InspectResponse, after: InspectResponse): LabComparison => {
  const nodes = compared(before.nodes, after.nodes, nodeChanges).map((change) => ({ ...change, id: `node/${change.name}`, kind: "node" }))
  const segments = compared(before.segments, after.segments, segmentChanges).map((change) => {
    const segment = [...after.segments, ...before.segments].find(({ name }) => name === change.name)!
    const kind = segment.kind === "network" || segment.ports.length !== 2 ? "network" : "link"
    return { ...change, id: `${kind}/${change.name}`, kind }
  })
  const all = [...nodes, ...segments]
  const [graphBefore, graphAfter] = [graphOf(before), graphOf(after)]
  const marks = (graph: Graph, other: Graph, own: Mark): ReadonlyMap<string, Mark> => {
    const known = new Set(other.edges.map(({ id }) => id))
    // A port that joins a network is a line that is new, though the network is not.
    const edges = graph.edges.filter(({ id }) => id.startsWith("network/") && !known.has(id)).map(({ id }) => [id, own] as const)
    return new Map([...edges, ...all.map(({ id, mark }) => [id, mark] as const)])
  }
  return {
    changes: all.map(({ details, kind, mark, name }) => ({ mark, what: `${kind} ${name}`, details })),
    before: graphBefore, after: graphAfter,
    marksBefore: marks(graphBefore, graphAfter, "removed"), marksAfter: marks(graphAfter, graphBefore, "added")
  }
}

interface Difference {
  readonly name: string
  readonly mark: Mark
  readonly details: ReadonlyArray<string>
}

interface Named {
  readonly name: string
}

const compared = <T extends Named>(
  before: ReadonlyArray<T>,
  after: ReadonlyArray<T>,
  changesOf: (a: T, b: T) => ReadonlyArray<string>
): ReadonlyArray<Difference> => {
  const known = new Map(before.map((one) => [one.name, one]))
  const kept = new Set(after.map(({ name }) => name))
  return [
    ...after.flatMap((one): ReadonlyArray<Difference> => {
      const old = known.get(one.name)
      if (old === undefined) return [{ name: one.name, mark: "added", details: [] }]
      const details = changesOf(old, one)
      return details.length === 0 ? [] : [{ name: one.name, mark: "changed", details }]
    }),
    ...before.filter(({ name }) => !kept.has(name)).map(({ name }) => ({ name, mark: "removed" as const, details: [] }))
  ]
}

/** What of two lists is only in one: `port + tun2`, `route - 10.0.0.0/8 via 10.1.0.1`. */
const listChanges = (what: string, before: ReadonlyArray<string>, after: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...after.filter((one) => !before.includes(one)).map((one) => `${what} + ${one}`),
  ...before.filter((one) => !after.includes(one)).map((one) => `${what} \u2212 ${one}`)
]

const valueChange = (what: string, before: string, after: string): ReadonlyArray<string> =>
  before === after ? [] : [`${what} ${before === "" ? "none" : before} \u2192 ${after === "" ? "none" : after}`]

const nodeChanges = (before: Node, after: Node): ReadonlyArray<string> => [
  ...valueChange("kind", before.kind, after.kind),
  ...valueChange("host", before.host, after.host),
  ...listChanges("port", before.ports.map(portText), after.ports.map(portText)),
  ...listChanges("route", before.routes.map(routeText), after.routes.map(routeText))
]

const portText = ({ addresses, mtu, name }: Port): string =>
  [name, ...addresses.filter((address) => !address.startsWith("fe80")), ...(mtu === 1500 || mtu === 0 ? [] : [`MTU ${mtu}`])].join(" ")

const routeText = ({ metric, table, to, type, via }: Route): string =>
  [to, ...(type === "unicast" || type === "" ? [] : [type]), ...(via.length === 0 ? [] : [`via ${via.join(", ")}`]),
    ...(metric === 0 ? [] : [`metric ${metric}`]), ...(table === 254 || table === 0 ? [] : [`table ${table}`])].join(" ")

const segmentChanges = (before: Segment, after: Segment): ReadonlyArray<string> => [
  ...valueChange("prefixes", before.cidrs.join(", "), after.cidrs.join(", ")),
  ...valueChange("profile", before.profileLabel, after.profileLabel),
  ...listChanges("port", before.ports, after.ports)
]
