/** `exec`: any command in a node, with its exit code and what it prints. It is run as it is, by no shell. */
import { Schema } from "effect"
import { Command, integer, oneOrMore, optional, text } from "../../topology/schema-parts.ts"
import { splitWords } from "../../topology/words.ts"
import { kind, type Kind } from "../kind.ts"
import { listed, msOf, NodeName, referencesOf, Time, Word } from "../parts.ts"

const Pattern = text({
  description: "a regular expression",
  problem: (value) => {
    try {
      new RegExp(value, "mu")
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
})

const Exec = Schema.Struct({
  node: NodeName,
  command: Command,
  exit: optional(integer(0, 255, "The exit code that is expected; 0 unless given")),
  stdout: optional(Schema.String.annotate({ expected: "text", description: "All that it prints, but for white space around it" })),
  contains: optional(oneOrMore(Word, "text")),
  matches: optional(Pattern),
  timeout: optional(Time)
}).annotate({ expected: "a map such as {node: pc, command: curl -sf http://web/, contains: hello}" })

const argvOf = (command: typeof Exec.Type["command"]): ReadonlyArray<string> => {
  if (typeof command !== "string") return command
  const words = splitWords(command)
  return words.ok ? words.words : []
}

const title = (spec: typeof Exec.Type): string => {
  const wanted = [
    `exits ${spec.exit ?? 0}`,
    ...(spec.stdout === undefined ? [] : [`prints ${JSON.stringify(spec.stdout.trim())}`]),
    ...(spec.contains === undefined ? [] : [`prints ${listed([spec.contains].flat().map((one) => JSON.stringify(one)))}`]),
    ...(spec.matches === undefined ? [] : [`prints what matches /${spec.matches}/`])
  ]
  return `${argvOf(spec.command).join(" ")} in ${spec.node} ${wanted.join(" and ")}`
}

const tail = (text: string): string => {
  const lines = text.trim().split("\n")
  const last = lines.slice(-3).join(" | ").slice(-240)
  return last === "" ? "" : JSON.stringify(last)
}

export const exec: Kind<typeof Exec.Type> = kind({
  schema: Exec,
  references: ({ node }) => referencesOf(["node"], node, "node"),
  title,
  stage: "free",
  run: async (spec, lab) => {
    const timeoutMs = msOf(spec.timeout, 10_000)
    const { code, stderr, stdout, timedOut } = await lab.ask(spec.node, "exec", { argv: argvOf(spec.command), timeoutMs })
    const expected = title(spec)
    if (timedOut) return { passed: false, expected, seen: `it did not end within ${timeoutMs} ms` }
    const isRight = code === (spec.exit ?? 0)
      && (spec.stdout === undefined || stdout.trim() === spec.stdout.trim())
      && [spec.contains ?? []].flat().every((one) => stdout.includes(one))
      && (spec.matches === undefined || new RegExp(spec.matches, "mu").test(stdout))
    const said = [stdout, stderr].map(tail).filter((one) => one !== "").join(" and on stderr ")
    return { passed: isRight, expected, seen: `exit code ${code}${said === "" ? ", and it prints nothing" : `, and it prints ${said}`}` }
  }
})
