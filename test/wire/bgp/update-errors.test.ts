/**
 * What each malformed attribute leads to, for external and internal peers: the text of RFC 7606 and of the RFCs that it leaves
 * to, section by section. Octets of many cases are those of FRR's topotests bgp_rfc7606_*; what must happen is the RFCs'.
 */
import t from "tap"
import type { SessionContext } from "../../../daemon/wire/bgp/context.ts"
import { Severity } from "../../../daemon/wire/bgp/path-attributes.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"
import {
  addPath, asPath, attribute, external, internal, mandatory, message, nextHop, nlri, old, origin, toHex, update, type UpdateParts
} from "./build.ts"

type Outcome = "accept" | "discard" | "withdraw" | "reset"

interface Verdict {
  readonly outcome: Outcome
  /** `code/subcode` and data of the NOTIFICATION that the strongest fault stands for. */
  readonly error?: string
  readonly data?: string
  /** Types of all faults. */
  readonly types: ReadonlyArray<number>
  readonly unknown: ReadonlyArray<number>
}

const outcomes: Readonly<Record<number, Outcome>> = {
  [Severity.none]: "accept",
  [Severity.discard]: "discard",
  [Severity.withdraw]: "withdraw",
  [Severity.reset]: "reset"
}

const judge = (bytes: Uint8Array, context: SessionContext): Verdict => {
  const scan = new UpdateScan()
  const error = scanUpdate(bytes, 0, bytes.length, context, scan)
  if (error !== undefined) {
    return { outcome: "reset", error: `${error.code}/${error.subcode}`, data: toHex(error.data), types: [], unknown: [] }
  }
  if (!scan.hasReachable && !scan.hasAttributes) return { outcome: "accept", types: [], unknown: [] }
  const source = scan.nlriAt < scan.nlriEnd || scan.mpReachFamily === 0 ? NlriSource.field : NlriSource.mpReach
  const { attributes, faults, severity } = decodeAttributes(bytes, scan, source, context)
  const strongest = faults[0]?.error
  return {
    outcome: outcomes[severity]!,
    ...(strongest === undefined ? {} : { error: `${strongest.code}/${strongest.subcode}`, data: toHex(strongest.data) }),
    types: faults.map(({ type }) => type),
    unknown: attributes.unknown.map(({ type }) => type)
  }
}

/** The mandatory attributes, with one that takes the place of its kind or comes behind. */
const withAttribute = (type: number, octets: string): string =>
  [[1, origin], [2, asPath], [3, nextHop]].map(([own, plain]) => (own === type ? octets : plain)).join("") + (type > 3 ? octets : "")

/** Name, type, flags, value, what happens with an external peer, with an internal one, the error, the section. */
type Row = readonly [name: string, type: number, flags: number, value: string, ebgp: Outcome, ibgp: Outcome, error: string, section: string]

