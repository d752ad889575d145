import t from "tap"
import * as Ip from "../../daemon/topology/ip.ts"

t.test("Ip.formatAddress is canonical (RFC 5952 4)", async (t) => {
  const vectors: ReadonlyArray<readonly [string, string]> = [
    ["10.0.0.1", "10.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:DB8::ABCD", "2001:db8::abcd"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"]
  ]
  for (const [text, canonical] of vectors) {
    const address = Ip.parseAddress(text)
    t.equal(address && Ip.formatAddress(address), canonical, text)
  }
})

t.test("Ip.parseAddress refuses what is ambiguous or wrong", async (t) => {
  const wrong = [
    "", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.-4", " 1.2.3.4", "0x1.2.3.4", ":", ":::", "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9", "::1::2", "12345::", "g::", "1:2:3:4:5:6:7:8::", "::1.2.3", "1.2.3.4::", "fe80::1%eth0", "1::2:3:4:5:6:7:8"
  ]
  for (const text of wrong) t.equal(Ip.parseAddress(text), undefined, JSON.stringify(text))
  for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/", "10.0.0.0/8/8"]) {
    t.equal(Ip.parsePrefix(text), undefined, text)
  }
})

const prefix = (text: string): Ip.Prefix => Ip.parsePrefix(text)!

t.test("Ip.usable leaves out network, broadcast and anycast addresses", async (t) => {
  const range = (text: string): string => {
    const { first, last } = Ip.usable(prefix(text))
    return [first, last].map((bits) => Ip.formatAddress({ ...prefix(text), bits })).join(" ")
  }
  t.equal(range("10.0.0.0/24"), "10.0.0.1 10.0.0.254")
  t.equal(range("10.0.0.0/30"), "10.0.0.1 10.0.0.2")
  t.equal(range("10.0.0.0/31"), "10.0.0.0 10.0.0.1", "RFC 3021")
  t.equal(range("10.0.0.7/32"), "10.0.0.7 10.0.0.7")
  t.equal(range("2001:db8::/126"), "2001:db8::1 2001:db8::3", "RFC 4291 2.6.1")
  t.equal(range("2001:db8::/127"), "2001:db8:: 2001:db8::1", "RFC 6164")
  t.equal(range("2001:db8::/64"), "2001:db8::1 2001:db8::ffff:ffff:ffff:ffff")
})

t.test("Ip.contains and Ip.network follow the prefix length", async (t) => {
  t.ok(Ip.contains(prefix("10.1.2.3/16"), Ip.parseAddress("10.1.255.255")!))
  t.notOk(Ip.contains(prefix("10.1.2.3/16"), Ip.parseAddress("10.2.0.0")!))
  t.notOk(Ip.contains(prefix("0.0.0.0/0"), Ip.parseAddress("::1")!), "families do not mix")
  t.equal(Ip.formatPrefix(Ip.network(prefix("10.1.2.3/20"))), "10.1.0.0/20")
  t.equal(Ip.formatPrefix(Ip.network(prefix("2001:db8:1:2::3/33"))), "2001:db8::/33")
})

t.test("Ip.isLinkLocal knows fe80::/10", async (t) => {
  t.ok(Ip.isLinkLocal(Ip.parseAddress("fe80::1")!))
  t.ok(Ip.isLinkLocal(Ip.parseAddress("febf::1")!))
  t.notOk(Ip.isLinkLocal(Ip.parseAddress("fec0::1")!))
  t.notOk(Ip.isLinkLocal(Ip.parseAddress("169.254.0.1")!), "IPv4 link-local addresses are ordinary here")
})
