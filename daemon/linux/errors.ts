/** What goes wrong when the kernel is asked for something: what was done, to what, and the kernel's reason. */
import { isNativeError } from "../native/index.ts"

/** `Cannot add link "pc:eth0": EEXIST (Device already exists)`. */
export class KernelError extends Error {
  readonly operation: string
  readonly object: string
  /** Symbolic errno: `EEXIST`; empty when the reason is not a system call's. */
  readonly code: string
  /** The kernel's own words, or ours; may be empty. */
  readonly detail: string

  constructor(failure: { operation: string; object: string; code: string; detail?: string }) {
    const detail = failure.detail === undefined || failure.detail === "" ? "" : ` (${failure.detail})`
    super(`Cannot ${failure.operation} "${failure.object}": ${failure.code}${detail}`)
    this.name = "KernelError"
    this.operation = failure.operation
    this.object = failure.object
    this.code = failure.code
    this.detail = failure.detail ?? ""
  }
}

/** Runs `action`; a failed system call in it becomes a KernelError that says what was being done. */
export const attempt = <A>(operation: string, object: string, action: () => A): A => {
  try {
    return action()
  } catch (error) {
    if (!isNativeError(error)) throw error
    throw new KernelError({ operation, object, code: error.code, detail: error.message })
  }
}

/** Any thrown thing as one line. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
