/**
 * NAT and MSS clamping of a node: one nftables table `inet weft` inside it, replaced as a whole in one transaction.
 *
 *     prerouting  (dstnat)   1:1 towards the private address, then port forwards
 *     postrouting (srcnat)   1:1 towards the public address, then masquerade
 *     forward     (mangle)   TCP MSS
 *
 * nft prints a rule in its own words, which differ between versions. So instead of comparing with what we asked for, the
 * digest of what nft lists right after we applied it is recorded; another digest later means that somebody changed it.
 */
import * as Netns from "../linux/netns.ts"
import * as Nftables from "../linux/nftables.ts"
import type { NftObject } from "../linux/nftables.ts"
import type { StepOf } from "../plan/diff.ts"
import type { NatSpec } from "../plan/resource.ts"
import { id } from "../plan/resource.ts"
import { familyOf } from "../wire/ip.ts"
import { asFailure, type Failure, type Failures, type Handler, inParallel } from "./handler.ts"
import type { Lab } from "./lab.ts"
import { address, digest, type Expressions, ipProtocol, meta } from "./nft-expressions.ts"

const family = "inet"
const table = "weft"
/** Processes of nft. */
const atOnce = 16

const oneToOneIn = (rule: NatSpec["oneToOne"][number]): Expressions => [
  ...(rule.on === undefined ? [] : [meta("iifname", rule.on)]),
  address("daddr", "==", [rule.public]),
  { dnat: { family: ipProtocol(rule.private), addr: rule.private } }
]

const oneToOneOut = (rule: NatSpec["oneToOne"][number]): Expressions => [
  ...(rule.on === undefined ? [] : [meta("oifname", rule.on)]),
  address("saddr", "==", [rule.private]),
  { snat: { family: ipProtocol(rule.public), addr: rule.public } }
]

const portForward = (rule: NatSpec["portForward"][number]): Expressions => [
  ...(rule.on === undefined ? [] : [meta("iifname", rule.on)]),
  rule.address === undefined
    ? { match: { op: "==", left: { fib: { result: "type", flags: ["daddr"] } }, right: "local" } }
    : address("daddr", "==", [rule.address]),
  { match: { op: "==", left: { payload: { protocol: rule.protocol, field: "dport" } }, right: rule.port } },
  { dnat: { family: ipProtocol(rule.to), addr: rule.to, port: rule.toPort } }
]

/** IPv4 unless `from` says otherwise: IPv6 is masqueraded only by those who ask for it. */
const masquerade = (rule: NatSpec["masquerade"][number]): ReadonlyArray<Expressions> => {
  const wanted = rule.from === undefined ? "ipv4" : familyOf(rule.from)
  const except = rule.exceptTo.filter((prefix) => familyOf(prefix) === wanted)
  const matched = [
    meta("oifname", rule.out),
    rule.from === undefined ? meta("nfproto", "ipv4") : address("saddr", "==", [rule.from]),
    ...(except.length === 0 ? [] : [address("daddr", "!=", except)])
  ]
  if (rule.ports === undefined) return [[...matched, { masquerade: null }]]
  const [from, to] = rule.ports.split("-").map(Number)
  // A range stands for ports only where the protocol has them.
  const limited = { masquerade: { port: from === to ? from : { range: [from, to] } } }
  return [[...matched, meta("l4proto", { set: ["tcp", "udp"] }), limited], [...matched, { masquerade: null }]]
}

const mssClamp = (rule: NatSpec["mssClamp"][number]): Expressions => [
  ...(rule.out === undefined ? [] : [meta("oifname", rule.out)]),
  { match: { op: "==", left: { "&": [{ payload: { protocol: "tcp", field: "flags" } }, ["syn", "rst"]] }, right: "syn" } },
  {
    mangle: {
      key: { "tcp option": { name: "maxseg", field: "size" } },
      value: rule.mss === "pmtu" ? { rt: { key: "mtu" } } : rule.mss
    }
  }
]

/** The commands that replace the table. Adding it first lets `delete` succeed when it is not there. */
export const render = (spec: NatSpec): ReadonlyArray<NftObject> => {
  const chain = (name: string, type: "nat" | "filter", prio: number): NftObject => ({
    add: { chain: { family, table, name, type, hook: name, prio, policy: "accept" } }
  })
  const rules = (name: string, list: ReadonlyArray<Expressions>): ReadonlyArray<NftObject> =>
    list.map((expr) => ({ add: { rule: { family, table, chain: name, expr } } }))
  return [
    { add: { table: { family, name: table } } },
    { delete: { table: { family, name: table } } },
    { add: { table: { family, name: table } } },
    chain("prerouting", "nat", -100),
    chain("postrouting", "nat", 100),
    chain("forward", "filter", -150),
    ...rules("prerouting", [...spec.oneToOne.map(oneToOneIn), ...spec.portForward.map(portForward)]),
    ...rules("postrouting", [...spec.oneToOne.map(oneToOneOut), ...spec.masquerade.flatMap(masquerade)]),
    ...rules("forward", spec.mssClamp.map(mssClamp))
  ]
}

const observe = async (lab: Lab): Promise<ReadonlyArray<readonly [string, NatSpec]>> => {
  const nodes = Array.from(lab.knownOf("nat"), ({ spec }) => spec.node).filter((node) => lab.snapshot.nodes.has(node))
  const found = await inParallel(atOnce, nodes, async (node): Promise<readonly [string, NatSpec] | undefined> => {
    const listing = await Nftables.listTable(Netns.nodeName(lab.name, node), family, table)
    if (listing === undefined) return undefined
    const record = lab.records.get(id.nat(node))
    if (record?.kind === "nat" && record.listing === digest(listing)) return [id.nat(node), record.spec]
    // Not as we left it: nothing of it is believed, all of it is replaced.
    return [id.nat(node), { node, masquerade: [], oneToOne: [], portForward: [], mssClamp: [] }]
  })
  return found.filter((one) => one !== undefined)
}

const apply = async (lab: Lab, step: StepOf<"nat">): Promise<Failure | undefined> => {
  const name = Netns.nodeName(lab.name, step.node)
  try {
    lab.records.delete(step.id)
    if (step.after === undefined) {
      await Nftables.apply(name, [{ add: { table: { family, name: table } } }, { delete: { table: { family, name: table } } }])
      return undefined
    }
    await Nftables.apply(name, render(step.after.spec))
    const listing = (await Nftables.listTable(name, family, table)) ?? []
    lab.records.set(step.id, { kind: "nat", spec: step.after.spec, listing: digest(listing) })
    return undefined
  } catch (error) {
    return asFailure(step.id, error)
  }
}

const applyAll = async (lab: Lab, steps: ReadonlyArray<StepOf<"nat">>): Promise<Failures> =>
  (await inParallel(atOnce, steps, (step) => apply(lab, step))).filter((failure) => failure !== undefined)

export const handler: Handler<"nat"> = { kind: "nat", observe, converge: applyAll, remove: applyAll }
