/**
 * Which host has which node of a lab.
 *
 * Wishes in this order: a node is where the topology pins it; else it stays where it is, unless that host can have no
 * nodes any more, or has far too many; else hosts get nodes by their capacity, and among all such divisions one is chosen
 * that few links and networks cross (`place-partition.ts`). A pin that goes leaves the node where it is.
 *
 * Pure, and the same for the same input in any order of hosts. Parts that look alike go to hosts in an order that follows
 * from the names of lab and hosts, so that many small labs do not all begin on the same one.
 */
import { hash } from "node:crypto"
import type { NodeInfo, Plan } from "../plan/resource.ts"
import { closest, type Diagnostic, quote } from "../topology/diagnostic.ts"
import { partition } from "./place-partition.ts"
import type { Problem } from "./place-start.ts"

export interface PlaceableHost {
  readonly name: string
  /** How much it takes beside others. */
  readonly capacity: number
  readonly alive: boolean
  readonly drained: boolean
  readonly labels: Readonly<Record<string, string>>
}

export type Placement =
  /** Every node of the plan has its host. Notes: what a person may want to know, one line each. */
  | { readonly ok: true; readonly plan: Plan; readonly notes: ReadonlyArray<string> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

/**
 * `plan`: as it was compiled, or placed before: only `pinned` makes a node's `host` binding. `previous`: node -> host,
 * where the lab's nodes are now. `filename`: for messages.
 */
export const place = (
  plan: Plan,
  hosts: ReadonlyArray<PlaceableHost>,
  previous: ReadonlyMap<string, string>,
  filename = "topology"
): Placement => {
  const diagnostics = plan.nodes.flatMap((node) => pinProblem(node, hosts, filename) ?? [])
  const usable = inTurn(plan.lab, hosts.filter(({ alive, drained }) => alive && !drained))
  if (usable.length === 0) return { ok: false, diagnostics: [noHost(hosts, filename)] }
  if (diagnostics.length > 0) return { ok: false, diagnostics }

  const part = new Map(usable.map(({ name }, index) => [name, index]))
  const before = (node: NodeInfo): string | undefined => previous.get(node.name) ?? (node.pinned === undefined ? node.host : undefined)
  const pins = plan.nodes.map((node) => (node.pinned === undefined ? -1 : part.get(node.host!)!))
  const stays = plan.nodes.map((node, index) => (pins[index]! >= 0 ? pins[index]! : part.get(before(node) ?? "") ?? -1))
  const fixed = withoutExcess(stays, pins, usable)
  const partOf = partition({ size: plan.nodes.length, nets: netsOf(plan), fixed, ...sizes(fixed, usable) })
  const nodes = plan.nodes.map((node, index): NodeInfo => ({ ...node, host: usable[partOf[index]!]!.name }))
  const placed = { ...plan, nodes }
  return { ok: true, plan: placed, notes: [...moves(plan.nodes, placed, before, hosts), spread(placed)] }
}

const pinProblem = (node: NodeInfo, hosts: ReadonlyArray<PlaceableHost>, filename: string): Diagnostic | undefined => {
  if (node.pinned === undefined || node.host === undefined) return undefined
  const host = hosts.find(({ name }) => name === node.host)
  if (host?.alive === true && !host.drained) return undefined
  const names = hosts.map(({ name }) => name).sort()
  const suggestion = host === undefined ? closest(node.host, names) : undefined
  const known = names.length === 0 ? "" : `: hosts are ${names.join(", ")}`
  const message =
    host === undefined
      ? `node ${quote(node.name)}: there is no host ${quote(node.host)}${suggestion === undefined ? known : ""}`
      : host.alive
        ? `node ${quote(node.name)} is wanted on host ${quote(host.name)}, which is drained: name another one, or undo the drain`
        : `node ${quote(node.name)} is wanted on host ${quote(host.name)}, which is lost: start its weftd, or name another one`
  return { severity: "error", filename, ...node.pinned, message, ...(suggestion === undefined ? {} : { suggestion }) }
}

const noHost = (hosts: ReadonlyArray<PlaceableHost>, filename: string): Diagnostic => {
  const states = hosts.map(({ alive, drained, name }) => `${name} is ${alive ? (drained ? "drained" : "ready") : "lost"}`).sort()
  const why = states.length === 0 ? "none has registered" : states.join(", ")
  return { severity: "error", filename, line: 1, column: 1, path: "", message: `there is no host to place nodes on: ${why}` }
}

const inTurn = (lab: string, hosts: ReadonlyArray<PlaceableHost>): ReadonlyArray<PlaceableHost> => {
  const turn = new Map(hosts.map(({ name }) => [name, hash("sha256", `place\0${lab}\0${name}`)]))
  return hosts.toSorted((a, b) => (turn.get(a.name)! < turn.get(b.name)! ? -1 : 1))
}

/** Nodes that share a link or network. */
const netsOf = ({ nodes, segments }: Plan): ReadonlyArray<ReadonlyArray<number>> => {
  const index = new Map(nodes.map(({ name }, at) => [name, at]))
  return segments.map(({ ports }) => [...new Set(ports.map((port) => index.get(nodeOf(port))!))]).filter((net) => net.length > 1)
}

const nodeOf = (port: string): string => port.slice(0, port.indexOf(":"))

/**
 * How many nodes each host should have: by capacity, where those that cannot leave are more than that, exactly those.
 */
const sharesOf = (kept: ReadonlyArray<number>, size: number, hosts: ReadonlyArray<PlaceableHost>): ReadonlyArray<number> => {
  const isAble = hosts.some(({ capacity }) => capacity > 0)
  const weights = hosts.map(({ capacity }) => (isAble ? Math.max(0, capacity) : 1))
  const isFull = hosts.map(() => false)
  for (;;) {
    const open = hosts.map((_, i) => i).filter((i) => !isFull[i])
    const left = size - kept.reduce((sum, count, i) => (isFull[i] ? sum + count : sum), 0)
    const weight = open.reduce((sum, i) => sum + weights[i]!, 0)
    const shares = kept.map((count, i) => (isFull[i] ? count : weight === 0 ? left / open.length : (left * weights[i]!) / weight))
    const over = open.filter((i) => kept[i]! > shares[i]!)
    if (over.length === 0) return shares
    for (const i of over) isFull[i] = true
  }
}

/** From here on a tenth of a host's share may be more or less, or one node. */
const leastForSlack = 4

/** With room to choose: a tenth of the share or one node, but not where one node is much. */
const sizes = (fixed: Int32Array, hosts: ReadonlyArray<PlaceableHost>): Pick<Problem, "shares" | "least" | "most"> => {
  const kept = countsOf(fixed, hosts.length)
  const shares = sharesOf(kept, fixed.length, hosts)
  const slack = shares.map((share, i) => (share === kept[i] || share < leastForSlack ? 0 : Math.max(1, share / 10)))
  return {
    shares,
    least: shares.map((share, i) => Math.floor(share < leastForSlack ? share + 1e-9 : Math.ceil(share - slack[i]! - 1e-9))),
    most: shares.map((share, i) => Math.ceil(share < leastForSlack ? share - 1e-9 : Math.floor(share + slack[i]! + 1e-9)))
  }
}

const countsOf = (partOf: Iterable<number>, parts: number): ReadonlyArray<number> => {
  const counts = Array.from({ length: parts }, () => 0)
  for (const part of partOf) if (part >= 0) counts[part]!++
  return counts
}

/** Frees the nodes of hosts that have more than twice their share: one that comes back to a full lab gets its part again. */
const withoutExcess = (stays: ReadonlyArray<number>, pins: ReadonlyArray<number>, hosts: ReadonlyArray<PlaceableHost>): Int32Array => {
  const counts = countsOf(stays, hosts.length)
  const shares = sharesOf(countsOf(pins, hosts.length), stays.length, hosts)
  return Int32Array.from(stays, (part, index) => (part >= 0 && pins[index]! < 0 && counts[part]! > 2 * shares[part]! + 1 ? -1 : part))
}

const several = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

const mostNamed = 8

/** Who moves, and from where. */
const moves = (
  old: ReadonlyArray<NodeInfo>,
  { nodes }: Plan,
  before: (node: NodeInfo) => string | undefined,
  hosts: ReadonlyArray<PlaceableHost>
): ReadonlyArray<string> => {
  const leaving = new Map<string, string[]>()
  nodes.forEach(({ host, name, pinned }, index) => {
    const from = before(old[index]!)
    if (from === undefined || from === host) return
    const state = hosts.find((one) => one.name === from)
    const why = state === undefined ? " is not there any more" : !state.alive ? " is lost" : state.drained ? " is drained" : ""
    const reason = pinned !== undefined ? "the topology says so" : why === "" ? `${from} has too many` : `${from}${why}`
    const title = `from ${from}: ${reason}`
    leaving.set(title, [...(leaving.get(title) ?? []), `${name} to ${host}`])
  })
  return Array.from(leaving, ([title, names]) => {
    const rest = names.length > mostNamed ? `, and ${names.length - mostNamed} more` : ""
    const verb = names.length === 1 ? "moves" : "move"
    return `${several(names.length, "node")} ${verb} ${title} (${names.slice(0, mostNamed).join(", ")}${rest})`
  })
}

const spread = ({ nodes, segments }: Plan): string => {
  const hostOf = new Map(nodes.map(({ host, name }) => [name, host]))
  const used = new Set(hostOf.values())
  if (used.size <= 1) return nodes.length === 0 ? "there are no nodes to place" : `all on host ${nodes[0]!.host}`
  const crossing = (kind: "p2p" | "network"): readonly [crossing: number, all: number] => {
    const some = segments.filter((segment) => segment.kind === kind)
    return [some.filter(({ ports }) => new Set(ports.map((port) => hostOf.get(nodeOf(port)))).size > 1).length, some.length]
  }
  const words = ([["p2p", "link"], ["network", "network"]] as const).flatMap(([kind, noun]) => {
    const [count, all] = crossing(kind)
    return all === 0 ? [] : [`${count} of ${several(all, noun)} ${count === 1 ? "crosses" : "cross"}`]
  })
  return [`spread over ${used.size} hosts`, words.join(", ")].filter((text) => text !== "").join(": ")
}
