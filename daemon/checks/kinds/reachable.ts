/**
 * `reachable`, `unreachable` and `all-pairs`: who gets through to whom by ICMP, TCP or UDP.
 *
 * Where nobody serves the port in the destination, the daemon does for the time of the check: what is tested is the
 * network. A destination that is an address of nobody in the lab must serve by itself, and so must one with `listener: none`.
 */
import { Schema } from "effect"
import { optional } from "../../topology/schema-parts.ts"
import { explain, wayOf } from "../explain.ts"
import { kind, type Kind, type Verdict } from "../kind.ts"
import type { Lab } from "../lab.ts"
import {
  chosen,
  described,
  each,
  Flag,
  msOf,
  NodeName,
  Nodes,
  placeOf,
  type Place,
  PortNumber,
  referencesOf,
  Targets,
  Time
} from "../parts.ts"

const how = {
  tcp: optional(PortNumber),
  udp: optional(PortNumber),
  icmp: optional(Flag),
  at: optional(NodeName.annotate({ description: "The node that serves the port, where it is another than `to`: behind a port forward" })),
  listener: optional(Schema.Literals(["auto", "none"]).annotate({ description: "none: the daemon opens no port for the check" })),
  ipv6: optional(Flag),
  timeout: optional(Time)
}

const Pair = Schema.Struct({ from: Nodes, to: Targets, ...how })
  .annotate({ expected: "a map such as {from: pc, to: db, tcp: 5432}", description: "Every node of `from` with every one of `to`" })
const Matrix = Schema.Struct({ nodes: optional(Nodes), ...how })
  .annotate({ expected: "a map such as {nodes: {labels: {site: office}}}",
    description: "Every node with every other; without nodes: all hosts" })

type How = Omit<typeof Pair.Type, "from" | "to">
type Protocol = { readonly name: "ICMP" } | { readonly name: "TCP" | "UDP"; readonly port: number }

const protocolsOf = ({ icmp, tcp, udp }: How): ReadonlyArray<Protocol> => {
  const named: ReadonlyArray<Protocol> = [
    ...(tcp === undefined ? [] : [{ name: "TCP" as const, port: tcp }]),
    ...(udp === undefined ? [] : [{ name: "UDP" as const, port: udp }])
  ]
  return icmp === true || named.length === 0 ? [{ name: "ICMP" }, ...named] : named
}

const byText = (protocols: ReadonlyArray<Protocol>): string =>
  protocols.map((one) => (one.name === "ICMP" ? "ICMP" : `${one.name} port ${one.port}`)).join(" and ")

interface Probe {
  readonly from: string
  readonly to: Place
  readonly protocol: Protocol
}

interface Outcome extends Probe {
  /** Empty: it got through. */
  readonly reason: string
}

const defaultTimeoutMs = 1000
const pairsAtATime = 24

const probe = async (lab: Lab, { from, protocol, to }: Probe, timeoutMs: number): Promise<string> => {
  const { address } = to
  const answer = protocol.name === "ICMP"
    ? await lab.ask(from, "ping", { address, timeoutMs })
    : await lab.ask(from, protocol.name === "TCP" ? "tcp" : "udp", { address, port: protocol.port, timeoutMs })
  return answer.ok ? "" : answer.reason
}

/** Opens the ports that are asked for, wherever nobody serves them; returns what shuts them again. */
const openDoors = async (lab: Lab, probes: ReadonlyArray<Probe>, { at, ipv6 = false, listener }: How): Promise<() => Promise<void>> => {
  if (listener === "none") return async () => {}
  const wanted = new Map<string, { readonly node: string; readonly protocol: "tcp" | "udp"; readonly port: number }>()
  for (const { protocol, to } of probes) {
    const node = at ?? to.node
    if (protocol.name === "ICMP" || node === undefined) continue
    const name = protocol.name === "TCP" ? "tcp" as const : "udp" as const
    wanted.set(`${node} ${name} ${protocol.port}`, { node, protocol: name, port: protocol.port })
  }
  const opened: Array<{ readonly node: string; readonly id: number }> = []
  const shut = async (): Promise<void> =>
    void (await Promise.all(opened.map(({ id, node }) => lab.ask(node, "shut", { id }).catch(() => null))))
  try {
    await Promise.all([...wanted.values()].map(async ({ node, port, protocol }) => {
      const { id } = await lab.ask(node, "open", { protocol, port, ipv6 })
      if (id !== 0) opened.push({ node, id })
    }))
  } catch (error) {
    await shut()
    throw error
  }
  return shut
}

const probeAll = async (lab: Lab, pairs: ReadonlyArray<readonly [string, Place]>, options: How): Promise<ReadonlyArray<Outcome>> => {
  const probes = protocolsOf(options).flatMap((protocol) => pairs.map(([from, to]) => ({ from, to, protocol })))
  if (probes.length === 0) throw new Error("no two different nodes are meant: nothing to probe")
  const shut = await openDoors(lab, probes, options)
  try {
    const timeoutMs = msOf(options.timeout, defaultTimeoutMs)
    return await each(probes, pairsAtATime, async (one) => ({ ...one, reason: await probe(lab, one, timeoutMs) }))
  } finally {
    await shut()
  }
}

