/** `firewall:` of one layer (defaults, a group, a node) with shorthand expanded, and how layers are joined. */
import type { Path, Reporter } from "./diagnostic.ts"
import type { RawFirewall, RawFirewallRule } from "./firewall-schema.ts"
import { actions, parseRuleLine, parseRuleWords, type RuleWords } from "./firewall-words.ts"
import type { Firewall, FirewallRule, Located } from "./model.ts"

const listOf = <T extends string>(value: T | ReadonlyArray<T> | undefined): ReadonlyArray<T> | undefined =>
  value === undefined || typeof value === "object" ? value : [value]

export const readFirewall = (raw: RawFirewall | undefined, path: Path, reporter: Reporter): Firewall | undefined => {
  if (raw === undefined) return undefined
  const at = <K extends keyof RawFirewall>(key: K): Path => [...path, key]
  const policy = (hook: "input" | "forward" | "output") =>
    raw[hook] === undefined ? {} : { [hook]: { value: actions[raw[hook]]!, path: at(hook) } }
  return {
    path,
    ...policy("input"),
    ...policy("forward"),
    ...policy("output"),
    ...(raw.stateful === undefined ? {} : { stateful: raw.stateful }),
    ...(raw.connections === undefined ? {} : { connections: raw.connections }),
    rules: (raw.rules ?? []).flatMap((rule, index) => readRule(rule, [...at("rules"), index], reporter))
  }
}

const readRule = (raw: RawFirewallRule, path: Path, reporter: Reporter): ReadonlyArray<Located<FirewallRule>> => {
  if (typeof raw === "string") {
    const parsed = parseRuleLine(raw)
    return parsed.ok ? [{ value: { ...parsed.value, paths: {} }, path }] : []
  }
  const key = raw.allow !== undefined ? "allow" : raw.deny !== undefined ? "deny" : "reject"
  const beside: Partial<RuleWords> = {
    ...given("from", listOf(raw.from)),
    ...given("to", listOf(raw.to)),
    ...given("in", listOf(raw.in)),
    ...given("out", listOf(raw.out)),
    ...given("at", listOf(raw.at))
  }
  const texts = listOf(raw[key])!.map((text) => parseRuleWords(text))
  const services: Array<RuleWords["services"][number]> = []
  let inside: Partial<RuleWords> = {}
  for (const parsed of texts) {
    if (!parsed.ok) return []
    const { services: more, ...rest } = parsed.value
    // Of a list, "any" takes in all others.
    if (more.length === 0 && texts.length > 1) {
      return refuse([...path, key], `a list of services has no "any": leave the others out`, reporter)
    }
    services.push(...more)
    if (texts.length > 1 && Object.keys(rest).length > 0) {
      return refuse([...path, key], "of several services, from, to, in and out stand beside the list, not in it", reporter)
    }
    inside = rest
  }
  for (const name of Object.keys(inside)) {
    if (name in beside) return refuse([...path, name], `${name} is given twice: here and behind ${key}`, reporter)
  }
  const paths = Object.fromEntries(Object.keys(beside).map((name) => [name, [...path, name]]))
  const name = raw.name === undefined ? {} : { name: raw.name }
  return [{ value: { action: actions[key]!, services, ...inside, ...beside, ...name, paths }, path }]
}

const refuse = (path: Path, message: string, reporter: Reporter): [] => {
  reporter.error(path, message)
  return []
}

const given = <K extends string, T>(key: K, value: T | undefined): { readonly [_ in K]?: T } =>
  value === undefined ? {} : ({ [key]: value } as unknown as { readonly [_ in K]: T })

/** Rules are joined, the most general first; of all else the nearest counts. */
export const joinFirewalls = (layers: ReadonlyArray<Firewall | undefined>): Firewall | undefined => {
  const present = layers.filter((layer) => layer !== undefined)
  if (present.length === 0) return undefined
  return { ...Object.assign({}, ...present) as Firewall, rules: present.flatMap((layer) => layer.rules) }
}
