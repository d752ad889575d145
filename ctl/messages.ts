/**
 * The messages of `proto/weft/v1/weft.proto` as the client reads and writes them: camelCase fields, enums by name,
 * absent scalars as their zero value. The proto file documents the fields.
 */

import type { Fault } from "./fault.ts"
import type { Recordings } from "./recordings.ts"

export interface Topology extends Partial<Recordings> {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab?: string
}

export interface Diagnostic {
  readonly severity: "ERROR" | "WARNING"
  readonly filename: string
  readonly line: number
  readonly column: number
  readonly path: string
  readonly message: string
  readonly suggestion: string
}

export interface ValidateResponse {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly lab: string
  readonly nodes: number
  readonly segments: number
  readonly resources: number
}

export interface PlanResponse {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly lab: string
  readonly exists: boolean
  readonly changes: ReadonlyArray<Change>
  /** What a person wants to know: which host could not be asked, ... */
  readonly notes: ReadonlyArray<string>
}

export type Action = "NONE" | "CREATE" | "UPDATE" | "REPLACE" | "REMOVE"

export interface Change {
  readonly action: Action
  readonly id: string
  readonly kind: string
  readonly node: string
  readonly attributes: ReadonlyArray<{ readonly path: string; readonly before: string; readonly after: string }>
  readonly reason: string
  readonly host: string
}

export interface ChangeDone {
  readonly change: Change
  readonly error: string
  /** Not tried, because something that it needs failed. */
  readonly blocked: boolean
}

export interface Planned {
  readonly lab: string
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly creates: number
  readonly updates: number
  readonly replaces: number
  readonly removes: number
}

export interface Done {
  readonly lab: string
  readonly changed: number
  readonly durationMs: number
}

export interface Failed {
  readonly message: string
  readonly failures: ReadonlyArray<ChangeDone>
  readonly rolledBack: boolean
  readonly invalidTopology: boolean
}

export type Progress =
  | { readonly event: "planned"; readonly planned: Planned }
  | { readonly event: "change"; readonly change: ChangeDone }
  | { readonly event: "note"; readonly note: { readonly message: string } }
  | { readonly event: "done"; readonly done: Done }
  | { readonly event: "failed"; readonly failed: Failed }
  | { readonly event: "host"; readonly host: HostProgress }

export interface HostProgress {
  readonly host: string
  readonly state: string
  readonly done: number
  readonly total: number
}

export interface LabSummary {
  readonly name: string
  readonly state: string
  readonly nodes: number
  readonly segments: number
  readonly deployedAt: string
  readonly filename: string
  readonly error: string
  /** That have a part of it. */
  readonly hosts: ReadonlyArray<string>
  /** How many are in force. */
  readonly faults: number
}

export interface ListResponse {
  readonly labs: ReadonlyArray<LabSummary>
  /** Why the list may be old, or empty. */
  readonly error: string
}

export interface InspectResponse {
  readonly lab: LabSummary
  readonly nodes: ReadonlyArray<Node>
  readonly segments: ReadonlyArray<Segment>
  readonly drift: ReadonlyArray<Change>
  readonly host: string
  /** Between hosts; empty on one host. */
  readonly tunnels: ReadonlyArray<Tunnel>
  /** Hosts that have a part of the lab and did not answer, each with the reason. */
  readonly unreachable: ReadonlyArray<string>
  /** In force, oldest first. */
  readonly faults: ReadonlyArray<Fault>
}

export interface Tunnel {
  readonly host: string
  readonly peer: string
  readonly local: string
  readonly remote: string
  readonly encapsulation: string
  readonly port: number
  readonly datapath: string
  readonly state: string
  readonly since: string
  readonly rttMs: number
  readonly segments: ReadonlyArray<string>
}

export interface Node {
  readonly name: string
  readonly kind: string
  readonly group: string
  readonly labels: Readonly<Record<string, string>>
  readonly netns: string
  readonly host: string
  readonly state: string
  readonly ports: ReadonlyArray<Port>
  readonly routes: ReadonlyArray<Route>
  /** Ids of those that change it. */
  readonly faults: ReadonlyArray<string>
}

export interface Port {
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly addresses: ReadonlyArray<string>
  readonly segment: string
  readonly fabricName: string
  readonly ifindex: number
  readonly state: string
  readonly counters: PortCounters | null
}

export interface PortCounters {
  readonly fromPackets: number
  readonly fromOctets: number
  readonly toPackets: number
  readonly toOctets: number
  readonly drops: Readonly<Record<string, number>>
}

export interface Route {
  readonly to: string
  readonly type: string
  readonly metric: number
  readonly table: number
  readonly via: ReadonlyArray<string>
}

export interface Segment {
  readonly name: string
  readonly kind: string
  readonly vni: number
  readonly ports: ReadonlyArray<string>
  readonly cidrs: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
  /** What each direction does to packets; empty for a plain wire. */
  readonly profile: ReadonlyArray<string>
  readonly profileLabel: string
  /** Ids of those that change it. */
  readonly faults: ReadonlyArray<string>
}

