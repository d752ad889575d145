/** `weft inspect`: one lab as it is now. */

import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { labLines } from "../render/lab.ts"
import { printValue } from "../render/value.ts"
import type { Format } from "../render/value.ts"
import { print, styleOf, widthOf } from "../terminal.ts"
import { labOf } from "../topology-file.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.inspect>, context: Context): Promise<number> => {
  // containerlab users type `inspect -f json`; no topology file is called just that.
  const formatByFile = ["table", "json", "yaml"].find((format) => format === input.file) as Format | undefined
  const format = formatByFile ?? input.output
  const file = formatByFile === undefined ? input.file : undefined
  if (file !== undefined && input.lab !== undefined) throw new Failure(Exit.usage, "Give either a lab or --file, not both")
  const name = file === undefined ? (input.lab ?? "") : await labOf(file)
  const lab = await withClient(context.daemon, (client) => client.inspect(name))
  if (format !== "table") {
    await printValue(format, lab)
    return Exit.done
  }
  print(
    labLines(lab, {
      width: widthOf(process.stdout),
      style: styleOf(process.stdout),
      routes: input.routes,
      counters: input.counters,
      nowMs: Date.now()
    }).join("\n")
  )
  return Exit.done
}
