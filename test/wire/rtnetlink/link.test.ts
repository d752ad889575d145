import * as Rt from "netlink/dist/rt/structs.js"
import * as Base from "netlink/dist/structs.js"
import t from "tap"
import * as Link from "../../../daemon/wire/rtnetlink/link.ts"
import { captured, indexOf, mistreats } from "./captured.ts"
import { read, write } from "./oracle.ts"

const request = 0x1
const acknowledge = 0x4

interface Says {
  readonly ifindex: number
  readonly ifname: string
  readonly link?: string
  readonly flags: ReadonlyArray<string>
  readonly mtu: number
  readonly group: string
  readonly address: string
  readonly promiscuity: number
  readonly qdisc: string
  readonly altnames?: ReadonlyArray<string>
  readonly linkinfo?: { readonly info_kind: string }
}

t.test("Link.decode agrees with iproute2", async (t) => {
  const { found, says } = captured<Says>("links")
  const expected = says.map((link): Link.Link => ({
    index: link.ifindex,
    name: link.ifname,
    mac: link.address,
    mtu: link.mtu,
    up: link.flags.includes("UP"),
    carrier: link.flags.includes("LOWER_UP"),
    group: Number(link.group),
    kind: link.linkinfo?.info_kind ?? "",
    peer: link.link === undefined ? 0 : indexOf.get(link.link)!,
    altNames: link.altnames ?? [],
    promiscuity: link.promiscuity,
    arp: !link.flags.includes("NOARP"),
    qdisc: link.qdisc
  }))
  t.strictSame(found.map(({ body }) => Link.decode(body)), expected)
  t.ok(expected.some((link) => link.altNames.length === 2) && expected.some((link) => !link.up), "the capture has something to show")
})

t.test("Link.decode reads what others write", async (t) => {
  const body = write(Rt.formatLinkMessage, {
    kind: "link",
    data: { family: 0, type: 1, index: 70000, flags: { up: true }, change: {} },
    attrs: { ifname: "eth0", mtu: 9001, group: 77, promiscuity: 2, address: Buffer.from("025a00000001", "hex") }
  })
  t.match(Link.decode(body), {
    index: 70000, name: "eth0", mac: "02:5a:00:00:00:01", mtu: 9001, up: true, carrier: false, group: 77, promiscuity: 2
  })
})

t.test("Link.decode survives what no kernel sends", async (t) => t.equal(mistreats("links", Link.decode), undefined))

/** The attributes in a nested one by their types, all as hexadecimal. */
const nested = (hex: string): ReadonlyMap<number, string> => Base.getMap(Buffer.from(hex, "hex"), (value) => value.toString("hex"))

t.test("addVeth makes both ends, each with its name, address and namespace", async (t) => {
  const { type, flags, data, attrs } = read("link", (out) =>
    Link.addVeth(out, {
      local: { name: "r1.abcdefghij", index: 12, mtu: 1450 },
      peer: { name: "eth0", index: 2, mtu: 1450, mac: "02:5a:00:00:00:07" },
      peerNetns: 33,
      group: 5
    })
  )
  t.equal(type, 16)
  t.equal(flags, request | acknowledge | 0x400 | 0x200, "an existing interface of this name is an error")
  t.match(data, { index: 12 })
  t.notMatch(data, { flags: { up: true } }, "its qdisc comes first")
  t.match(attrs, { ifname: "r1.abcdefghij", mtu: 1450, group: 5, netNsFd: undefined, numTxQueues: 1, numRxQueues: 1 })
  const info = nested((attrs as { linkinfo: string }).linkinfo)
  t.equal(info.get(1), Buffer.from("veth\0").toString("hex"))
  const end = Rt.parseLinkMessage(Buffer.from(nested(info.get(2)!).get(1)!, "hex"))
  t.match(end.data, { index: 2 })
  t.notMatch(end.data, { flags: { up: true } }, "the kernel refuses to bring up the second end first")
  t.match(end.attrs, { ifname: "eth0", mtu: 1450, netNsFd: 33, numTxQueues: 1, numRxQueues: 1 })
  t.equal(end.attrs.address?.toString("hex"), "025a00000007")
})

t.test("setLink changes what it is told and nothing else", async (t) => {
  const change = (fields: Parameters<typeof Link.setLink>[2]) => read("link", (out) => Link.setLink(out, 9, fields))
  t.match(change({ up: true }), { type: 16, flags: request | acknowledge, data: { index: 9, flags: { up: true }, change: { up: true } } })
  const down = change({ up: false })
  t.match(down.data, { change: { up: true } })
  t.notMatch(down.data, { flags: { up: true } })
  const other = change({ mtu: 9000, mac: "02:00:00:00:00:01", group: 3 })
  t.strictSame(other.attrs, { mtu: 9000, address: "020000000001", group: 3 })
  t.notMatch(other.data, { change: { up: true } }, "an interface that is down stays down")
})

t.test("removeLink and removeGroup name what goes", async (t) => {
  t.match(read("link", (out) => Link.removeLink(out, 9)), { type: 17, data: { index: 9 }, attrs: {} })
  const { type, data, attrs } = read("link", (out) => Link.removeGroup(out, 0x7fff0001))
  t.equal(type, 17)
  t.match(data, { index: 0 })
  t.strictSame(attrs, { group: 0x7fff0001 })
})

t.test("addAltName puts the name in a list of properties", async (t) => {
  const { type, data, attrs } = read("link", (out) => Link.addAltName(out, 4, "weft.x"))
  t.equal(type, 108)
  t.match(data, { index: 4 })
  t.equal((attrs as { propList: string }).propList, "0b003500776566742e780000")
})
