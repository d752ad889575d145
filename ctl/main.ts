/**
 * `weft`: reads the command line, runs one command, ends with its exit code.
 *
 *     argv --cli.ts--> verb and input --commands/<verb>.ts--> client.ts --> weftd
 *                                                        \--> render/ --> stdout
 *
 * Results go to stdout; progress, advice and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong use or an invalid
 * topology, 3 no daemon; `plan --detailed-exitcode` and `exec` have their own. Modules are imported where they are
 * needed: start-up is what a user of a command line tool waits for most often.
 */

import { accessSync, constants } from "node:fs"
import module from "node:module"
import { fileURLToPath } from "node:url"

enableCompileCache()

const { Exit, Failure } = await import("./command.ts")
const { flush, printError, styleOf } = await import("./terminal.ts")

type Context = import("./command.ts").Context
type InputOf<V extends Verb> = import("./command.ts").InputOf<(typeof import("./commands/table.ts"))["specs"][V]>
type Verb = import("./commands/table.ts").Verb

const implementations: {
  readonly [V in Verb]: () => Promise<{ run: (input: InputOf<V>, context: Context) => Promise<number> }>
} = {
  demo: () => import("./commands/demo.ts"),
  validate: () => import("./commands/validate.ts"),
  plan: () => import("./commands/plan.ts"),
  deploy: () => import("./commands/deploy.ts"),
  destroy: () => import("./commands/destroy.ts"),
  check: () => import("./commands/check.ts"),
  scenario: () => import("./commands/scenario.ts"),
  rehearse: () => import("./commands/rehearse.ts"),
  inject: () => import("./commands/inject.ts"),
  heal: () => import("./commands/heal.ts"),
  faults: () => import("./commands/faults.ts"),
  list: () => import("./commands/list.ts"),
  hosts: () => import("./commands/hosts.ts"),
  evpn: () => import("./commands/evpn.ts"),
  drain: () => import("./commands/drain.ts"),
  inspect: () => import("./commands/inspect.ts"),
  exec: () => import("./commands/exec.ts"),
  routes: () => import("./commands/routes.ts"),
  bfd: () => import("./commands/bfd.ts"),
  bgp: () => import("./commands/bgp.ts"),
  probe: () => import("./commands/probe.ts"),
  capture: () => import("./commands/capture.ts"),
  graph: () => import("./commands/graph.ts"),
  events: () => import("./commands/events.ts"),
  doctor: () => import("./commands/doctor.ts"),
  pki: () => import("./commands/pki.ts"),
  completion: () => import("./commands/completion.ts"),
  version: () => import("./commands/version.ts")
}

const main = async (words: ReadonlyArray<string>): Promise<number> => {
  if (words[0] === "__complete") {
    const { complete } = await import("./complete.ts")
    return complete(words.slice(1))
  }
  const { parse } = await import("./cli.ts")
  const request = await parse(customary(words))
  if (request.kind === "run") {
    const { run } = await implementations[request.verb]()
    const daemon = request.daemon ?? (process.env["WEFT_DAEMON"] || "unix:/run/weft/weftd.sock")
    // The only place where the folder is looked up (remote.ts) is far below commands that do not care.
    if (request.pki !== undefined) process.env["WEFT_PKI"] = request.pki
    return run(request.input as never, { daemon })
  }
  const help = await import("./render/help.ts")
  if (request.kind === "help") {
    process.stdout.write(help.page(request.verb, styleOf(process.stdout)))
    return Exit.done
  }
  process.stderr.write(help.wrongUse(request.verb, request.errors, words, styleOf(process.stderr)))
  return Exit.usage
}

/** `weft help VERB`, `weft --version` and `weft -V`, which people type everywhere. */
const customary = (words: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (words[0] === "help") return [...words.slice(1), "--help"]
  if (words.length === 1 && (words[0] === "--version" || words[0] === "-V")) return ["version"]
  return words
}

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

/** One or two lines, then advice: never a stack trace, unless the fault is ours. */
const report = (error: unknown): number => {
  const style = styleOf(process.stderr)
  if (error instanceof Failure) {
    printError(`${style.red("error:")} ${error.message}`)
    if (error.hint !== undefined)
      printError(
        error.hint
          .split("\n")
          .map((line) => `  ${line}`)
          .join("\n")
      )
    return error.exitCode
  }
  printError(`${style.red("internal error:")} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return Exit.failed
}

// A reader that has seen enough (`weft list | head -1`) ends us as SIGPIPE ends others: quietly.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(141)
    throw error
  })
}

const code = await main(process.argv.slice(2)).catch(report)
await flush()
process.exit(code)
