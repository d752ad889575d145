/** The state machine of a BFD session as a table: RFC 5880 6.2, 6.8.4, 6.8.6, 6.8.16. Pure. */
import { Diagnostic, State } from "../wire/bfd.ts"

/** What moves a session. The first four are the State of a received packet, with the same numbers. */
export const Event = {
  receivedAdminDown: State.adminDown,
  receivedDown: State.down,
  receivedInit: State.init,
  receivedUp: State.up,
  detectionTimeExpired: 4,
  disable: 5,
  enable: 6
} as const

export const stateNames = ["admin-down", "down", "init", "up"] as const
export type StateName = (typeof stateNames)[number]

interface Move {
  readonly to: number
  /** What Diagnostic becomes; absent: it is kept, after recovery too (6.8.1). */
  readonly diagnostic?: number
}

const { adminDown, down, init, up } = State
const stay = (to: number): Move => ({ to })
/** "If bfd.SessionState is not Down, set bfd.LocalDiag to 3 and bfd.SessionState to Down." (6.8.6) */
const signaled: Move = { to: down, diagnostic: Diagnostic.neighborSignaledDown }
const expired: Move = { to: down, diagnostic: Diagnostic.detectionTimeExpired }
const disabled: Move = { to: adminDown, diagnostic: Diagnostic.administrativelyDown }

/** By state, then by event: received AdminDown, Down, Init, Up; detection time expired; disable; enable. */
const table: ReadonlyArray<ReadonlyArray<Move>> = [
  /* AdminDown */ [stay(adminDown), stay(adminDown), stay(adminDown), stay(adminDown), stay(adminDown), stay(adminDown), stay(down)],
  /* Down      */ [stay(down), stay(init), stay(up), stay(down), stay(down), disabled, stay(down)],
  /* Init      */ [signaled, stay(init), stay(up), stay(up), expired, disabled, stay(init)],
  /* Up        */ [signaled, signaled, stay(up), stay(up), expired, disabled, stay(up)]
]

/** The state after `event`, and the diagnostic that goes with it. Allocates nothing. */
export const transition = (state: number, event: number): Move => table[state]![event]!

/** RFC 5880 4.1 in words, as FRR shows them. */
const diagnosticNames = [
  "ok",
  "control detection time expired",
  "echo function failed",
  "neighbor signaled session down",
  "forwarding plane reset",
  "path down",
  "concatenated path down",
  "administratively down",
  "reverse concatenated path down",
  "mis-connectivity defect"
]

export const diagnosticName = (diagnostic: number): string => diagnosticNames[diagnostic] ?? `diagnostic ${diagnostic}`
