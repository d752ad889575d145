/**
 * Rehearsals as the daemon would tell them: a company gets a second tunnel, the first one is cut and mended. The same options
 * yield the same events.
 */
import type { FlowReport } from "../../ctl/flow-messages.ts"
import type { InspectResponse } from "../../ctl/messages.ts"
import { recorder, recordOf } from "../../ctl/rehearsal/recorder.ts"
import type { RehearsalBudget, RehearsalEvent, RehearsalFlow, RehearsalOutage, RehearsalStep } from "../../ctl/rehearsal/messages.ts"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import { labOf } from "./fixtures.ts"

export interface Story {
  /** How many flows; 3 at least. */
  readonly flows: number
  readonly seed: number
  /** Longer or shorter outages; 1. */
  readonly badness?: number
  /** Of `max-outage` for all; ms. */
  readonly budgetMs?: number
  /** No event after this time, ms from the start. */
  readonly breaksOffAtMs?: number
  readonly startMs?: number
  /** Instead of the ordinary names. */
  readonly name?: string
}

const warmUpMs = 2000
const everyMs = 200
const timeoutMs = 1000

/** Numbers from 0 to 1 that look random (mulberry32). */
const chance = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

interface PlannedStep {
  readonly step: RehearsalStep
  readonly fromMs: number
  readonly untilMs: number
  readonly actionMs: number
}

const step = (name: string, kind: RehearsalStep["kind"], line: number, detail: string): RehearsalStep => ({
  name, kind, role: kind === "warm-up" ? "warm-up" : "step", detail, line, continueOnFailure: false
})

const stepsOf = (story: Story): ReadonlyArray<PlannedStep> => {
  const steps: ReadonlyArray<readonly [RehearsalStep, number, number]> = [
    [step("warm-up", "warm-up", 0, ""), warmUpMs, 0],
    [step("second tunnel", "deploy", 14, "site-to-site-two-tunnels.weft.yaml"), 6200, 1840],
    [step(story.name ?? "cut vpn-1", "inject", 16, "link-down vpn-1"), 5400, 310],
    [step("mend it", "heal", 19, "all"), 4100, 260],
    [step("still as it should be", "check", 21, "company.check.yaml"), 1700, 840]
  ]
  let fromMs = 0
  return steps.map(([each, lengthMs, actionMs]) => {
    const planned = { step: each, fromMs, untilMs: fromMs + lengthMs, actionMs }
    fromMs += lengthMs
    return planned
  })
}

interface PlannedFlow {
  readonly flow: RehearsalFlow
  readonly latencyMs: number
  /** From the start of the story. */
  readonly outages: ReadonlyArray<{ readonly fromMs: number; readonly lengthMs: number; readonly step: number }>
}

const protocols = ["icmp", "tcp", "udp", "http", "dns"]

const flowsOf = (story: Story, steps: ReadonlyArray<PlannedStep>): ReadonlyArray<PlannedFlow> => {
  const random = chance(story.seed)
  const badness = story.badness ?? 1
  return Array.from({ length: story.flows }, (_, index) => {
    const protocol = protocols[index % protocols.length]!
    const from = `pc${(index % 2) + 1}`
    const to = ["db", "web", "www"][index % 3]!
    const through = to !== "www"
    const cut = 120 + random() * 600
    const outages = [
      ...(through && random() < 0.8 ? [{ step: 1, at: 700 + random() * 300, lengthMs: 2 + random() * 40 }] : []),
      ...(through ? [{ step: 2, at: 280 + random() * 20, lengthMs: cut }] : []),
      ...(through && random() < 0.3 ? [{ step: 2, at: 1900 + random() * 1000, lengthMs: 1 + random() * 20 }] : []),
      ...(through && random() < 0.5 ? [{ step: 3, at: 230, lengthMs: 1 + random() * 3 }] : [])
    ]
    return {
      flow: {
        name: index < 3 ? `${from} -> ${to} (${protocol})` : `${from} -> ${to} (${protocol}) ${index + 1}`,
        from, to, protocol, spacingMs: protocol === "dns" ? 10 : 1, fromStep: 0, untilStep: -1
      },
      latencyMs: to === "www" ? 4.2 : 9.7,
      outages: outages.map(({ at, lengthMs, step }) => ({ fromMs: steps[step]!.fromMs + at, lengthMs: lengthMs * badness, step }))
    }
  })
}

