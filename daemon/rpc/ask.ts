/**
 * `Peers.Ask` and `Peers.Command`: a question of a check to a node of this host, asked by the daemon that runs the check.
 *
 *     check --> rpc/checks.ts --here-->  probes/answers.ts
 *                             --there--> Peers.Ask --> probes/answers.ts of the node's host
 */
import type { Readable } from "node:stream"
import type { RoutesQuery, RouteView } from "../bgp/fib/lookup.ts"
import type { Routing } from "../bgp/routing.ts"
import type { Answer, Asked, Questions } from "../checks/lab.ts"
import type { Answers, AnswersDependencies, AskedNode } from "../probes/answers.ts"
import type { Command, ExecDependencies, ResolvedNode } from "./exec.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

interface Bfd {
  readonly peer: string
  readonly ifname?: string
  readonly state: string
  readonly diagnostic: string
}

export interface Known extends Pick<ExecDependencies, "resolveNode" | "spawn"> {
  readonly routing: Pick<Routing, "ask">
  readonly bfd: { readonly states: (lab: string, node: string) => Promise<ReadonlyArray<Bfd>> }
  readonly readRoutes: (netnsPath: string, query: RoutesQuery) => AsyncIterable<ReadonlyArray<RouteView>>
}

const pageRoutes = 256
const mainTable = 254
/** Prefixes that a check looks at. */
const mostPrefixes = 256

const tableOf = (text: string): number => {
  if (text === "main") return mainTable
  if (text === "all") return 0
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new Error(`there is no table "${text}": a number, main or all`)
  return number
}

/** What this host knows of its nodes, as checks ask for it. */
export const answersFor = ({ bfd, readRoutes, resolveNode, routing, spawn }: Known): AnswersDependencies => ({
  routes: async ({ netnsPath }, { prefix, table }) => {
    const found: Array<Answer<"routes">[number]> = []
    for await (const page of readRoutes(netnsPath, { table: tableOf(table), prefix, pageRoutes })) found.push(...page)
    return found
  },
  bgp: async ({ lab, node }) => {
    const answer = await routing.ask({ kind: "speaker", lab, node })
    if (answer.kind !== "speaker") throw new Error(answer.kind === "nothing" ? answer.reason : `nothing is known of BGP in ${node}`)
    return { neighbors: answer.speaker.neighbors }
  },
  bgpRoutes: async ({ lab, node }, { neighbor, prefix, table }) => {
    const more = neighbor === undefined ? {} : { neighbor }
    const answer = await routing.ask({ kind: "routes", lab, node, table, vrf: "", prefix, limit: mostPrefixes, ...more })
    if (answer.kind === "routes") return answer.paths
    const known = await routing.ask({ kind: "speaker", lab, node })
    // A speaker without such a route is an answer; a node without a speaker, or a speaker without such a neighbour, is none.
    const isKnown = known.kind === "speaker" && (table === "rib" || known.speaker.neighbors.some(({ name }) => name === neighbor))
    if (answer.kind === "nothing" && isKnown) return []
    throw new Error(answer.kind === "nothing" ? answer.reason : `nothing is known of BGP in ${node}`)
  },
  bfd: async ({ lab, node }) =>
    (await bfd.states(lab, node)).map(({ diagnostic, ifname = "", peer, state }) => ({ peer, ifname, state, diagnostic })),
  spawn: async ({ lab, node }, argv) => {
    const found = await resolveNode(`${lab}/${node}`)
    if ("error" in found) throw new Error(found.error)
    const { container, etcDir, netnsPath } = found
    const command: Command = {
      netnsPath, hostname: node, argv, env: {},
      ...(container === true ? { containerOf: lab } : {}),
      ...(etcDir === undefined ? {} : { etcDir })
    }
    return spawn(command) as ReturnType<typeof spawn> & { readonly stdout: Readable }
  }
})

export interface AskDependencies {
  readonly answers: Answers
  readonly resolveNode: (name: string) => ResolvedNode | Promise<ResolvedNode>
}

interface AskRequest {
  readonly lab: string
  readonly node: string
  readonly what: string
  readonly question: string
}

const commandKind = "exec"

/** A node of this host. @throws Error that says why it is none */
export const nodeHere = async ({ resolveNode }: AskDependencies, lab: string, node: string): Promise<AskedNode> => {
  const found = await resolveNode(`${lab}/${node}`)
  if ("error" in found) throw new Error(found.error)
  if (found.host !== undefined) throw new Error(`node "${node}" is on host "${found.host}" now: try again`)
  return found
}

const answerTo = async (dependencies: AskDependencies, { lab, node, question, what }: AskRequest): Promise<{ readonly answer: string }> => {
  const place = await nodeHere(dependencies, lab, node)
  const asked = JSON.parse(question) as Asked<keyof Questions>
  return { answer: JSON.stringify(await dependencies.answers.answer(place, what as keyof Questions, asked)) }
}

export const askHandlers = (dependencies: AskDependencies) => ({
  ask: unary(toStatus, (request: AskRequest) => {
    if (request.what === commandKind) throw new Error("commands of checks come by Peers.Command")
    return answerTo(dependencies, request)
  }),
  command: unary(toStatus, (request: AskRequest) => answerTo(dependencies, { ...request, what: commandKind }))
})

/** How another host is asked: which method, and how long that may take. */
export const methodOf = (what: keyof Questions, question: object): { readonly method: "Ask" | "Command"; readonly deadlineMs: number } => {
  const { forMs = 0, timeoutMs = 0 } = question as { readonly forMs?: number; readonly timeoutMs?: number }
  // A path MTU takes one timeout after the other.
  return { method: what === commandKind ? "Command" : "Ask", deadlineMs: 10_000 + forMs + timeoutMs * 4 }
}
