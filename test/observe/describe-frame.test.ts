import { readFileSync } from "node:fs"
import t from "tap"
import { describeFrame } from "../../daemon/observe/describe-frame.ts"
import { linesOf } from "../../daemon/observe/packet-line.ts"
import * as Pcapng from "../../daemon/wire/pcapng.ts"
import { seeded } from "../random.ts"

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))

const macs = "02000000000b 02000000000a"
const arp = (operation: string, target: string): string => `0806 0001 0800 06 04 ${operation} 02000000000a 0a000001 ${target}`
/** From 10.0.0.1 to 10.0.0.2; `fragment`: flags and offset. */
const ipv4 = (protocol: string, length: string, payload: string, fragment = "0000"): string =>
  `${macs} 0800 45 00 ${length} 0001 ${fragment} 40 ${protocol} 0000 0a000001 0a000002 ${payload}`
/** From 2001:db8::1 to 2001:db8::2. */
const ipv6 = (next: string, length: string, payload: string): string =>
  `${macs} 86dd 60000000 ${length} ${next} 40 20010db8${"0".repeat(23)}1 20010db8${"0".repeat(23)}2 ${payload}`

const frames: ReadonlyArray<readonly [hex: string, words: string]> = [
  [`${macs} ${arp("0001", "000000000000 0a000002")}`, "ARP who has 10.0.0.2? tell 10.0.0.1"],
  [`${macs} ${arp("0001", "000000000000 0a000001")}`, "ARP 10.0.0.1 announces itself"],
  [`${macs} ${arp("0002", "02000000000b 0a000002")}`, "ARP 10.0.0.1 is at 02:00:00:00:00:0a"],
  [ipv4("01", "0054", "08 00 0000 1234 0007"), "10.0.0.1 > 10.0.0.2 ICMP echo request id 4660 seq 7"],
  [ipv4("01", "0038", "03 04 0000 0000 05dc"), "10.0.0.1 > 10.0.0.2 ICMP too big, MTU 1500"],
  [ipv4("01", "0038", "0b 00 0000 00000000"), "10.0.0.1 > 10.0.0.2 ICMP time to live exceeded"],
  [ipv4("11", "0030", "0035 1267 001c 0000"), "10.0.0.1:53 > 10.0.0.2:4711 UDP 20"],
  [ipv4("11", "05dc", "0000", "20b9"), "10.0.0.1 > 10.0.0.2 UDP fragment at 1480, 1480"],
  [
    ipv4("06", "0030", "1267 0050 00000001 00000002 50 12 fa00 0000 0000 0102030405060708"),
    "10.0.0.1:4711 > 10.0.0.2:80 TCP SYN ACK seq 1 ack 2 win 64000, 8"
  ],
  [ipv4("59", "0040", ""), "10.0.0.1 > 10.0.0.2 OSPF, 44"],
  [ipv4("fd", "0040", ""), "10.0.0.1 > 10.0.0.2 protocol 253, 44"],
  [ipv4("06", "0028", "1267"), "10.0.0.1 > 10.0.0.2 TCP [cut]"],
  [ipv6("3a", "0040", "80 00 0000 0001 0002"), "2001:db8::1 > 2001:db8::2 ICMPv6 echo request id 1 seq 2"],
  [ipv6("3a", "0020", `87 00 0000 00000000 20010db8${"0".repeat(23)}9`), "2001:db8::1 > 2001:db8::2 ICMPv6 who has 2001:db8::9?"],
  [ipv6("3a", "0020", "02 00 0000 00000500"), "2001:db8::1 > 2001:db8::2 ICMPv6 too big, MTU 1280"],
  [
    ipv6("06", "0014", "1267 00b3 0000000a 00000000 50 02 fa00 0000 0000"),
    "[2001:db8::1]:4711 > [2001:db8::2]:179 TCP SYN seq 10 win 64000, 0"
  ],
  [ipv6("00", "0010", "3a 00 0502 0000 0100 8f 00 0000 00000000"), "2001:db8::1 > 2001:db8::2 ICMPv6 listener report"],
  [ipv6("2c", "0100", "11 00 0058 00000001 ffff"), "2001:db8::1 > 2001:db8::2 UDP fragment at 88, 248"],
  [`${macs} 8100 0064 ${arp("0002", "02000000000b 0a000002")}`, "vlan 100 ARP 10.0.0.1 is at 02:00:00:00:00:0a"],
  [`0180c200000e 02000000000a 88cc 0207`, "02:00:00:00:00:0a LLDP"],
  [`0180c2000002 02000000000a 8809 01`, "02:00:00:00:00:0a LACP"],
  [`0180c2000000 02000000000a 0026 4242 03`, "02:00:00:00:00:0a STP"],
  [`${macs} 88b5 00`, "02:00:00:00:00:0a > 02:00:00:00:00:0b ethertype 0x88b5"],
  [macs, "[cut]"]
]

t.test("describeFrame names what people look for", async (t) => {
  for (const [hex, words] of frames) t.equal(describeFrame(octets(hex)), words)
})

t.test("describeFrame has words for any octets", async (t) => {
  const random = seeded(11)
  for (const [hex] of frames) {
    const whole = octets(hex)
    for (let length = 0; length <= whole.length; length++) describeFrame(whole.subarray(0, length))
    for (let round = 0; round < 500; round++) {
      const damaged = whole.slice()
      for (let hits = 1 + random.below(4); hits > 0; hits--) damaged[random.below(damaged.length)] = random.below(256)
      const words = describeFrame(damaged)
      if (!/^[ -~]+$/.test(words) || words.includes("undefined") || words.includes("NaN")) t.fail(words)
    }
  }
  t.match(describeFrame(random.octets(2000)), /./)
})

t.test("linesOf has one line for each packet that dumpcap has recorded", async (t) => {
  const file = readFileSync(new URL("../vectors/pcapng.json", import.meta.url), "utf8")
  const [, dumpcap] = JSON.parse(file) as ReadonlyArray<{ readonly octets: string }>
  const lines = linesOf()(octets(dumpcap!.octets)).split("\n")
  t.match(lines[0], /^\d\d:\d\d:40\.497712  eth0  \?    10\.77\.0\.1 > 10\.77\.0\.2 ICMP echo request id 13649 seq 1  \(98\)$/)
  t.match(lines[1], /10\.77\.0\.2 > 10\.77\.0\.1 ICMP echo reply id 13649 seq 1  \(98\)$/)
  t.equal(lines.length, 3)
})

t.test("linesOf names the lab where there are several, and lines names up", async (t) => {
  const port = (name: string): Pcapng.Interface => ({ kind: "interface", linkType: 1, snapLength: 0, name, timestampResolution: 9 })
  const packet = (interfaceId: number): Pcapng.Packet => ({
    kind: "packet",
    interfaceId,
    timestamp: 1_000_000_000n,
    originalLength: 60,
    data: octets(frames[0]![0]),
    direction: "inbound"
  })
  const names = (...ports: ReadonlyArray<string>) => {
    const print = linesOf()
    t.equal(print(Pcapng.encode({ kind: "section" }, ...ports.map(port))), "")
    return print(Pcapng.encode(packet(0), packet(1))).trim().split("\n").map((line) => line.slice(17, line.indexOf("  in ")))
  }
  t.strictSame(names("x/a:eth0", "x/router:eth0"), ["a:eth0     ", "router:eth0"])
  t.strictSame(names("x/a:eth0", "y/a:eth0"), ["x/a:eth0", "y/a:eth0"])
})
