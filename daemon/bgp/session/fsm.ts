/**
 * The state machine of one BGP connection (RFC 4271, 8), pure: a state and an event in, the next state and what is to be done out.
 *
 * Events and states have the RFC's names; `session.ts` runs it. A neighbour has one machine, and a second one while a second
 * connection waits for its OPEN (6.8). Timers are named here and kept by `timers.ts`, which drops what fired too late.
 *
 * Optional parts: automatic start and stop, damping by an idle hold time that doubles with each failure, passive establishment
 * without waiting (events 4, 5), the FSM subcodes of RFC 6608, the send hold timer of RFC 9687.
 *
 * Unsupported: DelayOpen (events 12, 20), and events 14 and 15 (the kernel tells of whole connections only).
 *
 * Deviations:
 * - a connection that cannot be made leads from Connect to Active, as in other implementations, and not to Idle: the peer may connect.
 *   Connecting is tried again after 1, 2, 4... s, at most ConnectRetryTime.
 * - a NOTIFICATION is never answered by one (6.4 says why), although 8.2.2 asks for that in OpenSent.
 * - an OPEN in OpenConfirm or Established is an FSM error at once; that of another connection meets another machine.
 * - a restarted peer's connection does not take the place of an established one at once (RFC 4724, 5), but when its OPEN is there:
 *   it meets another machine, too.
 * - ConnectRetryCounter becomes zero again when a session has lasted for a keepalive interval, too, so that the next failure is not
 *   punished for those of yesterday.
 */
import { CeaseError, ErrorCode, FsmError } from "../../wire/bgp/iana.ts"
import type { BgpError } from "../../wire/bgp/notification.ts"

export type TimerName = "connectRetry" | "hold" | "keepalive" | "idleHold" | "sendHold"

export interface Config {
  /** Never connects, waits to be connected to. */
  readonly passive: boolean
  readonly connectRetryS: number
  /** The first idle hold time, and the longest. */
  readonly idleHoldS: number
  readonly idleHoldMaxS: number
  /** RFC 9687, 6: at least as long as the hold time. 0: no such timer. */
  readonly sendHoldS: number
  /** A second connection, of a machine that has no life after it: never starts again. */
  readonly isSecond: boolean
}

/** What the OPENs agreed upon, as far as the machine needs it. */
interface Agreed {
  readonly counter: number
  readonly holdTimeS: number
  readonly keepaliveS: number
  /** The peer restarts gracefully: its next connection may replace this one (RFC 4724, 5). */
  readonly isReplaceable: boolean
}

/** `counter` is ConnectRetryCounter: failures in a row. */
export type State =
  /** `isStopped`: until somebody starts it; else the idle hold timer runs. */
  | { readonly _tag: "Idle"; readonly counter: number; readonly isStopped: boolean }
  | { readonly _tag: "Connect"; readonly counter: number; readonly attempts: number }
  | { readonly _tag: "Active"; readonly counter: number; readonly attempts: number }
  | { readonly _tag: "OpenSent"; readonly counter: number }
  | (Agreed & { readonly _tag: "OpenConfirm" })
  | (Agreed & { readonly _tag: "Established" })

export type Event =
  | { readonly _tag: "ManualStart" }
  /** `error`: the Cease for the peer. */
  | { readonly _tag: "ManualStop"; readonly error: BgpError }
  | { readonly _tag: "AutomaticStart" }
  /** `restart`: seconds until the next start, `damped` for the idle hold time, `never`. */
  | { readonly _tag: "AutomaticStop"; readonly error: BgpError; readonly restart: number | "damped" | "never" }
  | { readonly _tag: "ConnectRetryTimerExpires" }
  | { readonly _tag: "HoldTimerExpires" }
  | { readonly _tag: "KeepaliveTimerExpires" }
  | { readonly _tag: "IdleHoldTimerExpires" }
  | { readonly _tag: "SendHoldTimerExpires" }
  | { readonly _tag: "TcpCrAcked" }
  | { readonly _tag: "TcpConnectionConfirmed" }
  | { readonly _tag: "TcpConnectionFails" }
  /** An acceptable OPEN; times are what both agreed upon, `isReplaceable` as in the state. */
  | { readonly _tag: "BgpOpen"; readonly holdTimeS: number; readonly keepaliveS: number; readonly isReplaceable: boolean }
  | { readonly _tag: "BgpHeaderErr"; readonly error: BgpError }
  | { readonly _tag: "BgpOpenMsgErr"; readonly error: BgpError }
  | { readonly _tag: "OpenCollisionDump" }
  | { readonly _tag: "NotifMsgVerErr" }
  | { readonly _tag: "NotifMsg" }
  | { readonly _tag: "KeepAliveMsg" }
  | { readonly _tag: "UpdateMsg" }
  | { readonly _tag: "UpdateMsgErr"; readonly error: BgpError }
  /** RFC 2918. */
  | { readonly _tag: "RouteRefreshMsg" }

