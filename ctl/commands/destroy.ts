/** `weft destroy`: remove a lab, from the daemon's own records. */

import { withClient } from "../client.ts"
import type { Client } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration, follow, printFailed } from "../converge.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf } from "../terminal.ts"
import { labOf, topologiesHere } from "../topology-file.ts"
import type { specs } from "./table.ts"

export const run = (input: InputOf<typeof specs.destroy>, context: Context): Promise<number> => {
  if (input.all && (input.lab !== undefined || input.file !== undefined))
    throw new Failure(Exit.usage, "Give either a lab or --all, not both")
  return withClient(context.daemon, async (client) => {
    const labs = input.all ? (await client.list()).map(({ name }) => name) : [await chosen(input, client)]
    if (labs.length === 0 && input.output === "table") print("No labs, nothing to remove")
    const results: Array<unknown> = []
    let code: number = Exit.done
    for (const lab of labs) {
      const outcome = await follow(client.destroy(lab), {
        verb: `Destroying ${lab}`,
        onInterrupt: "weft stops watching, the daemon goes on removing. Look with: weft list"
      })
      const { end } = outcome
      results.push(end.kind === "done" ? { ...end.done, lab, ok: true } : { ...end.failed, lab, ok: false })
      if (end.kind === "failed") {
        printFailed(outcome, end.failed)
        code = Exit.failed
      } else if (input.output === "table") {
        const style = styleOf(process.stdout)
        print(
          `${style.green("✓")} Lab "${lab}" is gone: ${end.done.changed} removed ${style.dim(`(${duration(end.done.durationMs)})`)}`
        )
      }
    }
    if (input.output !== "table") await printValue(input.output, results)
    return code
  })
}

/** The lab by argument, by file, or by the only topology file of this folder. Never by a guess: this command destroys. */
const chosen = async (input: InputOf<typeof specs.destroy>, client: Client): Promise<string> => {
  if (input.lab !== undefined && input.file !== undefined) throw new Failure(Exit.usage, "Give either a lab or --file, not both")
  const file = input.lab?.endsWith(".yaml") === true ? input.lab : input.file
  if (file !== undefined) return labOf(file)
  if (input.lab !== undefined) return input.lab
  if (topologiesHere().length === 1) return labOf(undefined)
  const labs = (await client.list()).map(({ name }) => name)
  throw new Failure(
    Exit.usage,
    "Which lab? None is named",
    labs.length === 0 ? "No lab is deployed." : `Deployed: ${labs.join(", ")}. Name one, or --all.`
  )
}
