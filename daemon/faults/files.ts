/** Files that faults name, such as the recording of a brownout: what they hold is put beside their names, where the kinds look. Pure. */
import { type Path, type Reporter } from "../topology/diagnostic.ts"
import { kindOf } from "./kinds.ts"

/** What a file holds that stands at `path`; undefined: it is not there, which the reporter has been told. */
export type FileOf = (name: string, path: Path, reporter: Reporter) => Uint8Array | undefined

/** Out of those that whoever reads the order has sent along. `unread`: why not, by name. */
export const fileIn = (files: ReadonlyMap<string, Uint8Array>, unread: ReadonlyMap<string, string>): FileOf => (name, path, reporter) => {
  const content = files.get(name)
  if (content === undefined) reporter.error(path, `cannot read it: ${unread.get(name) ?? "it was not sent along"}`)
  return content
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A fault or a list of them as a file has it, with what the files hold that it names. Whatever else it is stays as it is. */
export const withFiles = (value: unknown, path: Path, reporter: Reporter, fileOf: FileOf): unknown => {
  if (Array.isArray(value)) return value.map((one, index) => withFiles(one, [...path, index], reporter, fileOf))
  if (!isMap(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, spec]) => {
    if (!isMap(spec)) return [name, spec]
    const contents = Object.entries(kindOf(name)?.files ?? {}).flatMap(([key, into]) => {
      const file = spec[key]
      const content = typeof file === "string" ? fileOf(file, [...path, name, key], reporter) : undefined
      return content === undefined ? [] : [[into, Buffer.from(content).toString("utf8")] as const]
    })
    return [name, { ...spec, ...Object.fromEntries(contents) }]
  }))
}

/** The spec of a fault for people, who see names of files and not what they hold. */
export const withoutFiles = (kind: string, spec: unknown): Readonly<Record<string, unknown>> => {
  const contents = new Set(Object.values(kindOf(kind)?.files ?? {}))
  return Object.fromEntries(Object.entries(spec as object).filter(([key]) => !contents.has(key)))
}
