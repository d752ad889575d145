/**
 * Prefix lists: the first entry that fits a prefix decides, and none means no.
 *
 * A list of thousands is looked up, not walked: entries lie in one table for each length of their prefix, so that a prefix of
 * length n asks at most n tables, and only those of lengths that the list has.
 */
import type { PrefixListEntry } from "../../plan/bgp.ts"
import { parsePrefix } from "../../wire/ip.ts"
import { FamilyIndex } from "../rib/types.ts"

interface Entry {
  /** Position in the list: the lower decides. */
  readonly order: number
  readonly permits: boolean
  /** Lengths that it fits. */
  readonly least: number
  readonly most: number
}

/** Entries whose prefixes have one length, by the prefix's bits. */
interface Table {
  readonly length: number
  readonly entries: Map<number | string, Array<Entry>>
}

/** IPv4: the address as a number without its host bits. IPv6: octets as text of one unit each. */
const keyOf = (family: FamilyIndex, bytes: Uint8Array, at: number, length: number): number | string => {
  const whole = length >> 3
  const rest = length & 7
  if (family === FamilyIndex.ipv4) {
    let key = 0
    for (let i = 0; i < whole; i++) key = key * 256 + bytes[at + i]!
    return rest === 0 ? key : key * 256 + (bytes[at + whole]! & (0xff00 >> rest))
  }
  let key = ""
  for (let i = 0; i < whole; i++) key += String.fromCharCode(bytes[at + i]!)
  return rest === 0 ? key : key + String.fromCharCode(bytes[at + whole]! & (0xff00 >> rest))
}

export class PrefixList {
  readonly #tables: Readonly<Record<FamilyIndex, Array<Table>>> = { 0: [], 1: [] }

  constructor(entries: ReadonlyArray<PrefixListEntry>) {
    for (const [order, { action, ge, le, prefix }] of entries.entries()) {
      const parsed = parsePrefix(prefix)
      if (parsed === undefined) throw new Error(`Cannot compile a prefix list: "${prefix}" is no prefix`)
      const { address, length } = parsed
      const family = address.length === 4 ? FamilyIndex.ipv4 : FamilyIndex.ipv6
      const longest = address.length * 8
      // Without bounds the prefix itself; with only one of them, the other is as wide as it can be.
      const least = ge ?? length
      const most = le ?? (ge === undefined ? length : longest)
      const table = this.#table(family, length)
      const key = keyOf(family, address, 0, length)
      const entry = { order, permits: action === "permit", least, most }
      const same = table.entries.get(key)
      if (same === undefined) table.entries.set(key, [entry])
      else same.push(entry)
    }
  }

  #table(family: FamilyIndex, length: number): Table {
    const known = this.#tables[family].find((table) => table.length === length)
    if (known !== undefined) return known
    const table = { length, entries: new Map() }
    this.#tables[family].push(table)
    this.#tables[family].sort((a, b) => a.length - b.length)
    return table
  }

  /** Does the first entry that fits permit? The prefix's octets are `bytes[at..]`, as many as `length` needs. */
  permits(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): boolean {
    let best = Infinity
    let isPermitted = false
    for (const table of this.#tables[family]) {
      if (table.length > length) break
      const entries = table.entries.get(keyOf(family, bytes, at, table.length))
      if (entries === undefined) continue
      for (const entry of entries) {
        if (entry.order >= best || length < entry.least || length > entry.most) continue
        best = entry.order
        isPermitted = entry.permits
      }
    }
    return isPermitted
  }
}
