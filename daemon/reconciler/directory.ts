/** Finding nodes by the names that people type: `NODE` where one lab has it, `LAB/NODE` always. */
import * as Netns from "../linux/netns.ts"
import type { LabEntry } from "../store/store.ts"
import { closest } from "../topology/diagnostic.ts"

export interface FoundNode {
  readonly lab: string
  readonly node: string
  readonly netnsPath: string
  readonly etcDir: string
}

export type NotFound = { readonly error: string; readonly suggestion?: string; readonly ambiguous?: boolean }

const found = (lab: string, node: string): FoundNode => {
  const name = Netns.nodeName(lab, node)
  return { lab, node, netnsPath: Netns.path(name), etcDir: Netns.etcPath(name) }
}

const has = (entry: LabEntry, node: string): boolean => entry.plan.nodes.some((info) => info.name === node)

const withSuggestion = (error: string, word: string, candidates: ReadonlyArray<string>): NotFound => {
  const suggestion = closest(word, candidates)
  return suggestion === undefined ? { error } : { error, suggestion }
}

/** The node called `name`, or why there is none. */
export const findNode = (labs: ReadonlyArray<LabEntry>, name: string): FoundNode | NotFound => {
  const slash = name.indexOf("/")
  if (slash >= 0) return findInLab(labs, name.slice(0, slash), name.slice(slash + 1))
  const holders = labs.filter((entry) => has(entry, name))
  if (holders.length === 1) return found(holders[0]!.name, name)
  if (holders.length > 1) {
    const names = holders.map((entry) => `${entry.name}/${name}`).join(", ")
    return { error: `"${name}" is a node of several labs: say which (${names})`, ambiguous: true }
  }
  if (labs.length === 0) return { error: `No node "${name}": no lab is deployed` }
  const nodes = labs.flatMap((entry) => entry.plan.nodes.map((info) => info.name))
  return withSuggestion(`No node "${name}" in ${labs.map((entry) => entry.name).join(", ")}`, name, nodes)
}

const findInLab = (labs: ReadonlyArray<LabEntry>, lab: string, node: string): FoundNode | NotFound => {
  const entry = labs.find((one) => one.name === lab)
  if (entry === undefined) return withSuggestion(`No lab "${lab}"`, lab, labs.map((one) => one.name))
  if (has(entry, node)) return found(lab, node)
  return withSuggestion(`No node "${node}" in lab "${lab}"`, node, entry.plan.nodes.map((info) => info.name))
}

export interface ReachableNode {
  readonly name: string
  readonly netnsPath: string
  /** Without prefix lengths; loopback's first, then the ports' in order. */
  readonly addresses: ReadonlyArray<string>
}

/** The nodes named, or all of kind host, with their addresses; `missing` says what does not exist. */
export const reachableNodes = (
  entry: LabEntry,
  names: ReadonlyArray<string>
): ReadonlyArray<ReachableNode> | { readonly missing: string } => {
  const unknown = names.find((name) => !has(entry, name))
  if (unknown !== undefined) {
    const lost = findInLab([entry], entry.name, unknown) as NotFound
    return { missing: lost.suggestion === undefined ? lost.error : `${lost.error} (did you mean "${lost.suggestion}"?)` }
  }
  const wanted = names.length > 0 ? names : entry.plan.nodes.filter((info) => info.kind === "host").map((info) => info.name)
  const addresses = new Map<string, string[]>(wanted.map((name) => [name, []]))
  for (const resource of entry.plan.resources) {
    if (resource.kind === "address") addresses.get(resource.spec.node)?.push(resource.spec.address.split("/")[0]!)
  }
  return wanted.map((name) => ({ name, netnsPath: found(entry.name, name).netnsPath, addresses: addresses.get(name)! }))
}
