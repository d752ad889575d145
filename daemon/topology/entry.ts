/** Entries of a list that say what they do by one of their keys: `{inject: ..., for: 5s}`, `{deploy: next.weft.yaml, name: go}`. */
import { type Path, quote, type Reporter } from "./diagnostic.ts"

export interface EntryKeys<Does extends string> {
  /** Keys that say what an entry does: it has exactly one of them. */
  readonly doing: ReadonlyArray<Does>
  /** Keys that may stand beside it. */
  readonly modifiers: ReadonlyArray<string>
  readonly example: string
  /** What to do instead of giving two of them. */
  readonly instead: string
}

/** The one key of an entry that says what it does; undefined: it has none, or several, and that is reported. */
export const doesOf = <Does extends string>(value: unknown, path: Path, reporter: Reporter, entry: EntryKeys<Does>): Does | undefined => {
  const { doing, example, instead, modifiers } = entry
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    reporter.error(path, `expected a map such as ${example}`)
    return undefined
  }
  const keys = Object.keys(value)
  const [first, second] = keys.filter((key): key is Does => (doing as ReadonlyArray<string>).includes(key))
  if (first === undefined) {
    const stranger = keys.find((key) => !modifiers.includes(key))
    const list = `expected one of ${doing.join(", ")}`
    if (stranger === undefined) reporter.error(path, `does nothing: ${list}`)
    else {
      const meant = { word: stranger, among: [...doing, ...modifiers] }
      reporter.error([...path, stranger], `unknown key: ${list}`, { meant, at: "key" })
    }
    return undefined
  }
  if (second === undefined) return first
  reporter.error([...path, second], `"${first}" is here already: ${instead}`, { at: "key" })
  return undefined
}

/** Tells of a lab that a file names at its top, and that is not there. */
export const refuseUnknownLab = (lab: unknown, deployed: ReadonlyArray<string>, reporter: Reporter): void => {
  if (typeof lab !== "string" || deployed.includes(lab)) return
  reporter.error(["lab"], `lab ${quote(lab)} is not deployed: deploy it, or give "topology", the file to deploy it from`,
    { meant: { word: lab, among: deployed } })
}
