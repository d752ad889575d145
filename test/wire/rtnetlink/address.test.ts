import * as Rt from "netlink/dist/rt/structs.js"
import t from "tap"
import { Writer } from "../../../daemon/wire/netlink.ts"
import * as Address from "../../../daemon/wire/rtnetlink/address.ts"
import { captured, mistreats } from "./captured.ts"
import { read, write } from "./oracle.ts"

interface Says {
  readonly ifindex: number
  readonly addr_info: ReadonlyArray<{
    readonly local: string
    readonly prefixlen: number
    readonly scope: string
  }>
}

t.test("Address.decode agrees with iproute2", async (t) => {
  const { found, says } = captured<Says>("addresses")
  const expected = says.flatMap(({ ifindex, addr_info }) =>
    addr_info.map(({ local, prefixlen, scope }) => ({ index: ifindex, address: `${local}/${prefixlen}`, scope: Number(scope) }))
  )
  const byText = (a: { address: string }, b: { address: string }): number => (a.address < b.address ? -1 : 1)
  const decoded = found.map(({ body }) => Address.decode(body)).map(({ index, address, scope }) => ({ index, address, scope }))
  t.strictSame(decoded.sort(byText), expected.sort(byText))
  t.ok(expected.some(({ address }) => address === "10.9.0.1/32"), "of a pair with a peer, the interface's own")
  const protocols = new Map(found.map(({ body }) => Address.decode(body)).map(({ address, protocol }) => [address, protocol]))
  t.match([protocols.get("::1/128"), protocols.get("fe80::5a:ff:fe00:7/64"), protocols.get("10.0.0.1/24")], [1, 3, 0], "who made it")
  t.ok(found.every(({ body }) => Address.decode(body).permanent), "none of these has a lifetime")
})

t.test("Address.decode reads what others write", async (t) => {
  const body = write(Rt.formatAddressMessage, {
    kind: "address",
    data: { family: 10, prefixlen: 127, scope: 253, index: 70000 },
    attrs: { address: Buffer.from("fe80000000000000000000000000000a", "hex") }
  })
  t.strictSame(Address.decode(body), { index: 70000, address: "fe80::a/127", scope: 253, protocol: 0, permanent: false })
})

t.test("Address.decode survives what no kernel sends", async (t) => t.equal(mistreats("addresses", Address.decode), undefined))

t.test("addAddress names the broadcast address of IPv4 subnets that have one", async (t) => {
  const cases: ReadonlyArray<readonly [string, string | undefined]> = [
    ["10.1.2.3/24", "0a0102ff"],
    ["10.1.2.3/8", "0affffff"],
    ["10.1.2.3/20", "0a010fff"],
    ["10.1.2.1/30", "0a010203"],
    ["10.1.2.3/0", "ffffffff"],
    ["10.1.2.0/31", undefined],
    ["10.1.2.3/32", undefined]
  ]
  for (const [text, broadcast] of cases) {
    const { type, flags, data, attrs } = read("address", (out) => Address.addAddress(out, 7, text, 0))
    t.strictSame([type, flags], [20, 0x1 | 0x4 | 0x400 | 0x100])
    t.match(data, { family: 2, prefixlen: Number(text.split("/")[1]), index: 7, scope: 0 })
    t.equal((attrs as { broadcast?: string }).broadcast, broadcast, text)
  }
})

t.test("addAddress makes IPv6 addresses usable at once", async (t) => {
  const { data, attrs } = read("address", (out) => Address.addAddress(out, 7, "2001:db8::1/64", 94))
  t.match(data, { family: 10, prefixlen: 64, flags: { nodad: true }, index: 7 })
  const octets = "20010db8000000000000000000000001"
  t.match(attrs, { local: octets, address: octets, broadcast: undefined })
  // IFA_PROTO is newer than the package.
  const out = new Writer()
  Address.addAddress(out, 7, "2001:db8::1/64", 94)
  t.match(Buffer.from(out.finish()).toString("hex"), /05000b005e000000$/)
})

t.test("removeAddress names the address with its length", async (t) => {
  const { type, data, attrs } = read("address", (out) => Address.removeAddress(out, 7, "10.1.2.3/24"))
  t.equal(type, 21)
  t.match(data, { family: 2, prefixlen: 24, index: 7 })
  t.strictSame(attrs, { local: "0a010203", address: "0a010203" })
})
