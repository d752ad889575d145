/** Where neighbours next door are, by interfaces and their addresses. */
import t from "tap"
import { attachmentOf, concerns, isNextDoor } from "../../daemon/bgp/attachment.ts"
import type { LinkState, MonitorApi, Scope } from "../../daemon/bgp/fib/api.ts"
import { neighborOf } from "../root/bgp-session-harness.ts"

const scope: Scope = { name: "default", table: 254, ifnames: [] }
const red: Scope = { name: "red", table: 10, ifnames: ["red0"] }

/** What a namespace has: `[name, is it usable, addresses]`. */
const having = (...links: ReadonlyArray<readonly [string, boolean, ReadonlyArray<string>]>): MonitorApi => {
  const states = links.map(([name, isUsable], i): LinkState => ({ index: i + 1, name, mac: "", isUsable }))
  return {
    listen: () => () => {},
    link: (index) => states[index - 1],
    linkByName: (name) => states.find((link) => link.name === name),
    links: () => states,
    addresses: (index) => links[index - 1]?.[2] ?? [],
    belongs: ({ ifnames }, ifname) => (ifnames.length > 0 ? ifnames.includes(ifname) : !red.ifnames.includes(ifname)),
    isLocal: () => false,
    route: () => undefined,
    redistributable: () => [],
    close: () => {}
  }
}

const at = (address: string | undefined, ifname?: string) => ({ address, ifname })

t.test("attachmentOf", (t) => {
  const monitor = having(
    ["lo", true, ["127.0.0.1/8", "10.0.1.9/32"]],
    ["wide", true, ["10.0.0.1/8"]],
    ["left", true, ["10.0.1.1/24", "2001:db8::1/64", "fe80::1/64"]],
    ["dead", false, ["10.9.0.1/24"]],
    ["red0", true, ["10.7.0.1/24"]]
  )
  t.same(attachmentOf(monitor, scope, at("10.0.1.2")), { ifindex: 3, ifname: "left", address: "10.0.1.1" }, "the longest prefix")
  t.same(attachmentOf(monitor, scope, at("10.5.0.1")), { ifindex: 2, ifname: "wide", address: "10.0.0.1" })
  t.same(attachmentOf(monitor, scope, at("2001:db8::2")), { ifindex: 3, ifname: "left", address: "2001:db8::1" })
  t.same(attachmentOf(monitor, scope, at("fe80::2", "left")), { ifindex: 3, ifname: "left" })
  t.same(attachmentOf(monitor, scope, at(undefined, "left")), { ifindex: 3, ifname: "left" }, "unnumbered, nobody seen yet")
  t.same(attachmentOf(monitor, red, at("10.7.0.2")), { ifindex: 5, ifname: "red0", address: "10.7.0.1" })
  const nowhere = "no connected route to"
  t.equal(attachmentOf(monitor, red, at("10.0.1.2")), `${nowhere} 10.0.1.2: no interface has an address in its network`)
  t.equal(attachmentOf(monitor, scope, at("192.0.2.1")), `${nowhere} 192.0.2.1: no interface has an address in its network`)
  t.equal(attachmentOf(having(["l", false, ["10.0.1.1/24"]]), scope, at("10.0.1.2")), `${nowhere} 10.0.1.2: l is down or has no carrier`)
  const ours = attachmentOf(having(["l", true, ["10.0.1.1/24"]]), scope, at("10.0.1.1"))
  t.equal(ours, `${nowhere} 10.0.1.1: no interface has an address in its network`, "our own")
  t.equal(attachmentOf(monitor, scope, at("fe80::2", "dead")), `${nowhere} fe80::2: dead is down or has no carrier`)
  t.equal(attachmentOf(monitor, scope, at("fe80::2", "gone")), `${nowhere} fe80::2: there is no interface gone`)
  t.equal(attachmentOf(monitor, scope, at("fe80::2")), `${nowhere} fe80::2: a link-local address needs an interface`)
  t.ok(concerns(monitor, scope, at("10.0.1.2"), 3))
  t.ok(concerns(monitor, scope, at("10.9.0.2"), 4), "one that is down does, too")
  t.notOk(concerns(monitor, scope, at("10.0.1.2"), 4))
  t.notOk(concerns(monitor, scope, at("fe80::2", "left"), 4))
  t.notOk(concerns(monitor, scope, at("10.0.1.2"), 77), "one that is gone")
  t.end()
})

t.test("isNextDoor", (t) => {
  const remote = { kind: "address", address: "10.0.0.2" } as const
  const bfd = { minTxMs: 50, minRxMs: 50, multiplier: 3 }
  const external = neighborOf({ remote, remoteAs: 65002 })
  t.ok(isNextDoor(external, 65001))
  t.ok(isNextDoor(neighborOf({ remote, remoteAs: "external" }), 65001))
  t.ok(isNextDoor({ ...external, ttlSecurity: 1 }, 65001))
  t.notOk(isNextDoor({ ...external, ttlSecurity: 2 }, 65001))
  t.notOk(isNextDoor({ ...external, multihop: 2 }, 65001))
  t.notOk(isNextDoor(external, 65002), "internal: the way may be any")
  t.notOk(isNextDoor(neighborOf({ remote, remoteAs: "internal" }), 65001))
  t.ok(isNextDoor({ ...external, bfd: { ...bfd, multihop: false } }, 65002), "watched by BFD of one hop")
  t.notOk(isNextDoor({ ...external, bfd: { ...bfd, multihop: true } }, 65002))
  t.ok(isNextDoor(neighborOf({ remote: { kind: "interface", ifname: "eth0" }, remoteAs: "internal" }), 65001))
  t.end()
})
