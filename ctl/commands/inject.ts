/** `weft inject`: put faults into a running lab. */

import { existsSync, readFileSync } from "node:fs"
import { withClient } from "../client.ts"
import { closest } from "../closest.ts"
import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration } from "../converge.ts"
import type { FaultKind, FaultsChanged } from "../fault-messages.ts"
import { changesOf, kindTable, wrongWords } from "../render/faults.ts"
import { printValue } from "../render/value.ts"
import { print, printable, printError, styleOf, widthOf } from "../terminal.ts"
import type { specs } from "./table.ts"

/** What a fault may bring along: the recording of a link. */
const mostOctets = 8 << 20

export const run = async (input: InputOf<typeof specs.inject>, context: Context): Promise<number> => {
  const { kind } = input
  if (input.list) return list(input, await kindsOf(context))
  if (kind === undefined) throw new Failure(Exit.usage, "Which fault? No kind is given", "weft inject --list shows all kinds")
  return withClient(context.daemon, async (client) => {
    const words = [kind, ...input.words]
    const files = filesOf(words, words.length > 2 ? await client.faultKinds() : [])
    const request = { lab: input.lab ?? "", words, for: input.for ?? "", files }
    const answer = await client.inject(request)
    if (input.output !== "table") await printValue(input.output, answer)
    else show(answer, [...words, ...(request.for === "" ? [] : ["--for", request.for])].join(" "))
    return answer.diagnostics.length > 0 ? Exit.usage : answer.failures.length > 0 ? Exit.failed : Exit.done
  })
}

/** The daemon's, for it may be of another version; where none answers, those of this program. */
const kindsOf = async ({ daemon }: Context): Promise<ReadonlyArray<FaultKind>> => {
  try {
    return await withClient(daemon, (client) => client.faultKinds())
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== Exit.unreachable) throw error
    return (await import("../../daemon/faults/told-kinds.ts")).toldKinds
  }
}

const list = async (input: InputOf<typeof specs.inject>, all: ReadonlyArray<FaultKind>): Promise<number> => {
  const kinds = input.kind === undefined ? all : all.filter(({ name }) => name === input.kind)
  if (kinds.length === 0) {
    const meant = closest(input.kind ?? "", all.map(({ name }) => name))
    throw new Failure(Exit.usage, `Unknown kind of fault "${input.kind}"${meant === undefined ? "" : ` (did you mean ${meant}?)`}`,
      "weft inject --list shows all kinds")
  }
  if (input.output !== "table") await printValue(input.output, kinds)
  else print(kindTable(kinds, { style: styleOf(process.stdout), width: widthOf(process.stdout) }).join("\n"))
  return Exit.done
}

/** Files that words name, by the names that are in the words. @throws Failure that names the file */
const filesOf = (words: ReadonlyArray<string>, kinds: ReadonlyArray<FaultKind>): Readonly<Record<string, Uint8Array>> => {
  const keys = new Set(kinds.find(({ name }) => name === words[0])?.files ?? [])
  const names = words.flatMap((word) => {
    const [key = "", name] = word.split(/=(.*)/s)
    // A word without its key may be the file, or something else that the kind takes.
    if (name === undefined) return keys.size > 0 && existsSync(word) ? [word] : []
    return keys.has(key) ? [name] : []
  })
  return Object.fromEntries(names.map((name) => [name, read(name)]))
}

const read = (name: string): Uint8Array => {
  try {
    const octets = readFileSync(name)
    if (octets.length <= mostOctets) return octets
  } catch (error) {
    throw new Failure(Exit.usage, `Cannot read "${name}": ${(error as NodeJS.ErrnoException).code}`)
  }
  throw new Failure(Exit.usage, `Cannot send "${name}": it has more than ${mostOctets >> 20} MiB`)
}

const show = ({ changed, diagnostics, durationMs, failures, faults, lab, notes }: FaultsChanged, line: string): void => {
  const [style, errorStyle] = [styleOf(process.stdout), styleOf(process.stderr)]
  if (diagnostics.length > 0) return printError(wrongWords(diagnostics, line, errorStyle).join("\n"))
  for (const note of notes) printError(`${errorStyle.dim("note:")} ${printable(note)}`)
  for (const { error } of failures) printError(`${errorStyle.red("error:")} ${printable(error)}`)
  if (faults.length === 0) return printError(`  Nothing was injected: lab "${lab}" is as it was.`)
  for (const { id, title, until } of faults) {
    const end = until === "" ? "" : `, until ${new Date(until).toLocaleTimeString("en-GB")}`
    const figures = style.dim(`(${changesOf(changed)}${duration(durationMs)}${end})`)
    print(`${style.green("✓")} ${style.bold(id)} ${printable(title)} ${figures}`)
  }
}
