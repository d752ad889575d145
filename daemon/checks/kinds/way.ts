/** `path`, `ecmp` and `mtu`: which routers packets pass, over how many ways, and how large they may be. */
import { Schema } from "effect"
import { integer, oneOrMore, optional } from "../../topology/schema-parts.ts"
import { parseShare } from "../../topology/units.ts"
import { explain, wayOf } from "../explain.ts"
import { kind, type Kind } from "../kind.ts"
import { type Hop, type Lab, ownerOf, type Trace } from "../lab.ts"
import { each, Flag, listed, msOf, NodeName, placeOf, referencesOf, Share, Target, Time } from "../parts.ts"

const Passed = oneOrMore(Target, "a node, NODE:PORT or an address")
type Passed = typeof Passed.Type
const wordsOf = (value: Passed | undefined): ReadonlyArray<string> =>
  (value === undefined ? [] : typeof value === "string" ? [value] : value)

const ends = { from: NodeName, to: Target, ipv6: optional(Flag), timeout: optional(Time) }
const Way = Schema.Struct({
  ...ends,
  through: optional(Passed.annotate({ description: "These are passed in this order; others may lie between" })),
  exactly: optional(Passed.annotate({ description: "The nodes between the two, all of them, in order" })),
  avoids: optional(Passed.annotate({ description: "None of these is passed" }))
}).annotate({ expected: "a map such as {from: pc, to: db, through: [fw, r1]}" })
const Ecmp = Schema.Struct({
  ...ends,
  flows: optional(integer(2, 512, "How many flows are sent, each from another port; 32 unless given")),
  paths: optional(integer(1, 64, "How many different ways there are at least; 2 unless `through` is given")),
  through: optional(Passed.annotate({ description: "Each of these has its share of the flows" })),
  share: optional(Share.annotate({ description: "The least share of each of `through`, or of each way; 10% unless given" }))
}).annotate({ expected: "a map such as {from: pc, to: db, through: [r1, r2]}" })
const Mtu = Schema.Struct({
  ...ends,
  is: optional(integer(68, 65535, "Octets of the largest IP packet that arrives")),
  "at-least": optional(integer(68, 65535, "Octets"))
}).annotate({ expected: "a map such as {from: pc, to: db, is: 1400}" }).check(
  Schema.makeFilter((value: { readonly is?: number; readonly "at-least"?: number }) =>
    value.is === undefined && value["at-least"] === undefined ? "give is or at-least" : undefined
  )
)

/**
 * Whether a hop is what a word means: a node, one of its ports, or an address. A port is passed by what comes in there, which is the
 * address that answers, and by what leaves there: then the next to answer is on the same wire.
 */
const isPassing = (lab: Lab, word: string) => ({ address }: Hop, index: number, hops: ReadonlyArray<Hop>): boolean => {
  if (address === undefined) return false
  if (address === word || ownerOf(lab, address) === word) return true
  const [node = "", ifname] = word.split(":")
  const ports = lab.nodes.get(node)?.addresses.filter((one) => one.ifname === ifname) ?? []
  if (ports.some((one) => one.address === address)) return true
  const next = hops[index + 1]?.address
  const wires = next === undefined || ownerOf(lab, address) !== node ? [] : wiresOf(lab, next)
  return ports.some(({ segment }) => segment !== undefined && wires.includes(segment))
}

/** The segments of the port that has an address. */
const wiresOf = (lab: Lab, address: string): ReadonlyArray<string> =>
  [...lab.nodes.values()].flatMap(({ addresses }) =>
    addresses.flatMap((one) => (one.address === address && one.segment !== undefined ? [one.segment] : [])))

const traceOf = (lab: Lab, { from, ipv6, timeout, to }: { from: string; to: string; ipv6?: boolean; timeout?: string }): Promise<Trace> =>
  lab.ask(from, "trace", { address: placeOf(to, lab, ipv6 === true).address, timeoutMs: msOf(timeout, 1000) })

const passesInOrder = (lab: Lab, hops: ReadonlyArray<Hop>, words: ReadonlyArray<string>): boolean => {
  let at = 0
  for (const [index, hop] of hops.entries()) if (at < words.length && isPassing(lab, words[at]!)(hop, index, hops)) at++
  return at === words.length
}

/** What is between the two, also where they stand in the list themselves. */
const betweenEnds = (words: ReadonlyArray<string>, { from, to }: { readonly from: string; readonly to: string }): ReadonlyArray<string> =>
  words.slice(words[0] === from ? 1 : 0, words.length > 0 && words.at(-1) === to ? -1 : undefined)

const wayTitle = ({ avoids, exactly, from, through, to }: typeof Way.Type): string =>
  [
    `${from} to ${to}`,
    ...(through === undefined ? [] : [`passes ${wordsOf(through).join(" then ")}`]),
    ...(exactly === undefined ? [] : [wordsOf(exactly).length === 0 ? "passes no router" : `passes exactly ${listed(wordsOf(exactly))}`]),
    ...(avoids === undefined ? [] : [`avoids ${listed(wordsOf(avoids))}`]),
    ...(through === undefined && exactly === undefined && avoids === undefined ? ["arrives"] : [])
  ].join(" ")

