/**
 * Inheritance: what a node gets from `defaults`, from `defaults` of its kind, from its group and that group's bases, and
 * from itself, in this order.
 *
 * Of single values the nearest wins. Maps (labels, sysctls) are merged key by key. Lists (exec, routes, rules, nat,
 * mss-clamp, rules of a firewall) are joined, the most general first, so a group can add a route without repeating those of `defaults`.
 *
 * Each layer is read once, however many nodes inherit from it; its errors are therefore reported once, too.
 */
import { readBgp } from "./bgp.ts"
import { type ContainerLayer, readContainer, refuseContainerKeys, roleOf } from "./container.ts"
import { type Path, quote, type Reporter } from "./diagnostic.ts"
import { joinFirewalls, readFirewall } from "./firewall.ts"
import type { Firewall, Gateway, Located, Nat, Node, NodeKind, Route, Rule, Way } from "./model.ts"
import { sysctlProblem } from "./names.ts"
import type { Defaults, Group, Node as RawNode, Settings } from "./schema.ts"
import { splitWords } from "./words.ts"

/** One layer's settings with shorthand expanded. */
export interface Layer {
  readonly labels: Readonly<Record<string, string>>
  readonly mtu: Located<number> | undefined
  readonly sysctls: ReadonlyMap<string, Located<string>>
  readonly exec: Node["exec"]
  readonly dnsServers: Located<ReadonlyArray<string>> | undefined
  readonly dnsSearch: Located<ReadonlyArray<string>> | undefined
  readonly gateway: Located<Gateway> | undefined
  readonly routes: Node["routes"]
  readonly rules: Node["rules"]
  readonly nat: Nat
  readonly firewall: Firewall | undefined
}

export const asList = <T>(value: T | ReadonlyArray<T> | undefined): ReadonlyArray<T> =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T]

/** The items of a value that may be one item or a list, each with its path. */
export const located = <T>(value: T | ReadonlyArray<T> | undefined, path: Path): ReadonlyArray<Located<T>> =>
  value === undefined
    ? []
    : Array.isArray(value)
    ? value.map((item: T, index) => ({ value: item, path: [...path, index] }))
    : [{ value: value as T, path }]

/** Label values are text for people: `rack: 7` and `rack: "7"` are the same. */
export const textValues = (labels: Readonly<Record<string, string | number | boolean>> | undefined) => {
  const text: Record<string, string> = {}
  for (const key in labels) text[key] = String(labels[key])
  return text
}

export const readGateway = (
  value: string | ReadonlyArray<string> | undefined,
  path: Path,
  reporter: Reporter
): Located<Gateway> | undefined => {
  if (value === undefined) return undefined
  const items = located(value, path)
  if (!items.some((item) => item.value === "none")) return { value: items, path }
  if (items.length > 1) reporter.error(path, '"none" stands alone: no other gateway can be given with it')
  return { value: "none", path }
}

export const readLayer = (settings: Settings, path: Path, reporter: Reporter): Layer => {
  const at = (...rest: Path): Path => [...path, ...rest]
  return {
    labels: textValues(settings.labels),
    mtu: settings.mtu === undefined ? undefined : { value: settings.mtu, path: at("mtu") },
    sysctls: readSysctls(settings.sysctls, at("sysctls"), reporter),
    exec: readExec(settings.exec, at("exec")),
    dnsServers: settings.dns?.servers === undefined
      ? undefined
      : { value: asList(settings.dns.servers), path: at("dns", "servers") },
    dnsSearch: settings.dns?.search === undefined
      ? undefined
      : { value: asList(settings.dns.search), path: at("dns", "search") },
    gateway: readGateway(settings.gateway, at("gateway"), reporter),
    routes: (settings.routes ?? []).flatMap((route, index) => readRoute(route, at("routes", index), reporter) ?? []),
    rules: (settings.rules ?? []).flatMap((rule, index) => readRule(rule, at("rules", index), reporter) ?? []),
    nat: readNat(settings, path),
    firewall: readFirewall(settings.firewall, at("firewall"), reporter)
  }
}

