/**
 * One state machine at work: its state, its connection, its timers and the stream of messages. What it means for the neighbour is the
 * host's (`session.ts`).
 *
 * Events go through one mailbox: what happens while an event is dealt with comes after it. Messages are taken in slices; a session with
 * more of them than fits into a slice goes on in the next turn of the event loop, and its connection is not read meanwhile. An expiry of
 * the hold timer first looks at what lies unread: octets that have come in time count, however late they are looked at.
 */
import { encodeKeepalive } from "../../wire/bgp/header.ts"
import { ErrorCode, MessageType, OpenError } from "../../wire/bgp/iana.ts"
import * as NotificationCodec from "../../wire/bgp/notification.ts"
import type { BgpError } from "../../wire/bgp/notification.ts"
import * as OpenCodec from "../../wire/bgp/open.ts"
import type { Open } from "../../wire/bgp/open.ts"
import * as RouteRefresh from "../../wire/bgp/route-refresh.ts"
import { StreamParser } from "../../wire/bgp/stream.ts"
import type { MessageCounters } from "./api.ts"
import type { Connection, Handler } from "./connection.ts"
import { type Action, type Config, type Event, initial, type State, type TimerName, transition } from "./fsm.ts"
import type { Agreement, Negotiated } from "./negotiation.ts"
import { type Clock, Timers } from "./timers.ts"

/** What the machine asks of its neighbour's session. */
export interface Host {
  readonly clock: Clock
  readonly sent: MessageCounters
  readonly received: MessageCounters
  /** Starts a connection; a text says why there is none. */
  connect(): Connection | string
  /** The connection that came in and that the machine accepts. */
  claim(): Connection | undefined
  openFor(connection: Connection): Open
  agree(ours: Open, theirs: Open): Negotiated
  /** The machine's own connection is there: whether it has come too late, and is to be closed before anything is sent on it. */
  isSuperfluous(machine: Machine): boolean
  /** An acceptable OPEN came on the machine's connection; false: there is another one, and this one has to go. */
  mayProceed(machine: Machine, theirs: Open): boolean
  moved(machine: Machine, from: State, to: State): void
  up(machine: Machine): void
  /** The session that was up has ended. */
  down(machine: Machine): void
  failed(machine: Machine, cause: Cause): void
  notified(direction: "sent" | "received", error: BgpError): void
  update(machine: Machine, bytes: Uint8Array, at: number, end: number): void | false
  routeRefresh(machine: Machine, family: number, subtype: number): void
  drained(machine: Machine): void
}

/** What ended a session or an attempt. */
export type Cause =
  | { readonly _tag: "Sent"; readonly error: BgpError; readonly event: Event["_tag"] }
  | { readonly _tag: "Received"; readonly error: BgpError }
  | { readonly _tag: "Lost"; readonly text: string }
  | { readonly _tag: "Replaced" }

/** How long one session takes messages before it lets others. */
const sliceMs = 1
/** After so many messages the clock is looked at. */
const messagesPerLook = 16

export class Machine implements Handler {
  config: Config
  state: State
  connection: Connection | undefined
  ourOpen: Open | undefined
  peerOpen: Open | undefined
  agreement: Agreement | undefined
  /** Why the session ended, or the last attempt. */
  cause: Cause = { _tag: "Lost", text: "never connected" }
  readonly #host: Host
  readonly #timers: Timers
  #parser = new StreamParser()
  readonly #mailbox: Event[] = []
  #isRunning = false
  #isDisposed = false
  /** The consumer does not want UPDATEs. */
  #isHeld = false
  #isMoreDue = false
  #hasBacklog = false
  /** A message that `DeliverUpdate` and its like refer to. */
  #refresh: { readonly family: number; readonly subtype: number } | undefined
  #progressAt = 0
  #openedAt = 0
  #acknowledged = 0

  constructor(host: Host, config: Config, state: State = initial) {
    this.#host = host
    this.config = config
    this.state = state
    this.#timers = new Timers(host.clock, (timer, epoch) => this.#expired(timer, epoch))
  }

  /** Hands an event in; it has been dealt with on return, unless one is being dealt with already. */
  feed(event: Event): void {
    this.#mailbox.push(event)
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      for (let next = this.#mailbox.shift(); next !== undefined && !this.#isDisposed; next = this.#mailbox.shift()) this.#step(next)
    } finally {
      this.#isRunning = false
    }
  }

  /** How long ago its own connection was made; ms. */
  get ageMs(): number {
    return this.#host.clock.now() - this.#openedAt
  }

