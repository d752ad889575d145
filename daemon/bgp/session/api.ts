/**
 * What the rest of the speaker sees of sessions: types only. `session.ts` implements them, `transport.ts` opens the sockets.
 *
 *   const transport = new Transport(netns)                                    one per speaker: listens, connects, dispatches
 *   const session = new NeighborSession({ transport, speaker, neighbor, callbacks })   of session.ts, one per neighbour
 *   const group = new DynamicSessions({ ... })                                for a neighbour that is a prefix: makes sessions
 *   session.start()
 *   ...
 *   session.send(octets)                one or more whole messages, kept by reference until they are written
 *   if (!session.hasRoom()) wait for callbacks.room()
 *   session.close()                     Cease, and nothing left behind
 *
 * Callbacks run on the routing thread's event loop. What ends a session (`reset`, `fail`, `shutdown`, `bfd`, `close`) calls back before it
 * returns, unless it is called from inside a callback: then after that one has returned.
 */
import type { BgpNeighborSpec } from "../../plan/bgp.ts"
import type { Open } from "../../wire/bgp/open.ts"
import type { SessionContext } from "../../wire/bgp/context.ts"

/** RFC 4271, 8.2.2. */
export type StateName = "Idle" | "Connect" | "Active" | "OpenSent" | "OpenConfirm" | "Established"

/** What the speaker is, towards every neighbour. */
export interface LocalSpeaker {
  readonly asn: number
  /** Dotted quad. */
  readonly routerId: string
  /** For the FQDN capability; absent: it is not sent. */
  readonly hostname?: string
  /** The speaker starts again and kept its forwarding state (RFC 4724, 4.1): R and F bits are set in OPENs. */
  readonly restarting: boolean
}

/** A NOTIFICATION that was sent or received. */
export interface Notification {
  readonly code: number
  readonly subcode: number
  readonly data: Uint8Array
  /** As an operator reads it: `Cease/Administrative Shutdown: "maintenance"`. */
  readonly text: string
}

/** Why a session ended. */
export interface DownReason {
  readonly kind:
    | "notification-sent"
    | "notification-received"
    | "connection-lost"
    | "hold-timer"
    | "send-hold-timer"
    | "bfd"
    | "admin"
    | "link"
    | "replaced"
  readonly notification?: Notification
  /** One line for people. */
  readonly text: string
  /**
   * Families whose routes from the peer are kept as stale (RFC 4724, 4.2; RFC 8538; RFC 9494); those of all others go now. What becomes
   * of them is told by the callback `stale`.
   */
  readonly retain?: ReadonlyArray<number>
}

/** Families are numbers as in `iana.ts`. */
export interface SessionCallbacks {
  /** The OPENs have been exchanged and a KEEPALIVE has come. UPDATEs may be sent. */
  established(session: Session, context: SessionContext, peerOpen: Open): void
  /**
   * An UPDATE, whole with its header, at `bytes[at..end)`; the octets are valid during the call only. A fault that resets the session is
   * answered by `session.fail(...)`. `false`: no more until `session.resume()`.
   */
  update(session: Session, bytes: Uint8Array, at: number, end: number): void | false
  /** RFC 2918, RFC 7313: `subtype` 0 asks, 1 begins, 2 ends a refresh. */
  routeRefresh(session: Session, family: number, subtype: number): void
  down(session: Session, reason: DownReason): void
  /** Graceful restart: drop what is still stale of this family; `longLived`: keep it as least preferred (RFC 9494) instead. */
  stale(session: Session, family: number, what: "flush" | "longLived"): void
  stateChanged(session: Session, from: StateName, to: StateName): void
  /** There is room in the send queue again. */
  room(session: Session): void
  /** A dynamic neighbour's peer has gone for good: the session is closed and may be forgotten. */
  gone?(session: Session): void
}

export interface MessageCounters {
  open: number
  update: number
  notification: number
  keepalive: number
  routeRefresh: number
  octets: number
}

/** What `weft bgp` shows of a neighbour. */
export interface SessionStatus {
  readonly name: string
  readonly state: StateName
  /** The FSM runs, but an administrator has shut the session down. */
  readonly adminDown: boolean
  readonly remoteAddress?: string
  readonly remotePort?: number
  readonly localAddress?: string
  readonly localPort?: number
  readonly remoteAs?: number
  readonly remoteId?: string
  readonly remoteHostname?: string
  /** Established for so long, or not established for so long; ms. */
  readonly sinceMs: number
  readonly establishedCount: number
  readonly sent: Readonly<MessageCounters>
  readonly received: Readonly<MessageCounters>
  /** Negotiated; undefined without a session. */
  readonly holdTimeS?: number
  readonly keepaliveS?: number
  readonly connectRetryS: number
  readonly lastSent?: Notification & { readonly at: number }
  readonly lastReceived?: Notification & { readonly at: number }
  /** Of the last end or failed attempt, whatever the kind. */
  readonly lastError?: string
  readonly capabilities: ReadonlyArray<{ readonly name: string; readonly advertised: boolean; readonly received: boolean }>
  readonly queuedOctets: number
  /** Families with routes that wait for the peer's return, and how (RFC 4724, RFC 9494). */
  readonly staleFamilies: ReadonlyArray<readonly [family: number, phase: "stale" | "longLived"]>
}

/** How to end a session: `hard` as an operator's reset (Cease 4), `peerDeconfigured` (3), `configuration` (6), `maxPrefix` (1). */
export type ResetKind = "administrative" | "peerDeconfigured" | "configuration" | "maxPrefix" | "outOfResources" | "hard"

export interface Session {
  readonly neighbor: BgpNeighborSpec
  /** The peer's address once it is known: of an unnumbered neighbour its link-local one, with `ifname`. */
  readonly remoteAddress: string | undefined
  readonly localAddress: string | undefined
  readonly ifname: string | undefined
  readonly state: StateName
  /** While established. */
  readonly context: SessionContext | undefined
  readonly peerOpen: Open | undefined
  start(): void
  /** Whole messages, which may be several in one array. The octets must not change until they are written. */
  send(octets: Uint8Array): void
  hasRoom(): boolean
  /** UPDATEs are delivered again after `update` returned false. */
  resume(): void
  /** Ends the session with a NOTIFICATION of the caller's (UPDATE errors, RFC 7606 session reset), and starts it again after a while. */
  fail(code: number, subcode: number, data?: Uint8Array): void
  reset(kind: ResetKind, restartS?: number): void
  /** RFC 9003: stays down, with this text to the peer, until `start`. */
  shutdown(message: string): void
  /** `down` ends an established session at once (RFC 5882; RFC 9384). It may start again on `up`, or after the connect retry time. */
  bfd(state: "up" | "down"): void
  /**
   * The link that the neighbour is on, or none where it need not be on one of ours. A text: it is on none, and says why. Then there is no
   * session and nobody is let in; one that was up ends at once. Before `start`, and at each change.
   */
  attached(link: { readonly ifname?: string } | string): void
  /** The neighbour's timers or other words of the topology changed; what OPENs agree upon holds from the next session on. */
  configure?(neighbor: BgpNeighborSpec): void
  /** An End-of-RIB marker of the family came. */
  endOfRib(family: number): void
  status(): SessionStatus
  /** For good: Cease (peer deconfigured), or with `keep` without a word, so that a peer that can restarts gracefully. */
  close(how?: "deconfigured" | "keep"): void
}