const zero: Omit<FlowReport, "flow" | "protocol"> = {
  address: "10.30.1.10", sent: 0, received: 0, lost: 0, unsent: 0, duplicates: 0, reordered: 0, late: 0, wrong: 0, refused: 0,
    unreachable: 0,
  latency: null, outages: [], outageCount: 0, pendingMs: 0, blindMs: 0.4, error: "", port: 0, detail: "", changes: [], changeCount: 0,
  samples: []
}

const lostBefore = ({ flow, outages }: PlannedFlow, atMs: number): number =>
  outages.reduce((sum, { fromMs, lengthMs }) => sum + Math.floor(Math.min(lengthMs, Math.max(0, atMs - fromMs)) / flow.spacingMs), 0)

/** Of one telling: what flows have received, and the sum of its round trips. */
interface Told {
  readonly random: () => number
  readonly counts: Array<number>
  readonly sums: Array<number>
}

const reportOf = (planned: PlannedFlow, index: number, atMs: number, { counts, random, sums }: Told): FlowReport => {
  const { flow, latencyMs, outages } = planned
  const sent = Math.floor(atMs / flow.spacingMs)
  const under = outages.find(({ fromMs, lengthMs }) => atMs >= fromMs && atMs < fromMs + lengthMs)
  const lost = lostBefore(planned, atMs - (under === undefined ? 0 : timeoutMs))
  const received = sent - lostBefore(planned, atMs)
  // Slower for a while, as when the other way is longer.
  sums[index] = (sums[index] ?? 0) + (received - (counts[index] ?? 0)) * (latencyMs + 0.2 * random()
    + (atMs > 9000 && atMs < 13_000 ? 6 : 0))
  counts[index] = received
  const mean = received === 0 ? 0 : sums[index] / received
  return {
    ...zero, flow: index, protocol: flow.protocol, sent, received, lost, pendingMs: under === undefined ? latencyMs : atMs - under.fromMs,
    latency: { min: latencyMs - 0.3, mean, p50: latencyMs, p99: latencyMs + 2.1, max: latencyMs + 7.43 }
  }
}

const outagesAt = (planned: PlannedFlow, index: number, atMs: number, startMs: number): ReadonlyArray<RehearsalOutage> =>
  planned.outages.flatMap(({ fromMs, lengthMs, step }, number) => {
    // That it is over is known only when it is known what became of all probes before; until then it counts on.
    const knownMs = fromMs + lengthMs + 150
    if (fromMs > atMs || knownMs < atMs - everyMs) return []
    const lasts = knownMs > atMs
    const soFarMs = lasts ? atMs - fromMs : lengthMs
    return [{ flow: index, number, step, startMs: startMs + fromMs, lengthMs: soFarMs, lost: Math.floor(soFarMs / planned.flow.spacingMs),
      lasts }]
  })

