/**
 * Revocation lists: which certificates of an authority are void before their time (RFC 5280 5.1). Only what is needed to
 * know one by its issuer and serial number; DER is read as X.690 has it.
 *
 *     CertificateList: SEQUENCE { TBSCertList, algorithm, signature }
 *     TBSCertList:     SEQUENCE { [version INTEGER] algorithm issuer thisUpdate [nextUpdate] [SEQUENCE OF SEQUENCE { serial, ... }] ... }
 *     TBSCertificate:  SEQUENCE { [0] version, serial INTEGER, algorithm, issuer, ... }
 *
 * Signatures and dates are not looked at: a list is a file of the daemon's owner, like the authority's certificate beside
 * it, and an old list is better than none. Unsupported: indirect lists (5.3.3), entries of other issuers.
 */

const Tag = { integer: 0x02, sequence: 0x30, version: 0xa0, utcTime: 0x17, generalizedTime: 0x18 } as const

/** `issuer/serial`, both in hexadecimal. */
export type CertificateKey = string

interface Element {
  readonly tag: number
  /** The element with its header. */
  readonly whole: Uint8Array
  readonly content: Uint8Array
}

/** The element at `at`; undefined when it is cut short or its length is written in another way than DER's. */
const element = (b: Uint8Array, at: number): Element | undefined => {
  const tag = b[at]
  const first = b[at + 1]
  if (tag === undefined || first === undefined) return undefined
  let length = first
  let start = at + 2
  if (first >= 0x80) {
    const octets = first - 0x80
    if (octets < 1 || octets > 4 || start + octets > b.length) return undefined
    length = 0
    for (let each = 0; each < octets; each++) length = length * 256 + b[start + each]!
    start += octets
  }
  if (start + length > b.length) return undefined
  return { tag, whole: b.subarray(at, start + length), content: b.subarray(start, start + length) }
}

/** What a constructed element holds; undefined when that is no row of whole elements. */
const elements = (b: Uint8Array): ReadonlyArray<Element> | undefined => {
  const found: Array<Element> = []
  for (let at = 0; at < b.length; ) {
    const next = element(b, at)
    if (next === undefined) return undefined
    found.push(next)
    at += next.whole.length
  }
  return found
}

const hex = (b: Uint8Array): string => Array.from(b, (octet) => octet.toString(16).padStart(2, "0")).join("")

/** The parts of the signed half of a certificate or list. */
const signed = (der: Uint8Array): ReadonlyArray<Element> | undefined => {
  const outer = element(der, 0)
  const inner = outer?.tag === Tag.sequence ? element(outer.content, 0) : undefined
  return inner?.tag === Tag.sequence ? elements(inner.content) : undefined
}

/** What a list calls this certificate; undefined when it is none. */
export const certificateKey = (der: Uint8Array): CertificateKey | undefined => {
  const parts = signed(der)
  const [serial, , issuer] = parts?.[0]?.tag === Tag.version ? parts.slice(1) : (parts ?? [])
  return serial?.tag === Tag.integer && issuer?.tag === Tag.sequence ? `${hex(issuer.whole)}/${hex(serial.content)}` : undefined
}

/** The certificates that a list (DER) names; undefined when it is none. */
export const revokedBy = (der: Uint8Array): ReadonlyArray<CertificateKey> | undefined => {
  const parts = signed(der)
  const [, issuer, updated, ...rest] = parts?.[0]?.tag === Tag.integer ? parts.slice(1) : (parts ?? [])
  if (issuer?.tag !== Tag.sequence || updated === undefined || !isTime(updated)) return undefined
  const list = rest[0] !== undefined && isTime(rest[0]) ? rest[1] : rest[0]
  // Without entries the list is absent (5.1.2.6), and extensions may stand there.
  if (list?.tag !== Tag.sequence) return []
  const entries = elements(list.content)
  const serials = entries?.map((entry) => (entry.tag === Tag.sequence ? element(entry.content, 0) : undefined))
  if (serials === undefined || serials.some((serial) => serial?.tag !== Tag.integer)) return undefined
  return serials.map((serial) => `${hex(issuer.whole)}/${hex(serial!.content)}`)
}

const isTime = ({ tag }: Element): boolean => tag === Tag.utcTime || tag === Tag.generalizedTime
