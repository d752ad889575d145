/**
 * `route-hijack`: a speaker originates a prefix that is somebody else's, or, more specific, the two halves of it, which win
 * everywhere. What is attracted ends in the hijacker, unless it has another way to the prefix.
 */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import * as Ip from "../../topology/ip.ts"
import { optional } from "../../topology/schema-parts.ts"
import { sessionProblems, speakers } from "../bgp.ts"
import { changeBgp, Nodes, PrefixText, prefixesOf } from "../edits.ts"
import { faultKind, type Problem } from "../kind.ts"
import { nodesOf } from "../targets.ts"

const Spec = Schema.Struct({
  node: Nodes,
  prefix: PrefixText,
  "more-specific": optional(Schema.Boolean.annotate({ description: "Originate the two halves of the prefix instead" }))
}).annotate({ expected: "a map with node and prefix" })
type Spec = typeof Spec.Type

const originated = (spec: Spec): ReadonlyArray<string> => prefixesOf(spec.prefix).flatMap((text) => {
  if (spec["more-specific"] !== true) return [text]
  const prefix = Ip.parsePrefix(text)!
  const length = prefix.length + 1
  const half = 1n << BigInt(Ip.width(prefix.family) - length)
  return [prefix.bits, prefix.bits + half].map((bits) => Ip.formatPrefix({ family: prefix.family, bits, length }))
})

const problems = (spec: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = sessionProblems(plan, { node: spec.node })
  if (wrong.length > 0) return wrong
  const isSingle = ({ family, length }: Ip.Prefix): boolean => length === Ip.hostLength(family)
  if (spec["more-specific"] === true && prefixesOf(spec.prefix).some((text) => isSingle(Ip.parsePrefix(text)!))) {
    return [{ path: ["more-specific"], message: `${spec.prefix} is a single address: there is nothing more specific` }]
  }
  const own = speakers(plan, spec.node).find(({ vrfs }) =>
    originated(spec).every((prefix) => vrfs[0]?.networks.some((one) => one.prefix === prefix))
  )
  return own === undefined ? [] : [{ path: ["prefix"], message: `${own.node} originates ${spec.prefix} already` }]
}

export const routeHijack = faultKind<Spec>({
  summary: "A speaker of BGP originates a prefix that is somebody else's, or its two halves",
  usage: "NODE PREFIX [more-specific=true]",
  words: ["node", "prefix"],
  schema: Spec,
  check: problems,
  title: (spec) => `${spec.node} originates ${originated(spec).join(" and ")}`,
  apply: (fault, plan) =>
    changeBgp(plan, nodesOf(plan, fault.node), (spec) => ({
      ...spec,
      vrfs: spec.vrfs.map((vrf, index) => {
        if (index > 0) return vrf
        const added = originated(fault).filter((prefix) => !vrf.networks.some((one) => one.prefix === prefix))
        return { ...vrf, networks: [...vrf.networks, ...added.map((prefix) => ({ prefix }))] }
      })
    }))
})
