/** Tables of nftables over netlink: what is asked, and what the kernel answered. */
import t from "tap"
import { messages, Writer } from "../../daemon/wire/netlink.ts"
import { decodeTable, dumpTables } from "../../daemon/wire/nfnetlink.ts"

/** As Linux 6.18 answered for `add table inet weft`: name, flags, use, handle. */
const answer = Buffer.from(
  "3c000000000a020000000000b74f000001000002" + "0900010077656674000000000800030000000000" + "0c00040000000000000000010800020000000000",
  "hex"
)

t.test("dumpTables asks for all families", async (t) => {
  const out = new Writer()
  dumpTables(out)
  // 20 octets, NFT_MSG_GETTABLE of subsystem 10, REQUEST | ACK | DUMP, and an empty family header.
  t.equal(Buffer.from(out.finish()).toString("hex"), "14000000010a0503" + "0000000000000000" + "00000000")
})

t.test("decodeTable reads family and name", async (t) => {
  const [message] = messages(answer)
  t.same(decodeTable(message!), { family: "inet", name: "weft" })
  for (const [number, family] of [[2, "ip"], [3, "arp"], [5, "netdev"], [7, "bridge"], [10, "ip6"]] as const) {
    t.match(decodeTable({ ...message!, body: Uint8Array.from(message!.body, (octet, at) => (at === 0 ? number : octet)) }), { family })
  }
  t.equal(decodeTable({ ...message!, type: 16 }), undefined, "another message")
  const strange = Uint8Array.from(message!.body, (octet, at) => (at === 0 ? 99 : octet))
  t.equal(decodeTable({ ...message!, body: strange }), undefined, "a strange family")
})

t.test("what is cut short has no table, and nothing throws", async (t) => {
  const [message] = messages(answer)
  for (let length = 0; length < 8; length++) t.equal(decodeTable({ ...message!, body: message!.body.subarray(0, length) }), undefined)
})
