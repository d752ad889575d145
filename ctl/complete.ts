/**
 * Answers a shell that wants to complete a command line: `weft __complete WORD...`, the words after `weft` up to the
 * cursor, the last one as far as it is typed. Prints one candidate per line, a tab, and a few words about it; `:path`
 * alone means that the shell should offer its own file names. Never fails and never waits: a user is typing.
 */

import { readdirSync } from "node:fs"
import { whenSilentFor } from "../timing/silence.ts"
import type { CommandSpec, Completion, Flag } from "./command.ts"
import { sharedFlags, specs } from "./commands/table.ts"

export interface Candidate {
  readonly value: string
  readonly about: string
}

/** Where values come from that only the daemon or the disk knows. */
export type Source = (kind: Completion, prefix: string) => Promise<ReadonlyArray<Candidate>>

const patienceMs = 2500

/** What files of a kind are called. */
const suffixes: Readonly<Partial<Record<Completion, string>>> =
  { file: ".weft.yaml", suite: ".check.yaml", scenario: ".scenario.yaml", rehearsal: ".rehearsal.yaml" }

/** Prints the candidates for the words. Always 0: a shell has nowhere to show an error. */
export const complete = async (words: ReadonlyArray<string>): Promise<number> => {
  let stopWaiting: (() => void) | undefined
  const candidates = await Promise.race([
    candidatesFor(words, sourceFor(words)).catch(() => []),
    new Promise<ReadonlyArray<Candidate>>((resolve) => (stopWaiting = whenSilentFor(patienceMs, () => resolve([]))))
  ])
  stopWaiting?.()
  for (const { about, value } of candidates) process.stdout.write(about === "" ? `${value}\n` : `${value}\t${about}\n`)
  return 0
}

/** What may stand at the last word. */
export const candidatesFor = async (words: ReadonlyArray<string>, source: Source): Promise<ReadonlyArray<Candidate>> => {
  // bash cuts `--output=js` into three words.
  const cut = words.filter((word, index) => word !== "=" || index === words.length - 1)
  const before = cut.slice(0, -1)
  const last = cut.at(-1) ?? ""
  const current = last === "=" ? "" : last
  const { positionals, spec, trailing } = walk(before)
  const flags: Readonly<Record<string, Flag>> = { ...spec?.flags, ...sharedFlags }

  const pending = trailing ? undefined : flagOf(flags, before.at(-1) ?? "")
  if (pending !== undefined && pending.kind !== "boolean") return valuesOf(pending, current, source)
  if (!trailing && current.startsWith("--") && current.includes("=")) {
    const [name = "", typed = ""] = current.split(/=(.*)/s)
    const flag = flagOf(flags, name)
    const values = flag === undefined || flag.kind === "boolean" ? [] : await valuesOf(flag, typed, source)
    return values.map(({ about, value }) => ({ value: `${name}=${value}`, about }))
  }
  if (!trailing && current.startsWith("-")) {
    return starting(
      current,
      Object.entries(flags).map(([name, { summary }]) => ({ value: `--${name}`, about: summary }))
    )
  }
  if (spec === undefined)
    return starting(
      current,
      Object.entries(specs).map(([value, { summary }]) => ({ value, about: summary }))
    )
  const at = Object.values(spec.args)[positionals] ?? Object.values(spec.args).findLast(({ kind }) => kind === "rest")
  if (at === undefined) return []
  if (at.choices !== undefined)
    return starting(
      current,
      at.choices.map((value) => ({ value, about: "" }))
    )
  return at.complete === undefined || at.complete === "none" ? [] : source(at.complete, current)
}

const starting = (prefix: string, candidates: ReadonlyArray<Candidate>): ReadonlyArray<Candidate> =>
  candidates.filter(({ value }) => value.startsWith(prefix))

const valuesOf = async (flag: Flag, prefix: string, source: Source): Promise<ReadonlyArray<Candidate>> => {
  if (flag.kind === "boolean") return []
  if (flag.kind === "choice")
    return starting(
      prefix,
      flag.choices.map((value) => ({ value, about: "" }))
    )
  return flag.complete === undefined || flag.complete === "none" ? [] : source(flag.complete, prefix)
}

const flagOf = (flags: Readonly<Record<string, Flag>>, word: string): Flag | undefined => {
  if (word.startsWith("--")) return Object.hasOwn(flags, word.slice(2)) ? flags[word.slice(2)] : undefined
  return /^-[a-z]+$/.test(word) ? Object.values(flags).find(({ short }) => short === word.at(-1)) : undefined
}

/** The command and how many of its positional arguments stand before the cursor. */
const walk = (
  before: ReadonlyArray<string>
): { readonly spec: CommandSpec | undefined; readonly positionals: number; readonly trailing: boolean } => {
  let spec: CommandSpec | undefined
  let positionals = 0
  for (let index = 0; index < before.length; index++) {
    const word = before[index]!
    if (word === "--") return { spec, positionals: Math.max(positionals, 1), trailing: true }
    if (word.startsWith("-") && word !== "-") {
      const flag = word.includes("=") ? undefined : flagOf({ ...spec?.flags, ...sharedFlags }, word)
      if (flag !== undefined && flag.kind !== "boolean") index += 1
    } else if (spec === undefined) spec = Object.hasOwn(specs, word) ? specs[word as keyof typeof specs] : undefined
    else positionals += 1
  }
  return { spec, positionals, trailing: false }
}

/** Labs and nodes from the daemon that the words name, files from the disk. */
const sourceFor =
  (words: ReadonlyArray<string>): Source =>
  async (kind, prefix) => {
    if (kind === "path") return [{ value: ":path", about: "" }]
    const suffix = suffixes[kind]
    if (suffix !== undefined) return files(prefix, suffix)
    const { connect } = await import("./client.ts")
    const at = words.indexOf("--daemon")
    const pki = words[words.indexOf("--pki") + 1]
    if (words.includes("--pki") && pki !== undefined) process.env["WEFT_PKI"] = pki
    const client = await connect(
      (at === -1 ? undefined : words[at + 1]) ?? (process.env["WEFT_DAEMON"] || "unix:/run/weft/weftd.sock")
    )
    if (kind === "fault-kind")
      return starting(
        prefix,
        (await client.faultKinds()).map(({ name, summary }) => ({ value: name, about: summary }))
      )
    if (kind === "fault")
      return starting(
        prefix,
        (await client.faults("")).map(({ id, title }) => ({ value: id, about: title }))
      )
    if (kind === "lab")
      return starting(
        prefix,
        (await client.list()).map(({ name, nodes, state }) => ({ value: name, about: `${state}, ${nodes} nodes` }))
      )
    const { nodeNames, portNames } = await import("./node-names.ts")
    const names = await (kind === "port" ? portNames : nodeNames)(client)
    const short = names.some(({ qualified }) => !qualified) && !prefix.includes("/")
    return starting(
      prefix,
      names.filter(({ qualified }) => qualified !== short).map(({ about, name }) => ({ value: name, about }))
    )
  }

/** Files with this ending and folders below what is typed so far. */
const files = (prefix: string, ending: string): ReadonlyArray<Candidate> => {
  const slash = prefix.lastIndexOf("/") + 1
  const folder = prefix.slice(0, slash)
  const entries = readdirSync(folder === "" ? "." : folder, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith(".") && name !== "node_modules")
    .flatMap((entry) =>
      entry.isDirectory() ? [`${folder}${entry.name}/`] : entry.name.endsWith(ending) ? [folder + entry.name] : []
    )
    .sort()
  return starting(
    prefix,
    entries.map((value) => ({ value, about: "" }))
  )
}
