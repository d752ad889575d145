/**
 * The book of a lab's faults: which are in force, and what that makes of its plan.
 *
 *     (base, faults) --withFaults--> Faulted        inject, heal, catchUp: Faulted -> Faulted
 *
 * Pure: what time it is and whose lease is over is told. One host and many keep the same book (`store/`) and change it by
 * the same functions; they differ in how the plan that comes out becomes true.
 */
import { baseOf, type Fault, type Faulted, type FaultOrder } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { type Diagnostic, formatPath } from "../topology/diagnostic.ts"
import { applyFaults } from "./apply.ts"
import type { Action, Problem } from "./kind.ts"
import { kindOf } from "./kinds.ts"

/** What became of a fault: it is lost when the lab has no such target any more. */
export interface Lost {
  readonly fault: Fault
  readonly reason: string
}

/** A lab whose topology is `base` and which has these faults; those that it has no target for are left out. */
export const withFaults = (base: Plan, faults: ReadonlyArray<Fault>, faultCount = 0): Faulted & { readonly lost: ReadonlyArray<Lost> } => {
  const { lost, plan } = applyFaults(base, faults)
  const isLost = new Set(lost.map(({ fault }) => fault))
  const left = faults.filter((fault) => !isLost.has(fault))
  const count = faultCount === 0 ? {} : { faultCount }
  return left.length === 0 ? { plan: base, ...count, lost } : { plan, base, faults: left, ...count, lost }
}

/** The book alone of something that has more. */
export const bookOf = ({ base, faultCount, faults, plan }: Faulted): Faulted => ({
  plan,
  ...(base === undefined ? {} : { base }),
  ...(faults === undefined ? {} : { faults }),
  ...(faultCount === undefined ? {} : { faultCount })
})

export interface Injected {
  readonly book: Faulted
  /** In the order of the orders; what happens once is among them, and not in the book. */
  readonly faults: ReadonlyArray<Fault>
  /** A plan to go through first. */
  readonly before?: Plan
  /** What is to be done once, when the plan is true. */
  readonly actions: ReadonlyArray<Action>
}

/** Everything that is wrong with the orders, or the lab with them in force from `nowMs` on. */
export const inject = (
  lab: Faulted,
  orders: ReadonlyArray<FaultOrder>,
  nowMs: number
): { readonly ok: true; readonly value: Injected } | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> } => {
  const base = baseOf(lab)
  const wrong = orders.flatMap((order) => problemsOf(order, base))
  const diagnostics = wrong.length > 0 ? wrong : uselessOf(lab.plan, orders, new Date(nowMs).toISOString())
  if (diagnostics.length > 0) return { ok: false, diagnostics }
  const count = lab.faultCount ?? 0
  const faults = orders.map((order, index) => faultOf(order, `f${count + index + 1}`, base, nowMs))
  const staying = faults.filter(({ kind }) => kindOf(kind)!.apply !== undefined)
  const all = [...(lab.faults ?? []), ...staying]
  const { lost: _, ...book } = withFaults(base, all, count + faults.length)
  const before = passing(lab.plan, staying)
  const actions = faults.flatMap(({ kind, spec }) => kindOf(kind)!.act?.(spec, base) ?? [])
  return { ok: true, value: { book, faults, ...(before === undefined ? {} : { before }), actions } }
}

/** What the lab is for a moment on the way to the new faults: as it was, and what their kinds want first. */
const passing = (now: Plan, added: ReadonlyArray<Fault>): Plan | undefined => {
  const passed = added.reduce((plan, { kind, spec }) => kindOf(kind)!.before?.(spec, plan) ?? plan, now)
  return passed === now ? undefined : passed
}

const problemsOf = ({ kind: name, spec }: FaultOrder, base: Plan): ReadonlyArray<Diagnostic> => {
  const kind = kindOf(name)
  return diagnosticsOf(name, kind === undefined ? [{ path: [], message: `there is no fault "${name}"` }] : kind.check(spec, base))
}

const diagnosticsOf = (name: string, problems: ReadonlyArray<Problem>): ReadonlyArray<Diagnostic> =>
  problems.map(({ message, path }) => ({
    severity: "error", filename: "inject", line: 1, column: 1, path: formatPath([name, ...path]), message
  }))

/** What each order would do nothing without, in the lab as it is with the orders before it. */
const uselessOf = (now: Plan, orders: ReadonlyArray<FaultOrder>, injectedAt: string): ReadonlyArray<Diagnostic> => {
  let plan = now
  return orders.flatMap(({ kind: name, spec }) => {
    const kind = kindOf(name)!
    const found = diagnosticsOf(name, kind.useless?.(spec, plan) ?? [])
    plan = kind.apply?.(spec, plan, 0, { id: "", injectedAt }) ?? plan
    return found
  })
}

const faultOf = (order: FaultOrder, id: string, base: Plan, nowMs: number): Fault => {
  const { by, kind: name, lease, spec } = order
  const kind = kindOf(name)!
  const forMs = order.forMs ?? kind.defaultForMs?.(spec)
  const injectedAt = new Date(nowMs).toISOString()
  return {
    id,
    kind: name,
    spec,
    title: kind.title(spec, base),
    injectedAt,
    by,
    ...(forMs === undefined || kind.apply === undefined ? {} : { until: new Date(nowMs + forMs).toISOString() }),
    ...(lease === undefined ? {} : { lease }),
    ...(kind.phases === undefined ? {} : { phase: 0 })
  }
}