const lineOf = ({ from, protocol, reason, to }: Outcome): string => {
  const place = to.name === to.address ? to.address : `${to.name} ${to.address}`
  return `${from} -> ${place} ${byText([protocol])}: ${reason === "" ? "got through" : reason}`
}

const mostLines = 20
const linesOf = (outcomes: ReadonlyArray<Outcome>): ReadonlyArray<string> => {
  if (outcomes.length < 2) return []
  const more = outcomes.length > mostLines ? [`... and ${outcomes.length - mostLines} more`] : []
  return [...outcomes.slice(0, mostLines).map(lineOf), ...more]
}

const pairsOf =
  (froms: ReadonlyArray<string>, tos: ReadonlyArray<string>, lab: Lab, ipv6: boolean): ReadonlyArray<readonly [string, Place]> => {
  const places = tos.map((to) => placeOf(to, lab, ipv6))
  return froms.flatMap((from) => places.filter(({ node }) => node !== from).map((place) => [from, place] as const))
}

/** All must get through. */
const judgeReachable = async (lab: Lab, outcomes: ReadonlyArray<Outcome>, expected: string): Promise<Verdict> => {
  const failed = outcomes.filter(({ reason }) => reason !== "")
  const [first] = failed
  if (first === undefined) {
    return { passed: true, expected, seen: outcomes.length === 1 ? "it got through" : `all ${outcomes.length} probes got through` }
  }
  const seen = outcomes.length === 1 ? first.reason : `${failed.length} of ${outcomes.length} did not get through, first ${lineOf(first)}`
  return { passed: false, expected, seen, where: await explain(lab, first.from, first.to.address), details: linesOf(failed) }
}

/** None may get through. */
const judgeUnreachable = (outcomes: ReadonlyArray<Outcome>, expected: string): Verdict => {
  const through = outcomes.filter(({ reason }) => reason === "")
  const [first] = through
  if (first === undefined) {
    const reasons = [...new Set(outcomes.map(({ reason }) => reason))].join(", ")
    return { passed: true, expected, seen: reasons }
  }
  const seen = outcomes.length === 1 ? "it got through" : `${through.length} of ${outcomes.length} got through, first ${lineOf(first)}`
  return { passed: false, expected, seen, details: linesOf(through) }
}

const wayThere = async (lab: Lab, outcomes: ReadonlyArray<Outcome>): Promise<{ readonly where?: string }> => {
  const first = outcomes.find(({ reason }) => reason === "")
  if (first === undefined) return {}
  const { from, to } = first
  const trace = await lab.ask(from, "trace", { address: to.address, timeoutMs: 700 }).catch(() => undefined)
  if (trace === undefined || trace.hops.length === 0) return {}
  return { where: `its way: ${wayOf(lab, from, trace)}` }
}

const pairReferences = ({ at, from, to }: typeof Pair.Type) => [
  ...referencesOf(["from"], from, "node"),
  ...referencesOf(["to"], to, "target"),
  ...referencesOf(["at"], at, "node")
]

const pairTitle = (verb: string) => (spec: typeof Pair.Type): string =>
  `${described(spec.from)} ${verb} ${described(spec.to)} by ${byText(protocolsOf(spec))}`

export const reachable: Kind<typeof Pair.Type> = kind({
  schema: Pair,
  references: pairReferences,
  title: pairTitle("reaches"),
  stage: "free",
  run: async (spec, lab) => {
    const pairs = pairsOf(chosen(spec.from, lab), chosen(spec.to, lab), lab, spec.ipv6 === true)
    return judgeReachable(lab, await probeAll(lab, pairs, spec), pairTitle("reaches")(spec))
  }
})

export const unreachable: Kind<typeof Pair.Type> = kind({
  schema: Pair,
  references: pairReferences,
  title: pairTitle("does not reach"),
  stage: "free",
  run: async (spec, lab) => {
    const pairs = pairsOf(chosen(spec.from, lab), chosen(spec.to, lab), lab, spec.ipv6 === true)
    const outcomes = await probeAll(lab, pairs, { ...spec, timeout: spec.timeout ?? "500ms" })
    return { ...judgeUnreachable(outcomes, pairTitle("does not reach")(spec)), ...(await wayThere(lab, outcomes)) }
  }
})

const matrixTitle = (spec: typeof Matrix.Type): string =>
  `${spec.nodes === undefined ? "all hosts" : described(spec.nodes)}: everybody reaches everybody by ${byText(protocolsOf(spec))}`

export const allPairs: Kind<typeof Matrix.Type> = kind({
  schema: Matrix,
  references: ({ at, nodes }) => [...referencesOf(["nodes"], nodes, "node"), ...referencesOf(["at"], at, "node")],
  problems: (value, { path, reporter }) => {
    const { nodes } = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>
    const named = typeof nodes === "string" ? [nodes] : Array.isArray(nodes) && nodes.length > 0 ? nodes : undefined
    if (named !== undefined && new Set(named).size < 2) reporter.error([...path, "nodes"], "is one node: two at least reach each other")
  },
  title: matrixTitle,
  stage: "free",
  run: async (spec, lab) => {
    const nodes = chosen(spec.nodes ?? {}, lab)
    return judgeReachable(lab, await probeAll(lab, pairsOf(nodes, nodes, lab, spec.ipv6 === true), spec), matrixTitle(spec))
  }
})
