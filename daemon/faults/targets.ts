/**
 * What faults are aimed at: links, ports, nodes and sets of nodes, found by the words that people write. Pure.
 *
 *     fw--isp            a link, by its name
 *     fw:wan             the same, by one of its ports: then `direction` is seen from there
 *     fw  group:aws  label:site=idc  host:h1       nodes
 */
import { Schema } from "effect"
import type { Plan, ResourceOf, SegmentSpec } from "../plan/resource.ts"
import { quote } from "../topology/diagnostic.ts"
import { text } from "../topology/schema-parts.ts"
import type { Problem } from "./kind.ts"

export type Segment = ResourceOf<"segment">

const notEmpty = (value: string): string | undefined => (value.trim() === "" ? "the text is empty" : undefined)

export const Link = text({ description: "a link by its name, or by one of its ports as NODE:IF", problem: notEmpty })
export const Node = text({ description: "a node", problem: notEmpty })

/** `out` and `in` are seen from the port that names the link, `a-to-b` and `b-to-a` by its endpoints as in the topology. */
export const Direction = Schema.Literals(["both", "out", "in", "a-to-b", "b-to-a"]).annotate({
  description: "Which way; both unless given. out and in are seen from NODE:IF, a-to-b and b-to-a as in the topology"
})
export type Direction = typeof Direction.Type

/** `fw:wan` -> `fw` */
export const nodeOf = (port: string): string => port.slice(0, port.indexOf(":"))

export interface Target {
  readonly segment: Segment
  /** The port by which it was named. */
  readonly near?: string
}

const segmentsOf = (plan: Plan): ReadonlyArray<Segment> => plan.resources.filter((one) => one.kind === "segment")

/** The link (or, by a port, the network) that the word names. */
export const find = (plan: Plan, word: string): Target | undefined => {
  for (const segment of segmentsOf(plan)) {
    if (segment.spec.ports.includes(word)) return { segment, near: word }
    if (segment.spec.segmentKind === "p2p" && segment.spec.name === word) return { segment }
  }
  return undefined
}

/** The endpoints of a link as the topology names them, a first; its profiles go by them. */
export const endpointsOf = (plan: Plan, { endpoints, name, ports }: SegmentSpec): readonly [a: string, b: string] => {
  if (endpoints !== undefined) return endpoints
  const [a = "", b = ""] = plan.segments.find((info) => info.kind === "p2p" && info.name === name)?.ports ?? ports
  return [a, b]
}

export interface LinkQuestion {
  readonly link: string
  readonly direction?: Direction | undefined
}

/** What the lab does not have. `networks`: whether a port of a network will do, and if not, what is said of it. */
export const linkProblems = (plan: Plan, { direction, link }: LinkQuestion, networks: true | string): ReadonlyArray<Problem> => {
  const target = find(plan, link)
  if (target === undefined) return [{ path: ["link"], message: noSuchLink(plan, link), candidates: linkWords(plan, networks === true) }]
  const { near, segment: { spec } } = target
  if (spec.segmentKind === "network") {
    if (networks !== true) return [{ path: ["link"], message: `${quote(link)} is a port of the network ${quote(spec.name)}: ${networks}` }]
    if (direction === "a-to-b" || direction === "b-to-a") {
      return [{ path: ["direction"], message: `a port of a network has no a and b: expected "out" or "in", seen from ${quote(link)}` }]
    }
  }
  if (near !== undefined || (direction !== "out" && direction !== "in")) return []
  const [a, b] = endpointsOf(plan, spec)
  const message = `${quote(direction)} is seen from one end: name the link by its port, ${quote(a)} or ${quote(b)}`
  return [{ path: ["direction"], message }]
}

const noSuchLink = (plan: Plan, link: string): string => {
  const network = plan.segments.find((info) => info.kind === "network" && info.name === link)
  if (network === undefined) return `the lab has no link ${quote(link)}`
  const ports = `${network.ports.slice(0, 3).join(", ")}${network.ports.length > 3 ? ", ..." : ""}`
  return `${quote(link)} is a network: name one of its ports, ${ports}`
}

/** Names of links, and of ports of links or of all. */
const linkWords = (plan: Plan, all: boolean): ReadonlyArray<string> =>
  segmentsOf(plan).flatMap(({ spec: { name, ports, segmentKind } }) =>
    segmentKind === "p2p" ? [name, ...ports] : all ? ports : []
  )

/** `fw:wan -- isp:e1`; of a port of a network: `pc:eth0 -- network lan`. */
export const linkTitle = (plan: Plan, link: string): string => {
  const { near, segment } = find(plan, link) ?? {}
  if (segment === undefined) return link
  if (segment.spec.segmentKind === "network") return `${near} -- network ${segment.spec.name}`
  const [a, b] = endpointsOf(plan, segment.spec)
  return near === b ? `${b} -- ${a}` : `${a} -- ${b}`
}

/** `fw:wan -> isp:e1` for one way, ` -- ` for both. */
export const wayTitle = (plan: Plan, { direction = "both", link }: LinkQuestion): string => {
  const { near, segment } = find(plan, link) ?? {}
  if (segment === undefined || direction === "both") return linkTitle(plan, link)
  if (segment.spec.segmentKind === "network") {
    return direction === "out" ? `${near} -> network ${segment.spec.name}` : `network ${segment.spec.name} -> ${near}`
  }
  const [a, b] = endpointsOf(plan, segment.spec)
  return isAToB(direction, near, a) ? `${a} -> ${b}` : `${b} -> ${a}`
}

/** Whether the direction, seen from `near`, is the one that leaves `a`. */
export const isAToB = (direction: Exclude<Direction, "both">, near: string | undefined, a: string): boolean =>
  direction === "a-to-b" || (direction !== "b-to-a" && (direction === "out") === (near === a))

export const isNode = (plan: Plan, node: string): boolean => plan.nodes.some(({ name }) => name === node)

export const nodeProblems = (plan: Plan, node: string, path: Problem["path"] = ["node"]): ReadonlyArray<Problem> =>
  isNode(plan, node)
    ? []
    : [{ path, message: `the lab has no node ${quote(node)}`, candidates: plan.nodes.map(({ name }) => name) }]

export const hostsOf = (plan: Plan): ReadonlyArray<string> =>
  [...new Set(plan.nodes.flatMap(({ host }) => (host === undefined ? [] : [host])))].toSorted()

/** Words that choose several nodes at once. */
const chooser = /^(group|label|host):(.+)$/

/** The nodes that a word means; none when the lab has nothing of the name. */
export const nodesOf = (plan: Plan, word: string): ReadonlyArray<string> => {
  const [, what, name = ""] = chooser.exec(word) ?? []
  const [label = "", value] = name.split("=", 2)
  return plan.nodes.flatMap((node) => {
    const isMeant =
      what === undefined ? node.name === word
      : what === "group" ? node.group === name
      : what === "host" ? node.host === name
      : Object.hasOwn(node.labels, label) && (value === undefined || node.labels[label] === value)
    return isMeant ? [node.name] : []
  })
}

/** Every word that means some of the lab's nodes. */
export const nodeWords = (plan: Plan): ReadonlyArray<string> => [
  ...new Set(plan.nodes.flatMap(({ group, host, labels, name }) => [
    name,
    ...(group === undefined ? [] : [`group:${group}`]),
    ...(host === undefined ? [] : [`host:${host}`]),
    ...Object.entries(labels).map(([label, value]) => `label:${label}=${value}`)
  ]))
]
