/** `Faults`: messages to orders and back. What happens is the control's: of one host, or of many. */
import { type ReadFault, readFaults } from "../faults/read.ts"
import { readWords } from "../faults/read-words.ts"
import { toldKinds } from "../faults/told-kinds.ts"
import type { Fault } from "../plan/fault.ts"
import type { Plan } from "../plan/resource.ts"
import { type ChangeFailure, Refused } from "../reconciler/control.ts"
import { BadFault, type FaultControl, type FaultOutcome } from "../reconciler/fault-control.ts"
import { faultInspectionOf } from "../reconciler/inspection.ts"
import { type Diagnostic, Reporter } from "../topology/diagnostic.ts"
import { toDiagnostic } from "./labs.ts"
import { unary } from "./server.ts"
import { toStatus } from "./status.ts"

export interface FaultsDependencies {
  readonly control: FaultControl
  /** With what their topologies say, whatever faults they have. */
  readonly labs: () => Promise<ReadonlyArray<{ readonly name: string; readonly plan: Plan }>>
  /** @throws Refused when there is not exactly one */
  readonly onlyLab: () => Promise<string>
}

interface InjectRequest {
  readonly lab: string
  readonly words: ReadonlyArray<string>
  readonly spec: string
  readonly for: string
  readonly by: string
  readonly files: Readonly<Record<string, Uint8Array>>
}

const nothing: Plan = { lab: "", nodes: [], segments: [], resources: [] }

export const toFault = (lab: string, base: Plan | undefined, fault: Fault): object => faultInspectionOf(lab, base ?? nothing, fault)

const toFailure = ({ blocked, change, error, host, id }: ChangeFailure): object =>
  ({ change: { ...(change ?? { id }), host }, error, blocked })

type Known = ReadonlyArray<{ readonly name: string; readonly plan: Plan }>

/** The lab that is meant, and the words without its name. */
const labOf = async ({ onlyLab }: FaultsDependencies, labs: Known, request: InjectRequest): Promise<[string, ReadonlyArray<string>]> => {
  const { lab, words } = request
  const names = new Set(labs.map(({ name }) => name))
  /** `branch/fw:wan`, also behind `link=`. */
  const pattern = /^((?:[a-z][a-z0-9-]*=)?)([a-z0-9-]+)\/(.*)$/s
  const found = new Set(words.flatMap((word) => [pattern.exec(word)?.[2] ?? ""]).filter((name) => names.has(name)))
  if (found.size > 1) throw new Refused("ambiguous", `A fault is of one lab: the words name ${[...found].join(" and ")}`)
  const [named] = found
  const bare = words.map((word) => {
    const [, key = "", name = "", rest = ""] = pattern.exec(word) ?? []
    return names.has(name) ? key + rest : word
  })
  if (lab !== "" && named !== undefined && named !== lab) {
    throw new Refused("ambiguous", `The words name lab "${named}", --lab "${lab}": leave one of them out`)
  }
  return [lab !== "" ? lab : (named ?? (await onlyLab())), bare]
}

type Read =
  | { readonly ok: true; readonly faults: ReadonlyArray<ReadFault> }
  | { readonly ok: false; readonly diagnostics: ReadonlyArray<Diagnostic> }

const read = (request: InjectRequest, words: ReadonlyArray<string>, plan: Plan): Read => {
  if (request.spec === "") {
    const texts = Object.entries(request.files ?? {}).map(([path, octets]) => [path, Buffer.from(octets).toString("utf8")] as const)
    const result = readWords({ words, for: request.for, files: Object.fromEntries(texts) }, plan)
    return result.ok ? { ok: true, faults: [result.fault] } : result
  }
  const reporter = new Reporter("spec", () => ({ line: 1, column: 1 }))
  let value: unknown
  try {
    value = JSON.parse(request.spec)
  } catch (error) {
    reporter.error([], `not valid JSON: ${(error as Error).message}`)
  }
  const faults = reporter.errors > 0 ? undefined : readFaults(value, [], reporter, plan)
  return faults === undefined ? { ok: false, diagnostics: reporter.diagnostics } : { ok: true, faults }
}

const inject = async (dependencies: FaultsDependencies, request: InjectRequest): Promise<object> => {
  const began = performance.now()
  const labs = await dependencies.labs()
  const [lab, words] = await labOf(dependencies, labs, request)
  const plan = labs.find(({ name }) => name === lab)?.plan
  if (plan === undefined) {
    const there = labs.length === 0 ? "no lab is deployed" : `deployed: ${labs.map(({ name }) => name).join(", ")}`
    throw new Refused("not-found", `No lab "${lab}" (${there})`)
  }
  const result = read(request, words, plan)
  if (!result.ok) return { lab, diagnostics: result.diagnostics.map(toDiagnostic) }
  const by = request.by === "" ? "weft inject" : request.by
  try {
    const outcome = await dependencies.control.inject(lab, result.faults.map((fault) => ({ ...fault, by })))
    return changed(lab, plan, outcome, began)
  } catch (error) {
    if (error instanceof BadFault) return { lab, diagnostics: error.diagnostics.map(toDiagnostic) }
    throw error
  }
}

const changed = (lab: string, plan: Plan | undefined, { changed: count, failures, faults }: FaultOutcome, began: number): object => ({
  lab,
  faults: faults.map((fault) => toFault(lab, plan, fault)),
  changed: count,
  failures: failures.map(toFailure),
  durationMs: Math.round(performance.now() - began)
})

export const makeFaults = (dependencies: FaultsDependencies) => ({
  kinds: unary(toStatus, () => ({ kinds: toldKinds })),

  inject: unary(toStatus, (request: InjectRequest) => inject(dependencies, request)),

  heal: unary(toStatus, async ({ all, ids, lab: asked }: { lab: string; ids: ReadonlyArray<string>; all: boolean }) => {
    const began = performance.now()
    const { control, labs, onlyLab } = dependencies
    const lab = asked === "" ? await onlyLab() : asked
    const plan = (await labs()).find(({ name }) => name === lab)?.plan
    return changed(lab, plan, await control.heal(lab, all ? "all" : { ids }), began)
  }),

  list: unary(toStatus, async ({ lab }: { lab: string }) => {
    const { control, labs } = dependencies
    const all = await labs()
    const meant = lab === "" ? all.map(({ name }) => name) : [lab]
    const found = await Promise.all(meant.map(async (name) => {
      const plan = all.find((one) => one.name === name)?.plan
      return (await control.faults(name)).map((fault) => toFault(name, plan, fault))
    }))
    return { faults: found.flat() }
  })
})
