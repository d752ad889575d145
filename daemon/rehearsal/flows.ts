/** The flows of a rehearsal: the file's entries, each of which may stand for many -> `Flow`s that live from step to step. Pure. */
import { isIP } from "node:net"
import { chosen, legible, type Nodes as NodesSpec, placeOf, referencesOf } from "../checks/parts.ts"
import type { Plan } from "../plan/resource.ts"
import { terms, wrongOption } from "../probes/protocols.ts"
import { type Path, quote, type Reporter } from "../topology/diagnostic.ts"
import { decoder } from "../topology/explain.ts"
import { parseDuration, parseRate, parseSpan } from "../topology/units.ts"
import { type Flow, firstRollBack, type Step } from "./model.ts"
import { type FlowBudget, type FlowOptions, FlowSpec, PairsSpec } from "./schema.ts"
import { type Nodes, nodesIn, nodesInAny } from "./versions.ts"

/** What one call of probes takes. */
const mostFlows = 1000

const decodeFlow = decoder(FlowSpec)
const decodePairs = decoder(PairsSpec)

export interface ReadingFlows {
  /** What the lab is after each step; undefined: that is not known. */
  readonly plans: ReadonlyArray<Plan | undefined>
  readonly steps: ReadonlyArray<Step>
  readonly reporter: Reporter
}

export interface FlowsRead {
  readonly flows: ReadonlyArray<Flow>
  /** Budgets of entries, and the flows that they are of. */
  readonly specs: ReadonlyArray<{ readonly path: Path; readonly spec: FlowBudget; readonly flows: ReadonlyArray<number> }>
}

interface Entry {
  readonly path: Path
  readonly options: FlowOptions
  readonly pairs: ReadonlyArray<Pair>
}

type Pair = readonly [from: string, to: string]

export const readFlows = (values: ReadonlyArray<unknown>, reading: ReadingFlows): FlowsRead => {
  const { reporter } = reading
  const flows: Array<Flow> = []
  const specs: Array<FlowsRead["specs"][number]> = []
  const titles = new Set<string>()
  for (const [index, value] of values.entries()) {
    const entry = readEntry(value, ["flows", index], reading)
    if (entry === undefined) continue
    const first = flows.length
    for (const pair of entry.pairs) {
      const flow = flowOf(pair, entry, reading)
      if (flow === undefined) break
      const title = unique(flow.title, entry, { reporter, titles })
      flows.push({ ...flow, title })
    }
    const { budget } = entry.options
    const made = Array.from({ length: flows.length - first }, (_, each) => first + each)
    if (budget !== undefined) specs.push({ path: [...entry.path, "budget"], spec: budget, flows: made })
  }
  if (flows.length > mostFlows) reporter.error(["flows"], `are ${flows.length} flows: at most ${mostFlows} can run at once`)
  return { flows, specs }
}

const unique = (
  title: string, { options, path }: Entry, { reporter, titles }: { readonly reporter: Reporter; readonly titles: Set<string> }
): string => {
  let result = title
  if (titles.has(title) && options.name !== undefined) {
    reporter.error([...path, "name"], `the name ${quote(title)} is taken by another flow`)
  }
  for (let number = 2; titles.has(result); number++) result = `${title} (${number})`
  titles.add(result)
  return result
}

