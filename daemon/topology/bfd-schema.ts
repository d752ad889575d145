/** `bfd:` of a node: sessions that no static route and no BGP neighbour of the node asks for, as `bfd` and `peer` in FRR. */
import { Schema } from "effect"
import { RouteBfdKeys } from "./bgp-schema.ts"
import { parseAddress } from "./ip.ts"
import { oneOrMore, optional, text } from "./schema-parts.ts"

const Address = text({
  description: "an IPv4 or IPv6 address",
  problem: (value) => (parseAddress(value) === undefined ? "expected an address such as 10.0.0.1" : undefined)
})

const Peer = Schema.Struct({
  address: Address,
  local: optional(Address.annotate({ description: "Address to send from: what the route says unless given" })),
  dev: optional(Schema.String.annotate({ expected: "the name of a port", description: "Port that leads to the peer" })),
  multihop: optional(Schema.Boolean.annotate({ expected: "true or false", description: "Over routers (RFC 5883)" })),
  ...RouteBfdKeys
})

export const Bfd = Schema.Struct({
  peers: oneOrMore(
    Schema.Union([Address, Peer]),
    "an address, or {address, multihop, local, dev, interval, multiplier}",
    "Who is watched besides next hops of routes and BGP neighbors"
  )
}).annotate({ identifier: "Bfd", expected: "a map such as {peers: [10.0.0.1]}" })

export type RawBfdPeer = typeof Peer.Type
