/**
 * The keys of `bgp`: on nodes, groups and `defaults`, and what links, networks and ports say of sessions across them.
 *
 * Here each value is checked on its own; what they come to together is put together in `bgp.ts` and judged in
 * `compiler/bgp*.ts`. Policies are in `bgp-policy-schema.ts`.
 */
import { Schema } from "effect"
import * as CommunityText from "../wire/bgp/community-text.ts"
import { Policy, PrefixList } from "./bgp-policy-schema.ts"
import { As, asExpected, asProblem, parseAs, FamilyWord, Identifier, Prefix, Reference, Truth } from "./bgp-schema-parts.ts"
import { integer, oneOrMore, optional, text } from "./schema-parts.ts"
import { parseTime } from "./units.ts"

/** Seconds with or without their unit. */
export const parseSeconds = (value: string | number): number | undefined => {
  const isBare = typeof value === "number" || /^\d+$/.test(value)
  const ms = isBare ? Number(value) * 1000 : /^\d+m$/.test(value) ? Number.parseInt(value, 10) * 60_000 : parseTime(value)
  return ms !== undefined && ms >= 0 && Number.isInteger(ms / 1000) ? ms / 1000 : undefined
}
const seconds = (description: string, minimum: number, maximum: number, problem?: (value: number) => string | undefined) =>
  Schema.Union([Schema.Finite, Schema.String]).annotate({ description, expected: "a time in seconds such as 30s" }).check(
    Schema.makeFilter((value: string | number) => {
      const number = parseSeconds(value)
      if (number === undefined) return "expected whole seconds such as 30s"
      return problem?.(number) ?? (number < minimum || number > maximum ? `expected ${minimum} to ${maximum} seconds` : undefined)
    })
  )

const milliseconds = (description: string, minimum: number, maximum: number) =>
  Schema.Union([Schema.Finite, Schema.String]).annotate({ description, expected: "a time with its unit such as 50ms" }).check(
    Schema.makeFilter((value: string | number) => {
      const ms = parseTime(value)
      if (ms === undefined) return "expected a time with its unit such as 50ms"
      const fits = ms >= minimum && ms <= maximum && Number.isInteger(ms)
      return fits ? undefined : `expected whole milliseconds from ${minimum}ms to ${maximum}ms`
    })
  )

const Timers = Schema.Struct({
  // RFC 4271 4.2: zero, or at least three seconds.
  hold: optional(seconds("After so long without a message the session is over: 90s unless given; 0 for never", 0, 65535, (value) =>
    value === 1 || value === 2 ? "a hold time is 0 or at least 3 seconds (RFC 4271 4.2)" : undefined)),
  "minimum-hold": optional(seconds("A neighbour that wants a shorter hold time, or none, is refused", 3, 65535)),
  keepalive: optional(seconds("How often we say that we are there: a third of the hold time unless given", 0, 21845)),
  "connect-retry": optional(seconds("How long to wait after a failed attempt: 5s unless given", 1, 65535)),
  "advertisement-interval": optional(milliseconds("The least time between two changes of one prefix: 0 unless given", 0, 600_000))
}).annotate({ identifier: "BgpTimers", expected: "a map with hold, minimum-hold, keepalive, connect-retry and advertisement-interval" })

/** Times of BFD: of a session, a static route, a node. */
export const RouteBfdKeys = {
  interval: optional(milliseconds("How often packets are sent and wanted: 50ms unless given", 10, 60_000)),
  "min-tx": optional(milliseconds("How often packets are sent at most", 10, 60_000)),
  "min-rx": optional(milliseconds("How often packets are wanted at most", 10, 60_000)),
  multiplier: optional(integer(1, 255, "So many packets lost in a row are a failure: 3 unless given"))
}
/** Of static routes: always a single hop away. */
export const RouteBfd = Schema.Union([Schema.Boolean, Schema.Struct(RouteBfdKeys)])
  .annotate({
    identifier: "RouteBfd",
    expected: "true, or {interval, multiplier}",
    description: "Watch the next hop by BFD, and do without it while it is down"
  })
const Bfd = Schema.Union([Schema.Boolean, Schema.Struct({ ...RouteBfdKeys, multihop: optional(Truth("Over routers (RFC 5883)")) })])
  .annotate({
    identifier: "Bfd",
    expected: "true, or {interval, multiplier, multihop}",
    description: "Watch the neighbour by BFD: losing it ends the session"
  })

