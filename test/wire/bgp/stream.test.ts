/** Streams cut at every octet, chunks of all sizes, and headers that end a session (RFC 4271 6.1, RFC 8654). */
import t from "tap"
import { encodeKeepalive } from "../../../daemon/wire/bgp/header.ts"
import { StreamParser } from "../../../daemon/wire/bgp/stream.ts"
import { seeded } from "../../random.ts"
import { hex, mandatory, message, nlri, toHex, update } from "./build.ts"

const notification = message(3, "0602 0b 6d61696e74656e616e")
const long = update({ attributes: mandatory, nlri: nlri.repeat(1000) })
const stream = [encodeKeepalive(), update({ attributes: mandatory, nlri }), long, encodeKeepalive(), notification, update({})]
const octets = Uint8Array.from(stream.flatMap((one) => [...one]))

/** All messages of the pieces, as hexadecimal digits; and what was notified. */
const parse = (pieces: Iterable<Uint8Array>, extendedMessage = false): { messages: string[]; error: string | undefined } => {
  const parser = new StreamParser()
  parser.extendedMessage = extendedMessage
  const messages: string[] = []
  for (const piece of pieces) {
    parser.feed(piece)
    while (parser.next()) messages.push(toHex(parser.bytes.subarray(parser.at, parser.end)))
  }
  const { error } = parser
  return { messages, error: error && `${error.code}/${error.subcode} ${toHex(error.data)}`.trim() }
}

const cut = function* (bytes: Uint8Array, ...lengths: number[]): Generator<Uint8Array> {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const length = lengths[Math.min(i, lengths.length - 1)]!
    // A buffer of its own, poisoned afterwards: nothing may point into a piece of before.
    const piece = bytes.slice(at, at + length)
    yield piece
    piece.fill(0xee)
    at += length
  }
}

const expected = { messages: stream.map(toHex), error: undefined }

t.test("the same messages come out, wherever the stream is cut in two", async (t) => {
  const wrong = Array.from({ length: octets.length - 1 }, (_, i) => i + 1)
    .filter((at) => JSON.stringify(parse(cut(octets, at, octets.length))) !== JSON.stringify({ messages: expected.messages }))
  t.strictSame(wrong, [])
})

t.test("one octet at a time, and in pieces of many sizes", async (t) => {
  for (const length of [1, 2, 18, 19, 20, 100, 4096, 65536]) t.strictSame(parse(cut(octets, length)), expected, `${length} octets`)
  const random = seeded(3)
  for (let round = 0; round < 50; round++) {
    const lengths = Array.from({ length: 300 }, () => 1 + random.below(60))
    t.strictSame(parse(cut(octets, ...lengths)), expected)
  }
})

t.test("a message that is whole in a piece is not copied", async (t) => {
  const parser = new StreamParser()
  parser.feed(octets)
  t.ok(parser.next())
  t.equal(parser.bytes, octets)
})

t.test("headers that end the session", async (t) => {
  const header = (length: string, type: string): Uint8Array => hex("ff".repeat(16) + length + type + "00".repeat(40))
  const broken = encodeKeepalive()
  broken[15] = 0xfe
  const cases: ReadonlyArray<readonly [string, Uint8Array, boolean, string]> = [
    ["marker", broken, false, "1/1"],
    ["length 18", header("0012", "04"), false, "1/2 0012"],
    ["length 0", header("0000", "02"), false, "1/2 0000"],
    ["length 4097", header("1001", "02"), false, "1/2 1001"],
    ["length 4097 of an OPEN, extended", header("1001", "01"), true, "1/2 1001"],
    ["KEEPALIVE of 20", header("0014", "04"), false, "1/2 0014"],
    ["KEEPALIVE of 4097, extended", header("1001", "04"), true, "1/2 1001"],
    ["OPEN of 28", header("001c", "01"), false, "1/2 001c"],
    ["UPDATE of 22", header("0016", "02"), false, "1/2 0016"],
    ["NOTIFICATION of 20", header("0014", "03"), false, "1/2 0014"],
    ["ROUTE-REFRESH of 22", header("0016", "05"), false, "1/2 0016"],
    ["type 0", header("0013", "00"), false, "1/3 00"],
    ["type 6", header("0013", "06"), false, "1/3 06"],
    ["type 255", header("0013", "ff"), false, "1/3 ff"]
  ]
  for (const [name, bytes, extended, error] of cases) {
    for (const length of [1, 1000]) t.strictSame(parse(cut(bytes, length), extended), { messages: [], error }, `${name}, by ${length}`)
  }
})

t.test("after an error nothing is taken", async (t) => {
  const parser = new StreamParser()
  parser.feed(message(9, ""))
  t.notOk(parser.next())
  parser.feed(encodeKeepalive())
  t.notOk(parser.next())
  t.match(parser.error, { code: 1, subcode: 3 })
})

t.test("extended messages have 65535 octets (RFC 8654)", async (t) => {
  const most = update({ nlri: "00".repeat(65535 - 23) })
  t.equal(most.length, 65535)
  t.strictSame(parse([most], true), { messages: [toHex(most)], error: undefined })
  t.strictSame(parse(cut(most, 1), true), { messages: [toHex(most)], error: undefined })
  t.strictSame(parse([most]), { messages: [], error: "1/2 ffff" })
})

t.test("messages must be taken before more is fed", async (t) => {
  const parser = new StreamParser()
  parser.feed(octets)
  t.throws(() => parser.feed(octets), /messages left/)
})
