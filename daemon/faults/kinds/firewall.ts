/** `firewall-missing`: a firewall, or one rule of it, is gone; `firewall-rule`: a rule too many, that somebody forgot. */
import { Schema } from "effect"
import { compileRule, type Names } from "../../compiler/firewall.ts"
import type { FilterRule, FilterSpec } from "../../plan/filter.ts"
import type { Plan } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import { parseRuleLine } from "../../topology/firewall-words.ts"
import * as Ip from "../../topology/ip.ts"
import { optional } from "../../topology/schema-parts.ts"
import { change, joined, line, Nodes, nodesProblems, override } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const filters = (plan: Plan, node: string): ReadonlyArray<FilterSpec> => {
  const nodes = nodesOf(plan, node)
  return plan.resources.flatMap((one) => (one.kind === "filter" && nodes.includes(one.spec.node) ? [one.spec] : []))
}

const MissingSpec = Schema.Struct({
  node: Nodes,
  rule: optional(line(
    "a rule by its name, or by its text as inspect shows it; the whole firewall unless given",
    (value) => (value.trim() === "" ? "the text is empty" : undefined)
  ))
}).annotate({ expected: "a node, or a map with node and rule" })
type MissingSpec = typeof MissingSpec.Type

const ruleOf = ({ rule }: MissingSpec): string | undefined => (rule === undefined ? undefined : joined(rule))

const missingProblems = (fault: MissingSpec, plan: Plan): ReadonlyArray<Problem> => {
  const { node } = fault
  const rule = ruleOf(fault)
  const wrong = nodesProblems(plan, node)
  if (wrong.length > 0) return wrong
  const there = filters(plan, node)
  if (there.length === 0) {
    const candidates = plan.resources.flatMap((one) => (one.kind === "filter" ? [one.spec.node] : []))
    return [{ path: ["node"], message: `${quote(node)} has no firewall`, candidates }]
  }
  const names = [...new Set(there.flatMap(({ rules }) => rules.map(({ name }) => name)))]
  if (rule === undefined || names.includes(rule)) return []
  const list = names.length === 0 ? "none" : names.slice(0, 6).map(quote).join(", ")
  return [{ path: ["rule"], message: `the firewall of ${node} has no rule ${quote(rule)}: it has ${list}`, candidates: names }]
}

/** Without the rule; the whole filter goes, but what other faults put there stays. */
const lose = (spec: FilterSpec, rule: string | undefined): FilterSpec | undefined => {
  if (rule !== undefined) return { ...spec, rules: spec.rules.filter(({ name }) => name !== rule) }
  if (spec.overrides.length === 0) return undefined
  const { connections: _, ...rest } = spec
  return { ...rest, input: "accept", forward: "accept", output: "accept", stateful: false, rules: [] }
}

export const firewallMissing = faultKind<MissingSpec>({
  summary: "A firewall is gone, or one of its rules",
  usage: "NODE [RULE]",
  words: ["node", "rule..."],
  schema: MissingSpec,
  check: missingProblems,
  title: ({ node, rule }) =>
    rule === undefined ? `${node} has lost its firewall` : `the firewall of ${node} has lost ${quote(joined(rule))}`,
  apply: (fault, plan) => {
    const nodes = nodesOf(plan, fault.node)
    return change(plan, "filter", (spec) => (nodes.includes(spec.node) ? lose(spec, ruleOf(fault)) : spec))
  }
})

const RuleSpec = Schema.Struct({
  node: Nodes,
  rule: line("a rule such as deny tcp/443 from office to web", (value) => {
    const parsed = parseRuleLine(value)
    return parsed.ok ? undefined : parsed.message
  })
}).annotate({ expected: "a map with node and rule" })
type RuleSpec = typeof RuleSpec.Type

const single = (address: string): string => {
  const prefix = Ip.parsePrefix(address)!
  return Ip.formatPrefix({ ...prefix, length: Ip.hostLength(prefix.family) })
}

/** The names of a plan, as the compiler has those of a topology. */
const planNames = (plan: Plan): Names => {
  const of = (nodes: ReadonlyArray<string>): ReadonlyArray<string> =>
    plan.resources.flatMap((one) => (one.kind === "address" && nodes.includes(one.spec.node) ? [single(one.spec.address)] : []))
  const some = (nodes: ReadonlyArray<{ readonly name: string }>) => (nodes.length === 0 ? undefined : of(nodes.map(({ name }) => name)))
  return {
    node: (name) => some(plan.nodes.filter((one) => one.name === name)),
    group: (name) => some(plan.nodes.filter(({ group }) => group === name)),
    network: (name) => {
      const segments = plan.segments.filter((one) => one.name === name)
      return segments.length === 0 ? undefined : segments.flatMap(({ cidrs }) => cidrs)
    },
    label: (key, value) => some(plan.nodes.filter(({ labels }) => labels[key] === value)),
    all: () => [
      "any", "self", ...plan.nodes.map(({ name }) => name), ...plan.segments.map(({ name }) => name),
      ...plan.nodes.flatMap(({ group }) => (group === undefined ? [] : [group]))
    ]
  }
}

interface Compiled {
  readonly rules: ReadonlyArray<FilterRule>
  readonly problems: ReadonlyArray<Problem>
}

const compiled = (plan: Plan, node: string, line: string): Compiled => {
  const parsed = parseRuleLine(line)
  if (!parsed.ok) return { rules: [], problems: [] }
  const problems: Array<Problem> = []
  const names = planNames(plan)
  const spec = plan.resources.find((one) => one.kind === "node" && one.spec.node === node)
  const rules = compileRule(parsed.value, {
    role: spec?.kind === "node" ? spec.spec.nodeKind : "router",
    names,
    own: names.node(node) ?? [],
    ifnames: plan.resources.flatMap((one) => (one.kind === "port" && one.spec.node === node ? [one.spec.ifname] : [])),
    complain: (part, message, among) =>
      problems.push({ path: ["rule"], message: `${node}: ${message}`, ...(among === undefined ? {} : { candidates: [...among] }) })
  })
  return { rules, problems }
}

export const firewallRule = faultKind<RuleSpec>({
  summary: "A firewall rule too many, before all others: it also ends connections that were let through",
  usage: "NODE ACTION [SERVICE] [from WHO] [to WHO] [in IF] [out IF]",
  words: ["node", "rule..."],
  schema: RuleSpec,
  check: ({ node, rule }, plan) => {
    const wrong = nodesProblems(plan, node)
    return wrong.length > 0 ? wrong : nodesOf(plan, node).flatMap((name) => compiled(plan, name, joined(rule)).problems).slice(0, 1)
  },
  title: ({ node, rule }) => `${node} has a firewall rule too many: ${joined(rule)}`,
  apply: ({ node, rule }, plan) =>
    nodesOf(plan, node).reduce((so, name) => override(so, [name], compiled(plan, name, joined(rule)).rules), plan)
})
