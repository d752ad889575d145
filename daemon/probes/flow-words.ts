/** What flows tell of themselves, in words: the natively counted notes become changes, and `detail`, how a flow is now. Pure. */
import { STATUS_CODES } from "node:http"
import { constants } from "node:os"
import { probeEvents, type ProbeNote } from "../native/index.ts"
import { reasonOfErrno } from "../linux/socket-error.ts"
import * as Dns from "../wire/dns.ts"
import type { Change, Protocol } from "./protocols.ts"

const { errno } = constants
const nsPerMs = 1e6

/** `NOERROR 192.0.2.1 192.0.2.2`, `NXDOMAIN` */
export const dnsWords = (octets: Uint8Array): string => {
  const message = Dns.decode(octets)
  if (!message.ok) return "no DNS message"
  const { answers, rcode } = message.value
  return [rcode, ...answers.toSorted()].join(" ")
}

/** `200 OK` */
const statusWords = (status: number): string => (status === 0 ? "no HTTP" : `${status} ${STATUS_CODES[status] ?? ""}`.trimEnd())

const silent = "connected, but the answer timed out"

/** What became of a probe of its own, and what sort of change it is that this is another than before. */
const verdictOf = (protocol: Protocol, value: number, octets: Uint8Array): readonly [kind: string, words: string] => {
  if (protocol === "dns") return ["answer", octets.length === 0 ? reasonOfErrno(value) : dnsWords(octets)]
  const words = value === errno.EAGAIN ? silent : value > 0 ? reasonOfErrno(value) : protocol === "http" ? statusWords(-value) : "connected"
  if (protocol === "http") return ["status", words]
  if (value <= 0) return ["connected", words]
  const kinds = { [errno.ECONNREFUSED]: "refused", [errno.ECONNRESET]: "reset", [errno.ETIMEDOUT]: "timeout" }
  return [kinds[value] ?? "unreachable", words]
}

const connectionWords: Partial<Record<(typeof probeEvents)[number], string>> = {
  connected: "connected",
  reconnected: "connected",
  closed: "closed by the other end",
  gone: "the node is gone",
  back: "the node is back"
}

/**
 * One note as a change.
 *
 * @param before `detail` until then
 */
export const changeOf = (protocol: Protocol, note: ProbeNote, before: string): Change => {
  const [atNs, event, lengthNs, value, octets] = note
  const name = probeEvents[event]!
  const [kind, after] = name === "verdict"
    ? verdictOf(protocol, value, octets)
    : [name, name === "stall" ? before : connectionWords[name] ?? reasonOfErrno(value)]
  return { atMs: atNs / nsPerMs, kind, before, after, lengthMs: lengthNs / nsPerMs }
}
