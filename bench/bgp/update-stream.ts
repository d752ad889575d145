/**
 * A full table as one neighbour sends it: UPDATEs of a million prefixes, with lengths, attribute sets and paths in the proportions of
 * the public routing table. Made from a seed, so that each subject of a bench gets the same octets.
 */
import { encodeAttributes } from "../../daemon/wire/bgp/attributes.ts"
import { makeContext, type SessionContext } from "../../daemon/wire/bgp/context.ts"
import { Family, SegmentType } from "../../daemon/wire/bgp/iana.ts"
import type { PathAttributes } from "../../daemon/wire/bgp/path-attributes.ts"
import { UpdateWriter } from "../../daemon/wire/bgp/update-writer.ts"

export interface StreamOptions {
  readonly prefixes: number
  /** Prefixes of one attribute set, on average. */
  readonly perSet: number
  /** First in each path: the neighbour's AS. */
  readonly asn: number
  readonly nextHop: string
  readonly seed: number
}

export interface UpdateStream {
  /** UPDATE messages, one after another. */
  readonly octets: Uint8Array
  readonly messages: number
  /** Distinct attribute sets. */
  readonly sets: number
  /** The same prefixes, withdrawn, in messages as full as they get. */
  readonly withdrawals: Uint8Array
}

export const context: SessionContext = makeContext({ asn4: true, isExternal: true, families: [Family.ipv4Unicast] })

/** Shares of prefix lengths in per mille, roughly as in public collectors' tables. */
const lengthShares: ReadonlyArray<readonly [length: number, perMille: number]> = [
  [24, 600], [23, 95], [22, 110], [21, 50], [20, 45], [19, 25], [18, 14], [17, 8], [16, 43], [15, 4], [14, 3], [13, 2], [12, 1]
]

/** xorshift32: numbers below `limit`. */
export const makeRandom = (seed: number) => {
  let state = seed | 1
  return (limit: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

type Random = ReturnType<typeof makeRandom>

const attributesOf = (random: Random, { asn, nextHop }: StreamOptions): PathAttributes => {
  const hops = 2 + random(4)
  // Few transit networks, many origins.
  const asns = [asn, ...Array.from({ length: hops }, (_, i) => (i + 1 < hops ? 1000 + random(400) : 2000 + random(75_000)))]
  const communities = Array.from({ length: random(5) }, () => ((1000 + random(400)) << 16 | random(3000)) >>> 0)
  return {
    origin: random(10) === 0 ? 2 : 0, asPath: [{ type: SegmentType.asSequence, asns }], nextHop, atomicAggregate: false,
    communities: [...new Set(communities)], extendedCommunities: [], largeCommunities: [], clusterList: [], unknown: [],
    ...(random(4) === 0 ? { med: random(200) } : {})
  }
}

/** Distinct prefixes: 4 octets of address and one of length each. */
const prefixesOf = (random: Random, count: number): Uint8Array => {
  const prefixes = new Uint8Array(count * 5)
  const seen = new Set<number>()
  for (let i = 0; i < count;) {
    let share = random(1000)
    const [length] = lengthShares.find(([, perMille]) => (share -= perMille) < 0)!
    const address = (((1 + random(222)) << 24) | (random(0x1000000) & (0xffff_ffff << (32 - length)))) >>> 0
    // Loopback is nobody's route.
    if (address >>> 24 === 127) continue
    const key = address * 64 + length
    if (seen.has(key)) continue
    seen.add(key)
    prefixes.set([address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255, length], i * 5)
    i++
  }
  return prefixes
}

/** Grows as messages come. */
class Sink {
  octets = new Uint8Array(1 << 20)
  end = 0
  messages = 0

  room(): Uint8Array {
    if (this.octets.length - this.end < 65536) {
      const grown = new Uint8Array(this.octets.length * 2)
      grown.set(this.octets)
      this.octets = grown
    }
    return this.octets
  }
}

export const makeStream = (options: StreamOptions): UpdateStream => {
  const random = makeRandom(options.seed)
  const prefixes = prefixesOf(random, options.prefixes)
  const writer = new UpdateWriter(context)
  const reach = new Sink()
  let sets = 0
  for (let i = 0; i < options.prefixes; sets++) {
    const block = encodeAttributes(attributesOf(random, options), context, true)
    const end = Math.min(options.prefixes, i + 1 + random(options.perSet * 2 - 1))
    while (i < end) {
      writer.beginReach(reach.room(), reach.end, Family.ipv4Unicast, block, undefined)
      while (i < end && writer.addPrefix(0, prefixes[i * 5 + 4]!, prefixes, i * 5)) i++
      reach.end = writer.finish()
      reach.messages++
    }
  }
  const unreach = new Sink()
  for (let i = 0; i < options.prefixes;) {
    writer.beginWithdraw(unreach.room(), unreach.end, Family.ipv4Unicast)
    while (i < options.prefixes && writer.addPrefix(0, prefixes[i * 5 + 4]!, prefixes, i * 5)) i++
    unreach.end = writer.finish()
  }
  return { octets: reach.octets.slice(0, reach.end), messages: reach.messages, sets, withdrawals: unreach.octets.slice(0, unreach.end) }
}
