/** Profiles of links: what is written, and what each direction gets. */
import t from "tap"
import { load } from "../../daemon/compiler/load.ts"
import { diff } from "../../daemon/plan/diff.ts"
import type { LinkProfiles } from "../../daemon/plan/link-profile.ts"
import type { Plan, SegmentSpec } from "../../daemon/plan/resource.ts"
import { render } from "../../daemon/topology/diagnostic.ts"
import { asObserved, observedOf } from "../plan/plans.ts"

const planOf = (profile: object, endpoints: ReadonlyArray<string> = ["b:e1", "a:e1"]): Plan => {
  const topology = { name: "lab", nodes: { a: { kind: "host" }, b: { kind: "host" } }, links: [{ name: "wire", endpoints, ...profile }] }
  const result = load({ filename: "f", content: JSON.stringify(topology) })
  if (!result.ok) throw new Error(result.diagnostics.map(render).join("\n"))
  return result.plan
}

const wireOf = (plan: Plan): SegmentSpec => plan.resources.find(({ kind }) => kind === "segment")!.spec as SegmentSpec
const profilesOf = (profile: object): LinkProfiles | undefined => wireOf(planOf(profile)).profiles

const both = (expected: object) => ({ aToB: expected, bToA: expected, seed: 7 })

const cases: ReadonlyArray<readonly [title: string, profile: object, expected: object]> = [
  ["a value for both directions", { delay: "4ms" }, both({ delayMs: 4 })],
  ["a value for each", { delay: { "a-to-b": "4ms", "b-to-a": "6ms" } }, { aToB: { delayMs: 4 }, bToA: { delayMs: 6 }, seed: 7 }],
  ["a value for one", { rate: { "a-to-b": "1gbit" } }, { aToB: { rateBps: 1e9 }, bToA: {}, seed: 7 }],
  ["jitter beside the delay", { delay: { time: "4ms", jitter: "300us", distribution: "normal", reorder: true } },
    both({ delayMs: 4, jitter: { distribution: "normal", ms: 0.3, reorder: true } })],
  ["jitter of its own", { jitter: { "a-to-b": "1ms", "b-to-a": { time: "2ms", distribution: "pareto" } } }, {
    aToB: { jitter: { distribution: "uniform", ms: 1, reorder: false } },
    bToA: { jitter: { distribution: "pareto", ms: 2, reorder: false } },
    seed: 7
  }],
  ["random loss", { loss: "1%" }, both({ loss: { kind: "random", probability: 0.01 } })],
  ["bursts of loss", { loss: { p: "1%", r: "25%" } },
    both({ loss: { kind: "gilbert-elliott", p: 0.01, r: 0.25, lossBad: 1, lossGood: 0 } })],
  ["loss of two kinds", { loss: { "a-to-b": "1%", "b-to-a": { p: "1%", r: "25%", bad: "50%", good: "0.1%" } } }, {
    aToB: { loss: { kind: "random", probability: 0.01 } },
    bToA: { loss: { kind: "gilbert-elliott", p: 0.01, r: 0.25, lossBad: 0.5, lossGood: 0.001 } },
    seed: 7
  }],
  ["a queue with two limits", { rate: "1mbit", queue: ["100ms", "64kb"], aqm: "codel" },
    both({ rateBps: 1e6, queue: { ms: 100, octets: 65_536 }, aqm: "codel" })],
  ["a queue only where there is a rate", { rate: { "a-to-b": "1mbit" }, queue: "10p", aqm: "red" },
    { aToB: { rateBps: 1e6, queue: { packets: 10 }, aqm: "red" }, bToA: {}, seed: 7 }],
  ["the rest", { duplicate: "1%", corrupt: "2%", reorder: "3%", delay: "1ms", down: true },
    both({ delayMs: 1, duplicate: 0.01, corrupt: 0.02, reorder: 0.03, down: true })],
  ["fifo is what a queue is anyway", { rate: "1mbit", aqm: "fifo" }, both({ rateBps: 1e6 })]
]

for (const [title, profile, expected] of cases) {
  t.test(`compileProfile reads ${title}`, async (t) => {
    t.strictSame(profilesOf({ ...profile, seed: 7 }), expected)
  })
}

t.test("compileProfile makes a plain wire of zeros", async (t) => {
  const zeros = { delay: 0, jitter: "0ms", loss: "0%", duplicate: 0, corrupt: 0, reorder: 0, rate: 0, down: false, seed: 7 }
  t.strictSame(wireOf(planOf(zeros)), wireOf(planOf({})))
  t.strictSame(wireOf(planOf({ rate: 0, queue: "100ms", aqm: "red" })), wireOf(planOf({})), "what a rate needed may stay")
})

t.test("compileProfile derives a seed that stays", async (t) => {
  const seed = profilesOf({ loss: "1%" })!.seed
  t.equal(profilesOf({ loss: "2%" })!.seed, seed)
  t.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)
})

t.test("directions follow the endpoints as written", async (t) => {
  t.strictSame(wireOf(planOf({ delay: "1ms" })).endpoints, ["b:e1", "a:e1"])
  t.strictSame(wireOf(planOf({ delay: "1ms" }, ["a:e1", "b:e1"])).endpoints, ["a:e1", "b:e1"])
})

t.test("diff changes a profile in place and names each value", async (t) => {
  const observed = asObserved(observedOf(planOf({ delay: "4ms", loss: "1%", seed: 7 }).resources))
  const [step, ...others] = diff(planOf({ delay: { "a-to-b": "6ms", "b-to-a": "4ms" }, rate: "1mbit", seed: 7 }), observed)
  t.strictSame(others, [])
  t.equal(step?.action, "update")
  t.strictSame(step?.attributes.map(({ after, before, path }) => `${path}: ${before} -> ${after}`), [
    "profiles.aToB.delayMs: 4 -> 6",
    "profiles.aToB.loss.kind: random -> undefined",
    "profiles.aToB.loss.probability: 0.01 -> undefined",
    "profiles.bToA.loss.kind: random -> undefined",
    "profiles.bToA.loss.probability: 0.01 -> undefined",
    "profiles.aToB.rateBps: undefined -> 1000000",
    "profiles.bToA.rateBps: undefined -> 1000000"
  ])
  const [removal] = diff(planOf({}), observed)
  t.match(removal, { action: "update", reason: "endpoints, profiles can be changed in place" })
  t.strictSame(diff(planOf({ delay: "4ms", loss: "1%", seed: 7 }), observed), [])
})
