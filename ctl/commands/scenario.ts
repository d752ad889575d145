/**
 * `weft scenario`: faults on a timeline against a lab, deployed for it where the scenario names a topology.
 *
 *     look at it --> read its topology, look again --> deploy --> run, live lines --> destroy
 *     wrong: exit 2      --plan: print, end           stderr      stdout; Ctrl-C heals
 *
 * The schedule is the file's and the seed's alone. `--plan` prints it and touches nothing; where no daemon answers, it is
 * computed here.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { junit } from "../junit.ts"
import type { CheckResult, Diagnostic, Topology } from "../messages.ts"
import { inItsOwnLab, Interrupted, interruptedExit, interruption, type Interruption } from "../own-lab.ts"
import { readFaultRecordings, type Recordings } from "../recordings.ts"
import { diagnosticLines, hasErrors, tally } from "../render/diagnostics.ts"
import { momentLines, scheduleLines } from "../render/scenario.ts"
import { printValue } from "../render/value.ts"
import type { ScenarioDone, ScenarioMoment, ScenarioPlanned, ScenarioStart } from "../scenario-messages.ts"
import { print, printError, styleOf } from "../terminal.ts"
import { readTopologyOf } from "../topology-file.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.scenario>

const suffix = ".scenario.yaml"
const largest = 4 << 20
/** What a daemon that was told to stop may take to heal. */
const healingMs = 30_000

export const run = async (input: Input, context: Context): Promise<number> => {
  const request = readScenario(input)
  if (!input.plan) return withClient(context.daemon, (client) => running(client, request, input))
  try {
    return await withClient(context.daemon, (client) => planning(client, request, input))
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== Exit.unreachable) throw error
    return planningHere(request, input)
  }
}

/** The scenario that the command line means. @throws {Failure} exit 2 when there is none, or no single one */
const readScenario = ({ file, lab = "", seed = "", speed = "1x" }: Input): ScenarioStart => {
  const filename = file ?? onlyScenario()
  const factor = /^(\d+(?:\.\d+)?)x?$/.exec(speed)?.[1]
  if (factor === undefined || Number(factor) <= 0) throw new Failure(Exit.usage, `"${speed}" is no speed: it is 2x, 0.5x, ...`)
  if (seed !== "" && !/^\d{1,15}$/.test(seed)) throw new Failure(Exit.usage, `"${seed}" is no seed: it is a whole number from 0 on`)
  try {
    const content = readFileSync(filename === "-" ? 0 : filename)
    if (content.length > largest) throw new Failure(Exit.usage,
      `Cannot use scenario "${filename}": it has ${content.length} octets, at most ${largest} are accepted`)
    const recordings = readFaultRecordings(content, filename === "-" ? "." : dirname(filename), "scenario")
    return { filename: filename === "-" ? "<stdin>" : filename, content, ...recordings, lab, seed, speed: Number(factor), lookOnly: false }
  } catch (error) {
    if (error instanceof Failure) throw error
    const { code } = error as NodeJS.ErrnoException
    const reason = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "it is a folder" : code === "EACCES" ? "permission denied"
      : String(code)
    const here = scenariosHere()
    throw new Failure(Exit.usage, `Cannot read scenario "${filename}": ${reason}`, here.length === 0 ? undefined
      : `In this folder: ${here.join(", ")}`)
  }
}

const scenariosHere = (): ReadonlyArray<string> => readdirSync(".").filter((name) => name.endsWith(suffix)).sort()

const onlyScenario = (): string => {
  const [first, ...others] = scenariosHere()
  if (first !== undefined && others.length === 0) return first
  const found = first === undefined ? `no *${suffix} is in this folder`
    : `${others.length + 1} are in this folder: ${[first, ...others].join(", ")}`
  throw new Failure(Exit.usage, `No scenario is named and ${found}`, "Name one: weft scenario FILE")
}

const look = async (client: Client, request: ScenarioStart): Promise<ScenarioPlanned> => {
  for await (const message of client.scenario({ ...request, lookOnly: true })) if (message.event === "planned") return message.planned
  throw new Failure(Exit.unreachable, "The daemon did not say what it thinks of the scenario", "Look at its log.")
}

interface Looked {
  readonly request: ScenarioStart
  readonly planned: ScenarioPlanned
  /** The one to deploy for it. */
  readonly topology?: Topology
}

/** What the daemon thinks of the scenario and of the topology that it names. Undefined: it is wrong, which has been said. */
const lookWell = async (client: Client, request: ScenarioStart): Promise<Looked | undefined> => {
  const first = await look(client, request)
  if (first.topology === "" || request.lab !== "") return refused(first.diagnostics, request) ? undefined : { request, planned: first }
  const topology = await readTopologyOf(request, first.topology).catch((error: unknown) => {
    refused(first.diagnostics, request)
    throw error
  })
  const planned = await look(client, { ...request, topology })
  return refused(planned.diagnostics, request, topology) ? undefined : { request: { ...request, lab: planned.lab }, planned, topology }
}

