/**
 * `weft`: reads the command line, runs one command, ends with its exit code.
 *
 *     argv --run.ts, cli.ts--> verb and input --commands/<verb>.ts--> client.ts --> weftd
 *                                                                \--> render/ --> stdout
 *
 * Results go to stdout; progress, advice and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong use or an invalid
 * topology, 3 no daemon; `plan --detailed-exitcode` and `exec` have their own. Modules are imported where they are
 * needed: start-up is what a user of a command line tool waits for most often.
 */

import { accessSync, constants } from "node:fs"
import module from "node:module"
import { fileURLToPath } from "node:url"

enableCompileCache()

const { run } = await import("./run.ts")
const { flush } = await import("./terminal.ts")

/** Compiled code is kept in the checkout where that is writable (root's run fills it), else where Node keeps it. */
function enableCompileCache(): void {
  const weft = fileURLToPath(new URL("../.weft", import.meta.url))
  try {
    accessSync(weft, constants.W_OK)
    module.enableCompileCache(`${weft}/cache`)
  } catch {
    module.enableCompileCache()
  }
}

// A reader that has seen enough (`weft list | head -1`) ends us as SIGPIPE ends others: quietly.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(141)
    throw error
  })
}

const code = await run(process.argv.slice(2))
await flush()
process.exit(code)
