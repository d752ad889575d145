/**
 * Words of the command line in, a command with typed input out. The only file that knows `effect/cli` (marked unstable
 * by its authors): it translates `commands/table.ts` into Effect commands, lets Effect lex, parse and suggest, and keeps
 * printing and exit codes for ourselves.
 */

import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import * as Argument from "effect/cli/Argument"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import type { CommandSpec, Flag as FlagSpec, Positional } from "./command.ts"
import { sharedFlags, specs } from "./commands/table.ts"
import type { Verb } from "./commands/table.ts"

/** What the user asked for. `wrong` carries one line per error; `verb` is absent when the verb itself is the problem. */
export type Request =
  | {
      readonly kind: "run"
      readonly verb: Verb
      readonly input: Readonly<Record<string, unknown>>
      readonly daemon: string | undefined
      readonly pki: string | undefined
    }
  | { readonly kind: "help"; readonly verb: Verb | undefined }
  | { readonly kind: "wrong"; readonly verb: Verb | undefined; readonly errors: ReadonlyArray<string> }

/** Parses the words after `weft`. Never throws for what a user may type, prints nothing, runs nothing. */
export const parse = async (words: ReadonlyArray<string>): Promise<Request> => {
  let request: Request = { kind: "help", verb: undefined }

  const root = Command.make("weft").pipe(
    Command.withSharedFlags({ daemon: flagOf("daemon", sharedFlags.daemon), pki: flagOf("pki", sharedFlags.pki) }),
    Command.withDescription("Rehearse a network before anyone touches the real one")
  )
  const command = root.pipe(
    Command.withSubcommands(
      (Object.keys(specs) as Array<Verb>).map((verb) => {
        const spec: CommandSpec = specs[verb]
        const parameters: Record<string, Flag.Flag<unknown> | Argument.Argument<unknown>> = {}
        for (const [name, positional] of Object.entries(spec.args)) parameters[`argument ${name}`] = argumentOf(name, positional)
        for (const [name, flag] of Object.entries(spec.flags)) parameters[`flag ${name}`] = flagOf(name, flag)
        return Command.make(verb, parameters, (values) =>
          Effect.map(root, ({ daemon, pki }) => {
            const twice = Object.keys(spec.args).find((name) => givenTwice(name, values))
            request =
              twice === undefined
                ? {
                    kind: "run",
                    verb,
                    input: inputOf(spec, values),
                    daemon: open(daemon) as string | undefined,
                    pki: open(pki) as string | undefined
                  }
                : { kind: "wrong", verb, errors: [`${twice.toUpperCase()} is given twice: as an argument and as --${twice}`] }
          })
        ).pipe(Command.withDescription(spec.description), Command.withShortDescription(spec.summary))
      })
    )
  )

  const presenter: CliOutput.Presenter = {
    present: (output) =>
      Effect.sync(() => {
        const path = "commandPath" in output ? output.commandPath : []
        const verb = verbOf(path[1])
        request =
          output._tag === "InvalidInvocation"
            ? { kind: "wrong", verb, errors: output.errors.map(describe) }
            : { kind: "help", verb }
      })
  }
  // No flag of ours reads files or asks questions while parsing, so the services that Effect asks for stay empty.
  const services = Layer.mergeAll(
    FileSystem.layerNoop({}),
    Path.layer,
    Layer.succeed(Terminal.Terminal, {} as Terminal.Terminal),
    Layer.mock(ChildProcessSpawner)({}),
    Stdio.layerTest({}),
    CliOutput.layerPresenter(presenter),
    CliConfig.layer({ builtIns: [GlobalFlag.Help] })
  )
  await Effect.runPromise(
    Command.runWith(command, { version: "" })(words).pipe(
      Effect.catchTag("ShowHelp", () => Effect.void),
      Effect.provide(services)
    )
  )
  return request
}

const verbOf = (word: string | undefined): Verb | undefined =>
  word !== undefined && Object.hasOwn(specs, word) ? (word as Verb) : undefined

const argumentOf = (name: string, positional: Positional): Argument.Argument<unknown> => {
  const argument = positional.choices === undefined ? Argument.String(name) : Argument.Literals(name, positional.choices)
  switch (positional.kind) {
    case "required":
      return argument
    case "optional":
      return Argument.optional(argument)
    case "rest":
      return Argument.variadic(argument)
  }
}

