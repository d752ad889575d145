/**
 * The session with one neighbour: BGP from the configured neighbour to messages that are delivered.
 *
 *     transport ── connection ── Machine (fsm.ts) ─┐
 *         │                                        ├─ NeighborSession ── callbacks ── the speaker
 *         └─────── connection ── second Machine ───┘
 *
 * - `fsm.ts`, `collision.ts`, `negotiation.ts`, `graceful-restart.ts` decide, and are pure.
 * - `machine.ts` runs one state machine with its connection and timers; `timers.ts` keeps the epochs.
 * - `connection.ts`, `transport.ts` are TCP inside the node's namespace; `unnumbered.ts` finds the peer on an interface.
 * - `dynamic.ts` makes a session of this kind for each peer out of a prefix.
 *
 * A connection that comes in while the machine waits for one is the machine's. At any other time it gets a machine of its own, and the
 * two are compared when an OPEN has come on the second of them (RFC 4271, 6.8). A restarting peer's connection replaces an established
 * session (RFC 4724, 5), when its OPEN is there: a peer that has thought better of a connection closes it without one.
 *
 * Speakers that connect to each other at once must come to the same verdict although each sees the messages in an order of its own. So
 * a connection of ours that is made after the peer's has been confirmed is closed before our OPEN is sent on it, and the peer's is not
 * confirmed while ours, which is to win, waits for its OPEN. Otherwise each side would close what the other keeps.
 *
 * What it does not do: nothing is known here about routes. UPDATEs are handed on as octets, and what is sent comes as octets.
 */
import type { BgpNeighborSpec } from "../../plan/bgp.ts"
import type { SessionContext } from "../../wire/bgp/context.ts"
import { CeaseError, ErrorCode, familyName, MessageType } from "../../wire/bgp/iana.ts"
import { bgpError, type BgpError } from "../../wire/bgp/error.ts"
import { headerLength, messageLength, messageType } from "../../wire/bgp/header.ts"
import * as NotificationCodec from "../../wire/bgp/notification.ts"
import type { Open } from "../../wire/bgp/open.ts"
import type {
  LocalSpeaker,
  MessageCounters,
  Notification,
  ResetKind,
  Session,
  SessionCallbacks,
  SessionStatus,
  StateName
} from "./api.ts"
import { causeText, downKind, endingOf } from "./cause.ts"
import { loser, type Party, survivor } from "./collision.ts"
import type { Connection } from "./connection.ts"
import type { Config, Event, State } from "./fsm.ts"
import type { Cause, Host } from "./machine.ts"
import { Machine } from "./machine.ts"
import { agree, capabilitiesOf, compareCapabilities, identifierText, localAsOf, type Negotiated, openFor } from "./negotiation.ts"
import { StaleRoutes } from "./stale-routes.ts"
import { type Clock, systemClock } from "./timers.ts"
import type { Transport } from "./transport.ts"
import { Unnumbered } from "./unnumbered.ts"

export interface SessionOptions {
  readonly transport: Transport
  /** Read anew for each OPEN, so that the end of a restart is told to later ones. */
  readonly speaker: LocalSpeaker | (() => LocalSpeaker)
  readonly neighbor: BgpNeighborSpec
  readonly callbacks: SessionCallbacks
  /** Interfaces of the neighbour's VRF, by which its connections come; absent: any. */
  readonly devices?: ReadonlyArray<string>
  /** Port that the peer listens on; ours is the transport's. */
  readonly port?: number
  /** Besides those of the neighbour: EVPN between daemons. */
  readonly moreFamilies?: ReadonlyArray<number>
  readonly clock?: Clock
  readonly idleHoldS?: number
  readonly idleHoldMaxS?: number
  /** RFC 9687: 8 minutes or twice the hold time, whatever is more. */
  readonly sendHoldS?: number
  /** A dynamic neighbour's session does not listen by itself. */
  readonly isDynamic?: boolean
  /** The connection that was there beside the first has ended: no change of state tells of it. */
  readonly secondEnded?: () => void
}

/** `hasRoom` is false from here on... */
const fullOctets = 256 * 1024
/** ...and true again from here on. */
const roomOctets = 64 * 1024

/** A connection that the peer made before the session was so old does not replace it. */
const steadyMs = 3000
/** How long our own connection, which is to win, is waited for after the peer's is there. */
const awaitedMs = 10_000

