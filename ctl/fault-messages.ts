/** Messages of the service `Faults` as the client sends and gets them: see `proto/weft/v1/weft.proto`. */
import type { Fault } from "./fault.ts"
import type { ChangeDone, Diagnostic } from "./messages.ts"

export interface FaultKind {
  readonly name: string
  readonly summary: string
  readonly usage: string
  readonly once: boolean
  readonly words: ReadonlyArray<string>
  /** Keys whose values name files. */
  readonly files: ReadonlyArray<string>
}

export interface InjectRequest {
  readonly lab: string
  readonly words: ReadonlyArray<string>
  readonly for: string
  readonly files: Readonly<Record<string, Uint8Array>>
}

export interface HealRequest {
  readonly lab: string
  readonly ids: ReadonlyArray<string>
  readonly all: boolean
}

export interface FaultsChanged {
  readonly diagnostics: ReadonlyArray<Diagnostic>
  readonly lab: string
  readonly faults: ReadonlyArray<Fault>
  readonly changed: number
  readonly durationMs: number
  readonly failures: ReadonlyArray<ChangeDone>
  readonly notes: ReadonlyArray<string>
}
