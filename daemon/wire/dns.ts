/**
 * A DNS question and what comes back for it (RFC 1035 4): enough to ask a server and to read its answers as text.
 *
 * Unsupported: more than one question, EDNS, TCP; records of other types than A, AAAA, CNAME, MX, NS, PTR and TXT are left out.
 * Ownership: a decoded message holds no view of its input.
 */
import * as Ip from "./ip.ts"

export const Type = { A: 1, NS: 2, CNAME: 5, PTR: 12, MX: 15, TXT: 16, AAAA: 28 } as const
export type TypeName = keyof typeof Type

const classInternet = 1
const headerLength = 12
const recursionDesired = 0x0100
const response = 0x8000
const rcodes = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
const longestLabel = 63
const longestName = 253
/** More pointers than that in one name are a loop. */
const mostPointers = 16

export interface Message {
  readonly id: number
  readonly rcode: string
  readonly answers: ReadonlyArray<string>
}

export type Decoded = { readonly ok: true; readonly value: Message } | { readonly ok: false }
const malformed: Decoded = Object.freeze({ ok: false })

/** Octets of a question; undefined when the name is none. */
export const encodeQuestion = (id: number, name: string, type: TypeName): Uint8Array | undefined => {
  const plain = name.replace(/\.$/, "")
  const labels = plain === "" ? [] : plain.split(".")
  const isFine = plain.length <= longestName && labels.every((label) => label.length > 0 && label.length <= longestLabel)
  if (!isFine || /[^\x21-\x7e]/.test(plain)) return undefined
  const octets = new Uint8Array(headerLength + labels.reduce((sum, label) => sum + label.length + 1, 0) + 5)
  const view = new DataView(octets.buffer)
  view.setUint16(0, id)
  view.setUint16(2, recursionDesired)
  view.setUint16(4, 1)
  let at = headerLength
  for (const label of labels) {
    octets[at++] = label.length
    for (const character of label) octets[at++] = character.charCodeAt(0)
  }
  view.setUint16(at + 1, Type[type])
  view.setUint16(at + 3, classInternet)
  return octets
}

interface Name {
  readonly text: string
  /** Where what follows it begins. */
  readonly end: number
}

const nameAt = (b: Uint8Array, start: number): Name | undefined => {
  const labels: Array<string> = []
  let [at, end, pointers] = [start, -1, 0]
  for (;;) {
    const length = b[at]
    if (length === undefined) return undefined
    if (length === 0) return { text: labels.join("."), end: end < 0 ? at + 1 : end }
    if (length >= 0xc0) {
      // RFC 1035 4.1.4: the rest of the name stands elsewhere.
      if (b[at + 1] === undefined || ++pointers > mostPointers) return undefined
      if (end < 0) end = at + 2
      at = ((length & 0x3f) << 8) | b[at + 1]!
    } else {
      if (length > longestLabel || at + 1 + length > b.length) return undefined
      labels.push(String.fromCharCode(...b.subarray(at + 1, at + 1 + length)))
      at += 1 + length
    }
  }
}

/** A record's data as text; undefined when it is not one of ours or malformed. */
const dataOf = (b: Uint8Array, type: number, at: number, end: number): string | undefined => {
  switch (type) {
    case Type.A:
      return end - at === 4 ? Ip.format(b.subarray(at, end)) : undefined
    case Type.AAAA:
      return end - at === 16 ? Ip.format(b.subarray(at, end)) : undefined
    case Type.CNAME:
    case Type.NS:
    case Type.PTR:
      return nameAt(b, at)?.text
    case Type.MX: {
      const host = nameAt(b, at + 2)?.text
      return host === undefined ? undefined : `${(b[at]! << 8) | b[at + 1]!} ${host}`
    }
    case Type.TXT: {
      let text = ""
      for (let from = at; from < end; from += 1
        + b[from]!) text += String.fromCharCode(...b.subarray(from + 1, Math.min(end, from + 1 + b[from]!)))
      return text
    }
    default:
      return undefined
  }
}

export const decode = (b: Uint8Array): Decoded => {
  if (b.length < headerLength) return malformed
  const view = new DataView(b.buffer, b.byteOffset, b.length)
  const flags = view.getUint16(2)
  if ((flags & response) === 0) return malformed
  let at = headerLength
  for (let left = view.getUint16(4); left > 0; left--) {
    const name = nameAt(b, at)
    if (name === undefined) return malformed
    at = name.end + 4
  }
  const answers: Array<string> = []
  for (let left = view.getUint16(6); left > 0; left--) {
    const name = nameAt(b, at)
    if (name === undefined || name.end + 10 > b.length) return malformed
    const begin = name.end + 10
    const end = begin + view.getUint16(name.end + 8)
    if (end > b.length) return malformed
    const data = dataOf(b, view.getUint16(name.end), begin, end)
    if (data !== undefined) answers.push(data)
    at = end
  }
  return { ok: true, value: { id: view.getUint16(0), rcode: rcodes[flags & 0xf] ?? String(flags & 0xf), answers } }
}
