/**
 * What the daemon remembers: for each lab what it should be, and what the kernel cannot tell.
 *
 * The desired state is written before anything is made, and a lab's entry goes only when nothing of it is left: at any
 * moment the entry plus the kernel's marks say what there is to do.
 */
import type { Faulted } from "../plan/fault.ts"
import type { Plan, Remembered, Resource } from "../plan/resource.ts"

export type LabState = "deploying" | "changing" | "ready" | "failed" | "destroying"

/** Faults are with a lab of this host alone; in a part of one, they are in its plan already (fleet.ts). */
export interface LabEntry extends Faulted {
  readonly name: string
  /** As the user typed it. */
  readonly filename: string
  readonly state: LabState
  /** The last topology that was fully there: where a rollback goes to. */
  readonly lastGood?: { readonly plan: Plan; readonly filename: string }
  /** What it should have been since then, and may still be in part. */
  readonly former: ReadonlyArray<Resource>
  /** RFC 3339. */
  readonly deployedAt: string
  /** Why it is `failed`. */
  readonly error?: string
  /** Of a part: the generation of the whole lab that it was cut from (fleet.ts). */
  readonly generation?: number
}

/** What is remembered of a lab's resources, by id. */
export type Memory = ReadonlyArray<readonly [id: string, Remembered]>

export interface Store {
  labs(): Promise<ReadonlyArray<LabEntry>>
  lab(name: string): Promise<LabEntry | undefined>
  /** Durable when it resolves. */
  put(entry: LabEntry): Promise<void>
  remembered(name: string): Promise<Memory>
  /** Survives the daemon's end when it resolves. */
  remember(name: string, memory: Memory): Promise<void>
  /** The entry and what is remembered. */
  remove(name: string): Promise<void>
  close(): Promise<void>
}
