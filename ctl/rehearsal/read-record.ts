/** Reads what `weft rehearse -o json` (or yaml) wrote. */

import { readFileSync } from "node:fs"
import { Exit, Failure } from "../command.ts"
import { recordFormat } from "./record.ts"
import type { RehearsalRecord } from "./record.ts"

/** @throws {Failure} exit 2: no such file, no record, or one of another format */
export const readRecord = async (file: string): Promise<RehearsalRecord> => {
  let text: string
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8")
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new Failure(Exit.usage, `Cannot read record "${file}": ${code === "ENOENT" ? "no such file" : code ?? message}`)
  }
  const value = await parsed(text, file)
  const format = typeof value === "object" && value !== null && "format" in value ? value.format : undefined
  if (format === undefined) {
    throw new Failure(Exit.usage, `"${file}" is no record of a rehearsal: it has no format`,
      "Write one with: weft rehearse FILE -o json > A.json")
  }
  if (format !== recordFormat) {
    throw new Failure(Exit.usage, `Cannot read record "${file}": its format is "${String(format)}", this weft reads "${recordFormat}"`,
      "Compare with the weft that wrote it, or rehearse again.")
  }
  const problem = shapeProblem(value as RehearsalRecord)
  if (problem !== undefined) throw new Failure(Exit.usage, `Cannot read record "${file}": ${problem}`)
  return value as RehearsalRecord
}

const parsed = async (text: string, file: string): Promise<unknown> => {
  try {
    if (/^\s*\{/.test(text)) return JSON.parse(text)
    const { parse } = await import("yaml")
    return parse(text, { maxAliasCount: 0 })
  } catch (error) {
    throw new Failure(Exit.usage, `Cannot read record "${file}": it is neither JSON nor YAML: ${(error as Error).message.split("\n")[0]}`)
  }
}

/** What a comparison needs of it that is not there. */
const shapeProblem = ({ runs }: RehearsalRecord): string | undefined => {
  if (!Array.isArray(runs)) return "it has no list of runs"
  const isBad = runs.some((run) => ![run?.steps, run?.flows, run?.cells].every(Array.isArray))
  return isBad ? "a run lacks steps, flows or cells" : undefined
}