const readSysctls = (sysctls: Settings["sysctls"], path: Path, reporter: Reporter): Layer["sysctls"] => {
  const result = new Map<string, Located<string>>()
  for (const name in sysctls) {
    const value = sysctls[name]!
    const problem = sysctlProblem(name)
    if (problem !== undefined) reporter.error([...path, name], problem, { at: "key" })
    const text = typeof value === "boolean" ? (value ? "1" : "0") : String(value)
    result.set(name, { value: text, path: [...path, name] })
  }
  return result
}

const readExec = (exec: Settings["exec"], path: Path): Layer["exec"] =>
  (exec ?? []).flatMap((command, index) => {
    const words = typeof command === "string" ? splitWords(command) : { ok: true as const, words: command }
    return words.ok ? [{ value: words.words, path: [...path, index] }] : []
  })

type RawRoute = NonNullable<Settings["routes"]>[number]

const readRoute = (route: RawRoute, path: Path, reporter: Reporter): Located<Route> | undefined => {
  const type = route.type ?? "unicast"
  const listed = Array.isArray(route.via)
  if (type !== "unicast" && (route.via !== undefined || route.dev !== undefined)) {
    reporter.error(path, `a ${type} route discards packets: it has neither via nor dev`)
    return undefined
  }
  if (listed && route.dev !== undefined) {
    reporter.error([...path, "dev"], "a route with several ways names the interface in each: via: [{to, dev}]")
    return undefined
  }
  const ways: Array<Way> = []
  for (const way of located(route.via, [...path, "via"])) {
    const single = typeof way.value === "string" ? { to: way.value, dev: route.dev, weight: 1 } : way.value
    const { to, dev, weight } = single
    const own = "bfd" in single && single.bfd !== undefined ? { value: single.bfd, path: [...way.path, "bfd"] } : undefined
    const bfd = own ?? (route.bfd === undefined ? undefined : { value: route.bfd, path: [...path, "bfd"] })
    if (to === undefined && dev === undefined) reporter.error(way.path, 'a way needs "to" or "dev"')
    else if (to === undefined && bfd !== undefined && bfd.value !== false) {
      reporter.error(bfd.path, "BFD watches a next hop: this way has none, only an interface")
    } else {
      ways.push({
        ...(to === undefined ? {} : { to }),
        ...(dev === undefined ? {} : { dev }),
        weight: weight ?? 1,
        ...(bfd === undefined || bfd.value === false ? {} : { bfd }),
        path: way.path
      })
    }
  }
  if (ways.length === 0 && route.bfd !== undefined && route.bfd !== false) {
    reporter.error([...path, "bfd"], "BFD watches a next hop: this route has none")
    return undefined
  }
  if (route.via === undefined && route.dev !== undefined) ways.push({ dev: route.dev, weight: 1, path: [...path, "dev"] })
  if (type === "unicast" && ways.length === 0) {
    reporter.error(path, 'the route leads nowhere: give "via", "dev" or a type such as blackhole')
    return undefined
  }
  const value: Route = {
    to: located(route.to, [...path, "to"]),
    type,
    ways,
    table: route.table ?? 254,
    ...(route.metric === undefined ? {} : { metric: route.metric })
  }
  return { value, path }
}

const readRule = (rule: Rule, path: Path, reporter: Reporter): Located<Rule> | undefined => {
  const families = [rule.from, rule.to].filter((prefix) => prefix !== undefined).map((prefix) => prefix.includes(":"))
  if (families.length === 2 && families[0] !== families[1]) {
    reporter.error(path, "from and to are of different address families")
    return undefined
  }
  return { value: rule, path }
}

