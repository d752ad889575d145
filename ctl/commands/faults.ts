/** `weft faults`: those in force. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { faultTable } from "../render/faults.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.faults>, context: Context): Promise<number> => {
  const faults = await withClient(context.daemon, (client) => client.faults(input.lab ?? ""))
  if (input.output !== "table") await printValue(input.output, faults)
  else if (faults.length === 0) print("No faults. Inject one: weft inject --list shows the kinds")
  else print(faultTable(faults, { style: styleOf(process.stdout), width: widthOf(process.stdout), nowMs: Date.now() }).join("\n"))
  return Exit.done
}
