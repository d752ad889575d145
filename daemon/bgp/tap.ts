/** Somebody who reads along what neighbours send. */
import type { SessionContext } from "../wire/bgp/context.ts"
import type { Session } from "./session/api.ts"

export interface Tap {
  /** An UPDATE of the neighbour with this name; the octets are valid during the call. */
  message(neighbor: string, session: Session, context: SessionContext, message: Uint8Array): void
  /** Its session is established, or was. */
  stateChanged(neighbor: string, session: Session, isUp: boolean): void
  /** What has come since the last time, as an MRT file, and how many messages had no room. */
  take(): { readonly octets: Uint8Array; readonly lost: number }
  close(): void
}