const readEntry = (value: unknown, path: Path, { plans, reporter }: ReadingFlows): Entry | undefined => {
  const known = plans.filter((plan) => plan !== undefined)
  const nodes = nodesInAny(known)
  const isComplete = known.length === plans.length
  const look = (spec: NodesSpec, key: string, what: "node" | "target"): void => {
    if (isComplete) for (const one of referencesOf([...path, key], spec, what)) lookUp(one, nodes, reporter)
  }
  /** An entry that is wrong already: what else is. */
  const inspect = (entry: unknown, keys: Readonly<Record<string, "node" | "target">>): undefined => {
    if (!isComplete || typeof entry !== "object" || entry === null) return
    for (const [key, what] of Object.entries(keys)) {
      const value = (entry as Readonly<Record<string, unknown>>)[key]
      for (const one of legible(value, (spec: NodesSpec) => referencesOf([...path, key], spec, what))) lookUp(one, nodes, reporter)
    }
  }
  const before = reporter.errors
  if (typeof value === "object" && value !== null && "all-pairs" in value) {
    const decoded = decodePairs(value, path, reporter)
    if (decoded === undefined) return inspect(value, { "all-pairs": "node" })
    look(decoded["all-pairs"], "all-pairs", "node")
    const names = chosen(decoded["all-pairs"], { nodes })
    const pairs = pairsOf(names, names, path, reporter)
    checkOptions(decoded, path, reporter)
    if (isComplete && reporter.errors === before && pairs.length === 0) reporter.error([...path, "all-pairs"], "chooses no two nodes")
    return reporter.errors > before ? undefined : { path, options: decoded, pairs }
  }
  const decoded = decodeFlow(value, path, reporter)
  if (decoded === undefined) return inspect(value, { from: "node", to: "target" })
  look(decoded.from, "from", "node")
  look(decoded.to, "to", "target")
  const pairs = pairsOf(chosen(decoded.from, { nodes }), chosen(decoded.to, { nodes }), path, reporter)
  if (isComplete && reporter.errors === before && pairs.length === 0) reporter.error(path, "chooses no node, or only one and the same")
  checkOptions(decoded, path, reporter)
  return reporter.errors > before ? undefined : { path, options: decoded, pairs }
}

/** Each with each, but nobody with itself; none when there would be too many to run. */
const pairsOf = (
  sources: ReadonlyArray<string>, targets: ReadonlyArray<string>, path: Path, reporter: Reporter
): Entry["pairs"] => {
  const most = sources.length * targets.length
  if (most - sources.length <= mostFlows) {
    return sources.flatMap((from) => targets.filter((to) => to !== from).map((to) => [from, to] as const))
  }
  reporter.error(path, `stands for about ${most} flows: at most ${mostFlows} can run at once`)
  return []
}

const lookUp = ({ path, text, what }: ReturnType<typeof referencesOf>[number], nodes: Nodes, reporter: Reporter): void => {
  const all = [...nodes.values()]
  if (what === "group" || what === "label") {
    const words = new Set(what === "group" ? all.map(({ group }) => group).filter((group) => group !== "")
      : all.flatMap(({ labels }) => Object.entries(labels).map(([key, value]) => `${key}=${value}`)))
    if (!words.has(text)) reporter.error(path, `no node has the ${what} ${quote(text)}`, { meant: { word: text, among: words } })
    return
  }
  if (what === "target" && isIP(text) !== 0) return
  const [name = "", ifname] = what === "target" ? text.split(":") : [text]
  const node = nodes.get(name)
  if (node === undefined) return reporter.error(path, `no node ${quote(name)}`, { meant: { word: name, among: nodes.keys() } })
  const ports = node.addresses.map((one) => one.ifname)
  if (ifname !== undefined && !ports.includes(ifname)) {
    reporter.error(path, `node ${quote(name)} has no port ${quote(ifname)} with an address`, { meant: { word: ifname, among: ports } })
  }
}

/** What a protocol cannot do. */
const checkOptions = (options: FlowOptions, path: Path, reporter: Reporter): void => {
  const { protocol = "udp", spacing } = options
  const { leastSpacingMs } = terms[protocol]
  if (spacing !== undefined && parseDuration(spacing)! < leastSpacingMs) {
    reporter.error([...path, "spacing"], `is too short for ${protocol}: ${leastSpacingMs}ms at least`)
  }
  const only: Readonly<Record<string, ReadonlyArray<string>>> = {
    path: ["http"], host: ["http"], expect: ["http", "dns"], query: ["dns"], type: ["dns"], rate: ["throughput"]
  }
  for (const [key, those] of Object.entries(only)) {
    if (options[key as keyof FlowOptions] !== undefined && !those.includes(protocol)) {
      reporter.error([...path, key], `is for ${those.join(" and ")}, and this flow is ${protocol}`, { at: "key" })
    }
  }
  const wrong = wrongOption(protocol, options)
  if (wrong !== undefined) reporter.error([...path, wrong.key], wrong.why)
  if (protocol === "dns" && options.query === undefined) reporter.error(path, 'a flow of DNS needs "query", the name to ask for')
}