const readNat = (settings: Settings, path: Path): Nat => ({
  masquerade: located(settings.nat?.masquerade, [...path, "nat", "masquerade"]).map((item) => ({
    path: item.path,
    value: typeof item.value === "string"
      ? { out: item.value, from: [], except: [] }
      : { out: item.value.out, from: asList(item.value.from), except: asList(item.value.except) }
  })),
  oneToOne: located(settings.nat?.["one-to-one"], [...path, "nat", "one-to-one"]),
  portForward: located(settings.nat?.["port-forward"], [...path, "nat", "port-forward"]),
  mssClamp: located<number | "pmtu" | { readonly out?: string; readonly mss: number | "pmtu" }>(
    settings["mss-clamp"],
    [...path, "mss-clamp"]
  ).map((item) => ({ path: item.path, value: typeof item.value === "object" ? item.value : { mss: item.value } }))
})

/** Everything that is not wiring. Of `host`: what the node or its groups say. */
export type Merged = Omit<Node, "ports" | "loopback" | "anycast" | "name" | "path">

export interface Inheritance {
  /** Merged settings of one node; `undefined` (and a diagnostic) when it has no kind or its group is wrong. */
  readonly merge: (name: string, node: RawNode) => Merged | undefined
}

export interface InheritanceOptions {
  readonly defaults: Defaults
  /** `undefined` for a group that could not be decoded. */
  readonly groups: ReadonlyMap<string, Group | undefined>
  /** Do not complain about unknown groups: the list of groups itself could not be read. */
  readonly lenient: boolean
  readonly reporter: Reporter
}

/** Of groups that extend each other. */
const longestChain = 32

/** Reads `defaults` and all groups at once; `merge` then answers for each node. */
export const inheritance = ({ defaults, groups, lenient, reporter }: InheritanceOptions): Inheritance => {
  const general = readLayer(defaults, ["defaults"], reporter)
  const ofKind: Record<NodeKind, Layer> = {
    host: readLayer(defaults.host ?? {}, ["defaults", "host"], reporter),
    router: readLayer(defaults.router ?? {}, ["defaults", "router"], reporter),
    container: readLayer(defaults.container ?? {}, ["defaults", "container"], reporter)
  }
  const layers = new Map<string, Layer>()
  for (const [name, group] of groups) if (group !== undefined) layers.set(name, readLayer(group, ["groups", name], reporter))

  const chains = new Map<string, ReadonlyArray<string> | undefined>()
  /** The group and its bases, the most general first; `undefined` when one of them is unknown, wrong or in a cycle. */
  const chain = (name: string, via: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (!chains.has(name)) chains.set(name, findChain(name, via))
    return chains.get(name)
  }
  const findChain = (name: string, via: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    const group = groups.get(name)
    if (group?.group === undefined) return group && [name]
    const path = ["groups", name, "group"]
    if (!known(group.group, path)) return undefined
    const below = [...via, name]
    const circle = below.indexOf(group.group)
    if (circle >= 0) {
      reporter.error(path, `groups extend each other in a circle: ${[...below.slice(circle), group.group].join(" -> ")}`)
      return undefined
    }
    if (below.length >= longestChain) {
      reporter.error(path, `groups extend each other more than ${longestChain} deep`)
      return undefined
    }
    const bases = chain(group.group, below)
    return bases && [...bases, name]
  }
  const known = (name: string, path: Path): boolean => {
    if (groups.has(name)) return true
    if (!lenient) reporter.error(path, `there is no group ${quote(name)}`, { meant: { word: name, among: groups.keys() } })
    return false
  }
  for (const name of groups.keys()) chain(name, [])

  /** What a container runs and whether it forwards; "wrong" after a diagnostic. */
  const containerOf = (name: string, node: RawNode, inherited: ReadonlyArray<string>) => {
    const path = ["nodes", name]
    const layers: ReadonlyArray<ContainerLayer> = [
      { raw: defaults.container ?? {}, path: ["defaults", "container"] },
      ...inherited.map((group) => ({ raw: groups.get(group)!, path: ["groups", group] })),
      { raw: node, path }
    ]
    const container = readContainer(layers, node, path, reporter)
    return container === undefined ? "wrong" : { container, role: roleOf(layers) }
  }

  const merge: Inheritance["merge"] = (name, node) => {
    const path = ["nodes", name]
    if (node.group !== undefined && !known(node.group, [...path, "group"])) return undefined
    const inherited = node.group === undefined ? [] : chain(node.group, [])
    if (inherited === undefined) return undefined
    const kind = node.kind ?? inherited.map((group) => groups.get(group)?.kind).findLast((k) => k !== undefined) ?? defaults.kind
    const own = readLayer(node, path, reporter)
    if (kind === undefined) {
      reporter.error(path, "the node has no kind: write kind: host, kind: router or kind: container", { at: "key" })
      return undefined
    }
    const container = kind === "container" ? containerOf(name, node, inherited) : undefined
    if (container === "wrong") return undefined
    if (kind !== "container") refuseContainerKeys(node, kind, path, reporter)
    const role = container?.role ?? (kind === "router" ? "router" : "host")
    if (role === "router" && own.gateway !== undefined) {
      const message = "a router has no gateway: write routes: [{to: default, via: ...}]"
      reporter.error([...path, "gateway"], message, { at: "key" })
      return undefined
    }
    const bgp = readBgp([
      { raw: defaults.bgp, path: ["defaults", "bgp"] },
      { raw: defaults[kind]?.bgp, path: ["defaults", kind, "bgp"] },
      ...inherited.map((group) => ({ raw: groups.get(group)!.bgp, path: ["groups", group, "bgp"] })),
      { raw: node.bgp, path: [...path, "bgp"] }
    ], kind, reporter)
    const stack = [general, ofKind[kind], ...inherited.map((group) => layers.get(group)!), own]
    const placing = node.host === undefined ? inherited.findLast((group) => groups.get(group)?.host !== undefined) : undefined
    const host = node.host ?? (placing === undefined ? undefined : groups.get(placing)!.host!)
    const hostPath = placing === undefined ? [...path, "host"] : ["groups", placing, "host"]
    return {
      kind,
      role,
      ...(container === undefined ? {} : { container: container.container }),
      ...(node.group === undefined ? {} : { group: node.group }),
      ...(host === undefined ? {} : { host: { value: host, path: hostPath } }),
      ...(bgp === undefined ? {} : { bgp }),
      ...mergeLayers(stack, role)
    }
  }
  return { merge }
}

