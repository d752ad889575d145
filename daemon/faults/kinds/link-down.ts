/** `link-down`: no packet passes a link; its ends keep their carrier. */
import { Schema } from "effect"
import type { Plan, ResourceOf } from "../../plan/resource.ts"
import { text } from "../../topology/schema-parts.ts"
import { faultKind, type Problem } from "../kind.ts"

const Link = text({
  description: "a link by its name, or by one of its ports as NODE:IF",
  problem: (value) => (value.trim() === "" ? "the text is empty" : undefined)
})

const Spec = Schema.Struct({ link: Link }).annotate({ expected: "a link, or a map with link" })

type Segment = ResourceOf<"segment">

const linksOf = (plan: Plan): ReadonlyArray<Segment> =>
  plan.resources.filter((one): one is Segment => one.kind === "segment" && one.spec.segmentKind === "p2p")

const find = (plan: Plan, link: string): Segment | undefined =>
  linksOf(plan).find(({ spec }) => spec.name === link || spec.ports.includes(link))

const problemOf = (plan: Plan, link: string): ReadonlyArray<Problem> => {
  if (find(plan, link) !== undefined) return []
  const candidates = linksOf(plan).flatMap(({ spec }) => [spec.name, ...spec.ports])
  return [{ path: ["link"], message: `the lab has no link "${link}"`, candidates }]
}

export const linkDown = faultKind<typeof Spec.Type>({
  summary: "No packet passes a link, in either direction",
  usage: "LINK|NODE:IF",
  words: ["link"],
  schema: Spec,
  check: ({ link }, plan) => problemOf(plan, link),
  title: ({ link }, plan) => `link ${find(plan, link)?.spec.ports.join(" -- ") ?? link} is down`,
  apply: ({ link }, plan) => {
    const hit = find(plan, link)
    if (hit === undefined) return plan
    const [a, b] = hit.spec.endpoints ?? hit.spec.ports.toSorted()
    const { aToB = {}, bToA = {}, seed = 0 } = hit.spec.profiles ?? {}
    const profiles = { aToB: { ...aToB, down: true }, bToA: { ...bToA, down: true }, seed }
    const down: Segment = { ...hit, spec: { ...hit.spec, endpoints: [a!, b!], profiles } }
    return { ...plan, resources: plan.resources.map((one) => (one === hit ? down : one)) }
  }
})
