/**
 * What flows of probes can be, and what each may ask for. Pure; who runs them is told in flows.ts and slow-flows.ts.
 *
 * The cheap ones run from a native thread and may be a tenth of a millisecond apart. A path or its MTU takes many packets and some time to
 * find out, so those are seconds apart.
 */
import { isIP } from "node:net"

export const protocols = ["udp", "icmp", "tcp", "tcp-connect", "http", "dns", "traceroute", "path-mtu", "throughput"] as const
export type Protocol = (typeof protocols)[number]

interface Terms {
  /** From one probe to the next; of throughput, from one sample to the next. */
  readonly leastSpacingMs: number
  readonly spacingMs: number
  readonly timeoutMs: number
  /** The port when none is given; 0: a free one, where the daemon answers. Absent: there are no ports. */
  readonly port?: number
  /** Whether the daemon opens what answers in the destination, and what that is. */
  readonly answered?: "udp" | "tcp" | "throughput"
  /** False: it does without, too, where nobody can be had to answer. */
  readonly needsAnswer?: false
}

export const terms: Readonly<Record<Protocol, Terms>> = {
  udp: { leastSpacingMs: 0.1, spacingMs: 1, timeoutMs: 1000, port: 0, answered: "udp" },
  icmp: { leastSpacingMs: 0.1, spacingMs: 1, timeoutMs: 1000 },
  tcp: { leastSpacingMs: 0.1, spacingMs: 1, timeoutMs: 1000, port: 0, answered: "tcp" },
  "tcp-connect": { leastSpacingMs: 1, spacingMs: 20, timeoutMs: 1000, port: 0, answered: "tcp" },
  http: { leastSpacingMs: 5, spacingMs: 100, timeoutMs: 2000, port: 80 },
  dns: { leastSpacingMs: 1, spacingMs: 100, timeoutMs: 1000, port: 53 },
  traceroute: { leastSpacingMs: 500, spacingMs: 2000, timeoutMs: 1500, port: 0, answered: "udp", needsAnswer: false },
  "path-mtu": { leastSpacingMs: 500, spacingMs: 5000, timeoutMs: 3000, port: 0, answered: "udp", needsAnswer: false },
  throughput: { leastSpacingMs: 50, spacingMs: 500, timeoutMs: 2000, port: 0, answered: "throughput" }
}

export const isProtocol = (text: string): text is Protocol => (protocols as ReadonlyArray<string>).includes(text)

/** What one kind of flow needs beside its ends; see `FlowSpec` in proto/weft/v1/weft.proto. */
export interface ProtocolOptions {
  readonly port?: number
  /** http */
  readonly path?: string
  readonly host?: string
  /** http: statuses, `2xx,404`; dns: an answer */
  readonly expect?: string
  /** dns */
  readonly name?: string
  readonly type?: string
  /** throughput: most bit/s */
  readonly rate?: number
}

const dnsTypes = ["A", "AAAA", "CNAME", "MX", "NS", "PTR", "TXT"]
const statuses = /^\s*[1-9](\d\d|xx)\s*(,\s*[1-9](\d\d|xx)\s*)*$/

/** What a protocol cannot make of its options, and of which; undefined: all is well. */
export const wrongOption = (
  protocol: Protocol,
  { expect = "", port = 0, type = "" }: Pick<ProtocolOptions, "expect" | "port" | "type">
): { readonly key: "expect" | "port" | "type"; readonly why: string } | undefined => {
  if (port !== 0 && terms[protocol].port === undefined) return { key: "port", why: `${protocol} has no ports` }
  if (protocol === "dns" && type !== "" && !dnsTypes.includes(type.toUpperCase())) {
    return { key: "type", why: `type "${type}" is none of ${dnsTypes.join(", ")}` }
  }
  if (expect === "") return undefined
  if (protocol === "dns") {
    return isIP(expect) !== 0 ? undefined : { key: "expect", why: `"${expect}" is no address that an answer may have` }
  }
  if (protocol !== "http") return { key: "expect", why: `nothing can be expected of ${protocol}` }
  return statuses.test(expect) ? undefined : { key: "expect", why: `"${expect}" is no list of statuses such as 2xx,404` }
}

/** Something about a flow is not as it was; `kind` as in `FlowChange`. */
export interface Change {
  /** Milliseconds since 1970. */
  readonly atMs: number
  readonly kind: string
  readonly before: string
  readonly after: string
  readonly lengthMs: number
}

export interface Sample {
  readonly atMs: number
  /** bit/s of throughput, octets of a path MTU. */
  readonly value: number
}
