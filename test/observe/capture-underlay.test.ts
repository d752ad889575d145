/** The filter of a segment's tunnels, tried on packets by libpcap itself. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { tunnelFilter } from "../../daemon/observe/capture-underlay.ts"
import type { TunnelSpec } from "../../daemon/plan/resource.ts"
import * as Pcapng from "../../daemon/wire/pcapng.ts"

const vni = 0x123456
const tunnelOf = (encapsulation: TunnelSpec["encapsulation"], port: number): TunnelSpec => ({
  encapsulation,
  port,
  datapath: "auto",
  vteps: ["10.0.0.2"]
})

const be16 = (value: number): ReadonlyArray<number> => [value >> 8, value & 0xff]
const macs = (type: number): ReadonlyArray<number> => [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, ...be16(type)]
const ipv4 = (protocol: number, payload: ReadonlyArray<number>, { fragment = 0, options = 0 } = {}): ReadonlyArray<number> => {
  const header = [0x45 + options, 0, ...be16(20 + 4 * options + payload.length), 0, 1, ...be16(fragment), 64, protocol, 0, 0]
  return [...macs(0x0800), ...header, 10, 0, 0, 1, 10, 0, 0, 2, ...Array<number>(4 * options).fill(1), ...payload]
}
const ipv6 = (protocol: number, payload: ReadonlyArray<number>): ReadonlyArray<number> => [
  ...macs(0x86dd), 0x60, 0, 0, 0, ...be16(payload.length), protocol, 64, ...Array<number>(32).fill(0), ...payload
]
const udp = (port: number, payload: ReadonlyArray<number>): ReadonlyArray<number> => [
  ...be16(50_000), ...be16(port), ...be16(8 + payload.length), 0, 0, ...payload
]
const inner = Array<number>(60).fill(0xa5)
const vxlan = (id = vni): ReadonlyArray<number> => [8, 0, 0, 0, id >> 16, (id >> 8) & 0xff, id & 0xff, 0, ...inner]
const geneve = (id = vni, options = 0): ReadonlyArray<number> => [
  options, 0, 0x65, 0x58, id >> 16, (id >> 8) & 0xff, id & 0xff, 0, ...Array<number>(4 * options).fill(0), ...inner
]
const gre = (id = vni, flags = 0x20): ReadonlyArray<number> => [
  flags, 0, 0x65, 0x58, ...(flags & 0x80 ? [0, 0, 0, 0] : []), 0, id >> 16, (id >> 8) & 0xff, id & 0xff, ...inner
]

const packets: Readonly<Record<string, ReadonlyArray<number>>> = {
  "vxlan 4": ipv4(17, udp(4789, vxlan())),
  "vxlan 4 with IP options": ipv4(17, udp(4789, vxlan()), { options: 2 }),
  "vxlan 6": ipv6(17, udp(4789, vxlan())),
  "vxlan 4 of another segment": ipv4(17, udp(4789, vxlan(vni + 1))),
  "vxlan 6 of another segment": ipv6(17, udp(4789, vxlan(vni - 1))),
  "vxlan 4 on another port": ipv4(17, udp(4790, vxlan())),
  "vxlan 4, a later fragment": ipv4(17, udp(4789, vxlan()), { fragment: 185 }),
  "geneve 4": ipv4(17, udp(6081, geneve())),
  "geneve 4 with options": ipv4(17, udp(6081, geneve(vni, 3))),
  "geneve 6": ipv6(17, udp(6081, geneve())),
  "gre 4": ipv4(47, gre()),
  "gre 4 with IP options": ipv4(47, gre(), { options: 1 }),
  "gre 6": ipv6(47, gre()),
  "gre 4 of another segment": ipv4(47, gre(vni + 1)),
  "gre 4 without a key": ipv4(47, gre(vni, 0)),
  "gre 4 with a checksum": ipv4(47, gre(vni, 0xa0)),
  "TCP with the same octets": ipv4(6, udp(4789, vxlan())),
  ARP: [...macs(0x0806), ...Array<number>(46).fill(0)]
}

const hasTcpdump = spawnSync("tcpdump", ["--version"]).status === 0
const folder = mkdtempSync(join(tmpdir(), "weft-filter-"))
t.teardown(() => rmSync(folder, { recursive: true }))

/** Names of the packets that the expression lets through. */
const through = (expression: string): ReadonlyArray<string> => {
  const from = join(folder, "from.pcapng")
  const names = Object.keys(packets)
  const blocks = names.map((name, place): Pcapng.Packet => {
    const data = Uint8Array.from(packets[name]!)
    return { kind: "packet", interfaceId: 0, timestamp: BigInt(place) * 1_000_000n, originalLength: data.length, data }
  })
  const only = { kind: "interface", linkType: Pcapng.ethernet, snapLength: 65_535 } as const
  writeFileSync(from, Pcapng.encode({ kind: "section" }, only, ...blocks))
  const words = ["-tt", "-nn", "-r", from, expression]
  const lines = execFileSync("tcpdump", words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")
  // What tcpdump says about the inside stands in lines of their own.
  return lines.flatMap((line) => (/^\d+\./.test(line) ? names[Number.parseInt(line)]! : []))
}

t.test("tunnelFilter lets the packets of one segment through, and no others", { skip: hasTcpdump ? false : "no tcpdump" }, async (t) => {
  const filter = (kind: TunnelSpec["encapsulation"], port: number, more = ""): ReadonlyArray<string> =>
    through(tunnelFilter({ tunnel: tunnelOf(kind, port), vni }, more))
  t.strictSame(filter("vxlan", 4789), ["vxlan 4", "vxlan 4 with IP options", "vxlan 6"])
  t.strictSame(filter("vxlan", 4790), ["vxlan 4 on another port"])
  t.strictSame(filter("geneve", 6081), ["geneve 4", "geneve 4 with options", "geneve 6"])
  t.strictSame(filter("gre", 0), ["gre 4", "gre 4 with IP options", "gre 6"])
  t.strictSame(filter("vxlan", 4789, "ip6"), ["vxlan 6"], "what the user asks for is about the outer packet")
  t.strictSame(filter("vxlan", 4789, "ip or arp"), ["vxlan 4", "vxlan 4 with IP options"], "and never more than the tunnel")
})
