/**
 * The recordings that a topology's links name (`trace: lte.down`): they are read here, where the user is, and travel with
 * the topology.
 *
 * Only regular files in the topology's folder or below it are read, links followed: what somebody else wrote into a topology
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

/** `folder`: the topology's. */
export const readRecordings = (content: Uint8Array, folder: string): Recordings => {
  const files: Record<string, Uint8Array> = {}
  const unread: Record<string, string> = {}
  let total = 0
  for (const name of namesIn(content)) {
    try {
      if (Object.keys(files).length >= most) throw new Error(`a topology can have ${most} of them at most`)
      const file = read(folder, name)
      total += file.length
      if (total > largestTotal) throw new Error(`all together have more than ${largestTotal} octets`)
      files[name] = file
    } catch (error) {
      unread[name] = reasonOf(error as NodeJS.ErrnoException)
    }
  }
  return { files, unread }
}

/** What `trace` of the links says, or nothing where the topology cannot be understood: the compiler says why. */
const namesIn = (content: Uint8Array): ReadonlySet<string> => {
  const text = Buffer.from(content).toString("utf8")
  const names = new Set<string>()
  if (!text.includes("trace")) return names
  let topology: unknown
  try {
    topology = parse(text, { logLevel: "silent" })
  } catch {
    return names
  }
  const links = mapOf(topology)["links"]
  for (const link of Array.isArray(links) ? links : []) {
    const { trace } = mapOf(link)
    for (const name of [trace, ...Object.values(mapOf(trace))]) if (typeof name === "string") names.add(name)
  }
  return names
}

const mapOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}

const read = (folder: string, name: string): Uint8Array => {
  // A NUL ends a path for the kernel, and the name was checked no further than that it is text.
  if (name.includes("\0")) throw new Error("no such file")
  const path = realpathSync(join(folder, name))
  const root = realpathSync(folder === "" ? "." : folder)
  if (!path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)) throw new Error("it is not in the topology's folder")
  const stat = statSync(path)
  if (!stat.isFile()) throw new Error("it is no regular file")
  if (stat.size > largest) throw new Error(`it has ${stat.size} octets, at most ${largest} are accepted`)
  return readFileSync(path)
}

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string =>
  code === "ENOENT" || code === "ENOTDIR" ? "no such file" : code === "EACCES" ? "permission denied" : (code ?? message)
