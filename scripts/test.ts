/**
 * Runs the types and the tests, says what failed and why, and ends with the line `N passed, N failed`.
 *
 *   node scripts/test.ts              everything: what `npm test` calls
 *   node scripts/test.ts --check      only what needs no privilege: what `npm run check` calls
 *   node scripts/test.ts PATH...      these test files, or those in these folders
 *
 * A test file is a program that prints TAP, so each one runs in a process of its own with plain Node and nothing is
 * built or written beforehand; that lets an unprivileged user test a checkout of somebody else. `npx tap FILE` runs a
 * file too, with tap's own reporters. Numbers count assertions; a file that crashes, hangs or contains no assertion
 * adds one failure.
 *
 * Files need root when they lie in a folder `root` or end in `.root.test.ts`. Those run one after the other because they
 * share the kernel, the others side by side. Without root they are counted as skipped; with CI=true that is a failure,
 * and so is one of these files in which nothing was asserted, for a suite that quietly runs nothing proves nothing.
 */

import { spawn } from "node:child_process"
import { readdirSync, statSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, relative, resolve } from "node:path"
import { inspect, parseArgs, stripVTControlCharacters } from "node:util"
import { Parser, type Result } from "tap-parser"

/** One process to run: a test file, or the type checker. */
interface Job {
  readonly name: string
  readonly argv: ReadonlyArray<string>
  /** `tap`: standard output is TAP. `exit`: only the exit status counts. */
  readonly output: "tap" | "exit"
  readonly root: boolean
  /** tap ends a file that runs longer and names what it waited for; a few seconds later the process is killed. */
  readonly limitS: number
}

/** What became of a job. `failures` are texts to be shown, one per failed assertion or fault of the process. */
interface Outcome {
  readonly job: Job
  readonly passed: number
  readonly failures: ReadonlyArray<string>
  readonly skipped: ReadonlyArray<string>
  readonly seconds: number
}

const checkout = resolve(import.meta.dirname, "..")
const isCi = process.env["CI"] === "true" || process.env["CI"] === "1"
const isRoot = process.geteuid?.() === 0
const unitLimitS = 600
const rootLimitS = 900
const graceS = 10
/** Octets of stray output that are kept of each process, the last ones. */
const strayLimit = 16_384

const env = {
  ...process.env,
  // Tests that start `node`, and the launchers, get this same Node.
  PATH: `${join(checkout, ".weft/bin")}:${process.env["PATH"] ?? "/usr/bin:/bin"}`,
  NODE_COMPILE_CACHE: join(checkout, ".weft/compile-cache"),
}

const needsRoot = (file: string): boolean => /(^|\/)root\//.test(file) || file.endsWith(".root.test.ts")

/** All test files under a path of the checkout, sorted; the path itself when it is a file. */
const testFiles = (path: string): ReadonlyArray<string> => {
  if (statSync(path).isFile()) return [relative(checkout, path)]
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => relative(checkout, join(path, name)))
    .sort()
}

const testJob = (file: string): Job => {
  const root = needsRoot(file)
  return {
    name: file,
    argv: ["--disable-warning=ExperimentalWarning", file],
    output: "tap",
    root,
    limitS: root ? rootLimitS : unitLimitS,
  }
}

const typesJob: Job = {
  name: "types (tsc --noEmit)",
  argv: ["node_modules/typescript/bin/tsc", "--noEmit", "--pretty", "false"],
  output: "exit",
  root: false,
  limitS: unitLimitS,
}

const indent = (text: string): string => text.replace(/^(?=.)/gm, "      ")

/** A failed assertion as text: where it stands, what was expected, what came. */
const describe = (result: Result): string => {
  const { at, compare: _, diff, source, stack, ...rest } = (result.diag ?? {}) as Record<string, unknown>
  const place = at as { fileName?: string; lineNumber?: number } | undefined
  const lines = [`    ✗ ${result.fullname || result.name}`]
  if (place?.fileName !== undefined) lines.push(`      at ${relative(checkout, resolve(checkout, place.fileName))}:${place.lineNumber}`)
  if (typeof diff === "string") lines.push(indent(diff.trimEnd()))
  for (const [key, value] of Object.entries(rest)) {
    // What an error carries may refer to itself, which JSON cannot say.
    lines.push(indent(`${key}: ${typeof value === "string" ? value.trimEnd() : inspect(value, { depth: 5 })}`))
  }
  if (typeof source === "string" && diff === undefined) lines.push(indent(source.trimEnd()))
  if (typeof stack === "string" && place?.fileName === undefined) lines.push(indent(stack.trimEnd()))
  return lines.join("\n")
}

/** Process groups that run now, so that an interrupt ends them with what they have started. */
const running = new Set<number>()

const killGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group has ended already.
  }
}

