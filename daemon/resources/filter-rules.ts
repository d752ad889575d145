/**
 * A filter as commands for nft: one table `inet weft-filter` in the node. Pure.
 *
 *     prerouting, output (after the kernel has looked the connection up)   the connection table's limit
 *     input, forward, output (filter)
 *         loopback and neighbour discovery pass
 *         overrides
 *         stateful: established passes, invalid is dropped
 *         rules
 *         stateful: ICMP errors about connections that were let through pass
 *         policy
 *
 * Forwarded packets are seen between the two halves of NAT: with the destination after port forwards, the source before
 * masquerading. Every rule counts what it matches in a named counter, so that counting survives no change of the rules but
 * can be read without parsing them.
 */
import type { NftObject } from "../linux/nftables.ts"
import { type FilterRule, type FilterSpec, type Hook, hooks, type IcmpType, protocols, type Service, type Verdict } from "../plan/filter.ts"
import { familyOf } from "../wire/ip.ts"
import { address, anyOf, type Expressions, match, meta } from "./nft-expressions.ts"

export const family = "inet"
export const table = "weft-filter"

const state = (right: string, op: "in" | "!=" = "in"): NftObject => match({ ct: { key: "state" } }, right, op)

/** nf_conntrack looks at packets at -200 (NF_IP_PRI_CONNTRACK); NAT rules come at -100. */
const afterTracking = -190

type Family = "ipv4" | "ipv6"

/** Families that a rule can match; `undefined`: both, without looking. */
const familiesOf = (rule: FilterRule): ReadonlyArray<Family | undefined> => {
  const sides = [rule.from, rule.to].filter((side) => side !== undefined)
  if (sides.length === 0) return [undefined]
  return (["ipv4", "ipv6"] as const).filter((one) => sides.every((side) => side.some((prefix) => familyOf(prefix) === one)))
}

const endpoints = (rule: FilterRule, wanted: Family | undefined): Expressions => {
  if (wanted === undefined) return []
  const of = (side: ReadonlyArray<string>) => side.filter((prefix) => familyOf(prefix) === wanted)
  return [
    ...(rule.from === undefined ? [] : [address("saddr", "==", of(rule.from))]),
    ...(rule.to === undefined ? [] : [address("daddr", "==", of(rule.to))])
  ]
}

const port = (text: string): unknown => {
  const [from, to] = text.split("-")
  return to === undefined ? Number(from) : { range: [Number(from), Number(to)] }
}

const icmp = (field: "type" | "code", right: string): NftObject => match({ payload: { protocol: "icmp", field } }, right)
const icmpv6 = (right: unknown): NftObject => match({ payload: { protocol: "icmpv6", field: "type" } }, right)

/** RFC 792 and RFC 4443: too-big is code 4 of unreachable in one and a type of its own in the other. */
const icmpTypes: Readonly<Record<IcmpType, { readonly ipv4: Expressions; readonly ipv6: Expressions }>> = {
  "echo-request": { ipv4: [icmp("type", "echo-request")], ipv6: [icmpv6("echo-request")] },
  "echo-reply": { ipv4: [icmp("type", "echo-reply")], ipv6: [icmpv6("echo-reply")] },
  unreachable: { ipv4: [icmp("type", "destination-unreachable")], ipv6: [icmpv6("destination-unreachable")] },
  "too-big": { ipv4: [icmp("type", "destination-unreachable"), icmp("code", "frag-needed")], ipv6: [icmpv6("packet-too-big")] },
  "time-exceeded": { ipv4: [icmp("type", "time-exceeded")], ipv6: [icmpv6("time-exceeded")] },
  redirect: { ipv4: [icmp("type", "redirect")], ipv6: [icmpv6("nd-redirect")] }
}

/** Ways to match a service: one for each family where they differ. */
const service = ({ answers, protocol, ports, type }: Service, wanted: Family | undefined): ReadonlyArray<Expressions> => {
  if (protocol === "icmp") {
    return (["ipv4", "ipv6"] as const)
      .filter((one) => wanted === undefined || wanted === one)
      .map((one) => (type === undefined ? [meta("l4proto", one === "ipv4" ? "icmp" : "ipv6-icmp")] : icmpTypes[type][one]))
  }
  if (ports !== undefined) return [[match({ payload: { protocol, field: answers === true ? "sport" : "dport" } }, anyOf(ports.map(port)))]]
  return [[meta("l4proto", protocols[protocol]!)]]
}

const resetTcp: NftObject = { reject: { type: "tcp reset" } }
const prohibit: NftObject = { reject: { type: "icmpx", expr: "admin-prohibited" } }

/** What a verdict comes to for packets that `matched` selects; `protocol` when that selects one only. */
const verdict = (action: Verdict, matched: Expressions, count: NftObject, protocol?: string): ReadonlyArray<Expressions> => {
  if (action !== "reject") return [[...matched, count, { [action]: null }]]
  if (protocol === "tcp") return [[...matched, count, resetTcp]]
  const other: Expressions = [...matched, count, prohibit]
  return protocol === undefined ? [[...matched, meta("l4proto", "tcp"), count, resetTcp], other] : [other]
}

const expressions = (rule: FilterRule, counter: string, stateful: boolean): ReadonlyArray<Expressions> => {
  const interfaces: Expressions = [
    ...(rule.in === undefined ? [] : [meta("iifname", anyOf(rule.in))]),
    ...(rule.out === undefined ? [] : [meta("oifname", anyOf(rule.out))])
  ]
  const count = { counter }
  return familiesOf(rule).flatMap((wanted) => {
    const who = [...interfaces, ...endpoints(rule, wanted)]
    // Errors about connections that were let through are ICMP's: only rules that name it are about them.
    if (rule.services.length === 0) return verdict(rule.action, [...who, ...(stateful ? [state("related", "!=")] : [])], count)
    return rule.services.flatMap((one) =>
      service(one, wanted).flatMap((what) => verdict(rule.action, [...who, ...what], count, one.protocol))
    )
  })
}

