/**
 * `partition`: sets of nodes that cannot reach each other by any link or network that joins them directly; within each set
 * everything goes on. Carriers stay. Links from one set to another are shut. A network whose ports are of several sets becomes
 * one broadcast domain for each, with a VNI of its own, so no frame of any kind gets across, on one host or between hosts.
 *
 *     partition: group:aws                          those against all others
 *     partition: [group:aws, "host:h1,host:h2"]     two sets; links of nodes in neither stay
 *     partition: [a, b, rest]                       three sets
 */
import { Schema } from "effect"
import * as Derive from "../../compiler/derive.ts"
import { id, type Plan, type Resource } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import { shutPorts } from "../cut.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodeOf, nodesOf, nodeWords, type Segment } from "../targets.ts"

const rest = "rest"

const One = Schema.Union([Schema.String, Schema.Array(Schema.String)]).annotate({
  expected: "nodes: NODE, group:G, label:L=V, host:H or rest, several as a list or with commas between"
})
const Spec = Schema.Struct({
  sets: Schema.Union([Schema.String, Schema.Array(One)]).annotate({ expected: "sets of nodes" })
}).annotate({ expected: "sets of nodes, or a map with sets" })
type Spec = typeof Spec.Type

type Words = ReadonlyArray<string>

/** The words of each set; of one alone, all other nodes are the second. */
const wordsOf = ({ sets }: Spec): ReadonlyArray<Words> => {
  const list = typeof sets === "string" ? [sets] : sets
  const split = list.map((one) => (typeof one === "string" ? [one] : one).flatMap((word) => word.split(",")).map((word) => word.trim()))
  return split.length === 1 && !split[0]!.includes(rest) ? [...split, [rest]] : split
}

/** The number of its set by node. */
const sidesOf = (spec: Spec, plan: Plan): ReadonlyMap<string, number> => {
  const sides = new Map<string, number>()
  const sets = wordsOf(spec)
  for (const [side, words] of sets.entries()) for (const word of words) for (const node of nodesOf(plan, word)) sides.set(node, side)
  const remaining = sets.findIndex((words) => words.includes(rest))
  if (remaining >= 0) for (const { name } of plan.nodes) if (!sides.has(name)) sides.set(name, remaining)
  return sides
}

const problems = (spec: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const sets = wordsOf(spec)
  const at = (index: number): Problem["path"] => (typeof spec.sets === "string" ? ["sets"] : ["sets", index])
  const found: Problem[] = []
  const seen = new Map<string, number>()
  let rests = 0
  for (const [index, words] of sets.entries()) {
    for (const word of words) {
      if (word === rest) {
        if (++rests > 1) found.push({ path: at(index), message: '"rest" stands for all nodes in no other set: give it once' })
        continue
      }
      const nodes = nodesOf(plan, word)
      if (nodes.length === 0) {
        found.push({ path: at(index), message: `the lab has no node ${quote(word)}`, candidates: [...nodeWords(plan), rest] })
      }
      const twice = nodes.find((node) => (seen.get(node) ?? index) !== index)
      if (twice !== undefined) found.push({ path: at(index), message: `node ${quote(twice)} is in two sets` })
      for (const node of nodes) seen.set(node, index)
    }
  }
  if (sets.length === 0) found.push({ path: ["sets"], message: "no set is given: which nodes are cut off?" })
  if (found.length > 0) return found
  const sides = sidesOf(spec, plan)
  if (new Set(sides.values()).size < 2) return [{ path: ["sets"], message: "all nodes are in one set: nobody is cut off from anybody" }]
  return undecided(plan, sides)
}

/** A port in no set cannot stay with both halves of a network. */
const undecided = (plan: Plan, sides: ReadonlyMap<string, number>): ReadonlyArray<Problem> => {
  for (const { kind, name, ports } of plan.segments) {
    if (kind !== "network" || new Set(ports.flatMap((port) => sides.get(nodeOf(port)) ?? [])).size < 2) continue
    const port = ports.find((one) => !sides.has(nodeOf(one)))
    if (port === undefined) continue
    return [{ path: ["sets"], message: `network ${quote(name)} is divided, and ${quote(port)} is in no set: put it into one, or add rest` }]
  }
  return []
}

interface Taken {
  readonly ids: Set<string>
  readonly vnis: Set<number>
}

/** The network's ports by set. Those of the first set keep its name; the others have names and VNIs of their own. */
const divide = (segment: Segment, sides: ReadonlyMap<string, number>, lab: string, taken: Taken): ReadonlyArray<Segment> => {
  const parts = new Map<number, string[]>()
  for (const port of segment.spec.ports) {
    const side = sides.get(nodeOf(port)) ?? 0
    parts.set(side, [...(parts.get(side) ?? []), port])
  }
  if (parts.size < 2) return [segment]
  return [...parts].toSorted(([a], [b]) => a - b).map(([side, ports], index) => {
    // A tilde is in no name that people give; another partition may have one of these already.
    let name = index === 0 ? segment.spec.name : `${segment.spec.name}~${side + 1}`
    while (index > 0 && taken.ids.has(id.network(name))) name += "~"
    let vni = segment.spec.vni
    for (let attempt = 0; index > 0 && taken.vnis.has(vni); attempt++) vni = Derive.vni(lab, "network", name, attempt)
    taken.ids.add(id.network(name))
    taken.vnis.add(vni)
    const mine = new Set(ports)
    const gates = Object.entries(segment.spec.gates ?? {}).filter(([port]) => mine.has(port))
    const { gates: _, ...spec } = segment.spec
    const dependsOn = segment.dependsOn.filter((one) => !segment.spec.ports.some((port) => `port/${port}` === one && !mine.has(port)))
    const part = { ...spec, name, vni, ports, ...(gates.length === 0 ? {} : { gates: Object.fromEntries(gates) }) }
    return { ...segment, id: index === 0 ? segment.id : id.network(name), spec: part, dependsOn }
  })
}

const apply = (spec: Spec, plan: Plan): Plan => {
  const sides = sidesOf(spec, plan)
  const crosses = (ports: ReadonlyArray<string>): boolean => {
    const [a, b] = ports.map((port) => sides.get(nodeOf(port)))
    return a !== undefined && b !== undefined && a !== b
  }
  const segments = plan.resources.filter((one) => one.kind === "segment")
  const taken: Taken = { ids: new Set(segments.map((one) => one.id)), vnis: new Set(segments.map(({ spec: { vni } }) => vni)) }
  const shut: string[] = []
  const resources = plan.resources.flatMap((one): ReadonlyArray<Resource> => {
    if (one.kind !== "segment") return [one]
    if (one.spec.segmentKind === "network") return divide(one, sides, plan.lab, taken)
    if (crosses(one.spec.ports)) shut.push(...one.spec.ports)
    return [one]
  })
  return shutPorts({ ...plan, resources }, shut)
}

export const partition = faultKind<Spec>({
  summary: "Sets of nodes cannot reach each other: links between them are shut, networks divided; one set is cut off from the rest",
  usage: "SET [SET...], each of NODE, group:G, label:L=V, host:H, rest, with commas between",
  words: ["sets..."],
  schema: Spec,
  check: problems,
  title: (spec) => `partition: ${wordsOf(spec).map((words) => words.join(",")).join(" | ")}`,
  apply
})