const PerFamily = Schema.Union([
  Reference("a policy"),
  Schema.Struct({ ipv4: optional(Reference("a policy")), ipv6: optional(Reference("a policy")) })
]).annotate({ expected: "the name of a policy, or {ipv4, ipv6}" })

const MaxPrefix = Schema.Union([
  integer(1, 4294967295, "At most so many prefixes from a neighbour"),
  Schema.Struct({
    count: integer(1, 4294967295, "At most so many"),
    action: optional(Schema.Literals(["reset", "warn", "discard"]).annotate({
      description: "What happens above: reset (default) ends the session, warn only says so, discard takes no more"
    })),
    threshold: optional(integer(1, 99, "Above so many percent of it an event says so")),
    restart: optional(seconds("Try again after so long", 1, 65535))
  })
]).annotate({ expected: "a number, or {count, action, threshold, restart}", description: "How many prefixes a neighbour may send" })

const AddPath = Schema.Union([
  Schema.Boolean,
  Schema.Struct({ receive: optional(Schema.Boolean), send: optional(integer(0, 64, "So many paths of each prefix, the best first")) })
]).annotate({ expected: "true, or {receive, send}", description: "Several paths of one prefix (RFC 7911)" })

const GracefulRestart = Schema.Union([
  Schema.Boolean,
  Schema.Struct({
    "restart-time": optional(seconds("How long neighbours keep our routes: 120s unless given", 1, 4095)),
    "long-lived": optional(seconds("And after that as a last resort (RFC 9494)", 0, 16777215)),
    notification: optional(Truth("Also after a NOTIFICATION or when the hold timer has expired (RFC 8538): no unless true"))
  })
]).annotate({
  expected: "true, false or {restart-time, long-lived, notification}",
  description: "Forwarding goes on while the speaker restarts (RFC 4724); on unless false"
})

const Prepend = Schema.Union([Schema.Boolean, Schema.Literal("out")]).annotate({
  expected: "true, false or out",
  description: "Both numbers are in the path, of routes in both directions: true unless given; out: only on the way out"
})
const LocalAs = Schema.Union([As, Schema.Struct({ as: As, prepend: optional(Prepend) })])
  .annotate({ expected: "an AS number, or {as, prepend}", description: "Another AS towards this neighbour" })

// TCP_MD5SIG_MAXKEYLEN of the kernel.
const passwordProblem = (value: string): string | undefined => {
  const octets = Buffer.byteLength(value)
  return octets >= 1 && octets <= 80 ? undefined : `has ${octets} octets: a password has 1 to 80`
}

// RFC 9003 2.
const messageProblem = (value: string): string | undefined => {
  const octets = Buffer.byteLength(value)
  return octets >= 1 && octets <= 255 ? undefined : `has ${octets} octets: what a neighbour is told has 1 to 255`
}

const DefaultOriginate = Schema.Union([
  Schema.Boolean,
  Schema.Struct({
    policy: optional(Reference("a policy")),
    when: optional(oneOrMore(Prefix, "a prefix", "Only while there is a route to one of these"))
  })
]).annotate({ expected: "true, or {policy, when}", description: "Announce a default route to the neighbour" })

