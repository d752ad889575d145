/** `Host.Doctor`: the findings as they are. */
import { type handleUnaryCall, status } from "@grpc/grpc-js"

export interface Finding {
  readonly subject: string
  readonly verdict: "OK" | "WARNING" | "MISSING"
  readonly detail: string
  readonly neededFor: string
  readonly remedy: string
}

/** `examine`: looks at the machine; see linux/doctor.ts. */
export const doctorHandler =
  (examine: () => Promise<ReadonlyArray<Finding>>): handleUnaryCall<object, { readonly findings: ReadonlyArray<Finding> }> =>
  (_call, callback) => {
    examine().then(
      (findings) => callback(null, { findings }),
      (error: unknown) => {
        const details = `Cannot examine this machine: ${error instanceof Error ? error.message : String(error)}`
        callback({ code: status.INTERNAL, details })
      }
    )
  }
