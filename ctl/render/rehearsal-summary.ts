/** What a rehearsal came to, as lines. */
import type { RehearsalRecord } from "../rehearsal/record.ts"
import type { Style } from "../terminal.ts"

export const rehearsalLines = (
  record: RehearsalRecord,
  { style }: { readonly style: Style; readonly width: number }
): ReadonlyArray<string> => [style.bold(record.verdict)]
