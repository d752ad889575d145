/**
 * A rehearsal's file and those that it names (topologies, suites, scenarios), read here, where the user is: they travel with it.
 * What cannot be read is no error here: the daemon says so at the line that names it, with the reason.
 *
 * Names count from the rehearsal's folder. What somebody else wrote into a rehearsal must not send away other files of whoever
 * runs it: only YAML files are read, and of those nothing is shown but what is wrong with them as topologies, suites or scenarios.
 */

import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { parse } from "yaml"
import { Exit, Failure } from "../command.ts"
import { readFaultRecordings, readRecordings } from "../recordings.ts"
import type { RehearsalFile } from "./messages.ts"

const suffix = ".rehearsal.yaml"
/** Octets of one file, and of all; the API takes no more. */
const largest = 4 << 20
const largestTotal = 24 << 20

export interface Bundle {
  readonly filename: string
  readonly content: Uint8Array
  readonly files: Readonly<Record<string, RehearsalFile>>
}

/** @throws {Failure} exit 2 when the rehearsal is not there, or none is named and there is not exactly one */
export const readBundle = (file: string | undefined): Bundle => {
  const filename = file ?? onlyRehearsal()
  const content = readRehearsal(filename)
  const folder = filename === "-" ? "." : dirname(filename)
  const files: Record<string, RehearsalFile> = {}
  let total = content.length
  for (const name of namesIn(content)) {
    const read = readNamed(folder, name)
    total += read.content?.length ?? 0
    for (const recording of Object.values(read.files ?? {})) total += recording.length
    files[name] = total > largestTotal
      ? { filename: read.filename, missing: `all files together have more than ${largestTotal} octets` } : read
  }
  for (const [name, file] of readTraces(content, folder)) files[name] = file
  return { filename: filename === "-" ? "<stdin>" : filename, content, files }
}

/** Recordings that faults name (`inject: {brownout: {link: dx-1, trace: bad-day.csv}}`): as those of topologies, in the folder or below. */
const readTraces = (content: Uint8Array, folder: string): ReadonlyArray<readonly [string, RehearsalFile]> => {
  const { files, unread } = readFaultRecordings(content, folder, "rehearsal")
  const read = Object.entries(files).map(([name, octets]) => [name, { filename: join(folder, name), content: octets }] as const)
  return [...read, ...Object.entries(unread).map(([name, missing]) => [name, { filename: name, missing }] as const)]
}

const rehearsalsHere = (): ReadonlyArray<string> => readdirSync(".").filter((name) => name.endsWith(suffix)).sort()

const onlyRehearsal = (): string => {
  const [first, ...others] = rehearsalsHere()
  if (first !== undefined && others.length === 0) return first
  const found = first === undefined ? `no *${suffix} is in this folder`
    : `${others.length + 1} are in this folder: ${[first, ...others].join(", ")}`
  throw new Failure(Exit.usage, `No rehearsal is named and ${found}`, "Name one: weft rehearse FILE")
}

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string =>
  code === "ENOENT" || code === "ENOTDIR" ? "no such file" : code === "EISDIR" ? "it is a folder"
    : code === "EACCES" ? "permission denied" : (code ?? message)

const readRehearsal = (filename: string): Uint8Array => {
  try {
    return bounded(readFileSync(filename === "-" ? 0 : filename))
  } catch (error) {
    const here = rehearsalsHere()
    throw new Failure(Exit.usage, `Cannot read rehearsal "${filename}": ${reasonOf(error as NodeJS.ErrnoException)}`,
      here.length === 0 ? undefined : `In this folder: ${here.join(", ")}`)
  }
}

const bounded = (content: Uint8Array): Uint8Array => {
  if (content.length > largest) throw new Error(`it has ${content.length} octets, at most ${largest} are accepted`)
  return content
}

const readNamed = (folder: string, name: string): RehearsalFile => {
  const filename = name.includes("\0") ? "?" : join(folder, name)
  try {
    if (!/\.ya?ml$/.test(name)) throw new Error("it is no YAML file: its name ends in .yaml")
    if (name.includes("\0")) throw new Error("no such file")
    const { size } = statSync(filename)
    if (size > largest) throw new Error(`it has ${size} octets, at most ${largest} are accepted`)
    const content = bounded(readFileSync(filename))
    const here = dirname(filename)
    // Links are in topologies alone, faults in scenarios.
    const [ofLinks, ofFaults] = [readRecordings(content, here), readFaultRecordings(content, here, "scenario")]
    return {
      filename, content, files: { ...ofLinks.files, ...ofFaults.files }, unread: { ...ofLinks.unread, ...ofFaults.unread }
    }
  } catch (error) {
    return { filename, missing: reasonOf(error as NodeJS.ErrnoException) }
  }
}

const mapOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

/** What the file says; nothing where it cannot be understood: the daemon says why. */
const understood = (content: Uint8Array): { readonly topology: unknown; readonly steps: ReadonlyArray<unknown> } => {
  try {
    const rehearsal: unknown = parse(Buffer.from(content).toString("utf8"), { logLevel: "silent", maxAliasCount: 1000 })
    const { "roll-back": rollBack, steps, topology } = mapOf(rehearsal)
    return { topology, steps: [...listOf(steps), ...listOf(rollBack)] }
  } catch {
    return { topology: undefined, steps: [] }
  }
}

/** The files that a rehearsal names, as it does. */
export const namesIn = (content: Uint8Array): ReadonlySet<string> => {
  const { steps, topology } = understood(content)
  const words = steps.flatMap((step) => {
    const { check, deploy, scenario } = mapOf(step)
    return [deploy, ...[check, scenario].flatMap((value) => [value, mapOf(value)["file"]])]
  })
  return new Set([topology, ...words].filter((word) => typeof word === "string"))
}
