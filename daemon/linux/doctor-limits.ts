/** The part of `doctor` that reads numbers: where a lab of some size would hit a limit of this machine. */
import { readFileSync } from "node:fs"
import { type Finding, fine } from "./finding.ts"

/** Kernel memory that a node with one port takes, with its veth pair, sysctls and eBPF entries. */
const nodeOctets = 160 * 1024

/** Reads a file of /proc as text; undefined where the kernel has none. Tests bring their own. */
export type ReadProc = (path: string) => string | undefined

const readProc: ReadProc = (path) => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

export const limitFindings = (read: ReadProc = readProc): ReadonlyArray<Finding> => [
  ...neighbourFindings(read),
  backlogFinding(read),
  openFilesFinding(read),
  processesFinding(read),
  namespacesFinding(read),
  memoryFinding(read)
]

const numberOf = (read: ReadProc, path: string): number | undefined => {
  const text = read(path)?.trim()
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text)
}

/** The table is one for all namespaces of the machine (net/core/neighbour.c): weftd raises the limit when a lab needs it. */
const neighbourFindings = (read: ReadProc): ReadonlyArray<Finding> =>
  (["ipv4", "ipv6"] as const).flatMap((family): ReadonlyArray<Finding> => {
    const limit = numberOf(read, `/proc/sys/net/${family}/neigh/default/gc_thresh3`)
    if (limit === undefined) return []
    const subject = `${family} neighbour table`
    const neededFor = "labs in which many nodes talk to many"
    if (limit >= 4096) return [fine(subject, `${limit} entries`, neededFor)]
    const detail =
      `${limit} entries for all namespaces together: beyond, packets are lost with "neighbour table overflow"; ` +
      "weftd raises it when a lab needs more"
    return [{ subject, verdict: "WARNING", detail, neededFor, remedy: `sysctl -w net.${family}.neigh.default.gc_thresh3=16384` }]
  })

/** A broadcast is queued once per port on one CPU's backlog (net/core/dev.c: enqueue_to_backlog). */
const backlogFinding = (read: ReadProc): Finding => {
  const limit = numberOf(read, "/proc/sys/net/core/netdev_max_backlog") ?? 1000
  const subject = "netdev_max_backlog"
  const neededFor = "broadcast in networks of more ports than that"
  const remedy = "sysctl -w net.core.netdev_max_backlog=10000"
  if (limit < 1000) return { subject, verdict: "WARNING", detail: `${limit}, less than the kernel's own 1000`, neededFor, remedy }
  const detail = limit > 1000 ? `${limit} frames` : `${limit} frames, enough for networks of up to ${limit} ports; for more: ${remedy}`
  return fine(subject, detail, neededFor)
}

const openFilesFinding = (read: ReadProc): Finding => {
  const line = /^Max open files\s+(\S+)\s+(\S+)/m.exec(read("/proc/self/limits") ?? "")
  const soft = line === null || line[1] === "unlimited" ? Infinity : Number(line[1])
  const subject = "open files"
  const neededFor = "probes and commands in many nodes at once"
  if (soft >= 4096) return fine(subject, `${soft} for weftd`, neededFor)
  return { subject, verdict: "WARNING", detail: `only ${soft} for weftd`, neededFor, remedy: "ulimit -Hn 65536, before weftd is started" }
}

const processesFinding = (read: ReadProc): Finding => {
  const limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].map((path) => numberOf(read, path) ?? Infinity)
  const limit = Math.min(...limits)
  const subject = "processes"
  const neededFor = "commands, containers and virtual machines in nodes"
  if (limit >= 16384) return fine(subject, `${limit} on this machine`, neededFor)
  const remedy = "sysctl -w kernel.pid_max=4194304 kernel.threads-max=65536"
  return { subject, verdict: "WARNING", detail: `only ${limit} on this machine`, neededFor, remedy }
}

const namespacesFinding = (read: ReadProc): Finding => {
  const limits = ["/proc/sys/user/max_net_namespaces", "/proc/sys/fs/mount-max"].map((path) => numberOf(read, path) ?? Infinity)
  const limit = Math.min(...limits)
  const subject = "namespace limit"
  const neededFor = "one namespace and one mount per node"
  if (limit >= 4096) return fine(subject, `${limit}`, neededFor)
  const remedy = "sysctl -w user.max_net_namespaces=65536 fs.mount-max=100000"
  return { subject, verdict: "WARNING", detail: `only ${limit}`, neededFor, remedy }
}

const memoryFinding = (read: ReadProc): Finding => {
  const kibibytes = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo") ?? "")?.[1] ?? 0)
  const nodes = Math.floor((kibibytes * 1024) / nodeOctets / 100) * 100
  const subject = "memory"
  const neededFor = `nodes: about ${nodeOctets / 1024} KiB of kernel memory each, without what runs in them`
  const detail = `${Math.round(kibibytes / 1024)} MiB available: room for about ${nodes} nodes`
  if (nodes >= 1000) return fine(subject, detail, neededFor)
  return { subject, verdict: "WARNING", detail, neededFor, remedy: "give the machine more memory, or make smaller labs" }
}