const flowOf = ([from, to]: Pair, entry: Entry, reading: ReadingFlows): Flow | undefined => {
  const { "answered-by": answeredBy, expect, host, ipv6 = false, name, path, payload = 0, port, protocol = "udp", query, rate, spacing,
    timeout, type } = entry.options
  const life = lifeOf([from, to], entry, reading)
  if (life === undefined) return undefined
  const ends = `${from} -> ${to}`
  return {
    title: name === undefined ? `${ends} ${protocol}` : entry.pairs.length === 1 ? name : `${name} ${ends}`,
    from, to: life.target, protocol, ipv6, payload,
    spacingMs: spacing === undefined ? terms[protocol].spacingMs : parseDuration(spacing)!,
    timeoutMs: timeout === undefined ? 0 : parseSpan(timeout)!,
    ...(port === undefined ? {} : { port }), ...(path === undefined ? {} : { path }), ...(host === undefined ? {} : { host }),
    ...(expect === undefined ? {} : { expect }), ...(query === undefined ? {} : { name: query }), ...(type === undefined ? {} : { type }),
    ...(rate === undefined ? {} : { rate: parseRate(rate)! }), ...(answeredBy === undefined ? {} : { answeredBy }),
    fromStep: life.fromStep, afterAction: life.afterAction, ...(life.untilStep === undefined ? {} : { untilStep: life.untilStep })
  }
}

interface Life extends Pick<Flow, "fromStep" | "afterAction" | "untilStep"> {
  /** The node, or the address of its port. */
  readonly target: string
}

/** From when to when a flow can be, and is to be. Undefined: it cannot, and that was told. */
const lifeOf = ([from, to]: Pair, { options, path }: Entry, { plans, reporter, steps }: ReadingFlows): Life | undefined => {
  const [target = "", ifname] = isIP(to) === 0 ? to.split(":") : []
  const needed = [from, ...(target === "" ? [] : [target]), ...(options["answered-by"] === undefined ? [] : [options["answered-by"]])]
  const last = firstRollBack({ steps })
  const known = plans.slice(0, last)
  const missing = (plan: Plan | undefined): string | undefined =>
    plan === undefined ? undefined : needed.find((name) => !nodesIn(plan).has(name))
  const begin = stepNamed("from-step", options, path, { reporter, steps })
  const end = stepNamed("until-step", options, path, { reporter, steps })
  if (begin === "wrong" || end === "wrong") return undefined
  const there = known.findIndex((plan) => missing(plan) === undefined)
  if (there < 0) {
    const name = missing(known[0])!
    reporter.error(path, `its nodes are never there at once: ${quote(name)} is not in the lab at first`)
    return undefined
  }
  const fromStep = begin ?? there
  const untilStep = end ?? last
  if (untilStep <= fromStep) {
    reporter.error([...path, "until-step"], "it would end before it begins")
    return undefined
  }
  for (let step = fromStep; step < untilStep; step++) {
    const name = missing(known[step])
    if (name === undefined) continue
    const what = step === fromStep ? `is not there at step ${quote(steps[step]!.name)}`
      : `goes with step ${quote(steps[step]!.name)}: end the flow before, with until-step`
    reporter.error(path, `node ${quote(name)} ${what}`)
    return undefined
  }
  const afterAction = fromStep > 0 && missing(known[fromStep - 1]) !== undefined
  const plan = known[fromStep]
  return { fromStep, afterAction, ...(end === undefined ? {} : { untilStep: end }), target: ifname === undefined || plan === undefined ? to
    : addressIn(plan, to, options.ipv6 === true) }
}

const addressIn = (plan: Plan, target: string, ipv6: boolean): string => {
  try {
    return placeOf(target, { nodes: nodesIn(plan) }, ipv6).address
  } catch {
    return target
  }
}

const stepNamed = (
  key: "from-step" | "until-step", options: FlowOptions, path: Path, { reporter, steps }: Pick<ReadingFlows, "reporter" | "steps">
): number | undefined | "wrong" => {
  const name = options[key]
  if (name === undefined) return undefined
  const found = steps.findIndex((step) => step.name === name && step.role === "step")
  if (found >= 0) return found
  const names = steps.filter(({ role }) => role === "step").map((step) => step.name)
  reporter.error([...path, key], `no step has the name ${quote(name)}`, { meant: { word: name, among: names } })
  return "wrong"
}
