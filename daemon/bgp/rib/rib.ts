/**
 * The routes of one speaker and VRF. Signatures first; the bodies follow.
 */

import type { FamilyIndex, PathView, RibOptions, RibPeer, RibSession, Source } from "./types.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import type { BgpError } from "../../wire/bgp/notification.ts"

export interface AggregateSpec {
  readonly prefix: string
  readonly summaryOnly: boolean
  readonly asSet: boolean
}

export interface RibCounts {
  readonly prefixes: number
  readonly paths: number
  readonly pending: number
}

export interface PeerCounts {
  readonly received: number
  readonly accepted: number
  readonly advertised: number
}

export declare class Rib {
  constructor(options: RibOptions)

  /** Makes a neighbour known; the number names it in all other calls until `removePeer`. */
  addPeer(peer: RibPeer): number
  /** New configuration; what it changes of received and sent routes is worked off by `run`. */
  updatePeer(peer: number, config: RibPeer): void
  removePeer(peer: number): void

  /** The session is Established: sends the tables and End-of-RIB, as far as the outbound side takes them. */
  sessionUp(peer: number, session: RibSession): void
  /** The session ended. `stale`: families whose paths stay for graceful restart, until End-of-RIB, `sweepStale` or `makeLongLived`. */
  sessionDown(peer: number, stale: ReadonlyArray<FamilyIndex>): void
  sweepStale(peer: number, family: FamilyIndex): void
  /** RFC 9494 4.2: what is stale and has no NO_LLGR gets LLGR_STALE and least preference; the rest goes. */
  makeLongLived(peer: number, family: FamilyIndex): void

  /** One UPDATE with its header at `bytes[at..end)`. What is wrong with it for the session, or nothing. */
  receive(peer: number, bytes: Uint8Array, at: number, end: number): BgpError | undefined
  /** A ROUTE-REFRESH of the neighbour: 0 asks us to send again, 1 and 2 mark begin and end of its own (RFC 7313). */
  routeRefresh(peer: number, family: FamilyIndex, subtype: number): void
  /** Applies the import policy anew to what was received. */
  refreshImport(peer: number): void
  /** Sends everything again to this neighbour, as after a soft reset out; only differences where nothing was asked for. */
  refreshExport(peer: number): void
  /** The outbound side has space again. */
  drained(peer: number): void
  fibDrained(): void
  /** While held (a restarting speaker waits for its neighbours' End-of-RIB), nothing is decided or sent. */
  hold(on: boolean): void

  /** A local route; a second one of the same prefix and source replaces it. `nextHop` 0.0.0.0 or :: means this router. */
  originate(prefix: string, source: Source, attributes: PathAttributes): void
  withdraw(prefix: string, source: Source): void
  setAggregates(aggregates: ReadonlyArray<AggregateSpec>): void
  /** Other tables of the speaker that take this one's best paths, as `accepts` says of their attributes. */
  importFrom(other: Rib, accepts: (attributes: PathAttributes) => PathAttributes | undefined): () => void

  /** Works for about this long; true: there is more to do. */
  run(budgetMs: number): boolean

  counts(family: FamilyIndex): RibCounts
  peerCounts(peer: number, family: FamilyIndex): PeerCounts
  /** All paths of one prefix, the best first, each with why; nothing if the prefix is unknown. */
  explain(prefix: string): ReadonlyArray<PathView>
  /** The longest match of an address. */
  lookup(address: string): ReadonlyArray<PathView>
  /** Pages of at most `count` prefixes in the order of the table; `cursor` 0 begins, the result's `next` goes on, -1: the end. */
  best(family: FamilyIndex, cursor: number, count: number): { readonly paths: ReadonlyArray<PathView>; readonly next: number }
  received(peer: number, family: FamilyIndex, cursor: number, count: number): { readonly paths: ReadonlyArray<PathView>; readonly next: number }
  /** As sent: attributes as the neighbour gets them. */
  advertised(peer: number, family: FamilyIndex, cursor: number, count: number): { readonly paths: ReadonlyArray<PathView>; readonly next: number }
}