/** Whether there are errors; prints what was found. */
const refused = (diagnostics: ReadonlyArray<Diagnostic>, scenario: ScenarioStart, topology?: Topology): boolean => {
  const style = styleOf(process.stderr)
  const ofTopology = diagnostics.filter(({ filename }) => filename !== scenario.filename)
  const ofScenario = diagnostics.filter(({ filename }) => filename === scenario.filename)
  const lines = [
    ...diagnosticLines(ofScenario, style, process.stderr.isTTY ? scenario : undefined),
    ...diagnosticLines(ofTopology, style, process.stderr.isTTY ? topology : undefined)
  ]
  if (lines.length > 0) printError(lines.join("\n"))
  if (!hasErrors(diagnostics)) return false
  printError(`${style.red("invalid:")} ${tally(diagnostics)}; nothing was touched`)
  return true
}

const planning = async (client: Client, request: ScenarioStart, input: Input): Promise<number> => {
  const looked = await lookWell(client, request)
  if (looked === undefined) return Exit.usage
  if (looked.planned.lab === "") printError("No lab is known: names were not looked up")
  return showPlan(looked.planned, request, input)
}

const showPlan = async (planned: ScenarioPlanned, { filename }: ScenarioStart, { output }: Input): Promise<number> => {
  const { endingCheck, endingMs, lab, name, seed, steps, topology } = planned
  if (output === "table") {
    const style = styleOf(process.stdout)
    print([`${style.bold(name)}${lab === "" ? "" : ` in ${lab}`}, seed ${seed}`, ...scheduleLines(planned, filename, style)].join("\n"))
  } else {
    const rows = steps.map((step) =>
      ({ ...step, faults: step.faults.map((fault) => ({ ...fault, spec: JSON.parse(fault.spec) as unknown })) }))
    await printValue(output, { name, lab, topology, seed, endingMs, endingCheck, steps: rows })
  }
  return Exit.done
}

/** Without a daemon: the same computation in this process, of the file and of the topology that it names. */
const planningHere = async (request: ScenarioStart, input: Input): Promise<number> => {
  const [{ readScenario: read, stepsOf }, { load }] = await Promise.all([
    import("../../daemon/checks/scenario.ts"), import("../../daemon/compiler/load.ts")
  ])
  const mapsOf = ({ files = {}, unread = {} }: Partial<Recordings>) =>
    ({ files: new Map(Object.entries(files)), unread: new Map(Object.entries(unread)) })
  const options = { ...mapsOf(request), ...(request.seed === "" ? {} : { seed: Number(request.seed) }) }
  const first = read(request, options)
  const { topology: named = "" } = first.ok ? first.scenario : first
  const topology = named === "" ? undefined : await readTopologyOf(request, named)
  const loaded = topology === undefined ? undefined
    : load({ filename: topology.filename, content: topology.content, ...mapsOf(topology) })
  const result = loaded?.ok === true ? read(request, { ...options, plan: loaded.plan }) : first
  const found = [...(result.ok ? [] : result.diagnostics), ...(loaded === undefined || loaded.ok ? [] : loaded.diagnostics)]
  const diagnostics = found.map((one): Diagnostic =>
    ({ ...one, severity: one.severity === "error" ? "ERROR" : "WARNING", suggestion: one.suggestion ?? "" }))
  if (refused(diagnostics, request, topology) || !result.ok) return Exit.usage
  const lab = loaded?.ok === true ? loaded.plan.lab : ""
  if (lab === "") printError("No daemon answers and the scenario names no topology: names were not looked up")
  const { ending, name } = result.scenario
  const planned = {
    diagnostics: [], name, lab, topology: named, seed: result.scenario.seed, endingMs: ending.atMs,
    endingCheck: ending.check?.name ?? "", steps: stepsOf(result.scenario)
  }
  return showPlan(planned, request, input)
}

const running = async (client: Client, given: ScenarioStart, input: Input): Promise<number> => {
  const looked = await lookWell(client, given)
  if (looked === undefined) return Exit.usage
  const { planned, request, topology } = looked
  const { lab } = planned
  if (topology === undefined) return inLab(client, { ...request, lab }, input, interruption())
  return inItsOwnLab(client, { lab, topology, keep: input.keep }, {
    run: (ending) => inLab(client, request, input, ending),
    undeployed: (reason) => report(input, request, { planned, moments: [], durationMs: 0, reason }),
    undone: "the scenario has not begun",
    used: "used"
  })
}

interface Story {
  readonly planned: ScenarioPlanned | undefined
  readonly moments: ReadonlyArray<ScenarioMoment>
  readonly durationMs: number
  readonly done?: ScenarioDone
  /** Why it has not come to its end. */
  readonly reason?: string
}

