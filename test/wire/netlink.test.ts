import * as Oracle from "netlink/dist/structs.js"
import t from "tap"
import * as Netlink from "../../daemon/wire/netlink.ts"
import { seeded } from "../random.ts"

/** Every kind of write, with values that no padding looks like. */
const writeAll = (out: Netlink.Writer): void => {
  for (let i = 0; i < 3; i++) {
    out.begin(0x1234 + i, Netlink.Flag.create)
    out.u8(0xa1)
    out.u8(0xa2)
    out.u16(0xb1b2)
    out.u32(0xc1c2c3c4)
    out.attributeU8(1, 0xd1)
    out.attributeU16(2, 0xd1d2)
    out.attributeU32(3, 0xd1d2d3d4)
    out.attributeText(4, "eth\u00e9")
    const outer = out.nestBegin(5)
    out.attribute(6, Uint8Array.of(1, 2, 3, 4, 5))
    const inner = out.nestBegin(7)
    out.attributeText(8, "")
    out.nestEnd(inner)
    out.nestEnd(outer)
    out.end()
  }
}

const written = (initialOctets?: number): Uint8Array => {
  const out = new Netlink.Writer(initialOctets)
  writeAll(out)
  return out.finish()
}

t.test("Writer writes what others read", async (t) => {
  const found = Oracle.parseMessages(Buffer.from(written()))
  t.strictSame(found.map(({ type, flags, seq }) => [type, flags, seq]), [0, 1, 2].map((i) => [0x1234 + i, 0x400 | 0x1 | 0x4, i]))
  const body = Buffer.concat(([] as Uint8Array[]).concat(found[2]!.data))
  t.equal(body.subarray(0, 8).toString("hex"), "a1a2b2b1c4c3c2c1")
  const attributes = new Map<number, Buffer>()
  Oracle.parseAttributes(body.subarray(8), ({ data, type }) => attributes.set(type, Buffer.concat(([] as Uint8Array[]).concat(data))))
  const hex = (type: number): string | undefined => attributes.get(type)?.toString("hex")
  t.strictSame([...attributes.keys()], [1, 2, 3, 4, 5])
  t.strictSame([hex(1), hex(2), hex(3), hex(4)], ["d1", "d2d1", "d4d3d2d1", "657468c3a900"])
  const nested = [...Oracle.getMap(attributes.get(5)!, (data) => data)]
  t.strictSame(nested.map(([type, data]) => [type, data.toString("hex")]), [[6, "0102030405"], [7, "0500080000000000"]])
})

t.test("Writer gives the same octets wherever its buffer has to grow", async (t) => {
  const expected = Buffer.from(written(4096)).toString("hex")
  const wrong = Array.from({ length: expected.length / 2 + 8 }, (_, size) => size)
    .filter((size) => Buffer.from(written(size)).toString("hex") !== expected)
  t.strictSame(wrong, [], "initial sizes that give others")
})

t.test("messages and attributes read what others write", async (t) => {
  const nested = Oracle.formatAttribute({ type: 9 | 0x8000, data: Buffer.from("a", "latin1") })
  const attribute = Oracle.pad(Oracle.formatAttribute({ type: 2, data: Buffer.from("odd", "latin1") }))
  const body = Buffer.concat([...attribute, ...nested])
  const message = { type: 24, flags: 2, seq: 7, port: 3, data: body }
  const octets = Buffer.concat([...Oracle.pad(Oracle.formatMessage(message)), ...Oracle.formatMessage({ ...message, type: 25 })])
  // Views into the middle of a larger buffer, as they come from a pool.
  const shifted = Buffer.concat([Buffer.alloc(5), octets]).subarray(5)
  const found = [...Netlink.messages(shifted)]
  t.strictSame(found.map(({ type, flags }) => [type, flags]), [[24, 2], [25, 2]])
  const seen: unknown[] = []
  Netlink.attributes(found[1]!.body, 0, (type, value) => seen.push([type, Netlink.text(value)]))
  t.strictSame(seen, [[2, "odd"], [9, "a"]], "the flag of nested attributes is not part of the type")
})

t.test("messages stops at the first that is cut short, wherever that is", async (t) => {
  const octets = written()
  const whole = [...Netlink.messages(octets)]
  const ends = whole.map(({ body }) => body.byteOffset - octets.byteOffset + body.length)
  for (let length = 0; length <= octets.length; length++) {
    const found = [...Netlink.messages(octets.subarray(0, length))]
    if (found.length !== ends.filter((end) => end <= length).length) t.fail(`${found.length} messages in the first ${length} octets`)
  }
  t.equal(whole.length, 3)
})

t.test("attributes stops at the first that is cut short, wherever that is", async (t) => {
  const body = [...Netlink.messages(written())][0]!.body
  const read = (octets: Uint8Array): number[] => {
    const types: number[] = []
    Netlink.attributes(octets, 8, (type) => types.push(type))
    return types
  }
  t.strictSame(read(body), [1, 2, 3, 4, 5])
  for (let length = 0; length < body.length; length++) {
    const types = read(body.subarray(0, length))
    if (types.some((type, i) => type !== i + 1)) t.fail(`${types.join(" ")} in the first ${length} octets`)
  }
})

t.test("messages and attributes end, whatever the octets", async (t) => {
  const random = seeded(1)
  let visited = 0
  for (let i = 0; i < 2000; i++) {
    const octets = random.octets(random.below(200))
    // Small lengths, so that there is something to walk through; among them 0, which must not be walked for ever.
    for (let at = 0; at + 1 < octets.length; at += 4) octets[at + 1] = 0
    for (const { body } of Netlink.messages(octets)) visited += body.length
    Netlink.attributes(octets, 0, (_, value) => { visited += Netlink.text(value).length + Netlink.i32(value) * 0 })
  }
  t.ok(visited > 0)
})

t.test("u32 is unsigned, i32 signed, and both read zeros where there is nothing", async (t) => {
  const octets = Uint8Array.of(0xfe, 0xff, 0xff, 0xff)
  t.equal(Netlink.u32(octets), 0xfffffffe)
  t.equal(Netlink.i32(octets), -2)
  t.equal(Netlink.u32(octets.subarray(0, 2)), 0xfffe)
  t.equal(Netlink.u32(octets, 4), 0)
})
