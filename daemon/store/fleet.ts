/**
 * What the daemons of many hosts share: who they are, what each lab should be, and how far each host has got.
 *
 *     deploy --commit--> labs/NAME (revision n) --watch--> each host's part --converge--> reports/NAME/HOST
 *
 * Each host keeps its own part, and what only its kernel knows, in its own `Store` as a single host does: so it starts,
 * repairs and forwards while this one cannot be reached.
 */
import type { Faulted } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"

/** A host as it describes itself. */
export interface HostRecord {
  /** Matches the names of nodes. */
  readonly name: string
  /** Underlay address, canonical text: the source and destination of tunnels. */
  readonly underlay: string
  /** `ADDR:PORT` of its gRPC server with mutual TLS; empty: it can be seen but not asked. */
  readonly endpoint: string
  /** How much it can take beside others; 1 for each CPU unless given. */
  readonly capacity: number
  readonly labels: Readonly<Record<string, string>>
  readonly instance: string
  readonly version: string
  readonly kernel: string
}

export interface HostState extends HostRecord {
  /** Its lease is held. */
  readonly alive: boolean
  /** RFC 3339: when it registered last. */
  readonly since: string
  /** `weft drain`: nothing is placed here. */
  readonly drained: boolean
}

/** A lab as all hosts see it. `base` has hosts and VNIs as `plan` has. */
export interface FleetLab extends Faulted {
  readonly name: string
  readonly filename: string
  /** `absent`: being destroyed; the entry goes when every host has reported that its part is gone. */
  readonly wanted: "present" | "absent"
  /** Every node has its `host`, every segment a VNI of its own. `absent`: of no meaning. */
  readonly plan: Plan
  /** Counts the commits of this lab, from 1. */
  readonly generation: number
  /** RFC 3339 */
  readonly deployedAt: string
  /** RFC 3339: of the last commit, where that was of faults. */
  readonly faultsAt?: string
  /** Host whose daemon committed it: who was first, when two deploy at once. */
  readonly deployedBy?: string
  /** Hosts that have, or may have, something of it: those of this plan and of former ones that have not reported it gone. */
  readonly hosts: ReadonlyArray<string>
}

/** How far one host has got with its part of one generation of a lab. */
export interface PartReport {
  readonly host: string
  readonly generation: number
  readonly state: "converging" | "ready" | "failed" | "gone"
  /** Steps of this generation. */
  readonly done: number
  readonly total: number
  /** At most 20. */
  readonly failures: ReadonlyArray<{ readonly id: string; readonly error: string }>
  /** RFC 3339 */
  readonly at: string
}

export interface Versioned {
  readonly lab: FleetLab
  /** Changes with every commit; 0 is "there is none". */
  readonly revision: string
}

export interface FleetListener {
  /** `undefined`: the entry is gone. Called for all labs when a watch (re)starts, so that nothing is missed. */
  readonly lab?: (name: string, found: Versioned | undefined) => void
  readonly report?: (lab: string, report: PartReport) => void
  readonly hosts?: (hosts: ReadonlyArray<HostState>) => void
  /**
   * Whether the shared state can be reached, and why not. `true` comes after everything that a (re)started watch found has
   * been told, labs that went meanwhile included: from then on, what was not told is not there.
   */
  readonly connection?: (connected: boolean, reason: string) => void
}

export type CommitResult = { readonly ok: true; readonly revision: string } | { readonly ok: false; readonly winner: Versioned | undefined }

/**
 * Told when this host is registered, and when another has taken its name or its underlay address meanwhile (`reason` says
 * who); it is tried again until it is free.
 */
export type RegistrationListener = (registered: boolean, reason: string) => void

/** Calls reject with an Error in plain words when the shared state cannot be reached in time. */
export interface FleetStore {
  /**
   * Keeps this host registered until `close`, through lost leases and restarts of the store. Rejects when another living host
   * has the name or the underlay address (error.name: NameTaken).
   */
  register(record: HostRecord, listener?: RegistrationListener): Promise<void>
  hosts(): Promise<ReadonlyArray<HostState>>
  setDrained(host: string, drained: boolean): Promise<void>
  /** Forgets a host that is not alive. */
  forgetHost(host: string): Promise<void>
  labs(): Promise<ReadonlyArray<Versioned>>
  lab(name: string): Promise<Versioned | undefined>
  /**
   * Makes `make(taken)` the lab, in one transaction, if its revision still is `expected` ("0": there is none).
   * `taken`: the VNIs of all other labs; those of the result are reserved in the same transaction, and `make` is called
   * again when another lab's changed meanwhile.
   */
  commit(name: string, expected: string, make: (taken: ReadonlySet<number>) => FleetLab): Promise<CommitResult>
  /** Removes the lab with its reports and VNIs if its revision still is `expected`. */
  remove(name: string, expected: string): Promise<boolean>
  report(lab: string, report: PartReport): Promise<void>
  reports(lab: string): Promise<ReadonlyArray<PartReport>>
  /** Returns what ends it. */
  watch(listener: FleetListener): () => void
  close(): Promise<void>
}
