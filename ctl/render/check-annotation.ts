/**
 * What failed, where the reviewers of a change look: annotations of GitHub's workflows, which show at a line of a file in a pull request,
 * and GitLab's code quality report, which does the same in a merge request.
 */

import { createHash } from "node:crypto"
import type { CheckResult } from "../messages.ts"

const data = (text: string): string => text.replace(/[%\r\n]/g, (character) => encodeURIComponent(character))
const property = (text: string): string => data(text).replace(/[:,]/g, (character) => encodeURIComponent(character))

/** Something at a place of a file. */
export interface Note {
  readonly level: "error" | "warning"
  readonly file: string
  /** From 1; 0: the file as a whole. */
  readonly line: number
  readonly column?: number
  readonly title: string
  readonly message: string
}

/** One workflow command (docs.github.com: workflow commands for GitHub Actions). */
export const githubNote = ({ column, file, level, line, message, title }: Note): string => {
  const place = [`file=${property(file)}`, ...(line > 0 ? [`line=${line}`] : []), ...(column === undefined ? [] : [`col=${column}`])]
  return `::${level} ${place.join(",")},title=${property(title)}::${data(message)}`
}

/** A whole report (docs.gitlab.com: code quality report format). The same problem has the same fingerprint in every run. */
export const codeQuality = (notes: ReadonlyArray<Note>): string => {
  const seen = new Map<string, number>()
  const fingerprint = ({ file, level, title }: Note): string => {
    const key = [level, file, title].join("\u0000")
    const number = seen.get(key) ?? 0
    seen.set(key, number + 1)
    return createHash("sha256").update(`${key}\u0000${number}`).digest("hex")
  }
  const entries = notes.map((note) => ({
    description: `${note.title}: ${note.message.replaceAll("\n", "; ")}`.toWellFormed(),
    check_name: "weft",
    fingerprint: fingerprint(note),
    severity: note.level === "error" ? "major" : "minor",
    // Relative to the repository, as GitLab wants it.
    location: { path: note.file.replace(/^\.\//, ""), lines: { begin: Math.max(1, note.line) } }
  }))
  return `${JSON.stringify(entries, null, 2)}\n`
}

/** What there is to say of a check; undefined for what passed. */
export const noteOf = (result: CheckResult, filename: string): Note | undefined => {
  const { column, expected, line, name, outcome, seen, where } = result
  if (outcome === "passed") return undefined
  const message = [`expected: ${expected}`, `seen: ${seen}`, ...(where === "" ? [] : [`where: ${where}`])].join("\n")
  return { level: outcome === "warning" ? "warning" : "error", file: filename, line, column, title: name, message }
}

/** One workflow command of GitHub's; undefined for what passed. */
export const annotation = (result: CheckResult, filename: string): string | undefined => {
  const note = noteOf(result, filename)
  return note === undefined ? undefined : githubNote(note)
}