/** A counter of the table and what it counts. */
export interface Counted {
  readonly counter: string
  readonly hook?: Hook
  readonly what: string
  readonly action: Verdict
}

/** Every counter of the table, in the order in which packets meet them. */
export const counters = (spec: FilterSpec): ReadonlyArray<Counted> => [
  ...(spec.connections === undefined
    ? []
    : [{ counter: fullTable, what: `connection table full at ${spec.connections}`, action: "drop" as const }]),
  ...hooksOf(spec).flatMap((hook): ReadonlyArray<Counted> => [
    ...spec.overrides.flatMap((rule, index) => (rule.hook === hook ? [counted(rule, `override-${index + 1}`)] : [])),
    ...(isTracked(spec, hook) ? [{ counter: `${hook}-invalid`, hook, what: "belongs to no connection", action: "drop" as const }] : []),
    ...spec.rules.flatMap((rule, index) => (rule.hook === hook ? [counted(rule, `rule-${index + 1}`)] : [])),
    { counter: `${hook}-policy`, hook, what: `policy of ${hook}`, action: spec[hook] }
  ])
]

const fullTable = "table-full"

const counted = ({ name, hook, action }: FilterRule, counter: string): Counted => ({ counter, hook, what: name, action })

const all = ({ overrides, rules }: FilterSpec): ReadonlyArray<FilterRule> => [...overrides, ...rules]

/** Hooks at which there is something to decide. */
const hooksOf = (spec: FilterSpec): ReadonlyArray<Hook> =>
  hooks.filter((hook) => spec[hook] !== "accept" || all(spec).some((rule) => rule.hook === hook))

/** Connections matter where the topology decides something, not where only a fault does. */
const isTracked = (spec: FilterSpec, hook: Hook): boolean =>
  spec.stateful && (spec[hook] !== "accept" || spec.rules.some((rule) => rule.hook === hook))

/** RFC 4861 4: without these no IPv6 packet leaves the link. */
const discovery = { set: ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"] }

interface Rule {
  readonly expr: Expressions
  readonly comment?: string
}

const rulesOf = (spec: FilterSpec, hook: Hook): ReadonlyArray<Rule> => {
  const tracked = isTracked(spec, hook)
  const own = (rules: ReadonlyArray<FilterRule>, prefix: string, stateful: boolean): ReadonlyArray<Rule> =>
    rules.flatMap((rule, index) =>
      rule.hook === hook
        ? expressions(rule, `${prefix}-${index + 1}`, stateful).map((expr) => ({ expr, comment: rule.name.slice(0, longestComment) }))
        : []
    )
  const loopback = hook === "input" ? "iifname" : "oifname"
  const accept: NftObject = { accept: null }
  const always = hook === "forward" ? [] : [{ expr: [meta(loopback, "lo"), accept] }, { expr: [icmpv6(discovery), accept] }]
  const policy = { counter: `${hook}-policy` }
  return [
    ...always,
    ...own(spec.overrides, "override", false),
    ...(tracked ? [{ expr: [state("established"), { accept: null }] }] : []),
    ...(tracked ? [{ expr: [state("invalid"), { counter: `${hook}-invalid` }, { drop: null }] }] : []),
    ...own(spec.rules, "rule", tracked),
    ...(tracked ? [{ expr: [state("related"), { accept: null }] }] : []),
    ...(spec[hook] === "reject" ? verdict("reject", [], policy).map((expr) => ({ expr })) : [{ expr: [policy] }])
  ]
}

/** NFTNL_UDATA_COMMENT_MAXLEN, with its terminating zero. */
const longestComment = 127

/** The commands that replace the table. Adding it first lets `delete` succeed when it is not there. */
export const render = (spec: FilterSpec): ReadonlyArray<NftObject> => {
  const rule = (chain: string, { expr, comment }: Rule): NftObject =>
    ({ add: { rule: { family, table, chain, expr, ...(comment === undefined ? {} : { comment }) } } })
  const base = (name: string, hook: string, prio: number, policy: "accept" | "drop"): NftObject =>
    ({ add: { chain: { family, table, name, type: "filter", hook, prio, policy } } })
  const limited: ReadonlyArray<NftObject> = spec.connections === undefined ? [] : [
    { add: { chain: { family, table, name: fullTable } } },
    rule(fullTable, { expr: [state("new"), { "ct count": { val: spec.connections, inv: true } }, { counter: fullTable }, { drop: null }] }),
    ...["prerouting", "output"].flatMap((hook) => [
      base(`track-${hook}`, hook, afterTracking, "accept"),
      rule(`track-${hook}`, { expr: [{ jump: { target: fullTable } }] })
    ])
  ]
  return [
    ...remove,
    { add: { table: { family, name: table } } },
    ...counters(spec).map(({ counter }) => ({ add: { counter: { family, table, name: counter } } })),
    ...limited,
    ...hooksOf(spec).flatMap((hook) => [
      base(hook, hook, 0, spec[hook] === "accept" ? "accept" : "drop"),
      ...rulesOf(spec, hook).map((one) => rule(hook, one))
    ])
  ]
}

/** The commands that remove the table. */
export const remove: ReadonlyArray<NftObject> = [
  { add: { table: { family, name: table } } },
  { delete: { table: { family, name: table } } }
]
