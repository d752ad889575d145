/**
 * `node-crash`, `node-restart`, `host-loss`: nodes lose their power. Carriers go first, so that nobody hears a goodbye; then the
 * namespaces are gone, with their processes, containers, routes, connections and BGP speakers. Healed, the nodes boot: all of
 * it is made anew, containers start, and the commands of `exec` run again.
 */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import { dayMs, duration } from "../../topology/duration.ts"
import { optional, text } from "../../topology/schema-parts.ts"
import { quote } from "../../topology/diagnostic.ts"
import { parseSpan } from "../../topology/units.ts"
import { type Crash, powerOff, silence } from "../crash.ts"
import { type FaultKind, faultKind, type Problem } from "../kind.ts"
import { hostsOf, Node, nodeProblems, nodesOf, nodeWords } from "../targets.ts"

const Carrier = Schema.Literals(["lost", "keep"]).annotate({
  description: "What the other ends of its links see: no carrier (unless given), or nothing at all"
})

interface Power<Spec> {
  readonly nodes: (spec: Spec, plan: Plan) => ReadonlyArray<string>
  readonly carrier: (spec: Spec) => "lost" | "keep" | undefined
}

const power = <Spec>({ carrier, nodes }: Power<Spec>): Required<Pick<FaultKind<Spec>, "apply" | "before">> => {
  const of = (spec: Spec, plan: Plan): Crash => ({ nodes: new Set(nodes(spec, plan)), keepsCarrier: carrier(spec) === "keep" })
  return { before: (spec, plan) => silence(of(spec, plan), plan), apply: (spec, plan) => powerOff(of(spec, plan), plan) }
}

const Several = text({
  description: "a node, group:G, label:L=V or host:H",
  problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
})

const CrashSpec = Schema.Struct({ node: Several, carrier: optional(Carrier) }).annotate({ expected: "a node, or a map with node" })
type CrashSpec = typeof CrashSpec.Type

const severalProblems = (word: string, plan: Plan): ReadonlyArray<Problem> =>
  nodesOf(plan, word).length > 0
    ? []
    : [{ path: ["node"], message: `the lab has no node ${quote(word)}`, candidates: nodeWords(plan) }]

const named = (word: string, plan: Plan): string => {
  const nodes = nodesOf(plan, word)
  return nodes.length === 1 && nodes[0] === word ? `node ${word}` : `${word} (${nodes.join(", ")})`
}

export const nodeCrash = faultKind<CrashSpec>({
  summary: "A node, or several, lose their power: nobody hears a goodbye; healed, they boot again",
  usage: "NODE|group:G|label:L=V|host:H [carrier=lost|keep]",
  words: ["node"],
  schema: CrashSpec,
  check: ({ node }, plan) => severalProblems(node, plan),
  title: ({ carrier, node }, plan) =>
    `${named(node, plan)} has no power${carrier === "keep" ? ", and its neighbours keep their carriers" : ""}`,
  ...power<CrashSpec>({ nodes: ({ node }, plan) => nodesOf(plan, node), carrier: ({ carrier }) => carrier })
})

const defaultDownMs = 2000

const DownFor = duration({ description: "a time such as 2s", example: "a time such as 500ms or 2s", leastMs: 1, mostMs: dayMs })

const RestartSpec = Schema.Struct({
  node: Node,
  "down-for": optional(DownFor.annotate({ description: "How long it is off: 2s unless given" })),
  carrier: optional(Carrier)
}).annotate({ expected: "a node, or a map with node" })
type RestartSpec = typeof RestartSpec.Type

const downMs = (spec: RestartSpec): number => parseSpan(spec["down-for"] ?? "") ?? defaultDownMs

export const nodeRestart = faultKind<RestartSpec>({
  summary: "A node loses its power and boots again after a while: a crash that heals itself",
  usage: "NODE [DOWN-FOR] [carrier=lost|keep]",
  words: ["node", "down-for"],
  schema: RestartSpec,
  check: ({ node }, plan) => nodeProblems(plan, node),
  title: (spec) => `node ${spec.node} restarts: off for ${spec["down-for"] ?? `${defaultDownMs / 1000}s`}`,
  defaultForMs: downMs,
  ...power<RestartSpec>({ nodes: ({ node }) => [node], carrier: ({ carrier }) => carrier })
})

const LossSpec = Schema.Struct({
  host: text({ description: "a host of the fleet", problem: (value) => (value.trim() === "" ? "the text is empty" : undefined) }),
  carrier: optional(Carrier)
}).annotate({ expected: "a host, or a map with host" })
type LossSpec = typeof LossSpec.Type

const onHost = ({ host }: LossSpec, plan: Plan): ReadonlyArray<string> => nodesOf(plan, `host:${host}`)

const hostProblems = ({ host }: LossSpec, plan: Plan): ReadonlyArray<Problem> => {
  const hosts = hostsOf(plan)
  if (hosts.includes(host)) return []
  const alone = "the lab is on one host, which has no name here: node-crash takes several nodes at once"
  return [{ path: ["host"], message: hosts.length === 0 ? alone : `none of the lab's nodes is on host ${quote(host)}`, candidates: hosts }]
}

export const hostLoss = faultKind<LossSpec>({
  summary: "All nodes of a lab on one host of a fleet lose their power at once; its weftd goes on",
  usage: "HOST [carrier=lost|keep]",
  words: ["host"],
  schema: LossSpec,
  check: hostProblems,
  title: (spec, plan) => `host ${spec.host} is lost: ${onHost(spec, plan).join(", ")}`,
  ...power<LossSpec>({ nodes: onHost, carrier: ({ carrier }) => carrier })
})
