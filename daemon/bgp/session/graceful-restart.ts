/**
 * Graceful restart, as bookkeeping: RFC 4724 with RFC 8538 (NOTIFICATIONs are restarts, too) and RFC 9494 (long-lived).
 *
 * Two roles that have nothing to do with each other:
 * - `transition` is what a *receiving* speaker does about one neighbour that went away and promised to come back: which families' routes
 *   stay as stale, for how long, and when they go. It is pure; the session keeps the timers, the RIB marks routes.
 * - `Deferral` is what a *restarting* speaker waits for before it selects routes: the End-of-RIB markers of its neighbours.
 */
import { CeaseError, ErrorCode } from "../../wire/bgp/iana.ts"
import type { Open } from "../../wire/bgp/open.ts"
import { capabilitiesOf } from "./negotiation.ts"

/** How long stale routes may wait for the End-of-RIB of a peer that is back. RFC 4724, 4.2 leaves the length to us. */
export const staleTimeS = 360

/** What a family's routes from the neighbour are. */
export type Phase = "stale" | "longLived"

export interface State {
  /** Families with routes that wait for their renewal. */
  readonly waiting: ReadonlyMap<number, Phase>
  readonly isPeerBack: boolean
  /** As the last session's OPEN said, per family: long-lived stale time. */
  readonly longLivedS: ReadonlyMap<number, number>
}

export type Event =
  /** The session went down; `retained`: what `retainable` says. */
  | { readonly _tag: "Down"; readonly retained: Retained | undefined }
  /** It is up again. */
  | { readonly _tag: "Up"; readonly peerOpen: Open }
  | { readonly _tag: "EndOfRib"; readonly family: number }
  /** The peer has not come back in time. */
  | { readonly _tag: "RestartTimerExpires" }
  /** The peer is back and has not sent all its End-of-RIB markers in time. */
  | { readonly _tag: "StaleTimerExpires" }
  | { readonly _tag: "LongLivedTimerExpires"; readonly family: number }

export type Action =
  | { readonly _tag: "StartRestartTimer"; readonly seconds: number }
  | { readonly _tag: "StartStaleTimer"; readonly seconds: number }
  | { readonly _tag: "StartLongLivedTimer"; readonly family: number; readonly seconds: number }
  /** Of all of this neighbour's. */
  | { readonly _tag: "StopTimers" }
  | { readonly _tag: "Flush"; readonly family: number }
  | { readonly _tag: "LongLived"; readonly family: number }

export type Step = readonly [State, ReadonlyArray<Action>]

export const initial: State = { waiting: new Map(), isPeerBack: false, longLivedS: new Map() }

/** What a neighbour may keep through its restart. */
export interface Retained {
  readonly families: ReadonlyArray<number>
  readonly restartTimeS: number
  readonly longLivedS: ReadonlyMap<number, number>
}

/** How a session ended, as far as this is concerned. */
export type Ending =
  | { readonly _tag: "ConnectionLost" }
  | { readonly _tag: "Notification"; readonly code: number; readonly subcode: number }

/**
 * What stays after this end of a session between our OPEN and theirs; undefined: nothing. Without RFC 8538 on both sides it takes a
 * connection that was lost without a word (RFC 4724, 4.2); with it, any end but a hard reset.
 */
export const retainable = (ours: Open, theirs: Open, ending: Ending): Retained | undefined => {
  const [mine] = capabilitiesOf(ours, "gracefulRestart")
  const peers = capabilitiesOf(theirs, "gracefulRestart")
  // RFC 4724, 3: of several capabilities the last counts.
  const peer = peers[peers.length - 1]
  if (mine === undefined || peer === undefined) return undefined
  if (ending._tag === "Notification") {
    if (!mine.notification || !peer.notification) return undefined
    if (ending.code === ErrorCode.cease && ending.subcode === CeaseError.hardReset) return undefined
  }
  const own = new Set(mine.families.map(({ family }) => family))
  const longLived = capabilitiesOf(ours, "longLivedGracefulRestart").length > 0 ? capabilitiesOf(theirs, "longLivedGracefulRestart") : []
  const longLivedS = new Map(longLived.flatMap(({ families }) => families.map(({ family, staleTimeS }) => [family, staleTimeS] as const)))
  const families = peer.families.map(({ family }) => family).filter((family) => own.has(family))
  return families.length === 0 ? undefined : { families, restartTimeS: peer.restartTimeS, longLivedS }
}

const flush = (families: Iterable<number>): Action[] => Array.from(families, (family) => ({ _tag: "Flush", family }))

const down = (state: State, retained: Retained | undefined): Step => {
  if (retained === undefined) return [initial, [{ _tag: "StopTimers" }]]
  const waiting = new Map<number, Phase>(retained.families.map((family) => [family, "stale"]))
  // RFC 4724, 4.2: stale routes of the session before the last that are still there go now; the RIB has one generation of them.
  const gone = [...state.waiting.keys()]
  return [
    { waiting, isPeerBack: false, longLivedS: retained.longLivedS },
    [{ _tag: "StopTimers" }, ...flush(gone), { _tag: "StartRestartTimer", seconds: retained.restartTimeS }]
  ]
}