export type Action =
  | { readonly _tag: "Connect" }
  /** The connection that came in is this machine's; one that it had, or was making, is closed. */
  | { readonly _tag: "AcceptConnection" }
  /** It waits until the machine starts. */
  | { readonly _tag: "HoldConnection" }
  | { readonly _tag: "RefuseConnection" }
  | { readonly _tag: "CloseConnection" }
  | { readonly _tag: "SendOpen" }
  | { readonly _tag: "SendKeepalive" }
  | { readonly _tag: "SendNotification"; readonly error: BgpError }
  | { readonly _tag: "StartTimer"; readonly timer: TimerName; readonly seconds: number }
  | { readonly _tag: "StopTimer"; readonly timer: TimerName }
  | { readonly _tag: "SessionUp" }
  | { readonly _tag: "SessionDown" }
  | { readonly _tag: "DeliverUpdate" }
  | { readonly _tag: "DeliverRouteRefresh" }

export type Step = readonly [State, ReadonlyArray<Action>]

/** RFC 4271, 8.2.2: "a large value", while an OPEN is waited for. */
export const openHoldTimeS = 240

const nothing: ReadonlyArray<Action> = []
const connect: Action = { _tag: "Connect" }
const accept: Action = { _tag: "AcceptConnection" }
const close: Action = { _tag: "CloseConnection" }
const sendOpen: Action = { _tag: "SendOpen" }
const sendKeepalive: Action = { _tag: "SendKeepalive" }
const sessionDown: Action = { _tag: "SessionDown" }
const start = (timer: TimerName, seconds: number): Action => ({ _tag: "StartTimer", timer, seconds })
const stop = (timer: TimerName): Action => ({ _tag: "StopTimer", timer })
const notify = (error: BgpError): Action => ({ _tag: "SendNotification", error })
const errorOf = (code: number, subcode: number): BgpError => ({ code, subcode, data: new Uint8Array(0) })

const stopAll: ReadonlyArray<Action> = [stop("connectRetry"), stop("hold"), stop("keepalive"), stop("sendHold")]

/** RFC 6608, 4: which message or event was out of place is not told, but where. */
const fsmError = (state: "OpenSent" | "OpenConfirm" | "Established"): BgpError =>
  errorOf(
    ErrorCode.finiteStateMachine,
    state === "OpenSent" ? FsmError.openSent : state === "OpenConfirm" ? FsmError.openConfirm : FsmError.established
  )

const collision = errorOf(ErrorCode.cease, CeaseError.connectionCollisionResolution)
const holdExpired = errorOf(ErrorCode.holdTimerExpired, 0)
const sendHoldExpired = errorOf(ErrorCode.sendHoldTimerExpired, 0)

/** How long to wait before connecting again: 1, 2, 4... s. */
const retryAfter = (config: Config, attempts: number): Action =>
  start("connectRetry", Math.min(config.connectRetryS, 2 ** Math.min(attempts, 16)))

const begin = (config: Config, counter: number): Step =>
  config.passive
    ? [{ _tag: "Active", counter, attempts: 0 }, [stop("idleHold")]]
    : [{ _tag: "Connect", counter, attempts: 0 }, [stop("idleHold"), start("connectRetry", config.connectRetryS), connect]]

/** What a failure leads to: everything is let go, and the next start waits the longer the more failures there were. */
const fail = (config: Config, state: State, before: ReadonlyArray<Action>, restart: number | "damped" | "never" = "damped"): Step => {
  const counter = state.counter + 1
  const isStopped = restart === "never" || config.isSecond
  const damped = Math.min(config.idleHoldMaxS, config.idleHoldS * 2 ** Math.min(Math.max(counter - 1, 0), 16))
  const seconds = typeof restart === "number" ? restart : damped
  const down = state._tag === "Established" ? [sessionDown] : nothing
  const later = isStopped ? nothing : [start("idleHold", seconds)]
  return [{ _tag: "Idle", counter, isStopped }, [...before, ...stopAll, close, ...down, ...later]]
}

