import { isIP, SocketAddress } from "node:net"
import t from "tap"
import * as Ip from "../../daemon/wire/ip.ts"
import { seeded } from "../random.ts"

const hex = (octets: Uint8Array | undefined): string | undefined => octets && Buffer.from(octets).toString("hex")

t.test("Ip.parse reads addresses octet by octet (RFC 4291 2.2)", async (t) => {
  const vectors: ReadonlyArray<readonly [string, string]> = [
    ["192.0.2.33", "c0000221"],
    ["0.0.0.0", "00000000"],
    ["ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcdef0123456789abcdef0123456789"],
    ["2001:DB8:0:0:8:800:200C:417A", "20010db80000000000080800200c417a"],
    ["FF01::101", "ff010000000000000000000000000101"],
    ["::", "00".repeat(16)],
    ["0:0:0:0:0:FFFF:129.144.52.38", "00000000000000000000ffff81903426"],
    ["::13.1.68.3", "0000000000000000000000000d014403"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"]
  ]
  for (const [text, octets] of vectors) t.equal(hex(Ip.parse(text)), octets, text)
})

t.test("Ip.parse refuses exactly what is no address", async (t) => {
  const pieces = ["0", "1", "255", "256", "01", "ffff", "g", "12345", ".", ":", "::", ".", ":", "1.2.3.4", "1:2:3", "-1", " ", ""]
  const random = seeded(4291)
  let good = 0
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: 1 + random.below(9) }, () => random.pick(pieces)).join("")
    const octets = Ip.parse(text)
    // Node's own parser is the reference (inet_pton and its rules), which likewise refuses octal.
    if ((octets?.length === 4 ? 4 : octets?.length === 16 ? 6 : 0) !== isIP(text)) return t.fail(`${JSON.stringify(text)}: ${hex(octets)}`)
    if (octets !== undefined) good++
  }
  t.ok(good > 100, `${good} addresses among them`)
  t.equal(Ip.parse("fe80::1%eth0"), undefined, "zones are not supported")
  t.equal(Ip.parse(":1".repeat(1e6)), undefined, "length alone is no work")
})

t.test("Ip.format writes canonically and Ip.parse reads it back", async (t) => {
  const random = seeded(5952)
  for (let i = 0; i < 2000; i++) {
    const octets = random.octets(random.below(4) === 0 ? 4 : 16)
    // Many zero groups, where the rules are.
    for (let at = 0; at + 1 < octets.length; at += 2) if (random.below(2) === 0) octets[at] = octets[at + 1] = 0
    const text = Ip.format(octets)
    if (hex(Ip.parse(text)) !== hex(octets)) return t.fail(`${hex(octets)} became ${text}`)
    if (octets.length === 4 || octets.subarray(0, 10).every((octet) => octet === 0)) continue
    // Node asks the C library (inet_ntop), whose text is canonical but for IPv4 in IPv6.
    const canonical = new SocketAddress({ family: "ipv6", address: text }).address
    if (canonical !== text) return t.fail(`${text} instead of ${canonical}`)
  }
  t.equal(Ip.format(Ip.parse("2001:db8:0:0:1:0:0:1")!), "2001:db8::1:0:0:1", "RFC 5952 4.2.3: the first of equal runs")
  t.equal(Ip.format(Ip.parse("2001:db8:0:1:1:1:1:1")!), "2001:db8:0:1:1:1:1:1", "4.2.2: one group is no run")
  t.equal(Ip.format(new Uint8Array(7)), "")
})

t.test("Ip.parsePrefix keeps host bits and bounds the length", async (t) => {
  t.match(Ip.parsePrefix("10.1.2.3/20"), { address: Uint8Array.of(10, 1, 2, 3), length: 20 })
  t.equal(Ip.parsePrefix("::/128")?.length, 128)
  const wrong = ["10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/+8", "10.0.0.0/8 "]
  for (const text of wrong) t.equal(Ip.parsePrefix(text), undefined, text)
})

t.test("Ip.parseMac and Ip.formatMac are inverse and strict", async (t) => {
  t.equal(Ip.formatMac(Ip.parseMac("02:5A:00:0f:Ff:10")!), "02:5a:00:0f:ff:10")
  for (const text of ["", "02:5a:00:00:00", "02:5a:00:00:00:00:00", "2:5a:00:00:00:00", "02-5a-00-00-00-00", "02:5g:00:00:00:00"]) {
    t.equal(Ip.parseMac(text), undefined, text)
  }
})
