/** EVPN routes and their communities: octets of other implementations, every truncation, and what they must not be. */
import { readFileSync } from "node:fs"
import t from "tap"
import { makeContext } from "../../../daemon/wire/bgp/context.ts"
import * as Evpn from "../../../daemon/wire/bgp/evpn.ts"
import * as Attributes from "../../../daemon/wire/bgp/evpn-attributes.ts"
import { Family } from "../../../daemon/wire/bgp/iana.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"

interface Vector {
  readonly name: string
  readonly source: string
  /** The whole message. */
  readonly update: string
  readonly routes: ReadonlyArray<Evpn.Route>
  readonly rds: ReadonlyArray<string>
  readonly nextHop: string
  readonly communities: ReadonlyArray<Attributes.Community>
  readonly pmsi?: { readonly flags: number; readonly tunnelType: number; readonly label: number; readonly tunnelIdentifier: string }
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/evpn.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>
const context = makeContext({ asn4: true, isExternal: false, families: [Family.evpn] })
const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))

/** The NLRI and attributes of a captured UPDATE. */
const read = (update: string) => {
  const bytes = octets(update)
  const scan = new UpdateScan()
  const error = scanUpdate(bytes, 0, bytes.length, context, scan)
  const nlri = bytes.slice(scan.mpReachAt, scan.mpReachEnd)
  return { error, nlri, ...decodeAttributes(bytes, scan, NlriSource.mpReach, context) }
}

for (const { communities, name, nextHop, pmsi, rds, routes, source, update } of vectors) {
  t.test(`${name}, ${source}`, (t) => {
    const { attributes, error, faults, nlri } = read(update)
    t.strictSame([error, faults], [undefined, []])
    const decoded = Evpn.decodeAll(nlri)
    t.strictSame(decoded, { routes, unknown: 0 })
    t.strictSame(decoded.routes.map(({ rd }) => Evpn.formatRd(rd)), rds)
    t.strictSame([...Evpn.encodeAll(decoded.routes)], [...nlri], "encoded as it was")
    t.equal(attributes.nextHop, nextHop)
    t.strictSame(attributes.extendedCommunities.map(Attributes.decodeCommunity), communities)
    t.strictSame(communities.map(Attributes.encodeCommunity), attributes.extendedCommunities, "and so are they")
    if (pmsi !== undefined) {
      const { tunnelIdentifier, ...rest } = attributes.pmsiTunnel!
      t.strictSame({ ...rest, tunnelIdentifier: Buffer.from(tunnelIdentifier).toString("hex") }, pmsi)
    }
    const [first] = decoded.routes
    for (let end = 0; end < Evpn.encodedLength(first!); end++) {
      t.strictSame(Evpn.decode(nlri, 0, end), { ok: false, error: { _tag: "Truncated" } }, `cut at ${end}`)
    }
    t.end()
  })
}

const rd = "00010a0909010064"
const of = (type: number, value: string): Uint8Array => Uint8Array.of(type, octets(value).length, ...octets(value))

