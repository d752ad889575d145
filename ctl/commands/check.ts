/**
 * `weft check`: a suite against a lab, deployed for it where the suite names a topology.
 *
 *     look at the suite --> read its topology, look again --> deploy --> run --> destroy
 *     wrong: exit 2         wrong: exit 2                      stderr     stdout   also on Ctrl-C, unless --keep
 *
 * Nothing is touched before the suite and its topology are known to be right. A lab that runs already is not this
 * command's: it is checked as it is and left alone.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { junit } from "../junit.ts"
import { inItsOwnLab, Interrupted, interruptedExit, interruption, type Interruption } from "../own-lab.ts"
import type { CheckDone, CheckPlanned, CheckRequest, CheckResult, Topology } from "../messages.ts"
import { readFaultRecordings } from "../recordings.ts"
import { annotation, codeQuality, noteOf } from "../render/check-annotation.ts"
import { bailOut, tapHead, tapLines } from "../render/check-tap.ts"
import { resultLines, tallyLine } from "../render/check.ts"
import { diagnosticLines, hasErrors, tally } from "../render/diagnostics.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf } from "../terminal.ts"
import { readTopologyOf } from "../topology-file.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.check>

const suffix = ".check.yaml"
const largest = 4 << 20
export const run = (input: Input, context: Context): Promise<number> => {
  if (input.tap && input.output !== "table") throw new Failure(Exit.usage, "Give either --tap or --output, not both")
  const request = readSuite(input)
  return withClient(context.daemon, async (client) => {
    const looked = await look(client, request)
    if (looked.topology === "" || request.lab !== "") {
      if (refused(looked, request)) return Exit.usage
      return checking(client, { ...request, lab: looked.lab }, input, { ...interruption(), looked })
    }
    const topology = await readTopologyOf(request, looked.topology).catch((error: unknown) => {
      // What is wrong with the suite itself is known all the same.
      refused(looked, request)
      throw error
    })
    const planned = await look(client, { ...request, topology })
    if (refused(planned, request, topology)) return Exit.usage
    const { lab } = planned
    const owned = { ...request, lab }
    return inItsOwnLab(client, { lab, topology, keep: input.keep }, {
      run: (ending) => checking(client, owned, input, { ...ending, looked: planned }),
      undeployed: (reason) => report(input, owned, { results: [], missing: planned.total, durationMs: 0, reason }, planned),
      undone: "no checks were run",
      used: "checked"
    })
  })
}

/** The suite that the command line means. @throws {Failure} exit 2 when there is none, or no single one */
const readSuite = ({ file, lab = "", only }: Input): CheckRequest => {
  const filename = file ?? onlySuite()
  try {
    const content = readFileSync(filename === "-" ? 0 : filename)
    if (content.length > largest) throw new Failure(Exit.usage,
      `Cannot use suite "${filename}": it has ${content.length} octets, at most ${largest} are accepted`)
    const recordings = readFaultRecordings(content, filename === "-" ? "." : dirname(filename), "suite")
    return { filename: filename === "-" ? "<stdin>" : filename, content, ...recordings, lab, only, lookOnly: false }
  } catch (error) {
    if (error instanceof Failure) throw error
    const { code } = error as NodeJS.ErrnoException
    const reason = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "it is a folder" : code === "EACCES" ? "permission denied"
      : String(code)
    const here = suitesHere()
    throw new Failure(Exit.usage, `Cannot read suite "${filename}": ${reason}`, here.length === 0 ? undefined
      : `In this folder: ${here.join(", ")}`)
  }
}

const suitesHere = (): ReadonlyArray<string> => readdirSync(".").filter((name) => name.endsWith(suffix)).sort()

const onlySuite = (): string => {
  const [first, ...others] = suitesHere()
  if (first !== undefined && others.length === 0) return first
  const found = first === undefined ? `no *${suffix} is in this folder`
    : `${others.length + 1} are in this folder: ${[first, ...others].join(", ")}`
  throw new Failure(Exit.usage, `No suite is named and ${found}`, "Name one: weft check FILE")
}

const look = async (client: Client, request: CheckRequest): Promise<CheckPlanned> => {
  for await (const message of client.check({ ...request, lookOnly: true })) if (message.event === "planned") return message.planned
  throw new Failure(Exit.unreachable, "The daemon did not say what it thinks of the suite", "Look at its log.")
}

/** Whether there are errors; prints what was found. */
const refused = ({ diagnostics }: CheckPlanned, suite: CheckRequest, topology?: Topology): boolean => {
  const style = styleOf(process.stderr)
  const ofTopology = diagnostics.filter(({ filename }) => filename !== suite.filename)
  const ofSuite = diagnostics.filter(({ filename }) => filename === suite.filename)
  const lines = [
    ...diagnosticLines(ofSuite, style, process.stderr.isTTY ? suite : undefined),
    ...diagnosticLines(ofTopology, style, process.stderr.isTTY ? topology : undefined)
  ]
  if (lines.length > 0) printError(lines.join("\n"))
  if (!hasErrors(diagnostics)) return false
  printError(`${style.red("invalid:")} ${tally(diagnostics)}; nothing was touched`)
  return true
}

