/** `weft events`: what happened, and with --follow what happens. */

import { connect } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { print, printable, styleOf } from "../terminal.ts"
import type { specs } from "./table.ts"

export const run = async (input: InputOf<typeof specs.events>, context: Context): Promise<number> => {
  const last = input.last === undefined ? 0 : Number(input.last)
  if (!Number.isInteger(last) || last < 0)
    throw new Failure(Exit.usage, `Cannot use "${input.last}" as --last: a whole number is expected`)
  const client = await connect(context.daemon)
  const style = styleOf(process.stdout)
  const { stringify } = input.output === "yaml" ? await import("yaml") : { stringify: JSON.stringify }
  const hosts = input.output === "table" ? (await client.hosts()).hosts : []
  const longest = hosts.length > 1 ? Math.max(...hosts.map(({ name }) => name.length)) : 0
  process.once("SIGINT", () => process.exit(130))
  for await (const event of client.events({ lab: input.lab ?? "", follow: input.follow, last })) {
    if (input.output === "json") print(JSON.stringify(event))
    else if (input.output === "yaml") print(`---\n${stringify(event)}`)
    else {
      const subject = event.subject === "" || event.subject === event.lab ? "" : ` ${printable(event.subject)}`
      const host = longest === 0 ? "" : `  ${printable(event.host).padEnd(longest)}`
      const head = `${style.dim(event.time)}${host}  ${event.lab.padEnd(12)}  ${style.cyan(event.type.padEnd(13))}`
      print(`${head}${subject}  ${printable(event.message)}`)
    }
  }
  client.close()
  return Exit.done
}