const noCounters = (): MessageCounters => ({ open: 0, update: 0, notification: 0, keepalive: 0, routeRefresh: 0, octets: 0 })

const ceaseOf: Readonly<Record<ResetKind, number>> = {
  administrative: CeaseError.administrativeReset,
  hard: CeaseError.administrativeReset,
  peerDeconfigured: CeaseError.peerDeconfigured,
  configuration: CeaseError.otherConfigurationChange,
  maxPrefix: CeaseError.maximumNumberOfPrefixesReached,
  outOfResources: CeaseError.outOfResources
}

/** After these the peer shall not keep our routes (RFC 8538, 3.1: an operator wants the session to end). */
const isHard: Readonly<Record<ResetKind, boolean>> = {
  administrative: false,
  hard: true,
  peerDeconfigured: true,
  configuration: false,
  maxPrefix: true,
  outOfResources: true
}

const configOf = (options: SessionOptions, { passive, timers }: BgpNeighborSpec): Config => ({
  passive: passive || options.isDynamic === true,
  connectRetryS: timers.connectRetryS,
  idleHoldS: options.idleHoldS ?? 1,
  idleHoldMaxS: options.idleHoldMaxS ?? 60,
  // RFC 9687 6.
  sendHoldS: options.sendHoldS ?? (timers.holdTimeS === 0 ? 0 : Math.max(480, 2 * timers.holdTimeS)),
  isSecond: false
})

export class NeighborSession implements Session, Host {
  neighbor: BgpNeighborSpec
  readonly clock: Clock
  readonly sent = noCounters()
  readonly received = noCounters()
  readonly #options: SessionOptions
  #config: Config
  #main: Machine
  #second: Machine | undefined
  /** A connection that came in and that no machine has taken yet. */
  #incoming: Connection | undefined
  readonly #stale: StaleRoutes
  #unnumbered: Unnumbered | undefined
  #forget: (() => void) | undefined
  #address: string | undefined
  #ifindex = 0
  #isStarted = false
  #isClosed = false
  #wasFull = false
  #since: number
  #establishedCount = 0
  #lastSent: (Notification & { readonly at: number }) | undefined
  #lastReceived: (Notification & { readonly at: number }) | undefined
  #lastError: string | undefined
  /** Why the neighbour cannot be there now: the link that it is on is down. */
  #lack: string | undefined
  /** The link that it is on. */
  #linkName: string | undefined
  /** What ends the session now is BFD's or an operator's doing: nothing of the peer's is kept. */
  #isFinal = false

  constructor(options: SessionOptions) {
    const { neighbor } = options
    this.#options = options
    this.neighbor = neighbor
    this.clock = options.clock ?? systemClock
    this.#since = this.clock.now()
    this.#config = configOf(options, neighbor)
    this.#main = new Machine(this, this.#config)
    this.#stale = new StaleRoutes(this.clock, (family, what) => options.callbacks.stale(this, family, what))
    if (neighbor.remote.kind === "address") this.#address = neighbor.remote.address
  }

  // ---- what it is

  get remoteAddress(): string | undefined {
    return this.#address
  }

  get localAddress(): string | undefined {
    return this.#main.connection?.local?.address ?? this.neighbor.updateSource
  }

  get ifname(): string | undefined {
    const { remote } = this.neighbor
    return remote.kind === "prefix" ? undefined : remote.ifname
  }

  get state(): StateName {
    return this.#main.state._tag
  }

  get context(): SessionContext | undefined {
    return this.state === "Established" ? this.#main.agreement?.context : undefined
  }

  get peerOpen(): Open | undefined {
    return this.state === "Established" ? this.#main.peerOpen : undefined
  }

