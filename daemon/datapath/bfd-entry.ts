/** A session of the engine's thread with its sockets and owners, and what can be told of it. */
import { randomInt } from "node:crypto"
import type { MessagePort } from "node:worker_threads"
import type { Path } from "../bfd/demultiplex.ts"
import { Time, type Session } from "../bfd/session.ts"
import { diagnosticName, stateNames, type StateName } from "../bfd/state.ts"
import { addon, type EngineHandle } from "../native/index.ts"
import * as Ip from "../wire/ip.ts"
import type { BfdChange, BfdOptions, BfdStatus } from "./bfd-api.ts"
import type { Listener } from "./bfd-sockets.ts"

export interface Owner {
  readonly channel: number
  readonly port: MessagePort
  readonly seesAll: boolean
  readonly sessions: Map<string, Entry>
}

export interface User {
  readonly owner: Owner
  readonly id: string
  options: BfdOptions
}

/** Indexes of `Entry.counts`; `stalledNs`: how late this thread had been in all when the peer was last heard. */
export const Count = { sent: 0, received: 1, discarded: 2, sendErrors: 3, stalledNs: 4 } as const

/** A session with its sockets. Its keys in the wheel are twice its index (transmit) and one more (detection). */
export interface Entry extends Path {
  readonly key: string
  readonly index: number
  readonly session: Session
  readonly listener: Listener<Entry>
  readonly options: BfdOptions
  readonly users: User[]
  readonly minTtl: number
  readonly counts: Float64Array
  /** What its timers are set to. */
  readonly armed: Float64Array
  ifindex: number
  descriptor: number
  /** Where packets go, as the kernel has it. */
  address: Uint8Array
  isFast: boolean
}

/** The shortest interval that is accepted: RFC 5880 has no bound, but the thread's exactness has one. */
const minIntervalMs = 10

const stateNameOf = (state: number): StateName => stateNames[state]!

/** Who shares a session: RFC 5882 2 wants one for each path. One hop away that is an interface and an address (RFC 5881 3). */
export const keyOf = ({ ifname = "", local = "", multihop, netns, peer }: BfdOptions): string =>
  multihop ? `${netns} multihop ${local} ${peer}` : `${netns} ${ifname} ${peer}`

const isLinkLocal = (peer: string): boolean => /^fe[89ab]/i.test(peer)

/** The octets of the peer's address. @throws Error when a session with these options makes no sense. */
export const checkedPeer = ({ ifname, local, minRxMs, minTxMs, multihop, multiplier, peer }: BfdOptions): Uint8Array => {
  const octets = Ip.parse(peer)
  const own = local === undefined ? undefined : Ip.parse(local)
  if (octets === undefined) throw new Error(`"${peer}" is no address`)
  if (local !== undefined && own === undefined) throw new Error(`"${local}" is no address`)
  if (own !== undefined && own.length !== octets.length) throw new Error(`"${local}" is of the other family`)
  const isAstray = isLinkLocal(peer) && (multihop || ifname === undefined)
  if (isAstray) throw new Error("a link-local address needs an interface, and is one hop away")
  if (!(Math.min(minTxMs, minRxMs) >= minIntervalMs)) throw new Error(`intervals are ${minIntervalMs} ms or more`)
  if (!(multiplier >= 1 && multiplier <= 255)) throw new Error("the multiplier is 1 to 255")
  return octets
}

/** The shortest of what several owners want. */
export const timersOf = (wishes: ReadonlyArray<BfdOptions>): { minTxUs: number; minRxUs: number; multiplier: number } => {
  const least = (of: (options: BfdOptions) => number): number => Math.min(...wishes.map(of))
  return {
    minTxUs: Math.round(least(({ minTxMs }) => minTxMs) * 1000),
    minRxUs: Math.round(least(({ minRxMs }) => minRxMs) * 1000),
    multiplier: least(({ multiplier }) => multiplier)
  }
}

/** The socket that sends to the peer, and the index of its interface. @throws NativeError */
export const openSender = (engine: EngineHandle, netns: number, peer: Uint8Array, options: BfdOptions): readonly [number, number] => {
  const { ifname, local, multihop } = options
  const own = local === undefined ? new Uint8Array(0) : Ip.parse(local)!
  return addon.bfdOpen(engine, netns, multihop ? "" : ifname ?? "", own, peer.length === 16, randomInt(0x4000))
}

/** What an owner is told that knows the session as `id`. */
export const changeOf = ({ options, session }: Entry, id: string, previous: number, isFirst: boolean): BfdChange => ({
  id,
  isFirst,
  netns: options.netns,
  peer: options.peer,
  state: stateNameOf(session.state),
  previous: stateNameOf(previous),
  remoteState: stateNameOf(session.remoteState),
  reason: session.reason()
})

export const statusOf = (entry: Entry, nowNs: number): BfdStatus => {
  const { counts, options, session, users } = entry
  const { ifname, local, multihop, netns, peer } = options
  const { minTxUs, minRxUs, multiplier } = timersOf(users.map((user) => user.options))
  return {
    ids: users.map(({ id }) => id),
    netns,
    peer,
    ...(local === undefined ? {} : { local }),
    ...(ifname === undefined || multihop ? {} : { ifname }),
    multihop,
    state: stateNameOf(session.state),
    diagnostic: diagnosticName(session.diagnostic),
    remoteState: stateNameOf(session.remoteState),
    remoteDiagnostic: diagnosticName(session.remoteDiagnostic),
    localDiscriminator: session.localDiscriminator,
    remoteDiscriminator: session.remoteDiscriminator,
    timers: { minTxMs: minTxUs / 1000, minRxMs: minRxUs / 1000, multiplier },
    remote: { minTxMs: session.remoteMinTxUs / 1000, minRxMs: session.remoteMinRxUs / 1000, multiplier: session.remoteMultiplier },
    transmitMs: session.transmitUs / 1000,
    detectionMs: session.detectionUs / 1000,
    polling: session.isPolling,
    packetsSent: counts[Count.sent]!,
    packetsReceived: counts[Count.received]!,
    discarded: counts[Count.discarded]!,
    sendErrors: counts[Count.sendErrors]!,
    unmatched: entry.listener.counts[0]!,
    upCount: session.upCount,
    downCount: session.downCount,
    ...(session.lastDownReason === undefined ? {} : { lastDownReason: session.lastDownReason }),
    sinceMs: (nowNs - session.times[Time.changed]!) / 1e6
  }
}
