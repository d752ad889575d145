import t from "tap"
import * as Dns from "../../daemon/wire/dns.ts"

/** The name of RFC 1035 4.1.4, asked for and answered by pointers: CNAME, A, AAAA, MX, TXT. */
const answer = Buffer.from(
  "123481800001000500000000" + "0146034953490441525041" + "00" + "00010001"
  + "c00c000500010000003c0006" + "03464f4fc00e"
  + "c00c000100010000003c0004" + "0a020002"
  + "c00c001c00010000003c0010" + "20010db8000000000000000000000001"
  + "c00c000f00010000003c0004" + "000ac00c"
  + "c00c001000010000003c0006" + "0261620163" + "00",
  "hex"
)

t.test("Dns.encodeQuestion writes RFC 1035 4.1", async (t) => {
  const octets = Dns.encodeQuestion(0x1234, "F.ISI.ARPA.", "A")!
  t.equal(Buffer.from(octets).toString("hex"), "12340100000100000000000001460349534904415250410000010001")
  for (const name of ["a..b", "x".repeat(64), `${"a.".repeat(130)}b`, "a b", "ü"]) {
    t.equal(Dns.encodeQuestion(1, name, "A"), undefined, name)
  }
})

t.test("Dns.decode reads answers, and nothing that is cut short", async (t) => {
  const decoded = Dns.decode(answer)
  const answers = ["FOO.ISI.ARPA", "10.2.0.2", "2001:db8::1", "10 F.ISI.ARPA", "abc"]
  t.same(decoded, { ok: true, value: { id: 0x1234, rcode: "NOERROR", answers } })
  for (let length = 0; length < answer.length; length++) t.notOk(Dns.decode(answer.subarray(0, length)).ok, `${length} octets`)
  const loop = Buffer.from(`${answer.subarray(0, 12).toString("hex")}c00c00010001`, "hex")
  t.notOk(Dns.decode(loop).ok, "a name that points to itself")
  t.notOk(Dns.decode(Dns.encodeQuestion(1, "a", "A")!).ok, "a question")
})
