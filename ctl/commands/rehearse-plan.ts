/**
 * `weft rehearse --plan`: what would happen, from the files alone. A daemon that answers is asked, for it knows the labs that run;
 * without one, the same computation is done in this process (docs/adr/0003-validate-without-a-daemon.md).
 */

import { type Client, withClient } from "../client.ts"
import { type Context, Exit, Failure, type InputOf } from "../command.ts"
import type { Diagnostic } from "../messages.ts"
import type { Bundle } from "../rehearsal/bundle.ts"
import type { RehearsalPlanned, RehearsalStart } from "../rehearsal/messages.ts"
import { diagnosticLines, hasErrors, tally } from "../render/diagnostics.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf } from "../terminal.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.rehearse>

export const plan = async (bundle: Bundle, input: Input, context: Context): Promise<number> => {
  const planned = await askOrPlanHere(bundle, input, context)
  return refused(planned, bundle) ? Exit.usage : showPlan(planned, input)
}

const askOrPlanHere = async (bundle: Bundle, { lab = "" }: Input, { daemon }: Context): Promise<RehearsalPlanned> => {
  try {
    const start = { ...bundle, lab, keep: false, lookOnly: true, pauseBeforeEach: false }
    return await withClient(daemon, (client) => look(client, start))
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== Exit.unreachable) throw error
    printError("No daemon answers: of labs that run already nothing is known")
    return planHere(bundle, lab)
  }
}

/** What the daemon thinks of a rehearsal. */
export const look = async (client: Client, start: RehearsalStart): Promise<RehearsalPlanned> => {
  for await (const event of client.rehearse({ ...start, lookOnly: true })) if (event.event === "planned") return event.planned
  throw new Failure(Exit.unreachable, "The daemon did not say what it thinks of the rehearsal", "Look at its log.")
}

const planHere = async ({ content, filename, files }: Bundle, lab: string): Promise<RehearsalPlanned> => {
  const [{ load }, { parseRehearsal }, { plannedOf }] = await Promise.all([
    import("../../daemon/compiler/load.ts"), import("../../daemon/rehearsal/parse.ts"), import("../../daemon/rehearsal/planned.ts")
  ])
  const named = Object.entries(files).map(([name, file]) => [name, {
    filename: file.filename, content: file.content ?? new Uint8Array(), missing: file.missing ?? "",
    files: new Map(Object.entries(file.files ?? {})), unread: new Map(Object.entries(file.unread ?? {}))
  }] as const)
  const result = parseRehearsal({ filename, content }, { files: new Map(named), load, deployed: new Map(), ...(lab === "" ? {} : { lab }) })
  const diagnostics = (result.ok ? result.warnings : result.diagnostics).map((one): Diagnostic =>
    ({ ...one, severity: one.severity === "error" ? "ERROR" : "WARNING", suggestion: one.suggestion ?? "" }))
  if (result.ok) return { diagnostics, ...plannedOf(result.rehearsal) }
  return { diagnostics, name: filename, lab: "", topology: "", deploys: false, flows: [], steps: [], budgets: [] }
}

/** Whether there are errors; prints what was found. */
export const refused = ({ diagnostics }: RehearsalPlanned, { content, filename, files }: Bundle): boolean => {
  const style = styleOf(process.stderr)
  const named = Object.values(files).map((file) => ({ filename: file.filename, content: file.content ?? new Uint8Array() }))
  const sources = [{ filename, content }, ...named]
  const known = new Set(sources.map((source) => source.filename))
  const lines = [
    ...[...new Map(sources.map((source) => [source.filename, source])).values()].flatMap((source) =>
      diagnosticLines(diagnostics.filter((one) => one.filename === source.filename), style, process.stderr.isTTY ? source : undefined)),
    ...diagnosticLines(diagnostics.filter((one) => !known.has(one.filename)), style, undefined)
  ]
  if (lines.length > 0) printError(lines.join("\n"))
  if (!hasErrors(diagnostics)) return false
  printError(`${style.red("invalid:")} ${tally(diagnostics)}; nothing was touched`)
  return true
}

/** Prints what is going to happen. */
const showPlan = async (planned: RehearsalPlanned, { output }: Input): Promise<number> => {
  const { budgets, deploys, flows, lab, name, steps, topology } = planned
  if (output !== "table") {
    await printValue(output, { name, lab, topology, deploys, flows, steps, budgets })
    return Exit.done
  }
  const style = styleOf(process.stdout)
  const what = deploys ? `deployed from ${topology} and destroyed` : "which runs already and stays"
  print(`${style.bold(name)} in ${lab}, ${what}: ${flows.length} ${flows.length === 1 ? "flow" : "flows"}`)
  for (const { detail, kind, name: title, role } of steps) {
    const more = detail === "" || title.endsWith(detail) ? "" : `  ${style.dim(detail)}`
    const does = title.startsWith(kind) ? "" : style.dim(`  ${kind}`)
    print(`  ${role === "roll-back" ? style.yellow("roll back: ") : ""}${title}${does}${more}`)
  }
  return Exit.done
}