t.test("Evpn.decode refuses lengths that no route of the type has", (t) => {
  const esi = "00".repeat(10)
  const refused: ReadonlyArray<readonly [title: string, nlri: Uint8Array, error: Evpn.DecodeError]> = [
    ["no room for a distinguisher", of(2, "0001"), { _tag: "BadLength", type: 2, length: 2 }],
    ["type 1, 24 octets", of(1, `${rd}${esi}00000000`), { _tag: "BadLength", type: 1, length: 22 }],
    ["a MAC address of 40 bits", of(2, `${rd}${esi}00000000 28 020000007701 00 002774`), { _tag: "BadMacLength", bits: 40 }],
    ["an IP address of 33 bits", of(2, `${rd}${esi}00000000 30 020000007701 21 002774`), { _tag: "BadIpLength", bits: 33 }],
    ["an IP address cut short", of(2, `${rd}${esi}00000000 30 020000007701 20 0a0000`), { _tag: "BadLength", type: 2, length: 33 }],
    ["three labels", of(2, `${rd}${esi}00000000 30 020000007701 00 ${"002774".repeat(3)}`), { _tag: "BadLength", type: 2, length: 39 }],
    ["an originator of no octets", of(3, `${rd}00000000 00`), { _tag: "BadIpLength", bits: 0 }],
    ["an originator with more behind it", of(3, `${rd}00000000 20 0a09090100`), { _tag: "BadLength", type: 3, length: 18 }],
    ["a segment without originator", of(4, `${rd}${esi}`), { _tag: "BadLength", type: 4, length: 18 }],
    ["a prefix of 33 bits in 34 octets", of(5, `${rd}${esi}00000000 21 0a000000 00000000 002774`), { _tag: "BadIpLength", bits: 33 }],
    ["a prefix of 35 octets", of(5, `${rd}${esi}00000000 20 0a000000 00000000 00277400`), { _tag: "BadLength", type: 5, length: 35 }]
  ]
  for (const [title, nlri, error] of refused) {
    t.strictSame(Evpn.decode(nlri), { ok: false, error }, title)
    const good = of(3, `${rd}00000000 20 0a090901`)
    const all = Evpn.decodeAll(Uint8Array.from([...good, ...nlri, ...good]))
    t.strictSame([all.routes.length, all.error], [1, error], "what is before it stands, what is behind it does not")
  }
  t.end()
})

t.test("Evpn.decodeAll discards types that it does not know (RFC 7606 5.4)", (t) => {
  const good = of(3, `${rd}00000000 20 0a090901`)
  const { error, routes, unknown } = Evpn.decodeAll(Uint8Array.from([...of(6, rd), ...good, ...of(0, ""), ...of(255, "01"), ...good]))
  t.strictSame([routes.length, unknown, error], [2, 3, undefined])
  t.match(Evpn.decodeAll(Uint8Array.from([...good, 9])), { routes: [{ type: 3 }], error: { _tag: "Truncated" } })
  t.end()
})

t.test("Evpn.keyOf has what names a route and nothing else", (t) => {
  const mac: Evpn.MacIp = { type: 2, rd, esi: Evpn.zeroEsi, tag: 0, mac: "02:00:00:00:77:01", label: 7 }
  t.equal(Evpn.keyOf(mac), Evpn.keyOf({ ...mac, esi: "01".repeat(10), label: 9, label2: 4 }), "not the ESI, not the labels (RFC 7432 7.2)")
  t.not(Evpn.keyOf(mac), Evpn.keyOf({ ...mac, ip: "10.0.0.1" }))
  t.not(Evpn.keyOf(mac), Evpn.keyOf({ ...mac, tag: 1 }))
  t.not(Evpn.keyOf(mac), Evpn.keyOf({ ...mac, rd: "00010a0909020064" }))
  const prefix: Evpn.Prefix = { type: 5, rd, esi: Evpn.zeroEsi, tag: 0, prefix: "10.0.0.0/8", gateway: "0.0.0.0", label: 7 }
  t.equal(Evpn.keyOf(prefix), Evpn.keyOf({ ...prefix, gateway: "10.0.0.1", label: 0 }), "not the gateway (RFC 9136 3.1)")
  t.notOk(Evpn.isContradictory(prefix))
  t.ok(Evpn.isContradictory({ ...prefix, esi: "01".repeat(10), gateway: "10.0.0.1" }), "two overlay indexes")
  t.ok(Evpn.isContradictory({ ...prefix, label: 0 }), "none, and no VNI")
  t.notOk(Evpn.isContradictory({ ...prefix, label: 0, gateway: "10.0.0.1" }))
  const noisy = of(5, `${rd}${Evpn.zeroEsi}00000000 0c 0affffff 00000000 002774`)
  t.match(Evpn.decode(noisy), { value: { prefix: "10.240.0.0/12" } }, "bits behind the prefix are zero")
  t.end()
})

