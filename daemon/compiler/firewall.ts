/**
 * The firewall of one node -> its filter: names become prefixes, and each rule gets the hook that it belongs to.
 *
 * A rule is about packets to whatever `to` says: to the node itself, through it, or both where it says nothing. What the node
 * itself sends is meant only by a rule that says so: `from self`, the node's name, or one of its addresses; and `at` says it
 * outright.
 */
import type { FilterRule, FilterSpec, Hook } from "../plan/filter.ts"
import { formatService, hooks } from "../plan/filter.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import * as Ip from "../topology/ip.ts"
import type { FirewallRule, Node } from "../topology/model.ts"
import type { RoutingContext } from "./routing.ts"

/** Whom names in `from` and `to` mean: prefixes, or `undefined` when there is nobody of that name. */
export interface Names {
  readonly node: (name: string) => ReadonlyArray<string> | undefined
  readonly group: (name: string) => ReadonlyArray<string> | undefined
  readonly network: (name: string) => ReadonlyArray<string> | undefined
  readonly label: (key: string, value: string) => ReadonlyArray<string> | undefined
  /** Words among which a wrong one was probably meant. */
  readonly all: () => Iterable<string>
}

export type Who =
  | { readonly ok: true; readonly prefixes: ReadonlyArray<string> }
  | { readonly ok: false; readonly message: string; readonly among?: Iterable<string> }

/** An address, a prefix, `NAME`, `node:NAME`, `group:NAME`, `network:NAME` or `label:KEY=VALUE` as prefixes. */
export const resolveWho = (text: string, names: Names): Who => {
  const address = Ip.parseAddress(text)
  if (address !== undefined) return { ok: true, prefixes: [Ip.formatPrefix({ ...address, length: Ip.hostLength(address.family) })] }
  const prefix = Ip.parsePrefix(text)
  if (prefix !== undefined) {
    const whole = Ip.network(prefix)
    if (whole.bits === prefix.bits) return { ok: true, prefixes: [Ip.formatPrefix(prefix)] }
    return { ok: false, message: `${quote(text)} has host bits set: the prefix of this length is ${Ip.formatPrefix(whole)}` }
  }
  if (/^[\d.:/a-f]*[.:/][\d.:/a-f]*$/i.test(text)) return { ok: false, message: `${quote(text)} is neither an address nor a prefix` }
  const [, sort, name = text] = /^(node|group|network|label):(.+)$/.exec(text) ?? []
  const [, key = "", value = ""] = /^([^=]+)=(.*)$/.exec(name) ?? []
  const sorts = sort === undefined ? ["node", "group", "network"] as const : [sort as "node" | "group" | "network" | "label"]
  const found = sorts.flatMap((one) => {
    const prefixes = one === "label" ? names.label(key, value) : names[one](name)
    return prefixes === undefined ? [] : [{ sort: one, prefixes }]
  })
  const [first, second] = found
  if (first === undefined) {
    const sought = sort ?? "node, group or network"
    const message = sort === "label" ? `no node has the label ${quote(name)}` : `there is no ${sought} ${quote(name)}`
    return { ok: false, message, among: names.all() }
  }
  if (second !== undefined) {
    const ways = found.map((one) => `${one.sort}:${name}`).join(" or ")
    return { ok: false, message: `${quote(name)} is the name of a ${first.sort} and of a ${second.sort}: write ${ways}` }
  }
  if (first.prefixes.length === 0) return { ok: false, message: `the ${first.sort} ${quote(name)} has no address` }
  return { ok: true, prefixes: [...new Set(first.prefixes)] }
}

/** Without prefixes that lie in others: sets of nftables hold none twice. Order is kept. */
const disjoint = (prefixes: ReadonlyArray<string>): ReadonlyArray<string> => {
  const parsed = [...new Set(prefixes)].map((text) => ({ text, prefix: Ip.parsePrefix(text)! }))
  if (parsed.every(({ prefix }) => prefix.length === Ip.hostLength(prefix.family))) return parsed.map(({ text }) => text)
  const covers = (outer: Ip.Prefix, inner: Ip.Prefix) => outer.length < inner.length && Ip.contains(outer, inner)
  const wide = parsed.filter(({ prefix }) => prefix.length < Ip.hostLength(prefix.family))
  return parsed.filter(({ prefix }) => !wide.some((other) => covers(other.prefix, prefix))).map(({ text }) => text)
}

