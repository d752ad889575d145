/** What went wrong as a gRPC status: the one table. */
import { Metadata, status, type StatusObject } from "@grpc/grpc-js"
import { Refused } from "../reconciler/control.ts"

/** UNAVAILABLE would say that this daemon is: its clients try again or call it gone. */
const codes = {
  "not-found": status.NOT_FOUND,
  ambiguous: status.INVALID_ARGUMENT,
  busy: status.ABORTED,
  unavailable: status.FAILED_PRECONDITION
} as const

/** Any thrown thing. What is not one of our refusals is INTERNAL, with its message: the daemon's log has the rest. */
export const toStatus = (error: unknown): StatusObject => ({
  code: error instanceof Refused ? codes[error.code] : status.INTERNAL,
  details: error instanceof Error ? error.message : String(error),
  metadata: new Metadata()
})