  get #speaker(): LocalSpeaker {
    const { speaker } = this.#options
    return typeof speaker === "function" ? speaker() : speaker
  }

  /** The peer is connected, or may be. */
  get hasConnection(): boolean {
    return this.#main.connection !== undefined || this.#second !== undefined || this.#incoming !== undefined
  }

  // ---- what is asked of it

  start(): void {
    if (this.#isClosed || this.#isStarted) return
    this.#isStarted = true
    if (this.neighbor.shutdown) return
    const { remote } = this.neighbor
    if (remote.kind === "interface") {
      const { netns } = this.#options.transport
      this.#unnumbered ??= new Unnumbered(netns, remote.ifname, this.clock, (address, ifindex) => this.#found(address, ifindex))
    }
    this.#expect()
    if (this.#lack === undefined) this.#main.feed({ _tag: "ManualStart" })
  }

  send(octets: Uint8Array): void {
    const { connection } = this.#main
    if (this.state !== "Established" || connection === undefined) return
    for (let at = 0; at + headerLength <= octets.length; at += Math.max(headerLength, messageLength(octets, at))) {
      this.#countSent(messageType(octets, at))
    }
    this.sent.octets += octets.length
    connection.write(octets)
  }

  hasRoom(): boolean {
    const { connection } = this.#main
    if (this.state !== "Established" || connection === undefined) return false
    if (connection.queued >= fullOctets) this.#wasFull = true
    return !this.#wasFull
  }

  resume(): void {
    this.#main.resume()
  }

  fail(code: number, subcode: number, data?: Uint8Array): void {
    this.#main.feed({ _tag: "UpdateMsgErr", error: bgpError(code, subcode, data) })
  }

  reset(kind: ResetKind, restartS?: number): void {
    const cease = bgpError(ErrorCode.cease, ceaseOf[kind])
    const restart = restartS ?? (kind === "administrative" || kind === "hard" || kind === "configuration" ? 1 : "damped")
    this.#end({ _tag: "AutomaticStop", error: isHard[kind] ? this.#hard(cease) : cease, restart }, isHard[kind])
  }

  shutdown(message: string): void {
    this.#isStarted = false
    const cease = bgpError(ErrorCode.cease, CeaseError.administrativeShutdown, NotificationCodec.shutdownCommunication(message))
    this.#end({ _tag: "ManualStop", error: this.#hard(cease) }, true)
  }

  bfd(state: "up" | "down"): void {
    if (state === "up") return this.#canStart && this.#main.state._tag === "Idle" ? this.#main.feed({ _tag: "AutomaticStart" }) : undefined
    if (this.state !== "Established") return
    const error = this.#hard(bgpError(ErrorCode.cease, CeaseError.bfdDown))
    this.#end({ _tag: "AutomaticStop", error, restart: this.#config.connectRetryS }, true)
  }

  attached(link: { readonly ifname?: string } | string): void {
    const lackBefore = this.#lack
    const linkBefore = this.#linkName
    const isLost = typeof link === "string"
    this.#lack = isLost ? link : undefined
    this.#linkName = isLost ? undefined : link.ifname
    // The connection is bound to an interface that the neighbour is not on any more.
    const hasMoved = !isLost && linkBefore !== undefined && link.ifname !== undefined && linkBefore !== link.ifname
    if (isLost ? lackBefore === undefined : hasMoved) {
      // The peer may still hear it, by another way; where nobody hears it, it does no harm.
      this.#end({ _tag: "ManualStop", error: this.#hard(bgpError(ErrorCode.cease, 0)) }, true)
    }
    if (isLost) this.#lastError = link
    else if (this.#canStart && (lackBefore !== undefined || hasMoved)) this.#main.feed({ _tag: "ManualStart" })
  }

  get #canStart(): boolean {
    return this.#isStarted && this.#lack === undefined && !this.neighbor.shutdown
  }

  configure(neighbor: BgpNeighborSpec): void {
    this.neighbor = neighbor
    this.#config = configOf(this.#options, neighbor)
    this.#main.config = this.#config
  }

  endOfRib(family: number): void {
    this.#stale.feed({ _tag: "EndOfRib", family })
  }

  close(how: "deconfigured" | "keep" = "deconfigured"): void {
    if (this.#isClosed) return
    const cease = bgpError(ErrorCode.cease, CeaseError.peerDeconfigured)
    if (how === "deconfigured") this.#end({ _tag: "ManualStop", error: this.#hard(cease) }, true)
    this.#isClosed = true
    this.#isStarted = false
    this.#forget?.()
    this.#unnumbered?.close()
    this.#stale.close()
    this.#incoming?.close()
    this.#second?.dispose()
    this.#main.dispose()
  }

  status(): SessionStatus {
    const { agreement, connection, ourOpen, peerOpen } = this.#main
    const isUp = this.state === "Established"
    const fqdn = isUp && peerOpen !== undefined ? capabilitiesOf(peerOpen, "fqdn")[0]?.hostname : undefined
    const ours = ourOpen ?? openFor(this.#speaker, this.neighbor, this.#openOptions())
    return {
      name: this.neighbor.name,
      state: this.state,
      adminDown: this.neighbor.shutdown || !this.#isStarted,
      ...(this.#address === undefined ? {} : { remoteAddress: this.#address }),
      ...(connection?.remote === undefined ? {} : { remotePort: connection.remote.port }),
      ...(connection?.local === undefined ? {} : { localAddress: connection.local.address, localPort: connection.local.port }),
      ...(isUp && peerOpen !== undefined ? { remoteAs: peerOpen.asn, remoteId: identifierText(peerOpen.bgpIdentifier) } : {}),
      ...(fqdn === undefined ? {} : { remoteHostname: fqdn }),
      sinceMs: this.clock.now() - this.#since,
      establishedCount: this.#establishedCount,
      sent: this.sent,
      received: this.received,
      ...(isUp && agreement !== undefined ? { holdTimeS: agreement.holdTimeS, keepaliveS: agreement.keepaliveS } : {}),
      connectRetryS: this.#config.connectRetryS,
      ...(this.#lastSent === undefined ? {} : { lastSent: this.#lastSent }),
      ...(this.#lastReceived === undefined ? {} : { lastReceived: this.#lastReceived }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
      capabilities: compareCapabilities(ours, isUp ? peerOpen : undefined, familyName),
      queuedOctets: connection?.queued ?? 0,
      staleFamilies: [...this.#stale.waiting]
    }
  }

  /** A connection from this peer: for `DynamicSessions`, which listens for its sessions. */
  accept(connection: Connection): void {
    if (this.#isClosed || !this.#isStarted || this.#lack !== undefined) return connection.close()
    try {
      this.#protect(connection)
    } catch (error) {
      this.#lastError = `Cannot set the hop limit of a connection: ${(error as Error).message}`
      return connection.close()
    }
    const { state } = this.#main
    // RFC 4271, 6.8: an established session wins. Without an OPEN of ours the peer has nothing to compare.
    if (state._tag === "Established" && !state.isReplaceable) return this.#refuse(connection)
    this.#incoming?.close()
    this.#incoming = connection
    if (state._tag === "Active" || state._tag === "Idle") return this.#main.feed({ _tag: "TcpConnectionConfirmed" })
    this.#startSecond()
  }

  // ---- what the machines ask (Host)

  connect(): Connection | string {
    const { neighbor, transport, port } = { ...this.#options, neighbor: this.neighbor }
    if (this.#address === undefined) return `no router advertisement on ${this.ifname ?? "the interface"} yet`
    if (this.isSuperfluous(this.#main)) return "the peer has connected first"
    const [hops, minimumHops] = this.#hops()
    try {
      return transport.connect({
        address: this.#address,
        port: port ?? transport.port,
        ...(neighbor.updateSource === undefined ? {} : { source: neighbor.updateSource }),
        device: this.#device(),
        hops,
        minimumHops,
        ...(neighbor.password === undefined ? {} : { password: neighbor.password })
      })
    } catch (error) {
      return (error as Error).message
    }
  }

  claim(): Connection | undefined {
    const connection = this.#incoming
    this.#incoming = undefined
    return connection
  }

  openFor(connection: Connection): Open {
    return openFor(this.#speaker, this.neighbor, this.#openOptions(connection))
  }

  agree(ours: Open, theirs: Open): Negotiated {
    return agree(ours, theirs, this.neighbor)
  }

  mayProceed(machine: Machine, theirs: Open): boolean {
    const other = machine === this.#main ? this.#second : this.#main
    const local = { asn: localAsOf(this.#speaker, this.neighbor), bgpIdentifier: machine.ourOpen!.bgpIdentifier }
    if (other?.state._tag === "OpenSent") return !this.#isAwaited(other, local, theirs)
    if (other === undefined || (other.state._tag !== "OpenConfirm" && other.state._tag !== "Established")) return true
    if (other.state._tag === "Established") {
      // RFC 4724, 5: who says that it has restarted has no other session, unless that one began with the same words.
      const isRestart = (hasRestarted(theirs) && !hasRestarted(other.peerOpen!)) || this.#isAfresh(machine.connection!)
      if (machine !== this.#second || !other.state.isReplaceable || !isRestart) return false
      other.cause = { _tag: "Replaced" }
      this.#promote({ _tag: "TcpConnectionFails" })
      return true
    }
    const fresh = machine.connection!.origin
    const going = loser(local, theirs, fresh, other.connection!.origin, machine === this.#second)
    if (going === "fresh") return false
    this.#dump(other)
    return true
  }

  isSuperfluous(machine: Machine): boolean {
    const other = machine === this.#main ? this.#second : this.#main
    return other?.state._tag === "OpenConfirm" || other?.state._tag === "Established"
  }

  moved(machine: Machine, from: State, to: State): void {
    if (machine === this.#second) {
      if (to._tag === "Idle") {
        this.#dropSecond()
        this.#options.secondEnded?.()
      }
      return
    }
    if (machine !== this.#main) return
    if (from._tag === "Established" || to._tag === "Established") this.#since = this.clock.now()
    this.#options.callbacks.stateChanged(this, from._tag, to._tag)
    // A connection that came during the idle hold time.
    const { state } = this.#main
    if (from._tag === "Idle" && (state._tag === "Active" || state._tag === "Connect")) {
      const waiting = this.claim()
      if (waiting !== undefined) this.accept(waiting)
    }
  }

  up(machine: Machine): void {
    if (machine === this.#second) this.#promote()
    this.#establishedCount++
    this.#wasFull = false
    this.#isFinal = false
    this.#lastError = undefined
    this.#stale.feed({ _tag: "Up", peerOpen: machine.peerOpen! })
    this.#options.callbacks.established(this, machine.agreement!.context, machine.peerOpen!)
  }

  down(machine: Machine): void {
    const { cause } = machine
    const retained = this.#isFinal ? undefined : this.#stale.retain(machine.ourOpen!, machine.peerOpen!, endingOf(cause))
    // What was stale already goes before the routes of this session become so.
    this.#stale.feed({ _tag: "Down", retained })
    this.#isFinal = false
    this.#options.callbacks.down(this, {
      ...(this.#lack === undefined ? { kind: downKind(cause), text: causeText(cause) } : { kind: "link", text: this.#lack }),
      ...(cause._tag === "Sent" || cause._tag === "Received"
        ? { notification: { ...cause.error, text: NotificationCodec.describe(cause.error) } }
        : {}),
      ...(retained === undefined ? {} : { retain: retained.families })
    })
  }

  failed(machine: Machine, cause: Cause): void {
    // That a second connection is one too many is no error.
    const isCollision = cause._tag === "Sent" && cause.event === "OpenCollisionDump"
    if (machine === this.#main || !isCollision) this.#lastError = causeText(cause)
  }

  notified(direction: "sent" | "received", error: BgpError): void {
    const entry = { ...error, text: NotificationCodec.describe(error), at: this.clock.date() }
    if (direction === "sent") this.#lastSent = entry
    else this.#lastReceived = entry
  }

  update(_machine: Machine, bytes: Uint8Array, at: number, end: number): void | false {
    return this.#options.callbacks.update(this, bytes, at, end)
  }

  routeRefresh(_machine: Machine, family: number, subtype: number): void {
    this.#options.callbacks.routeRefresh(this, family, subtype)
  }

  drained(machine: Machine): void {
    if (machine !== this.#main || !this.#wasFull || (machine.connection?.queued ?? 0) > roomOctets) return
    this.#wasFull = false
    this.#options.callbacks.room(this)
  }

  // ---- inside

  /** Ends what there is, the second connection first. */
  #end(event: Event, isFinal: boolean): void {
    this.#isFinal = isFinal && this.state === "Established"
    this.#second?.feed({ _tag: "OpenCollisionDump" })
    this.#main.feed(event)
    if (this.state !== "Established") this.#isFinal = false
  }

  /** RFC 8538, 3.1: to a peer that would take a NOTIFICATION for a restart it takes more to end a session. */
  #hard(error: BgpError): BgpError {
    const [ours, theirs] = [this.#main.ourOpen, this.#main.peerOpen].map((open) =>
      open === undefined ? false : capabilitiesOf(open, "gracefulRestart").some(({ notification }) => notification)
    )
    return this.state === "Established" && ours && theirs ? NotificationCodec.hardReset(error) : error
  }

  #expect(): void {
    this.#forget?.()
    this.#forget = undefined
    if (this.#address === undefined || this.#options.isDynamic === true) return
    const { password } = this.neighbor
    this.#forget = this.#options.transport.expect({
      devices: this.#options.devices ?? [""],
      address: this.#address,
      ifindex: this.#ifindex,
      ...(password === undefined ? {} : { password }),
      accept: (connection) => this.accept(connection)
    })
  }

  /** A router advertisement told the peer's address. */
  #found(address: string, ifindex: number): void {
    if (this.#isClosed || (address === this.#address && ifindex === this.#ifindex)) return
    this.#address = address
    this.#ifindex = ifindex
    this.#expect()
    if (this.state === "Active" || this.state === "Connect") this.#main.feed({ _tag: "ConnectRetryTimerExpires" })
  }

  #openOptions(connection?: Connection): { readonly isIpv6: boolean; readonly moreFamilies?: ReadonlyArray<number> } {
    const { moreFamilies } = this.#options
    const address = connection?.remote?.address ?? this.#address ?? (this.neighbor.remote.kind === "interface" ? "::" : "")
    return { isIpv6: address.includes(":"), ...(moreFamilies === undefined ? {} : { moreFamilies }) }
  }

  /** Hop limits (RFC 5082, 3): an external peer next door gets 1, one with GTSM 255 and is heard from so far away at most. */
  #hops(): readonly [hops: number, minimum: number] {
    const { multihop, remoteAs, ttlSecurity } = this.neighbor
    if (ttlSecurity !== undefined) return [255, 256 - ttlSecurity]
    const isInternal = remoteAs === "internal" || remoteAs === localAsOf(this.#speaker, this.neighbor)
    return [isInternal ? 64 : multihop, 0]
  }

  #protect(connection: Connection): void {
    connection.setHops(...this.#hops())
  }

  /** The way out: the neighbour's interface, or that of its VRF if there is only one. */
  #device(): string {
    const { devices = [] } = this.#options
    return this.ifname ?? this.#linkName ?? (devices.length === 1 ? devices[0]! : "")
  }

  #countSent(type: number): void {
    if (type === MessageType.update) this.sent.update++
    else if (type === MessageType.routeRefresh) this.sent.routeRefresh++
    else if (type === MessageType.keepalive) this.sent.keepalive++
  }

  /**
   * Whether `other` is our own connection, is to win against the peer's, and waits for its OPEN. Then the peer's is not confirmed
   * first, for the peer would take it for established, and close ours when we close its. After a while nothing is awaited any more.
   */
  #isAwaited(other: Machine, local: Party, theirs: Party): boolean {
    return other.connection?.origin === "local" && survivor(local, theirs) === "local" && other.ageMs < awaitedMs
  }

  /**
   * Whether the peer made the connection although there is a session: it has none, it has restarted (RFC 4724, 5). One that was made
   * before the session was up is the other one of two that both sides made at once, however late it is looked at.
   */
  #isAfresh(connection: Connection): boolean {
    return this.clock.now() - connection.ageMs - this.#since > steadyMs
  }

  #refuse(connection: Connection): void {
    connection.write(NotificationCodec.encode(bgpError(ErrorCode.cease, CeaseError.connectionCollisionResolution)))
    connection.close()
  }

  #startSecond(): void {
    this.#dropSecond()
    this.#second = new Machine(this, { ...this.#config, isSecond: true }, { _tag: "Active", counter: 0, attempts: 0 })
    this.#second.feed({ _tag: "TcpConnectionConfirmed" })
  }

  #dropSecond(): void {
    const second = this.#second
    this.#second = undefined
    second?.dispose()
  }

  /** The second connection stays: its machine takes the place of the other, which ends without a life after it. */
  #promote(end: Event = { _tag: "OpenCollisionDump" }): void {
    const old = this.#main
    const from = old.state
    this.#main = this.#second!
    this.#second = undefined
    old.feed(end)
    old.dispose()
    this.#main.config = this.#config
    if (from._tag !== this.#main.state._tag) this.#options.callbacks.stateChanged(this, from._tag, this.#main.state._tag)
  }

  #dump(machine: Machine): void {
    if (machine === this.#main) return this.#promote()
    machine.feed({ _tag: "OpenCollisionDump" })
    if (this.#second === machine) this.#dropSecond()
  }
}

const hasRestarted = (open: Open): boolean => capabilitiesOf(open, "gracefulRestart").some(({ restarting }) => restarting)