const mergeLayers = (stack: ReadonlyArray<Layer>, role: Node["role"]) => {
  const nearest = <K extends keyof Layer>(key: K): Layer[K] | undefined =>
    stack.findLast((layer) => layer[key] !== undefined)?.[key]
  const sysctls = new Map<string, Located<string>>()
  for (const layer of stack) for (const [key, value] of layer.sysctls) sysctls.set(key, value)
  const servers = nearest("dnsServers")
  const search = nearest("dnsSearch")
  const dns = { servers: servers?.value ?? [], search: search?.value ?? [] }
  const dnsPath = (servers ?? search)?.path
  const mtu = nearest("mtu")
  const firewall = joinFirewalls(stack.map((layer) => layer.firewall))
  // A gateway inherited from a template that hosts and routers share means the hosts.
  const gateway = role === "router" ? undefined : nearest("gateway")
  return {
    labels: Object.assign({}, ...stack.map((layer) => layer.labels)) as Readonly<Record<string, string>>,
    sysctls,
    exec: stack.flatMap((layer) => layer.exec),
    routes: stack.flatMap((layer) => layer.routes),
    rules: stack.flatMap((layer) => layer.rules),
    nat: {
      masquerade: stack.flatMap((layer) => layer.nat.masquerade),
      oneToOne: stack.flatMap((layer) => layer.nat.oneToOne),
      portForward: stack.flatMap((layer) => layer.nat.portForward),
      mssClamp: stack.flatMap((layer) => layer.nat.mssClamp)
    },
    ...(firewall === undefined ? {} : { firewall }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(dnsPath === undefined ? {} : { dns: { value: dns, path: dnsPath } }),
    ...(gateway === undefined ? {} : { gateway: gateway.value })
  }
}
