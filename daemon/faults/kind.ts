/** What a kind of fault is: one file in `kinds/` each, joined by the table in `kinds.ts`. Pure. */
import type { Schema } from "effect"
import type { Fault } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import type { Path } from "../topology/diagnostic.ts"

/** Something that the lab does not have, or that cannot be done to it. */
export interface Problem {
  /** From the kind's own value on. */
  readonly path: Path
  readonly message: string
  /** Words among which the right one probably is. */
  readonly candidates?: ReadonlyArray<string>
}

/** What happens once and needs no healing; done on the host that has `node`. */
export type Action = {
  readonly kind: "bgp-reset"
  readonly node: string
  /** Name, address or node; absent: all. */
  readonly neighbor?: string
  readonly how: "hard" | "soft" | "soft-in" | "soft-out"
} | {
  /** The daemon is killed, as by kill -9, and started again after `downMs`. */
  readonly kind: "daemon-restart"
  readonly host: string
  readonly downMs: number
}

export interface FaultKind<Spec> {
  /** One line for `weft inject --list`. */
  readonly summary: string
  /** Its words on the command line: `LINK|NODE:IF [carrier=keep|lost]`. */
  readonly usage: string
  /** Keys that words without `=` on the command line fill, in this order; a last `x...` takes all that are left. */
  readonly words: ReadonlyArray<string>
  /** Of what stands behind the kind's key in a file; the first of `words` alone may be written as a plain value. */
  readonly schema: Schema.Codec<Spec, unknown, never, never>
  /** What of it the lab does not have. `plan` is the base plan: what other faults took away is there. */
  readonly check: (spec: Spec, plan: Plan) => ReadonlyArray<Problem>
  /**
   * What it would do nothing without. `plan`: with the faults that are in force before it, for one may give what another needs. A
   * fault that needs another's delay stays when that is healed, and does nothing until there is one again.
   */
  readonly useless?: (spec: Spec, plan: Plan) => ReadonlyArray<Problem>
  /** One line, for people. */
  readonly title: (spec: Spec, plan: Plan) => string
  /**
   * The plan with the fault in it. Must not fail where `check` found nothing, whatever other faults did to the plan before: a
   * target that another fault took away is no error. `phase`: of a fault that comes and goes. `fault`: for what begins when it
   * was injected.
   */
  readonly apply?: (spec: Spec, plan: Plan, phase: number, fault: Pick<Fault, "id" | "injectedAt">) => Plan
  /** How long each phase lasts in ms, again and again; phase 0 is the first. Absent: one phase without end. */
  readonly phases?: (spec: Spec) => ReadonlyArray<number>
  /** After how long it is healed where nobody says `for`, in ms. Absent: not until somebody heals it. */
  readonly defaultForMs?: (spec: Spec) => number | undefined
  /**
   * Keys that name a file of whoever injects, each with the key that takes its text: `{ trace: "recording" }`. Whoever reads the
   * order puts it there: the command line from the current folder, a file from the folder that it is in.
   */
  readonly files?: Readonly<Record<string, string>>
  /**
   * Plans to go through on the way in, before `apply`'s: a node that crashes loses its carriers first, so that it cannot say
   * goodbye.
   */
  readonly before?: (spec: Spec, plan: Plan) => Plan
  /** Of a kind that happens once: what to do. Then there is no `apply`. */
  readonly act?: (spec: Spec, plan: Plan) => ReadonlyArray<Action>
}

/** Spec of a kind by its schema, without writing it twice. */
export const faultKind = <Spec>(definition: FaultKind<Spec>): FaultKind<Spec> => definition
