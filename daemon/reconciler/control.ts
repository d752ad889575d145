/**
 * What can be asked about labs, whoever has them: one host (`one-host.ts`) or many (`fleet/fleet.ts`). `rpc/` turns
 * messages into these calls and what comes back into messages; both sides are plain data.
 */
import type { Touched } from "../faults/ledger.ts"
import type { Step } from "../plan/diff.ts"
import type { Fault } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"

/** A call that was refused before anything was touched. `unavailable`: what it needs cannot be reached. */
export class Refused extends Error {
  readonly code: "not-found" | "ambiguous" | "busy" | "unavailable"
  constructor(code: Refused["code"], message: string) {
    super(message)
    this.code = code
  }
}

/** The only one of the labs. @throws Refused when there is none, or a choice */
export const onlyLabOf = (labs: ReadonlyArray<{ readonly name: string }>): string => {
  const [only] = labs
  if (only === undefined) throw new Refused("not-found", "No lab is deployed")
  if (labs.length > 1) throw new Refused("ambiguous", `Which lab? Deployed: ${labs.map(({ name }) => name).join(", ")}. Name one`)
  return only.name
}

/** A plan that fits on no host, with the reasons at their places in the topology. */
export class Unplaceable extends Error {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  constructor(diagnostics: ReadonlyArray<Diagnostic>) {
    super("the lab cannot be placed")
    this.diagnostics = diagnostics
  }
}

/** One resource that would change, or has changed, on one host. */
export interface Change {
  readonly action: "NONE" | "CREATE" | "UPDATE" | "REPLACE" | "REMOVE"
  readonly id: string
  readonly kind: string
  /** Empty for what belongs to no node. */
  readonly node: string
  /** Values as JSON; empty when absent. */
  readonly attributes: ReadonlyArray<{ readonly path: string; readonly before: string; readonly after: string }>
  readonly reason: string
  readonly host: string
}

/** Characters of a value; more of one is not for reading: a recording of a link has hundreds of thousands. */
const longestValue = 4000

const json = (value: unknown): string => {
  const text = value === undefined ? "" : JSON.stringify(value)
  if (text.length <= longestValue) return text
  const shown = typeof value === "string" ? value : text
  return JSON.stringify(`${shown.slice(0, 60)}… (${shown.length} characters)`)
}

export const changeOf = (step: Step, host: string): Change => ({
  action: step.action.toUpperCase() as Change["action"],
  id: step.id,
  kind: step.kind,
  node: step.node,
  attributes: step.attributes.map(({ path, before, after }) => ({ path, before: json(before), after: json(after) })),
  reason: step.reason,
  host
})

export interface PlannedChanges {
  /** False: the lab would be new. */
  readonly exists: boolean
  readonly changes: ReadonlyArray<Change>
  /** What a person wants to know: why a node is where it is, which host could not be asked. */
  readonly notes: ReadonlyArray<string>
}

export interface Counts {
  readonly creates: number
  readonly updates: number
  readonly replaces: number
  readonly removes: number
}

export const countsOf = (steps: ReadonlyArray<Step>): Counts => {
  const count = (action: Step["action"]): number => steps.filter((step) => step.action === action).length
  return { creates: count("create"), updates: count("update"), replaces: count("replace"), removes: count("remove") }
}

/** How far one of many hosts has got. */
export interface HostProgress {
  readonly host: string
  readonly state: "waiting" | "converging" | "ready" | "failed" | "gone" | "lost"
  readonly done: number
  readonly total: number
}

export interface ChangeFailure {
  /** Of a resource; empty when the host itself is the failure. */
  readonly id: string
  readonly host: string
  readonly error: string
  /** Not tried, because something that it needs failed. */
  readonly blocked: boolean
  /** The whole step, where it happened here. */
  readonly change?: Change
}

export interface ChangeOutcome {
  /** How many resources were made, changed or removed. */
  readonly changed: number
  readonly failures: ReadonlyArray<ChangeFailure>
  readonly rolledBack: boolean
}

/** Whoever follows a change. On one host `report` comes for each step; on many, `host` in its place. */
export interface ChangeWatch {
  /** Before anything is touched. */
  readonly planned: (counts: Counts) => void
  readonly report: (step: Step, error?: { readonly message: string; readonly code: string }) => void
  readonly host: (progress: HostProgress) => void
  readonly note: (message: string) => void
}

