/**
 * Who may call what over the network. A client's certificate names its role in a URI of its subjectAltName,
 * `weft:role:viewer`, `weft:role:operator` or `weft:role:daemon`; each method has a row in `rules`. What has no row is
 * refused, whoever asks, so a method that is added to the proto file is closed until somebody decides about it.
 *
 * A daemon that forwards a call has asked `judge` already, and says for whom it asks; that goes into the log.
 *
 * grpc-js looks a method up by the octets of its path: `//weft.v1.Labs/List`, `/weft.v1.labs/list` and other spellings
 * find none and are answered with UNIMPLEMENTED before anything of ours runs. The path that is judged here is the
 * method's own, never what the client sent.
 *
 * The unix socket does not come here: the file system says who may open it, and whoever may is an operator.
 */
import type { PeerCertificate } from "node:tls"
import * as grpc from "@grpc/grpc-js"
import { onBehalfOf } from "../fleet/peer-clients.ts"
import { type Role, roleOf, roles } from "../wire/certificate-role.ts"

export interface Rule {
  /** The least role that may call it: an operator may do what a viewer may, a daemon what an operator may. */
  readonly role: Role
  /** Whether it changes something or acts inside nodes: such calls are logged. */
  readonly changes: boolean
}

const look: Rule = { role: "viewer", changes: false }
const change: Rule = { role: "operator", changes: true }
const ask: Rule = { role: "daemon", changes: false }

export const rules: ReadonlyMap<string, Rule> = new Map([
  ["/weft.v1.Labs/Validate", look],
  ["/weft.v1.Labs/Plan", look],
  ["/weft.v1.Labs/Deploy", change],
  ["/weft.v1.Labs/Destroy", change],
  ["/weft.v1.Labs/List", look],
  ["/weft.v1.Labs/Inspect", look],
  ["/weft.v1.Labs/Events", look],
  ["/weft.v1.Nodes/Exec", change],
  // It shows what users of the lab send to each other.
  ["/weft.v1.Nodes/Capture", change],
  // It sends packets in the nodes.
  ["/weft.v1.Nodes/Reach", change],
  ["/weft.v1.Nodes/Routes", look],
  ["/weft.v1.Nodes/Bfd", look],
  ["/weft.v1.Nodes/Bgp", look],
  ["/weft.v1.Nodes/BgpRoutes", look],
  ["/weft.v1.Nodes/BgpDump", look],
  ["/weft.v1.Nodes/BgpReset", change],
  // It sends packets in the nodes.
  ["/weft.v1.Probes/Flow", change],
  ["/weft.v1.Checks/Run", change],
  ["/weft.v1.Rehearsals/Run", change],
  ["/weft.v1.Scenarios/Run", change],
  ["/weft.v1.Faults/Kinds", look],
  ["/weft.v1.Faults/Inject", change],
  ["/weft.v1.Faults/Heal", change],
  ["/weft.v1.Faults/List", look],
  ["/weft.v1.Host/Version", look],
  ["/weft.v1.Host/Doctor", look],
  ["/weft.v1.Host/Hosts", look],
  ["/weft.v1.Host/Drain", change],
  ["/weft.v1.Host/Evpn", look],
  ["/weft.v1.Peers/PlanPart", ask],
  ["/weft.v1.Peers/InspectPart", ask],
  ["/weft.v1.Peers/Events", ask],
  // It acts in nodes.
  ["/weft.v1.Peers/Listen", { role: "daemon", changes: true }],
  // Packets of checks; their commands are told one by one.
  ["/weft.v1.Peers/Ask", ask],
  ["/weft.v1.Peers/Command", { role: "daemon", changes: true }],
  ["/weft.v1.Peers/Respond", { role: "daemon", changes: true }],
  ["/weft.v1.Peers/Act", { role: "daemon", changes: true }],
  ["/grpc.health.v1.Health/Check", look],
  ["/grpc.health.v1.Health/Watch", look],
  ["/grpc.health.v1.Health/List", look]
])

/** Who calls, as the certificate says it; fit for a log line. */
export interface Caller {
  readonly name: string
  readonly role: Role
  /** Serial number of the certificate: it tells two with the same name apart. */
  readonly serial: string
}

export type Verdict =
  | { readonly allowed: true; readonly caller: Caller; readonly rule: Rule }
  | { readonly allowed: false; readonly code: grpc.status; readonly details: string }

/**
 * Decides about one call.
 *
 * @param path the method's own, such as `/weft.v1.Labs/List`
 * @param certificate of a client whose chain TLS has verified; undefined: there is none
 * @param nowMs a connection may outlive the certificate that opened it
 */