export interface Event {
  readonly time: string
  readonly lab: string
  readonly type: string
  readonly subject: string
  readonly message: string
  readonly host: string
}

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

export interface ExecStart {
  readonly node: string
  readonly argv: ReadonlyArray<string>
  readonly tty: boolean
  readonly size?: TerminalSize
  readonly env: Readonly<Record<string, string>>
  readonly user: string
}

export type ExecRequest =
  | { readonly start: ExecStart }
  | { readonly stdin: Uint8Array }
  | { readonly stdinEof: true }
  | { readonly resize: TerminalSize }
  | { readonly signal: string }

export type ExecResponse =
  | { readonly message: "stdout"; readonly stdout: Uint8Array }
  | { readonly message: "stderr"; readonly stderr: Uint8Array }
  | { readonly message: "exit"; readonly exit: { readonly code: number; readonly signal: string } }

export interface CaptureStart {
  readonly ports: ReadonlyArray<string>
  readonly filter: string
  readonly count: number
  readonly durationMs: number
  readonly snaplen: number
  readonly text: boolean
  /** The tunnel side of the ports. */
  readonly tunnel?: boolean
}

export type CaptureResponse =
  | { readonly message: "pcapng"; readonly pcapng: Uint8Array }
  | { readonly message: "text"; readonly text: string }
  | { readonly message: "ended"; readonly ended: CaptureEnded }

export interface CaptureEnded {
  readonly reason: string
  readonly failed: boolean
  readonly ports: ReadonlyArray<CapturedPort>
}

export interface CapturedPort {
  readonly name: string
  readonly received: number
  readonly dropped: number
  readonly delivered: number
}

export interface ReachRequest {
  readonly lab: string
  readonly nodes: ReadonlyArray<string>
  readonly timeoutMs: number
  readonly ipv6: boolean
}

export interface ReachResult {
  readonly from: string
  readonly to: string
  readonly address: string
  readonly icmp: boolean
  readonly icmpRttMs: number
  readonly tcp: boolean
  readonly seenAs: string
  readonly source: string
  readonly error: string
}

export interface VersionResponse {
  readonly version: string
  readonly instance: string
  readonly host: string
  readonly kernel: string
  readonly node: string
  readonly pid: number
}

export interface HostsResponse {
  readonly hosts: ReadonlyArray<HostInfo>
  /** Why the list may be old, or empty. */
  readonly error: string
}

export interface HostInfo {
  readonly name: string
  readonly state: string
  readonly underlay: string
  readonly endpoint: string
  readonly capacity: number
  readonly labels: Readonly<Record<string, string>>
  readonly version: string
  readonly kernel: string
  readonly since: string
  readonly labs: number
  readonly nodes: number
  readonly asked: boolean
}

export interface EvpnStation {
  readonly mac: string
  readonly addresses: ReadonlyArray<string>
  /** Empty: on this host. */
  readonly vtep: string
  readonly sequence: number
  readonly sticky: boolean
  readonly moves: number
  readonly frozen: boolean
}

export interface EvpnNetwork {
  readonly lab: string
  readonly name: string
  readonly vni: number
  readonly rd: string
  readonly floods: ReadonlyArray<string>
  readonly stations: ReadonlyArray<EvpnStation>
  readonly answered: number
}

export interface EvpnPeer {
  readonly address: string
  readonly role: string
  readonly asn: number
  readonly state: string
  readonly sinceMs: number
  readonly received: number
  readonly advertised: number
  readonly lastError: string
}

export interface EvpnPrefix {
  readonly prefix: string
  readonly rd: string
  readonly gateway: string
  readonly vni: number
  readonly vtep: string
  /** `lab/name`, if it is here; then the station that has the gateway's address, if one is known, and its VTEP, if elsewhere. */
  readonly network: string
  readonly mac: string
  readonly at: string
}

export interface EvpnResponse {
  /** False: this host floods and learns. */
  readonly running: boolean
  readonly host: string
  readonly asn: number
  readonly routerId: string
  readonly vtep: string
  readonly peers: ReadonlyArray<EvpnPeer>
  readonly networks: ReadonlyArray<EvpnNetwork>
  readonly prefixes: ReadonlyArray<EvpnPrefix>
  readonly unknown: number
}

export interface Finding {
  readonly subject: string
  readonly verdict: "OK" | "WARNING" | "MISSING"
  readonly detail: string
  readonly neededFor: string
  readonly remedy: string
}

/** The fields of `RoutesRequest`. */
export interface RoutesRequest {
  readonly node: string
  readonly table: string
  readonly family: string
  readonly prefix: string
  readonly protocol: string
  readonly limit: number
}

export interface KernelRoute {
  readonly prefix: string
  readonly family: string
  readonly table: number
  readonly metric: number
  readonly protocol: string
  readonly code: string
  readonly type: string
  readonly selected: boolean
  readonly nexthopId: number
  readonly ways: ReadonlyArray<RouteWay>
  readonly source: string
}

export interface RouteWay {
  readonly gateway: string
  readonly ifname: string
  readonly weight: number
  readonly backup: boolean
  readonly down: boolean
}

