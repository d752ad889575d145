/** UPDATEs as long as they may be, filled with whatever takes longest: all are decoded, none takes more than a moment. */
import t from "tap"
import { decodeBlock, encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import { makeContext } from "../../../daemon/wire/bgp/context.ts"
import { decodeAttributes, NlriSource, scanUpdate, UpdateScan } from "../../../daemon/wire/bgp/update.ts"
import { asPath, attribute, external, hex, mandatory, nextHop, nlri, old, origin, update } from "./build.ts"

const extended = makeContext({ asn4: true, isExternal: true, extendedMessage: true })
const room = 65535 - 19 - 4 - mandatory.length / 2 - nlri.length / 2

const octets = (count: number, value = "00"): string => value.repeat(count)

/** 1, 2, 3, ... of four octets each. */
const numbers = (count: number): string => Array.from({ length: count }, (_, i) => (i + 1).toString(16).padStart(8, "0")).join("")

/** The attributes of the longest UPDATE. */
const fillings: ReadonlyArray<readonly [string, string, number]> = [
  ["one unknown attribute", mandatory + attribute(0xc0, 99, octets(room - 4)), 0],
  ["20,000 times the same unknown attribute", mandatory + "c06300".repeat(Math.floor(room / 3)), 1],
  ["20,000 malformed attributes", mandatory + "c00800".repeat(Math.floor(room / 3)), 2],
  ["16,000 communities", mandatory + attribute(0xc0, 8, numbers(16_000)), 0],
  ["AS_PATH of 16,000 AS numbers", origin + attribute(0x40, 2, `02ff${octets(255, "0000fde9")}`.repeat(62)) + nextHop, 0],
  ["AS_PATH of 10,000 segments", origin + attribute(0x40, 2, octets(10_000, "02010000fde9")) + nextHop, 0],
  ["no attribute at all", `${mandatory}${octets(room)}`, 3]
]

for (const [name, attributes, severity] of fillings) {
  t.test(name, async (t) => {
    const bytes = update({ attributes, nlri })
    t.ok(bytes.length <= 65535 && bytes.length > 60_000, `${bytes.length} octets`)
    const scan = new UpdateScan()
    t.equal(scanUpdate(bytes, 0, bytes.length, extended, scan), undefined)
    const start = process.cpuUsage().user
    const decoded = decodeAttributes(bytes, scan, NlriSource.field, extended)
    const tookMs = (process.cpuUsage().user - start) / 1000
    t.ok(tookMs < 500, `${tookMs} ms`)
    t.equal(decoded.severity, severity)
    t.ok(decoded.faults.length <= 32, "faults are bounded")
    t.strictSame(decoded.faults.map((fault) => fault.severity), [...decoded.faults.map((fault) => fault.severity)].sort((a, b) => b - a))
    if (severity !== 0) return
    const block = encodeAttributes(decoded.attributes, extended, true)
    t.strictSame(decodeBlock(block, 0, block.length, extended, { hasReachable: true, needsNextHop: true }), decoded)
  })
}

t.test("paths of 2,500 AS numbers are merged as others are (RFC 6793 4.2.3)", async (t) => {
  const segments = (asn: string): string => `02fa${octets(250, asn)}`.repeat(10)
  const attributes = hex(attribute(0x40, 2, segments("5ba0")) + attribute(0xc0, 17, segments("00010001")))
  const decoded = decodeBlock(attributes, 0, attributes.length, old, { hasReachable: false, needsNextHop: false })
  t.strictSame(decoded.faults, [])
  t.equal(decoded.attributes.asPath.flatMap(({ asns }) => asns).filter((asn) => asn === 65537).length, 2500)
})

t.test("a NEXT_HOP beside MP_REACH_NLRI is not the next hop of its routes (RFC 4760 3)", async (t) => {
  const reach = attribute(0x80, 14, `000201 10 20010db8${octets(11)}01 00 2020010db8`)
  const bytes = update({ attributes: reach + origin + asPath + nextHop, nlri })
  const scan = new UpdateScan()
  t.equal(scanUpdate(bytes, 0, bytes.length, external, scan), undefined)
  t.equal(decodeAttributes(bytes, scan, NlriSource.mpReach, external).attributes.nextHop, "2001:db8::1")
  t.equal(decodeAttributes(bytes, scan, NlriSource.field, external).attributes.nextHop, "192.0.2.1")
})
