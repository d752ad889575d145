/**
 * `failover`: how long flows are out when something breaks. Probes are sent all the time, while
 *
 *     all answer --inject--> in force --quiet--> measured --heal--> quiet: as before
 *                              |  not quiet `within`: it does not fail over
 *
 * Quiet is a flow that has lost nothing for longer than a lost probe takes to be known as lost. Whatever happens, what was
 * injected is healed, also when the suite is interrupted; when the daemon dies, its next start heals it.
 */
import { Schema } from "effect"
import { durationOrZero, hourMs } from "../../topology/duration.ts"
import { oneOrMore, optional } from "../../topology/schema-parts.ts"
import { parseDuration } from "../../topology/units.ts"
import { Reporter } from "../../topology/diagnostic.ts"
import { withFiles, withoutFiles } from "../../faults/files.ts"
import { type ReadFault, readFaults } from "../../faults/read.ts"
import { explain } from "../explain.ts"
import { kind, type Kind, type Verdict } from "../kind.ts"
import type { FlowProgress, Injected, Lab } from "../lab.ts"
import { Flag, msOf, NodeName, placeOf, referencesOf, Spacing, Target, Time } from "../parts.ts"

const Flow = Schema.Struct({
  from: NodeName,
  to: Target,
  protocol: optional(Schema.Literals(["icmp", "udp"])),
  spacing: optional(Spacing.annotate({ description: "From one probe to the next: outages are known to within it; 5ms unless given" })),
  ipv6: optional(Flag)
}).annotate({ expected: "a flow such as {from: pc, to: db}" })

const outageTerms = "a time such as 500ms, or 0"
const MaxOutage = durationOrZero({ example: outageTerms, mostMs: hourMs })

const Failover = Schema.Struct({
  flows: oneOrMore(Flow, "a flow such as {from: pc, to: db}"),
  inject: Schema.Unknown.annotate({ description: "A fault, or a list of faults that come at once: {link-down: fw:wan}" }),
  "max-outage": optional(MaxOutage.annotate({
    description: "No flow is out for longer at a stretch; without it, they have only to come back"
  })),
  within: optional(Time.annotate({ description: "All flows are back so long after the fault, and after it is healed; 10s unless given" })),
  recovers: optional(Flag.annotate({ description: "false: what happens after it is healed does not matter" }))
}).annotate({ expected: "a map such as {flows: {from: pc, to: db}, inject: {link-down: fw:wan}, max-outage: 500ms}" })

type Spec = typeof Failover.Type
type Flow = typeof Flow.Type

const defaultWithinMs = 10_000
/** The ports that answer probes are shut after five minutes. */
const longestWithinMs = 120_000
const defaultSpacing = "5ms"
/** A probe without an answer for so long is lost. */
const timeoutMs = 1000
/** Longer than that: then whatever was lost is known. */
const quietMs = 1200
const readEveryMs = 100
/** Under way for longer than most round trips: an outage may be beginning. */
const suspiciousMs = 400
const fewestAnswers = 5

const flowsOf = ({ flows }: Spec): ReadonlyArray<Flow> => (Array.isArray(flows) ? flows : [flows as Flow])
const nameOf = ({ from, protocol = "icmp", to }: Flow): string => `${from} -> ${to}${protocol === "icmp" ? "" : ` (${protocol})`}`

const faultText = ({ kind: name, spec }: ReadFault): string => {
  const values = Object.values(withoutFiles(name, spec)).map((value) => (typeof value === "string" ? value : JSON.stringify(value)))
  return [name, ...values].join(" ")
}
const faultsOf = ({ inject }: Spec): ReadonlyArray<ReadFault> =>
  readFaults(inject, [], new Reporter("", () => ({ line: 0, column: 0 }))) ?? []

const expectation = (spec: Spec, faults: string): string => {
  const most = spec["max-outage"]
  const flows = flowsOf(spec)
  const who = flows.length > 3 ? `${flows.length} flows` : flows.map(nameOf).join(", ")
  return `${who}: ${most === undefined ? "back" : `out for at most ${most}`} when ${faults}`
}

interface Running extends Flow {
  readonly name: string
  readonly address: string
  readonly id: number
  /** The node that answers by UDP, and its port's id. */
  readonly door?: { readonly node: string; readonly id: number }
}

