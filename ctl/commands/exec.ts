/**
 * `weft exec`: a command in a node, as if it ran here. Each direction is a loop that waits for its receiver, so a slow
 * command slows `cat` on our side and a slow pager slows the command:
 *
 *     stdin --pump--> call.send --> weftd --> command --> weftd --> for await --> stdout, stderr
 */

import { once } from "node:events"
import { connect } from "../client.ts"
import type { Client, ExecCall } from "../client.ts"
import { Exit, Failure, NotFound } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import type { ExecStart, TerminalSize } from "../messages.ts"
import { withSuggestion } from "../node-names.ts"
import { printError } from "../terminal.ts"
import type { specs } from "./table.ts"

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const

/** After so many SIGINT that the command did not heed, the user wants out. */
const patience = 5

export const run = async (input: InputOf<typeof specs.exec>, context: Context): Promise<number> => {
  const start = startOf(input)
  const client = await connect(context.daemon)
  try {
    return await session(client, start, input)
  } catch (error) {
    throw error instanceof NotFound ? await withSuggestion(client, start.node, error) : error
  } finally {
    restoreTerminal()
    client.close()
  }
}

const startOf = (input: InputOf<typeof specs.exec>): ExecStart => {
  if (input.command.length === 0)
    throw new Failure(Exit.usage, `No command for node "${input.node}"`, "usage: weft exec NODE -- COMMAND [ARGUMENTS]")
  const term = process.env["TERM"]
  const env: Record<string, string> = input.tty && term !== undefined ? { TERM: term } : {}
  for (const pair of input.env) {
    const at = pair.indexOf("=")
    if (at < 1) throw new Failure(Exit.usage, `Cannot use "${pair}" as an environment variable: K=V is expected`)
    env[pair.slice(0, at)] = pair.slice(at + 1)
  }
  const size = terminalSize()
  return {
    node: input.node,
    argv: input.command,
    tty: input.tty,
    ...(input.tty && size !== undefined ? { size } : {}),
    env,
    user: input.user ?? ""
  }
}

const session = async (client: Client, start: ExecStart, input: InputOf<typeof specs.exec>): Promise<number> => {
  const call = client.exec()
  forwardSignals(call)
  await call.send({ start })
  if (input.tty) {
    if (process.stdin.isTTY) process.stdin.setRawMode(true)
    process.stdout.on("resize", () => {
      const resize = terminalSize()
      if (resize !== undefined) void call.send({ resize })
    })
  }
  // Like `docker exec` without -i, a command does not take the terminal's input unless asked to; pipes and files are meant for it.
  if (process.stdin.isTTY && !input.interactive) void call.send({ stdinEof: true })
  else void pump(call)

  for await (const response of call) {
    switch (response.message) {
      case "stdout":
        await write(process.stdout, response.stdout)
        break
      case "stderr":
        await write(process.stderr, response.stderr)
        break
      case "exit":
        return response.exit.code
    }
  }
  throw new Failure(Exit.unreachable, `The daemon hung up before the command in "${start.node}" ended`)
}

/** Standard input to the command, to its end; ends by itself when the process does. */
const pump = async (call: ExecCall): Promise<void> => {
  try {
    for await (const chunk of process.stdin) await call.send({ stdin: chunk as Buffer })
  } catch (error) {
    printError(`weft: cannot read standard input: ${(error as Error).message}`)
  }
  await call.send({ stdinEof: true })
}

const write = async (stream: NodeJS.WriteStream, octets: Uint8Array): Promise<void> => {
  if (!stream.write(octets)) await once(stream, "drain")
}

const forwardSignals = (call: ExecCall): void => {
  let interrupts = 0
  for (const signal of forwarded) {
    process.on(signal, () => {
      if (signal === "SIGINT" && ++interrupts >= patience) {
        call.cancel()
        restoreTerminal()
        process.exit(130)
      }
      void call.send({ signal })
    })
  }
}

const restoreTerminal = (): void => {
  if (process.stdin.isTTY) process.stdin.setRawMode(false)
}

const terminalSize = (): TerminalSize | undefined => {
  const { columns, isTTY, rows } = process.stdout
  return isTTY ? { columns, rows } : undefined
}
