/** Address translation: `nat-missing`: rules are gone; `nat-extra`: one too many; `nat-exhausted`: masquerading has only so many ports. */
import { Schema } from "effect"
import { id, type NatSpec, type Plan } from "../../plan/resource.ts"
import { quote } from "../../topology/diagnostic.ts"
import { integer, optional, text } from "../../topology/schema-parts.ts"
import { change, Nodes, nodesProblems, put } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const translations = (plan: Plan, node: string): ReadonlyArray<NatSpec> => {
  const nodes = nodesOf(plan, node)
  return plan.resources.flatMap((one) => (one.kind === "nat" && nodes.includes(one.spec.node) ? [one.spec] : []))
}

const changeNat = (plan: Plan, node: string, edit: (spec: NatSpec) => NatSpec | undefined): Plan => {
  const nodes = nodesOf(plan, node)
  return change(plan, "nat", (spec) => (nodes.includes(spec.node) ? edit(spec) : spec))
}

const natProblems = (plan: Plan, node: string): ReadonlyArray<Problem> => {
  const wrong = nodesProblems(plan, node)
  if (wrong.length > 0 || translations(plan, node).length > 0) return wrong
  const candidates = plan.resources.flatMap((one) => (one.kind === "nat" ? [one.spec.node] : []))
  return [{ path: ["node"], message: `${quote(node)} translates no addresses`, candidates }]
}

type Sort = "masquerade" | "one-to-one" | "port-forward" | "mss-clamp"

/** Words that mean a rule: its sort, its sort and what it is about, or the latter alone. */
const wordsOf = (sort: Sort, about: string | undefined): ReadonlyArray<string> =>
  about === undefined ? [sort] : [sort, `${sort}:${about}`, about]

const masqueradeWords = ({ out }: NatSpec["masquerade"][number]) => wordsOf("masquerade", out)
const oneToOneWords = (rule: NatSpec["oneToOne"][number]) => wordsOf("one-to-one", rule.public)
const forwardWords = ({ port, protocol }: NatSpec["portForward"][number]) => wordsOf("port-forward", `${protocol}/${port}`)
const clampWords = ({ out }: NatSpec["mssClamp"][number]) => wordsOf("mss-clamp", out)

const allWords = (spec: NatSpec): ReadonlyArray<string> => [...new Set([
  ...spec.masquerade.flatMap(masqueradeWords),
  ...spec.oneToOne.flatMap(oneToOneWords),
  ...spec.portForward.flatMap(forwardWords),
  ...spec.mssClamp.flatMap(clampWords)
])]

/** What is left without what the word means; without a word, of clamping alone. `undefined`: nothing. */
const without = (spec: NatSpec, word: string | undefined): NatSpec | undefined => {
  const stays = <T>(words: (rule: T) => ReadonlyArray<string>) => (rule: T): boolean => word !== undefined && !words(rule).includes(word)
  const left = {
    ...spec,
    masquerade: spec.masquerade.filter(stays(masqueradeWords)),
    oneToOne: spec.oneToOne.filter(stays(oneToOneWords)),
    portForward: spec.portForward.filter(stays(forwardWords)),
    mssClamp: word === undefined ? spec.mssClamp : spec.mssClamp.filter(stays(clampWords))
  }
  return left.masquerade.length + left.oneToOne.length + left.portForward.length + left.mssClamp.length === 0 ? undefined : left
}

const MissingSpec = Schema.Struct({
  node: Nodes,
  rule: optional(text({
    description: "masquerade[:IFNAME], one-to-one[:PUBLIC], port-forward[:PROTOCOL/PORT] or mss-clamp; all translation unless given",
    problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
  }))
}).annotate({ expected: "a node, or a map with node and rule" })
type MissingSpec = typeof MissingSpec.Type

export const natMissing = faultKind<MissingSpec>({
  summary: "A rule of address translation is gone, or all of a node: inside works, outside does not",
  usage: "NODE [masquerade[:IF]|one-to-one[:PUBLIC]|port-forward[:tcp/PORT]|mss-clamp]",
  words: ["node", "rule"],
  schema: MissingSpec,
  check: ({ node, rule }, plan) => {
    const wrong = natProblems(plan, node)
    if (wrong.length > 0 || rule === undefined) return wrong
    const words = [...new Set(translations(plan, node).flatMap(allWords))]
    if (words.includes(rule)) return []
    const exact = words.filter((word) => word.includes(":"))
    const list = (exact.length === 0 ? words : exact).slice(0, 8).join(", ")
    const message = `${node} has no such rule as ${quote(rule)}: it has ${list}`
    return [{ path: ["rule"], message, candidates: words }]
  },
  title: ({ node, rule }) => `${node} has lost ${rule === undefined ? "its address translation" : `its NAT rule ${rule}`}`,
  apply: ({ node, rule }, plan) => changeNat(plan, node, (spec) => without(spec, rule))
})

