/** `--help` pages and the answer to a command line that makes no sense, both from `commands/table.ts`. */

import type { CommandSpec, Flag } from "../command.ts"
import { sharedFlags, specs } from "../commands/table.ts"
import type { Verb } from "../commands/table.ts"
import type { Style } from "../terminal.ts"

const pageWidth = 80

const groups: ReadonlyArray<{ readonly title: string; readonly verbs: ReadonlyArray<Verb> }> = [
  { title: "START HERE", verbs: ["demo", "doctor"] },
  { title: "LABS", verbs: ["validate", "plan", "deploy", "destroy"] },
  { title: "MEASURE, BREAK, REHEARSE", verbs: ["probe", "check", "inject", "heal", "faults", "scenario", "rehearse"] },
  { title: "LOOK INSIDE", verbs: ["list", "inspect", "graph", "exec", "capture", "routes", "bgp", "bfd", "events"] },
  { title: "MANY HOSTS", verbs: ["hosts", "drain", "evpn"] },
  { title: "THIS TOOL", verbs: ["pki", "completion", "version"] }
]

/** The help page of one command, or of `weft` itself. */
export const page = (verb: Verb | undefined, style: Style): string =>
  verb === undefined ? rootPage(style) : commandPage(verb, style)

const rootPage = (style: Style): string => {
  const lines = [
    "weft: rehearse a network before anyone touches the real one",
    "",
    style.bold("USAGE"),
    "  weft COMMAND [ARGUMENTS] [FLAGS]",
    ""
  ]
  for (const group of groups) {
    lines.push(style.bold(group.title), ...columns(group.verbs.map((verb) => [verb, specs[verb].summary])), "")
  }
  lines.push(style.bold("FLAGS OF EVERY COMMAND"), ...flagLines(sharedFlags), "")
  lines.push(
    style.bold("EXIT CODES"),
    ...columns([
      ["0", "done"],
      ["1", "the operation failed"],
      ["2", "wrong use, or an invalid topology"],
      ["3", "the daemon cannot be reached"]
    ]),
    "",
    "weft COMMAND --help says more, with examples."
  )
  return `${lines.join("\n")}\n`
}

const commandPage = (verb: Verb, style: Style): string => {
  const spec: CommandSpec = specs[verb]
  const lines = [...fold(spec.summary, 0), "", style.bold("USAGE"), `  ${usage(verb)}`, "", ...fold(spec.description, 0), ""]
  const positionals = Object.entries(spec.args)
  if (positionals.length > 0) {
    lines.push(style.bold("ARGUMENTS"), ...columns(positionals.map(([name, { summary }]) => [name.toUpperCase(), summary])), "")
  }
  lines.push(style.bold("FLAGS"), ...flagLines({ ...spec.flags, ...sharedFlags }), "", style.bold("EXAMPLES"))
  for (const example of spec.examples) lines.push(`  ${style.dim(`# ${example.description}`)}`, `  ${example.command}`)
  return `${lines.join("\n")}\n`
}

/** `weft deploy [FILE] [FLAGS]` */
const usage = (verb: Verb): string => {
  const spec: CommandSpec = specs[verb]
  const words = Object.entries(spec.args).map(([name, { isOurs, kind }]) => {
    const word = name.toUpperCase()
    if (isOurs === true) return `[${word}...]`
    return kind === "required" ? word : kind === "optional" ? `[${word}]` : `-- ${word}...`
  })
  const rest = words.findIndex((word) => word.startsWith("--"))
  const flags = Object.keys(spec.flags).length === 0 ? [] : ["[FLAGS]"]
  return ["weft", verb, ...(rest === -1 ? [...words, ...flags] : [...flags, ...words])].join(" ")
}

/**
 * What to print for a command line that could not be understood: each error, then how the command is used.
 *
 * @param words the command line, to recognise a command of `exec` that lacks its `--`
 */
export const wrongUse = (
  verb: Verb | undefined,
  errors: ReadonlyArray<string>,
  words: ReadonlyArray<string>,
  style: Style
): string => {
  const lines = [...new Set(errors)].map((error) => `${style.red("error:")} ${error}`)
  if (verb === "exec" && !words.includes("--")) lines.push("  Put -- before the command: weft exec NODE -- COMMAND --its-flags")
  lines.push(`usage: ${verb === undefined ? "weft COMMAND [ARGUMENTS] [FLAGS]" : usage(verb)}`)
  lines.push(`       weft ${verb === undefined ? "" : `${verb} `}--help says more`)
  return `${lines.join("\n")}\n`
}

const flagLines = (flags: Readonly<Record<string, Flag>>): ReadonlyArray<string> =>
  columns(
    Object.entries(flags).map(([name, flag]) => {
      const short = flag.short === undefined ? "    " : `-${flag.short}, `
      const value = flag.kind === "boolean" ? "" : flag.kind === "choice" ? ` ${flag.choices.join("|")}` : ` ${flag.metavar}`
      const summary = flag.kind === "choice" ? `${flag.summary} (default: ${flag.default})` : flag.summary
      return [`${short}--${name}${value}`, summary]
    })
  )

/** Two columns, the second folded under itself. */
const columns = (rows: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> => {
  const left = Math.min(28, Math.max(...rows.map(([word]) => word.length)))
  return rows.flatMap(([word, text]) => {
    const [first = "", ...more] = fold(text, left + 4)
    const start = word.length > left ? [`  ${word}`, `${" ".repeat(left + 4)}${first}`] : [`  ${word.padEnd(left)}  ${first}`]
    return [...start, ...more.map((line) => `${" ".repeat(left + 4)}${line}`)]
  })
}

const fold = (text: string, indent: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > pageWidth) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}