const manualStop = (state: State, before: ReadonlyArray<Action>): Step => {
  const down = state._tag === "Established" ? [sessionDown] : nothing
  return [{ _tag: "Idle", counter: 0, isStopped: true }, [...before, ...stopAll, close, ...down]]
}

const idle = (config: Config, state: State & { readonly _tag: "Idle" }, event: Event): Step => {
  switch (event._tag) {
    case "ManualStart":
      return begin(config, 0)
    case "AutomaticStart":
    case "IdleHoldTimerExpires":
      return begin(config, state.counter)
    case "ManualStop":
      return [{ _tag: "Idle", counter: 0, isStopped: true }, [stop("idleHold")]]
    case "AutomaticStop":
      if (event.restart === "never") return [{ ...state, isStopped: true }, [stop("idleHold")]]
      return typeof event.restart === "number" && !state.isStopped ? [state, [start("idleHold", event.restart)]] : [state, nothing]
    case "TcpConnectionConfirmed":
      return [state, [{ _tag: state.isStopped ? "RefuseConnection" : "HoldConnection" }]]
    default:
      return [state, nothing]
  }
}

const opened = (state: State): Step => [
  { _tag: "OpenSent", counter: state.counter },
  [stop("connectRetry"), sendOpen, start("hold", openHoldTimeS)]
]

const connecting = (config: Config, state: State & { readonly _tag: "Connect" | "Active" }, event: Event): Step => {
  switch (event._tag) {
    case "ManualStart":
    case "AutomaticStart":
      return [state, nothing]
    case "ManualStop":
      return manualStop(state, nothing)
    case "AutomaticStop":
      return fail(config, state, nothing, event.restart)
    case "ConnectRetryTimerExpires":
      if (config.passive) return [state, nothing]
      return [
        { _tag: "Connect", counter: state.counter, attempts: state.attempts },
        [...(state._tag === "Connect" ? [close] : nothing), start("connectRetry", config.connectRetryS), connect]
      ]
    case "TcpCrAcked":
      return state._tag === "Connect" ? opened(state) : [state, nothing]
    case "TcpConnectionConfirmed": {
      const [next, actions] = opened(state)
      return [next, [accept, ...actions]]
    }
    case "TcpConnectionFails":
      if (state._tag === "Active") return [state, nothing]
      return [
        { _tag: "Active", counter: state.counter, attempts: state.attempts + 1 },
        [close, retryAfter(config, state.attempts)]
      ]
    case "HoldTimerExpires":
    case "KeepaliveTimerExpires":
    case "IdleHoldTimerExpires":
    case "SendHoldTimerExpires":
    case "BgpOpen":
    case "BgpHeaderErr":
    case "BgpOpenMsgErr":
    case "OpenCollisionDump":
    case "NotifMsgVerErr":
    case "NotifMsg":
    case "KeepAliveMsg":
    case "UpdateMsg":
    case "UpdateMsgErr":
    case "RouteRefreshMsg":
      return fail(config, state, nothing)
    default:
      return event satisfies never
  }
}

/** What OpenSent, OpenConfirm and Established answer alike. */
const connected = (config: Config, state: State & { readonly _tag: "OpenSent" | "OpenConfirm" | "Established" }, event: Event): Step => {
  switch (event._tag) {
    case "ManualStart":
    case "AutomaticStart":
    case "TcpCrAcked":
    // The second connection is another machine's until its OPEN has come (8.2.2).
    case "TcpConnectionConfirmed":
      return [state, nothing]
    case "ManualStop":
      return manualStop(state, [notify(event.error)])
    case "AutomaticStop":
      return fail(config, state, [notify(event.error)], event.restart)
    case "HoldTimerExpires":
      return fail(config, state, [notify(holdExpired)])
    case "SendHoldTimerExpires":
      return fail(config, state, [notify(sendHoldExpired)])
    case "BgpHeaderErr":
    case "BgpOpenMsgErr":
      return fail(config, state, [notify(event.error)])
    case "UpdateMsgErr":
      return fail(config, state, [notify(state._tag === "Established" ? event.error : fsmError(state._tag))])
    case "OpenCollisionDump":
      return fail(config, state, [notify(collision)])
    case "NotifMsg":
    case "TcpConnectionFails":
      return fail(config, state, nothing)
    case "NotifMsgVerErr":
      // 8.2.2: no damping; the peer may offer what we speak next time.
      return fail(config, { ...state, counter: -1 }, nothing)
    case "ConnectRetryTimerExpires":
    case "KeepaliveTimerExpires":
    case "IdleHoldTimerExpires":
    case "BgpOpen":
    case "KeepAliveMsg":
    case "UpdateMsg":
    case "RouteRefreshMsg":
      return fail(config, state, [notify(fsmError(state._tag))])
    default:
      return event satisfies never
  }
}

