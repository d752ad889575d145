/**
 * The last part of a deploy: waiting until the BGP sessions of a lab are up and its routes are in the kernel, so that what is
 * tried right afterwards works. Sessions with what is outside of the lab are not waited for, and nothing is for ever: what
 * is not up in time is told, and the lab is ready all the same.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Routing } from "../bgp/routing.ts"
import type { MissingSession, Settled } from "../bgp/view/view.ts"
import type { BgpNeighborSpec } from "../plan/bgp.ts"
import type { LinkProfile } from "../plan/link-profile.ts"
import type { Plan, SegmentSpec } from "../plan/resource.ts"
import * as Ip from "../wire/ip.ts"
import { covers } from "../wire/prefix.ts"

/** How long sessions between nodes of the lab may take. */
const patienceMs = 30_000
/** How long a neighbour may take to say that it has told everything; some never say it. */
const tellingMs = 3000
/** How long routes may take, once everything has been told. */
const workMs = 120_000
/** How often it is looked, at first and in the long run: the thread that answers has better things to do. */
const pollMs = 30
const longestPollMs = 1000
/** After how long, and how often then, it is said what is waited for. */
const firstNoteMs = 2000
const everyMs = 5000

export interface SessionsWatch {
  readonly note: (message: string) => void
  /** True: whoever waits has gone, or the daemon ends. */
  readonly isOver: () => boolean
}

/**
 * Sessions that can come up: both ends are speakers of ours and neither is shut down, or the other is a node with a speaker of
 * its own, a container most likely. What is outside of the lab is not there, nor what is behind a link that passes nothing.
 */
export const waitedFor = (plan: Plan): ((session: MissingSession) => boolean) => {
  const specs = plan.resources.flatMap((resource) => (resource.kind === "bgp" ? [resource.spec] : []))
  const ours = new Set(specs.map(({ node }) => node))
  const present = new Set(plan.resources.flatMap(({ kind, spec }) => (kind === "node" && spec.paused !== true ? [spec.node] : [])))
  const others = new Set(plan.nodes.map(({ name }) => name).filter((name) => !ours.has(name)))
  // A fault took the node at the other end away, or has it stand still.
  const isSilent = ({ description = "" }: BgpNeighborSpec): boolean =>
    (ours.has(description) || others.has(description)) && !present.has(description)
  const isCut = cutOff(plan)
  const keys = specs.filter(({ node }) => present.has(node)).flatMap(({ neighbors, node }) =>
    neighbors
      .filter((neighbor) => !isSilent(neighbor))
      .filter((neighbor) => !isCut(node, neighbor))
      .filter(({ description, expected, shutdown }) => expected === true || (!shutdown && others.has(description ?? "")))
      .map(({ name }) => `${node} ${name}`)
  )
  const wanted = new Set(keys)
  return ({ neighbor, node }) => wanted.has(`${node} ${neighbor}`)
}

const passesNothing = ({ down, loss }: LinkProfile): boolean => down === true || (loss?.kind === "random" && loss.probability === 1)

const isCutLink = ({ gates = {}, profiles }: SegmentSpec): boolean =>
  Object.values(gates).some(({ deaf, mute }) => deaf === true || mute === true) ||
  (profiles !== undefined && (passesNothing(profiles.aToB) || passesNothing(profiles.bToA)))

/** Whether a neighbour is next door over a link that the topology has cut. */
const cutOff = ({ resources }: Plan): ((node: string, neighbor: BgpNeighborSpec) => boolean) => {
  const ports = new Set(resources.flatMap(({ kind, spec }) => (kind === "segment" && isCutLink(spec) ? spec.ports : [])))
  if (ports.size === 0) return () => false
  const onThem = resources.flatMap(({ kind, spec }) => {
    if (kind !== "address" || !ports.has(`${spec.node}:${spec.ifname}`)) return []
    const prefix = Ip.parsePrefix(spec.address)
    return prefix === undefined ? [] : [{ node: spec.node, ...prefix }]
  })
  return (node, { remote }) => {
    if (remote.kind === "interface") return ports.has(`${node}:${remote.ifname}`)
    const peer = remote.kind === "address" ? Ip.parse(remote.address) : undefined
    return peer !== undefined && onThem.some((own) => own.node === node && covers(own.address, own.length, peer))
  }
}

const describe = ({ description, neighbor, node, reason, state }: MissingSession): string => {
  const peer = description === "" || description === neighbor ? neighbor : `${description} (${neighbor})`
  return `${node} to ${peer} is ${state}${reason === "" ? "" : `, ${reason}`}`
}

const shownAtMost = 5

const several = (missing: ReadonlyArray<MissingSession>): string => {
  const more = missing.length > shownAtMost ? `; and ${missing.length - shownAtMost} more` : ""
  return `${missing.slice(0, shownAtMost).map(describe).join("; ")}${more}`
}

const ask = async (routing: Routing, lab: string): Promise<Settled | undefined> => {
  const answer = await routing.ask({ kind: "settled", lab })
  return answer.kind === "settled" ? answer : undefined
}

/** Resolves when the plan's speakers have settled, or cannot in time. Never rejects for their sake. */
export const settleSessions = async (routing: Routing, plan: Plan, { isOver, note }: SessionsWatch): Promise<void> => {
  if (!plan.resources.some(({ kind }) => kind === "bgp")) return
  const isInside = waitedFor(plan)
  const began = performance.now()
  const elapsed = (): number => performance.now() - began
  let nextNote = firstNoteMs
  let upMs: number | undefined
  while (!isOver()) {
    const state = await ask(routing, plan.lab).catch(() => undefined)
    if (state === undefined) return
    const waited = state.missing.filter(isInside)
    if (waited.length === 0 || elapsed() > patienceMs) upMs ??= elapsed()
    if (upMs !== undefined && isDone(state, elapsed() - upMs)) {
      const missing = [...waited, ...state.missing.filter((one) => !isInside(one))]
      if (missing.length > 0) note(`BGP: ${missing.length} of ${state.sessions} sessions are not up: ${several(missing)}`)
      return
    }
    if (elapsed() > nextNote) {
      nextNote += everyMs
      const isUp = upMs !== undefined
      note(isUp ? "BGP: sessions are up, routes are still coming" : `BGP: ${state.established} of ${state.sessions} sessions are up`)
    }
    await sleep(Math.min(Math.max(pollMs, elapsed() / 20), longestPollMs))
  }
}

const isDone = ({ incomplete, isBusy }: Settled, sinceUpMs: number): boolean =>
  (!isBusy && (incomplete === 0 || sinceUpMs > tellingMs)) || sinceUpMs > workMs
