/** `weft drain`: move everything away from a host, and place nothing more on it. */

import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration, follow, printFailed } from "../converge.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.drain>, context: Context): Promise<number> => {
  const { forget, host, undo } = input
  if (forget && undo) throw new Failure(Exit.usage, "Give either --undo or --forget, not both")
  const outcome = await withClient(context.daemon, (client) =>
    follow(client.drain({ host, undo, forget }), {
      verb: `Draining ${host}`,
      onInterrupt: `weft stops watching, the daemon goes on moving nodes. Look with: weft hosts`
    })
  )
  const { end } = outcome
  if (input.output !== "table") {
    await printValue(input.output, end.kind === "done" ? { ok: true, host, done: end.done } : { ok: false, host, failed: end.failed })
  }
  if (end.kind === "failed") {
    printFailed(outcome, end.failed)
    return Exit.failed
  }
  if (input.output === "table") {
    const style = styleOf(process.stdout)
    const changes = `${end.done.changed} changes ${style.dim(`(${duration(end.done.durationMs)})`)}`
    const said = undo
      ? `Host "${host}" gets nodes again; those that have moved stay where they are`
      : forget
        ? `Host "${host}" is forgotten: ${changes}`
        : `Host "${host}" is drained: ${changes}`
    print(`${style.green("✓")} ${said}`)
  }
  return Exit.done
}