/** Runs one job to its end. Never rejects: whatever goes wrong is a failure in the outcome. */
const run = (job: Job): Promise<Outcome> =>
  new Promise((done) => {
    const began = performance.now()
    const failures: Array<string> = []
    const skipped: Array<string> = []
    let passed = 0
    let stray = ""
    let timedOut = false
    const keep = (text: string) => {
      stray = (stray + text).slice(-strayLimit)
    }

    const parser = new Parser()
    // Only leaves of the tree of subtests arrive as `result`.
    parser.on("result", (result: Result) => {
      if (result.skip || result.todo) skipped.push(typeof result.skip === "string" ? result.skip : result.name)
      else if (result.ok) passed += 1
      else failures.push(describe(result))
    })
    parser.on("extra", keep)

    const child = spawn(process.execPath, job.argv, {
      cwd: checkout,
      env: { ...env, TAP_TIMEOUT: String(job.limitS) },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    })
    const pid = child.pid
    if (pid !== undefined) running.add(pid)
    const timer = setTimeout(() => {
      timedOut = true
      if (pid !== undefined) killGroup(pid, "SIGKILL")
    }, (job.limitS + graceS) * 1000)
    child.stdout.setEncoding("utf8").on("data", (text: string) => (job.output === "tap" ? parser.write(text) : keep(text)))
    child.stderr.setEncoding("utf8").on("data", keep)
    child.on("error", (error) => keep(`${error.message}\n`))

    child.on("close", (code, signal) => {
      clearTimeout(timer)
      if (pid !== undefined) {
        running.delete(pid)
        // What a test has left running in its group would hold the next test's names and ports.
        killGroup(pid, "SIGKILL")
      }
      const seconds = (performance.now() - began) / 1000
      const fault = (what: string) => failures.push(`    ✗ ${job.name} ${what}`)
      if (timedOut) fault(`ran longer than ${job.limitS} s and was killed`)
      else if (signal !== null) fault(`was ended by ${signal}`)
      else if (code !== 0 && failures.length === 0) fault(job.output === "exit" ? "found errors" : `ended with status ${code}`)
      if (job.output === "exit") {
        passed = code === 0 ? 1 : 0
      } else {
        parser.end()
        const results = parser.results
        if (failures.length === 0 && results?.ok !== true) {
          for (const error of results?.failures ?? []) fault("tapError" in error && error.tapError ? error.tapError : "failed")
          if (failures.length === 0) fault("did not end its plan")
        }
        if (failures.length === 0 && passed + skipped.length === 0) fault("asserted nothing")
        if (failures.length === 0 && isCi && job.root && passed === 0) fault(`did not run: ${skipped.join(", ")}`)
      }
      if (failures.length > 0 && stray.trim() !== "") failures.push(indent(stripVTControlCharacters(stray.trimEnd())))
      done({ job, passed, failures, skipped, seconds })
    })
  })

const show = (outcome: Outcome): void => {
  const { failures, job, passed, seconds, skipped } = outcome
  const state = failures.length > 0 ? "FAIL" : passed > 0 ? "ok  " : "skip"
  console.log(`${state} ${job.name}  ${passed} passed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}  ${seconds.toFixed(1)} s`)
  for (const failure of failures) console.log(`${failure}\n`)
}

/** Runs the jobs, at most `width` at a time, in order of the list, and shows each as it ends. */
const runAll = async (jobs: ReadonlyArray<Job>, width: number): Promise<ReadonlyArray<Outcome>> => {
  const outcomes: Array<Outcome> = []
  const waiting = jobs.values()
  const lane = async () => {
    for (const job of waiting) {
      const outcome = await run(job)
      outcomes.push(outcome)
      show(outcome)
    }
  }
  await Promise.all(Array.from({ length: width }, lane))
  return outcomes
}

/** What a file that needs root counts for when there is no root: skipped for a person, failed in CI. */
const withoutRoot = (job: Job): Outcome => ({
  job,
  passed: 0,
  failures: isCi ? [`    ✗ ${job.name} needs root, and CI must not leave it out`] : [],
  skipped: isCi ? [] : ["needs root"],
  seconds: 0,
})

const tally = (texts: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1)
  return counts
}

/** The failed files once more, why what was skipped was skipped, and the line with the numbers as the very last. */
const summarize = (outcomes: ReadonlyArray<Outcome>): void => {
  const failed = outcomes.filter((outcome) => outcome.failures.length > 0)
  const skipped = outcomes.flatMap((outcome) => outcome.skipped)
  const passedCount = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  // The stray output of a process is shown with its failures but is not one of them.
  const failedCount = failed.reduce((sum, outcome) => sum + outcome.failures.filter((text) => text.startsWith("    ✗")).length, 0)
  console.log("")
  for (const [reason, count] of tally(skipped)) console.log(`skipped ${count}: ${reason}`)
  for (const outcome of failed) console.log(`failed: ${outcome.job.name}`)
  console.log(`${passedCount} passed, ${failedCount} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`)
  process.exitCode = failedCount > 0 ? 1 : 0
}

const main = async (): Promise<void> => {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { check: { type: "boolean", default: false } } })
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      for (const pid of running) killGroup(pid, "SIGTERM")
      process.exit(130)
    })
  }
  const everything = positionals.length === 0
  const files = everything ? testFiles(join(checkout, "test")) : positionals.flatMap((path) => testFiles(resolve(path)))
  const jobs = [...(everything ? [typesJob] : []), ...files.map(testJob)]
  const unit = jobs.filter((job) => !job.root)
  const root = values.check ? [] : jobs.filter((job) => job.root)

  const outcomes = [...(await runAll(unit, availableParallelism()))]
  outcomes.push(...(isRoot ? await runAll(root, 1) : root.map(withoutRoot)))
  summarize(outcomes)
}

await main()
