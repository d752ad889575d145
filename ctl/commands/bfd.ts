/** `weft bfd`: the BFD sessions of a node. */

import { withClient } from "../client.ts"
import { Exit } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { sessionLines } from "../render/bfd.ts"
import { printValue } from "../render/value.ts"
import { print, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

type Input = InputOf<typeof specs.bfd>

export const run = async ({ node, output }: Input, context: Context): Promise<number> =>
  withClient(context.daemon, async (client) => {
    const response = await client.bfd(node)
    const options = { width: widthOf(process.stdout), style: styleOf(process.stdout), nowMs: Date.now() }
    if (output === "table") print(sessionLines(response, options).join("\n"))
    else await printValue(output, response)
    return Exit.done
  })
