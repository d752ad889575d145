/**
 * How a command of `weft` is described: plain data, so that the parser, `--help` and shell completion all read the same
 * description (`commands/table.ts`) and none of them can forget a flag.
 */

/**
 * What a shell may offer for a value. `fault`: ids of those in force. `file`: topology files; `suite`: suites of checks; `scenario`:
 * scenarios; `rehearsal`: rehearsals; `path`: any file.
 */
export type Completion = "fault" | "fault-kind" | "lab" | "node" | "port" | "file" | "suite" | "scenario" | "rehearsal" | "path" | "none"

/** One flag. `short` is a single letter without its dash; `metavar` is how help shows the value. */
export type Flag =
  | { readonly kind: "boolean"; readonly short?: string; readonly summary: string }
  | {
      readonly kind: "string" | "strings"
      readonly short?: string
      readonly metavar: string
      readonly summary: string
      readonly complete?: Completion
    }
  | {
      readonly kind: "choice"
      readonly short?: string
      readonly choices: ReadonlyArray<string>
      readonly default: string
      readonly summary: string
    }

/** One positional argument. `rest` takes all that is left, also what stands behind `--`. */
export interface Positional {
  readonly kind: "required" | "optional" | "rest"
  /** Of `rest`: words of ours, so no `--` stands before them. */
  readonly isOurs?: boolean
  readonly summary: string
  readonly complete?: Completion
  readonly choices?: ReadonlyArray<string>
}

type ValueOfFlag<F> = F extends { kind: "boolean" }
  ? boolean
  : F extends { kind: "strings" }
    ? ReadonlyArray<string>
    : F extends { kind: "choice"; choices: ReadonlyArray<infer C> }
      ? C
      : string | undefined

type ValueOfPositional<P> = P extends { kind: "required" }
  ? string
  : P extends { kind: "rest" }
    ? ReadonlyArray<string>
    : string | undefined

/** One command. The order of `args` is the order on the command line. */
export interface CommandSpec {
  readonly summary: string
  /** More than the summary: one or more paragraphs, wrapped by the reader's terminal. */
  readonly description: string
  readonly args: Readonly<Record<string, Positional>>
  readonly flags: Readonly<Record<string, Flag>>
  readonly examples: ReadonlyArray<{ readonly command: string; readonly description: string }>
}

/** What a command gets: the value of every argument and flag under its name. */
export type InputOf<S extends CommandSpec> = { readonly [K in keyof S["args"]]: ValueOfPositional<S["args"][K]> } & {
  readonly [K in keyof S["flags"]]: ValueOfFlag<S["flags"][K]>
}

/** What every command knows beside its input. */
export interface Context {
  /** Address of the daemon, `unix:PATH` or `HOST:PORT`: `--daemon`, `WEFT_DAEMON`, or `unix:/run/weft/weftd.sock`. */
  readonly daemon: string
}

/** Exit codes of `weft`; `exec` passes on the command's own instead. */
export const Exit = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const

/**
 * Ends the command with a message on stderr: what was being done, to what, why it failed. `hint` says what to do, on
 * lines of its own.
 */
export class Failure extends Error {
  readonly exitCode: number
  readonly hint: string | undefined

  constructor(exitCode: number, message: string, hint?: string) {
    super(message)
    this.exitCode = exitCode
    this.hint = hint
  }
}

/** A lab or node that does not exist: the caller may know similar names. */
export class NotFound extends Failure {
  constructor(message: string, hint?: string) {
    super(Exit.failed, message, hint)
  }
}