/** The phase of a family whose routes cannot stay as ordinary stale ones any more. */
const giveUp = (state: State, families: ReadonlyArray<number>): Step => {
  const waiting = new Map(state.waiting)
  const actions: Action[] = []
  for (const family of families) {
    const seconds = state.longLivedS.get(family) ?? 0
    if (seconds === 0) {
      waiting.delete(family)
      actions.push({ _tag: "Flush", family })
    } else {
      waiting.set(family, "longLived")
      actions.push({ _tag: "LongLived", family }, { _tag: "StartLongLivedTimer", family, seconds })
    }
  }
  return [{ ...state, waiting }, actions]
}

/** RFC 4724, 4.2: what the new OPEN does not confirm goes at once. RFC 9494, 4.3: of long-lived routes its own F bit counts. */
const up = (state: State, peerOpen: Open): Step => {
  const kept = new Map<Phase, Set<number>>([
    ["stale", new Set(capabilitiesOf(peerOpen, "gracefulRestart").flatMap(({ families }) => preserved(families)))],
    ["longLived", new Set(capabilitiesOf(peerOpen, "longLivedGracefulRestart").flatMap(({ families }) => preserved(families)))]
  ])
  const waiting = new Map<number, Phase>()
  const lost: number[] = []
  for (const [family, phase] of state.waiting) {
    if (kept.get(phase)!.has(family)) waiting.set(family, phase)
    else lost.push(family)
  }
  const timers: Action[] = waiting.size === 0 ? [] : [{ _tag: "StartStaleTimer", seconds: staleTimeS }]
  return [{ ...state, waiting, isPeerBack: true }, [{ _tag: "StopTimers" }, ...timers, ...flush(lost)]]
}

const preserved = (families: ReadonlyArray<{ readonly family: number; readonly forwardingPreserved: boolean }>): number[] =>
  families.filter(({ forwardingPreserved }) => forwardingPreserved).map(({ family }) => family)

const drop = (state: State, family: number): Step => {
  if (!state.waiting.has(family)) return [state, []]
  const waiting = new Map(state.waiting)
  waiting.delete(family)
  const timers: Action[] = waiting.size === 0 ? [{ _tag: "StopTimers" }] : []
  return [{ ...state, waiting }, [{ _tag: "Flush", family }, ...timers]]
}

export const transition = (state: State, event: Event): Step => {
  switch (event._tag) {
    case "Down":
      return down(state, event.retained)
    case "Up":
      return up(state, event.peerOpen)
    case "EndOfRib":
      return state.isPeerBack ? drop(state, event.family) : [state, []]
    case "RestartTimerExpires":
      return state.isPeerBack ? [state, []] : giveUp(state, [...state.waiting.keys()])
    case "StaleTimerExpires":
      return [{ ...state, waiting: new Map() }, flush(state.waiting.keys())]
    case "LongLivedTimerExpires":
      return state.waiting.get(event.family) === "longLived" ? drop(state, event.family) : [state, []]
    default:
      return event satisfies never
  }
}

/**
 * What a restarting speaker waits for before it selects routes and says anything of its own (RFC 4724, 4.1): the End-of-RIB of each
 * neighbour and family, but not of neighbours that restart themselves or do not know graceful restart. Whoever owns it ends the waiting
 * after the selection deferral time by `giveUp`.
 */
export class Deferral {
  /** By neighbour: families whose End-of-RIB is still to come; all that may be spoken until its OPEN is known. */
  readonly #pending = new Map<string, Set<number>>()

  constructor(neighbors: Iterable<readonly [name: string, families: ReadonlyArray<number>]>) {
    for (const [name, families] of neighbors) this.#pending.set(name, new Set(families))
  }

  established(neighbor: string, families: ReadonlySet<number>, peerOpen: Open): void {
    const pending = this.#pending.get(neighbor)
    if (pending === undefined) return
    const capabilities = capabilitiesOf(peerOpen, "gracefulRestart")
    const marks = capabilities.length > 0 && !capabilities.some(({ restarting }) => restarting)
    for (const family of [...pending]) if (!marks || !families.has(family)) pending.delete(family)
  }

  endOfRib(neighbor: string, family: number): void {
    this.#pending.get(neighbor)?.delete(family)
  }

  /** The neighbour is not waited for any more: it was removed, or refuses. */
  forget(neighbor: string): void {
    this.#pending.delete(neighbor)
  }

  giveUp(): void {
    this.#pending.clear()
  }

  /** Whether routes of the family may be selected. */
  isDone(family: number): boolean {
    for (const families of this.#pending.values()) if (families.has(family)) return false
    return true
  }
}