export const judge = (path: string, certificate: PeerCertificate | undefined, nowMs: number): Verdict => {
  if (certificate === undefined) return refuse(
    grpc.status.UNAUTHENTICATED,
    "No client certificate: this port answers only to those that have one"
  )
  const name = nameOf(certificate)
  if (!(Date.parse(certificate.valid_to) > nowMs)) {
    return refuse(
      grpc.status.UNAUTHENTICATED,
      `The certificate of "${name}" has expired (${certificate.valid_to}): have a new one issued with weft pki issue`
    )
  }
  const role = roleOf(certificate.subjectaltname ?? "")
  if (role === undefined) {
    return refuse(
      grpc.status.PERMISSION_DENIED,
      `The certificate of "${name}" names no role: its subjectAltName needs one of ${roleUris}`
    )
  }
  const method = path.slice(1)
  const rule = rules.get(path)
  if (rule === undefined) return refuse(grpc.status.PERMISSION_DENIED, `"${name}" may not call ${method}: no role may call it from afar`)
  if (roles.indexOf(role) < roles.indexOf(rule.role)) {
    const details = `"${name}" may not call ${method}: it is ${words[role]}, and this needs ${words[rule.role]}`
    return refuse(grpc.status.PERMISSION_DENIED, details)
  }
  return { allowed: true, caller: { name, role, serial: certificate.serialNumber }, rule }
}

const roleUris = roles.map((each) => `URI:weft:role:${each}`).join(", ")
const words: Readonly<Record<Role, string>> = { viewer: "a viewer", operator: "an operator", daemon: "a daemon" }

const refuse = (code: grpc.status, details: string): Verdict => ({ allowed: false, code, details })

/** The subject's common name, without what could forge a line of the log. Node types it as text; several make a list. */
const nameOf = ({ subject }: PeerCertificate): string => {
  const name: unknown = subject?.CN
  return printable(Array.isArray(name) ? name.join("+") : typeof name === "string" ? name : "?").slice(0, 100)
}

const printable = (text: string): string => text.replace(/[^\x20-\x7e]|["\\]/g, "?")

/**
 * Who makes this call, for the log of a daemon that it is forwarded to: `alice (operator, certificate 695D)`, or the
 * unix socket of this host.
 */
export const callerOf = (call: Pick<grpc.ServerUnaryCall<unknown, unknown>, "getAuthContext">, host: string): string => {
  const certificate = call.getAuthContext()?.sslPeerCertificate
  if (certificate === undefined) return `somebody at the socket of ${host}`
  const role = roleOf(certificate.subjectaltname ?? "")
  return `${nameOf(certificate)} (${role}, certificate ${certificate.serialNumber})`
}

/** What a changing call is about: a node and its command, a topology file, a lab. */
const aboutOf = (message: unknown): string => {
  const { action, flows, ids, lab, neighbor, node, nodes, spec, start, topology, words: said } = message as {
    readonly action?: string
    readonly ids?: ReadonlyArray<string>
    readonly spec?: string
    readonly words?: ReadonlyArray<string>
    readonly flows?: ReadonlyArray<{ readonly from: string; readonly to: string }>
    readonly lab?: string
    readonly node?: string
    readonly neighbor?: string
    readonly nodes?: ReadonlyArray<string>
    readonly start?: { readonly node?: string; readonly argv?: ReadonlyArray<string>; readonly ports?: ReadonlyArray<string> }
    readonly topology?: { readonly filename: string; readonly lab: string }
  }
  const words = start
    ? [start.node, ...(start.argv ?? start.ports ?? [])]
    : topology
      ? [topology.filename, topology.lab]
      : [
          lab, action, spec, ...(said ?? []), ...(ids ?? []), node, neighbor, ...(nodes ?? []),
          ...(flows ?? []).flatMap(({ from, to }) => [from, to])
        ]
  const text = printable(words.filter((word) => word !== undefined && word !== "").join(" "))
  return text.length > 200 ? `${text.slice(0, 200)}...` : text
}

/**
 * The interceptor of a server on the network: nothing of a call reaches its handler unless `judge` allows it.
 *
 * @param audit gets one line for each refused call and for each allowed one that changes something
 */
export const guard =
  (audit: (line: string) => void): grpc.ServerInterceptor =>
  (method, call) => {
    const verdict = judge(method.path, call.getAuthContext().sslPeerCertificate, Date.now())
    const from = call.getPeer()
    if (!verdict.allowed) {
      return new grpc.ServerInterceptingCall(call, {
        start: (next) =>
          next({
            onReceiveMetadata: () => {
              audit(`access.refused ${method.path.slice(1)} from ${from}: ${verdict.details}`)
              call.sendStatus({ code: verdict.code, details: verdict.details })
            },
            onReceiveMessage: () => {},
            onReceiveHalfClose: () => {}
          })
      })
    }
    const { caller, rule } = verdict
    if (!rule.changes) return new grpc.ServerInterceptingCall(call)
    let told = false
    let principal: string | undefined
    return new grpc.ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, nextMetadata) => {
            const [value] = caller.role === "daemon" ? metadata.get(onBehalfOf) : []
            if (value !== undefined) principal = printable(String(value)).slice(0, 200)
            nextMetadata(metadata)
          },
          onReceiveMessage: (message, nextMessage) => {
            if (!told) {
              const sender = `"${caller.name}" (${caller.role}, certificate ${caller.serial})`
              const who = principal === undefined ? sender : `${principal} through ${sender}`
              audit(`access.granted ${method.path.slice(1)} "${aboutOf(message)}" to ${who} from ${from}`)
            }
            told = true
            nextMessage(message)
          }
        })
    })
  }
