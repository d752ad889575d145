/** Words of container nodes: capabilities and published ports. */

/** capabilities(7), as of Linux 6.x. */
export const capabilities: ReadonlySet<string> = new Set([
  "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
  "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN",
  "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID",
  "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE",
  "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"
])

export interface PublishedPort {
  readonly protocol: "tcp" | "udp"
  /** Address of the host to listen on; absent: all. */
  readonly address?: string
  readonly hostPort: number
  readonly port: number
}

const shape = /^(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/

/** `8080:80`, `127.0.0.1:8080:80`, `[::1]:53:53/udp`; undefined for anything else. The address is not looked at. */
export const parsePublished = (value: string): PublishedPort | undefined => {
  const match = shape.exec(value)
  if (match === null) return undefined
  const [hostPort, port] = [Number(match[2]), Number(match[3])]
  if (![hostPort, port].every((number) => number >= 1 && number <= 65535)) return undefined
  const address = match[1]?.replace(/^\[|\]$/g, "")
  const protocol = match[4] === "udp" ? "udp" : "tcp"
  return { protocol, ...(address === undefined ? {} : { address }), hostPort, port }
}

export const portProblem = (value: string): string | undefined =>
  parsePublished(value) === undefined
    ? "expected HOST-PORT:PORT such as 8080:80, 127.0.0.1:8080:80 or 53:53/udp"
    : undefined
