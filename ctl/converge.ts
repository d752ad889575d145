/** Follows a deploy or destroy to its end: live progress on stderr, then what came out. */

import { Exit, Failure } from "./command.ts"
import type { Done, Failed, Planned, Progress, Topology } from "./messages.ts"
import { diagnosticLines, tally } from "./render/diagnostics.ts"
import { display, failureLine } from "./render/progress.ts"
import { printError, styleOf } from "./terminal.ts"

export interface Outcome {
  readonly planned: Planned | undefined
  /** Ids of what failed and has been printed meanwhile. */
  readonly printed: ReadonlySet<string>
  readonly end: { readonly kind: "done"; readonly done: Done } | { readonly kind: "failed"; readonly failed: Failed }
}

/**
 * Consumes the stream of one operation.
 *
 * @param options.verb what the bar is labelled with: `Deploying demo`
 * @param options.onInterrupt what to say when the user presses Ctrl-C; the operation goes on in the daemon. Absent: the
 *   caller deals with signals
 * @param options.abandoned rejects when the caller loses interest; this function then rejects with the same reason
 * @throws {Failure} when the stream breaks
 */
export const follow = async (
  stream: AsyncIterable<Progress>,
  options: { readonly verb: string; readonly onInterrupt?: string; readonly abandoned?: Promise<never> }
): Promise<Outcome> => {
  const style = styleOf(process.stderr)
  const view = display(process.stderr, { verb: options.verb, style, now: () => performance.now() })
  const interrupted = (): void => {
    view.end()
    printError(`${style.yellow("interrupted:")} ${options.onInterrupt}`)
    process.exit(130)
  }
  if (options.onInterrupt !== undefined) process.once("SIGINT", interrupted)
  const abandoned = options.abandoned ?? new Promise<never>(() => {})
  const steps = stream[Symbol.asyncIterator]()
  const printed = new Set<string>()
  let planned: Planned | undefined
  try {
    for (;;) {
      const { done, value: progress } = await Promise.race([steps.next(), abandoned])
      if (done === true) break
      view.feed(progress)
      if (progress.event === "planned") planned = progress.planned
      if (progress.event === "change" && progress.change.error !== "") printed.add(progress.change.change.id)
      if (progress.event === "done") return { planned, printed, end: { kind: "done", done: progress.done } }
      if (progress.event === "failed") return { planned, printed, end: { kind: "failed", failed: progress.failed } }
    }
  } finally {
    view.end()
    process.removeListener("SIGINT", interrupted)
  }
  throw new Failure(Exit.unreachable, "The daemon ended the operation without saying how it went", "Look with: weft list")
}

/** Prints why an operation failed: diagnostics, each resource with the kernel's reason (once), what became of the lab. */
export const printFailed = (outcome: Outcome, failed: Failed, topology?: Topology): void => {
  const style = styleOf(process.stderr)
  const diagnostics = outcome.planned?.diagnostics ?? []
  if (diagnostics.length > 0) {
    printError(diagnosticLines(diagnostics, style, process.stderr.isTTY ? topology : undefined).join("\n"))
    if (failed.invalidTopology) return printError(`${style.red("invalid:")} ${tally(diagnostics)}; nothing was touched`)
  }
  const blocked = failed.failures.filter((failure) => failure.blocked)
  const causes = failed.failures.filter((failure) => !failure.blocked)
  for (const cause of causes) if (!outcome.printed.has(cause.change.id)) printError(failureLine(cause, style))
  const untried = blocked.length === 0 ? "" : `; ${blocked.length} more were not tried, because they need what failed`
  printError(`${style.red("error:")} ${causes.length === 0 ? failed.message : `${causes.length} failed${untried}`}`)
  if (failed.rolledBack) printError("  The lab was rolled back to what was deployed before.")
}

/** `12 added, 1 changed, 3 removed` for what was planned; empty when nothing was. */
export const figures = (planned: Planned | undefined): string => {
  if (planned === undefined) return ""
  const parts = [
    [planned.creates, "added"],
    [planned.updates, "changed"],
    [planned.replaces, "replaced"],
    [planned.removes, "removed"]
  ] as const
  return parts
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${word}`)
    .join(", ")
}

/** Milliseconds as people say them: `85 ms`, `1.24 s`. */
export const duration = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`)
