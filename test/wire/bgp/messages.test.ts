/** BGP messages of other speakers, and ours read again: OPEN, NOTIFICATION, ROUTE-REFRESH, UPDATE, communities. */
import t from "tap"
import { decodeBlock, encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import * as Communities from "../../../daemon/wire/bgp/communities.ts"
import type { SessionContext } from "../../../daemon/wire/bgp/context.ts"
import { Family, OpenError } from "../../../daemon/wire/bgp/iana.ts"
import { forEachPrefix, prefixText } from "../../../daemon/wire/bgp/nlri.ts"
import * as Notification from "../../../daemon/wire/bgp/notification.ts"
import * as Open from "../../../daemon/wire/bgp/open.ts"
import type { PathAttributes } from "../../../daemon/wire/bgp/path-attributes.ts"
import * as RouteRefresh from "../../../daemon/wire/bgp/route-refresh.ts"
import { encodeEndOfRib, UpdateWriter } from "../../../daemon/wire/bgp/update-writer.ts"
import { attributeKeyInto, decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"
import * as Ip from "../../../daemon/wire/ip.ts"
import { addPath, attribute, external, hex, internal, mandatory, message, nlri, old, toHex, update } from "./build.ts"
import { vectors } from "./corpus.ts"

const prefixesOf = (bytes: Uint8Array, scan: UpdateScan, context: SessionContext): string[] => {
  const found: string[] = []
  const visit = (family: number, at: number, end: number): void => {
    const isMarked = context.addPathReceive(family)
    forEachPrefix(bytes, at, end, isMarked, (pathId, bits, octetsAt) => {
      found.push((isMarked ? `${pathId}: ` : "") + prefixText(family, bytes, octetsAt, bits))
    })
  }
  visit(Family.ipv4Unicast, scan.nlriAt, scan.nlriEnd)
  if (scan.mpReachFamily !== 0) visit(scan.mpReachFamily, scan.mpReachAt, scan.mpReachEnd)
  return found
}

const parts = (large: bigint): number[] => [Number(large >> 64n), Number((large >> 32n) & 0xffffffffn), Number(large & 0xffffffffn)]

t.test("UPDATEs of other speakers say what those were told to announce", async (t) => {
  const scan = new UpdateScan()
  const sources = [...new Set(vectors.map(({ source }) => source))]
  t.ok(sources.length >= 4, sources.join(", "))
  for (const source of sources) {
    const found: string[] = []
    for (const { name, octets, says } of vectors.filter((one) => one.source === source && one.octets.slice(36, 38) === "02")) {
      const bytes = hex(octets)
      t.equal(scanUpdate(bytes, 0, bytes.length, external, scan), undefined, name)
      if (!scan.hasReachable) {
        t.not(scan.endOfRib, 0, `${name} without NLRI is an End-of-RIB`)
        continue
      }
      const isMp = scan.mpReachFamily !== 0
      const { attributes, faults } = decodeAttributes(bytes, scan, isMp ? NlriSource.mpReach : NlriSource.field, external)
      t.strictSame(faults, [], name)
      t.strictSame(attributes.asPath.map(({ asns, type }) => [type, ...asns]), [[2, 65001]])
      t.equal(attributes.nextHop, isMp && scan.mpReachFamily === Family.ipv6Unicast ? "2001:db8::99" : "192.0.2.1")
      t.match({ med: attributes.med, origin: attributes.origin }, { med: says["med"], origin: says["origin"] })
      t.strictSame([...attributes.communities].sort(), [...(says["communities"] as number[])].sort())
      t.strictSame(attributes.extendedCommunities.map(Number), says["extendedCommunities"])
      t.strictSame(attributes.largeCommunities.map(parts), says["largeCommunities"])
      found.push(...prefixesOf(bytes, scan, external))
    }
    const told = vectors.find((one) => one.source === source && "prefixes" in one.says)!.says["prefixes"] as Record<string, string[]>
    t.strictSame([...new Set(found)].sort(), Object.values(told).flat().sort(), source)
  }
})

t.test("OPENs of other speakers", async (t) => {
  for (const { name, octets, says } of vectors.filter((one) => one.octets.slice(36, 38) === "01")) {
    const bytes = hex(octets)
    const decoded = Open.decode(bytes, 0, bytes.length)
    t.ok(decoded.ok, name)
    if (!decoded.ok) continue
    t.equal(decoded.value.asn, says["asn"])
    t.equal(Ip.format(hex(decoded.value.bgpIdentifier.toString(16).padStart(8, "0"))), says["bgpIdentifier"])
    const families = decoded.value.capabilities.flatMap((one) => (one.kind === "multiprotocol" ? [one.family] : []))
    t.strictSame(families.sort(), [Family.ipv4Unicast, Family.ipv6Unicast])
    const again = Open.encode(decoded.value)
    t.strictSame(Open.decode(again, 0, again.length), decoded, "written and read again")
  }
})

const all: Open.Open = {
  asn: 4_200_000_000,
  holdTimeS: 90,
  bgpIdentifier: 0xc0000201,
  capabilities: [
    { kind: "multiprotocol", family: Family.evpn },
    { kind: "routeRefresh" },
    { kind: "enhancedRouteRefresh" },
    { kind: "extendedMessage" },
    { kind: "extendedNextHop", entries: [{ family: Family.ipv4Unicast, nextHopAfi: 2 }] },
    { kind: "role", role: 3 },
    {
      kind: "gracefulRestart", restarting: true, notification: true, restartTimeS: 4095,
      families: [{ family: Family.ipv4Unicast, forwardingPreserved: true }, { family: Family.ipv6Unicast, forwardingPreserved: false }]
    },
    { kind: "longLivedGracefulRestart", families: [{ family: Family.ipv4Unicast, forwardingPreserved: true, staleTimeS: 0xffffff }] },
    { kind: "fourOctetAs", asn: 4_200_000_000 },
    { kind: "addPath", families: [{ family: Family.ipv4Unicast, receive: true, send: false }] },
    { kind: "fqdn", hostname: "leaf1", domain: "lab" },
    { kind: "unknown", code: 200, value: hex("010203") }
  ]
}

t.test("OPEN with every capability, in the octets of their RFCs", async (t) => {
  const bytes = Open.encode(all)
  t.strictSame(Open.decode(bytes, 0, bytes.length), { ok: true, value: all })
  t.equal(toHex(bytes.subarray(19)), [
    "04 5ba0 005a c0000201 4b 02 49", "01 04 0019 00 46", "02 00", "46 00", "06 00", "05 06 0001 0001 0002", "09 01 03",
    "40 0a cfff 0001 01 80 0002 01 00", "47 07 0001 01 80 ffffff", "41 04 fa56ea00", "45 04 0001 01 01",
    "49 0a 05 6c65616631 03 6c6162", "c8 03 010203"
  ].join("").replace(/ /g, ""))
})

t.test("OPEN with more than 255 octets of parameters (RFC 9072)", async (t) => {
  const capabilities = Array.from({ length: 4 }, (_, i) => ({ kind: "unknown" as const, code: 100 + i, value: new Uint8Array(100) }))
  const bytes = Open.encode({ ...all, asn: 65001, capabilities })
  t.equal(toHex(bytes.subarray(28, 36)), "ffff019b02019864".slice(0, 16))
  t.match(Open.decode(bytes, 0, bytes.length), { ok: true, value: { asn: 65001, capabilities } })
})

t.test("OPENs that end the session (RFC 4271 6.2)", async (t) => {
  const cases: ReadonlyArray<readonly [string, string, number, string]> = [
    ["version 3", "03 fde9 005a c0000201 00", OpenError.unsupportedVersionNumber, "0004"],
    ["AS 0", "04 0000 005a c0000201 00", OpenError.badPeerAs, ""],
    ["AS 0 in the capability (RFC 7607)", "04 5ba0 005a c0000201 08 0206 4104 00000000", OpenError.badPeerAs, ""],
    ["hold time 1", "04 fde9 0001 c0000201 00", OpenError.unacceptableHoldTime, ""],
    ["hold time 2", "04 fde9 0002 c0000201 00", OpenError.unacceptableHoldTime, ""],
    ["identifier 0", "04 fde9 005a 00000000 00", OpenError.badBgpIdentifier, ""],
    ["authentication", "04 fde9 005a c0000201 02 0100", OpenError.unsupportedOptionalParameter, ""],
    ["parameters are longer than the message", "04 fde9 005a c0000201 05 0200", OpenError.unspecific, ""],
    ["parameters are shorter than the message", "04 fde9 005a c0000201 00 0200", OpenError.unspecific, ""],
    ["a parameter is cut", "04 fde9 005a c0000201 01 02", OpenError.unspecific, ""],
    ["a parameter overruns", "04 fde9 005a c0000201 02 0202", OpenError.unspecific, ""],
    ["a capability overruns", "04 fde9 005a c0000201 04 0202 4104", OpenError.unspecific, ""],
    ["a capability is cut", "04 fde9 005a c0000201 03 0201 41", OpenError.unspecific, ""],
    ["a capability of a wrong length", "04 fde9 005a c0000201 05 0203 4101 00", OpenError.unspecific, ""],
    ["extended parameters overrun", "04 fde9 005a c0000201 ff ff 0009 02 0006", OpenError.unspecific, ""]
  ]
  for (const [name, body, subcode, data] of cases) {
    const bytes = message(1, body)
    const decoded = Open.decode(bytes, 0, bytes.length)
    t.match(decoded, { ok: false, error: { code: 2, subcode } }, name)
    if (!decoded.ok) t.equal(toHex(decoded.error.data), data, name)
  }
  const split = message(1, "04 fde9 005a c0000201 0c 0202 0200 0206 0104 00010001")
  t.match(Open.decode(split, 0, split.length), { ok: true, value: { capabilities: [{ kind: "routeRefresh" }, { kind: "multiprotocol" }] } })
  const padded = message(1, "04 fde9 005a c0000201 0b 0209 02 02 0000 06 00 46 01 00")
  const all = [{ kind: "routeRefresh" }, { kind: "extendedMessage" }, { kind: "enhancedRouteRefresh" }]
  t.match(Open.decode(padded, 0, padded.length), { ok: true, value: { capabilities: all } }, "what says all by being there has no length")
  const ignored = message(1, "04 fde9 005a c0000201 0c 02 0a 4508 0001 01 03 0002 01 07")
  const addPathOnly = [{ kind: "addPath", families: [{ family: Family.ipv4Unicast, receive: true, send: true }] }]
  t.match(Open.decode(ignored, 0, ignored.length), { value: { capabilities: addPathOnly } }, "RFC 7911 4")
  // A SAFI of 16 bits must not spill into the AFI.
  const large = message(1, "04 fde9 005a c0000201 0a 0208 0506 0000 0101 0002")
  t.strictSame(Open.decode(large, 0, large.length), {
    ok: true,
    value: { asn: 65001, holdTimeS: 90, bgpIdentifier: 0xc0000201, capabilities: [{ kind: "extendedNextHop", entries: [] }] }
  })
})

t.test("NOTIFICATION in octets and in words", async (t) => {
  const words = (code: number, subcode: number, data = ""): string => Notification.describe({ code, subcode, data: hex(data) })
  t.equal(words(6, 2, "0b6d61696e74656e616e6365"), 'Cease, Administrative Shutdown: "maintenance"')
  t.equal(words(6, 2, "ff6d61"), "Cease, Administrative Shutdown", "a text that is cut is not shown")
  t.equal(words(6, 2, "02c328"), "Cease, Administrative Shutdown", "nor one that is not UTF-8")
  t.equal(words(6, 4, "031b5b41"), 'Cease, Administrative Reset: "?[A"', "nor control characters")
  t.equal(words(6, 9, "06020161"), 'Cease, Hard Reset (Cease, Administrative Shutdown: "a")')
  t.equal(words(4, 0), "Hold Timer Expired")
  t.equal(words(3, 11), "UPDATE Message Error, Malformed AS_PATH")
  t.equal(words(99, 7), "error 99, subcode 7")
  const text = "ä".repeat(200)
  const data = Notification.shutdownCommunication(text)
  t.equal(data.length, 255, "cut between characters")
  t.equal(Notification.communicationOf({ code: 6, subcode: 2, data }), "ä".repeat(127))
  const inner = { code: 6, subcode: 2, data }
  t.strictSame(Notification.insideHardReset(Notification.hardReset(inner)), inner)
  const bytes = Notification.encode(inner)
  t.strictSame(Notification.decode(bytes, 0, bytes.length), inner)
  t.equal(Notification.encode({ code: 3, subcode: 1, data: new Uint8Array(9000) }).length, 4096)
})

t.test("ROUTE-REFRESH (RFC 2918, RFC 7313)", async (t) => {
  const request = { family: Family.ipv6Unicast, subtype: RouteRefresh.Subtype.request }
  const bytes = RouteRefresh.encode(request)
  t.equal(toHex(bytes), toHex(message(5, "0002 00 01")))
  t.strictSame(RouteRefresh.decode(bytes, 0, bytes.length), { ok: true, value: request })
  const long = message(5, "0002 01 01 00")
  t.match(RouteRefresh.decode(long, 0, long.length), { ok: false, error: { code: 7, subcode: 1, data: long } })
  const filters = message(5, "0002 00 01 01 80 0000")
  t.match(RouteRefresh.decode(filters, 0, filters.length), { ok: true }, "filters are passed over")
})

const full: PathAttributes = {
  origin: 2,
  asPath: [{ type: 2, asns: [4_200_000_000, 65001] }, { type: 1, asns: [1, 70_000] }],
  nextHop: "192.0.2.1",
  med: 4_294_967_295,
  localPref: 0,
  atomicAggregate: true,
  aggregator: { asn: 70_000, address: "192.0.2.7" },
  communities: [0xffffff01, 65001 * 65536 + 1],
  extendedCommunities: [0x0002fde900000001n, 0xffffffffffffffffn],
  largeCommunities: [(4_200_000_000n << 64n) | (1n << 32n) | 2n],
  originatorId: 0xc0000203,
  clusterList: [1, 0xffffffff],
  pmsiTunnel: { flags: 0, tunnelType: 6, label: 0xabcdef, tunnelIdentifier: hex("c0000201") },
  unknown: [{ flags: 0xe0, type: 35, value: hex("0000fde9") }, { flags: 0xe0, type: 250, value: new Uint8Array(300).fill(7) }]
}

t.test("all attributes are read as they were written, with AS numbers of four and of two octets", async (t) => {
  const options = { hasReachable: true, needsNextHop: true }
  const oldInternal: SessionContext = { ...old, isExternal: false }
  for (const context of [internal, oldInternal]) {
    const block = encodeAttributes(full, context, true)
    t.strictSame(decodeBlock(block, 0, block.length, context, options), { attributes: full, faults: [], severity: 0 })
    const types: number[] = []
    for (let at = 0; at < block.length;) {
      types.push(block[at + 1]!)
      at += (block[at]! & 0x10) === 0 ? 3 + block[at + 2]! : 4 + block[at + 2]! * 256 + block[at + 3]!
    }
    t.strictSame(types, [...types].sort((a, b) => a - b), "in order of their types (RFC 4271 5)")
  }
})

t.test("long paths are split into segments of 255 (RFC 4271 4.3)", async (t) => {
  const asns = Array.from({ length: 600 }, (_, i) => i + 1)
  const block = encodeAttributes({ ...full, asPath: [{ type: 2, asns }] }, internal, true)
  const { attributes, faults } = decodeBlock(block, 0, block.length, internal, { hasReachable: true, needsNextHop: true })
  t.strictSame(faults, [])
  t.strictSame(attributes.asPath.map((segment) => segment.asns.length), [255, 255, 90])
  t.strictSame(attributes.asPath.flatMap((segment) => segment.asns), asns)
})

t.test("AS4_PATH and AS4_AGGREGATOR are merged (RFC 6793 4.2.3)", async (t) => {
  const read = (attributes: string): PathAttributes => {
    const bytes = hex(attributes)
    return decodeBlock(bytes, 0, bytes.length, old, { hasReachable: false, needsNextHop: false }).attributes
  }
  const path = (...segments: ReadonlyArray<readonly [number, ReadonlyArray<number>]>): unknown =>
    segments.map(([type, asns]) => ({ type, asns }))
  const as4 = attribute(0xc0, 17, "0202 00010001 00010002")
  t.strictSame(read(attribute(0x40, 2, "0203 0064 5ba0 5ba0") + as4).asPath, path([2, [100, 65537, 65538]]), "the newest is in front")
  t.strictSame(read(attribute(0x40, 2, "0202 5ba0 5ba0") + as4).asPath, path([2, [65537, 65538]]))
  t.strictSame(read(attribute(0x40, 2, "0201 5ba0") + as4).asPath, path([2, [23456]]), "a longer AS4_PATH is ignored")
  const set = read(attribute(0x40, 2, "0102 0001 0002 0202 5ba0 5ba0") + as4)
  t.strictSame(set.asPath, path([1, [1, 2]], [2, [65537, 65538]]), "a set counts one")
  const new4 = attribute(0xc0, 18, "00010001c0000202")
  t.strictSame(read(attribute(0xc0, 7, "5ba0c0000201") + new4).aggregator, { asn: 65537, address: "192.0.2.2" })
  const both = read(attribute(0x40, 2, "0202 5ba0 5ba0") + attribute(0xc0, 7, "0064c0000201") + as4 + new4)
  t.strictSame([both.aggregator?.asn, both.asPath], [100, path([2, [23456, 23456]])], "an aggregator of two octets: both are old")
})

t.test("next hops of MP_REACH_NLRI", async (t) => {
  const scan = new UpdateScan()
  const read = (hop: string, context: SessionContext = external): PathAttributes => {
    const digits = hop.replace(/\s/g, "")
    const nlriOctets = context === addPath ? "00000001 100a01" : "00"
    const family = context === addPath ? "000101" : "000201"
    const length = (digits.length / 2).toString(16).padStart(2, "0")
    const reach = attribute(0x80, 14, `${family} ${length} ${digits} 00 ${nlriOctets}`)
    const bytes = update({ attributes: reach + attribute(0x40, 1, "00") + attribute(0x40, 2, "") })
    t.equal(scanUpdate(bytes, 0, bytes.length, context, scan), undefined)
    const { attributes, faults } = decodeAttributes(bytes, scan, NlriSource.mpReach, context)
    t.strictSame(faults, [])
    return attributes
  }
  const [global, local] = [`20010db8${"00".repeat(11)}01`, `fe80${"00".repeat(13)}01`]
  t.match(read(global), { nextHop: "2001:db8::1", linkLocalNextHop: undefined })
  t.match(read(global + local), { nextHop: "2001:db8::1", linkLocalNextHop: "fe80::1" })
  t.match(read("00".repeat(16) + local), { nextHop: "fe80::1", linkLocalNextHop: "fe80::1" }, "without a global one")
  t.match(read(local + local), { nextHop: "fe80::1", linkLocalNextHop: "fe80::1" })
  t.match(read(global + local, addPath), { nextHop: "2001:db8::1" }, "IPv4 over IPv6 (RFC 8950)")
})

t.test("the key of attributes is the same for the same attributes, and differs with the next hop", async (t) => {
  const scan = new UpdateScan()
  const key = new Uint8Array(500)
  const keyOf = (bytes: Uint8Array, source: number): string => {
    t.equal(scanUpdate(bytes, 0, bytes.length, external, scan), undefined)
    return toHex(key.subarray(0, attributeKeyInto(bytes, scan, source, key, 0)))
  }
  const reach = (last: string, prefix: string): string => attribute(0x80, 14, `000201 10 20010db8${"00".repeat(11)}${last} 00 ${prefix}`)
  const unreach = attribute(0x80, 15, "000201 00")
  const others = attribute(0x40, 1, "00") + attribute(0x40, 2, "")
  t.equal(keyOf(update({ attributes: mandatory, nlri }), 0), keyOf(update({ attributes: mandatory, nlri: "00", withdrawn: nlri }), 0))
  t.not(keyOf(update({ attributes: mandatory, nlri }), 0), keyOf(update({ attributes: mandatory }), 0))
  const key1 = keyOf(update({ attributes: reach("01", "00") + others }), 1)
  t.equal(key1, `05${others}20010db8${"00".repeat(11)}0110`)
  const same = [others + reach("01", "2020010db8"), unreach + others + reach("01", "00"), reach("01", "00") + unreach + others]
  for (const attributes of same) {
    t.equal(keyOf(update({ attributes }), 1), key1)
  }
  t.not(keyOf(update({ attributes: reach("02", "00") + others }), 1), key1)
})

t.test("UpdateWriter packs to the last octet, and what it writes is read", async (t) => {
  const scan = new UpdateScan()
  for (const context of [external, addPath]) {
    const most = context.extendedMessage ? 65535 : 4096
    for (const [family, hop] of [[Family.ipv4Unicast, undefined], [Family.ipv6Unicast, hex(`20010db8${"00".repeat(11)}01`)]] as const) {
      const block = encodeAttributes(full, context, hop === undefined)
      const writer = new UpdateWriter(context)
      const target = new Uint8Array(70_000).fill(0xee)
      t.ok(writer.beginReach(target, 7, family, block, hop))
      const octets = new Uint8Array(16)
      const expected: string[] = []
      // Odd lengths, so that the last octet has noise in it.
      for (let i = 0; ; i++) {
        octets.set([10, i >> 8, i, 0xff])
        if (!writer.addPrefix(i, 25, octets, 0)) break
        const address = family === Family.ipv4Unicast
          ? `10.${i >> 8}.${i & 255}.128`
          : Ip.format(Uint8Array.of(10, i >> 8, i, 128, ...new Uint8Array(12)))
        expected.push((context === addPath ? `${i}: ` : "") + `${address}/25`)
      }
      const end = writer.finish()
      t.ok(end - 7 <= most && end - 7 > most - 9, `${end - 7} of ${most} octets`)
      t.ok(target.subarray(0, 7).every((octet) => octet === 0xee) && target.subarray(end).every((octet) => octet === 0xee), "none beside")
      t.equal(scanUpdate(target, 7, end, context, scan), undefined)
      t.strictSame(prefixesOf(target, scan, context), expected)
      t.ok(writer.beginWithdraw(target, 7, family))
      let count = 0
      while (writer.addPrefix(count, 25, octets, 0)) count++
      const withdrawEnd = writer.finish()
      t.equal(scanUpdate(target, 7, withdrawEnd, context, scan), undefined)
      t.ok(withdrawEnd - 7 <= most && withdrawEnd - 7 > most - 9)
      t.notOk(scan.hasReachable)
      t.equal(scan.mpUnreachFamily, family === Family.ipv4Unicast ? 0 : family)
    }
  }
  const small = new UpdateWriter(external)
  t.notOk(small.beginReach(new Uint8Array(5000), 0, Family.ipv4Unicast, new Uint8Array(4096), undefined), "too long for the session")
  t.notOk(small.beginWithdraw(new Uint8Array(20), 0, Family.ipv6Unicast), "too long for the buffer")
})

t.test("End-of-RIB is written as RFC 4724 2 has it", async (t) => {
  t.equal(toHex(encodeEndOfRib(Family.ipv4Unicast)), toHex(update({})))
  t.equal(toHex(encodeEndOfRib(Family.ipv6Unicast)), toHex(update({ attributes: attribute(0x80, 15, "000201") })))
  t.equal(toHex(encodeEndOfRib(Family.evpn)), toHex(update({ attributes: attribute(0x80, 15, "001946") })))
})

t.test("communities as text, both ways", async (t) => {
  const standard: ReadonlyArray<readonly [number, string]> = [
    [0xffffff01, "no-export"], [0xffffff03, "no-export-subconfed"], [0xffff029a, "blackhole"], [0xffff0000, "graceful-shutdown"],
    [0xffff0006, "llgr-stale"], [65001 * 65536 + 7, "65001:7"], [0, "0:0"]
  ]
  for (const [value, text] of standard) {
    t.equal(Communities.formatStandard(value), text)
    t.strictSame(Communities.parse(text), { kind: "standard", value })
  }
  const extended: ReadonlyArray<readonly [bigint, string]> = [
    [0x0002fde900000064n, "rt:65001:100"], [0x0003fde9ffffffffn, "soo:65001:4294967295"], [0x0102c00002010064n, "rt:192.0.2.1:100"],
    [0x0202fa56ea000064n, "rt:4200000000:100"], [0x020200000001ffffn, "rt:1L:65535"], [0x4004000000000001n, "0x4004000000000001"]
  ]
  for (const [value, text] of extended) {
    t.equal(Communities.formatExtended(value), text)
    t.strictSame(Communities.parse(text), { kind: "extended", value })
  }
  t.equal(Communities.formatExtended(0x030c000000000008n), "encap:vxlan")
  t.equal(Communities.formatExtended(0x0600010000000007n), "mac-mobility:7:sticky")
  const large = (4_200_000_000n << 64n) | (1n << 32n) | 2n
  t.equal(Communities.formatLarge(large), "4200000000:1:2")
  t.strictSame(Communities.parse("4200000000:1:2"), { kind: "large", value: large })
  for (const text of ["", "1", "65536:1", "1:2:3:4", "rt:1", "no-such", "rt:5000000000L:1"]) {
    t.equal(Communities.parse(text), undefined, text)
  }
})
