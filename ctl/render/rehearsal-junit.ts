/** A rehearsal as JUnit XML. */
import type { RehearsalRecord } from "../rehearsal/record.ts"

export const rehearsalJunit = (record: RehearsalRecord): string => `<testsuites name="${record.verdict}"/>`
