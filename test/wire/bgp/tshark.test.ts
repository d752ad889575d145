/** What tshark, an implementation of others, makes of messages that we wrote: all of it, and without complaint. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { encodeAttributes } from "../../../daemon/wire/bgp/attributes.ts"
import { makeContext } from "../../../daemon/wire/bgp/context.ts"
import { encodeKeepalive } from "../../../daemon/wire/bgp/header.ts"
import { Family } from "../../../daemon/wire/bgp/iana.ts"
import * as Notification from "../../../daemon/wire/bgp/notification.ts"
import * as Open from "../../../daemon/wire/bgp/open.ts"
import * as RouteRefresh from "../../../daemon/wire/bgp/route-refresh.ts"
import { encodeEndOfRib, UpdateWriter } from "../../../daemon/wire/bgp/update-writer.ts"
import * as Ip from "../../../daemon/wire/ip.ts"
import { hex } from "./build.ts"

const context = makeContext({ asn4: true, isExternal: false, families: Object.values(Family) })
const writer = new UpdateWriter(context)

const attributes = {
  origin: 0,
  asPath: [{ type: 2, asns: [4_200_000_000, 65001] }],
  nextHop: "192.0.2.1",
  med: 10,
  localPref: 100,
  atomicAggregate: true,
  aggregator: { asn: 65001, address: "192.0.2.7" },
  communities: [0xffffff01],
  extendedCommunities: [0x0002fde900000064n],
  largeCommunities: [(65001n << 64n) | (1n << 32n) | 2n],
  originatorId: 0xc0000203,
  clusterList: [1, 2],
  unknown: [{ flags: 0xe0, type: 35, value: hex("0000fde9") }]
}

const announce = (family: number, hop: Uint8Array | undefined, prefixes: ReadonlyArray<string>): Uint8Array => {
  const target = new Uint8Array(4096)
  writer.beginReach(target, 0, family, encodeAttributes(attributes, context, hop === undefined), hop)
  for (const prefix of prefixes) {
    const { address, length } = Ip.parsePrefix(prefix)!
    writer.addPrefix(0, length, address, 0)
  }
  return target.slice(0, writer.finish())
}

const withdraw = (family: number, prefix: string): Uint8Array => {
  const target = new Uint8Array(4096)
  const { address, length } = Ip.parsePrefix(prefix)!
  writer.beginWithdraw(target, 0, family)
  writer.addPrefix(0, length, address, 0)
  return target.slice(0, writer.finish())
}

const messages: ReadonlyArray<Uint8Array> = [
  Open.encode({
    asn: 4_200_000_000, holdTimeS: 90, bgpIdentifier: 0xc0000201,
    capabilities: [
      { kind: "multiprotocol", family: Family.ipv4Unicast },
      { kind: "routeRefresh" }, { kind: "enhancedRouteRefresh" }, { kind: "extendedMessage" },
      { kind: "extendedNextHop", entries: [{ family: Family.ipv4Unicast, nextHopAfi: 2 }] },
      {
        kind: "gracefulRestart", restarting: true, notification: false, restartTimeS: 120,
        families: [{ family: Family.ipv4Unicast, forwardingPreserved: true }]
      },
      { kind: "fourOctetAs", asn: 4_200_000_000 },
      { kind: "addPath", families: [{ family: Family.ipv4Unicast, receive: true, send: true }] },
      { kind: "fqdn", hostname: "leaf1", domain: "lab" }
    ]
  }),
  encodeKeepalive(),
  announce(Family.ipv4Unicast, undefined, ["10.1.0.0/16", "10.2.3.128/25"]),
  announce(Family.ipv6Unicast, hex(`20010db8${"00".repeat(11)}01`), ["2001:db8::/32", "::/0"]),
  announce(Family.ipv6Unicast, hex(`20010db8${"00".repeat(11)}01fe80${"00".repeat(13)}01`), ["2001:db8::/33"]),
  withdraw(Family.ipv4Unicast, "10.1.0.0/16"),
  withdraw(Family.ipv6Unicast, "2001:db8::/32"),
  encodeEndOfRib(Family.ipv4Unicast),
  encodeEndOfRib(Family.ipv6Unicast),
  RouteRefresh.encode({ family: Family.ipv4Unicast, subtype: 0 }),
  Notification.encode({ code: 6, subcode: 2, data: Notification.shutdownCommunication("maintenance") })
]

/** A pcap file of one TCP connection to port 179, a packet for each message. */
const pcap = (): Buffer => {
  const packets = messages.map((message, index) => {
    const sequence = messages.slice(0, index).reduce((sum, { length }) => sum + length, 1)
    const packet = Buffer.alloc(40 + message.length)
    packet.writeUInt8(0x45, 0)
    packet.writeUInt16BE(packet.length, 2)
    packet.set([64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 8)
    packet.writeUInt16BE(40000, 20)
    packet.writeUInt16BE(179, 22)
    packet.writeUInt32BE(sequence, 24)
    packet.set([0x50, 0x18, 0xff, 0xff], 32)
    packet.set(message, 40)
    const head = Buffer.alloc(16)
    head.writeUInt32LE(index, 0)
    head.writeUInt32LE(packet.length, 8)
    head.writeUInt32LE(packet.length, 12)
    return Buffer.concat([head, packet])
  })
  const head = Buffer.alloc(24)
  head.writeUInt32LE(0xa1b2c3d4, 0)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  head.writeUInt32LE(0x40000, 16)
  // LINKTYPE_RAW
  head.writeUInt32LE(101, 20)
  return Buffer.concat([head, ...packets])
}

const hasTshark = spawnSync("tshark", ["--version"]).error === undefined

t.test("tshark reads all messages and has no complaint", { skip: hasTshark ? false : "tshark is not installed" }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-bgp-"))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, "bgp.pcap")
  writeFileSync(path, pcap())
  const ask = (...options: string[]): string => {
    const words = ["-r", path, "-o", "bgp.asn_len:4", ...options]
    return execFileSync("tshark", words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
  }
  const fields = (name: string): string[] => ask("-T", "fields", "-e", name).split("\n").filter((line) => line !== "")
  t.strictSame(fields("bgp.type"), ["1", "4", "2", "2", "2", "2", "2", "2", "2", "5", "3"])
  t.equal(ask("-Y", "_ws.malformed || (bgp && _ws.expert.severity >= 0x600000)"), "", "nothing is malformed or suspicious")
  t.match(ask("-V", "-Y", "frame.number == 1"), /leaf1/)
  const announced = ask("-V", "-Y", "frame.number == 3")
  for (const words of ["10.1.0.0/16", "10.2.3.128/25", "4200000000 65001", "NO_EXPORT", "65001:1:2", "192.0.2.7"]) {
    t.match(announced, words)
  }
  t.match(ask("-V", "-Y", "frame.number == 5"), /fe80::1/)
  t.match(ask("-V", "-Y", "frame.number == 11"), /maintenance/)
})