export interface Healed {
  readonly book: Faulted
  /** In the order in which they were injected. */
  readonly faults: ReadonlyArray<Fault>
}

/** The lab without the faults that `isMeant`. */
export const heal = (lab: Faulted, isMeant: (fault: Fault) => boolean): Healed => {
  const faults = lab.faults ?? []
  const healed = faults.filter(isMeant)
  const { lost: _, ...book } = withFaults(baseOf(lab), faults.filter((fault) => !isMeant(fault)), lab.faultCount)
  return { book, faults: healed }
}

/** Ids that no fault of the lab has ever had. */
export const unknownIds = ({ faultCount = 0 }: Faulted, ids: ReadonlyArray<string>): ReadonlyArray<string> =>
  ids.filter((id) => !/^f[1-9]\d{0,8}$/.test(id) || Number(id.slice(1)) > faultCount)

// ---- time ------------------------------------------------------------------------------------------------------------

/** Which phase a fault is in, and when the next begins; `nextMs` is Infinity for one that has only one. */
export const phaseAt = ({ injectedAt, kind, spec }: Fault, nowMs: number): { readonly phase: number; readonly nextMs: number } => {
  const phases = kindOf(kind)?.phases?.(spec) ?? []
  const roundMs = phases.reduce((sum, ms) => sum + ms, 0)
  if (phases.length < 2 || !(roundMs > 0)) return { phase: 0, nextMs: Number.POSITIVE_INFINITY }
  const beganMs = Date.parse(injectedAt)
  const intoMs = Math.max(0, nowMs - beganMs) % roundMs
  let endMs = 0
  for (const [phase, ms] of phases.entries()) {
    endMs += ms
    if (intoMs < endMs) return { phase, nextMs: nowMs + endMs - intoMs }
  }
  return { phase: 0, nextMs: nowMs + roundMs - intoMs }
}

export interface CaughtUp {
  readonly book: Faulted
  /** Their time was up, or whoever held them has ended. */
  readonly expired: ReadonlyArray<{ readonly fault: Fault; readonly reason: string }>
  readonly lost: ReadonlyArray<Lost>
}

/**
 * The lab as its faults should have it at `nowMs`; undefined: it is so already.
 *
 * @param isOver whether whoever holds a lease has ended
 */
export const catchUp = (lab: Faulted, nowMs: number, isOver: (lease: string) => boolean): CaughtUp | undefined => {
  const faults = lab.faults ?? []
  const expired = faults.flatMap((fault) => {
    const reason = endOf(fault, nowMs, isOver)
    return reason === undefined ? [] : [{ fault, reason }]
  })
  const gone = new Set(expired.map(({ fault }) => fault))
  const staying = faults.filter((fault) => !gone.has(fault))
  const phased = staying.map((fault) => {
    if (fault.phase === undefined) return fault
    const { phase } = phaseAt(fault, nowMs)
    return phase === fault.phase ? fault : { ...fault, phase }
  })
  if (expired.length === 0 && phased.every((fault, index) => fault === staying[index])) return undefined
  const { lost, ...book } = withFaults(baseOf(lab), phased, lab.faultCount)
  return { book, expired, lost }
}

const endOf = ({ lease, until }: Fault, nowMs: number, isOver: (lease: string) => boolean): string | undefined => {
  if (until !== undefined && Date.parse(until) <= nowMs) return "its time is up"
  return lease !== undefined && isOver(lease) ? `whoever held it (${lease}) has ended` : undefined
}

/** When `catchUp` next has something to do by the clock alone, in ms; Infinity: never. */
export const nextDueMs = ({ faults = [] }: Faulted, nowMs: number): number =>
  Math.min(
    Number.POSITIVE_INFINITY,
    ...faults.flatMap((fault) => [
      ...(fault.until === undefined ? [] : [Date.parse(fault.until)]),
      ...(fault.phase === undefined ? [] : [phaseAt(fault, nowMs).nextMs])
    ])
  )

// ---- looking ---------------------------------------------------------------------------------------------------------

/** What one fault changes of the topology's plan, by names. */
export interface Touched {
  readonly nodes: ReadonlyArray<string>
  /** Links and networks. */
  readonly segments: ReadonlyArray<string>
}

/** @returns nodes and segments of which a resource is another, or gone, while `fault` alone is in force */
export const touchedBy = (base: Plan, fault: Fault): Touched => {
  const { plan } = applyFaults(base, [fault])
  if (plan === base) return { nodes: [], segments: [] }
  const before = new Set(base.resources)
  const after = new Set(plan.resources)
  const changed = [...base.resources.filter((one) => !after.has(one)), ...plan.resources.filter((one) => !before.has(one))]
  const nodes = new Set(changed.flatMap(({ spec }) => ("node" in spec ? [spec.node] : [])))
  const ports = new Set(changed.flatMap(({ kind, spec }) => (kind === "port" ? [`${spec.node}:${spec.ifname}`] : [])))
  const own = new Set(changed.flatMap(({ kind, spec }) => (kind === "segment" ? [`${spec.segmentKind}/${spec.name}`] : [])))
  const segments = base.segments.filter(({ kind, name, ports: all }) => own.has(`${kind}/${name}`) || all.some((port) => ports.has(port)))
  return { nodes: [...nodes].toSorted(), segments: segments.map(({ name }) => name) }
}
