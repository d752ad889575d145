/**
 * Messages that were damaged: no codec throws, none reads beside, and what one makes of them survives being written and read
 * again. `WEFT_FUZZ` says how many; 10,000,000 take one or two minutes; `WEFT_FUZZ_SEED` starts them elsewhere.
 */
import t from "tap"
import { decodeBlock, encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import type { SessionContext } from "../../../daemon/wire/bgp/context.ts"
import { Severity } from "../../../daemon/wire/bgp/path-attributes.ts"
import * as Notification from "../../../daemon/wire/bgp/notification.ts"
import { forEachPrefix, forEachTyped } from "../../../daemon/wire/bgp/nlri.ts"
import * as Open from "../../../daemon/wire/bgp/open.ts"
import * as RouteRefresh from "../../../daemon/wire/bgp/route-refresh.ts"
import { StreamParser } from "../../../daemon/wire/bgp/stream.ts"
import { attributeKeyInto, decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"
import { seeded, type Random } from "../../random.ts"
import { addPath, external, internal, old, toHex } from "./build.ts"
import { corpus } from "./corpus.ts"

const rounds = Number(process.env["WEFT_FUZZ"] ?? 60_000)
const contexts = [external, internal, old, addPath]
const scan = new UpdateScan()
const key = new Uint8Array(70_000)

const damage = (random: Random, original: Uint8Array): Uint8Array => {
  let bytes = original.slice()
  for (let hits = 1 + random.below(4); hits > 0; hits--) {
    const at = 19 + random.below(Math.max(1, bytes.length - 19))
    switch (random.below(5)) {
      case 0:
        bytes[at] = random.below(256)
        break
      case 1:
        bytes[at]! ^= 1 << random.below(8)
        break
      case 2:
        bytes = bytes.slice(0, Math.max(19, at))
        break
      case 3:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...random.octets(1 + random.below(4)), ...bytes.subarray(at)])
        break
      default:
        bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff])
    }
  }
  bytes[16] = bytes.length >> 8
  bytes[17] = bytes.length & 255
  return bytes
}

/** All ranges lie within the message, and all NLRI in them. */
const walk = (bytes: Uint8Array, at: number, end: number, context: SessionContext): void => {
  const inside = (from: number, to: number): void => {
    if (from > to || from < at || to > end) throw new Error(`${from}..${to} is not in ${at}..${end}`)
  }
  const prefixes = (family: number, from: number, to: number): void => {
    inside(from, to)
    const addPath = context.addPathReceive(family)
    if (family === 0x1946) forEachTyped(bytes, from, to, addPath, (_id, nlriAt, nlriEnd) => inside(nlriAt, Math.min(nlriEnd, to)))
    else forEachPrefix(bytes, from, to, addPath, (_id, bits, octetsAt) => inside(octetsAt, octetsAt + ((bits + 7) >> 3)))
  }
  prefixes(0x0101, scan.withdrawnAt, scan.withdrawnEnd)
  prefixes(0x0101, scan.nlriAt, scan.nlriEnd)
  if (scan.mpReachFamily !== 0) prefixes(scan.mpReachFamily, scan.mpReachAt, scan.mpReachEnd)
  if (scan.mpUnreachFamily !== 0) prefixes(scan.mpUnreachFamily, scan.mpUnreachAt, scan.mpUnreachEnd)
}

/** What could be read is the same after it was written and read again. */
const roundTrip = (bytes: Uint8Array, at: number, end: number, context: SessionContext): void => {
  const source = scan.mpReachFamily === 0 ? NlriSource.field : NlriSource.mpReach
  const keyEnd = attributeKeyInto(bytes, scan, source, key, 0)
  if (keyEnd > scan.attributesEnd - scan.attributesAt + 40) throw new Error("the key is longer than promised")
  const decoded = decodeAttributes(bytes, scan, source, context)
  if (decoded.severity >= Severity.withdraw || !scan.hasReachable) return
  const withNextHop = source === NlriSource.field && decoded.attributes.nextHop !== undefined
  const block = encodeAttributes(decoded.attributes, context, withNextHop)
  const again = decodeBlock(block, 0, block.length, context, { hasReachable: true, needsNextHop: withNextHop })
  const { nextHop, linkLocalNextHop, ...attributes } = decoded.attributes
  const expected = withNextHop ? { ...attributes, nextHop } : attributes
  const text = (value: unknown): string => JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? String(one) : one))
  if (again.severity !== Severity.none || text(sorted(again.attributes)) !== text(sorted(expected))) {
    throw new Error(`written and read again it differs: ${toHex(bytes.subarray(at, end))}\n${text(expected)}\n${text(again)}`)
  }
  void linkLocalNextHop
}

const sorted = (value: object): unknown => Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))

const take = (bytes: Uint8Array, at: number, end: number, type: number, context: SessionContext): void => {
  switch (type) {
    case 1: {
      const open = Open.decode(bytes, at, end)
      if (!open.ok) return
      const octets = Open.encode(open.value)
      const again = Open.decode(octets, 0, octets.length)
      if (!again.ok || JSON.stringify(again.value) !== JSON.stringify(open.value)) throw new Error(`OPEN ${toHex(bytes.subarray(at, end))}`)
      return
    }
    case 2:
      if (scanUpdate(bytes, at, end, context, scan) !== undefined) return
      walk(bytes, at, end, context)
      roundTrip(bytes, at, end, context)
      return
    case 3:
      Notification.describe(Notification.decode(bytes, at, end))
      return
    case 5:
      RouteRefresh.decode(bytes, at, end)
  }
}

t.test(`${rounds} damaged messages`, async (t) => {
  const random = seeded(Number(process.env["WEFT_FUZZ_SEED"] ?? 4))
  const originals = corpus.filter(({ length }) => length < 2000)
  let taken = 0
  for (let round = 0; round < rounds; round++) {
    const damaged = damage(random, random.pick(originals))
    const context = contexts[round % contexts.length]!
    // The message lies amid poison, so that reading beside it is seen in the values.
    const bytes = new Uint8Array(damaged.length + 64).fill(0xee)
    bytes.set(damaged, 32)
    const parser = new StreamParser()
    parser.extendedMessage = context.extendedMessage
    try {
      parser.feed(bytes.subarray(32, 32 + damaged.length))
      while (parser.next()) {
        take(parser.bytes, parser.at, parser.end, parser.type, context)
        taken++
      }
    } catch (error) {
      t.fail(`round ${round}: ${error instanceof Error ? error.message : String(error)}: ${toHex(damaged)}`)
      return
    }
  }
  t.ok(taken > rounds / 4, `${taken} were taken`)
})

t.test("every truncation of every message", async (t) => {
  for (const [index, original] of corpus.entries()) {
    if (original.length > 2000) continue
    for (let length = 19; length < original.length; length++) {
      const bytes = original.slice(0, length)
      bytes[16] = length >> 8
      bytes[17] = length & 255
      for (const context of contexts) {
        const parser = new StreamParser()
        parser.feed(bytes)
        try {
          while (parser.next()) take(parser.bytes, parser.at, parser.end, parser.type, context)
        } catch (error) {
          t.fail(`message ${index} cut to ${length}: ${error instanceof Error ? error.message : String(error)}`)
          return
        }
      }
    }
  }
  t.pass("none threw")
})