const ExtraSpec = Schema.Struct({
  node: Nodes,
  out: text({
    description: "the interface by which it leaves",
    problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
  })
}).annotate({ expected: "a map with node and out" })
type ExtraSpec = typeof ExtraSpec.Type

const interfacesOf = (plan: Plan, node: string): ReadonlyArray<string> => {
  const nodes = nodesOf(plan, node)
  return plan.resources.flatMap((one) => (one.kind === "port" && nodes.includes(one.spec.node) ? [one.spec.ifname] : []))
}

/** The rule goes before those that are there: theirs may except what leaves by that interface. */
const masqueradeAll = (plan: Plan, node: string, out: string): Plan => {
  const rule = { out, exceptTo: [] }
  const old = plan.resources.find((one) => one.id === id.nat(node))
  const more = (spec: NatSpec): NatSpec => ({ ...spec, masquerade: [rule, ...spec.masquerade] })
  if (old?.kind === "nat") return change(plan, "nat", (spec) => (spec.node === node ? more(spec) : spec))
  const spec: NatSpec = { node, masquerade: [rule], oneToOne: [], portForward: [], mssClamp: [] }
  return put(plan, { kind: "nat", id: id.nat(node), spec, dependsOn: [id.node(node)] })
}

export const natExtra = faultKind<ExtraSpec>({
  summary: "Masquerading where none should be: the other side sees the router's address, and no client's",
  usage: "NODE IF",
  words: ["node", "out"],
  schema: ExtraSpec,
  check: ({ node, out }, plan) => {
    const wrong = nodesProblems(plan, node)
    const candidates = interfacesOf(plan, node)
    if (wrong.length > 0 || candidates.includes(out)) return wrong
    return [{ path: ["out"], message: `${node} has no interface ${quote(out)}`, candidates }]
  },
  title: ({ node, out }) => `${node} masquerades what leaves by ${out}`,
  apply: ({ node, out }, plan) =>
    nodesOf(plan, node)
      .filter((name) => interfacesOf(plan, name).includes(out))
      .reduce((changed, name) => masqueradeAll(changed, name, out), plan)
})

/** Where the ports begin that are left: far from those that nodes listen on. */
const firstPort = 40_000

const ExhaustedSpec = Schema.Struct({
  node: Nodes,
  ports: optional(integer(1, 20_000, "How many ports are left; 1 unless given")),
  out: optional(text({
    description: "Only of what leaves by this interface",
    problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
  }))
}).annotate({ expected: "a node, or a map with node and ports" })
type ExhaustedSpec = typeof ExhaustedSpec.Type

const fewer = (before: string | undefined, ports: number): string => {
  const [from = firstPort, to = 65_535] = (before ?? "").split("-").filter((word) => word !== "").map(Number)
  return `${from}-${Math.min(to, from + ports - 1)}`
}

export const natExhausted = faultKind<ExhaustedSpec>({
  summary: "Masquerading has only so many ports: of more connections to one server the new ones fail",
  usage: "NODE [PORTS] [out=IF]",
  words: ["node", "ports"],
  schema: ExhaustedSpec,
  check: ({ node, out }, plan) => {
    const wrong = natProblems(plan, node)
    if (wrong.length > 0) return wrong
    const rules = translations(plan, node).flatMap(({ masquerade }) => masquerade)
    if (rules.length === 0) return [{ path: ["node"], message: `${quote(node)} masquerades nothing` }]
    if (out === undefined || rules.some((rule) => rule.out === out)) return []
    const candidates = [...new Set(rules.map((rule) => rule.out))]
    const message = `${node} masquerades nothing that leaves by ${quote(out)}: ${candidates.join(", ")} only`
    return [{ path: ["out"], message, candidates }]
  },
  title: ({ node, out, ports = 1 }) =>
    `${node} has ${ports} ${ports === 1 ? "port" : "ports"} left to masquerade with${out === undefined ? "" : `, by ${out}`}`,
  apply: ({ node, out, ports = 1 }, plan) =>
    changeNat(plan, node, (spec) => ({
      ...spec,
      masquerade: spec.masquerade.map((rule) =>
        out === undefined || rule.out === out ? { ...rule, ports: fewer(rule.ports, ports) } : rule
      )
    }))
})
