/** MRT: what bgpdump makes of our records, every kind written and read again, every truncation, damage. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { OctetWriter } from "../../daemon/wire/bgp/octet-writer.ts"
import * as Mrt from "../../daemon/wire/mrt.ts"
import { seeded } from "../random.ts"
import { attribute, hex, mandatory, nlri, toHex, update } from "./bgp/build.ts"

const session = { peerAsn: 65001, localAsn: 65000, interfaceIndex: 3, peerAddress: "192.0.2.1", localAddress: "192.0.2.2" }
const session6 = { ...session, peerAsn: 4_200_000_000, peerAddress: "2001:db8::1", localAddress: "2001:db8::2" }
const hop6 = hex(`20010db8${"00".repeat(11)}01`)
const attributes4 = hex(mandatory + attribute(0x80, 4, "0000000a") + attribute(0xc0, 8, "fde90007"))
const attributes6 = Uint8Array.of(...hex(attribute(0x40, 1, "00") + attribute(0x40, 2, "0201 0000fde9")), ...Mrt.abbreviatedMpReach(hop6))
const message = update({ attributes: mandatory, nlri })
const common = { session, asn4: true, isLocal: false, addPath: false, message }

const records: ReadonlyArray<Mrt.MrtRecord> = [
  {
    timestampS: 1_700_000_000,
    body: {
      kind: "peerIndexTable", collectorId: 0xc0000263, viewName: "lab", peers: [
        { bgpIdentifier: 0xc0000201, address: "192.0.2.1", asn: 65001 },
        { bgpIdentifier: 0xc0000202, address: "2001:db8::1", asn: 4_200_000_000 }
      ]
    }
  },
  {
    timestampS: 1_700_000_000,
    body: {
      kind: "rib", family: "ipv4", addPath: false, sequence: 0, prefix: "10.1.0.0/16",
      entries: [{ peerIndex: 0, originatedS: 1_600_000_000, attributes: attributes4 }]
    }
  },
  {
    timestampS: 1_700_000_000,
    body: {
      kind: "rib", family: "ipv6", addPath: false, sequence: 1, prefix: "2001:db8::/33",
      entries: [{ peerIndex: 1, originatedS: 1_600_000_000, attributes: attributes6 }]
    }
  },
  {
    timestampS: 1_700_000_001,
    body: {
      kind: "rib", family: "ipv4", addPath: true, sequence: 2, prefix: "0.0.0.0/0",
      entries: [7, 8].map((pathId) => ({ peerIndex: 0, originatedS: 1, pathId, attributes: attributes4 }))
    }
  },
  { timestampS: 1_700_000_002, body: { kind: "message", ...common } },
  { timestampS: 1_700_000_003, microseconds: 999_999, body: { kind: "message", ...common, session: session6 } },
  { timestampS: 1_700_000_003, body: { kind: "message", ...common, asn4: false } },
  ...[true, false].flatMap((asn4) => [true, false].map((isLocal) => (
    { timestampS: 4, body: { kind: "message" as const, ...common, asn4, isLocal, addPath: true } }
  ))),
  { timestampS: 1_700_000_004, body: { kind: "stateChange", session, asn4: true, from: 5, to: 6 } },
  { timestampS: 1_700_000_005, body: { kind: "stateChange", session, asn4: false, from: 6, to: 1 } },
  { timestampS: 1_700_000_006, body: { kind: "opaque", type: 48, subtype: 1, value: hex("010203") } }
]

/** The records from `at` on, as long as there are any. */
const readAll = (bytes: Uint8Array): ReadonlyArray<Mrt.MrtRecord> => {
  const found: Array<Mrt.MrtRecord> = []
  for (let at = 0; at < bytes.length;) {
    const decoded = Mrt.decode(bytes, at)
    if (!decoded.ok) throw new Error(`${decoded.error._tag} at ${at}`)
    found.push(decoded.value)
    at += decoded.length
  }
  return found
}

t.test("records are read as they were written, one behind the other", async (t) => {
  const out = new OctetWriter()
  for (const record of records) Mrt.encodeInto(record, out)
  // Messages are views: compare what they hold.
  const plain = (list: unknown): unknown =>
    JSON.parse(JSON.stringify(list, (_, value: unknown) => (value instanceof Uint8Array ? toHex(value) : value)))
  t.strictSame(plain(readAll(out.finish())), plain(records))
})

t.test("every truncation is told, and no truncated length is believed", async (t) => {
  for (const record of records) {
    const bytes = Mrt.encode(record)
    for (let length = 0; length < bytes.length; length++) {
      t.match(Mrt.decode(bytes.slice(0, length)), { ok: false, error: { _tag: "Truncated" } })
      if (length < Mrt.headerLength) continue
      const shorter = bytes.slice(0, length)
      new DataView(shorter.buffer).setUint32(8, length - Mrt.headerLength)
      // A message or an opaque value may have any length: all others are malformed.
      const decoded = Mrt.decode(shorter)
      if (decoded.ok) t.match(decoded.value.body.kind, /^(message|opaque)$/)
    }
  }
  const huge = Mrt.encode(records[0]!)
  huge[8] = 0xff
  t.match(Mrt.decode(huge), { ok: false, error: { _tag: "TooLong" } })
})

t.test("damaged records do no harm", async (t) => {
  const random = seeded(11)
  let accepted = 0
  for (let round = 0; round < 30_000; round++) {
    const bytes = Mrt.encode(random.pick(records))
    for (let hits = 1 + random.below(4); hits > 0; hits--) bytes[4 + random.below(bytes.length - 4)] = random.below(256)
    if (Mrt.decode(bytes).ok) accepted++
  }
  t.ok(accepted > 0 && accepted < 30_000)
})

t.test("next hops of RIB entries, in short and in full form", async (t) => {
  t.strictSame(Mrt.mpNextHopOf(attributes6), hop6)
  t.strictSame(Mrt.mpNextHopOf(hex(attribute(0x90, 14, `000201 10 ${toHex(hop6)} 00 00`))), hop6)
  t.equal(Mrt.mpNextHopOf(attributes4), undefined)
  t.equal(Mrt.mpNextHopOf(hex(attribute(0x80, 14, "20 2001"))), undefined)
})

const hasBgpdump = spawnSync("bgpdump", ["-h"]).error === undefined

t.test("bgpdump reads them", { skip: hasBgpdump ? false : "bgpdump is not installed" }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-mrt-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, "dump.mrt")
  // It knows no add-path RIBs of RFC 8050 and no local messages.
  const known = records.filter(({ body }) =>
    (body.kind === "rib" && !body.addPath) || body.kind === "peerIndexTable" || (body.kind === "message" && !body.addPath && body.asn4))
  const out = new OctetWriter()
  for (const record of known) Mrt.encodeInto(record, out)
  writeFileSync(path, out.finish())
  const lines = execFileSync("bgpdump", ["-m", path], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim().split("\n")
  t.strictSame(lines, [
    "TABLE_DUMP2|1700000000|B|192.0.2.1|65001|10.1.0.0/16|65001|IGP|192.0.2.1|0|10|65001:7|NAG||",
    "TABLE_DUMP2|1700000000|B|2001:db8::1|4200000000|2001:db8::/33|65001|IGP|2001:db8::1|0|0||NAG||",
    "BGP4MP|1700000002|A|192.0.2.1|65001|10.1.0.0/16|65001|IGP|192.0.2.1|0|0||NAG||",
    "BGP4MP_ET|1700000003.999999|A|2001:db8::1|4200000000|10.1.0.0/16|65001|IGP|192.0.2.1|0|0||NAG||"
  ])
})
