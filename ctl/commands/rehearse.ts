/**
 * `weft rehearse`: a change of a network, step by step under continuous probes, and what every flow suffered at each step.
 *
 *     read the file and those that it names --> the daemon reads them all --> run, live view --> reports
 *                                               wrong: exit 2                 stderr; Ctrl-C     stdout, files
 *
 * All that is told goes into a record here, so that there are reports even when the daemon dies in the middle. `compare` puts two
 * records side by side.
 */

import { createInterface } from "node:readline"
import { type Client, withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { type Bundle, readBundle } from "../rehearsal/bundle.ts"
import type { RehearsalPlanned, RehearsalStart } from "../rehearsal/messages.ts"
import type { RehearsalRecord, Run } from "../rehearsal/record.ts"
import { recorder, recordOf } from "../rehearsal/recorder.ts"
import { writeReports } from "../rehearsal/reports.ts"
import { followRun } from "../rehearsal/run.ts"
import { githubNote } from "../render/check-annotation.ts"
import { rehearsalNotes } from "../render/rehearsal-junit.ts"
import { liveView, type LiveView } from "../render/rehearsal-live.ts"
import { rehearsalLines } from "../render/rehearsal-summary.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf, widthOf } from "../terminal.ts"
import { compareFiles } from "./rehearse-compare.ts"
import { look, plan, refused } from "./rehearse-plan.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.rehearse>

const mostRuns = 1000

export const run = async (input: Input, context: Context): Promise<number> => {
  if (input.file === "compare") return compareFiles(input.others, { output: input.output, failIfWorse: input["fail-if-worse"] })
  if (input.others.length > 0) throw new Failure(Exit.usage, `One rehearsal at a time: "${input.others[0]}" is one too many`)
  const repeat = repeatOf(input)
  const bundle = readBundle(input.file)
  if (input.plan) return plan(bundle, input, context)
  const stopping = interruption()
  return withClient(context.daemon, (client) => rehearsing(client, bundle, { input, repeat, stopping }))
}

const repeatOf = ({ repeat = "1" }: Input): number => {
  const times = /^\d{1,4}$/.test(repeat) ? Number(repeat) : 0
  if (times < 1 || times > mostRuns) throw new Failure(Exit.usage, `--repeat takes a number from 1 to ${mostRuns}, not "${repeat}"`)
  return times
}

interface Order {
  readonly input: Input
  readonly repeat: number
  readonly stopping: AbortSignal
}

const rehearsing = async (client: Client, bundle: Bundle, { input, repeat, stopping }: Order): Promise<number> => {
  const { keep, lab = "", step } = input
  const start: RehearsalStart = { ...bundle, lab, keep, lookOnly: false, pauseBeforeEach: step }
  const planned = await Promise.race([look(client, start), stopped(stopping)])
  if (planned === undefined) {
    const { filename } = bundle
    return conclude(recordOf([notBegun()], { name: filename, filename, lab, version: "", repeat: 1 }), input)
  }
  if (refused(planned, bundle)) return Exit.usage
  const pauses = step || planned.steps.some(({ kind }) => kind === "pause")
  if (pauses && !process.stdin.isTTY && !input.yes) {
    throw new Failure(Exit.usage, "The rehearsal pauses until somebody says that it may go on, and there is no terminal to say so",
      "Give --yes to go on at once at every pause.")
  }
  const runs: Array<Run> = []
  let failure: unknown
  let { lab: named, name } = planned
  for (let number = 1; number <= repeat && !stopping.aborted; number++) {
    const recording = recorder(number)
    const title = repeat === 1 ? "" : `run ${number} of ${repeat}`
    const live = liveView(process.stderr, { style: styleOf(process.stderr), now: () => performance.now(), title })
    try {
      const outcome = await followRun(client, start, { recorder: recording, live, stop: stopping, paused: pausing(input, live, stopping) })
      runs.push(recording.run(stopping.aborted && outcome.done === undefined ? `it was stopped; ${outcome.reason}` : outcome.reason))
      ;({ lab: named, name } = outcome.planned ?? planned)
      if (outcome.done === undefined) break
    } catch (error) {
      failure = error
      break
    } finally {
      live.end()
    }
  }
  if (runs.length === 0 && failure !== undefined) throw failure
  if (runs.length === 0) runs.push(notBegun(planned))
  const { version } = await client.version().catch(() => ({ version: "" }))
  const record = recordOf(runs, { name, filename: bundle.filename, lab: named, version, repeat })
  return conclude(record, input)
}

/** Resolves when an end is wanted. */
const stopped = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined))
    if (signal.aborted) resolve(undefined)
  })

/** A run that was stopped before it could begin: the report says so. `planned`: what would have been, where that is known already. */
const notBegun = (planned?: RehearsalPlanned): Run => {
  const recording = recorder(1)
  if (planned !== undefined) recording.feed({ atMs: Date.now(), event: "planned", planned })
  else recording.feed({ atMs: Date.now(), event: "note", note: { text: "stopped", step: -1, passing: true, warning: false } })
  return recording.run("it was stopped before it began: nothing was touched")
}

/** The first Ctrl-C ends the run in an orderly manner, the second one this process: the daemon clears up all the same. */
const interruption = (): AbortSignal => {
  const controller = new AbortController()
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(Exit.failed)
      controller.abort()
    })
  }
  return controller.signal
}

/** Waits for the user's Enter, or does not. */
const pausing = ({ yes }: Input, live: LiveView, stop: AbortSignal) => async (text: string): Promise<void> => {
  if (yes || stop.aborted) return
  live.say(`paused: ${text}. Enter goes on, Ctrl-C stops`)
  const lines = createInterface({ input: process.stdin })
  await new Promise<void>((resolve) => {
    lines.once("line", () => resolve())
    lines.once("close", resolve)
    stop.addEventListener("abort", () => resolve())
  })
  lines.close()
}

/** Reports first: what is on the screen can be had again. */
const conclude = async (record: RehearsalRecord, input: Input): Promise<number> => {
  const { html, junit, output } = input
  let failed: unknown
  try {
    writeReports(record, { html, junit })
  } catch (error) {
    failed = error
  }
  if (process.env["GITHUB_ACTIONS"] === "true") for (const note of rehearsalNotes(record)) printError(githubNote(note))
  if (output === "table") print(rehearsalLines(record, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  else await printValue(output, record)
  if (failed !== undefined) throw failed
  return record.verdict === "passed" ? Exit.done : Exit.failed
}
