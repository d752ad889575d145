/**
 * `mtu`: a link takes only short packets. As a black hole (unless `icmp: true`): longer ones vanish in the data path and nobody is
 * told, as in a provider's tunnel whose ICMP is filtered. With `icmp`: the interfaces at its ends know, so hosts send
 * shorter packets and routers answer with packet too big (RFC 1191, RFC 8201).
 */
import { Schema } from "effect"
import type { Plan } from "../../plan/resource.ts"
import { integer, optional } from "../../topology/schema-parts.ts"
import { closeGates, portsOf } from "../cut.ts"
import { faultKind, type Problem } from "../kind.ts"
import { find, Link, linkProblems, linkTitle } from "../targets.ts"

/** RFC 8200 5: with less there is no IPv6 on an interface. */
const ipv6Least = 1280
const least = 68

const Spec = Schema.Struct({
  link: Link,
  value: integer(least, 65_521, "Octets of the longest packet, from its IP header on"),
  icmp: optional(Schema.Boolean.annotate({ description: "The ends know, and routers answer with packet too big; false: a black hole" }))
}).annotate({ expected: "a map with link and value" })
type Spec = typeof Spec.Type

const problems = ({ icmp, link, value }: Spec, plan: Plan): ReadonlyArray<Problem> => {
  const wrong = linkProblems(plan, { link }, true)
  if (wrong.length > 0 || icmp !== true || value >= ipv6Least) return wrong
  const ports = new Set(portsOf(find(plan, link)!))
  const isIpv6 = plan.resources.some(
    ({ kind, spec }) => kind === "address" && spec.address.includes(":") && ports.has(`${spec.node}:${spec.ifname}`)
  )
  if (!isIpv6) return []
  return [{ path: ["value"], message: `${value}: the link has IPv6, whose packets may always be ${ipv6Least} octets long (RFC 8200 5)` }]
}

const shrink = ({ icmp, link, value }: Spec, plan: Plan): Plan => {
  const target = find(plan, link)
  if (target === undefined) return plan
  const ports = new Set(portsOf(target))
  if (icmp !== true) return closeGates(plan, new Map(Array.from(ports, (port) => [port, { mtu: value }])))
  const resources = plan.resources.map((resource) => {
    if (resource.kind !== "port" || !ports.has(`${resource.spec.node}:${resource.spec.ifname}`)) return resource
    return { ...resource, spec: { ...resource.spec, mtu: Math.min(resource.spec.mtu, value) } }
  })
  return { ...plan, resources }
}

export const mtu = faultKind<Spec>({
  summary: "A link, or a port of a network, takes only short packets: a black hole, or with icmp=true one that says so",
  usage: "LINK|NODE:IF OCTETS [icmp=true]",
  words: ["link", "value"],
  schema: Spec,
  check: problems,
  title: ({ icmp, link, value }, plan) =>
    `${linkTitle(plan, link)} takes ${value} octets at most${icmp === true ? "" : ", and says nothing of longer packets"}`,
  apply: shrink
})
