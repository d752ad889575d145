/** Which topology file a command means, and its content. */

import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { Exit, Failure } from "./command.ts"
import type { Topology } from "./messages.ts"

const suffix = ".weft.yaml"

/** More is refused before it is read: the API takes no more, and no topology that a person writes comes near. */
const largest = 4 << 20

/**
 * Reads the topology that a command line means: the file it names, standard input for `-`, or the only `*.weft.yaml` of
 * the current folder. With it come the recordings that it names.
 *
 * @throws {Failure} exit 2 when there is no such file, or no single one
 */
export const readTopology = async (file: string | undefined, name?: string): Promise<Topology> => {
  const { content, filename } = readContent(file)
  // Most topologies name none, and then neither is needed.
  const recordings = Buffer.from(content).includes("trace")
    ? (await import("./recordings.ts")).readRecordings(content, filename === stdin ? "." : dirname(filename))
    : {}
  return { filename, content, ...recordings, ...(name === undefined ? {} : { lab: name }) }
}

/**
 * Reads the topology that a suite or a scenario names by the key `topology`, from that file's folder.
 *
 * @throws {Failure} exit 2, with the place in that file that names it
 */
export const readTopologyOf = async (file: Pick<Topology, "filename" | "content">, named: string): Promise<Topology> => {
  try {
    return await readTopology(join(dirname(file.filename), named))
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(error.exitCode, `${await placeOf(file, "topology")}: ${error.message}`, error.hint)
  }
}

/** FILE:LINE:COLUMN of the value of a key at the top of a file that is YAML. */
const placeOf = async ({ content, filename }: Pick<Topology, "filename" | "content">, key: string): Promise<string> => {
  const { isMap, isNode, LineCounter, parseDocument } = await import("yaml")
  const lineCounter = new LineCounter()
  const { contents } = parseDocument(Buffer.from(content).toString("utf8"), { lineCounter, logLevel: "silent" })
  const value: unknown = isMap(contents) ? contents.get(key, true) : undefined
  if (!isNode(value) || !value.range) return filename
  const { col, line } = lineCounter.linePos(value.range[0])
  return `${filename}:${line}:${col}`
}

const stdin = "<stdin>"

const readContent = (file: string | undefined): { readonly filename: string; readonly content: Uint8Array } => {
  const filename = file ?? onlyTopology()
  return filename === "-" ? { filename: stdin, content: readStandardInput() } : { filename, content: read(filename) }
}

/** The lab name that a topology file carries, found without compiling it: the rest of the file may be broken. */
export const labOf = async (file: string | undefined): Promise<string> => {
  const { content, filename } = readContent(file)
  const { isMap, parseDocument } = await import("yaml")
  const document = parseDocument(Buffer.from(content).toString("utf8"), { logLevel: "silent" })
  const name: unknown = isMap(document.contents) ? document.contents.get("name") : undefined
  if (typeof name !== "string" || name === "")
    throw new Failure(Exit.usage, `Cannot find the lab's name in ${filename}: it has no top-level key "name"`)
  return name
}

/** Topology files of the current folder, sorted. */
export const topologiesHere = (): ReadonlyArray<string> => {
  try {
    return readdirSync(".")
      .filter((name) => name.endsWith(suffix))
      .sort()
  } catch {
    return []
  }
}

const onlyTopology = (): string => {
  const [first, ...others] = topologiesHere()
  if (first === undefined)
    throw new Failure(
      Exit.usage,
      `No topology file: none is named and no *${suffix} is in this folder`,
      "Name one: weft COMMAND FILE"
    )
  if (others.length > 0) {
    throw new Failure(
      Exit.usage,
      `No topology file is named and ${others.length + 1} are in this folder: ${[first, ...others].join(", ")}`,
      "Name the one you mean: weft COMMAND FILE"
    )
  }
  return first
}

const read = (filename: string): Uint8Array => {
  try {
    const { size } = statSync(filename)
    if (size > largest) throw tooLarge(filename, size)
    return readFileSync(filename)
  } catch (error) {
    if (error instanceof Failure) throw error
    const { code } = error as NodeJS.ErrnoException
    const reason =
      code === "ENOENT"
        ? "no such file"
        : code === "EISDIR"
          ? "it is a folder"
          : code === "EACCES"
            ? "permission denied"
            : String(code)
    const here = topologiesHere()
    throw new Failure(
      Exit.usage,
      `Cannot read topology "${filename}": ${reason}`,
      here.length === 0 ? undefined : `In this folder: ${here.join(", ")}`
    )
  }
}

const readStandardInput = (): Uint8Array => {
  const content = readFileSync(0)
  if (content.length > largest) throw tooLarge("<stdin>", content.length)
  return content
}

const tooLarge = (filename: string, octets: number): Failure =>
  new Failure(Exit.usage, `Cannot use topology "${filename}": it has ${octets} octets, at most ${largest} are accepted`)
