/**
 * `dns-failure`: name resolution fails at a client or at a server. `timeout`: there is no answer; `reject`: they are refused at once, as
 * by a server that does not run; `wrong-server`: the client asks somebody who is not there.
 */
import { Schema } from "effect"
import type { FilterRule } from "../../plan/filter.ts"
import type { Plan } from "../../plan/resource.ts"
import { id } from "../../plan/resource.ts"
import { formatAddress, parseAddress, parsePrefix } from "../../topology/ip.ts"
import { optional, text } from "../../topology/schema-parts.ts"
import { Nodes, nodesProblems, override, put, resourceOf } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  how: optional(Schema.Literals(["timeout", "reject", "wrong-server"]).annotate({ description: "timeout unless given" })),
  at: optional(Schema.Literals(["client", "server"]).annotate({
    description: "Whether the node asks or answers; unless given, it answers if some node has it as its name server"
  })),
  server: optional(text({
    description: "For wrong-server: whom the node asks; 192.0.2.53 unless given",
    problem: (value) => (parseAddress(value) === undefined ? "expected an address such as 192.0.2.53" : undefined)
  }))
}).annotate({ expected: "a node, or a map with node and how" })
type Spec = typeof Spec.Type

/** RFC 5737: nobody has it. */
const nobody = "192.0.2.53"

const isServer = (plan: Plan, node: string): boolean => {
  const own = new Set(plan.resources.flatMap((one) => {
    const prefix = one.kind === "address" && one.spec.node === node ? parsePrefix(one.spec.address) : undefined
    return prefix === undefined ? [] : [formatAddress(prefix)]
  }))
  return plan.resources.some((one) => one.kind === "resolver" && one.spec.servers.some((server) => own.has(server)))
}

const sideOf = ({ at }: Spec, plan: Plan, node: string): "client" | "server" => at ?? (isServer(plan, node) ? "server" : "client")

const problems = (spec: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = nodesProblems(plan, spec.node)
  if (wrong.length > 0) return wrong
  if (spec.how !== "wrong-server") {
    return spec.server === undefined ? [] : [{ path: ["server"], message: "a server belongs to wrong-server: write how: wrong-server" }]
  }
  return spec.at === "server" ? [{ path: ["at"], message: "a wrong server is asked by a client: leave at out, or name the client" }] : []
}

/**
 * At a client, silence is the lack of answers: who may not send hears of it at once (EPERM), which is no timeout.
 */
const rules = (side: "client" | "server", how: "timeout" | "reject"): ReadonlyArray<FilterRule> => {
  const isLost = side === "client" && how === "timeout"
  return [{
    name: `fault: DNS ${how === "timeout" ? "is silent" : "is refused"}`,
    hook: side === "server" || isLost ? "input" : "output",
    action: how === "timeout" ? "drop" : "reject",
    services: ["udp", "tcp"].map((protocol) => ({ protocol, ports: ["53"], ...(isLost ? { answers: true } : {}) }))
  }]
}

const misdirect = (plan: Plan, node: string, server: string): Plan => {
  const before = resourceOf(plan, "resolver", id.resolver(node))
  const spec = { node, servers: [server], search: before?.spec.search ?? [] }
  return put(plan, { ...before, kind: "resolver", id: id.resolver(node), spec, dependsOn: before?.dependsOn ?? [id.node(node)] })
}

export const dnsFailure = faultKind<Spec>({
  summary: "Names are not resolved: queries vanish or are refused, at a client or at a server, or go to a wrong server",
  usage: "NODE [timeout|reject|wrong-server] [at=client|server] [server=ADDRESS]",
  words: ["node", "how"],
  schema: Spec,
  check: problems,
  title: ({ how = "timeout", node, server = nobody }) =>
    how === "wrong-server" ? `${node} asks ${server} for names` : `DNS of ${node} ${how === "timeout" ? "is silent" : "is refused"}`,
  apply: (fault, plan) => {
    const { how = "timeout", node, server = nobody } = fault
    return nodesOf(plan, node).reduce((so, name) => {
      if (how === "wrong-server") return misdirect(so, name, formatAddress(parseAddress(server)!))
      return override(so, [name], rules(sideOf(fault, plan, name), how))
    }, plan)
  }
})