/** Of one session: a neighbour's own, or for all of a node, link, network or port. */
export const sessionKeys = {
  import: optional(PerFamily.annotate({ description: "Policy for routes from the neighbour; without one all are taken" })),
  export: optional(PerFamily.annotate({ description: "Policy for routes to the neighbour; without one all are sent" })),
  families: optional(oneOrMore(
    FamilyWord,
    '"ipv4" or "ipv6"',
    "What is exchanged: the family of the session's addresses unless given; both if unnumbered"
  )),
  timers: optional(Timers),
  bfd: optional(Bfd),
  password: optional(text({ description: "TCP MD5 signature (RFC 2385), the same at both ends", problem: passwordProblem })),
  unnumbered: optional(Truth("Sessions over links by interface, with link-local addresses (RFC 8950): no IPv4 addresses are needed")),
  multihop: optional(Schema.Union([Schema.Boolean, integer(1, 255, "TTL of what is sent")])
    .annotate({ expected: "true, or a TTL from 1 to 255", description: "The external neighbour is more than one hop away" })),
  "ttl-security": optional(Schema.Union([Schema.Boolean, integer(1, 254, "Hops")])
    .annotate({ expected: "true, or a number of hops", description: "Take only packets from so few hops away (RFC 5082)" })),
  passive: optional(Truth("Wait for the neighbour to connect")),
  shutdown: optional(Schema.Union([Schema.Boolean, text({ description: "what the neighbour is told", problem: messageProblem })]).annotate({
    expected: "true, or what the neighbour is told",
    description: "Configured, and not connected; a text is sent (RFC 9003)"
  })),
  "update-source": optional(
    Schema.String.annotate({ expected: "an address or interface of the node", description: "Address that sessions come from" })
  ),
  "local-as": optional(LocalAs),
  "next-hop-self": optional(Truth("Routes of others are announced with our own address as next hop")),
  "default-originate": optional(DefaultOriginate),
  "max-prefix": optional(MaxPrefix),
  "add-path": optional(AddPath),
  "graceful-restart": optional(GracefulRestart),
  "allow-as-in": optional(Schema.Union([Schema.Boolean, Schema.Literal("origin"), integer(1, 10, "Times")]).annotate({
    expected: "true, how often, or origin",
    description: "Take routes with our own AS in their path, so often; origin: if it is where the path begins"
  })),
  "enforce-first-as": optional(Truth("Refuse routes of an external neighbour whose path does not have its AS first (RFC 4271 6.3)")),
  "remove-private-as": optional(Schema.Union([Schema.Boolean, Schema.Literal("replace")]).annotate({
    expected: "true, false or replace",
    description: "Leave private AS numbers out of the path to external neighbours; replace: ours stands in their place"
  })),
  "as-override": optional(Truth("Put our AS in place of the neighbour's own in the path")),
  "send-communities": optional(Truth("true unless given"))
}

const Session = Schema.Struct(sessionKeys)

/** Of a link, network or port. */
export const BgpOfPort = Schema.Union([Schema.Literals(["none", "unnumbered"]), Session]).annotate({
  identifier: "BgpSessions",
  expected: '"none", "unnumbered" or settings of sessions',
  description: "BGP sessions across it: none, unnumbered, or settings for all of them"
})

const Neighbor = Schema.Union([
  Schema.String,
  Schema.Struct({
    ...sessionKeys,
    peer: optional(oneOrMore(Schema.String, "NODE, NODE:PORT, an address, external or internal")),
    interface: optional(Schema.String.annotate({
      expected: "an interface",
      description: "Unnumbered: whoever is at the other end; or the link of a link-local address"
    })),
    range: optional(Prefix.annotate({ description: "Anybody from here who connects" })),
    limit: optional(integer(1, 10_000, "How many of a range at once: 100 unless given")),
    as: optional(Schema.Union([Schema.Literals(["external", "internal"]), Schema.Finite, Schema.String]).annotate({
      expected: `${asExpected}, external or internal`,
      description: "The neighbour's AS; of a node of the lab it is known"
    }).check(Schema.makeFilter((value: string | number) => {
      if (value === "external" || value === "internal") return undefined
      return parseAs(value) === undefined ? `expected ${asExpected}, external or internal` : asProblem(value)
    }))),
    vrf: optional(Reference("a VRF of the node")),
    description: optional(Schema.String)
  })
]).annotate({ identifier: "BgpNeighbor", expected: "NODE, NODE:PORT, an address, or a map with peer, interface or range" })

const Originated = Schema.Union([Prefix, Schema.Struct({ prefix: Prefix, policy: optional(Reference("a policy")) })])
  .annotate({ expected: "a prefix, or {prefix, policy}" })
const Aggregate = Schema.Union([
  Prefix,
  Schema.Struct({
    prefix: Prefix,
    "summary-only": optional(Truth("Do not announce what it is made of")),
    "as-set": optional(Truth("Keep the AS numbers of what it is made of, as a set")),
    policy: optional(Reference("a policy"))
  })
]).annotate({ expected: "a prefix, or {prefix, summary-only, as-set, policy}" })
const SourceWord = Schema.Literals(["connected", "static"])
const Redistribute = Schema.Union([SourceWord, Schema.Struct({ source: SourceWord, policy: optional(Reference("a policy")) })])
  .annotate({ expected: "connected, static or {source, policy}" })

const tableKeys = {
  networks: optional(
    oneOrMore(Originated, "a prefix, or {prefix, policy}", "Prefixes to announce, whether or not there is a route to them")
  ),
  aggregates: optional(
    oneOrMore(Aggregate, "a prefix, or {prefix, summary-only, as-set, policy}", "Announced while there is a more specific route")
  ),
  redistribute: optional(oneOrMore(Redistribute, "connected, static or {source, policy}", "Routes of the kernel to announce"))
}

