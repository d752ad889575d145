/** `link-down`: a link is down, as if its cable were pulled, or without anybody being told. */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import { optional } from "../../topology/schema-parts.ts"
import { loseCarriers, portsOf, shutPorts } from "../cut.ts"
import { faultKind, type Problem } from "../kind.ts"
import { find, Link, linkProblems, linkTitle } from "../targets.ts"

/** What `flap` says of it, too. */
export const downFields = {
  link: Link,
  carrier: optional(Schema.Literals(["lost", "keep"]).annotate({
    description: "lost (unless given): the ends see it, as when a cable is pulled; keep: nobody is told, packets vanish"
  })),
  side: optional(Schema.Literals(["both", "near"]).annotate({
    description: "near: only the end that is named by NODE:IF loses its carrier; packets vanish both ways all the same"
  }))
} as const

const Spec = Schema.Struct(downFields).annotate({ expected: "a link, or a map with link" })
export type Down = typeof Spec.Type

export const downProblems = ({ carrier, link, side }: Down, plan: Plan): ReadonlyArray<Problem> => {
  const problems = linkProblems(plan, { link }, true)
  if (problems.length > 0 || side !== "near") return problems
  if (carrier === "keep") return [{ path: ["side"], message: 'says who loses the carrier, and with "carrier: keep" nobody does' }]
  if (find(plan, link)?.near !== undefined) return []
  return [{ path: ["side"], message: "the near end is known where the link is named by one of its ports, NODE:IF" }]
}

export const downTitle = ({ carrier, link, side }: Down, plan: Plan): string => {
  const how = carrier === "keep" ? "without a word" : side === "near" ? `and only ${link} sees it` : "carrier lost"
  return `link ${linkTitle(plan, link)} is down, ${how}`
}

/** The plan while it is down. */
export const takeDown = ({ carrier, link, side }: Down, plan: Plan): Plan => {
  const target = find(plan, link)
  if (target === undefined) return plan
  const ports = portsOf(target)
  const cut = shutPorts(plan, ports)
  if (carrier === "keep") return cut
  return loseCarriers(cut, new Set(side === "near" ? ports.filter((port) => port === target.near) : ports))
}

export const linkDown = faultKind<Down>({
  summary: "A link is down: as when its cable is pulled, or with carrier=keep without anybody being told",
  usage: "LINK|NODE:IF [carrier=lost|keep] [side=both|near]",
  words: ["link"],
  schema: Spec,
  check: downProblems,
  title: downTitle,
  apply: takeDown
})