const company = (tunnels: 1 | 2): InspectResponse =>
  labOf(
    "company",
    { pc1: ["host", "office"], pc2: ["host", "office"], fw: ["router", "office"], vgw: ["router", "aws"], db: ["host", "aws"],
      web: ["host", "aws"], internet: ["router", "internet"], www: ["host", "internet"],
      ...(tunnels === 2 ? { fw2: ["router", "office"] as const } : {}) },
    [
      { name: "office", kind: "network", cidrs: ["10.10.0.0/24"], ports: [["pc1:eth0", "10.10.0.11/24"], ["pc2:eth0", "10.10.0.12/24"],
        ["fw:lan", "10.10.0.1/24"], ...(tunnels === 2 ? [["fw2:lan", "10.10.0.2/24"] as const] : [])] },
      { name: "vpc", kind: "network", cidrs: ["10.30.0.0/16"], ports: [["vgw:vpc", "10.30.0.1/16"], ["db:eth0", "10.30.2.10/16"],
        ["web:eth0", "10.30.1.10/16"]] },
      { name: "vpn-1", kind: "link", cidrs: ["169.254.10.0/30"], ports: [["fw:tun1", "169.254.10.1/30"], ["vgw:tun1", "169.254.10.2/30"]] },
      ...(tunnels === 2 ? [{ name: "vpn-2", kind: "link" as const, cidrs: ["169.254.11.0/30"],
        ports: [["fw2:tun2", "169.254.11.1/30"], ["vgw:tun2", "169.254.11.2/30"]] as const }] : []),
      { name: "wan", kind: "link", cidrs: [tunnels === 1 ? "203.0.113.0/30" : "203.0.113.0/29"],
        ports: [["fw:wan", "203.0.113.1/30"], ["internet:e1", "203.0.113.2/30"]] },
      { name: "uplink", kind: "link", cidrs: ["203.0.113.12/30"], ports: [["vgw:wan", "203.0.113.13/30"],
        ["internet:e2", "203.0.113.14/30"]] },
      { name: "web", kind: "network", cidrs: ["198.51.100.0/24"], ports: [["internet:e3", "198.51.100.1/24"],
        ["www:eth0", "198.51.100.80/24"]] }
    ]
  )

const check = (index: number, name: string, outcome: "passed" | "failed", seen = "") => ({
  index, name, kind: "reachable", line: 4 + 3 * index, column: 5, outcome, error: false, expected: name, seen: outcome === "passed"
    ? "it got through" : seen,
  where: outcome === "passed" ? "" : "pc1 > fw: fw is the last to answer", details: [], attempts: 1, durationMs: 21.5, labels: []
})

/** Names that try to break out of what they are written into. */
export const nasty = `<script>alert(1)</script> "&'--> ]]> \u001b[31m\u0000\ud800 \u202e`