/** Runs it, tells about it as it goes, and writes the report, whatever happens. */
const inLab = async (client: Client, request: ScenarioStart, input: Input, { signal }: Interruption): Promise<number> => {
  const began = performance.now()
  const moments: Array<ScenarioMoment> = []
  const call = client.scenario(request)
  let planned: ScenarioPlanned | undefined
  let done: ScenarioDone | undefined
  let failure: unknown
  let patience: NodeJS.Timeout | undefined
  const stop = (): void => {
    printError("interrupted: healing what was injected. Once more ends weft at once; the daemon heals it all the same")
    call.stop()
    patience = setTimeout(call.cancel, healingMs)
  }
  signal.addEventListener("abort", stop)
  if (signal.aborted) throw new Interrupted()
  try {
    for await (const message of call) {
      if (message.event === "planned") {
        planned = message.planned
        if (refused(planned.diagnostics, request)) return Exit.usage
        begin(planned, request, input)
      } else if (message.event === "moment") {
        moments.push(message.moment)
        show(message.moment, planned, request, input)
      } else done = message.done
    }
  } catch (error) {
    failure = error
  }
  clearTimeout(patience)
  const reason = failure instanceof Error ? failure.message : "the daemon ended the run"
  const durationMs = done?.durationMs ?? performance.now() - began
  const story: Story = { planned, moments, durationMs, ...(done === undefined ? { reason } : { done }) }
  report(input, request, story)
  if (planned !== undefined) await conclude(input, story)
  if (signal.aborted) return interruptedExit
  if (failure !== undefined) throw failure
  return done?.outcome === "passed" ? Exit.done : Exit.failed
}

const begin = ({ endingMs, lab, name, seed, steps }: ScenarioPlanned, { speed }: ScenarioStart, { output }: Input): void => {
  if (output !== "table") return
  const style = styleOf(process.stdout)
  const pace = speed === 1 ? "" : ` at ${speed}x`
  const most = `at most ${Math.round(endingMs / speed / 100) / 10} s${pace}`
  print(`${style.bold(name)} in ${lab}, seed ${seed}: ${steps.length} ${steps.length === 1 ? "moment" : "moments"}, ${most}`)
}

const show = (moment: ScenarioMoment, planned: ScenarioPlanned | undefined, start: ScenarioStart, { output }: Input): void => {
  if (output !== "table") return
  const lines = momentLines(moment, planned?.steps[moment.step], start, styleOf(process.stdout))
  if (lines.length > 0) print(lines.join("\n"))
}

const conclude = async ({ output }: Input, { done, durationMs, moments, planned, reason }: Story): Promise<void> => {
  if (output !== "table") {
    const { lab = "", name = "", seed = 0 } = planned ?? {}
    const outcome = done?.outcome ?? "failed"
    const reasons = done?.reasons ?? [reason ?? ""]
    return printValue(output, { ok: outcome === "passed", name, lab, seed, outcome, reasons, durationMs, moments })
  }
  const style = styleOf(process.stdout)
  const took = style.dim(`(${(durationMs / 1000).toFixed(1)} s)`)
  if (done === undefined) return print(`${style.red("failed")}: ${reason} ${took}`)
  const count = moments.reduce((sum, { injected }) => sum + injected.length, 0)
  const faults = `${count} ${count === 1 ? "fault" : "faults"}`
  if (done.outcome === "passed") return print(`${style.green("✓")} passed: ${faults} injected and healed ${took}`)
  const word = done.outcome === "failed" ? style.red("✗ failed") : style.yellow("interrupted")
  print([`${word}: ${faults} injected and healed ${took}`, ...done.reasons.map((line) => `  ${line}`)].join("\n"))
}

const nameOf = ({ check, faults, heals, what }: ScenarioPlanned["steps"][number]): string =>
  (what === "check" ? check : `${what} ${[...faults.map(({ title }) => title), ...heals].join(" and ")}`)

/** A case for each check and each thing that could not be done, and one for the scenario's end. */
const report = ({ junit: file }: Input, { filename, lab }: ScenarioStart, story: Story): void => {
  if (file === undefined) return
  const { done, durationMs, moments, planned, reason } = story
  const results = moments.flatMap((moment, index): ReadonlyArray<CheckResult> => {
    const step = planned?.steps[moment.step]
    if (moment.check !== null) return [{ ...moment.check, index }]
    const name = step === undefined ? "its end" : nameOf(step)
    if (moment.error === "" && step === undefined) return []
    return [{
      index, name, kind: step?.what ?? "end", line: step?.line ?? 1, column: 1, outcome: moment.error === "" ? "passed" : "failed",
      error: moment.error !== "", expected: name, seen: moment.error, where: "", details: [], attempts: 1, durationMs: 0, labels: []
    }]
  })
  const stopped = done === undefined ? reason : done.outcome === "interrupted" ? "it was interrupted" : undefined
  const reached = new Set(moments.map(({ step }) => step))
  const unreached = (planned?.steps ?? []).flatMap((step, index) =>
    (reached.has(index) ? [] : [{ index: moments.length + index, name: nameOf(step), kind: step.what, line: step.line }]))
  const missing = unreached.length === 0 ? "" : `${unreached.length} of ${planned?.steps.length} moments not reached`
  const startedAt = new Date(Date.now() - durationMs).toISOString()
  const more = stopped === undefined ? {} : { broken: { reason: stopped, missing, unreached } }
  try {
    const report = { suite: planned?.name ?? filename, filename, lab, startedAt, durationMs, results, ...more }
    writeFileSync(file, junit({ program: "weft scenario", ...report }))
  } catch (error) {
    throw new Failure(Exit.failed,
      `Cannot write the report "${file}": ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
  }
}
