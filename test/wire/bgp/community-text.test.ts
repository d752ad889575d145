import t from "tap"
import { parse, parsePattern } from "../../../daemon/wire/bgp/community-text.ts"

t.test("CommunityText.parsePattern reads every kind", async (t) => {
  t.same(parsePattern("65000:1"), { kind: "standard", high: 65000, low: 1 })
  t.same(parsePattern("no-export"), { kind: "standard", high: 65535, low: 0xff01 })
  t.same(parsePattern("*:666"), { kind: "standard", high: undefined, low: 666 })
  t.same(parsePattern("4200000000:1:*"), { kind: "large", parts: [4200000000, 1, undefined] })
  t.same(parsePattern("rt:65000:70000"), { kind: "extended", subtype: 2, type: 0, administrator: 65000, assigned: 70000 })
  t.same(parsePattern("soo:65536:7"), { kind: "extended", subtype: 3, type: 2, administrator: 65536, assigned: 7 })
  t.same(parsePattern("rt:10.0.0.1:7"), { kind: "extended", subtype: 2, type: 1, administrator: 0x0a000001, assigned: 7 })
  t.same(parsePattern("rt:*:7"), { kind: "extended", subtype: 2, type: undefined, administrator: undefined, assigned: 7 })
})

t.test("CommunityText.parsePattern refuses what is none", async (t) => {
  const wrong = [
    "", "1", "65536:1", "1:65536", "-1:1", "01:1", "1:2:3:4", "1:2:4294967296", "rt:1", "rt:65536:65536", "rt:10.0.0.1:65536",
    "rt:10.0.0.256:1", "no-exports", "toString", "x:y", "1 :2", "0x1:2"
  ]
  t.same(wrong.filter((text) => parsePattern(text) !== undefined), [])
})

t.test("CommunityText.parse takes no wildcards", async (t) => {
  t.equal(parse("65000:*"), undefined)
  t.same(parse("65000:1"), parsePattern("65000:1"))
})