/** Milliseconds. */
export interface BfdTimes {
  readonly minTxMs: number
  readonly minRxMs: number
  readonly multiplier: number
}

/** Times are milliseconds; empty text: none. */
export interface BfdSession {
  readonly peer: string
  readonly ifname: string
  readonly local: string
  readonly multihop: boolean
  readonly state: string
  readonly diagnostic: string
  readonly remoteState: string
  readonly remoteDiagnostic: string
  readonly localDiscriminator: number
  readonly remoteDiscriminator: number
  readonly configured: BfdTimes
  readonly remote: BfdTimes
  readonly transmitMs: number
  readonly detectionMs: number
  readonly sinceMs: number
  readonly packetsSent: number
  readonly packetsReceived: number
  readonly discarded: number
  readonly unmatched: number
  readonly sendErrors: number
  readonly upCount: number
  readonly downCount: number
  readonly lastDownReason: string
  readonly polling: boolean
  readonly owners: number
}

export interface BfdResponse {
  readonly lab: string
  readonly node: string
  readonly sessions: ReadonlyArray<BfdSession>
}

export interface BgpSpeaker {
  readonly lab: string
  readonly node: string
  readonly asn: number
  readonly routerId: string
  readonly vrfs: ReadonlyArray<{ readonly name: string; readonly table: number; readonly prefixes: number; readonly paths: number }>
  readonly neighbors: ReadonlyArray<BgpNeighbor>
  /** Prefixes from which neighbors are let in, with how many of each at most. */
  readonly ranges: ReadonlyArray<{ readonly prefix: string; readonly limit: number }>
  readonly restarting: boolean
  /** How long the thread of all speakers of the host has kept its sockets and timers waiting, at most. */
  readonly longestTurnMs: number
}

export interface BgpNeighbor {
  readonly name: string
  readonly description: string
  readonly vrf: string
  readonly group: string
  readonly remoteAs: number
  readonly localAs: number
  readonly remoteAddress: string
  readonly localAddress: string
  readonly remoteRouterId: string
  readonly state: string
  readonly sinceMs: number
  readonly establishedCount: number
  readonly lastReset: string
  readonly messagesReceived: number
  readonly messagesSent: number
  readonly holdTimeS: number
  readonly keepaliveS: number
  readonly capabilities: ReadonlyArray<string>
  readonly families: ReadonlyArray<BgpFamily>
  readonly bfd: string
}

export interface BgpFamily {
  readonly family: string
  readonly received: number
  readonly accepted: number
  readonly sent: number
  readonly complete: boolean
}

export interface BgpDumpRequest {
  readonly node: string
  readonly vrf: string
  readonly updates?: boolean
  /** Of updates; empty: all. */
  readonly neighbor?: string
}

export interface BgpRoutesRequest {
  readonly node: string
  readonly table: "rib" | "received" | "advertised"
  readonly vrf: string
  readonly family: string
  readonly neighbor: string
  readonly prefix: string
  readonly limit: number
}

export interface BgpRoutesPage {
  readonly paths: ReadonlyArray<BgpPath>
  readonly total: number
}

export interface BgpPath {
  readonly prefix: string
  readonly family: string
  readonly best: boolean
  readonly multipath: boolean
  readonly valid: boolean
  readonly stale: boolean
  readonly kind: string
  readonly from: string
  readonly nextHop: string
  readonly med?: number
  readonly localPref?: number
  readonly weight: number
  readonly asPath: string
  readonly origin: string
  readonly communities: ReadonlyArray<string>
  readonly pathId: number
  readonly sinceMs: number
  readonly why: string
  readonly more: ReadonlyArray<string>
}

export interface BgpResetRequest {
  readonly node: string
  readonly neighbor: string
  readonly how: string
}

// ---- checks ----

export interface CheckRequest extends Recordings {
  readonly filename: string
  readonly content: Uint8Array
  readonly lab: string
  readonly topology?: Topology
  readonly only: ReadonlyArray<string>
  readonly lookOnly: boolean
}

export interface CheckPlanned {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly suite: string
  readonly lab: string
  /** The file that the suite names, or empty. */
  readonly topology: string
  readonly total: number
  readonly checks: ReadonlyArray<Pick<CheckResult, "index" | "name" | "kind" | "line">>
}

export interface CheckResult {
  /** Place in the file, from 0. */
  readonly index: number
  readonly name: string
  readonly kind: string
  readonly line: number
  readonly column: number
  readonly outcome: "passed" | "failed" | "warning"
  /** It could not be tried. */
  readonly error: boolean
  readonly expected: string
  readonly seen: string
  readonly where: string
  readonly details: ReadonlyArray<string>
  readonly attempts: number
  readonly durationMs: number
  readonly labels: ReadonlyArray<string>
}

export interface CheckDone {
  readonly passed: number
  readonly failed: number
  readonly warnings: number
  readonly durationMs: number
}

export type CheckEvent =
  | { readonly event: "planned"; readonly planned: CheckPlanned }
  | { readonly event: "result"; readonly result: CheckResult }
  | { readonly event: "done"; readonly done: CheckDone }