const targetProblem = (value: string): string | undefined => {
  const parsed = CommunityText.parse(`rt:${value}`)
  return parsed?.kind === "extended" ? undefined : "expected a route target such as 65000:1 or 10.0.0.1:1"
}
const Target = text({ description: "a route target such as 65000:1", problem: targetProblem })

const Vrf = Schema.Struct({
  ...tableKeys,
  interfaces: optional(oneOrMore(Schema.String, "an interface of the node", "Its packets are routed by this table")),
  table: optional(integer(1, 4294967295, "Number of the kernel's table: 1001 and up unless given")),
  targets: optional(oneOrMore(Target, "a route target", "To import and export")),
  "import-targets": optional(oneOrMore(Target, "a route target", "Routes with one of these are taken")),
  "export-targets": optional(oneOrMore(Target, "a route target", "What routes of this table bear"))
}).annotate({ identifier: "BgpVrf", expected: "a map with interfaces, table, targets, ..." })

const Multipath = Schema.Union([
  integer(1, 256, "How many equal paths are used at once: 16 unless given"),
  Schema.Struct({
    ebgp: optional(integer(1, 256, "Of external neighbours")),
    ibgp: optional(integer(1, 256, "Of internal neighbours")),
    "as-path-relax": optional(Truth("AS paths need only be of the same length"))
  })
]).annotate({ expected: "a number of paths, or {ebgp, ibgp, as-path-relax}", description: "Equal paths that share the load (ECMP)" })

export const bgpKeys = {
  ...sessionKeys,
  ...tableKeys,
  as: optional(As),
  "router-id": optional(Identifier("BGP identifier: the first IPv4 address of the loopback, or else of a port, unless given")),
  "cluster-id": optional(Identifier("As a route reflector: the router id unless given")),
  external: optional(Truth("Something else speaks BGP in the node: only its neighbours are configured. True for containers unless given")),
  derive: optional(Truth("Sessions with all neighbours on links and networks that have bgp, too: true unless given")),
  ibgp: optional(Schema.Literals(["links", "mesh", "none"]).annotate({
    description: "Sessions within the AS: with neighbours on links (default), a full mesh of all that say so by their loopbacks, or none"
  })),
  "route-reflector": optional(
    oneOrMore(Reference("a node"), "the name of a node", "Reflectors of this node: instead of a mesh; who is in the list itself is one")
  ),
  clients: optional(oneOrMore(Reference("a node"), "the name of a node", "This node reflects routes for these")),
  neighbors: optional(
    Schema.Array(Neighbor)
      .annotate({ expected: "a list of neighbours", description: "Settings of derived sessions, and further neighbours" })
  ),
  policies: optional(Schema.Record(Schema.String, Policy).annotate({ expected: "a map from name to policy" })),
  "prefix-lists": optional(Schema.Record(Schema.String, PrefixList).annotate({ expected: "a map from name to prefix list" })),
  vrfs: optional(
    Schema.Record(Schema.String, Vrf).annotate({ expected: "a map from name to VRF", description: "Further routing tables by name" })
  ),
  multipath: optional(Multipath),
  "always-compare-med": optional(Truth("Compare MED between paths of different neighbour AS, too")),
  "missing-med-is-worst": optional(Truth("A path without MED counts as if it had the highest, not the lowest")),
  "ignore-as-path": optional(Truth("The length of AS paths does not count")),
  "compare-router-id": optional(Truth("Of equal external paths the lower router id wins, not the one that is best already")),
  "update-delay": optional(
    seconds("After a start nothing is announced and installed until all neighbours have told what they have, or so long at most", 1, 3600)
  ),
  "graceful-shutdown": optional(Truth("Announce everything as a last resort (RFC 8326), before maintenance"))
}

export const Bgp = Schema.Union([Schema.Literal("none"), Schema.Struct(bgpKeys)]).annotate({
  identifier: "Bgp",
  expected: '"none", or a map such as {as: 65001}',
  description: "The node speaks BGP; none: it does not, whatever its group says"
})

const BgpMap = Schema.Struct(bgpKeys)

export type RawBgp = typeof BgpMap.Type
export type RawSession = typeof Session.Type
export type RawNeighbor = Exclude<typeof Neighbor.Type, string>
export type RawVrf = typeof Vrf.Type
export type RawRouteBfd = typeof RouteBfd.Type
export type RawBfd = typeof Bfd.Type
export type RawBgpOfPort = typeof BgpOfPort.Type