const wayReferences = ({ from, to }: { from: string; to: string }, ...more: ReadonlyArray<readonly [string, Passed | undefined]>) => [
  ...referencesOf(["from"], from, "node"),
  ...referencesOf(["to"], to, "target"),
  ...more.flatMap(([key, value]) => referencesOf([key], value, "target"))
]

export const path: Kind<typeof Way.Type> = kind({
  schema: Way,
  references: (spec) => wayReferences(spec, ["through", spec.through], ["exactly", spec.exactly], ["avoids", spec.avoids]),
  title: wayTitle,
  stage: "free",
  run: async (spec, lab) => {
    const trace = await traceOf(lab, spec)
    const expected = wayTitle(spec)
    const seen = wayOf(lab, spec.from, trace)
    if (!trace.arrived) {
      const { address } = placeOf(spec.to, lab, spec.ipv6 === true)
      return { passed: false, expected, seen: `${seen}, which does not arrive`, where: await explain(lab, spec.from, address) }
    }
    const between = trace.hops.slice(0, -1)
    const exactly = spec.exactly === undefined ? undefined : betweenEnds(wordsOf(spec.exactly), spec)
    const isExact = exactly === undefined
      || (exactly.length === between.length && between.every((hop, index) => isPassing(lab, exactly[index]!)(hop, index, trace.hops)))
    const passed = isExact && passesInOrder(lab, trace.hops, wordsOf(spec.through))
      && !wordsOf(spec.avoids).some((word) => trace.hops.some(isPassing(lab, word)))
    return { passed, expected, seen }
  }
})

const ecmpTitle = (spec: typeof Ecmp.Type): string => {
  const { flows = 32, from, share = "10%", to } = spec
  const over = spec.through === undefined ? `${spec.paths ?? 2} ways or more` : listed(wordsOf(spec.through))
  return `${flows} flows from ${from} to ${to} are spread over ${over}, ${share} or more each`
}

const counted = (counts: ReadonlyMap<string, number>, flows: number): string =>
  [...counts].toSorted(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${Math.round((count / flows) * 100)}%`).join(", ")

export const ecmp: Kind<typeof Ecmp.Type> = kind({
  schema: Ecmp,
  references: (spec) => wayReferences(spec, ["through", spec.through]),
  title: ecmpTitle,
  stage: "free",
  run: async (spec, lab) => {
    const flows = spec.flows ?? 32
    const traces = await each(Array.from({ length: flows }), 16, () => traceOf(lab, spec))
    const expected = ecmpTitle(spec)
    const arrived = traces.filter((trace) => trace.arrived)
    const lost = flows - arrived.length
    const counts = new Map<string, number>()
    const through = wordsOf(spec.through)
    for (const word of through) counts.set(word, arrived.filter(({ hops }) => hops.some(isPassing(lab, word))).length)
    if (through.length === 0) {
      for (const { hops } of arrived) {
        const way = hops.slice(0, -1).map(({ address }) => address ?? "?").join(" > ")
        counts.set(way, (counts.get(way) ?? 0) + 1)
      }
    }
    const least = parseShare(spec.share ?? "10%")! * flows
    const isSpread = [...counts.values()].every((count) => count >= least)
    const isEnough = counts.size >= (spec.paths ?? (through.length > 0 ? 1 : 2))
    const seen = `${counted(counts, flows)}${lost === 0 ? "" : `, and ${lost} flows that did not arrive`}`
    if (arrived.length > 0) return { passed: isSpread && isEnough && lost === 0, expected, seen }
    const { address } = placeOf(spec.to, lab, spec.ipv6 === true)
    return { passed: false, expected, seen: "no flow arrives", where: await explain(lab, spec.from, address) }
  }
})

const mtuTitle = (spec: typeof Mtu.Type): string => {
  const sizes = [
    ...(spec.is === undefined ? [] : [`${spec.is}`]),
    ...(spec["at-least"] === undefined ? [] : [`${spec["at-least"]} or more`])
  ]
  return `packets of ${sizes.join(" and ")} octets are the largest that get from ${spec.from} to ${spec.to}`
}

export const mtu: Kind<typeof Mtu.Type> = kind({
  schema: Mtu,
  references: (spec) => wayReferences(spec),
  title: mtuTitle,
  stage: "free",
  run: async (spec, lab) => {
    const { address } = placeOf(spec.to, lab, spec.ipv6 === true)
    const expected = mtuTitle(spec)
    const answer = await lab.ask(spec.from, "pmtu", { address, timeoutMs: msOf(spec.timeout, 1000) })
    if (!answer.ok) return { passed: false, expected, seen: answer.reason, where: await explain(lab, spec.from, address) }
    const told = answer.toldBy === undefined ? "" : `, says ${ownerOf(lab, answer.toldBy) ?? answer.toldBy}`
    if (answer.blackHole) {
      return { passed: false, expected,
        seen: `larger ones than ${answer.mtu} vanish, and nobody says that they are too big (a black hole)${told}` }
    }
    const isRight = (spec.is === undefined || answer.mtu === spec.is) && answer.mtu >= (spec["at-least"] ?? 0)
    return { passed: isRight, expected, seen: `${answer.mtu} octets${told}` }
  }
})
