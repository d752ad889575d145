/**
 * rtnetlink: policy routing rules (include/uapi/linux/fib_rules.h, ip-rule(8)).
 *
 *     fib_rule_hdr: family (1) dst_len (1) src_len (1) tos (1) table (1) res (1) res (1) action (1) flags (4)
 */
import { format, parsePrefix, type Family } from "../ip.ts"
import { attributes, Flag, text, u32, u8, type Writer } from "../netlink.ts"
import { familyName, familyNumber } from "./family.ts"

const RTM_NEWRULE = 32
const RTM_DELRULE = 33
const RTM_GETRULE = 34

const FRA_DST = 1
const FRA_SRC = 2
const FRA_IIFNAME = 3
const FRA_PRIORITY = 6
const FRA_FWMARK = 10
const FRA_TABLE = 15
const FRA_FWMASK = 16
const FRA_OIFNAME = 17
const FRA_PROTOCOL = 21
const FR_ACT_TO_TBL = 1
const headerLength = 12

export interface Rule {
  readonly family: Family
  readonly priority: number
  readonly from?: string
  readonly to?: string
  readonly iif?: string
  readonly oif?: string
  readonly fwmark?: number
  readonly table: number
  readonly protocol: number
  /** FR_ACT_*; absent: it looks the table up. */
  readonly action?: number
}

const write = (out: Writer, message: number, flags: number, rule: Rule): number => {
  const from = rule.from === undefined ? undefined : parsePrefix(rule.from)!
  const to = rule.to === undefined ? undefined : parsePrefix(rule.to)!
  const sequence = out.begin(message, flags)
  out.u8(familyNumber(rule.family))
  out.u8(to?.length ?? 0)
  out.u8(from?.length ?? 0)
  out.u8(0)
  out.u8(rule.table < 256 ? rule.table : 0)
  out.u8(0)
  out.u8(0)
  out.u8(rule.action ?? FR_ACT_TO_TBL)
  out.u32(0)
  if (to !== undefined) out.attribute(FRA_DST, to.address)
  if (from !== undefined) out.attribute(FRA_SRC, from.address)
  if (rule.iif !== undefined) out.attributeText(FRA_IIFNAME, rule.iif)
  if (rule.oif !== undefined) out.attributeText(FRA_OIFNAME, rule.oif)
  out.attributeU32(FRA_PRIORITY, rule.priority)
  if (rule.fwmark !== undefined) {
    out.attributeU32(FRA_FWMARK, rule.fwmark)
    out.attributeU32(FRA_FWMASK, 0xffffffff)
  }
  out.attributeU32(FRA_TABLE, rule.table)
  out.attributeU8(FRA_PROTOCOL, rule.protocol)
  out.end()
  return sequence
}

export const addRule = (out: Writer, rule: Rule): number => write(out, RTM_NEWRULE, Flag.create | Flag.exclusive, rule)

export const removeRule = (out: Writer, rule: Rule): number => write(out, RTM_DELRULE, 0, rule)

export const dumpRules = (out: Writer, family: Family): void => {
  out.begin(RTM_GETRULE, Flag.dump)
  out.u8(familyNumber(family))
  for (let i = 0; i < headerLength - 1; i++) out.u8(0)
  out.end()
}

/** The rule of a RTM_NEWRULE body; undefined for what is neither IPv4 nor IPv6. */
export const decode = (body: Uint8Array): Rule | undefined => {
  const family = familyName(u8(body))
  if (family === undefined) return undefined
  const rule: { -readonly [K in keyof Rule]: Rule[K] } = { family, priority: 0, table: u8(body, 4), protocol: 0 }
  const action = u8(body, 7)
  if (action !== FR_ACT_TO_TBL) rule.action = action
  attributes(body, headerLength, (type, value) => {
    if (type === FRA_DST) rule.to = `${format(value)}/${u8(body, 1)}`
    else if (type === FRA_SRC) rule.from = `${format(value)}/${u8(body, 2)}`
    else if (type === FRA_IIFNAME) rule.iif = text(value)
    else if (type === FRA_OIFNAME) rule.oif = text(value)
    else if (type === FRA_PRIORITY) rule.priority = u32(value)
    else if (type === FRA_FWMARK) rule.fwmark = u32(value)
    else if (type === FRA_TABLE) rule.table = u32(value)
    else if (type === FRA_PROTOCOL) rule.protocol = u8(value)
  })
  return rule
}
