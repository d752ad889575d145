/**
 * What owners of BFD sessions and the engine's thread say to each other.
 *
 * A session belongs to a namespace and a peer. Several owners may ask for the same one (a static route and a BGP
 * neighbour): then there is one session (RFC 5882 2), with the shortest of their times, and each hears of its changes.
 * Owners are `Engine` on the main thread and whoever holds a `BfdChannel`.
 */
import type { MessagePort } from "node:worker_threads"

/** RFC 5880 6.8.1, in the order of the State field. */
export type BfdState = "admin-down" | "down" | "init" | "up"

export interface BfdTimers {
  /** Desired Min TX Interval while the session is up; 10 ms and up. */
  readonly minTxMs: number
  /** Required Min RX Interval; 10 ms and up. */
  readonly minRxMs: number
  /** Detect Mult, 1..255: so many of our packets must be lost in a row until the peer takes the session down. */
  readonly multiplier: number
}

export interface BfdOptions extends BfdTimers {
  /** Path of the network namespace: `/run/netns/NAME`. It is open only while the session is being added. */
  readonly netns: string
  /** Address of the peer, without zone. */
  readonly peer: string
  /** Address to send from; absent: the one that the route has. Packets to other addresses are not this session's. */
  readonly local?: string
  /** The interface of a single-hop session; it must be given where `peer` is link-local. */
  readonly ifname?: string
  /** RFC 5883: port 4784, any TTL from `minTtl` on; else RFC 5881: port 3784, TTL 255 only. */
  readonly multihop: boolean
  /** Of multihop sessions, 1..255. Absent: 1. */
  readonly minTtl?: number
  /** Send nothing before the peer does (RFC 5880 6.1). */
  readonly passive?: boolean
  /** Keep the session administratively down; the peer is told. */
  readonly adminDown?: boolean
}

/** A session's state after it changed. */
export interface BfdChange {
  /** As in `addBfd`. */
  readonly id: string
  readonly netns: string
  readonly peer: string
  readonly state: BfdState
  readonly previous: BfdState
  readonly remoteState: BfdState
  /** True for one of the owners of the session: who counts changes and not owners looks at these. */
  readonly isFirst: boolean
  /** Why, in words: `control detection time expired`, `neighbor signaled session down`, ... */
  readonly reason: string
}

/** All there is to know of a session. Times in milliseconds. */
export interface BfdStatus {
  /** Ids of all owners. */
  readonly ids: ReadonlyArray<string>
  readonly netns: string
  readonly peer: string
  readonly local?: string
  readonly ifname?: string
  readonly multihop: boolean
  readonly state: BfdState
  readonly diagnostic: string
  readonly remoteState: BfdState
  readonly remoteDiagnostic: string
  readonly localDiscriminator: number
  readonly remoteDiscriminator: number
  /** What is configured, shortest of all owners. */
  readonly timers: BfdTimers
  /** What the peer last said. */
  readonly remote: BfdTimers
  /** How often we send, before jitter. */
  readonly transmitMs: number
  /** After how long without a packet the session goes down; 0 while there is none. */
  readonly detectionMs: number
  readonly polling: boolean
  readonly packetsSent: number
  readonly packetsReceived: number
  /** Packets for this session that were not taken: wrong TTL or interface, authentication. */
  readonly discarded: number
  /** Packets to the same port of the namespace that were malformed, or no session's. */
  readonly unmatched: number
  readonly sendErrors: number
  readonly upCount: number
  readonly downCount: number
  readonly lastDownReason?: string
  /** Since the last change of state. */
  readonly sinceMs: number
}

/** From an owner to the engine's thread. */
export type BfdCommand =
  | { readonly kind: "bfd-add"; readonly id: string; readonly options: BfdOptions; readonly ticket: number }
  | { readonly kind: "bfd-set"; readonly id: string; readonly timers: Partial<BfdTimers> & { readonly adminDown?: boolean } }
  | { readonly kind: "bfd-remove"; readonly id: string }
  | { readonly kind: "bfd-states"; readonly ticket: number }
  /** All sessions of a namespace, also those that come later, say nothing and hear nothing; or go on. */
  | { readonly kind: "bfd-pause"; readonly netns: string; readonly isPaused: boolean }
  | { readonly kind: "bfd-close" }

/** From the engine's thread to an owner. */
export type BfdReply =
  | { readonly kind: "bfd-added"; readonly ticket: number; readonly failure?: string }
  | { readonly kind: "bfd-states"; readonly ticket: number; readonly states: ReadonlyArray<BfdStatus> }
  | { readonly kind: "bfd-change"; readonly change: BfdChange }

/** An owner's end, to be transferred to its thread and given to `new BfdClient(channel)` there. */
export interface BfdChannel {
  /** For `Engine.endBfdPort`, when the owner's thread has ended without closing its client. */
  readonly id: number
  readonly port: MessagePort
  /** The client's own descriptor of the event that wakes the engine's thread up; the client closes it. */
  readonly event: number
}
