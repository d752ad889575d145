/** `weft version`: ours, and the daemon's when one answers. */

import { readFileSync } from "node:fs"
import { withClient } from "../client.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { printValue } from "../render/value.ts"
import { print } from "../terminal.ts"
import type { specs } from "./table.ts"

/** The version in package.json. */
export const ownVersion = (): string =>
  (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version

export const run = async (input: InputOf<typeof specs.version>, context: Context): Promise<number> => {
  const client = { version: ownVersion(), node: process.version }
  const daemon = await withClient(context.daemon, (each) => each.version()).catch((error: unknown) => {
    if (error instanceof Failure && error.exitCode === Exit.unreachable) return error
    throw error
  })
  if (input.output !== "table") {
    await printValue(input.output, { client, daemon: daemon instanceof Failure ? null : { address: context.daemon, ...daemon } })
    return Exit.done
  }
  print(`weft   ${client.version}  (Node ${client.node})`)
  if (daemon instanceof Failure) print(`weftd  not reachable at ${context.daemon}`)
  else {
    const instance = daemon.instance === "" ? "" : `, instance ${daemon.instance}`
    print(
      `weftd  ${daemon.version}  (pid ${daemon.pid}, Node ${daemon.node}, kernel ${daemon.kernel}, on ${daemon.host}${instance})`
    )
  }
  return Exit.done
}
