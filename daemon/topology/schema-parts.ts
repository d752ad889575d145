/** What the schemas of all parts of a topology file are built from. */
import { Schema } from "effect"
import { splitWords, type Words } from "./words.ts"

/** A string that `problem` has nothing to say against. `pattern` is what the JSON Schema can express of it. */
export const text = (options: {
  readonly description: string
  readonly problem: (value: string) => string | undefined
  readonly pattern?: string
}) =>
  Schema.String.annotate({ description: options.description, expected: options.description }).check(
    Schema.makeFilter((value: string) => options.problem(value), {
      ...(options.pattern === undefined ? {} : { toJsonSchema: () => ({ pattern: options.pattern! }) })
    })
  )

export const integer = (minimum: number, maximum: number, description: string) => {
  const expected = `a whole number from ${minimum} to ${maximum}`
  return Schema.Finite.annotate({ description, expected }).check(
    Schema.makeFilter((value: number) => Number.isInteger(value) && value >= minimum && value <= maximum, {
      expected,
      toJsonSchema: () => ({ type: "integer", minimum, maximum })
    })
  )
}

export const oneOrMore = <S extends Schema.Constraint>(item: S, expected: string, description = expected) =>
  Schema.Union([item, Schema.Array(item)]).annotate({ expected: `${expected}, or a list of them`, description })

/** Every key optional; `description` shows in editors. */
export const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(schema)

const commandProblem = (command: Words): string | undefined => {
  if (!command.ok) return command.message
  if (command.words.some((word) => word.includes("\0"))) return "a word contains a NUL character"
  return command.words[0] === undefined || command.words[0] === "" ? "the command has no program" : undefined
}

/** A command line that is split into words, or the words themselves; never given to a shell. */
export const Command = Schema.Union([
  text({ description: "a command line", problem: (value) => commandProblem(splitWords(value)) }),
  Schema.Array(Schema.String).check(
    Schema.makeFilter((words: ReadonlyArray<string>) => commandProblem({ ok: true, words }))
  )
])
  .annotate({ expected: "a command: text, or a list of program and arguments" })