const rows: ReadonlyArray<Row> = [
  ["ORIGIN optional", 1, 0xc0, "00", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["ORIGIN not transitive", 1, 0x00, "00", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["ORIGIN partial", 1, 0x60, "00", "withdraw", "withdraw", "3/4", "4271 4.3, 7606 3 e"],
  ["ORIGIN empty", 1, 0x40, "", "withdraw", "withdraw", "3/5", "7606 7.1"],
  ["ORIGIN of 2 octets", 1, 0x40, "0000", "withdraw", "withdraw", "3/5", "7606 7.1"],
  ["ORIGIN 3", 1, 0x40, "03", "withdraw", "withdraw", "3/6", "7606 7.1"],
  ["ORIGIN 255", 1, 0x40, "ff", "withdraw", "withdraw", "3/6", "7606 7.1"],
  ["AS_PATH optional", 2, 0xc0, "02010000fde9", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["AS_PATH not transitive", 2, 0x00, "02010000fde9", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["AS_PATH partial", 2, 0x60, "02010000fde9", "withdraw", "withdraw", "3/4", "4271 4.3, 7606 3 e"],
  ["AS_PATH empty", 2, 0x40, "", "accept", "accept", "", "7606 4"],
  ["AS_PATH segment of type 0", 2, 0x40, "00010000fde9", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH segment of type 5", 2, 0x40, "05010000fde9", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH segment without AS numbers", 2, 0x40, "0200", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH second segment without AS numbers", 2, 0x40, "02010000fde90200", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH segment overruns", 2, 0x40, "02ff0000fde9", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH underruns: one octet is left", 2, 0x40, "02010000fde902", "withdraw", "withdraw", "3/11", "7606 7.2"],
  ["AS_PATH AS 0", 2, 0x40, "020100000000", "withdraw", "withdraw", "3/11", "7607 2"],
  ["AS_PATH AS 0 in a set", 2, 0x40, "02010000fde9010200000005 00000000", "withdraw", "withdraw", "3/11", "7607 2"],
  ["AS_PATH confederation sequence", 2, 0x40, "03010000fde9", "withdraw", "accept", "3/11", "5065 5"],
  ["NEXT_HOP empty", 3, 0x40, "", "withdraw", "withdraw", "3/5", "7606 7.3"],
  ["NEXT_HOP of 3 octets", 3, 0x40, "c00002", "withdraw", "withdraw", "3/5", "7606 7.3"],
  ["NEXT_HOP of 5 octets", 3, 0x40, "c000020100", "withdraw", "withdraw", "3/5", "7606 7.3"],
  ["NEXT_HOP optional", 3, 0xc0, "c0000201", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["NEXT_HOP 0.0.0.0", 3, 0x40, "00000000", "withdraw", "withdraw", "3/8", "4271 6.3"],
  ["NEXT_HOP 127.0.0.1", 3, 0x40, "7f000001", "withdraw", "withdraw", "3/8", "4271 6.3"],
  ["NEXT_HOP 224.0.0.1", 3, 0x40, "e0000001", "withdraw", "withdraw", "3/8", "4271 6.3"],
  ["NEXT_HOP 255.255.255.255", 3, 0x40, "ffffffff", "withdraw", "withdraw", "3/8", "4271 6.3"],
  ["MULTI_EXIT_DISC transitive", 4, 0xc0, "0000000a", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["MULTI_EXIT_DISC well-known", 4, 0x40, "0000000a", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["MULTI_EXIT_DISC empty", 4, 0x80, "", "withdraw", "withdraw", "3/5", "7606 7.4"],
  ["MULTI_EXIT_DISC of 3 octets", 4, 0x80, "000000", "withdraw", "withdraw", "3/5", "7606 7.4"],
  ["MULTI_EXIT_DISC of 5 octets", 4, 0x80, "000000000a", "withdraw", "withdraw", "3/5", "7606 7.4"],
  ["LOCAL_PREF well-formed", 5, 0x40, "00000064", "discard", "accept", "3/9", "7606 7.5"],
  ["LOCAL_PREF empty", 5, 0x40, "", "discard", "withdraw", "3/5", "7606 7.5"],
  ["LOCAL_PREF of 3 octets", 5, 0x40, "000000", "discard", "withdraw", "", "7606 7.5"],
  ["LOCAL_PREF of 5 octets", 5, 0x40, "0000000064", "discard", "withdraw", "", "7606 7.5"],
  ["LOCAL_PREF optional", 5, 0xc0, "00000064", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["ATOMIC_AGGREGATE empty", 6, 0x40, "", "accept", "accept", "", "7606 4"],
  ["ATOMIC_AGGREGATE of 1 octet", 6, 0x40, "00", "discard", "discard", "3/5", "7606 7.6"],
  ["ATOMIC_AGGREGATE optional", 6, 0xc0, "", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["AGGREGATOR empty", 7, 0xc0, "", "discard", "discard", "3/5", "7606 7.7"],
  ["AGGREGATOR of 5 octets", 7, 0xc0, "0000fde90a", "discard", "discard", "3/5", "7606 7.7"],
  ["AGGREGATOR of 6 octets", 7, 0xc0, "fde90a000001", "discard", "discard", "3/5", "7606 7.7"],
  ["AGGREGATOR of 7 octets", 7, 0xc0, "0000fde90a0000", "discard", "discard", "3/5", "7606 7.7"],
  ["AGGREGATOR of 9 octets", 7, 0xc0, "0000fde90a00000200", "discard", "discard", "3/5", "7606 7.7"],
  ["AGGREGATOR AS 0", 7, 0xc0, "000000000a000002", "discard", "discard", "3/9", "7607 2"],
  ["AGGREGATOR not transitive", 7, 0x80, "0000fde90a000002", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["COMMUNITIES not transitive", 8, 0x80, "ffff0001", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["COMMUNITIES empty", 8, 0xc0, "", "withdraw", "withdraw", "3/5", "7606 7.8"],
  ["COMMUNITIES of 5 octets", 8, 0xc0, "ffff000100", "withdraw", "withdraw", "3/5", "7606 7.8"],
  ["COMMUNITIES partial", 8, 0xe0, "ffff0001", "accept", "accept", "", "4271 4.3"],
  ["ORIGINATOR_ID well-formed", 9, 0x80, "0a000002", "discard", "accept", "3/9", "7606 7.9"],
  ["ORIGINATOR_ID empty", 9, 0x80, "", "discard", "withdraw", "3/5", "7606 7.9"],
  ["ORIGINATOR_ID of 3 octets", 9, 0x80, "0a0000", "discard", "withdraw", "", "7606 7.9"],
  ["ORIGINATOR_ID of 5 octets", 9, 0x80, "0a00000200", "discard", "withdraw", "", "7606 7.9"],
  ["ORIGINATOR_ID transitive", 9, 0xc0, "0a000002", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["CLUSTER_LIST well-formed", 10, 0x80, "0a000002", "discard", "accept", "3/9", "7606 7.10"],
  ["CLUSTER_LIST empty", 10, 0x80, "", "discard", "withdraw", "3/5", "7606 7.10"],
  ["CLUSTER_LIST of 5 octets", 10, 0x80, "0a00000200", "discard", "withdraw", "", "7606 7.10"],
  ["CLUSTER_LIST transitive", 10, 0xc0, "0a000002", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["EXTENDED_COMMUNITIES not transitive", 16, 0x80, "0002fde900000001", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["EXTENDED_COMMUNITIES empty", 16, 0xc0, "", "withdraw", "withdraw", "3/5", "7606 7.14"],
  ["EXTENDED_COMMUNITIES of 9 octets", 16, 0xc0, "0002fde90000000100", "withdraw", "withdraw", "3/5", "7606 7.14"],
  ["EXTENDED_COMMUNITIES of an unknown type", 16, 0xc0, "7f7f000000000001", "accept", "accept", "", "7606 7.14"],
  ["AS4_PATH from a new speaker", 17, 0xc0, "020100010001", "discard", "discard", "3/9", "6793 4.1"],
  ["AS4_PATH malformed, from a new speaker", 17, 0xc0, "000100010001", "discard", "discard", "3/9", "6793 4.1, 6"],
  ["AS4_PATH not transitive", 17, 0x80, "020100010001", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["AS4_AGGREGATOR from a new speaker", 18, 0xc0, "0000fde90a000001", "discard", "discard", "3/9", "6793 4.1"],
  ["AS4_AGGREGATOR of 7 octets", 18, 0xc0, "0000fde90a0000", "discard", "discard", "", "6793 6"],
  ["AS4_AGGREGATOR empty", 18, 0xc0, "", "discard", "discard", "3/5", "6793 6"],
  ["PMSI_TUNNEL not transitive", 22, 0x80, "00060000000a000002", "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["PMSI_TUNNEL of 4 octets", 22, 0xc0, "00060000", "withdraw", "withdraw", "3/5", "6514 5"],
  ["attribute 23, corrupt", 23, 0xc0, "00070004 01ff", "accept", "accept", "", "opaque here"],
  ["attribute 23, empty", 23, 0xc0, "", "accept", "accept", "", "opaque here"],
  ["IPV6_EXTENDED_COMMUNITIES not transitive", 25, 0x80, "00".repeat(20), "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["IPV6_EXTENDED_COMMUNITIES empty", 25, 0xc0, "", "withdraw", "withdraw", "3/5", "7606 7.15"],
  ["IPV6_EXTENDED_COMMUNITIES of 21 octets", 25, 0xc0, "00".repeat(21), "withdraw", "withdraw", "3/5", "7606 7.15"],
  ["IPV6_EXTENDED_COMMUNITIES of 20 octets", 25, 0xc0, "00".repeat(20), "accept", "accept", "", "7606 7.15"],
  ["AIGP", 26, 0x80, "01000b0000000000000000000a".slice(0, 22), "accept", "accept", "", "7311 3.1: ignored"],
  ["AIGP transitive", 26, 0xc0, "01000b00000000000000000a", "discard", "discard", "3/4", "7311 4"],
  ["BGP-LS transitive", 29, 0xc0, "0400000100", "discard", "discard", "3/4", "9552 8.2.2"],
  ["LARGE_COMMUNITIES not transitive", 32, 0x80, "00".repeat(12), "withdraw", "withdraw", "3/4", "7606 3 c"],
  ["LARGE_COMMUNITIES empty", 32, 0xc0, "", "withdraw", "withdraw", "3/5", "8092 6"],
  ["LARGE_COMMUNITIES of 13 octets", 32, 0xc0, "00".repeat(13), "withdraw", "withdraw", "3/5", "8092 6"],
  ["ONLY_TO_CUSTOMER of 3 octets", 35, 0xc0, "0000fd", "withdraw", "withdraw", "3/5", "9234 5"],
  ["ONLY_TO_CUSTOMER of 4 octets", 35, 0xc0, "0000fde9", "accept", "accept", "", "9234 5"],
  ["PREFIX_SID of zeros", 40, 0xc0, "000000000000", "accept", "accept", "", "8669 6"],
  ["PREFIX_SID not transitive", 40, 0x80, "01000700000000000001", "discard", "discard", "3/4", "7606 3 c"],
  ["PREFIX_SID overruns", 40, 0xc0, "0100ff000000", "discard", "discard", "3/9", "8669 6"],
  ["PREFIX_SID is cut", 40, 0xc0, "0100", "discard", "discard", "3/9", "8669 6"],
  ["PREFIX_SID with a short label index", 40, 0xc0, "010000", "discard", "discard", "3/9", "8669 6"],
  ["unknown, optional transitive", 0xfe, 0xc0, "deadbeef", "accept", "accept", "", "4271 5"],
  ["unknown, optional transitive, empty", 0xfe, 0xc0, "", "accept", "accept", "", "4271 5"],
  ["unknown, optional", 0xfd, 0x80, "deadbeef", "accept", "accept", "", "4271 5"],
  ["unknown, well-known", 0xfe, 0x40, "deadbeef", "reset", "reset", "3/2", "4271 6.3"],
]

for (const [name, type, flags, value, ebgp, ibgp, error, section] of rows) {
  t.test(`${name} (RFC ${section})`, async (t) => {
    const octets = attribute(flags, type, value)
    const bytes = update({ attributes: withAttribute(type, octets), nlri })
    for (const [peer, context, outcome] of [["external", external, ebgp], ["internal", internal, ibgp]] as const) {
      const verdict = judge(bytes, context)
      t.equal(verdict.outcome, outcome, `${peer} peer`)
      if (outcome === "accept") continue
      t.strictSame(verdict.types, [type], "only this attribute is faulty")
      t.equal(verdict.data, octets, "the data of the error is the attribute (RFC 4271 6.3)")
      if (error !== "" && ebgp === ibgp) t.equal(verdict.error, error)
    }
  })
}

t.test("extended length is allowed for short values (RFC 4271 4.3)", async (t) => {
  const bytes = update({ attributes: attribute(0x50, 1, "00") + asPath + nextHop, nlri })
  t.equal(judge(bytes, external).outcome, "accept")
})

t.test("what is unknown is kept if it is transitive (RFC 4271 5)", async (t) => {
  const attributes = mandatory + attribute(0xc0, 0xfe, "01") + attribute(0x80, 0xfd, "02") + attribute(0xe0, 23, "03")
  t.strictSame(judge(update({ attributes, nlri }), external).unknown, [23, 0xfe])
})

t.test("attributes with AS numbers of two octets (RFC 6793 6)", async (t) => {
  const path = attribute(0x40, 2, "0201 5ba0")
  const cases: ReadonlyArray<readonly [string, string, Outcome]> = [
    ["AS4_PATH well-formed", attribute(0xc0, 17, "020100010001"), "accept"],
    ["AS4_PATH segment of type 0", attribute(0xc0, 17, "000100010001"), "discard"],
    ["AS4_PATH overruns", attribute(0xc0, 17, "020200010001"), "discard"],
    ["AS4_PATH segment without AS numbers", attribute(0xc0, 17, "0200"), "discard"],
    ["AS4_PATH of an odd length", attribute(0xc0, 17, "02010001000102"), "discard"],
    ["AS4_PATH empty", attribute(0xc0, 17, ""), "discard"],
    ["AS4_PATH AS 0 (RFC 7607 2)", attribute(0xc0, 17, "020100000000"), "discard"],
    ["AS4_AGGREGATOR of 6 octets", attribute(0xc0, 18, "fde90a000001"), "discard"],
    ["AS4_AGGREGATOR AS 0 (RFC 7607 2)", attribute(0xc0, 18, "000000000a000001"), "discard"],
    ["AGGREGATOR of 6 octets", attribute(0xc0, 7, "fde90a000001"), "accept"],
    ["AGGREGATOR of 8 octets", attribute(0xc0, 7, "0000fde90a000001"), "discard"]
  ]
  for (const [name, octets, outcome] of cases) {
    t.equal(judge(update({ attributes: origin + path + nextHop + octets, nlri }), old).outcome, outcome, name)
  }
  t.equal(judge(update({ attributes: origin + attribute(0x40, 2, "0201fde9") + nextHop, nlri }), old).outcome, "accept", "two octets")
  t.equal(judge(update({ attributes: mandatory, nlri }), old).outcome, "withdraw", "four octets where two were agreed upon")
})

t.test("a missing well-known attribute (RFC 7606 3 d)", async (t) => {
  for (const [type, attributes] of [[1, asPath + nextHop], [2, origin + nextHop], [3, origin + asPath]] as const) {
    const verdict = judge(update({ attributes, nlri }), internal)
    t.strictSame(verdict, { outcome: "withdraw", error: "3/3", data: `0${type}`, types: [type], unknown: [] })
  }
  t.equal(judge(update({ nlri }), external).outcome, "withdraw", "none at all")
})

t.test("duplicates (RFC 7606 3 g)", async (t) => {
  t.equal(judge(update({ attributes: mandatory + origin, nlri }), external).outcome, "discard")
  const bad = judge(update({ attributes: mandatory + attribute(0x40, 1, "09"), nlri }), external)
  t.equal(bad.outcome, "discard", "a bad second one is not looked at")
  const unknown = attribute(0xc0, 0xfe, "01")
  t.strictSame(judge(update({ attributes: mandatory + unknown + attribute(0xc0, 0xfe, "02"), nlri }), external).unknown, [0xfe])
  const reach = attribute(0x80, 14, `000201 10 20010db8${"00".repeat(11)}01 00 2020010db8`)
  t.match(judge(update({ attributes: reach + origin + asPath + reach }), external), { outcome: "reset", error: "3/1" }, "MP_REACH_NLRI")
  const unreach = attribute(0x80, 15, "000201 2020010db8")
  t.match(judge(update({ attributes: unreach + unreach }), external), { outcome: "reset", error: "3/1" }, "MP_UNREACH_NLRI")
})

t.test("the strongest of several faults counts (RFC 7606 3 h)", async (t) => {
  const attributes = mandatory + attribute(0xc0, 7, "00") + attribute(0xc0, 8, "00") + attribute(0x40, 6, "00")
  const verdict = judge(update({ attributes, nlri }), external)
  t.equal(verdict.outcome, "withdraw")
  t.strictSame(verdict.types, [8, 7, 6])
})

t.test("attributes that do not fill their field (RFC 7606 4)", async (t) => {
  const cases: ReadonlyArray<readonly [string, UpdateParts, Outcome]> = [
    ["one octet is left", { attributes: `${mandatory}40`, nlri }, "withdraw"],
    ["two octets are left", { attributes: `${mandatory}4006`, nlri }, "withdraw"],
    ["three octets are left, the length has two", { attributes: `${mandatory}d00800`, nlri }, "withdraw"],
    ["an attribute overruns", { attributes: `${mandatory}c00804ffff00`, nlri }, "withdraw"],
    ["a long attribute overruns", { attributes: `${mandatory}d008ffffffff0001`, nlri }, "withdraw"],
    ["AS_PATH overruns, NEXT_HOP is lost in it", { attributes: `${origin}4002ff02010000fde9`, nlri }, "withdraw"],
    ["it overruns without reachable NLRI", { attributes: `${mandatory}c00804ffff00` }, "reset"],
    ["MP_REACH_NLRI overruns", { attributes: `${mandatory}800eff000201`, nlri }, "reset"],
    ["MP_UNREACH_NLRI overruns", { attributes: `${mandatory}800f05000201`, nlri }, "reset"]
  ]
  for (const [name, parts, outcome] of cases) t.equal(judge(update(parts), external).outcome, outcome, name)
})

t.test("faults without reachable NLRI (RFC 7606 5.2)", async (t) => {
  const unreach = attribute(0x80, 15, "000201 2020010db8")
  const bad = attribute(0xc0, 8, "00")
  const cases: ReadonlyArray<readonly [string, UpdateParts, Outcome]> = [
    ["malformed attribute alone", { attributes: bad }, "reset"],
    ["with withdrawn routes", { attributes: mandatory + bad, withdrawn: nlri }, "reset"],
    ["with MP_UNREACH_NLRI", { attributes: unreach + bad }, "reset"],
    ["discard only", { attributes: unreach + attribute(0x40, 6, "00") }, "discard"],
    ["no fault", { attributes: unreach + mandatory }, "accept"],
    ["nothing is mandatory where nothing is announced", { attributes: origin, withdrawn: nlri }, "accept"],
    ["MP_REACH_NLRI without NLRI", { attributes: attribute(0x80, 14, `000201 10 20010db8${"00".repeat(12)} 00`) + bad }, "reset"]
  ]
  for (const [name, parts, outcome] of cases) t.equal(judge(update(parts), external).outcome, outcome, name)
})

t.test("lengths that are too large for the message (RFC 4271 6.3)", async (t) => {
  for (const [name, body] of [
    ["withdrawn routes", "0005 00000000"],
    ["withdrawn routes leave no room for a length", "0001 00 00"],
    ["attributes", "0000 0005 00000000"],
    ["attributes, most of all", "0000 ffff"]
  ] as const) {
    t.match(judge(message(2, body), external), { outcome: "reset", error: "3/1", data: "" }, name)
  }
})

t.test("NLRI that cannot be told apart (RFC 7606 5.3)", async (t) => {
  for (const bad of ["21 0a000000 00", "ff", "18 0a00", "08", "10 0a01 20 0a0000"]) {
    t.match(judge(update({ attributes: mandatory, nlri: bad }), external), { outcome: "reset", error: "3/10" }, `NLRI ${bad}`)
    t.match(judge(update({ withdrawn: bad }), external), { outcome: "reset", error: "3/10" }, `withdrawn ${bad}`)
  }
  for (const bad of ["000000", "00000001", "00000001 18 0a00"]) {
    t.match(judge(update({ attributes: mandatory, nlri: bad }), addPath), { outcome: "reset", error: "3/10" }, `add-path ${bad}`)
  }
})

t.test("MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 7606 5.3, 7.11, 7.12; RFC 4760 7)", async (t) => {
  const hop = `20010db8${"00".repeat(11)}01`
  const reach = (flags: number, value: string): string => attribute(flags, 14, value)
  const cases: ReadonlyArray<readonly [string, string, Outcome]> = [
    ["well-formed", reach(0x80, `000201 10 ${hop} 00 2020010db8`), "accept"],
    ["next hop with a link-local address", reach(0x80, `000201 20 ${hop} fe80${"00".repeat(13)}01 00 2020010db8`), "accept"],
    ["default route", reach(0x80, `000201 10 ${hop} 00 00`), "accept"],
    ["transitive", reach(0xc0, `000201 10 ${hop} 00 2020010db8`), "reset"],
    ["well-known", reach(0x00, `000201 10 ${hop} 00 2020010db8`), "reset"],
    ["of 4 octets", reach(0x80, "00020100"), "reset"],
    ["empty", reach(0x80, ""), "reset"],
    ["next hop of 9 octets", reach(0x80, "000201 09 20010db80000000000 00 4020010db800000001"), "reset"],
    ["next hop overruns", reach(0x80, `000201 40 ${hop} 00`), "reset"],
    ["next hop is cut", reach(0x80, "000201 10 20010db800000000"), "reset"],
    ["next hop of 0 octets", reach(0x80, "000201 00 00 2020010db8"), "reset"],
    ["next hop of 4 octets for IPv6", reach(0x80, "000201 04 c0000201 00 2020010db8"), "reset"],
    ["IPv4 with an IPv6 next hop that was not agreed upon", reach(0x80, `000101 10 ${hop} 00 100a01`), "reset"],
    ["prefix of 129 bits", reach(0x80, `000201 10 ${hop} 00 81${"00".repeat(17)}`), "reset"],
    ["prefix overruns", reach(0x80, `000201 10 ${hop} 00 4020010db8`), "reset"],
    ["next hop ::", reach(0x80, `000201 10 ${"00".repeat(16)} 00 2020010db8`), "withdraw"],
    ["next hop ::1", reach(0x80, `000201 10 ${"00".repeat(15)}01 00 2020010db8`), "withdraw"],
    ["next hop ff02::1", reach(0x80, `000201 10 ff02${"00".repeat(13)}01 00 2020010db8`), "withdraw"],
    ["a family that was not agreed upon, whatever is in it", reach(0x80, "000180 10 00"), "reset"],
    ["a family that was not agreed upon", reach(0x80, "000180 01 ff 00 ffff"), "accept"],
    ["EVPN, unknown type (RFC 7606 5.4)", reach(0x80, "001946 04 c0000201 00 ff 02 0000"), "accept"],
    ["EVPN, overrun", reach(0x80, "001946 04 c0000201 00 02 21 0000"), "reset"]
  ]
  for (const [name, octets, outcome] of cases) {
    const verdict = judge(update({ attributes: octets + origin + asPath }), external)
    t.equal(verdict.outcome, outcome, name)
    if (outcome === "reset") t.strictSame([verdict.error, verdict.data], ["3/9", octets.replace(/\s/g, "")], name)
  }
  t.equal(judge(update({ attributes: reach(0x80, `000101 10 ${hop} 00 00000007 100a01`) + origin + asPath }), addPath).outcome, "accept")
  for (const [name, octets] of [
    ["of 2 octets", attribute(0x80, 15, "0002")],
    ["transitive", attribute(0xc0, 15, "000201 2020010db8")],
    ["prefix overruns", attribute(0x80, 15, "000201 4020010db8")],
    ["prefix of 129 bits", attribute(0x80, 15, `000201 81${"00".repeat(17)}`)]
  ] as const) {
    t.match(judge(update({ attributes: octets }), external), { outcome: "reset", error: "3/9" }, `MP_UNREACH_NLRI ${name}`)
  }
})

t.test("End-of-RIB (RFC 4724 2)", async (t) => {
  const scan = new UpdateScan()
  const families: ReadonlyArray<readonly [Uint8Array, number]> = [
    [update({}), 0x0101],
    [update({ attributes: attribute(0x80, 15, "000201") }), 0x0201],
    [update({ attributes: attribute(0x90, 15, "001946") }), 0x1946],
    [update({ attributes: attribute(0x80, 15, "000101") }), 0x0101],
    [update({ attributes: attribute(0x80, 15, "000180") }), 0],
    [update({ attributes: attribute(0x80, 15, "000201 00") }), 0],
    [update({ withdrawn: "00" }), 0],
    [update({ attributes: attribute(0x80, 15, "000201") + origin }), 0]
  ]
  for (const [bytes, family] of families) {
    t.equal(scanUpdate(bytes, 0, bytes.length, external, scan), undefined)
    t.equal(scan.endOfRib, family, toHex(bytes))
  }
})
