/** What weftd may do on this machine: being root is not enough in a container. */
import { readFileSync } from "node:fs"

/** Linux capabilities by number (capabilities(7)). CAP_BPF is for eBPF programs, and CAP_SYS_ADMIN includes it. */
const capabilities = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21 } as const

/** In the first user namespace all ids are themselves (user_namespaces(7)). */
const isFirstUserNamespace = (map: string): boolean => /^\s*0\s+0\s+4294967295\s*$/.test(map)

/**
 * Why root here is not root enough for weftd; undefined: it is.
 *
 * @param status, uidMap of /proc/self
 */
export const lackOfRights = (status: string, uidMap: string): string | undefined => {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`)
  const lacking = Object.entries(capabilities).flatMap(([name, bit]) => ((effective >> BigInt(bit)) & 1n) === 1n ? [] : [name])
  if (lacking.length > 0) return `root without ${lacking.join(", ")}: a container?`
  return isFirstUserNamespace(uidMap) ? undefined : "root of a user namespace only: a rootless container?"
}

/** Of this process. */
export const lackHere = (): string | undefined =>
  lackOfRights(readFileSync("/proc/self/status", "utf8"), readFileSync("/proc/self/uid_map", "utf8"))

export const rightsAdvice = "run weftd on the machine itself, or in a container started with --privileged"