const begin = async (lab: Lab, flow: Flow): Promise<Running> => {
  const ipv6 = flow.ipv6 === true
  const { address, node } = placeOf(flow.to, lab, ipv6)
  if (flow.protocol === "udp" && node === undefined) throw new Error(`${flow.to} is nobody's address: nothing answers probes by UDP there`)
  const door = flow.protocol === "udp" && node !== undefined
    ? { node, ...(await lab.ask(node, "open", { protocol: "udp", port: 0, ipv6 })) } : undefined
  const question = { address, port: door?.port ?? 0, spacingMs: parseDuration(flow.spacing ?? defaultSpacing)!, timeoutMs }
  try {
    const { id } = await lab.ask(flow.from, "flow-begin", question)
    return { ...flow, name: nameOf(flow), address, id, ...(door === undefined ? {} : { door }) }
  } catch (error) {
    if (door !== undefined) await lab.ask(door.node, "shut", { id: door.id }).catch(() => null)
    throw error
  }
}

const end = async (lab: Lab, { door, from, id }: Running): Promise<void> => {
  await lab.ask(from, "flow-end", { id }).catch(() => null)
  if (door !== undefined) await lab.ask(door.node, "shut", { id: door.id }).catch(() => null)
}

const read = (lab: Lab, flows: ReadonlyArray<Running>): Promise<ReadonlyArray<FlowProgress>> =>
  Promise.all(flows.map(({ from, id }) => lab.ask(from, "flow-read", { id })))

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener("abort", done)
      if (signal.aborted) reject(new Error("interrupted"))
      else resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener("abort", done)
    if (signal.aborted) done()
  })

const isUneasy = ({ outages, pendingMs }: FlowProgress): boolean => pendingMs > suspiciousMs || outages.at(-1)?.lasts === true

interface Watched {
  readonly seen: ReadonlyArray<FlowProgress>
  /** All flows were quiet at last. */
  readonly isQuiet: boolean
}

/** Watches until all flows are quiet, at most so long. @throws Error when interrupted */
const untilQuiet = async (lab: Lab, flows: ReadonlyArray<Running>, withinMs: number, signal: AbortSignal): Promise<Watched> => {
  const began = performance.now()
  let quietSince = began
  let before: ReadonlyArray<FlowProgress> | undefined
  for (;;) {
    const seen = await read(lab, flows)
    const now = performance.now()
    const lostMore = seen.some(({ lost }, index) => before !== undefined && lost > before[index]!.lost)
    const tooFew = seen.some(({ received }) => received < fewestAnswers)
    if (lostMore || tooFew || seen.some(isUneasy)) quietSince = now
    before = seen
    if (now - quietSince >= quietMs) return { seen, isQuiet: true }
    if (quietSince - began > withinMs) return { seen, isQuiet: false }
    await pause(readEveryMs, signal)
  }
}

interface Cost {
  readonly name: string
  readonly longestMs: number
  readonly totalMs: number
  readonly outages: number
  readonly lost: number
  readonly lasts: boolean
}

/** What became of a flow between two readings. What it had lost before is not counted. */
const costOf = ({ name }: Running, before: FlowProgress, after: FlowProgress): Cost => {
  const since = before.outages.at(-1)?.startMs ?? 0
  const outages = after.outages.filter(({ startMs }) => startMs > since)
  const lengths = outages.map(({ lengthMs }) => lengthMs)
  // Of one that has begun just now, only the waiting is known.
  const waiting = after.pendingMs > suspiciousMs && outages.at(-1)?.lasts !== true ? [after.pendingMs] : []
  const all = [...lengths, ...waiting]
  return {
    name,
    longestMs: Math.max(0, ...all),
    totalMs: all.reduce((sum, length) => sum + length, 0),
    outages: all.length,
    lost: outages.reduce((sum, { lost }) => sum + lost, 0),
    lasts: isUneasy(after)
  }
}

const ms = (value: number): string => (value >= 10 ? `${Math.round(value)} ms` : `${Number(value.toPrecision(2))} ms`)

/** `pc -> db: out for 312 ms (62 probes lost)` */
const costText = ({ lasts, longestMs, lost, name, outages, totalMs }: Cost): string => {
  if (lasts) return `${name}: out for ${ms(longestMs)} and still is`
  if (outages === 0) return `${name}: no outage`
  const more = outages === 1 ? "" : `, the longest of ${outages} outages of ${ms(totalMs)} together`
  return `${name}: out for ${ms(longestMs)}${more} (${lost} ${lost === 1 ? "probe" : "probes"} lost)`
}

const blindness = (seen: ReadonlyArray<FlowProgress>): ReadonlyArray<string> => {
  const blindMs = Math.max(...seen.map((one) => one.blindMs))
  return blindMs < 20 ? [] : [`for ${ms(blindMs)} no probe could be sent, this machine was too busy: outages are known to within that`]
}

