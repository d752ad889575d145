/**
 * Finding nodes by the names that people type: `NODE` where one lab has it, `LAB/NODE` always. Labs are those of this host
 * alone, or those that many hosts share: then nodes say where they are.
 */
import * as Netns from "../linux/netns.ts"
import type { Plan } from "../plan/resource.ts"
import { closest } from "../topology/diagnostic.ts"

/** What is needed of a lab: both `LabEntry` and `FleetLab` have it. */
export interface NamedLab {
  readonly name: string
  readonly plan: Plan
}

export interface FoundNode {
  readonly lab: string
  readonly node: string
  readonly netnsPath: string
  readonly etcDir: string
  /** Its commands run in a container. */
  readonly container?: boolean
  /** The other host that has it; absent: this one. */
  readonly host?: string
}

export type NotFound = { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

const found = ({ name: lab, plan }: NamedLab, node: string, here: string | undefined): FoundNode => {
  const name = Netns.nodeName(lab, node)
  const info = plan.nodes.find((one) => one.name === node)
  const host = here === undefined ? undefined : info?.host
  const container = info?.kind === "container" ? { container: true } : {}
  const elsewhere = host === undefined || host === here ? {} : { host }
  return { lab, node, netnsPath: Netns.path(name), etcDir: Netns.etcPath(name), ...container, ...elsewhere }
}

const has = (lab: NamedLab, node: string): boolean => lab.plan.nodes.some((info) => info.name === node)

const withSuggestion = (error: string, word: string, candidates: ReadonlyArray<string>): NotFound => {
  const suggestion = closest(word, candidates)
  return suggestion === undefined ? { error } : { error, suggestion }
}

/**
 * The node called `name`, or why there is none.
 *
 * @param here name of this host; undefined: it has all nodes, whatever they say
 */
export const findNode = (labs: ReadonlyArray<NamedLab>, name: string, here?: string): FoundNode | NotFound => {
  const slash = name.indexOf("/")
  if (slash >= 0) return findInLab(labs, name.slice(0, slash), name.slice(slash + 1), here)
  const holders = labs.filter((entry) => has(entry, name))
  if (holders.length === 1) return found(holders[0]!, name, here)
  if (holders.length > 1) {
    const names = holders.map((entry) => `${entry.name}/${name}`).join(", ")
    return { error: `"${name}" is a node of several labs: say which (${names})`, ambiguous: true }
  }
  if (labs.length === 0) return { error: `No node "${name}": no lab is deployed` }
  const nodes = labs.flatMap((entry) => entry.plan.nodes.map((info) => info.name))
  return withSuggestion(`No node "${name}" in ${labs.map((entry) => entry.name).join(", ")}`, name, nodes)
}

const findInLab = (labs: ReadonlyArray<NamedLab>, lab: string, node: string, here: string | undefined): FoundNode | NotFound => {
  const entry = labs.find((one) => one.name === lab)
  if (entry === undefined) return withSuggestion(`No lab "${lab}"`, lab, labs.map((one) => one.name))
  if (has(entry, node)) return found(entry, node, here)
  return withSuggestion(`No node "${node}" in lab "${lab}"`, node, entry.plan.nodes.map((info) => info.name))
}

/** The only node of a lab that has this address; undefined: none, or several. */
export const nodeWithAddress = ({ plan }: NamedLab, address: string): string | undefined => {
  const nodes = new Set(
    plan.resources.flatMap(({ kind, spec }) => (kind === "address" && spec.address.split("/")[0] === address ? [spec.node] : []))
  )
  return nodes.size === 1 ? [...nodes][0] : undefined
}

export interface ReachableNode {
  readonly name: string
  readonly netnsPath: string
  /** Without prefix lengths; loopback's first, then the ports' in order. */
  readonly addresses: ReadonlyArray<string>
  /** The other host that has it; absent: this one. */
  readonly host?: string
}

/** Nodes that do not forward packets: hosts, and containers that are like them. */
const endsOf = ({ plan }: NamedLab): ReadonlyArray<string> => {
  const forwarding = new Set(plan.resources.flatMap(({ kind, spec }) => (kind === "node" && spec.nodeKind === "router" ? [spec.node] : [])))
  return plan.nodes.filter(({ kind, name }) => kind !== "router" && !forwarding.has(name)).map(({ name }) => name)
}

/** The nodes named, or all that do not forward packets, with their addresses; `missing` says what does not exist. */
export const reachableNodes = (
  entry: NamedLab,
  names: ReadonlyArray<string>,
  here?: string
): ReadonlyArray<ReachableNode> | { readonly missing: string } => {
  const unknown = names.find((name) => !has(entry, name))
  if (unknown !== undefined) {
    const lost = findInLab([entry], entry.name, unknown, here) as NotFound
    return { missing: lost.suggestion === undefined ? lost.error : `${lost.error} (did you mean "${lost.suggestion}"?)` }
  }
  const wanted = names.length > 0 ? names : endsOf(entry)
  const addresses = new Map<string, string[]>(wanted.map((name) => [name, []]))
  for (const resource of entry.plan.resources) {
    if (resource.kind === "address") addresses.get(resource.spec.node)?.push(resource.spec.address.split("/")[0]!)
  }
  return wanted.map((name) => {
    const { host, netnsPath } = found(entry, name, here)
    return { name, netnsPath, addresses: addresses.get(name)!, ...(host === undefined ? {} : { host }) }
  })
}
