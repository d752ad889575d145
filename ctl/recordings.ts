/**
 * The recordings that a topology's links name (`trace: lte.down`), or faults of suites, scenarios and rehearsals
 * (`brownout: {link: dx-1, trace: bad-day.csv}`): they are read here, where the user is, and travel with the file.
 *
 * Only regular files in that file's folder or below it are read, links followed: what somebody else wrote into a topology
 * must not send away other files of whoever deploys it. What cannot be read is no error here: the compiler says so at the
 * line that names it, with the reason.
 */

import { readFileSync, realpathSync, statSync } from "node:fs"
import { join, sep } from "node:path"
import { parse } from "yaml"

/** Octets of one file, and of all; the API takes no more. */
const largest = 8 << 20
const largestTotal = 24 << 20
const most = 256

export interface Recordings {
  /** Content by name, as the topology has it. */
  readonly files: Readonly<Record<string, Uint8Array>>
  /** Why not, by name. */
  readonly unread: Readonly<Record<string, string>>
}

/** Those of a topology's links. `folder`: the topology's. */
export const readRecordings = (content: Uint8Array, folder: string): Recordings => readAll(namesIn(content), folder, "topology")

/** Those of the faults in a suite, a scenario or a rehearsal. */
export const readFaultRecordings = (content: Uint8Array, folder: string, what: "suite" | "scenario" | "rehearsal"): Recordings =>
  readAll(namesInFaults(content), folder, what)

const readAll = (names: ReadonlySet<string>, folder: string, what: string): Recordings => {
  const files: Record<string, Uint8Array> = {}
  const unread: Record<string, string> = {}
  let total = 0
  for (const name of names) {
    try {
      if (Object.keys(files).length >= most) throw new Error(`a ${what} can have ${most} of them at most`)
      const file = read(folder, name, what)
      total += file.length
      if (total > largestTotal) throw new Error(`all together have more than ${largestTotal} octets`)
      files[name] = file
    } catch (error) {
      unread[name] = reasonOf(error as NodeJS.ErrnoException)
    }
  }
  return { files, unread }
}

/** What a file says; undefined where it has no recordings, or cannot be understood: the compiler says why. */
const understood = (content: Uint8Array): unknown => {
  const text = Buffer.from(content).toString("utf8")
  if (!text.includes("trace")) return undefined
  try {
    return parse(text, { logLevel: "silent" })
  } catch {
    return undefined
  }
}

/** What `trace` of the links says. */
const namesIn = (content: Uint8Array): ReadonlySet<string> => {
  const names = new Set<string>()
  const links = mapOf(understood(content))["links"]
  for (const link of Array.isArray(links) ? links : []) {
    const { trace } = mapOf(link)
    for (const name of [trace, ...Object.values(mapOf(trace))]) if (typeof name === "string") names.add(name)
  }
  return names
}

/** What `trace` says in the map of a brownout, wherever there is one: faults stand at many places in a scenario. */
const namesInFaults = (content: Uint8Array): ReadonlySet<string> => {
  const names = new Set<string>()
  // By aliases a value can be at many places: it is looked at once.
  const seen = new Set<unknown>()
  const waiting: Array<unknown> = [understood(content)]
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (typeof value !== "object" || value === null || seen.has(value)) continue
    seen.add(value)
    const { trace } = mapOf(mapOf(value)["brownout"])
    if (typeof trace === "string") names.add(trace)
    for (const inner of Object.values(value)) waiting.push(inner)
  }
  return names
}

const mapOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}

const read = (folder: string, name: string, what: string): Uint8Array => {
  // A NUL ends a path for the kernel, and the name was checked no further than that it is text.
  if (name.includes("\0")) throw new Error("no such file")
  const path = realpathSync(join(folder, name))
  const root = realpathSync(folder === "" ? "." : folder)
  if (!path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)) throw new Error(`it is not in the ${what}'s folder`)
  const stat = statSync(path)
  if (!stat.isFile()) throw new Error("it is no regular file")
  if (stat.size > largest) throw new Error(`it has ${stat.size} octets, at most ${largest} are accepted`)
  return readFileSync(path)
}

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string =>
  code === "ENOENT" || code === "ENOTDIR" ? "no such file" : code === "EACCES" ? "permission denied" : (code ?? message)