const keepGoing = ({ holdTimeS, keepaliveS }: { readonly holdTimeS: number; readonly keepaliveS: number }): ReadonlyArray<Action> =>
  holdTimeS === 0 ? [stop("hold")] : [start("keepalive", keepaliveS), start("hold", holdTimeS)]

const openSent = (config: Config, state: State & { readonly _tag: "OpenSent" }, event: Event): Step => {
  switch (event._tag) {
    case "TcpConnectionFails":
      if (config.isSecond) return fail(config, state, nothing)
      return [{ _tag: "Active", counter: state.counter, attempts: 1 }, [stop("hold"), close, retryAfter(config, 1)]]
    case "BgpOpen": {
      const { holdTimeS, keepaliveS, isReplaceable } = event
      return [
        { _tag: "OpenConfirm", counter: state.counter, holdTimeS, keepaliveS, isReplaceable },
        [sendKeepalive, ...keepGoing(event)]
      ]
    }
    default:
      return connected(config, state, event)
  }
}

/** The hold timer starts anew with each KEEPALIVE and UPDATE; a hold time of zero has no timers (4.2). */
const heard = ({ holdTimeS }: Agreed, ...actions: ReadonlyArray<Action>): ReadonlyArray<Action> =>
  holdTimeS === 0 ? actions : [start("hold", holdTimeS), ...actions]

const openConfirm = (config: Config, state: State & { readonly _tag: "OpenConfirm" }, event: Event): Step => {
  switch (event._tag) {
    case "KeepaliveTimerExpires":
      return [state, [sendKeepalive, start("keepalive", state.keepaliveS)]]
    case "KeepAliveMsg": {
      const { counter, holdTimeS, keepaliveS, isReplaceable } = state
      const sendHold = config.sendHoldS === 0 ? nothing : [start("sendHold", config.sendHoldS)]
      return [
        { _tag: "Established", counter: holdTimeS === 0 ? 0 : counter, holdTimeS, keepaliveS, isReplaceable },
        [...heard(state), ...sendHold, { _tag: "SessionUp" }]
      ]
    }
    default:
      return connected(config, state, event)
  }
}

const deliverUpdate: Action = { _tag: "DeliverUpdate" }
const deliverRefresh: Action = { _tag: "DeliverRouteRefresh" }

const established = (config: Config, state: State & { readonly _tag: "Established" }, event: Event): Step => {
  switch (event._tag) {
    case "KeepaliveTimerExpires":
      return [state.counter === 0 ? state : { ...state, counter: 0 }, [sendKeepalive, start("keepalive", state.keepaliveS)]]
    case "KeepAliveMsg":
      return [state, heard(state)]
    case "UpdateMsg":
      return [state, heard(state, deliverUpdate)]
    case "RouteRefreshMsg":
      // RFC 2918 does not say that it counts as a sign of life, but it is one.
      return [state, heard(state, deliverRefresh)]
    case "NotifMsg":
    case "TcpConnectionFails":
      // A session that was up and that the peer ends says nothing against the next one: resets and restarts are not damped.
      return fail(config, { ...state, counter: 0 }, nothing)
    default:
      return connected(config, state, event)
  }
}

export const initial: State = { _tag: "Idle", counter: 0, isStopped: true }

/** The whole machine. Same input, same output: no clock, no sockets. */
export const transition = (config: Config, state: State, event: Event): Step => {
  switch (state._tag) {
    case "Idle":
      return idle(config, state, event)
    case "Connect":
    case "Active":
      return connecting(config, state, event)
    case "OpenSent":
      return openSent(config, state, event)
    case "OpenConfirm":
      return openConfirm(config, state, event)
    case "Established":
      return established(config, state, event)
    default:
      return state satisfies never
  }
}
