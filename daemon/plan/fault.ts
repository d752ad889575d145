/**
 * A fault: a change injected into a running lab, that can be healed.
 *
 *     what the topology says (base plan) --applyFaults--> what the lab should be now --reconcile--> kernel
 *
 * Faults are kept with the lab beside its base plan. The plan that is reconciled is always computed from both
 * (`faults/apply.ts`), so healing one is computing it again without that fault: whatever else overlaps, the lab comes
 * back to exactly what its topology says. Nothing is ever undone by hand.
 */

import type { Plan } from "./resource.ts"

/** What is asked for, before it is known whether the lab has such a target. */
export interface FaultRequest {
  /** A name of the table in `faults/kinds.ts`: `link-down`, `loss`, ... */
  readonly kind: string
  /** What the kind's schema decoded, as plain JSON. */
  readonly spec: unknown
}

/** A fault that is in force, or pauses between two phases. */
export interface Fault extends FaultRequest {
  /** `f1`, `f2`, ...: unique in the lab, never used twice while the lab lives. */
  readonly id: string
  /** For people, one line: `link fw:wan -- isp:e1 is down`. */
  readonly title: string
  /** RFC 3339, milliseconds. */
  readonly injectedAt: string
  /** RFC 3339: the daemon heals it then, also when it was not running at that time. */
  readonly until?: string
  /** Who holds it: it is healed when its holder (a rehearsal, a scenario, a suite) ends or its daemon does. `HOST/ID` */
  readonly lease?: string
  /** Who asked: `weft inject`, `rehearsal static-to-bgp`, ... */
  readonly by: string
  /** Of a fault that comes and goes (a flap): which of its phases it is in. Absent: it does not. */
  readonly phase?: number
}

/** A fault that somebody orders. */
export interface FaultOrder extends FaultRequest {
  readonly forMs?: number
  readonly lease?: string
  readonly by: string
}

/** What is kept of a lab's faults, beside the plan that they make. */
export interface Faulted {
  /** What the lab should be now: what its topology says, with all faults in it. */
  readonly plan: Plan
  /** What its topology says. Absent: no fault is in force, and it is `plan`. */
  readonly base?: Plan
  /** In the order in which they were injected. Absent: there are none. */
  readonly faults?: ReadonlyArray<Fault>
  /** How many there have been: ids are never used twice while the lab lives. Absent: none. */
  readonly faultCount?: number
}

/** What a lab's topology says, whatever faults it has. */
export const baseOf = ({ base, plan }: Faulted): Plan => base ?? plan