export const eventsOf = (story: Story): ReadonlyArray<RehearsalEvent> => {
  const startMs = story.startMs ?? Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  const told: Told = { random: chance(story.seed + 1), counts: [], sums: [] }
  const steps = stepsOf(story)
  const flows = flowsOf(story, steps)
  const budgets: ReadonlyArray<RehearsalBudget> = [
    { kind: "max-outage", flow: -1, step: -1, limit: `${story.budgetMs ?? 800}ms`, value: story.budgetMs ?? 800, unit: "ms", line: 9 },
    { kind: "max-outage", flow: -1, step: 1, limit: "100ms", value: 100, unit: "ms", line: 15 },
    { kind: "max-latency", flow: 0, step: -1, limit: "50ms", value: 50, unit: "ms", line: 6 }
  ]
  const events: Array<RehearsalEvent> = []
  const tell = (atMs: number, event: { [K in RehearsalEvent["event"]]: Omit<Extract<RehearsalEvent, { event: K }>,
    "atMs"> }[RehearsalEvent["event"]]) =>
    void events.push({ atMs: startMs + atMs, ...event } as RehearsalEvent)

  tell(0, { event: "planned", planned: { diagnostics: [], name: story.name ?? "one tunnel to two", lab: "company",
    topology: "site-to-site.weft.yaml", deploys: true, flows: flows.map(({ flow }) => flow), steps: steps.map(({ step }) => step),
      budgets } })
  tell(0, { event: "note", note: { text: "3 of 120 resources", step: -1, warning: false, passing: true } })
  tell(0, { event: "note", note: { text: "lab company is deployed", step: -1, warning: false, passing: false } })
  tell(0, { event: "snapshot", snapshot: { when: "before", lab: company(1) } })
  const broken = new Set<string>()
  for (const [index, { actionMs, fromMs, step, untilMs }] of steps.entries()) {
    tell(fromMs, { event: "stepBegun", stepBegun: { step: index } })
    if (step.kind === "inject") tell(fromMs + 200, { event: "faults", faults: { step: index, injected: [
      { id: "f1", kind: "link-down", title: "link vpn-1 (fw:tun1 -- vgw:tun1) is down", since: "", until: "" }], healed: [] } })
    if (step.kind === "heal") tell(fromMs + 210, { event: "faults", faults: { step: index, injected: [], healed: [
      { id: "f1", kind: "link-down", title: "link vpn-1 (fw:tun1 -- vgw:tun1) is down", since: "", until: "" }] } })
    for (let atMs = fromMs + everyMs; atMs <= untilMs; atMs += everyMs) {
      tell(atMs, { event: "flows", flows: { flows: flows.map((flow, at) => reportOf(flow, at, atMs, told)),
        outages: flows.flatMap((flow, at) => outagesAt(flow, at, atMs, startMs)) } })
      for (const [at, { flow, outages }] of flows.entries()) {
        const value = index === 1 ? 100 : budgets[0]!.value
        for (const outage of outages) {
          const soFarMs = Math.min(outage.lengthMs, atMs - outage.fromMs)
          if (outage.step !== index || soFarMs <= value || broken.has(`${at} ${index}`)) continue
          broken.add(`${at} ${index}`)
          tell(atMs, { event: "broken", broken: { flow: at, step: index, budget: index === 1 ? 1 : 0, value: soFarMs,
            message: `flow ${flow.name}, step ${step.name}: out for ${soFarMs.toFixed(0)} ms, max-outage is ${value}ms` } })
        }
      }
    }
    if (step.kind === "check") {
      tell(fromMs + 500, { event: "check", check: { step: index, filename: "company.check.yaml",
        result: check(0, "pc1 reaches db", "passed") } })
      tell(fromMs + 700, { event: "check", check: { step: index, filename: "company.check.yaml",
        result: story.badness === undefined || story.badness < 2 ? check(1, "pc2 does not reach the vault", "passed")
          : check(1, "pc2 does not reach the vault", "failed", "it got through") } })
    }
    const isBroken = flows.some((_, at) => broken.has(`${at} ${index}`))
    tell(untilMs, { event: "stepEnded", stepEnded: { step: index, outcome: isBroken ? "broken" : "passed",
      reasons: isBroken ? [`${[...broken].filter((key) => key.endsWith(` ${index}`)).length} flows broke their budget`] : [], actionMs,
      settleMs: untilMs - fromMs - actionMs,
      flows: flows.map(({ flow, latencyMs, outages }, at) => {
        const own = outages.filter((outage) => outage.step === index)
        const totalMs = own.reduce((sum, { lengthMs }) => sum + lengthMs, 0)
        return { flow: at, outages: own.length, longestMs: Math.max(0, ...own.map(({ lengthMs }) => lengthMs)), totalMs,
          sent: Math.floor((untilMs - fromMs) / flow.spacingMs), lost: Math.floor(totalMs / flow.spacingMs), maxLatencyMs: latencyMs + 2,
          blindMs: 0.4, broken: [] }
      }) } })
  }
  const endMs = steps.at(-1)!.untilMs
  tell(endMs, { event: "snapshot", snapshot: { when: "after", lab: company(2) } })
  tell(endMs + 300, { event: "done", done: { outcome: broken.size > 0 ? "failed" : "passed", reasons: events.flatMap((event) =>
    event.event === "broken" ? [event.broken.message] : []), rolledBack: false, healed: true, destroyed: true, durationMs: endMs + 300 } })
  return events.filter(({ atMs }) => atMs <= startMs + (story.breaksOffAtMs ?? Infinity))
}

/** The record of one run, or of several, each with the next seed. */
export const recordOfStory = (story: Story, repeat = 1, runs = repeat): RehearsalRecord =>
  recordOf(
    Array.from({ length: runs }, (_, index) => {
      const one = recorder(index + 1)
      const startMs = (story.startMs ?? Date.UTC(2026, 0, 2, 3, 4, 5, 678)) + index * 60_000
      for (const event of eventsOf({ ...story, seed: story.seed + 7 * index, startMs })) one.feed(event)
      return one.run("the daemon went away")
    }),
    { name: story.name ?? "one tunnel to two", filename: "one-tunnel-to-two.rehearsal.yaml", lab: "company", version: "0.1.0", repeat }
  )
