/**
 * What can be asked about a running speaker, and the answers: plain values in pages, because a table of a million routes
 * must be neither one message nor one long stop of the routing thread.
 *
 *     neighbors.ts   sessions: state, counters, what was agreed on
 *     dump.ts        a table as an MRT file
 *     updates.ts     what neighbours send, as it comes, as an MRT file
 *     routes.ts      tables: Loc-RIB, what a neighbour sent, what it is sent; why a path won or lost
 */
import type { Family } from "../../plan/bgp.ts"

/** A page of a table; `after` is the `next` of the page before. */
export interface Page {
  readonly after?: string
  readonly limit: number
}

/** `rib`: best and other paths; `received`: what the neighbour sent, before policy; `advertised`: what it is sent, after policy. */
export type TableName = "rib" | "received" | "advertised"

interface Asked {
  readonly lab: string
  readonly node: string
}

export interface RoutesQuery extends Asked, Page {
  readonly kind: "routes"
  readonly table: TableName
  /** Name of the speaker's table; empty: the default one. */
  readonly vrf: string
  /** Undefined: both, IPv4 first. */
  readonly family?: Family
  /** For `received` and `advertised`: name, address or node. */
  readonly neighbor?: string
  /** An address (the longest match) or a prefix. */
  readonly prefix?: string
  /** With a prefix: what lies inside it, too. */
  readonly longer?: boolean
}

/** All paths of a table as octets of an MRT file. */
export interface DumpQuery extends Asked, Page {
  readonly kind: "dump"
  readonly vrf: string
}

/** Messages of neighbours as they come, as octets of an MRT file. Without `tap` it begins; `end`: it is the last time. */
export interface UpdatesQuery extends Asked {
  readonly kind: "updates"
  /** Name, address or node; empty: all. */
  readonly neighbor: string
  readonly tap?: number
  readonly end?: boolean
}

export type Query =
  | (Asked & { readonly kind: "speaker" })
  | RoutesQuery
  | DumpQuery
  | UpdatesQuery
  /** Of all speakers of a lab: what keeps it from being settled. */
  | { readonly kind: "settled"; readonly lab: string }
  /** Of the thread. */
  | { readonly kind: "load" }

export interface FamilyView {
  readonly family: Family
  /** Prefixes: received, of these passed by policy, sent. */
  readonly received: number
  readonly accepted: number
  readonly sent: number
  /** The neighbour has said that it has sent everything (End-of-RIB). */
  readonly complete: boolean
}

export interface NeighborView {
  readonly name: string
  /** The lab's node at the other end, or what the topology says of it. */
  readonly description: string
  readonly vrf: string
  /** Of dynamic neighbours: the prefix that let it in. */
  readonly group: string
  readonly remoteAs: number
  readonly localAs: number
  readonly remoteAddress: string
  readonly localAddress: string
  readonly remoteRouterId: string
  /** `Idle` `Connect` `Active` `OpenSent` `OpenConfirm` `Established`, `Shutdown` */
  readonly state: string
  /** ms since 1970: when the state was entered; 0: never was up. */
  readonly sinceMs: number
  readonly establishedCount: number
  /** Why it went down last, or why it cannot come up. */
  readonly lastReset: string
  readonly messagesReceived: number
  readonly messagesSent: number
  readonly holdTimeS: number
  readonly keepaliveS: number
  /** Words: `4-octet AS`, `route refresh`, `add-path ipv4 receive`, ... */
  readonly capabilities: ReadonlyArray<string>
  readonly families: ReadonlyArray<FamilyView>
  /** `up`, `down`, `none`: not asked for. */
  readonly bfd: string
}

export interface SpeakerView {
  readonly lab: string
  readonly node: string
  readonly asn: number
  readonly routerId: string
  readonly vrfs: ReadonlyArray<{ readonly name: string; readonly table: number; readonly prefixes: number; readonly paths: number }>
  readonly neighbors: ReadonlyArray<NeighborView>
  /** Prefixes from which neighbours are let in, with how many of each at most. */
  readonly ranges: ReadonlyArray<{ readonly prefix: string; readonly limit: number }>
  /** A graceful restart is under way. */
  readonly restarting: boolean
  /** How long the thread of all speakers has kept sockets and timers waiting, at most, since it began. */
  readonly longestTurnMs: number
}

export interface PathView {
  readonly prefix: string
  readonly family: Family
  readonly best: boolean
  /** In the kernel beside the best. */
  readonly multipath: boolean
  readonly valid: boolean
  readonly stale: boolean
  /** `external`, `internal`, `local` */
  readonly kind: string
  /** The neighbour it came from; `network`, `connected`, `static`, `aggregate`, `table NAME` for our own. */
  readonly from: string
  readonly nextHop: string
  readonly med?: number
  readonly localPref?: number
  readonly weight: number
  /** `65001 65002 {65003,65004}` */
  readonly asPath: string
  readonly origin: "igp" | "egp" | "incomplete"
  readonly communities: ReadonlyArray<string>
  readonly pathId: number
  /** ms since 1970 */
  readonly sinceMs: number
  /** `best: shortest AS path`, `lost to 10.0.0.1 on AS-path length`, `next hop 10.9.9.9 is not reachable`. Empty in long tables. */
  readonly why: string
  /** Everything else that the route bears: `originator-id 1.2.3.4`, `cluster-list ...`, `attribute 35 (4 octets)`. */
  readonly more: ReadonlyArray<string>
}

export interface RoutesPage {
  readonly kind: "routes"
  readonly paths: ReadonlyArray<PathView>
  /** Present: there is more, from here. */
  readonly next?: string
  /** Prefixes in the table. */
  readonly total: number
}

export type Answer =
  | { readonly kind: "speaker"; readonly speaker: SpeakerView }
  | RoutesPage
  | { readonly kind: "dump"; readonly octets: Uint8Array; readonly next?: string }
  /** `lost`: messages that came faster than they were asked for. */
  | { readonly kind: "updates"; readonly tap: number; readonly octets: Uint8Array; readonly lost: number }
  | Settled
  | {
      readonly kind: "load"
      readonly speakers: number
      readonly heapOctets: number
      readonly rssOctets: number
      readonly busyMs: number
      readonly longestTurnMs: number
    }
  | { readonly kind: "nothing"; readonly reason: string }

/** How far the speakers of a lab have come. */
export interface Settled {
  readonly kind: "settled"
  /** Sessions that are meant to be, and of these those that are established. */
  readonly sessions: number
  readonly established: number
  /** Those that are not. */
  readonly missing: ReadonlyArray<MissingSession>
  /** Sessions whose neighbour has not said yet that it has told everything. */
  readonly incomplete: number
  /** Tables, or the kernel's routes, are being worked on. */
  readonly isBusy: boolean
}

export interface MissingSession {
  readonly node: string
  readonly neighbor: string
  readonly description: string
  readonly state: string
  readonly reason: string
}
