/** OPEN messages: ours, and what becomes of the peer's. */
import t from "tap"
import type { BgpNeighborSpec } from "../../../daemon/plan/bgp.ts"
import { agree, compareCapabilities, identifierText, openFor } from "../../../daemon/bgp/session/negotiation.ts"
import type { Capability } from "../../../daemon/wire/bgp/capabilities.ts"
import { Family, familyName } from "../../../daemon/wire/bgp/iana.ts"
import * as OpenCodec from "../../../daemon/wire/bgp/open.ts"
import type { Open } from "../../../daemon/wire/bgp/open.ts"
import { neighborOf, speakerOf } from "../../root/bgp-session-harness.ts"

const speaker = speakerOf(65001, "1.1.1.1", { hostname: "r1" })
const toPeer = (more: Partial<BgpNeighborSpec> = {}): BgpNeighborSpec =>
  neighborOf({ remote: { kind: "address", address: "10.0.0.2" }, remoteAs: 65002, ...more })
const openOf = (more: Partial<Open> = {}): Open => ({ asn: 65002, holdTimeS: 90, bgpIdentifier: 0x02020202, capabilities: [], ...more })
const withMinimum = { ...toPeer().timers, minimumHoldS: 10 }
const multiprotocol = (family: number): Capability => ({ kind: "multiprotocol", family })

const outcome = (theirs: Open, neighbor = toPeer(), isIpv6 = false) => agree(openFor(speaker, neighbor, { isIpv6 }), theirs, neighbor)
const refusal = (theirs: Open, neighbor = toPeer()) => {
  const result = outcome(theirs, neighbor)
  return result.ok ? "accepted" : `${result.error.code}/${result.error.subcode} [${result.error.data.join(" ")}]`
}
const agreement = (theirs: Open, neighbor = toPeer(), isIpv6 = false) => {
  const result = outcome(theirs, neighbor, isIpv6)
  if (!result.ok) throw new Error("refused")
  return result.value
}

t.test("openFor", (t) => {
  const neighbor = toPeer({ families: [{ family: "ipv4", addPath: { receive: true, send: 2 } }, { family: "ipv6" }] })
  const open = openFor(speaker, neighbor, { isIpv6: true })
  t.match(open, { asn: 65001, holdTimeS: 90, bgpIdentifier: 0x01010101 })
  t.strictSame(open.capabilities.map(({ kind }) => kind), [
    "multiprotocol", "multiprotocol", "routeRefresh", "enhancedRouteRefresh", "extendedMessage", "fourOctetAs", "extendedNextHop",
    "addPath", "fqdn"
  ])
  const graceful = toPeer({ gracefulRestart: { enabled: true, restartTimeS: 9999, longLivedStaleS: 60, notification: true } })
  const restarting = openFor({ ...speaker, restarting: true }, graceful, { isIpv6: false })
  t.match(restarting.capabilities.find(({ kind }) => kind === "gracefulRestart"), {
    restarting: true, notification: true, restartTimeS: 4095, families: [{ family: Family.ipv4Unicast, forwardingPreserved: true }]
  })
  t.ok(restarting.capabilities.some(({ kind }) => kind === "longLivedGracefulRestart"))
  const silent = toPeer({ gracefulRestart: { ...graceful.gracefulRestart, notification: false } })
  t.match(openFor(speaker, silent, { isIpv6: false }).capabilities.find(({ kind }) => kind === "gracefulRestart"), { notification: false })
  t.equal(openFor(speaker, toPeer({ localAs: { asn: 64999, prepend: true } }), { isIpv6: false }).asn, 64999)
  t.end()
})

t.test("openFor says AS_TRANS in two octets for an AS of four", (t) => {
  const bytes = OpenCodec.encode(openFor(speakerOf(4200000001, "1.1.1.1"), toPeer(), { isIpv6: false }))
  t.equal((bytes[20]! << 8) | bytes[21]!, 23456)
  const decoded = OpenCodec.decode(bytes, 0, bytes.length)
  t.equal(decoded.ok && decoded.value.asn, 4200000001)
  t.end()
})

