/** `weft deploy`: make the running lab equal to a topology. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration, figures, follow, printFailed } from "../converge.ts"
import { diagnosticLines } from "../render/diagnostics.ts"
import { printValue } from "../render/value.ts"
import { print, printError, styleOf } from "../terminal.ts"
import { readTopology } from "../topology-file.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.deploy>, context: Context): Promise<number> => {
  const topology = await readTopology(input.file, input.name)
  const outcome = await withClient(context.daemon, (client) =>
    follow(client.deploy(topology, input.rollback), {
      verb: "Deploying",
      onInterrupt: "weft stops watching, the daemon goes on deploying. Look with: weft list, weft events -f"
    })
  )
  const { end, planned } = outcome

  if (end.kind === "failed") {
    if (input.output !== "table") await printValue(input.output, { ok: false, planned, failed: end.failed })
    printFailed(outcome, end.failed, topology)
    return end.failed.invalidTopology ? Exit.usage : Exit.failed
  }
  if (input.output !== "table") {
    await printValue(input.output, { ok: true, planned, done: end.done })
    return Exit.done
  }
  const warnings = planned?.diagnostics ?? []
  if (warnings.length > 0) printError(diagnosticLines(warnings, styleOf(process.stderr)).join("\n"))
  const style = styleOf(process.stdout)
  // Figures are of what was planned; on many hosts something else may have had to be mended.
  const changes = figures(planned) || (end.done.changed > 0 ? `${end.done.changed} mended` : "")
  const took = style.dim(`(${duration(end.done.durationMs)})`)
  print(
    changes === ""
      ? `Lab "${end.done.lab}" is up to date, nothing changed ${took}`
      : `${style.green("✓")} Lab "${end.done.lab}" is ready: ${changes} ${took}`
  )
  return Exit.done
}
