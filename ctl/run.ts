/** One command: reads the words, finds the verb, runs it. What `main.ts` does once, tests do many times in one process. */

import { Exit, Failure } from "./command.ts"
import { printError, styleOf } from "./terminal.ts"

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

/** Runs `weft WORDS` to its end, with what goes wrong said on stderr. @returns the exit code; never rejects */
export const run = (words: ReadonlyArray<string>): Promise<number> => perform(words).catch(report)

const perform = async (words: ReadonlyArray<string>): Promise<number> => {
  if (words[0] === "__complete") {
    const { complete } = await import("./complete.ts")
    return complete(words.slice(1))
  }
  const { parse } = await import("./cli.ts")
  const request = await parse(customary(words))
  if (request.kind === "run") {
    const command = await implementations[request.verb]()
    const daemon = request.daemon ?? (process.env["WEFT_DAEMON"] || "unix:/run/weft/weftd.sock")
    // The only place where the folder is looked up (remote.ts) is far below commands that do not care.
    if (request.pki !== undefined) process.env["WEFT_PKI"] = request.pki
    return command.run(request.input as never, { daemon })
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
