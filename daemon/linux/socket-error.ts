/** Why a probe did not get through, in the words that people know from ping(8) and nc(1). */
import { constants } from "node:os"
import { isNativeError } from "../native/index.ts"

const { errno } = constants

const words: Readonly<Record<number, string>> = {
  [errno.ETIMEDOUT]: "timed out",
  [errno.ECONNREFUSED]: "connection refused",
  [errno.ECONNRESET]: "connection reset",
  [errno.ENETUNREACH]: "network is unreachable",
  [errno.EHOSTUNREACH]: "no route to host",
  // What `prohibit` routes and reject rules of a firewall answer.
  [errno.EACCES]: "administratively prohibited",
  [errno.EPERM]: "dropped by a filter in the node",
  // What a `blackhole` route answers to the node's own packets.
  [errno.EINVAL]: "discarded by a blackhole route",
  [errno.EADDRNOTAVAIL]: "the node has no address to send from",
  [errno.EMSGSIZE]: "message too long"
}

export const reasonOfErrno = (number: number): string =>
  words[number] ?? Object.entries(errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`

/** The same for what a native call threw; the namespace itself missing is said as such. */
export const reasonOfFailure = (error: unknown): string => {
  if (!isNativeError(error)) return error instanceof Error ? error.message : String(error)
  if (error.syscall === "open") return `the node's namespace cannot be opened: ${error.code}`
  return reasonOfErrno(error.errno)
}