t.test("VNIs have 24 bits (RFC 8365 5.1.3), targets are derived (5.1.2.1)", (t) => {
  const route: Evpn.MacIp = { type: 2, rd, esi: Evpn.zeroEsi, tag: 0xffff_ffff, mac: "02:00:00:00:77:01", label: 0xff_ffff }
  t.match(Evpn.decode(Evpn.encodeAll([route])), { value: route })
  t.throws(() => Evpn.encodeAll([{ ...route, label: 0x100_0000 }]), /no VNI/)
  const derived = Attributes.derivedTarget(64_999, 10_100)
  t.equal(Attributes.encodeCommunity(derived).toString(16).padStart(16, "0"), "0002fde710002774")
  t.equal(Attributes.targetVni(derived), 10_100)
  t.equal(Attributes.targetVni(Attributes.plainTarget(65_001, 10_100)), 10_100, "of whatever AS")
  t.equal(Attributes.targetVni({ kind: "route-target", form: "as2", admin: 1, number: 0x2000_2774 }), undefined, "NVGRE's")
  t.equal(Attributes.targetVni({ kind: "route-target", form: "ip", admin: 1, number: 10 }), undefined)
  const routed = Attributes.routedTarget(64_999, 10_100)
  t.equal(Attributes.encodeCommunity(routed).toString(16).padStart(16, "0"), "0002fde740002774", "of type EVI")
  t.strictSame([Attributes.routedVni(routed), Attributes.targetVni(routed)], [10_100, undefined], "not the segment's")
  t.equal(Attributes.routedVni(derived), undefined, "nor the other way round")
  t.end()
})

t.test("each community comes back as it was", (t) => {
  const communities: ReadonlyArray<readonly [hex: string, community: Attributes.Community]> = [
    ["030c000000000013", { kind: "encapsulation", tunnelType: Attributes.Encapsulation.geneve }],
    ["030d000000000000", { kind: "default-gateway" }],
    ["06000100fffffffe", { kind: "mac-mobility", sticky: true, sequence: 0xffff_fffe }],
    ["06010100000000c8", { kind: "esi-label", singleActive: true, label: 200 }],
    ["0602aaaaaaaaaaaa", { kind: "es-import", mac: "aa:aa:aa:aa:aa:aa" }],
    ["0603020000009999", { kind: "router-mac", mac: "02:00:00:00:99:99" }],
    ["0608070000000000", { kind: "nd", router: true, override: true, immutable: true }],
    ["01020a09090100c8", { kind: "route-target", form: "ip", admin: 0x0a09_0901, number: 200 }],
    ["0202000100010064", { kind: "route-target", form: "as4", admin: 65_537, number: 100 }],
    ["43abcdef01234567", { kind: "other", value: 0x43ab_cdef_0123_4567n }]
  ]
  for (const [hex, community] of communities) {
    t.strictSame(Attributes.decodeCommunity(BigInt(`0x${hex}`)), community)
    t.equal(Attributes.encodeCommunity(community).toString(16).padStart(16, "0"), hex)
  }
  t.end()
})

t.test("route distinguishers", (t) => {
  t.equal(Evpn.formatRd(Evpn.rdOf("192.0.2.1", 65_535)), "192.0.2.1:65535")
  t.equal(Evpn.formatRd("0002000100010007"), "65537:7")
  t.equal(Evpn.formatRd("00ff000000000000"), "00ff000000000000")
  t.throws(() => Evpn.rdOf("2001:db8::1", 1))
  t.end()
})

t.test("fuzz: mutated NLRI are decoded or refused, and what is decoded comes back", (t) => {
  const corpus = vectors.map(({ update }) => read(update).nlri)
  let seed = 7
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return Math.floor((seed / 0x8000_0000) * below)
  }
  let accepted = 0
  for (let i = 0; i < 60_000; i++) {
    const bytes = Uint8Array.from(corpus[random(corpus.length)]!)
    for (let n = random(4); n >= 0; n--) bytes[random(bytes.length)] = random(256)
    const { error, routes } = Evpn.decodeAll(bytes, 0, random(8) === 0 ? random(bytes.length) : bytes.length)
    const again = Evpn.decodeAll(Evpn.encodeAll(routes))
    if (JSON.stringify(again.routes) !== JSON.stringify(routes)) return t.fail(`not the same again: ${Buffer.from(bytes).toString("hex")}`)
    if (error === undefined) accepted += 1
  }
  t.ok(accepted > 10_000 && accepted < 60_000, `${accepted} were accepted`)
  t.end()
})
