/** What `weft bgp` prints, as whoever knows routers reads it. */
import t from "tap"
import type { BgpNeighbor, BgpPath, KernelRoute } from "../../ctl/messages.ts"
import { explainLines, marksOf, neighborLines, ordered, routeLine, routesHeading, summaryLines, upDown } from "../../ctl/render/bgp.ts"
import { routeLines } from "../../ctl/render/routes.ts"
import { plain } from "../../ctl/terminal.ts"

const nowMs = Date.parse("2026-01-02T00:00:00Z")
const options = { width: Number.POSITIVE_INFINITY, style: plain, nowMs }

const neighbor: BgpNeighbor = {
  name: "203.0.113.2", description: "isp", vrf: "default", group: "", remoteAs: 64500, localAs: 65010, remoteAddress: "203.0.113.2",
  localAddress: "203.0.113.1", remoteRouterId: "198.51.100.1", state: "Established", sinceMs: nowMs - 273_000, establishedCount: 1,
  lastReset: "", messagesReceived: 14, messagesSent: 11, holdTimeS: 90, keepaliveS: 30, capabilities: ["4-octet AS numbers"],
  families: [{ family: "ipv4", received: 3, accepted: 2, sent: 1, complete: true }], bfd: "none"
}
const down: BgpNeighbor = {
  ...neighbor, name: "203.0.113.6", description: "", remoteAs: 64501, state: "Active", sinceMs: 0, establishedCount: 0,
  lastReset: "connection refused", families: [{ family: "ipv4", received: 0, accepted: 0, sent: 0, complete: false }]
}
const path: BgpPath = {
  prefix: "10.20.0.0/16", family: "ipv4", best: true, multipath: false, valid: true, stale: false, kind: "external", from: "203.0.113.2",
  nextHop: "203.0.113.2", med: 50, localPref: 200, weight: 0, asPath: "64500 64510", origin: "igp", communities: ["64500:1", "no-export"],
  pathId: 0, sinceMs: nowMs - 60_000, why: "best: higher local preference", more: []
}
const other: BgpPath = {
  ...path, best: false, from: "203.0.113.6", nextHop: "203.0.113.6", asPath: "64501 64510", localPref: 100, communities: [],
  why: "lost to 203.0.113.2 on local preference"
}

t.test("routes are in order of their addresses, the shorter prefix first, paths of one as they were", async (t) => {
  const of = (prefix: string, from = "a"): BgpPath => ({ ...path, prefix, from, family: prefix.includes(":") ? "ipv6" : "ipv4" })
  const given = [
    of("2001:db8::/32"), of("2001:db8:0:1::/64"), of("::/0"), of("fe80::1/128"), of("100.0.0.0/8"), of("10.0.0.0/24"), of("9.0.0.0/8", "b"),
    of("10.0.0.0/8"), of("9.0.0.0/8", "a"), of("0.0.0.0/0")
  ]
  t.strictSame(ordered(given).map(({ from, prefix }) => `${prefix} ${from}`), [
    "0.0.0.0/0 a", "9.0.0.0/8 b", "9.0.0.0/8 a", "10.0.0.0/8 a", "10.0.0.0/24 a", "100.0.0.0/8 a",
    "::/0 a", "2001:db8::/32 a", "2001:db8:0:1::/64 a", "fe80::1/128 a"
  ])
})

t.test("a summary has one line for each neighbor, and says why one is down", async (t) => {
  const vrfs = [{ name: "default", table: 254, prefixes: 3, paths: 4 }]
  const rest = { neighbors: [neighbor, down], ranges: [], restarting: false, longestTurnMs: 0 }
  const speaker = { lab: "branch", node: "fw", asn: 65010, routerId: "10.10.0.1", vrfs, ...rest }
  t.strictSame(summaryLines(speaker, options), [
    "branch/fw  AS 65010, router id 10.10.0.1",
    "table default (kernel table 254): 3 prefixes, 4 paths",
    "",
    "IPv4 unicast",
    "NEIGHBOR        AS  MSGRCVD  MSGSENT   UP/DOWN  STATE/PFXRCD  PFXSNT  DESCRIPTION",
    "203.0.113.2  64500       14       11  00:04:33             2       1  isp",
    "203.0.113.6  64501       14       11     never        Active       -",
    "",
    "203.0.113.6: connection refused"
  ])
  t.match(summaryLines({ ...speaker, neighbors: [] }, options).at(-1), "No neighbors")
  const ranges = [{ prefix: "10.9.0.0/16", limit: 100 }]
  t.equal(summaryLines({ ...speaker, neighbors: [], ranges }, options).at(-1), "Waits for neighbors from 10.9.0.0/16, at most 100")
})

t.test("routes have the marks and columns of show bgp", async (t) => {
  t.strictSame([routesHeading(false, plain), routeLine(path, undefined), routeLine(other, path.prefix)], [
    "    NETWORK            NEXT HOP          METRIC  LOCPRF  WEIGHT PATH",
    "*>  10.20.0.0/16       203.0.113.2           50     200       0 64500 64510 i",
    "*                      203.0.113.6           50     100       0 64501 64510 i"
  ])
  t.equal(marksOf({ ...path, best: false, multipath: true, kind: "internal" }), "*=i")
  t.equal(marksOf({ ...path, stale: true }), "S> ", "as show bgp has it: in place of the star")
  t.equal(marksOf({ ...path, best: false, valid: false, stale: true }), "S  ")
})

t.test("a prefix is explained path by path", async (t) => {
  t.strictSame(explainLines([path, other], options), [
    "10.20.0.0/16: 2 paths",
    "*>  64500 64510",
    "      next hop 203.0.113.2 from 203.0.113.2, external",
    "      origin igp, metric 50, localpref 200, weight 0, since 00:01:00",
    "      communities 64500:1 no-export",
    "      best: higher local preference",
    "*   64501 64510",
    "      next hop 203.0.113.6 from 203.0.113.6, external",
    "      origin igp, metric 50, localpref 100, weight 0, since 00:01:00",
    "      lost to 203.0.113.2 on local preference"
  ])
})

t.test("a neighbor in full, and times as routers write them", async (t) => {
  const lines = neighborLines(neighbor, options).join("\n")
  t.match(lines, /Established for 00:04:33, AS 64500 \(external\)/)
  t.match(lines, /3 prefixes received, 2 accepted, 1 sent/)
  t.strictSame(
    [0, nowMs, nowMs - 90_000_000, nowMs - 700_000_000].map((since) => upDown(since, nowMs)),
    ["never", "00:00:00", "1d01h", "1w1d"]
  )
})

t.test("a route that discards says so, also where the kernel names an interface", async (t) => {
  const route: KernelRoute = {
    code: "S", family: "ipv6", metric: 4278198272, prefix: "::/0", selected: true, source: "", table: 1001, type: "unreachable",
    protocol: "94", nexthopId: 0, ways: [{ backup: false, down: false, gateway: "", ifname: "lo", weight: 1 }]
  }
  t.strictSame(routeLines(route, plain), ["S>* ::/0 [4278198272] unreachable"])
  t.strictSame(routeLines({ ...route, type: "unicast" }, plain), ["S>* ::/0 [4278198272] is directly connected, lo"])
})
