/** VXLAN, Geneve and GRE: vectors from another implementation, every truncation, and that TypeScript and native code agree. */
import { readFileSync } from "node:fs"
import t from "tap"
import { Random } from "../../daemon/wire/random.ts"
import { refusalReasons } from "../../daemon/datapath/tunnel.ts"
import { addon, Encapsulation } from "../../daemon/native/index.ts"
import * as Geneve from "../../daemon/wire/geneve.ts"
import * as Gre from "../../daemon/wire/gre.ts"
import * as Vxlan from "../../daemon/wire/vxlan.ts"

type Kind = keyof typeof Encapsulation
type Decoded = { readonly ok: true; readonly value: object } | { readonly ok: false; readonly error: { readonly _tag: string } }

interface Codec {
  readonly decode: (bytes: Uint8Array, at?: number) => Decoded
  readonly encodedLength: (header: never) => number
  readonly encodeInto: (header: never, target: Uint8Array, at: number) => number
}

interface Vector {
  readonly name: string
  readonly kind: Kind
  readonly bytes: string
  readonly frame: string
  readonly header: { readonly options?: ReadonlyArray<{ readonly data: string }> }
}

const codecs: Readonly<Record<Kind, Codec>> = { vxlan: Vxlan, geneve: Geneve, gre: Gre }
const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"))
const vectors = JSON.parse(readFileSync(new URL("../vectors/tunnels.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

const headerOf = ({ header }: Vector): object =>
  header.options === undefined ? header : { ...header, options: header.options.map((option) => ({ ...option, data: octets(option.data) })) }

for (const vector of vectors) {
  const codec = codecs[vector.kind]
  const bytes = octets(vector.bytes)
  const frame = octets(vector.frame)
  const header = headerOf(vector) as never

  t.test(`decode and encodeInto agree with: ${vector.name}`, async (t) => {
    t.same(codec.decode(bytes), { ok: true, value: header })
    t.equal(codec.encodedLength(header), bytes.length - frame.length)
    // Poison: every octet that is claimed must be written, none beside. GRE's checksum covers the frame.
    const target = new Uint8Array(bytes.length + 4).fill(0xee)
    target.set(frame, target.length - frame.length)
    t.equal(codec.encodeInto(header, target, 4), target.length - frame.length)
    t.same(target.subarray(4), bytes)
    t.same([...target.subarray(0, 4)], new Array(4).fill(0xee))
  })

  t.test(`decode refuses every header that is cut short of: ${vector.name}`, async (t) => {
    for (let length = 0; length < bytes.length - frame.length; length++) {
      t.equal(codec.decode(bytes.slice(0, length)).ok, false, `${length} octets`)
    }
  })
}

t.test("Vxlan.decode rejects a header whose I flag is unset, and ignores reserved bits", async (t) => {
  const bytes = octets(vectors[0]!.bytes)
  bytes[0] = 0xf7
  t.same(Vxlan.decode(bytes), { ok: false, error: { _tag: "VniFlagUnset" } })
  bytes.set([0xff, 0xff, 0xff, 0xff])
  bytes[7] = 0xff
  t.same(Vxlan.decode(bytes), { ok: true, value: { vni: 0x123456 } })
})

t.test("Geneve.decode rejects versions, control packets, other protocols and options that overrun", async (t) => {
  const options = octets(vectors[2]!.bytes)
  const refused = (change: (bytes: Uint8Array) => void): unknown => {
    const bytes = options.slice()
    change(bytes)
    const decoded = Geneve.decode(bytes)
    return decoded.ok ? "accepted" : decoded.error._tag
  }
  t.equal(refused((b) => (b[0]! |= 0x40)), "UnknownVersion")
  t.equal(refused((b) => (b[1]! |= 0x80)), "ControlPacket")
  t.equal(refused((b) => (b[2] = 8)), "UnknownProtocol")
  t.equal(refused((b) => (b[0] = 1)), "BrokenOptions", "the first one overruns")
  t.equal(refused((b) => (b[11] = 0x1f)), "BrokenOptions")
  t.equal(refused((b) => (b[19] = 1)), "BrokenOptions", "the last one overruns")
})

t.test("Gre.decode rejects reserved bits, versions, packets without a key and wrong checksums", async (t) => {
  const bytes = octets(vectors[5]!.bytes)
  const refused = (change: (bytes: Uint8Array) => void): unknown => {
    const changed = bytes.slice()
    change(changed)
    const decoded = Gre.decode(changed)
    return decoded.ok ? "accepted" : decoded.error._tag
  }
  for (const bit of [0x40, 0x08, 0x04]) t.equal(refused((b) => (b[0]! |= bit)), "ReservedFlags")
  for (const bit of [1, 2, 4]) t.equal(refused((b) => (b[1]! |= bit)), "ReservedFlags", "version")
  t.equal(refused((b) => (b[3] = 0)), "UnknownProtocol")
  t.equal(refused((b) => (b[0]! &= ~0x20)), "KeyMissing")
  t.equal(refused((b) => b[bytes.length - 1]!++), "WrongChecksum")
})

/** What the native code must say, by what TypeScript says. */
const reasonOf: Readonly<Record<string, (typeof refusalReasons)[number]>> = {
  Truncated: "truncated",
  VniFlagUnset: "flags",
  UnknownVersion: "flags",
  ControlPacket: "flags",
  ReservedFlags: "flags",
  KeyMissing: "flags",
  UnknownProtocol: "protocol",
  BrokenOptions: "options",
  WrongChecksum: "checksum"
}

const encoded = (options: ReadonlyArray<Geneve.Option>): Uint8Array => {
  const header = new Uint8Array(Geneve.encodedLength({ vni: 0, options }))
  Geneve.encodeInto({ vni: 0, options }, header, 0)
  return header.subarray(Geneve.headerLength)
}

/** @param known options of Geneve that are known, by class and type */
const expectation = (kind: Kind, packet: Uint8Array, known: ReadonlyArray<Geneve.Option>): string => {
  const decoded = codecs[kind].decode(packet)
  if (!decoded.ok) return reasonOf[decoded.error._tag]!
  const header = decoded.value as Geneve.Header & Gre.Header
  if (packet.length < codecs[kind].encodedLength(header as never) + 14) return "truncated"
  const isKnown = (a: Geneve.Option) => known.some((b) => a.optionClass === b.optionClass && a.type === b.type)
  const unknown = kind === "geneve" ? header.options.filter((option) => !isKnown(option)) : []
  if (unknown.some(({ critical }) => critical)) return "options"
  return `${unknown.length > 0 ? "ignoring" : "accepted"} ${header.vni ?? header.key}`
}

t.test("the native decoders say what these say, about 60,000 mutated packets", async (t) => {
  const random = new Random(11, "mutations")
  const seen = new Set<string>()
  for (let round = 0; round < 60_000; round++) {
    const vector = vectors[round % vectors.length]!
    let packet = octets(vector.bytes)
    const times = random.next() % 3
    for (let i = 0; i <= times; i++) packet[random.next() % Math.min(24, packet.length)] = random.next() & 0xff
    if (random.next() % 4 === 0) packet = packet.slice(0, random.next() % (packet.length + 1))
    const options = round % 2 === 0 ? (headerOf(vector) as Partial<Geneve.Header>).options ?? [] : []
    const [verdict, vni, , , ignored] = addon.openTunnelPacket(Encapsulation[vector.kind], packet, encoded(options))
    const native = verdict < 0 ? `${ignored === 1 ? "ignoring" : "accepted"} ${vni}` : refusalReasons[verdict]!
    const expected = expectation(vector.kind, packet, options)
    seen.add(expected.split(" ")[0]!)
    if (native !== expected) t.equal(native, expected, `${vector.kind} ${Buffer.from(packet).toString("hex")}`)
  }
  t.strictSame([...seen].sort(), ["accepted", "checksum", "flags", "ignoring", "options", "protocol", "truncated"])
})

t.test("the native decoder knows options by class and type, critical or not, and refuses to know what is none", async (t) => {
  const option = (optionClass: number, type: number, critical = false, length = 4): Geneve.Option =>
    ({ optionClass, type, critical, data: new Uint8Array(length) })
  const judge = (sent: ReadonlyArray<Geneve.Option>, known: ReadonlyArray<Geneve.Option>): string => {
    const header = { vni: 7, options: sent }
    const packet = new Uint8Array(Geneve.encodedLength(header) + 14)
    Geneve.encodeInto(header, packet, 0)
    const [verdict, , , , ignored] = addon.openTunnelPacket(Encapsulation.geneve, packet, encoded(known))
    return verdict >= 0 ? refusalReasons[verdict]! : ignored === 1 ? "ignored" : "known"
  }
  t.equal(judge([option(0x102, 7, true)], [option(0x102, 7, true)]), "known")
  t.equal(judge([option(0x102, 7, true, 0)], [option(0x102, 7, false, 8)]), "known", "whatever we call it, and its data")
  t.equal(judge([option(0x102, 7, true)], [option(0x102, 6), option(0x103, 7), option(0x202, 7)]), "options", "another class or type")
  t.equal(judge([option(0x102, 7), option(1, 1), option(2, 2, true)], [option(2, 2), option(0x102, 7)]), "ignored")
  t.equal(judge([option(1, 1), option(2, 2, true)], [option(1, 1)]), "options", "behind others")
  const most = [option(1, 1, true, 124), option(2, 2, false, 120)]
  t.equal(judge(most, most), "known", "252 octets")
  for (const wrong of [[1], [1, 2, 3, 1], new Array<number>(256).fill(0)]) {
    t.throws(() => addon.openTunnelPacket(Encapsulation.geneve, new Uint8Array(8), Uint8Array.from(wrong)), { code: "EINVAL" })
  }
})