  /** Nothing more happens. The connection is closed without a word. */
  dispose(): void {
    this.#isDisposed = true
    this.#timers.stopAll()
    this.connection?.close()
    this.connection = undefined
  }

  /** The consumer takes UPDATEs again. */
  resume(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#takeLater()
  }

  // ---- the connection's side

  connected(): void {
    if (this.#host.isSuperfluous(this)) {
      this.connection?.close()
      return this.failed("the peer has connected first")
    }
    this.#openedAt = this.#host.clock.now()
    this.feed({ _tag: "TcpCrAcked" })
  }

  received(chunk: Uint8Array): boolean {
    this.#host.received.octets += chunk.length
    this.#parser.feed(chunk)
    this.#hasBacklog = true
    this.#take()
    return this.#hasBacklog
  }

  failed(reason: string): void {
    this.cause = { _tag: "Lost", text: reason }
    this.connection = undefined
    this.feed({ _tag: "TcpConnectionFails" })
  }

  drained(): void {
    this.#host.drained(this)
  }

  // ---- messages

  /** Takes messages until the slice is over, the consumer has enough or there are no more. */
  #take(): void {
    const { connection } = this
    const end = this.#host.clock.now() + sliceMs
    for (let count = 1; ; count++) {
      if (this.connection !== connection || connection === undefined || this.#isDisposed) break
      if (this.#isHeld) return
      const parser = this.#parser
      if (!parser.next()) {
        if (parser.error !== undefined) this.feed({ _tag: "BgpHeaderErr", error: parser.error })
        break
      }
      this.#message(parser)
      if (count % messagesPerLook === 0 && this.#host.clock.now() > end) return this.#takeLater()
    }
    this.#hasBacklog = false
  }

  #takeLater(): void {
    if (this.#isMoreDue) return
    this.#isMoreDue = true
    setImmediate(() => {
      this.#isMoreDue = false
      this.#takeMore()
    })
  }

  #takeMore(): void {
    if (!this.#hasBacklog || this.#isDisposed) return
    this.#take()
    if (!this.#hasBacklog) this.connection?.resume()
  }

  #message(parser: StreamParser): void {
    const { at, bytes, end } = parser
    const counters = this.#host.received
    switch (parser.type) {
      case MessageType.open:
        counters.open++
        return this.#open(bytes, at, end)
      case MessageType.update:
        counters.update++
        return this.feed({ _tag: "UpdateMsg" })
      case MessageType.notification:
        counters.notification++
        return this.#notification(NotificationCodec.decode(bytes, at, end))
      case MessageType.keepalive:
        counters.keepalive++
        return this.feed({ _tag: "KeepAliveMsg" })
      case MessageType.routeRefresh: {
        counters.routeRefresh++
        const decoded = RouteRefresh.decode(bytes, at, end)
        if (!decoded.ok) return this.feed({ _tag: "UpdateMsgErr", error: decoded.error })
        this.#refresh = decoded.value
        return this.feed({ _tag: "RouteRefreshMsg" })
      }
    }
  }

  #open(bytes: Uint8Array, at: number, end: number): void {
    if (this.state._tag !== "OpenSent") {
      // Where no OPEN is expected it does not matter what it says.
      return this.feed({ _tag: "BgpOpen", holdTimeS: 0, keepaliveS: 0, isReplaceable: false })
    }
    const decoded = OpenCodec.decode(bytes, at, end)
    if (!decoded.ok) return this.feed({ _tag: "BgpOpenMsgErr", error: decoded.error })
    const agreed = this.#host.agree(this.ourOpen!, decoded.value)
    if (!agreed.ok) return this.feed({ _tag: "BgpOpenMsgErr", error: agreed.error })
    this.peerOpen = decoded.value
    this.agreement = agreed.value
    this.#parser.extendedMessage = agreed.value.context.extendedMessage
    if (!this.#host.mayProceed(this, decoded.value)) return this.feed({ _tag: "OpenCollisionDump" })
    const { holdTimeS, keepaliveS } = agreed.value
    const restarts = (open: Open): boolean =>
      open.capabilities.some((capability) => capability.kind === "gracefulRestart" && capability.families.length > 0)
    this.feed({ _tag: "BgpOpen", holdTimeS, keepaliveS, isReplaceable: restarts(this.ourOpen!) && restarts(decoded.value) })
  }

  #notification(error: BgpError): void {
    this.cause = { _tag: "Received", error }
    this.#host.notified("received", error)
    const isVersion = error.code === ErrorCode.openMessage && error.subcode === OpenError.unsupportedVersionNumber
    this.feed({ _tag: isVersion ? "NotifMsgVerErr" : "NotifMsg" })
  }

  // ---- timers

  #expired(timer: TimerName, epoch: number): void {
    if (timer === "hold") {
      this.connection?.readNow()
      // Messages that are read and wait for their turn: the peer lives.
      if (this.#hasBacklog && this.#timers.isCurrent(timer, epoch)) return this.#timers.start(timer, 1)
    }
    if (!this.#timers.isCurrent(timer, epoch)) return
    switch (timer) {
      case "connectRetry":
        return this.feed({ _tag: "ConnectRetryTimerExpires" })
      case "hold":
        return this.feed({ _tag: "HoldTimerExpires" })
      case "keepalive":
        this.#lookAtProgress()
        return this.feed({ _tag: "KeepaliveTimerExpires" })
      case "idleHold":
        return this.feed({ _tag: "IdleHoldTimerExpires" })
      case "sendHold": {
        this.#lookAtProgress()
        const stuckS = (this.#host.clock.now() - this.#progressAt) / 1000
        if (stuckS + 0.001 < this.config.sendHoldS) return this.#timers.start(timer, this.config.sendHoldS - stuckS)
        return this.feed({ _tag: "SendHoldTimerExpires" })
      }
      default:
        return timer satisfies never
    }
  }

  /** RFC 9687: whether the peer takes what we send. Its TCP must acknowledge; that our kernel has taken it says nothing. */
  #lookAtProgress(): void {
    if (this.connection === undefined) return
    const { acknowledged, total } = this.connection.progress()
    if (acknowledged > this.#acknowledged || acknowledged >= total) this.#progressAt = this.#host.clock.now()
    this.#acknowledged = acknowledged
  }

  // ---- the state machine's side

  #step(event: Event): void {
    const from = this.state
    const [to, actions] = transition(this.config, from, event)
    this.state = to
    for (const action of actions) {
      if (this.#isDisposed) return
      this.#perform(action, event)
    }
    if (from._tag === to._tag || this.#isDisposed) return
    if (to._tag === "Idle" && from._tag !== "Idle") this.#host.failed(this, this.cause)
    this.#host.moved(this, from, to)
  }

  #perform(action: Action, event: Event): void {
    switch (action._tag) {
      case "Connect":
        return this.#connect()
      case "AcceptConnection": {
        this.connection?.close()
        return this.#adopt(this.#host.claim())
      }
      case "HoldConnection":
        return
      case "RefuseConnection":
        return this.#host.claim()?.close()
      case "CloseConnection":
        this.connection?.close()
        this.connection = undefined
        this.#hasBacklog = false
        return
      case "SendOpen": {
        if (this.connection === undefined) return
        this.ourOpen = this.#host.openFor(this.connection)
        this.#host.sent.open++
        return this.#write(OpenCodec.encode(this.ourOpen))
      }
      case "SendKeepalive":
        this.#host.sent.keepalive++
        return this.#write(encodeKeepalive())
      case "SendNotification":
        this.cause = { _tag: "Sent", error: action.error, event: event._tag }
        if (this.connection === undefined) return
        this.#host.sent.notification++
        this.#host.notified("sent", action.error)
        return this.#write(NotificationCodec.encode(action.error))
      case "StartTimer":
        if (action.timer === "sendHold") this.#progressAt = this.#host.clock.now()
        return this.#timers.start(action.timer, action.seconds)
      case "StopTimer":
        return this.#timers.stop(action.timer)
      case "SessionUp":
        return this.#host.up(this)
      case "SessionDown":
        return this.#host.down(this)
      case "DeliverUpdate":
        if (this.#host.update(this, this.#parser.bytes, this.#parser.at, this.#parser.end) === false) this.#isHeld = true
        return
      case "DeliverRouteRefresh":
        return this.#host.routeRefresh(this, this.#refresh!.family, this.#refresh!.subtype)
      default:
        return action satisfies never
    }
  }

  #connect(): void {
    const made = this.#host.connect()
    if (typeof made !== "string") return this.#adopt(made)
    this.cause = { _tag: "Lost", text: made }
    this.feed({ _tag: "TcpConnectionFails" })
  }

  #adopt(connection: Connection | undefined): void {
    this.connection = connection
    this.#parser = new StreamParser()
    this.#hasBacklog = false
    this.#isHeld = false
    this.peerOpen = undefined
    this.agreement = undefined
    this.#acknowledged = 0
    connection?.attach(this)
  }

  #write(octets: Uint8Array): void {
    this.#host.sent.octets += octets.length
    this.connection?.write(octets)
  }
}
