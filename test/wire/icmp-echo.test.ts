import { readFileSync } from "node:fs"
import t from "tap"
import * as Echo from "../../daemon/wire/icmp-echo.ts"
import { checksum, sum } from "../../daemon/wire/internet-checksum.ts"

interface Vector {
  readonly name: string
  readonly family: "ipv4" | "ipv6"
  readonly address?: string
  readonly bytes: string
  readonly echo: { readonly kind: "request" | "reply"; readonly identifier: number; readonly sequence: number; readonly data: string }
}

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"))
const vectors = JSON.parse(readFileSync(new URL("../vectors/icmp-echo.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

for (const vector of vectors) {
  const bytes = octets(vector.bytes)
  const address = octets(vector.address ?? "")
  const context: Echo.Context = vector.family === "ipv4" ? { family: "ipv4" } : { family: "ipv6", source: address, destination: address }
  const echo: Echo.Echo = { ...vector.echo, data: octets(vector.echo.data) }

  t.test(`Echo.decode and Echo.encodeInto agree with: ${vector.name}`, async (t) => {
    t.same(Echo.decode(bytes, 0, context), { ok: true, value: echo })
    // Poison: every octet that is claimed must be written, none beside.
    const target = new Uint8Array(bytes.length + 8).fill(0xee)
    t.equal(Echo.encodeInto(echo, target, 4, context), bytes.length)
    t.equal(Echo.encodedLength(echo), bytes.length)
    t.same(target.subarray(4, 4 + bytes.length), bytes)
    t.same([...target.subarray(0, 4), ...target.subarray(4 + bytes.length)], new Array(8).fill(0xee))
  })

  t.test(`Echo.decode refuses every truncation and every flipped bit of: ${vector.name}`, async (t) => {
    for (let length = 0; length < bytes.length; length++) {
      const decoded = Echo.decode(bytes.slice(0, length), 0, context)
      // A cut that takes only zeros keeps an IPv4 checksum right; no such cut is in these vectors.
      t.equal(decoded.ok, false, `${length} octets`)
      if (length < Echo.headerLength) t.same(decoded, { ok: false, error: { _tag: "Truncated" } })
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      t.equal(Echo.decode(damaged, 0, context).ok, false, `bit ${bit}`)
    }
  })
}

t.test("Echo.decode refuses other types and unknown codes", async (t) => {
  const message = (type: number, code: number) => Uint8Array.of(type, code, 0, 0, 0, 0, 0, 0)
  t.same(Echo.decode(message(3, 1), 0, { family: "ipv4" }), { ok: false, error: { _tag: "NotEcho", type: 3 } })
  t.same(Echo.decode(message(128, 0), 0, { family: "ipv4" }), { ok: false, error: { _tag: "NotEcho", type: 128 } })
  t.same(Echo.decode(message(8, 5), 0, { family: "ipv4" }), { ok: false, error: { _tag: "UnknownCode", code: 5 } })
})

t.test("checksum follows the example of RFC 1071 section 3", async (t) => {
  t.equal(sum(octets("0001f203f4f5f6f7")), 0x2ddf0)
  t.equal(checksum(0x2ddf0), 0x220d)
  t.equal(sum(octets("0001f2")), 0x0001 + 0xf200, "an odd octet is the high half of a word")
  t.equal(checksum(0), 0xffff)
})
