/** What went wrong as a gRPC status: the one table. */
import { Metadata, status, type StatusObject } from "@grpc/grpc-js"
import { Refused } from "../reconciler/reconciler.ts"

const codes = { "not-found": status.NOT_FOUND, busy: status.ABORTED } as const

/** Any thrown thing. What is not one of our refusals is INTERNAL, with its message: the daemon's log has the rest. */
export const toStatus = (error: unknown): StatusObject => ({
  code: error instanceof Refused ? codes[error.code] : status.INTERNAL,
  details: error instanceof Error ? error.message : String(error),
  metadata: new Metadata()
})
