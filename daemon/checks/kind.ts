/** What a kind of check is: one file in `kinds/` each, joined by the table in `kinds.ts`. */
import type { Schema } from "effect"
import type { FileOf } from "../faults/files.ts"
import type { Plan } from "../plan/resource.ts"
import type { Path, Reporter } from "../topology/diagnostic.ts"
import type { Lab } from "./lab.ts"

/** What came out of looking once. */
export interface Verdict {
  readonly passed: boolean
  /** What should be so, as a sentence without an end: `pc1 reaches db by ICMP`. */
  readonly expected: string
  /** What is so. */
  readonly seen: string
  /** Where on the path it stopped, when that is known. */
  readonly where?: string
  /** More, line by line: the pairs of a matrix that failed. */
  readonly details?: ReadonlyArray<string>
}

/** A word in the file that must name something of the lab. */
export interface Reference {
  /** From the kind's own value on. */
  readonly path: Path
  readonly text: string
  /** `node`; `target`: a node, a port of one, or an address; `group`; `label`: `key=value`. */
  readonly what: "node" | "target" | "group" | "label"
}

export interface Kind<Spec> {
  readonly schema: Schema.Codec<Spec, unknown, never, never>
  readonly references: (spec: Spec) => ReadonlyArray<Reference>
  /** The value as the file has it, with what files hold that it names; without it, it names none. */
  readonly withFiles?: (value: unknown, place: { readonly path: Path; readonly reporter: Reporter; readonly fileOf: FileOf }) => unknown
  /**
   * Tells the reporter what else is wrong with it. `value`: as the file has it, whatever the schema said of it; `path`: its place;
   * without `plan` there is no lab to look names up in.
   */
  readonly problems?: (value: unknown, place: { readonly path: Path; readonly plan: Plan | undefined; readonly reporter: Reporter }) => void
  /** In a line of output, where the check has no name of its own. */
  readonly title: (spec: Spec) => string
  /** `free`: with all others at once. `measures`: others would disturb it; after these. `alone`: last, one at a time. */
  readonly stage: "free" | "measures" | "alone"
  /** `signal`: the suite was interrupted; what it has changed in the lab it puts right before it ends. */
  readonly run: (spec: Spec, lab: Lab, signal: AbortSignal) => Promise<Verdict>
}

/** Spec of a kind by its schema, without writing it twice. */
export const kind = <Spec>(definition: Kind<Spec>): Kind<Spec> => definition
