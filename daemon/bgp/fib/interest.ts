/**
 * Which prefixes matter to next hops: asked for every route that comes or goes, so it must cost next to nothing. Addresses are kept
 * sorted; a prefix is a range of them. IPv6 addresses are told apart by their first 48 bits only: who is told too often looks again.
 */
import type { FamilyIndex } from "./api.ts"

const keyBits = [32, 48] as const

const key = (family: FamilyIndex, bytes: Uint8Array, at: number): number => {
  const high = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  return family === 0 ? high : high * 65536 + ((bytes[at + 4]! << 8) | bytes[at + 5]!)
}

export class Interest {
  readonly #users = [new Map<object, number>(), new Map<object, number>()] as const
  readonly #sorted: [Float64Array, Float64Array] = [new Float64Array(0), new Float64Array(0)]

  /** `user`: whose address it is, for `remove`. */
  add(address: Uint8Array, user: object): void {
    const family = address.length === 4 ? 0 : 1
    this.#users[family].set(user, key(family, address, 0))
    this.#sort(family)
  }

  remove(address: Uint8Array, user: object): void {
    const family = address.length === 4 ? 0 : 1
    if (this.#users[family].delete(user)) this.#sort(family)
  }

  #sort(family: FamilyIndex): void {
    this.#sorted[family] = Float64Array.from(new Set(this.#users[family].values())).sort()
  }

  /** Whether an address may lie under the prefix. */
  isUnder(family: FamilyIndex, bytes: Uint8Array, at: number, length: number): boolean {
    const sorted = this.#sorted[family]
    if (sorted.length === 0) return false
    const bits = keyBits[family]
    const size = 2 ** Math.max(0, bits - length)
    const low = Math.floor(key(family, bytes, at) / size) * size
    let from = 0
    let to = sorted.length
    while (from < to) {
      const middle = (from + to) >> 1
      if (sorted[middle]! < low) from = middle + 1
      else to = middle
    }
    return from < sorted.length && sorted[from]! < low + size
  }
}
