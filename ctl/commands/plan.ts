/** `weft plan`: what deploy would change. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { diagnosticLines, hasErrors, tally } from "../render/diagnostics.ts"
import { planLines, summaryOf } from "../render/plan.ts"
import { printValue } from "../render/value.ts"
import { print, printable, printError, styleOf } from "../terminal.ts"
import { readTopology } from "../topology-file.ts"
import type { specs } from "./table.ts"

/** terraform's convention for --detailed-exitcode: errors are 1, so that 2 can mean changes. */
const detailed = { same: 0, error: 1, changes: 2 } as const

export const run = async (input: InputOf<typeof specs.plan>, context: Context): Promise<number> => {
  const topology = await readTopology(input.file, input.name)
  const plan = await withClient(context.daemon, (client) => client.plan(topology))
  const failed = hasErrors(plan.diagnostics)

  if (input.output !== "table") {
    await printValue(input.output, { ...plan, summary: summaryOf(plan.changes) })
  } else {
    const source = process.stderr.isTTY ? topology : undefined
    const errorStyle = styleOf(process.stderr)
    if (plan.diagnostics.length > 0) printError(diagnosticLines(plan.diagnostics, errorStyle, source).join("\n"))
    if (failed) printError(`${errorStyle.red("invalid:")} ${topology.filename} has ${tally(plan.diagnostics)}`)
    for (const note of plan.notes) printError(`${errorStyle.dim("note:")} ${printable(note)}`)
    if (!failed) print(planLines(plan, styleOf(process.stdout)).join("\n"))
  }
  if (failed) return input["detailed-exitcode"] ? detailed.error : Exit.usage
  if (!input["detailed-exitcode"]) return Exit.done
  return plan.changes.some(({ action }) => action !== "NONE") ? detailed.changes : detailed.same
}