interface Outcome {
  readonly results: ReadonlyArray<CheckResult>
  readonly durationMs: number
  readonly missing: number
  /** Why some are missing. */
  readonly reason?: string
}

interface Checking extends Interruption {
  /** What the daemon thought of the suite before. */
  readonly looked: CheckPlanned
}

/** Runs the suite, tells about it as it goes, and writes the report, whatever happens. */
const checking = async (client: Client, request: CheckRequest, input: Input, { abandoned, looked, signal }: Checking): Promise<number> => {
  const began = performance.now()
  const results: Array<CheckResult> = []
  const call = client.check(request)
  signal.addEventListener("abort", call.cancel)
  let planned = looked
  let done: CheckDone | undefined
  let failure: unknown
  try {
    const events = call[Symbol.asyncIterator]()
    for (;;) {
      const { done: ended, value } = await Promise.race([events.next(), abandoned])
      if (ended === true) break
      if (value.event === "planned") {
        planned = value.planned
        if (refused(planned, request)) return Exit.usage
        if (input.tap) print(tapHead(planned.total).join("\n"))
      } else if (value.event === "result") {
        results.push(value.result)
        show(value.result, results.length, input, request.filename)
      } else done = value.done
    }
  } catch (error) {
    failure = error
  }
  const missing = planned.total - results.length
  const reason = failure instanceof Error ? failure.message : "the daemon ended the run"
  const outcome = { results, missing, durationMs: done?.durationMs ?? performance.now() - began, ...(missing === 0 ? {} : { reason }) }
  report(input, request, outcome, planned)
  await conclude(input, outcome, planned, done)
  if (failure instanceof Interrupted) return interruptedExit
  if (failure !== undefined) throw failure
  return missing > 0 || results.some((result) => result.outcome === "failed") ? Exit.failed : Exit.done
}

const show = (result: CheckResult, number: number, input: Input, filename: string): void => {
  if (input.tap) print(tapLines(result, number, filename).join("\n"))
  else if (input.output === "table" && !(input.quiet && result.outcome === "passed")) {
    print(resultLines(result, filename, styleOf(process.stdout)).join("\n"))
  }
  const note = process.env["GITHUB_ACTIONS"] === "true" ? annotation(result, filename) : undefined
  if (note !== undefined) printError(note)
}

const report = (input: Input, { filename, lab }: CheckRequest, outcome: Outcome, planned: CheckPlanned): void => {
  const startedAt = new Date(Date.now() - outcome.durationMs).toISOString()
  const { checks, suite } = planned
  const write = (file: string | undefined, text: () => string): void => {
    if (file === undefined) return
    try {
      writeFileSync(file, text())
    } catch (error) {
      throw new Failure(Exit.failed,
        `Cannot write the report "${file}": ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
    }
  }
  const { durationMs, missing, reason = "", results } = outcome
  const done = new Set(results.map(({ index }) => index))
  const unreached = checks.filter(({ index }) => !done.has(index))
  const words = `${missing} ${missing === 1 ? "check was" : "checks were"} not run`
  const broken = missing === 0 ? {} : { broken: { reason, missing: words, unreached } }
  write(input.junit, () => junit({ program: "weft check", suite, filename, lab, startedAt, durationMs, results, ...broken }))
  write(input["code-quality"], () => {
    const notes = outcome.results.toSorted((a, b) => a.index - b.index).flatMap((result) => noteOf(result, filename) ?? [])
    const broken = { level: "error" as const, file: filename, line: 1, title: "the suite runs to its end",
      message: `${outcome.missing} not run: ${outcome.reason ?? ""}` }
    return codeQuality(outcome.missing > 0 ? [...notes, broken] : notes)
  })
}

const conclude = async (input: Input, outcome: Outcome, planned: CheckPlanned, done: CheckDone | undefined): Promise<void> => {
  const { missing, reason, results } = outcome
  const count = (of: CheckResult["outcome"]): number => results.filter((result) => result.outcome === of).length
  const counts = { passed: count("passed"), failed: count("failed"), warnings: count("warning"), durationMs: outcome.durationMs }
  const style = styleOf(process.stdout)
  if (input.tap) return void (missing > 0 && print(bailOut(reason ?? "")))
  if (input.output === "table") {
    const unrun = missing > 0 ? `, ${style.red(`${missing} not run`)} (${reason})` : ""
    return print(`${tallyLine(counts, style)}${unrun}`)
  }
  const ok = done !== undefined && counts.failed === 0 && missing === 0
  const { lab, suite } = planned
  await printValue(input.output, { ok, suite, lab, ...counts, notRun: missing, results: results.toSorted((a, b) => a.index - b.index) })
}
