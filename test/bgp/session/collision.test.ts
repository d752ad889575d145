/** Which of two connections stays: RFC 4271, 6.8 and RFC 6286, 2.3. */
import t from "tap"
import { loser, survivor } from "../../../daemon/bgp/session/collision.ts"

const low = { asn: 65001, bgpIdentifier: 0x01010101 }
const high = { asn: 65002, bgpIdentifier: 0xfe020202 }

t.test("survivor is the connection that the speaker with the higher identifier opened, and both agree", (t) => {
  t.equal(survivor(low, high), "remote")
  t.equal(survivor(high, low), "local")
  const twin = { ...low, asn: 4200000000 }
  t.equal(survivor(low, twin), "remote", "equal identifiers: the higher AS number")
  t.equal(survivor(twin, low), "local")
  t.end()
})

t.test("loser is told by who opened which connection", (t) => {
  t.equal(loser(low, high, "local", "remote", true), "fresh")
  t.equal(loser(low, high, "remote", "local", true), "other")
  t.equal(loser(high, low, "local", "remote", false), "other")
  t.equal(loser(high, low, "remote", "local", false), "fresh")
  t.equal(loser(low, high, "remote", "remote", true), "fresh", "two of the same side: the newer goes")
  t.equal(loser(low, high, "remote", "remote", false), "other")
  t.end()
})