export interface LabSummary {
  readonly name: string
  /** `ready` `deploying` `changing` `destroying` `failed` `recovering`; `orphaned`: etcd does not know it, this host does */
  readonly state: string
  readonly nodes: number
  readonly segments: number
  /** RFC 3339 */
  readonly deployedAt: string
  readonly filename: string
  /** With `failed`; else empty. */
  readonly error: string
  /** Hosts that have a part of it. */
  readonly hosts: ReadonlyArray<string>
  /** How many are in force. */
  readonly faults: number
}

export interface PortInspection {
  readonly name: string
  readonly mac: string
  readonly mtu: number
  readonly addresses: ReadonlyArray<string>
  readonly segment: string
  readonly fabricName?: string
  readonly ifindex: number
  readonly state: string
  readonly counters?: object
}

export interface NodeInspection {
  readonly name: string
  readonly kind: string
  readonly group: string
  readonly labels: Readonly<Record<string, string>>
  readonly netns: string
  readonly host: string
  /** `ready`, `missing`, `drifted`; `unknown`: its host does not answer */
  readonly state: string
  readonly ports: ReadonlyArray<PortInspection>
  readonly routes: ReadonlyArray<object>
  /** Ids of the faults that change it. */
  readonly faults?: ReadonlyArray<string>
}

/** One direction of what carries a lab's frames from host to host. */
export interface TunnelInspection {
  /** Whose view it is. */
  readonly host: string
  readonly peer: string
  /** Underlay addresses. */
  readonly local: string
  readonly remote: string
  readonly encapsulation: string
  readonly port: number
  readonly datapath: string
  /** `up`, `down`, or `unknown` before the first answer. */
  readonly state: string
  /** RFC 3339 */
  readonly since: string
  /** Of the underlay; 0: unknown. */
  readonly rttMs: number
  readonly segments: ReadonlyArray<string>
}

/** A lab as it is now: an `InspectResponse`. */
export interface Inspection {
  readonly lab: LabSummary
  readonly nodes: ReadonlyArray<NodeInspection>
  readonly segments: ReadonlyArray<object>
  readonly drift: ReadonlyArray<Change>
  /** Who answers. */
  readonly host: string
  readonly tunnels: ReadonlyArray<TunnelInspection>
  /** Hosts that have a part and did not answer, each with the reason. */
  readonly unreachable: ReadonlyArray<string>
  /** In force, oldest first. */
  readonly faults: ReadonlyArray<FaultInspection>
}

/** A `Fault` of the API. */
export interface FaultInspection extends Omit<Fault, "spec">, Touched {
  readonly lab: string
  /** JSON */
  readonly spec: string
}

export interface LabControl {
  /** What `deploy` would do. `filename`: for diagnostics. @throws Unplaceable, Refused */
  plan(plan: Plan, filename?: string): Promise<PlannedChanges>
  /** Makes the lab be `plan`. What the kernel refuses comes in the outcome. @throws Unplaceable, Refused */
  deploy(plan: Plan, options: { readonly filename: string; readonly rollback: boolean }, watch: ChangeWatch): Promise<ChangeOutcome>
  /** Removes everything of the lab. @throws Refused */
  destroy(lab: string, watch: ChangeWatch): Promise<ChangeOutcome>
  /** `error`: why the list may be old or short; else empty. */
  labs(): Promise<{ readonly labs: ReadonlyArray<LabSummary>; readonly error: string }>
  /** `lab` empty: the only one. @throws Refused */
  inspect(lab: string): Promise<Inspection>
  /** The name of the lab when there is exactly one. @throws Refused */
  onlyLab(): Promise<string>
}

/** One of the hosts that share labs, as `weft hosts` shows it. */
export interface HostInfo {
  readonly name: string
  readonly state: "ready" | "drained" | "lost"
  readonly underlay: string
  readonly endpoint: string
  readonly capacity: number
  readonly labels: Readonly<Record<string, string>>
  readonly version: string
  readonly kernel: string
  /** RFC 3339 */
  readonly since: string
  readonly labs: number
  readonly nodes: number
  /** This is the host that answers. */
  readonly asked: boolean
}

export interface HostControl {
  hosts(): Promise<{ readonly hosts: ReadonlyArray<HostInfo>; readonly error: string }>
  /** @throws Refused */
  drain(
    request: { readonly host: string; readonly undo: boolean; readonly forget: boolean },
    watch: ChangeWatch
  ): Promise<ChangeOutcome>
}