const flagOf = (name: string, flag: FlagSpec): Flag.Flag<unknown> => {
  const short = <A>(self: Flag.Flag<A>): Flag.Flag<A> => (flag.short === undefined ? self : Flag.withAlias(self, flag.short))
  switch (flag.kind) {
    case "boolean":
      return short(Flag.Boolean(name)).pipe(Flag.withDefault(false))
    case "string":
      return short(Flag.String(name)).pipe(Flag.optional)
    case "strings":
      return short(Flag.String(name)).pipe(Flag.atLeast(0))
    case "choice":
      return short(Flag.Literals(name, flag.choices)).pipe(Flag.withDefault(flag.default))
  }
}

const open = (value: unknown): unknown => (Option.isOption(value) ? Option.getOrUndefined(value) : value)

const givenTwice = (name: string, values: Readonly<Record<string, unknown>>): boolean =>
  open(values[`argument ${name}`]) !== undefined && open(values[`flag ${name}`]) !== undefined

/** The values under the names of the description; an argument and a flag of the same name are one value. */
const inputOf = (spec: CommandSpec, values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> => {
  const input: Record<string, unknown> = {}
  for (const name of Object.keys(spec.flags)) input[name] = open(values[`flag ${name}`])
  for (const name of Object.keys(spec.args)) {
    const value = open(values[`argument ${name}`])
    if (value !== undefined || !(name in input)) input[name] = value
  }
  return input
}

/** What people type out of habit, from docker, kubectl, terraform, netlab and kathara. */
const elsewhere: Readonly<Record<string, ReadonlyArray<Verb>>> = {
  apply: ["deploy"],
  create: ["deploy"],
  lstart: ["deploy"],
  run: ["deploy", "exec"],
  start: ["deploy"],
  up: ["deploy"],
  clean: ["destroy"],
  delete: ["destroy"],
  down: ["destroy"],
  lclean: ["destroy"],
  remove: ["destroy"],
  rm: ["destroy"],
  stop: ["destroy"],
  check: ["validate"],
  lint: ["validate"],
  diff: ["plan"],
  labs: ["list"],
  ls: ["list"],
  ps: ["list"],
  describe: ["inspect"],
  get: ["inspect"],
  show: ["inspect"],
  status: ["inspect"],
  connect: ["exec"],
  shell: ["exec"],
  ssh: ["exec"],
  draw: ["graph"],
  log: ["events"],
  logs: ["events"]
}

/** `"table" | "json" | "yaml"` as people say it; anything else as it is. */
const choices = (expected: string): string => {
  const words = expected.split(" | ")
  if (words.length < 2 || !words.every((word) => /^"[^"]*"$/.test(word))) return expected
  const plain = words.map((word) => word.slice(1, -1))
  return `expected ${plain.slice(0, -1).join(", ")} or ${plain.at(-1)}`
}

/** One line for one error: what was wrong and the closest valid word. */
const describe = (error: CliError.CliError): string => {
  const meant = (suggestions: ReadonlyArray<string>): string =>
    suggestions.length === 0 ? "" : ` (did you mean ${suggestions.slice(0, 2).join(" or ")}?)`
  switch (error._tag) {
    case "UnrecognizedOption":
      return `unknown flag ${error.option}${meant(error.suggestions)}`
    case "UnknownSubcommand":
      return `unknown command "${error.subcommand}"${meant(elsewhere[error.subcommand] ?? error.suggestions)}`
    case "MissingArgument":
      return `missing argument ${error.argument.toUpperCase()}`
    case "MissingOption":
      return `missing flag --${error.option}`
    case "UnexpectedArgument":
      return `unexpected argument ${error.arguments.map((argument) => `"${argument}"`).join(" ")}`
    case "InvalidValue":
      if (error.value === "" && error.expected === "string") return `flag --${error.option} needs a value`
      return `bad value "${error.value}" for ${error.kind === "flag" ? "--" : ""}${error.option}: ${choices(error.expected)}`
    default:
      return error.message.split("\n")[0] ?? "wrong use"
  }
}
