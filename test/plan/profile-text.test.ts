import t from "tap"
import type { LinkProfile } from "../../daemon/plan/link-profile.ts"
import { profileLabel, profileLines, profileText } from "../../daemon/plan/profile-text.ts"

const cases: ReadonlyArray<readonly [LinkProfile, text: string]> = [
  [{}, "nothing"],
  [{ delayMs: 0.3 }, "delay 300us"],
  [{ delayMs: 1500, jitter: { distribution: "uniform", ms: 1, reorder: false } }, "delay 1.5s jitter 1ms"],
  [{ jitter: { distribution: "pareto", ms: 0.25, reorder: true } }, "jitter 250us pareto reordering"],
  [{ loss: { kind: "random", probability: 0.0005 }, duplicate: 0.07, corrupt: 0.01, reorder: 1 },
    "loss 0.05% duplicate 7% corrupt 1% reorder 100%"],
  [{ loss: { kind: "gilbert-elliott", p: 0.01, r: 0.25, lossBad: 1, lossGood: 0 } }, "loss in bursts p 1% r 25% bad 100% good 0%"],
  [{ rateBps: 1.5e9, queue: { ms: 100, octets: 65_536, packets: 9 }, aqm: "codel" }, "rate 1.5gbit queue 100ms 64kb 9p aqm codel"],
  [{ aqm: "red", trace: { kind: "deliveries", name: "air/lte.down", times: "1" } }, "aqm red trace air/lte.down"],
  [{ down: true, rateBps: 64_000, queue: { octets: 1500 } }, "down rate 64kbit queue 1500b"]
]

t.test("profileText says what people type", async (t) => {
  for (const [profile, text] of cases) t.equal(profileText(profile), text)
})

t.test("profileLines name the ends of each direction", async (t) => {
  t.strictSame(profileLines(["b:e1", "a:e1"], { aToB: { delayMs: 4 }, bToA: {}, seed: 1 }), [
    "b:e1 -> a:e1: delay 4ms",
    "a:e1 -> b:e1: nothing"
  ])
  t.strictSame(profileLines(["b:e1", "a:e1"], { aToB: {}, bToA: {}, seed: 1 }), [
    "b:e1 -> a:e1: nothing, by way of the engine",
    "a:e1 -> b:e1: nothing, by way of the engine"
  ])
})

t.test("profileLabel says once what both directions share", async (t) => {
  const label = (aToB: LinkProfile, bToA: LinkProfile): string => profileLabel({ aToB, bToA, seed: 1 })
  t.equal(label({ rateBps: 2e8, delayMs: 4 }, { rateBps: 2e8, delayMs: 6 }), "200mbit 4/6ms")
  t.equal(label({ delayMs: 0.5 }, { delayMs: 6 }), "500us/6ms")
  t.equal(label({ rateBps: 2e7 }, {}), "20mbit/no limit")
  t.equal(label({ loss: { kind: "random", probability: 0.01 } }, {}), "1/0% loss")
  t.equal(label({ down: true }, {}), "one way")
  t.equal(label({ down: true }, { down: true }), "down")
  t.equal(label({}, { corrupt: 0.1 }), "")
  t.equal(label({ delayMs: 4, trace: { kind: "deliveries", name: "lte.down", times: "1" } }, { delayMs: 4 }), "4ms trace")
})