const measure = async (spec: Spec, lab: Lab, flows: ReadonlyArray<Running>, signal: AbortSignal): Promise<Verdict> => {
  const withinMs = msOf(spec.within, defaultWithinMs)
  const faults = faultsOf(spec)
  const expected = expectation(spec, faults.map(faultText).join(" and "))
  const first = await untilQuiet(lab, flows, withinMs, signal)
  if (!first.isQuiet) {
    const bad = first.seen.findIndex((one) => isUneasy(one) || one.received < fewestAnswers)
    const flow = flows[Math.max(0, bad)]!
    return { passed: false, expected, seen: `${flow.name} loses packets before anything is broken: nothing was injected`,
      where: await explain(lab, flow.from, flow.address) }
  }
  const before = await read(lab, flows)
  const fault = await lab.inject(faults, "weft check")
  const broken = await whileBroken(lab, flows, fault, { withinMs, before, signal })
  const told = expectation(spec, fault.titles.join(" and "))
  const most = spec["max-outage"] === undefined ? Infinity : parseDuration(spec["max-outage"])!
  const tooLong = broken.costs.filter(({ lasts, longestMs }) => lasts || longestMs > most)
  const details = [...(flows.length === 1 ? [] : broken.costs.map(costText)), ...blindness(broken.seen)]
  if (tooLong.length > 0) {
    const late = broken.isQuiet ? "" : ` (after ${withinMs / 1000} s)`
    return { passed: false, expected: told, seen: `${tooLong.map(costText).join("; ")}${late}`, details,
      ...(broken.where === undefined ? {} : { where: broken.where }) }
  }
  const seen = broken.costs.map(costText).join("; ")
  if (spec.recovers === false) return { passed: true, expected: told, seen, details }
  const after = await untilQuiet(lab, flows, withinMs, signal)
  const back = flows.map((flow, index) => costOf(flow, broken.seen[index]!, after.seen[index]!))
  const onReturn = back.filter(({ lasts, outages }) => lasts || outages > 0).map((cost) => `when it was healed, ${costText(cost)}`)
  if (after.isQuiet) return { passed: true, expected: told, seen: [seen, ...onReturn].join("; "), details: [...details, ...onReturn] }
  const bad = flows[back.findIndex(({ lasts }) => lasts)] ?? flows[0]!
  return { passed: false, expected: `${told}, and as before when it is healed`, details: [...details, ...onReturn],
    seen: `it is healed, and ${withinMs / 1000} s later ${onReturn[0] ?? `${bad.name} still loses packets`}`,
    where: await explain(lab, bad.from, bad.address) }
}

interface Broken extends Watched {
  readonly costs: ReadonlyArray<Cost>
  readonly where: string | undefined
}

interface Breaking {
  readonly withinMs: number
  readonly before: ReadonlyArray<FlowProgress>
  readonly signal: AbortSignal
}

/** What flows go through while the fault is in force. It is healed when this settles, however it does. */
const whileBroken = async (lab: Lab, flows: ReadonlyArray<Running>, fault: Injected, breaking: Breaking): Promise<Broken> => {
  const { before, signal, withinMs } = breaking
  try {
    const watched = await untilQuiet(lab, flows, withinMs, signal)
    const costs = flows.map((flow, index) => costOf(flow, before[index]!, watched.seen[index]!))
    const out = flows[costs.findIndex(({ lasts }) => lasts)]
    return { ...watched, costs, where: out === undefined ? undefined : await explain(lab, out.from, out.address) }
  } finally {
    await fault.heal()
  }
}

export const failover: Kind<Spec> = kind({
  schema: Failover,
  references: (spec) => flowsOf(spec).flatMap(({ from, to }, index) => {
    const path = Array.isArray(spec.flows) ? ["flows", index] : ["flows"]
    return [...referencesOf([...path, "from"], from, "node"), ...referencesOf([...path, "to"], to, "target")]
  }),
  withFiles: (value, { fileOf, path, reporter }) =>
    (typeof value !== "object" || value === null || !("inject" in value) ? value
      : { ...value, inject: withFiles(value.inject, [...path, "inject"], reporter, fileOf) }),
  problems: (value, { path, plan, reporter }) => {
    const { flows, inject, within } = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>
    if (inject !== undefined) readFaults(inject, [...path, "inject"], reporter, plan)
    if (Array.isArray(flows) && flows.length === 0) reporter.error([...path, "flows"], "the list is empty: there is nothing to measure")
    const withinMs = typeof within === "string" ? parseDuration(within) : undefined
    if (withinMs !== undefined && withinMs > longestWithinMs) reporter.error([...path, "within"], "at most 120s")
  },
  title: (spec) => expectation(spec, faultsOf(spec).map(faultText).join(" and ")),
  stage: "alone",
  run: async (spec, lab, signal) => {
    const flows: Array<Running> = []
    try {
      for (const flow of flowsOf(spec)) flows.push(await begin(lab, flow))
      return await measure(spec, lab, flows, signal)
    } finally {
      await Promise.all(flows.map((flow) => end(lab, flow)))
    }
  }
})