t.test("agree refuses", (t) => {
  const table: ReadonlyArray<readonly [string, Open, string, Partial<BgpNeighborSpec>?]> = [
    ["another AS", openOf({ asn: 65003 }), "2/2 []"],
    ["AS 0", openOf({ asn: 0 }), "2/2 []", { remoteAs: "external" }],
    ["our AS where an external one is meant", openOf({ asn: 65001 }), "2/2 []", { remoteAs: "external" }],
    ["another AS where ours is meant", openOf(), "2/2 []", { remoteAs: "internal" }],
    ["identifier 0", openOf({ bgpIdentifier: 0 }), "2/3 []"],
    ["our identifier within our AS", openOf({ asn: 65001, bgpIdentifier: 0x01010101 }), "2/3 []", { remoteAs: 65001 }],
    ["a hold time of 1 s", openOf({ holdTimeS: 1 }), "2/6 []"],
    ["a hold time of 2 s", openOf({ holdTimeS: 2 }), "2/6 []"],
    ["less than the least hold time", openOf({ holdTimeS: 9 }), "2/6 []", { timers: withMinimum }],
    ["no hold time where there is a least", openOf({ holdTimeS: 0 }), "2/6 []", { timers: withMinimum }],
    ["no family of ours", openOf({ capabilities: [multiprotocol(Family.ipv6Unicast)] }), "2/7 [1 4 0 1 0 1]"],
    ["no family at all, for one that has IPv6 only", openOf(), "2/7 [1 4 0 2 0 1]", { families: [{ family: "ipv6" }] }]
  ]
  for (const [what, theirs, expected, more] of table) t.equal(refusal(theirs, toPeer(more)), expected, what)
  t.end()
})

t.test("agree accepts", (t) => {
  t.equal(refusal(openOf({ bgpIdentifier: 0x01010101 })), "accepted", "our identifier in another AS (RFC 6286)")
  t.equal(refusal(openOf({ asn: 65009 }), toPeer({ remoteAs: "external" })), "accepted", "any other AS")
  t.match(agreement(openOf({ holdTimeS: 0 })), { holdTimeS: 0, keepaliveS: 0 })
  t.match(agreement(openOf({ holdTimeS: 4 })), { holdTimeS: 4, keepaliveS: 1 }, "a third of the lower hold time")
  t.match(agreement(openOf({ holdTimeS: 900 })), { holdTimeS: 90, keepaliveS: 30 })
  const plain = agreement(openOf())
  t.strictSame([...plain.context.families], [Family.ipv4Unicast], "no capabilities: IPv4 unicast")
  t.notOk(plain.context.asn4 || plain.context.extendedMessage || plain.routeRefresh)
  t.ok(plain.context.isExternal)
  t.end()
})

t.test("agree joins capabilities, each in its direction", (t) => {
  const theirs = openOf({
    capabilities: [
      multiprotocol(Family.ipv4Unicast), multiprotocol(Family.evpn),
      { kind: "fourOctetAs", asn: 65002 }, { kind: "routeRefresh" }, { kind: "extendedMessage" },
      { kind: "addPath", families: [{ family: Family.ipv4Unicast, receive: false, send: true }] },
      { kind: "extendedNextHop", entries: [{ family: Family.ipv4Unicast, nextHopAfi: 2 }] },
      { kind: "unknown", code: 200, value: new Uint8Array(3) }
    ]
  })
  const neighbor = toPeer({ families: [{ family: "ipv4", addPath: { receive: true, send: 4 } }, { family: "ipv6" }] })
  const { context, enhancedRouteRefresh, routeRefresh } = agreement(theirs, neighbor, true)
  t.strictSame([...context.families], [Family.ipv4Unicast])
  t.ok(context.asn4 && context.extendedMessage && routeRefresh && context.addPathReceive(Family.ipv4Unicast))
  t.ok(context.extendedNextHop(Family.ipv4Unicast))
  t.notOk(context.addPathSend(Family.ipv4Unicast) || enhancedRouteRefresh)
  t.notOk(agreement(theirs, neighbor, false).context.extendedNextHop(Family.ipv4Unicast), "not over IPv4")
  t.match(compareCapabilities(openFor(speaker, neighbor, { isIpv6: false }), theirs, familyName), [
    { name: "ipv4-unicast", advertised: true, received: true },
    { name: "ipv6-unicast", advertised: true, received: false }
  ])
  t.equal(identifierText(0xfe020304), "254.2.3.4")
  t.end()
})
