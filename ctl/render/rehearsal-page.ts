/** A rehearsal as one self-contained page. */
import type { RehearsalRecord } from "../rehearsal/record.ts"

export const rehearsalPage = (record: RehearsalRecord): string => `<!doctype html><title>${record.verdict}</title>`
