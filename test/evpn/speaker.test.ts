/** What of a route fits into a message for a peer. */
import t from "tap"
import { fits, messages } from "../../daemon/evpn/speaker.ts"
import { makeContext } from "../../daemon/wire/bgp/context.ts"
import { type Route, zeroEsi } from "../../daemon/wire/bgp/evpn.ts"
import { maxMessageLength } from "../../daemon/wire/bgp/header.ts"
import { Family } from "../../daemon/wire/bgp/iana.ts"
import type { PathAttributes } from "../../daemon/wire/bgp/path-attributes.ts"

const rd = "00010a0909000001"
/** The longest there is: an IPv6 prefix. */
const route: Route = {
  type: 5, rd, esi: zeroEsi, tag: 0, prefix: "2001:db8::/32", gateway: "2001:db8::1", label: 100
}

const withCommunities = (count: number): PathAttributes => ({
  origin: 0,
  asPath: [{ type: 2, asns: [65001] }],
  atomicAggregate: false,
  communities: Array.from({ length: count }, (_, i) => i),
  extendedCommunities: [],
  largeCommunities: [],
  clusterList: [],
  unknown: []
})

for (const extendedMessage of [false, true]) {
  t.test(`messages of ${extendedMessage ? 65535 : 4096} octets`, (t) => {
    const context = makeContext({ asn4: true, isExternal: true, extendedMessage, families: [Family.evpn] })
    const longest = maxMessageLength(context)
    let count = Math.floor(longest / 4)
    while (!fits(context, withCommunities(count))) count--
    t.ok(4 * count > longest - 256, "little is left unused")
    const [message, ...others] = messages(context, [route], { attributes: withCommunities(count), nextHop: "2001:db8::2" })
    t.strictSame(others, [])
    t.ok(message!.length <= longest)
    t.end()
  })
}

t.test("what came in a long message does not fit into a short one", (t) => {
  const context = makeContext({ asn4: true, isExternal: true, families: [Family.evpn] })
  t.notOk(fits(context, withCommunities(2000)))
  t.end()
})
