import t from "tap"
import { PrefixTable } from "../../../daemon/bgp/fib/prefix-table.ts"
import { format, parsePrefix } from "../../../daemon/wire/ip.ts"
import { covers, networkOf } from "../../../daemon/wire/prefix.ts"

/** A sequence that is the same in every run (xorshift32). */
const random = (): (() => number) => {
  let state = 0x9e3779b9
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

t.test("PrefixTable finds what was added and not removed, as a Map does", async (t) => {
  for (const width of [4, 16] as const) {
    const next = random()
    const table = new PrefixTable(width)
    const model = new Map<string, number>()
    for (let step = 0; step < 40_000; step++) {
      // Few values, so that prefixes meet again.
      const bytes = Uint8Array.from({ length: width }, (_, i) => (i < 2 ? next() & 15 : next() & 1 ? 255 : 0))
      const length = 1 + (next() % (width * 8))
      const key = networkOf(`${format(bytes)}/${length}`)
      const known = model.get(key)
      if (table.find(bytes, 0, length) !== (known ?? -1)) t.fail(`find ${key}`)
      if (known !== undefined && next() % 3 === 0) {
        table.remove(known)
        model.delete(key)
      } else {
        const entry = table.findOrAdd(bytes, 0, length)
        if (known !== undefined && known !== entry) t.fail(`another number for ${key}`)
        model.set(key, entry)
      }
    }
    t.equal(table.size, model.size)
    t.equal(new Set(model.values()).size, model.size, "numbers are not shared")
    for (const [key, entry] of model) {
      const { address, length } = parsePrefix(key)!
      if (table.find(address, 0, length) !== entry || table.length(entry) !== length || table.isFree(entry)) t.fail(key)
      const octets = table.octets.subarray(entry * width, (entry + 1) * width)
      if (format(octets) !== format(address)) t.fail(`octets of ${key}`)
    }
    const address = Uint8Array.from({ length: width }, (_, i) => (i < 2 ? 7 : 255))
    const matches: number[] = []
    table.match(address, (_entry, length) => {
      matches.push(length)
      return false
    })
    const expected = [...model.keys()].map((key) => parsePrefix(key)!).filter((one) => covers(one.address, one.length, address))
    t.strictSame(matches, expected.map(({ length }) => length).sort((a, b) => b - a), "longest match first")
  }
})
