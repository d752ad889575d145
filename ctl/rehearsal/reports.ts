/** Writes the reports of a rehearsal that were asked for, whatever came of it. */

import { writeFileSync } from "node:fs"
import { Exit, Failure } from "../command.ts"
import { rehearsalPage } from "../render/rehearsal-page.ts"
import { rehearsalJunit } from "../render/rehearsal-junit.ts"
import type { RehearsalRecord } from "./record.ts"

export interface ReportFiles {
  /** Absent: not wanted. */
  readonly html?: string | undefined
  readonly junit?: string | undefined
}

/** @throws {Failure} exit 1 with the file and the system's reason, after all others have been written */
export const writeReports = (record: RehearsalRecord, { html, junit }: ReportFiles): void => {
  const failed: Array<string> = []
  const write = (file: string | undefined, text: () => string): void => {
    if (file === undefined) return
    try {
      writeFileSync(file, text())
    } catch (error) {
      failed.push(`"${file}": ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`)
    }
  }
  write(html, () => rehearsalPage(record))
  write(junit, () => rehearsalJunit(record))
  if (failed.length > 0) throw new Failure(Exit.failed, `Cannot write ${failed.length === 1 ? "the report" : "the reports"} ${failed
    .join(", ")}`)
}
