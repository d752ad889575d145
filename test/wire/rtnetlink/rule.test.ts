import * as Rt from "netlink/dist/rt/structs.js"
import t from "tap"
import * as Rule from "../../../daemon/wire/rtnetlink/rule.ts"
import { captured, mistreats } from "./captured.ts"
import { read, write } from "./oracle.ts"

interface Says {
  readonly priority: number
  readonly src: string
  readonly srclen?: number
  readonly dst?: string
  readonly dstlen?: number
  readonly fwmark?: string
  readonly iif?: string
  readonly oif?: string
  readonly table: string
  readonly protocol: string
}

t.test("Rule.decode agrees with iproute2", async (t) => {
  const { found, says } = captured<Says>("rules")
  // IPv4's come first; priority 0 begins the next family.
  const second = says.findLastIndex(({ priority }) => priority === 0)
  const expected = says.map((rule, i): Rule.Rule => ({
    family: i < second ? "ipv4" : "ipv6",
    priority: rule.priority,
    table: Number(rule.table),
    protocol: Number(rule.protocol),
    ...(rule.iif === undefined ? {} : { iif: rule.iif }),
    ...(rule.oif === undefined ? {} : { oif: rule.oif }),
    ...(rule.fwmark === undefined ? {} : { fwmark: Number(rule.fwmark) }),
    ...(rule.dst === undefined ? {} : { to: `${rule.dst}/${rule.dstlen}` }),
    ...(rule.srclen === undefined ? {} : { from: `${rule.src}/${rule.srclen}` })
  }))
  t.same(found.map(({ body }) => Rule.decode(body)), expected)
  const full = expected.some(({ fwmark, oif, to }) => fwmark === 255 && oif === "eth1" && to === "192.0.2.0/24")
  t.ok(full, "the capture has one of everything")
})

t.test("Rule.decode reads what others write and passes over other families", async (t) => {
  const made = (family: number): Uint8Array =>
    write(Rt.formatRuleMessage, { kind: "rule", data: { family, table: 7, action: "toTbl" }, attrs: { priority: 9, iifname: "eth0" } })
  t.same(Rule.decode(made(10)), { family: "ipv6", priority: 9, table: 7, protocol: 0, iif: "eth0" })
  t.equal(Rule.decode(made(128)), undefined)
})

t.test("Rule.decode survives what no kernel sends", async (t) => t.equal(mistreats("rules", Rule.decode), undefined))

t.test("addRule and removeRule select by everything that the rule has", async (t) => {
  const rule: Rule.Rule = {
    family: "ipv4", priority: 100, from: "10.0.0.0/8", to: "192.0.2.0/24", iif: "eth0", oif: "eth1", fwmark: 255, table: 1000, protocol: 94
  }
  const attrs = {
    src: "0a000000", dst: "c0000200", iifname: "eth0", oifname: "eth1",
    priority: 100, fwmark: 255, fwmask: 0xffffffff, table: 1000, protocol: 94
  }
  const added = read("rule", (out) => Rule.addRule(out, rule))
  t.strictSame([added.type, added.flags], [32, 0x1 | 0x4 | 0x400 | 0x200])
  t.match(added.data, { family: 2, dstLen: 24, srcLen: 8, table: 0, action: "toTbl" })
  t.same(added.attrs, attrs)
  const removed = read("rule", (out) => Rule.removeRule(out, rule))
  t.equal(removed.type, 33)
  t.same(removed.attrs, attrs)
  t.same(read("rule", (out) => Rule.addRule(out, { family: "ipv6", priority: 1, table: 254, protocol: 94 })).attrs, {
    priority: 1, table: 254, protocol: 94
  })
})
