/**
 * What can be done with faults, whoever has the lab: one host or many. Rehearsals, scenarios and checks use this; `rpc/`
 * turns messages into these calls.
 */
import type { ChangeFailure, ChangeWatch } from "./control.ts"
import type { Fault, FaultOrder } from "../plan/fault.ts"
import type { Diagnostic } from "../topology/diagnostic.ts"

/** An order that the lab cannot follow: everything that is wrong with it. Nothing was changed. */
export class BadFault extends Error {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  constructor(diagnostics: ReadonlyArray<Diagnostic>) {
    super(diagnostics.map(({ message }) => message).join("; "))
    this.diagnostics = diagnostics
  }
}

export interface FaultOutcome {
  /** Those injected or healed, in their order. What happens once is among them too, and over. */
  readonly faults: ReadonlyArray<Fault>
  /** How many resources were made, changed or removed. */
  readonly changed: number
  readonly failures: ReadonlyArray<ChangeFailure>
}

/** Which faults to heal. */
export type Which = "all" | { readonly ids: ReadonlyArray<string> } | { readonly lease: string }

export interface FaultControl {
  /**
   * Injects all of them in one change of the lab. Waits for its turn if the lab is being changed.
   * @throws BadFault, Refused
   */
  inject(lab: string, orders: ReadonlyArray<FaultOrder>, watch?: ChangeWatch): Promise<FaultOutcome>
  /** Heals in one change. Fine when some have been healed already. @throws Refused when an id never was, or the lab is not there */
  heal(lab: string, which: Which, watch?: ChangeWatch): Promise<FaultOutcome>
  /** Those in force. `lab` empty: the only one. @throws Refused */
  faults(lab: string): Promise<ReadonlyArray<Fault>>
  /** A lease in the name of this daemon: faults that bear it are healed by `end`, and when the daemon starts again. */
  lease(): { readonly id: string; readonly end: () => Promise<void> }
}