/** Ports and ranges in ascending order, those that touch or overlap made one. */
const mergePorts = (ports: ReadonlyArray<string>): ReadonlyArray<string> => {
  const ranges = ports.map((text) => text.split("-").map(Number)).map(([from, to]) => [from!, to ?? from!] as [number, number])
  const merged: Array<[number, number]> = []
  for (const [from, to] of ranges.sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else merged.push([from, to])
  }
  return merged.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`))
}

/** The names of a topology; made once for a compile. */
export const topologyNames = ({ topology, addressing }: RoutingContext): Names => {
  const nodes = [...topology.nodes.values()]
  const known = new Map<string, ReadonlyArray<string> | undefined>()
  /** Rules of a group are compiled for each member: who is meant is found once. */
  const once = (key: string, find: () => ReadonlyArray<string> | undefined): ReadonlyArray<string> | undefined => {
    if (!known.has(key)) known.set(key, find())
    return known.get(key)
  }
  const ofNode = (node: Node): ReadonlyArray<string> => {
    const assigned = [...addressing.ofLoopback(node.name), ...addressing.ofAnycast(node.name), ...node.ports.flatMap(addressing.ofPort)]
    return assigned.map(({ address }) => Ip.formatPrefix({ ...address, length: Ip.hostLength(address.family) }))
  }
  const ofNodes = (members: ReadonlyArray<Node>) => (members.length === 0 ? undefined : members.flatMap(ofNode))
  return {
    node: (name) => {
      const node = topology.nodes.get(name)
      return node === undefined ? undefined : ofNode(node)
    },
    group: (name) => once(`group ${name}`, () => ofNodes(nodes.filter((node) => node.group === name))),
    network: (name) => {
      const segments = topology.segments.filter((segment) => segment.name === name)
      if (segments.length === 0) return undefined
      return segments.flatMap(({ cidrs }) => cidrs.map(({ value }) => Ip.formatPrefix(Ip.parsePrefix(value)!)))
    },
    label: (key, value) => once(`label ${key}=${value}`, () => ofNodes(nodes.filter((node) => node.labels[key] === value))),
    all: () => [
      "any", "self", ...topology.nodes.keys(), ...topology.segments.map(({ name }) => name),
      ...nodes.flatMap(({ group }) => (group === undefined ? [] : [group]))
    ]
  }
}

/** Says what is wrong with a part of a rule: `from`, `to`, `in`, `out`, `at`, or the rule as a whole. */
export type Complain = (part: string, message: string, among?: Iterable<string>) => void

export interface RuleContext {
  readonly role: "host" | "router"
  readonly names: Names
  /** The node's own addresses, as prefixes. */
  readonly own: ReadonlyArray<string>
  readonly ifnames: ReadonlyArray<string>
  readonly complain: Complain
}

/** What a rule of a node comes to, one for each hook; none after a complaint. */
export const compileRule = (rule: Omit<FirewallRule, "paths">, context: RuleContext): ReadonlyArray<FilterRule> => {
  const { complain } = context
  let wrong = false
  const refuse: Complain = (part, message, among) => {
    wrong = true
    complain(part, message, among)
  }
  const whom = (side: "from" | "to"): ReadonlyArray<string> | "self" | undefined => {
    const words = rule[side]
    if (words === undefined) return undefined
    const special = words.find((word) => word === "any" || word === "self")
    if (special !== undefined && words.length > 1) return void refuse(side, `${quote(special)} stands alone`)
    if (special === "any") return undefined
    if (special === "self") return "self"
    return words.flatMap((word) => {
      const who = resolveWho(word, context.names)
      if (who.ok) return who.prefixes
      refuse(side, who.message, who.among)
      return []
    })
  }
  const [from, to] = [whom("from"), whom("to")]
  for (const side of ["in", "out"] as const) {
    const unknown = rule[side]?.find((ifname) => !context.ifnames.includes(ifname))
    if (unknown === undefined) continue
    const list = context.ifnames.length === 0 ? "no ports" : context.ifnames.slice(0, 8).join(", ")
    refuse(side, `there is no port ${quote(unknown)} here: the node has ${list}`, context.ifnames)
  }
  if (from === "self" && to === "self") refuse("rule", "what a node sends to itself always passes")
  const at = rule.at ?? hooksOf({ ...rule, from, to }, context)
  if (at.includes("input") && rule.out !== undefined) refuse("out", "what comes to the node itself leaves by no interface: write in")
  if (at.includes("output") && rule.in !== undefined) refuse("in", "what the node itself sends comes in by no interface: write out")
  if (wrong) return []
  return at.map((hook) => ({
    name: rule.name ?? describeRule(rule),
    hook,
    action: rule.action,
    services: rule.services.map((one) => (one.ports === undefined ? one : { ...one, ports: mergePorts(one.ports) })),
    ...(from === undefined || from === "self" ? {} : { from: disjoint(from) }),
    ...(to === undefined || to === "self" ? {} : { to: disjoint(to) }),
    ...(rule.in === undefined ? {} : { in: rule.in }),
    ...(rule.out === undefined ? {} : { out: rule.out })
  }))
}

interface Sides {
  readonly from: ReadonlyArray<string> | "self" | undefined
  readonly to: ReadonlyArray<string> | "self" | undefined
  readonly out?: ReadonlyArray<string>
}

/** Where packets that the rule describes can be met. */
const hooksOf = ({ from, out, to }: Sides, { own, role }: RuleContext): ReadonlyArray<Hook> => {
  if (from === "self") return ["output"]
  if (to === "self") return ["input"]
  const mine = own.map((text) => Ip.parsePrefix(text)!)
  const isOwn = (text: string): boolean => own.includes(text)
  const coversOwn = (text: string): boolean => mine.some((address) => Ip.contains(Ip.parsePrefix(text)!, address))
  const sent = from?.every(isOwn) === true
  const beyond = to === undefined || !to.every(isOwn)
  if (sent) return ["output"]
  if (role === "host") return out !== undefined || (to !== undefined && !to.some(coversOwn)) ? ["output"] : ["input"]
  const here = out === undefined && (to === undefined || to.some(coversOwn))
  return [...(here ? ["input" as const] : []), ...(beyond ? ["forward" as const] : [])]
}

const verbs = { accept: "allow", drop: "deny", reject: "reject" } as const

/** `allow tcp/443 from office to web in lan` */
const describeRule = (rule: Omit<FirewallRule, "paths">): string => {
  const services = rule.services.length === 0 ? "any" : rule.services.map(formatService).join(",")
  const parts = (["from", "to", "in", "out", "at"] as const).flatMap((part) =>
    rule[part] === undefined ? [] : [part, rule[part].join(",")]
  )
  return [verbs[rule.action], services, ...parts].join(" ")
}

/** `undefined` for a node without a firewall. */
export const compileFirewall = (node: Node, names: Names, { reporter }: RoutingContext): FilterSpec | undefined => {
  const { firewall } = node
  if (firewall === undefined) return undefined
  const named = new Map<string, Path>()
  const compiled = firewall.rules.flatMap(({ value, path }) => {
    refuseRepeatedName(value, path, named, reporter)
    return compileRule(value, {
      role: node.role,
      names,
      own: names.node(node.name) ?? [],
      ifnames: node.ports.map(({ ifname }) => ifname),
      complain: (part, message, among) => {
        const at = value.paths[part] ?? path
        reporter.error(at, `${node.name}: ${message}`, among === undefined ? {} : { meant: { word: wordIn(value, part, message), among } })
      }
    })
  })
  const policy = (hook: Hook) => firewall[hook]?.value ?? "accept"
  /** Where everything passes anyway, a rule that allows says nothing. */
  const decided = hooks.filter((hook) =>
    policy(hook) !== "accept" || compiled.some((rule) => rule.hook === hook && rule.action !== "accept")
  )
  if (decided.length === 0 && firewall.rules.length > 0 && compiled.length > 0) {
    const hook = node.role === "router" ? "forward" : "input"
    const message = `the rules of ${node.name} only allow, and all else passes, too: write ${hook}: drop`
    reporter.warning(firewall.path, message)
  }
  return {
    node: node.name,
    input: policy("input"),
    forward: policy("forward"),
    output: policy("output"),
    stateful: firewall.stateful ?? true,
    ...(firewall.connections === undefined ? {} : { connections: firewall.connections }),
    overrides: [],
    rules: compiled.filter(({ hook }) => decided.includes(hook)),
    state: "applied"
  }
}

/** The word that a message is about: the one that it quotes, without `group:` and the like. */
const wordIn = (rule: FirewallRule, part: string, message: string): string => {
  const words = (rule[part as "from" | "to" | "in" | "out"] ?? []).map((word) => word.replace(/^(node|group|network|label):/, ""))
  return words.find((word) => message.includes(quote(word))) ?? ""
}

const refuseRepeatedName = ({ name }: FirewallRule, path: Path, named: Map<string, Path>, reporter: Reporter): void => {
  if (name === undefined) return
  const earlier = named.get(name)
  if (earlier === undefined) named.set(name, path)
  else reporter.error([...path, "name"], `the rule at line ${reporter.locate(earlier).line} has the name ${quote(name)}, too`)
}
