/** What flows tell, in words; what of an HTTP status is fine; when a path is another one. */
import { constants } from "node:os"
import t from "tap"
import { probeEvents, type ProbeNote } from "../../daemon/native/index.ts"
import { changeOf } from "../../daemon/probes/flow-words.ts"
import { bitRate, expectedStatuses } from "../../daemon/probes/flows.ts"
import { isProtocol, protocols, terms } from "../../daemon/probes/protocols.ts"
import { mergedPath, samePath } from "../../daemon/probes/slow-flows.ts"

const { errno } = constants
const note = (event: (typeof probeEvents)[number], value = 0, lengthNs = 0, octets = new Uint8Array()): ProbeNote =>
  [5e6, probeEvents.indexOf(event), lengthNs, value, octets]

t.test("changeOf says what happened to a connection", async (t) => {
  t.same(changeOf("tcp", note("connected"), ""), { atMs: 5, kind: "connected", before: "", after: "connected", lengthMs: 0 })
  t.match(changeOf("tcp", note("stall", 0, 7e6), "connected"), { kind: "stall", before: "connected", after: "connected", lengthMs: 7 })
  t.match(changeOf("tcp", note("reset", errno.ECONNRESET), "connected"), { kind: "reset", after: /reset/ })
  t.match(changeOf("tcp", note("reconnected", 0, 9e6), "x"), { kind: "reconnected", after: "connected", lengthMs: 9 })
})

t.test("changeOf says what a verdict means to its protocol", async (t) => {
  t.match(changeOf("http", note("verdict", -200), ""), { kind: "status", after: "200 OK" })
  t.match(changeOf("http", note("verdict", -299), ""), { kind: "status", after: "299" })
  t.match(changeOf("http", note("verdict", 0), ""), { kind: "status", after: "no HTTP" })
  const refused = { kind: "status", before: "200 OK", after: "connection refused" }
  t.match(changeOf("http", note("verdict", errno.ECONNREFUSED), "200 OK"), refused)
  t.match(changeOf("http", note("verdict", errno.EAGAIN), ""), { kind: "status", after: "connected, but the answer timed out" })
  t.match(changeOf("tcp-connect", note("verdict", 0), ""), { kind: "connected", after: "connected" })
  t.match(changeOf("tcp-connect", note("verdict", errno.ECONNREFUSED), ""), { kind: "refused" })
  t.match(changeOf("tcp-connect", note("verdict", errno.ETIMEDOUT), ""), { kind: "timeout", after: "timed out" })
  t.match(changeOf("dns", note("verdict", 0, 0, Uint8Array.of(1, 2, 3)), ""), { kind: "answer", after: "no DNS message" })
})

t.test("expectedStatuses takes numbers and classes, and what is below 400 without", async (t) => {
  const fine = (expect: string): ReadonlyArray<number> => [...expectedStatuses(expect).entries()].flatMap(([at, is]) => (is ? [at] : []))
  t.same(fine("200, 404"), [200, 404])
  t.same([fine("5xx").length, fine("5xx")[0]], [100, 500])
  t.same([fine("").length, fine("")[0], fine("").at(-1)], [300, 100, 399])
  for (const bad of ["", "20", "2x", "600x", "x"].slice(1)) t.throws(() => expectedStatuses(bad), /a status such as 200/)
})

t.test("paths are the same when routers that are silent may be", async (t) => {
  t.ok(samePath("10.0.0.1 * 10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3"))
  t.notOk(samePath("10.0.0.1 10.0.0.3", "10.0.0.2 10.0.0.3"))
  t.notOk(samePath("10.0.0.1 10.0.0.3", "10.0.0.1"))
  t.equal(mergedPath("10.0.0.1 * 10.0.0.3", "* 10.0.0.2 10.0.0.3"), "10.0.0.1 10.0.0.2 10.0.0.3")
})

t.test("bitRate has three digits", async (t) =>
  t.same([943_200_000, 1e10, 12_345].map(bitRate), ["943 Mbit/s", "10 Gbit/s", "12.3 kbit/s"]))

t.test("every protocol has terms that it keeps itself", async (t) => {
  for (const one of protocols) t.ok(terms[one].spacingMs >= terms[one].leastSpacingMs && isProtocol(one), one)
  t.notOk(isProtocol("sctp"))
})
