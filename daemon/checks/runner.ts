/**
 * Runs checks: all that disturb nobody at once, up to a bound; then those that measure; then those that need the lab for
 * themselves. Each is tried as its `eventually` and `always` say. Results come as they are known. What a check throws is
 * a failure of that check alone.
 */
import type { Verdict } from "./kind.ts"
import { kindOf } from "./kinds.ts"
import type { Lab } from "./lab.ts"
import { each } from "./parts.ts"
import type { Check } from "./suite.ts"

export interface Result {
  readonly check: Check
  readonly verdict: Verdict
  /** It could not be tried: something is missing or broken that it needs. */
  readonly isError: boolean
  readonly attempts: number
  readonly durationMs: number
}

export interface RunOptions {
  readonly parallel: number
  readonly signal: AbortSignal
  /** ms; for tests. */
  readonly now?: () => number
  readonly told: (result: Result) => void
}

/** Between two tries, at first and at most. */
const firstPauseMs = 100
const longestPauseMs = 500
const measuringAtOnce = 4

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener("abort", done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener("abort", done)
    if (signal.aborted) done()
  })

interface Attempt {
  readonly verdict: Verdict
  readonly isError: boolean
}

const attempt = async (check: Check, lab: Lab, signal: AbortSignal): Promise<Attempt> => {
  const { run, title } = kindOf(check.kind)
  try {
    const verdict = await run(check.spec, lab, signal)
    if (!check.isInverted) return { verdict, isError: false }
    return { verdict: { ...verdict, passed: !verdict.passed, expected: `not: ${verdict.expected}` }, isError: false }
  } catch (error) {
    const seen = error instanceof Error ? error.message : String(error)
    return { verdict: { passed: false, expected: title(check.spec), seen }, isError: true }
  }
}

const seconds = (ms: number): string => `${Number((ms / 1000).toFixed(1))} s`

/** Tries one check as long as it says. Never rejects. */
export const runCheck = async (
  check: Check, lab: Lab, { now = () => performance.now(), signal }: Pick<RunOptions, "now" | "signal">
): Promise<Result> => {
  const began = now()
  let attempts = 0
  const next = (): Promise<Attempt> => {
    attempts++
    return attempt(check, lab, signal)
  }
  const finish = ({ isError, verdict }: Attempt, seen = verdict.seen): Result => ({
    check, isError, attempts, durationMs: now() - began, verdict: { ...verdict, seen }
  })
  let last = await next()
  for (let wait = firstPauseMs; !last.verdict.passed; wait = Math.min(wait * 2, longestPauseMs)) {
    const leftMs = check.eventuallyMs - (now() - began)
    if (leftMs <= 0 || signal.aborted) {
      return finish(last, check.eventuallyMs === 0 ? undefined
        : `${last.verdict.seen} (after ${seconds(now() - began)} and ${attempts} ${attempts === 1 ? "try" : "tries"})`)
    }
    await pause(Math.min(wait, leftMs), signal)
    last = await next()
  }
  const good = now()
  while (check.alwaysMs > 0 && now() - good < check.alwaysMs && !signal.aborted) {
    await pause(Math.min(longestPauseMs, check.alwaysMs - (now() - good)), signal)
    last = await next()
    if (!last.verdict.passed) return finish(last,
      `${last.verdict.seen} (it was so for ${seconds(now() - good)}, not for ${seconds(check.alwaysMs)})`)
  }
  return finish(last)
}

/** Runs them all; resolves when all are told, or the signal has ended it. Never rejects. */
export const runChecks = async (checks: ReadonlyArray<Check>, lab: Lab, options: RunOptions): Promise<void> => {
  const stage = (name: "free" | "measures" | "alone", parallel: number) =>
    each(checks.filter(({ kind }) => kindOf(kind).stage === name), parallel, async (check) => {
      if (!options.signal.aborted) options.told(await runCheck(check, lab, options))
    })
  await stage("free", options.parallel)
  await stage("measures", Math.min(options.parallel, measuringAtOnce))
  await stage("alone", 1)
}
