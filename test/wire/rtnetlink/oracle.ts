/**
 * The npm package `netlink` as a second opinion: its structures are generated from the kernel's headers, by other people.
 * Only its codecs are loaded, not its sockets.
 */
import * as Base from "netlink/dist/structs.js"
import * as Rt from "netlink/dist/rt/structs.js"
import { Writer } from "../../../daemon/wire/netlink.ts"

export const parsers = {
  link: Rt.parseLinkMessage,
  address: Rt.parseAddressMessage,
  route: Rt.parseRouteMessage,
  rule: Rt.parseRuleMessage,
  nexthop: Rt.parseNextHopMessage,
  tc: Rt.parseTcMessage
}

/** A Buffer as hexadecimal, so that comparing shows something. */
const plain = (value: unknown): unknown => {
  if (Buffer.isBuffer(value)) return value.toString("hex")
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

export interface Opinion {
  readonly type: number
  readonly flags: number
  readonly data: unknown
  readonly attrs: unknown
}

/** What the package reads in the one message that `write` writes; octets as hexadecimal. */
export const read = (kind: keyof typeof parsers, write: (out: Writer) => unknown): Opinion => {
  const out = new Writer()
  write(out)
  const found = Base.parseMessages(Buffer.from(out.finish()))
  if (found.length !== 1) throw new Error(`${found.length} messages instead of one`)
  const { type, flags, data: body } = found[0]!
  const { attrs, data } = parsers[kind](Buffer.concat(([] as Uint8Array[]).concat(body)))
  return { type, flags, data: plain(data), attrs: plain(attrs) }
}

type Formatter<A> = (message: A, out: Base.AttrStream) => void

/** The octets that the package makes of a message's body. */
export const write = <A>(format: Formatter<A>, message: A): Uint8Array => {
  const out = new Base.AttrStream()
  format(message, out)
  return Buffer.concat(out.bufs)
}
